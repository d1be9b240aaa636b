"""What flows through the pipelines, stage by stage: pictures, references, drafts, tunes, failures.

`ImageMetadata` and `AlbumPart` are what a picture brings along beside its bytes; their row forms (`part_row`,
`metadata_of_row`) let a rerun tell whether a finished row is still right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from image2music.abc.diagnostics import Diagnostic
from image2music.images.scene import Scene
from image2music.images.taken import Taken
from image2music.music.listen.sheet import Fault
from image2music.music.metrics import Metrics
from image2music.music.planning.constraints import PlanConstraints
from image2music.music.planning.lasting import read_duration
from image2music.music.planning.plan import Plan, plan_as_json, plan_of_json
from image2music.music.planning.wishes import WISH_COLUMNS, Wishes, constraints_of
from image2music.music.similarity import AlbumMode, Line, Sung
from image2music.music.theory import key_name


@dataclass(frozen=True)
class AlbumPart:
    """Key, meter, tempo and opening of one tune of an album.

    tonic: pitch class 0-11. tempo_qpm: quarter notes a minute. programs: General MIDI (from 0) of melody and
    accompaniment. theme: short id that near-duplicate pictures share. motif: one bar, the same throughout the album.
    opening: the notes that the melody begins with, bar by bar; the last bar may go on freely. chapter: short id of the
    chapter's first picture. taken: when the picture was taken, None where nothing that the album believes says so.
    """

    tonic: int
    mode: AlbumMode
    meter: str
    tempo_qpm: int
    programs: tuple[int, int]
    theme: str
    motif: Line
    opening: tuple[Line, ...]
    chapter: str = ""
    taken: Taken | None = None

    @property
    def key(self) -> str:
        """As ABC writes it: `D`, `Bm`."""
        return album_key(self.tonic, self.mode)

    @property
    def constraints(self) -> PlanConstraints:
        """What a plan of this tune must keep."""
        tempo = float(self.tempo_qpm)
        return PlanConstraints(
            key=self.key,
            meters=(self.meter,),
            qpm=(tempo, tempo),
            players=tuple((program,) for program in self.programs),
        )


def album_key(tonic: int, mode: AlbumMode) -> str:
    """Name a key (`D`, `Bm`), spelled with at most six signs."""
    major = tonic if mode == "major" else (tonic + 3) % 12
    return key_name((major * 7 + 5) % 12 - 5, minor=mode == "minor")


def part_row(part: AlbumPart) -> dict[str, Any]:
    """Return the column `album_part` of schemas/composition.py."""
    return {
        "key": part.key,
        "tonic": part.tonic,
        "mode": part.mode,
        "meter": part.meter,
        "tempo_qpm": part.tempo_qpm,
        "programs": list(part.programs),
        "theme": part.theme,
        "motif": line_text(part.motif),
        "opening": [line_text(line) for line in part.opening],
        "chapter": part.chapter or None,
        "taken_at": None if part.taken is None else part.taken.text,
        "taken_by": None if part.taken is None else part.taken.by,
    }


def part_of_row(row: dict[str, Any]) -> AlbumPart:
    """Return the inverse of `part_row`; columns of a later release than that of the row may be absent."""
    first, second = row["programs"]
    return AlbumPart(
        tonic=row["tonic"],
        mode=row["mode"],
        meter=row["meter"],
        tempo_qpm=row["tempo_qpm"],
        programs=(first, second),
        theme=row["theme"],
        motif=read_line(row["motif"]),
        opening=tuple(read_line(text) for text in row["opening"]),
        chapter=row.get("chapter") or "",
        taken=taken_of_part(row),
    )


def taken_of_part(row: dict[str, Any]) -> Taken | None:
    """Return when the picture of a column `album_part` was taken."""
    return Taken.of_text(row["taken_at"], row["taken_by"]) if row.get("taken_at") else None


def line_text(line: Line) -> str:
    """Write a line as text: `0:2 7:1` is the tonic for two eighths, then the fifth above it for one."""
    return " ".join(f"{pitch}:{eighths}" for pitch, eighths in line)


def read_line(text: str) -> Line:
    """Return the inverse of `line_text`."""
    pairs = (pair.split(":") for pair in text.split())
    return tuple(Sung(int(pitch), int(eighths)) for pitch, eighths in pairs)


MatchedBy = Literal["text", "image", "both"]
SegmentKind = Literal["all", "voice", "bars", "motivation", "plan"]
"""all, voice, bars, motivation: attention of the model's tokens. plan: what a decision of the plan would lose without a
part of the picture, by leaving it out; no attention."""


@dataclass(frozen=True)
class Reference:
    """A tune that the index returned for a picture. Similarities are cosines; None where that search missed it.

    `contributes` says what it may lend to the tune: figure, harmony, instruments, rhythm. `licence` and `source` are
    what the index says of them, None where it says nothing.
    """

    tune_id: str
    row_hash: str
    location: str
    caption: str
    abc: str
    metrics: Metrics
    similarity_text: float | None
    similarity_image: float | None
    matched_by: MatchedBy
    contributes: str = ""
    licence: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Description:
    """What a composer sees in a picture: as prose, and as a scene where it can tell so much.

    `features` is whatever the composer wants to find again in later calls for the same picture (encoded patches, a
    grid of embeddings), so that a picture is looked at once. It must pickle.
    """

    text: str
    features: object = None
    scene: Scene | None = None


@dataclass(frozen=True)
class AttentionMap:
    """Equation 2 of the paper for one segment of the tune or of the motivation; for kind `plan` see there.

    `weights` is float32[rows, cols]: attention from the segment's tokens to the picture's patches, averaged over
    layers, heads and tokens, as probabilities (the rest of the mass went elsewhere). `baseline` has the same shape,
    for a blank picture; of kind `plan` the weights add up to 1 and the baseline is even. `text` is the segment itself,
    its name for a voice, the decision for kind `plan`. `layers`, where asked for, is float32[layers, rows, cols], the
    same before its mean over layers; `faithfulness` see `composers.attention.boxes`.
    """

    segment: str
    kind: SegmentKind
    text: str
    weights: NDArray[np.float32]
    baseline: NDArray[np.float32]
    layers: NDArray[np.float32] | None = None
    faithfulness: dict[str, float] | None = None


@dataclass(frozen=True)
class Explanation:
    """Why the tune sounds as it does, and where the composer looked while it wrote.

    `attention_missing` is a snake_case reason where that is not known; rows have no place for it, run.json counts it.
    """

    motivation: str
    attention: tuple[AttentionMap, ...] = field(default_factory=tuple)
    attention_missing: str | None = None


METADATA_COLUMNS = ("catalog_id", "hint", "wishes", "asked_plan", "album_part")
"""Columns of schemas/composition.py that hold a brief; all but the first are only there where a run has them."""


@dataclass(frozen=True)
class ImageMetadata:
    """What a catalogue says of a picture, and what its tune takes over from its album; None where there is none.

    `plan` is a whole plan that a person wrote for it.
    """

    catalog_id: str | None = None
    hint: str | None = None
    part: AlbumPart | None = None
    wishes: Wishes | None = None
    plan: Plan | None = None

    @property
    def row(self) -> dict[str, Any]:
        """The values of `METADATA_COLUMNS`."""
        part = None if self.part is None else part_row(self.part)
        wishes = None if self.wishes is None else {name: getattr(self.wishes, name) or None for name in WISH_COLUMNS}
        plan = None if self.plan is None else json.dumps(plan_as_json(self.plan), ensure_ascii=True)
        return {
            "catalog_id": self.catalog_id,
            "hint": self.hint,
            "wishes": wishes,
            "asked_plan": plan,
            "album_part": part,
        }

    def constraints(self, style: str = "", length: str = "", loop: bool = False) -> tuple[PlanConstraints, ...]:
        """Return what a plan must keep: the album's demands, then wishes.

        `style` and `length` are asked for where no row asks, and `length` where a row's is none; all tunes are to
        `loop` or none.
        """
        wishes = self.wishes or Wishes()
        wishes = replace(wishes, style=wishes.style or style, length=wishes.length or length)
        asked = replace(constraints_of(wishes), loop=loop)
        if asked.length is None and length:
            asked = replace(asked, length=read_duration(length))
        found = () if self.part is None else (_roomy(self.part.constraints, asked.length),)
        return found if asked == PlanConstraints() else (*found, asked)


_ROOM = 1.1


def _roomy(wanted: PlanConstraints, length: float | None) -> PlanConstraints:
    """Let a tune that is to last some time be a tenth slower or faster than its album asks."""
    if length is None or wanted.qpm is None:
        return wanted
    return replace(wanted, qpm=(round(wanted.qpm[0] / _ROOM, 1), round(wanted.qpm[1] * _ROOM, 1)))


NO_METADATA = ImageMetadata()


@dataclass(frozen=True)
class ImageSource:
    """Where a picture lies, and what it brings along."""

    uri: str
    brief: ImageMetadata = NO_METADATA


def metadata_of_row(row: dict[str, Any]) -> ImageMetadata:
    """Return the inverse of `ImageMetadata.row`; columns may be absent."""
    part, asked, plan = row.get("album_part"), row.get("wishes"), row.get("asked_plan")
    return ImageMetadata(
        row.get("catalog_id"),
        row.get("hint"),
        None if part is None else part_of_row(part),
        None if asked is None else Wishes(**{name: asked.get(name) or "" for name in WISH_COLUMNS}),
        None if plan is None else plan_of_json(json.loads(plan)),
    )


def metadata_key(image_id: str, row: dict[str, Any]) -> bytes:
    """Return what a finished row and a picture to be composed have in common: 32 bytes.

    `row` holds `METADATA_COLUMNS`, None or absent where the picture has none. Without any of them the key is the
    image_id itself.
    """
    brief = {name: row[name] for name in METADATA_COLUMNS if row.get(name) is not None}
    if "wishes" in brief:  # rows that were made before there was this wish
        brief["wishes"] = {name: wish for name, wish in brief["wishes"].items() if wish is not None or name != "length"}
    if not brief:
        return bytes.fromhex(image_id)
    text = json.dumps(brief, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(f"{image_id}:{text}".encode()).digest()


Purpose = Literal["draft", "repair", "edit", "refine"]


@dataclass(frozen=True)
class Failure:
    """An element that could not be finished. `reason` is a stable snake_case word, `message` is one line."""

    stage: str
    id: str
    uri: str
    reason: str
    message: str


@dataclass(frozen=True)
class CaptionedMidi:
    """One line of the captions file. `location` and `image` are relative to the folder of MIDI files.

    `caption` is empty where a picture alone describes the tune, `image` where there is none. `image_id` is the sha256
    of the picture's bytes in hex, once it was read. `licence` and `source` (where the tune comes from) are empty where
    nobody says.
    """

    location: str
    caption: str
    genre: tuple[str, ...] = ()
    mood: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    image: str = ""
    image_id: str = ""
    licence: str = ""
    source: str = ""


@dataclass(frozen=True)
class CaptionedTune:
    """A captioned MIDI file as ABC notation. `tune_id` is the sha256 of the MIDI bytes in hex.

    `music_id` is what `similarity.music_id` makes of its notes, `picture` the opened picture where the line names one.
    """

    tune_id: str
    source: CaptionedMidi
    abc: str
    key: str
    meter: str
    tempo_qpm: float
    duration_s: float
    bars: int
    voices: int
    metrics: Metrics
    music_id: str
    picture: Image | None = None


@dataclass(frozen=True)
class ImageRef:
    """A picture by its content, without pixels. `uris` holds every place of the same bytes, sorted.

    `brief` is what it brings along: that of the first place which brings any.
    """

    image_id: str
    uris: tuple[str, ...]
    brief: ImageMetadata = NO_METADATA

    @property
    def uri(self) -> str:
        """The first place."""
        return self.uris[0]


@dataclass(frozen=True)
class DescribedImage:
    """A picture, upright and scaled down, and what the composer sees in it. `width` and `height` are the file's."""

    ref: ImageRef
    image: Image
    width: int
    height: int
    description: Description
    seconds: float = 0.0


@dataclass(frozen=True)
class RetrievedContext:
    """A described picture with its embeddings (float32[dim], unit length) and the tunes they found, best first."""

    described: DescribedImage
    image_embedding: NDArray[np.float32]
    description_embedding: NDArray[np.float32]
    references: tuple[Reference, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Draft:
    """One attempt at a tune, mended, checked and measured.

    `mends` says what was mended by rule, `diagnostics` what the checker finds in the mended text. `metrics`, `critic`
    (musicality, higher is better) and `adherence` (to its plan, 0 to 1) are None where errors are left, `faults` what
    a listener hears. `longest_copy` counts the notes in a row that are shared with a reference.
    """

    abc: str
    diagnostics: tuple[Diagnostic, ...]
    metrics: Metrics | None
    longest_copy: int = 0
    mends: tuple[Diagnostic, ...] = ()
    faults: tuple[Fault, ...] = ()
    critic: float | None = None
    adherence: float | None = None

    @property
    def errors(self) -> int:
        """Number of diagnostics that keep the tune from standing."""
        return sum(diagnostic.severity == "error" for diagnostic in self.diagnostics)

    @property
    def validity(self) -> str:
        """`valid`, or `2_errors`: the reason of a round."""
        return f"{self.errors}_errors" if self.errors else "valid"


@dataclass(frozen=True)
class Edit:
    """Put `abc` (without bar lines) in the place of bar `bar` (from 1) of voice `voice` (its id).

    `better` is what the composer says is better, in a few words; empty where it only tries.
    """

    bar: int
    voice: str
    abc: str
    better: str = ""


@dataclass(frozen=True)
class Round:
    """One step of the loop: what was tried, whether it became the tune that stands, and why."""

    purpose: Purpose
    draft: Draft
    accepted: bool
    reason: str


@dataclass(frozen=True)
class ComposedTune:
    """What the loop returns for one picture: the tune that stands, how it came about and its explanation.

    `plan` is what it was written to, `unmet` names wishes that it doesn't meet.
    """

    draft: Draft
    rounds: tuple[Round, ...]
    title: str
    key: str
    meter: str
    tempo_qpm: float
    bars: int
    midi: bytes
    explanation: Explanation
    plan: Plan | None = None
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True)
class RefinedTune:
    """A picture with everything that its row is made of; `rights` is that column of schemas/composition.py."""

    context: RetrievedContext
    tune: ComposedTune
    seconds: float = 0.0
    rights: Mapping[str, Any] | None = None
