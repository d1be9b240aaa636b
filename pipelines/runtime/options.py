"""Options of commands: how they are declared, those that every job has, and Beam's own.

`option` declares a field of a frozen dataclass, `add_arguments` makes the arguments of a parser from the fields of a
class, and `from_arguments` makes an object of the class from what was parsed: each option stands in one place. This
module imports neither Beam nor models, for every parser is made before a command is chosen.
"""

# ruff: noqa: RUF009 - `option` makes a field, as dataclasses.field does

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from image2music.errors import ConfigError
from image2music.storage.files import open_place

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

Check = Callable[[str, Any], None]
"""Takes the option as it is written (`--top_k`) and its value; raises ConfigError where the value cannot work."""

SOUNDFONT_HELP = "sound font to play with; without it TimGM6mb.sf2, which pretty_midi carries"
FONT_HELP = "font for words, for letters that neither the fonts that come along nor those of the system have"

_KEY = "option"


@dataclass(frozen=True)
class OptionSpec:
    """How a field stands on the command line. `arguments` are those of `ArgumentParser.add_argument`."""

    flag: str
    old_flag: str
    section: str
    exclusive: bool
    check: Check | None
    arguments: Mapping[str, Any]


def option(
    default: Any = MISSING,
    *,
    flag: str = "",
    old_flag: str = "",
    section: str = "",
    exclusive: bool = False,
    check: Check | None = None,
    **arguments: Any,
) -> Any:
    """Declare a field that the command line sets by `--NAME`, or by `flag`; `old_flag` is another name.

    Without a default the option is required; one whose default is False takes no value. The type is that of the
    default unless `type` is given. Options of a `section` are listed together by --help; of those that are `exclusive`
    at most one may be given.
    """
    spec = OptionSpec(flag, old_flag, section, exclusive, check, arguments)
    return field(default=default, kw_only=True, metadata={_KEY: spec})


def add_arguments(parser: argparse.ArgumentParser, options: type) -> None:
    """Add every option that a dataclass declares to a parser."""
    sections: dict[str, Any] = {"": parser}
    exclusive = None
    declared: list[tuple[str, Any, OptionSpec]] = [
        (entry.name, entry.default, entry.metadata[_KEY]) for entry in fields(options) if _KEY in entry.metadata
    ]
    # A command's own options come first in its help, those that it inherits from every job behind them.
    for name, default, spec in sorted(declared, key=lambda one: bool(one[2].section)):
        if spec.section not in sections:
            sections[spec.section] = parser.add_argument_group(spec.section)
        target = sections[spec.section]
        if spec.exclusive:
            target = exclusive = exclusive or parser.add_mutually_exclusive_group()
        names = [name for name in (spec.flag or f"--{name}", spec.old_flag) if name]
        target.add_argument(*names, dest=name, **_default(default) | dict(spec.arguments))


def _default(value: object) -> dict[str, Any]:
    if value is MISSING:
        return {"required": True}
    if value is False:
        return {"action": "store_true"}
    if isinstance(value, int | float):
        return {"default": value, "type": type(value)}
    return {"default": list(value) if isinstance(value, tuple) else value}


Options = TypeVar("Options")


def from_arguments(options: type[Options], args: argparse.Namespace, **more: Any) -> Options:
    """Return the options that were parsed; `more` are fields that no option sets.

    Raises:
        ConfigError: a value that cannot work.
    """
    given = {entry.name: getattr(args, entry.name) for entry in fields(options) if _KEY in entry.metadata}  # type: ignore[arg-type]
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()} | more)


def check_options(options: Any) -> None:
    """Run the check of every option, in the order of their declaration.

    Raises:
        ConfigError: a value that cannot work.
    """
    for entry in fields(options):
        spec: OptionSpec | None = entry.metadata.get(_KEY)
        if spec is not None and spec.check is not None:
            spec.check(spec.flag or f"--{entry.name}", getattr(options, entry.name))


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line. It never guesses options from their beginnings."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise ConfigError(f"{message}; see: {self.prog} --help", reason="bad_arguments")


DEFAULT_RUNNER = "FnApiRunner"
"""DirectRunner would first try to download another runner."""
_IN_PROCESS = ("fnapi", "direct", "bundlebaseddirect")


@dataclass(frozen=True)
class RunnerFlags:
    """What Beam's options say of where a job runs: `--runner`, empty where none is named, and its way of working."""

    runner: str
    mode: str

    @classmethod
    def parse(cls, flags: Sequence[str]) -> RunnerFlags:
        """Read them without Beam, in every form that Beam takes: `--runner=X` and `--runner X`.

        Raises:
            ConfigError: a value is missing (`bad_arguments`).
        """
        parser = Parser(prog="image2music", add_help=False)
        parser.add_argument("--runner", default="")
        parser.add_argument("--direct_running_mode", dest="mode", default="in_memory")
        return cls(**vars(parser.parse_known_args(list(flags))[0]))

    @property
    def runs_here(self) -> bool:
        """Whether the runner's workers are on this machine."""
        runner = self.runner or DEFAULT_RUNNER
        return runner.rpartition(".")[2].lower().removesuffix("runner") in _IN_PROCESS


@dataclass(frozen=True)
class ArrayPart:
    """Part `number` (from 1) of an array job of `of` parts."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> ArrayPart:
        """Read `3/16`.

        Raises:
            ConfigError: it is no such thing (`bad_slice`).
        """
        number, _, of = text.partition("/")
        if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
            raise ConfigError(f"--slice takes K/N, such as 3/16, with K from 1 to N, not {text!r}", reason="bad_slice")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def _resources(text: str) -> tuple[tuple[str, float], ...]:
    """Read `GPU=1,MEMORY=2e9` as Dask does."""
    try:
        pairs = [word.partition("=") for word in text.split(",") if word]
        return tuple((name, float(amount)) for name, _, amount in pairs)
    except ValueError as error:
        message = f"--resources takes NAME=NUMBER such as GPU=1, not {text!r}"
        raise ConfigError(message, reason="bad_resources") from error


def beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Return Beam's own options, with the in-process runner unless another one is named.

    Raises:
        ConfigError: a flag that Beam does not know either (`unknown_option`), which Beam itself would let pass, or a
            value that cannot work (`bad_arguments`).
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = Parser(prog="image2music", add_help=False)
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(flags))
    if unknown:
        raise ConfigError(f"there is no option {' '.join(unknown)}", reason="unknown_option")
    return PipelineOptions([*flags, f"--runner={RunnerFlags.parse(flags).runner or DEFAULT_RUNNER}"])


def check_beam_flags(flags: Sequence[str]) -> None:
    """Check what no command of ours knows; Beam is loaded only where there is something to check.

    Raises:
        ConfigError: as `beam_options`.
    """
    if flags:
        beam_options(flags)


THE_JOB = "the job"


def at_least(least: int) -> Any:
    """Return a check that a number is `least` or more."""

    def check(flag: str, value: float) -> None:
        if value < least:
            raise ConfigError(f"{flag} must be {least} or more, not {value}", reason=_reason(flag))

    return check


def above_zero(flag: str, value: float) -> None:
    """Check a time in seconds."""
    if not value > 0:
        raise ConfigError(f"{flag} must be more than 0 seconds, not {value:g}", reason=_reason(flag))


def reachable(flag: str, value: str | Path | None) -> None:
    """Check that a place is on a disk, or in an object store that answers; of a disk nothing is asked here."""
    try:
        open_place(value or ".").check()
    except ConfigError as error:
        raise ConfigError(f"{flag}: {error}", reason=error.reason) from error


def local_path(flag: str, value: str | Path) -> None:
    """Check that a place is no address."""
    if "://" in str(value):
        message = f"{flag} must be a folder on a local or mounted disk, not {value}"
        raise ConfigError(message, reason="remote_path")


def seed(flag: str, value: int) -> None:
    """Check a seed."""
    if not 0 <= value < 2**63:
        raise ConfigError(f"{flag} must be between 0 and 2**63 - 1, not {value}", reason=_reason(flag))


def one_of(*values: str) -> Any:
    """Return a check that a word is one of two or more."""

    def check(flag: str, value: str) -> None:
        if value not in values:
            raise ConfigError(f"{flag} must be {' or '.join(values)}, not {value!r}", reason=_reason(flag))

    return check


def _reason(flag: str) -> str:
    return f"bad_{flag.removeprefix('--')}"


@dataclass(frozen=True)
class JobOptions:
    """How a job runs. `beam` are Beam's own options as they were given."""

    time_limit: float = option(
        300.0,
        check=above_zero,
        section=THE_JOB,
        metavar="SECONDS",
        help="for one element in one stage; what takes longer is a failure and the job goes on; inf for none",
    )
    workers: int = option(
        1, check=at_least(1), section=THE_JOB, help="processes on this machine; each loads its own models"
    )
    cluster: str = option(
        "", section=THE_JOB, metavar="ADDRESS_OR_FILE", help="a Dask cluster: tcp://HOST:8786, or its scheduler file"
    )
    part: ArrayPart | None = option(
        None,
        flag="--slice",
        type=ArrayPart.parse,
        section=THE_JOB,
        metavar="K/N",
        help="do the K-th of N parts alone, as one task of an array job; `image2music finish` joins them",
    )
    slice_size: int | None = option(
        None, type=int, section=THE_JOB, metavar="N", help="most pictures or captions that a worker is given at once"
    )
    needs: tuple[tuple[str, float], ...] = option(
        (),
        flag="--resources",
        type=_resources,
        section=THE_JOB,
        metavar="NAME=NUMBER",
        help="with --cluster: what a worker must have to be given a slice, such as GPU=1",
    )
    beam: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_options(self)
        if self.slice_size is not None and self.slice_size < 1:
            raise ConfigError(f"--slice_size must be 1 or more, not {self.slice_size}", reason="bad_slice_size")
        if self.runner.mode == "multi_processing":
            message = "--direct_running_mode=multi_processing has no supervision: take --workers instead"
            raise ConfigError(message, reason="bad_runner")
        ways = {
            "--workers": self.workers > 1,
            "--cluster": bool(self.cluster),
            "--slice": self.part is not None,
            (self.beam or ("",))[0]: self.is_one_pipeline,
        }
        if len(given := [flag for flag, here in ways.items() if here]) > 1:
            message = f"{given[0]} and {given[1]} are two ways to run a job: give one of them"
            raise ConfigError(message, reason="two_ways_to_run")
        if self.needs and not self.cluster:
            raise ConfigError("--resources is for the workers of a --cluster", reason="bad_resources")

    @property
    def runner(self) -> RunnerFlags:
        """The Beam runner, where one is named."""
        return RunnerFlags.parse(self.beam)

    @property
    def is_one_pipeline(self) -> bool:
        """Whether the whole job is one Beam pipeline: options of Beam's are given, a runner or others."""
        return bool(self.beam)

    @property
    def resources(self) -> dict[str, float]:
        """What a slice needs of a worker."""
        return dict(self.needs)

    @property
    def is_on_one_machine(self) -> bool:
        """Whether nobody else works at the job: what is kept in local files is known to all."""
        return self.runner.runs_here and not self.cluster and self.part is None

    def check_reachable(self, paths: Mapping[str, str]) -> None:
        """Check the places that options name: workers elsewhere have a current folder of their own.

        Raises:
            ConfigError: one is relative, and workers run elsewhere (`relative_path`).
        """
        where = "a cluster" if self.cluster else self.runner.runner
        if self.runner.runs_here and not self.cluster:
            return
        for flag, path in paths.items():
            if path and "://" not in path and not os.path.isabs(path):
                message = f"{flag} {path} is relative, and workers of {where} run elsewhere: write the whole path"
                raise ConfigError(message, reason="relative_path")


@dataclass(frozen=True)
class FailureBound:
    """How many pictures may fail before a run counts as failed: a number of pictures, or a share of them."""

    count: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if (self.count is None) == (self.share is None):
            raise ConfigError("a bound on failures is either a number or a share", reason="bad_max_failures")
        if self.count is not None and self.count < 0:
            raise ConfigError(f"--max_failures must be 0 or more, not {self.count}", reason="bad_max_failures")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ConfigError("--max_failures as a share must lie between 0% and 100%", reason="bad_max_failures")

    @classmethod
    def parse(cls, text: str) -> FailureBound:
        """Read `7` as seven pictures, `5%` and `0.05` as a share.

        Raises:
            ConfigError: the text is neither (`bad_max_failures`).
        """
        try:
            if text.endswith("%"):
                return cls(share=float(text[:-1]) / 100)
            return cls(share=float(text)) if "." in text else cls(count=int(text))
        except ValueError as error:
            message = f"--max_failures takes a number (7) or a share (5%), not {text!r}"
            raise ConfigError(message, reason="bad_max_failures") from error

    def allows(self, failed: int, total: int) -> bool:
        """Return whether `failed` of `total` pictures stay within the bound."""
        if self.count is not None:
            return failed <= self.count
        assert self.share is not None
        return failed <= self.share * total


def price_of(text: str) -> tuple[float, float]:
    """Read `2.5,10` as dollars a million tokens in and out."""
    try:
        tokens_in, tokens_out = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--price takes IN,OUT such as 2.5,10, not {text!r}", reason="bad_price") from error
    return tokens_in, tokens_out
