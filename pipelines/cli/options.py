"""What the command line asks for, validated before anything runs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from image2music.composers.base import AttentionOptions
from image2music.errors import ConfigError
from image2music.images.http import WebRule
from image2music.settings import FailureBound, LoopSettings
from image2music.storage.tar import ENDINGS, is_tar
from pipelines.runtime.workers import has_own_processes, worker_flags, workers_of

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

DEFAULT_TIME_LIMIT = 300.0
"""Seconds for one element in one stage."""
_IN_PROCESS = ("FnApiRunner", "DirectRunner", "BundleBasedDirectRunner")

DEFAULT_RUNNER = "FnApiRunner"
"""DirectRunner would first try to download another runner."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line. It never guesses options from their beginnings."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise ConfigError(f"{message}; see: {self.prog} --help", reason="bad_arguments")


@dataclass(frozen=True)
class ComposeOptions:
    """What `compose` was asked to do. `embedder` None means: the one that made the index."""

    images: str
    index: str
    output: str
    composer: str = "nano"
    embedder: str | None = None
    top_k: int = 3
    loop: LoopSettings = field(default_factory=LoopSettings)
    seed: int = 0
    batch_size: int = 16
    max_failures: FailureBound = field(default_factory=lambda: FailureBound(share=0.05))
    overwrite: bool = False
    refresh: bool = False
    album: bool = False
    catalog: str = ""
    allow_web: WebRule = "none"
    plan: bool = False
    attention_options: AttentionOptions = field(default_factory=AttentionOptions)
    time_limit: float = DEFAULT_TIME_LIMIT
    log_json: str = ""
    where: str | None = None
    beam: tuple[str, ...] = ()

    @property
    def workers(self) -> int:
        """Processes that work at the same time, as far as Beam's options for one machine tell."""
        return workers_of(self.beam)

    @property
    def works_here(self) -> bool:
        """Whether this process composes itself, and does not only plan, or start and watch others."""
        return not self.plan and _runner(self.beam) in _IN_PROCESS and not has_own_processes(self.beam)

    def __post_init__(self) -> None:
        _at_least_one("--top_k", self.top_k)
        _at_least_one("--batch_size", self.batch_size)
        _some_time("--time_limit", self.time_limit)
        _local("--output", self.output)
        _local("--index", self.index)
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"--seed must be between 0 and 2**63 - 1, not {self.seed}", reason="bad_seed")
        paths = {"--images": self.images, "--index": self.index, "--output": self.output}
        _found_by_workers(self.beam, paths)
        if not self.images and not self.refresh:
            raise ConfigError("compose needs --images; see: image2music compose --help", reason="bad_arguments")
        if self.refresh and self.overwrite:
            message = "--refresh keeps the rows that --overwrite would move away: give one of them"
            raise ConfigError(message, reason="bad_refresh")
        if self.refresh and self.catalog:
            message = "--refresh keeps the ids and hints of the rows: leave --catalog away"
            raise ConfigError(message, reason="bad_refresh")


@dataclass(frozen=True)
class IndexOptions:
    """What `index` was asked to do. `embedder` None means `conse`, in an update the one that made the index."""

    captions: str
    midi_root: str
    index: str
    embedder: str | None = None
    batch_size: int = 512
    update: bool = False
    rehash: bool = False
    keep_removed: bool = False
    time_limit: float = DEFAULT_TIME_LIMIT
    beam: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _at_least_one("--batch_size", self.batch_size)
        _some_time("--time_limit", self.time_limit)
        _local("--index", self.index)
        paths = {"--captions": self.captions, "--midi_root": self.midi_root, "--index": self.index}
        _found_by_workers(self.beam, paths)
        if not self.index.rstrip("/").endswith(".lance"):
            raise ConfigError(f"--index must end in .lance, not {self.index!r}", reason="bad_index_name")
        if (self.rehash or self.keep_removed) and not self.update:
            raise ConfigError("--rehash and --keep_removed go with --update", reason="not_an_update")


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        reason = f"bad_{name.removeprefix('--')}"
        raise ConfigError(f"{name} must be 1 or more, not {value}", reason=reason)


def _runner(flags: Sequence[str]) -> str:
    return next((flag.partition("=")[2] for flag in flags if flag.startswith("--runner=")), DEFAULT_RUNNER)


def _found_by_workers(flags: Sequence[str], paths: dict[str, str]) -> None:
    """Workers of another runner have a current folder of their own."""
    runner = _runner(flags)
    for name, path in paths.items():
        if runner not in _IN_PROCESS and path and "://" not in path and not os.path.isabs(path):
            message = f"{name} {path} is relative, and workers of {runner} run elsewhere: write the whole path"
            raise ConfigError(message, reason="relative_path")


def _some_time(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{name} must be more than 0 seconds, not {value:g}", reason=f"bad_{name.removeprefix('--')}")


def _local(name: str, path: str) -> None:
    if "://" in path:
        message = f"{name} must be a folder on a local or mounted disk, not {path}"
        raise ConfigError(message, reason="remote_path")


def add_compose_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `compose`."""
    defaults = ComposeOptions(images=".", index="", output="")
    parser.add_argument("--images", default="", help="a folder, a glob, a file, or @LIST of places")
    parser.add_argument("--index", required=True, help="the tune index that `index` made")
    parser.add_argument("--output", required=True, help="folder for compositions, failures and run.json")
    parser.add_argument(
        "--composer",
        default=defaults.composer,
        help="nano | transformers:ID_OR_PATH | openai:URL#MODEL[+attention=transformers:ID_OR_PATH]",
    )
    parser.add_argument("--embedder", help="by default the one that made the index; another one is refused")
    parser.add_argument("--top_k", type=int, default=defaults.top_k, help="tunes by description and by picture, each")
    parser.add_argument("--where", help='only tunes that pass this filter over the index\'s columns: "tempo_qpm < 100"')
    parser.add_argument("--rounds", type=int, default=defaults.loop.rounds, help="most repairs, and most refinements")
    parser.add_argument("--accept", default=defaults.loop.accept, help="better | always: when a refinement is taken")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="pictures in one call of a model")
    parser.add_argument("--max_failures", default="5%", help="pictures that may fail: a number (7) or a share (5%%)")
    parser.add_argument("--overwrite", action="store_true", help="move rows of other settings to OUTPUT/generations")
    parser.add_argument(
        "--refresh", action="store_true", help="only compose OUTPUT's rows again whose references changed in the index"
    )
    parser.add_argument(
        "--album",
        action="store_true",
        help="the pictures of each folder as one piece: OUTPUT/albums has the tune books",
    )
    parser.add_argument(
        "--allow_web",
        nargs="?",
        const="public",
        default="none",
        choices=("public", "any"),
        help="open web addresses too: of public hosts, or any",
    )
    parser.add_argument("--catalog", default="", help="CSV or Parquet with the columns image, id, and hint or caption")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--attention", default="maps", choices=("maps", "layers"), help="layers: keep each layer's maps too"
    )
    parser.add_argument(
        "--faithfulness",
        action="store_true",
        help="measure each map: does the tune's likelihood fall without its cells",
    )
    parser.add_argument("--log_json", default="", metavar="FILE", help="append one line a picture as JSON; - is stdout")
    add_job_arguments(parser)


def compose_options(args: argparse.Namespace) -> ComposeOptions:
    """Parsed arguments to validated options.

    Raises:
        ConfigError: a value that cannot work.
    """
    return ComposeOptions(
        images=args.images,
        index=args.index,
        output=args.output,
        composer=args.composer,
        embedder=args.embedder,
        top_k=args.top_k,
        loop=LoopSettings(rounds=args.rounds, accept=args.accept),
        seed=args.seed,
        batch_size=args.batch_size,
        max_failures=FailureBound.parse(args.max_failures),
        overwrite=args.overwrite,
        refresh=args.refresh,
        album=args.album,
        catalog=args.catalog,
        allow_web=args.allow_web,
        plan=args.plan,
        attention_options=AttentionOptions(layers=args.attention == "layers", faithfulness=args.faithfulness),
        time_limit=args.time_limit,
        log_json=args.log_json,
        where=args.where,
        beam=(*args.beam, *worker_flags(args.workers)),
    )


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """What both jobs take."""
    job = parser.add_argument_group("the job")
    job.add_argument(
        "--time_limit",
        type=float,
        default=DEFAULT_TIME_LIMIT,
        metavar="SECONDS",
        help="for one element in one stage; what takes longer is a failure and the job goes on; inf for none",
    )
    job.add_argument("--workers", type=_count, default=1, help="processes on this machine; each loads its own models")
    job.add_argument(
        "--restarts", type=int, help="times a job may start again that was killed or lost a worker; 3, 0 with 1 worker"
    )


def _count(text: str) -> int:
    _at_least_one("--workers", int(text))
    return int(text)


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `index`."""
    defaults = IndexOptions(captions="", midi_root="", index=".lance")
    parser.add_argument("--captions", help="MidiCaps' train.json: one JSON object a line")
    parser.add_argument("--midi_root", help="folder, or .tar or .tar.gz file, that the captions' locations lie in")
    parser.add_argument("--index", required=True, help="the table to write, DIR/NAME.lance")
    parser.add_argument("--embedder", help="conse (the default) | open_clip:... | transformers:...")
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="captions in one call of the model")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--update", action="store_true", help="make only what is new or changed since the last run")
    instead.add_argument("--history", action="store_true", help="list the versions of the index, and do nothing")
    instead.add_argument("--restore", metavar="TAG", help="go back to a version, by its tag or number")
    instead.add_argument("--stats", action="store_true", help="say what is in the index, and do nothing")
    parser.add_argument("--rehash", action="store_true", help="with --update: read every file, whatever its time says")
    parser.add_argument(
        "--keep_removed",
        action="store_true",
        help="with --update: keep rows that lost their line, or whose file cannot be read",
    )
    add_job_arguments(parser)


def index_options(args: argparse.Namespace) -> IndexOptions:
    """Parsed arguments to validated options.

    Raises:
        ConfigError: a value that cannot work, a file or a folder that is not there.
    """
    if not args.captions or not args.midi_root:
        raise ConfigError(
            "index needs --captions and --midi_root; see: image2music index --help", reason="bad_arguments"
        )
    if "://" not in args.captions and not os.path.isfile(args.captions):
        raise ConfigError(f"--captions: there is no file {args.captions}", reason="captions_missing")
    if "://" in args.midi_root and args.midi_root.endswith(ENDINGS):
        message = f"--midi_root: an archive is read from a local or mounted disk only, not {args.midi_root}"
        raise ConfigError(message, reason="remote_path")
    if not is_tar(args.midi_root) and "://" not in args.midi_root and not os.path.isdir(args.midi_root):
        message = f"--midi_root: {args.midi_root} is neither a folder nor a file with the ending {', '.join(ENDINGS)}"
        raise ConfigError(message, reason="midi_root_missing")
    return IndexOptions(
        captions=args.captions,
        midi_root=args.midi_root,
        index=args.index,
        embedder=args.embedder,
        batch_size=args.batch_size,
        update=args.update,
        rehash=args.rehash,
        keep_removed=args.keep_removed,
        time_limit=args.time_limit,
        beam=(*args.beam, *worker_flags(args.workers)),
    )


def beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's own options, with the in-process runner unless another one is named.

    Raises:
        ConfigError: a flag that Beam does not know either (`unknown_option`); Beam itself would let it pass.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = Parser(prog="image2music", add_help=False)
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(flags))
    if unknown:
        raise ConfigError(f"there is no option {' '.join(unknown)}", reason="unknown_option")
    named = any(flag == "--runner" or flag.startswith("--runner=") for flag in flags)
    return PipelineOptions([*flags] if named else [*flags, f"--runner={DEFAULT_RUNNER}"])
