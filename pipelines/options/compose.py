"""What `compose` and `ablate` are asked to do.

Imports neither Beam nor models, so that a command line is checked quickly.
"""

# ruff: noqa: RUF009 - `option` makes a field, as dataclasses.field does
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from image2music.composers.base import AttentionOptions
from image2music.composers.registry import (
    default_candidates,
    default_steps,
    has_batches,
    is_remote_composer,
    protocols_of,
)
from image2music.errors import ConfigError
from image2music.music.planning.lasting import read_duration
from image2music.settings import LANGUAGE_NAMES, LoopSettings, Protocol, SendingOptions, Steps, WebRule, read_span
from pipelines.runtime.options import (
    FailureBound,
    JobOptions,
    at_least,
    option,
    price_of,
    reachable,
    seed,
)
from transforms.deadlines import excuse

if TYPE_CHECKING:
    pass

SHORTEST_CHOSEN = 8
"""Characters of an image_id that `compose --ids` needs at least."""


Prune = Literal["no", "some", "all"]


@dataclass(frozen=True)
class PictureOptions(JobOptions):
    """What `compose` and `ablate` have in common: from pictures and an index to an output."""

    images: str = option("", help="a folder, a glob, a file, or @LIST of places; also s3://, gs:// and az://")
    index: str = option(check=reachable, help="the tune index that `index` made; a path, or an address in a store")
    output: str = option(check=reachable, help="folder for compositions, failures and run.json; or an address")
    composer: str = option(
        "nano", help="nano | transformers:ID_OR_PATH | openai:URL#MODEL[+attention=transformers:ID_OR_PATH]"
    )
    embedder: str | None = option(None, help="by default the one that made the index; another one is refused")
    top_k: int = option(3, check=at_least(1), help="tunes shown to the composer, 3 at most (paper: of either search)")
    where: str | None = option(
        None, help='only tunes that pass this filter over the index\'s columns: "tempo_qpm < 100"'
    )
    rounds: int = option(2, check=at_least(0), help="most repairs of a draft; 0: no edits either")
    steps: Steps | None = option(
        None,
        choices=("full", "short", "small"),
        help="of chat models: full | short: fewer requests | small: for models of up to 8 billion, their default",
    )
    candidates: int | None = option(
        None,
        type=int,
        help="tunes to write for a picture, of which the best is kept; nano: 4, others: 1",
    )
    seed: int = option(0, check=seed)
    batch_size: int = option(16, check=at_least(1), help="pictures in one call of a model")
    max_failures: FailureBound = option(
        FailureBound(share=0.05),
        type=FailureBound.parse,
        help="pictures that may fail: a number (7) or a share (5%%)",
    )
    allow_web: WebRule = option(
        "none",
        nargs="?",
        const="public",
        choices=("public", "any"),
        help="open web addresses too: of public hosts, or any",
    )
    catalog: str = option("", check=reachable, help="CSV or Parquet with the columns image, id, and hint or caption")
    dry_run: bool = option(
        False, old_flag="--plan", help="say what would be done and cost; nothing is sent, paid or written"
    )
    concurrency: int = option(
        8, check=at_least(1), metavar="N", help="requests to a server under way at once, over all workers of a machine"
    )
    price: tuple[float, float] | None = option(
        None, type=price_of, metavar="IN,OUT", help="dollars a million tokens, for what requests to a server cost"
    )
    max_cost: float | None = option(
        None, type=float, metavar="MONEY", help="dollars that all requests for OUTPUT may cost; needs --price"
    )
    composer_licence: str = option(
        "", metavar="TEXT", help="licence of the composer's model, for the rows; else what the model's card says"
    )
    attention: str = option("maps", choices=("maps", "layers"), help="layers: keep each layer's maps too")
    faithfulness: bool = option(False, help="measure each map: does the tune's likelihood fall without its cells")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_reachable({"--images": self.images, "--index": self.index, "--output": self.output})
        if self.max_cost is not None and not self.is_on_one_machine:
            message = "--max_cost holds on one machine, and the workers of this job are elsewhere: leave it away"
            raise ConfigError(message, reason="bad_max_cost")
        SendingOptions(price=self.price, max_cost=self.max_cost)  # says what cannot work

    @property
    def sending(self) -> SendingOptions:
        """How requests of a composer behind a server are sent; the defaults where it sends none."""
        if not is_remote_composer(self.composer):
            return SendingOptions()
        from image2music.storage.output import open_output

        return SendingOptions(
            concurrency=max(1, self.concurrency // self.workers),
            ledger=open_output(self.output).ledger if self.is_on_one_machine else "",
            price=self.price,
            max_cost=self.max_cost,
            excuse=excuse,
        )

    def loop_by(self, protocol: Protocol) -> LoopSettings:
        """Return how far the loop goes by a chain, with the composer's own numbers where none are given."""
        if protocol == "paper":
            return LoopSettings(self.rounds, protocol, self.candidates or 1)
        candidates = self.candidates or default_candidates(self.composer)
        return LoopSettings(self.rounds, protocol, candidates, self.steps or default_steps(self.composer))

    @property
    def attention_options(self) -> AttentionOptions:
        """What is kept of attention beside the maps."""
        return AttentionOptions(layers=self.attention == "layers", faithfulness=self.faithfulness)

    @property
    def works_here(self) -> bool:
        """Whether this process composes itself, and does not only plan, or hand out slices."""
        return not (self.dry_run or self.cluster) and self.runner.runs_here and self.workers == 1


@dataclass(frozen=True)
class ComposeOptions(PictureOptions):
    """What `compose` is asked to do."""

    protocol: Protocol | None = option(
        None,
        choices=("plan", "paper"),
        help="plan: plan, write, choose, edit (where the composer can) | paper: the paper's own chain",
    )
    style: str = option("", help="a style of music for every picture for which the catalogue names none: waltz")
    length: float | None = option(
        None,
        type=read_duration,
        metavar="TIME",
        help="how long each tune lasts, to the sample: 30s, 1:30; 5 to 300 seconds",
    )
    seamless: bool = option(False, flag="--loop", help="tunes whose end leads back into their beginning")
    language: str = option(
        "en", choices=tuple(LANGUAGE_NAMES), help="of descriptions and titles: English, German, French or Spanish"
    )
    plans: str = option(
        "", metavar="FILE", help="JSON lines: image (an address or an image_id) and the whole plan of its tune"
    )
    keep: bool = option(False, help="go on beside rows of other settings or earlier rules, and leave them as they are")
    overwrite: bool = option(False, help="move rows of other settings or earlier rules to OUTPUT/generations")
    refresh: bool = option(False, help="only compose OUTPUT's rows again whose references changed in the index")
    again: bool = option(False, help="another take, with another seed, of the rows that --ids names")
    ids: str = option(
        "", metavar="FILE_OR_LIST", help="with --again: image_ids, 8 or more digits of each, or catalog_ids"
    )
    album: bool = option(False, help="the pictures of each folder as one piece: OUTPUT/albums has the tune books")
    chapter_gap: float | None = option(
        None, type=read_span, metavar="TIME", help="between chapters of --album: 3h, 90m"
    )
    prune: Prune = option(
        "no", nargs="?", const="some", choices=("some", "all"), help="put rows of lost pictures away; all: however many"
    )
    log_json: str = option("", metavar="FILE", help="append one line a picture as JSON; - is stdout")
    batch_api: bool = option(
        False, help="openai: put requests off and send them together, at half the price, answered within a day"
    )
    batch_wait: float = option(
        0.0,
        check=at_least(0),
        metavar="SECONDS",
        help="with --batch_api: how long to wait for the answers to a step, before the command ends to go on later",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.images and not self.from_rows:
            raise ConfigError("compose needs --images; see: image2music compose --help", reason="bad_arguments")
        if self.batch_api and not (has_batches(self.composer) and self.is_on_one_machine):
            message = "--batch_api is for composers behind openai: and workers on this machine"
            raise ConfigError(message, reason="bad_batch_api")
        if self.chapter_gap is not None and not self.album:
            raise ConfigError("--chapter_gap is about the chapters of --album: give both", reason="bad_chapter_gap")
        if self.keep and self.overwrite:
            message = "--keep leaves the rows that --overwrite would move away: give one of them"
            raise ConfigError(message, reason="bad_keep")
        if self.refresh and self.overwrite:
            message = "--refresh keeps the rows that --overwrite would move away: give one of them"
            raise ConfigError(message, reason="bad_refresh")
        if self.refresh and self.catalog:
            message = "--refresh keeps the ids and hints of the rows: leave --catalog away"
            raise ConfigError(message, reason="bad_refresh")
        if self.from_rows and self.plans:
            message = "--refresh and --again keep the plans of the rows: leave --plans away"
            raise ConfigError(message, reason="bad_refresh")
        if self.again != bool(self.ids):
            message = "--again and --ids go together: another take of the rows with these image_ids"
            raise ConfigError(message, reason="bad_again")
        if self.prune != "no" and (self.from_rows or self.part is not None):
            given = "--slice" if self.part is not None else "--refresh" if self.refresh else "--again"
            message = f"--prune goes by all pictures that a run lists, which {given} does not: give one of them"
            raise ConfigError(message, reason="bad_prune")
        if self.part is not None and (self.from_rows or self.overwrite):
            given = "--overwrite" if self.overwrite else "--refresh" if self.refresh else "--again"
            message = f"{given} puts rows away, which parts of an array job cannot do beside each other: leave it away"
            raise ConfigError(message, reason="bad_slice")
        for given, why in {
            "--refresh": self.refresh and "it composes only where references changed",
            "--overwrite": self.overwrite and "it would move the rows away",
            "--catalog": bool(self.catalog) and "ids and hints stay as they are in the rows",
        }.items():
            if self.again and why:
                raise ConfigError(f"--again and {given} do not go together: {why}", reason="bad_again")

    @property
    def sending(self) -> SendingOptions:
        """How requests of a composer behind a server are sent: at once, or in batches."""
        return replace(super().sending, batch_api=self.batch_api)

    @property
    def from_rows(self) -> bool:
        """Whether pictures are those of the output's rows, and not those of `images`."""
        return self.refresh or self.again

    @property
    def loop(self) -> LoopSettings:
        """How far the loop goes."""
        protocol = self.protocol or protocols_of(self.composer)[0]
        if protocol not in protocols_of(self.composer):
            message = f"{self.composer} cannot compose by the protocol {protocol} yet: take --protocol paper"
            raise ConfigError(message, reason="bad_protocol")
        if protocol == "paper" and (self.style or self.plans or self.length or self.seamless):
            message = "the paper's chain knows no plans: --style, --plans, --length and --loop need --protocol plan"
            raise ConfigError(message, reason="bad_protocol")
        if protocol == "paper" and self.steps:
            raise ConfigError("the paper's chain has its own steps: --steps needs --protocol plan", reason="bad_steps")
        return self.loop_by(protocol)


@dataclass(frozen=True)
class AblateOptions(PictureOptions):
    """What `ablate` is asked to do: one of its variants is the paper's chain, and pictures stand alone."""

    style: ClassVar[str] = ""
    length: ClassVar[float | None] = None
    seamless: ClassVar[bool] = False
    language: ClassVar[str] = "en"
    plans: ClassVar[str] = ""
    album: ClassVar[bool] = False
    chapter_gap: ClassVar[float | None] = None
    prune: ClassVar[Prune] = "no"
    refresh: ClassVar[bool] = False
    again: ClassVar[bool] = False
    from_rows: ClassVar[bool] = False
    overwrite: ClassVar[bool] = False
    keep: ClassVar[bool] = False
    batch_wait: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.images:
            raise ConfigError("ablate needs --images; see: image2music ablate --help", reason="bad_arguments")
        if self.part is not None:
            raise ConfigError("--slice is for compose", reason="bad_slice")

    @property
    def loop(self) -> LoopSettings:
        """Which chain the full method is, and how far it goes."""
        protocol = protocols_of(self.composer)[0]
        return self.loop_by(protocol)
