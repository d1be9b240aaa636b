"""Titles and attention maps for nano's tunes.

The maps of the tune, its voices and its bars are those of the network that reads the tune as it stands; those of the
plan's decisions come from leaving out parts of the picture. Titles name what is surely seen, and else the
place, the colours and how the music goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from image2music.abc.playback import abc_to_score
from image2music.composers.attention import BARS_A_GROUP, Faithfulness, Floats, Masks
from image2music.composers.base import ComposeRequest, ExplainRequest
from image2music.composers.nano.gestures import device_called, gestures_of
from image2music.composers.nano.motivation import motivate
from image2music.composers.nano.patches import SeenPicture
from image2music.composers.nano.sketch import TICKS, Note, Purpose, Sketch, SketchBar, bar_ticks
from image2music.composers.suiting import Character, SuitingMusic, instrument_called, leanings_of, suiting_music
from image2music.images.features import CELLS
from image2music.images.kinds import all_kinds
from image2music.images.leaving_out import cell_means
from image2music.images.scene import Scene
from image2music.images.words import (
    A_FEW,
    PERSONS,
    Noun,
    colour_in,
    noun_of,
    place_at,
    places_of,
    title_phrases,
    with_article,
    with_the,
)
from image2music.music.planning.plan import Plan
from image2music.settings import picture_seed
from image2music.types import AttentionMap, Explanation, SegmentKind

SURE_IN_TITLE = 0.6
"""From this confidence on a title may name a thing."""

_SMALL_WORDS = frozenset((
    "a", "an", "the", "for", "without", "of", "in", "on", "and", "by", "at", "under", "with", "to", "against", "from",
    "over", "beside", "among", "but",
))  # fmt: skip
_AROUND = ("landscape", "place", "structure", "building")
"""Groups that no title names beside something else: they are rather where it is."""
_NEVER_A_SEAT = ("indoors", "outdoors", "close-up", "texture", "drawing", "black and white", "night", "sunset", "storm")


def title_of(scene: Scene, music: SuitingMusic, seed: int, language: str = "en") -> str:
    """Return a title as a composer would give it, from what is surely seen, the place, the colours and the music.

    A thing is named from `SURE_IN_TITLE` on, a person only where persons were found; then comes the surest place, then
    the colours. `language` is one of `LANGUAGES`.
    """
    rng = np.random.Generator(np.random.Philox([seed, 1]))

    def draw(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    things = _sure_things(scene, language)
    places = places_of(scene)
    colours = [word for name in scene.palette if (word := colour_in(name, language))]
    c, d = [*colours, "", ""][:2]
    fields = {
        "form": draw(title_phrases(f"form {music.character}", language)),
        "way": draw(title_phrases(f"way {music.character}", language)),
        "c": c, "d": d, "at": _seat(places, things, language), **_as_said(things, language),
    }  # fmt: skip
    key, heads = _spoken_of(things, places, language)
    if key in ("drawing", "colour") and len(colours) == 1:
        key = "one colour"
    fields["head"] = draw(heads) if heads else ""
    for frames in (title_phrases(f"frame {one}", language) for one in (key, "colour")):
        fitting = [frame for frame in frames if all(fields[name] for name in fields if f"{{{name}}}" in frame)]
        if fitting:
            return _headline(draw(fitting).format(**fields), language)
    return _headline(f"{fields['form']}{' : ' if language == 'fr' else ': '}{fields['way']}", language)


def _spoken_of(things: Sequence[_Sure], places: Sequence[str], language: str) -> tuple[str, tuple[str, ...]]:
    """Return which frames a title has, and phrases that stand for what it names."""
    if things:
        first, others = things[0], things[1:]
        sports = [thing for thing in (first, *others) if thing.group == "sport"]
        if sports and (heads := title_phrases(sports[0].name, language)):
            return "head", heads
        if first.count:
            beside = " with" if others else ""
            whom = {1: "one", 2: "people" if beside else "two people"}.get(first.count, "people")
            return ("crowd" if first.count > A_FEW else f"{whom}{beside}"), ()
        if others:
            return "two", ()
        if heads := title_phrases(first.name, language):
            return "head", heads
        return ("animal" if first.group in ("animal", "bird") else "thing"), ()
    telling = [heads for name in places if (heads := title_phrases(f"@{name}", language))]
    if telling:
        vague = title_phrases("@sky", language)
        return "place", next((heads for heads in telling if heads != vague), vague)
    return ("drawing" if "drawing" in places else "colour"), ()


@dataclass(frozen=True)
class _Sure:
    """A thing that a title may name: `count` persons, or 0 and a noun."""

    name: str
    group: str
    count: int
    noun: Noun


def _sure_things(scene: Scene, language: str) -> list[_Sure]:
    """Return the sure things, persons first, then the surest."""
    groups = {kind.name: kind.group for kind in all_kinds()}
    found: list[_Sure] = []
    for name, confidence in scene.things:
        sure, person = round(confidence, 3), name in PERSONS
        noun = Noun(name, "", "n", name) if person else noun_of(name, language)
        if sure < SURE_IN_TITLE or noun is None or (person and (not scene.people or any(one.count for one in found))):
            continue
        found.append(_Sure(name, groups.get(name, name), (scene.people or 0) if person else 0, noun))
    found.sort(key=lambda one: not one.count)
    return [*found[:1], *(one for one in found[1:] if one.group not in _AROUND)]


def _seat(places: Sequence[str], things: Sequence[_Sure], language: str) -> str:
    """Return where it is (`on a beach`), unless a thing has said so already."""
    seat = next((at for name in places if name not in _NEVER_A_SEAT and (at := place_at(name, language))), "")
    named = [thing.noun.singular.lower().split()[-1] for thing in things if not thing.count]
    return "" if any(word in seat.lower() for word in named) else seat.removesuffix(" of a forest")


def _as_said(things: Sequence[_Sure], language: str) -> dict[str, str]:
    """Return the first two things that are no persons with their articles; what cannot be counted is no object."""
    said = dict.fromkeys(("a", "one", "the", "b", "theb"), "")
    mute = [thing.noun for thing in things if not thing.count]
    if len(mute) < len(things):
        mute = [mute[0], mute[0]] if mute else []
    if mute:
        whole = with_article(mute[0], language)
        subject = f"ein {mute[0].singular}" if whole.startswith("einen ") else whole
        said |= {"one": subject, "the": with_the(mute[0], language)}
        said["a"] = whole if mute[0].plural and mute[0].gender != "p" else ""
    if len(mute) > 1:
        whole = with_article(mute[1], language)
        said["b"] = f"ein {mute[1].singular}" if whole.startswith("einen ") else whole
        said["theb"] = with_the(mute[1], language)
    return said


def _headline(text: str, language: str) -> str:
    """Write a title as its language does: English has capitals, the others begin with one."""
    text = " ".join(text.split())
    if language == "de":
        return ": ".join(part[:1].upper() + part[1:] for part in text.split(": "))
    if language != "en":
        return text[:1].upper() + text[1:]
    words, first = [], True
    for word in text.split(" "):
        words.append(word if word in _SMALL_WORDS and not first else word[:1].upper() + word[1:])
        first = word.endswith(":")
    return " ".join(words)


class LineReader(Protocol):
    """The network that reads a line with a picture's cells in its context."""

    def read(
        self, sketch: Sketch, cells: NDArray[np.float32], spans: Sequence[Iterable[int]], *, dynamics: bool = True
    ) -> LookedAt:
        """Return where it looked in each span of bars (from 0), over the picture and over a blank one."""

    def likelihood_by_bar(
        self, sketch: Sketch, cells: NDArray[np.float32], hidden: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return float64[n, bars]: log likelihood of each bar with the cells of bool[n, cells] blank."""


class LookedAt(Protocol):
    """Float32[layers, spans, cells]: attention to cells, mean over heads and the tokens of the span."""

    @property
    def by_layer(self) -> NDArray[np.float32]:
        """Over the picture."""

    @property
    def blank_by_layer(self) -> NDArray[np.float32]:
        """Over a blank picture."""


def explain(reader: LineReader, requests: Sequence[ExplainRequest]) -> list[Explanation]:
    """Return one explanation a request; each tune is read alone, so the batch changes nothing."""
    return [_explain(reader, request) for request in requests]


def _explain(reader: LineReader, request: ExplainRequest) -> Explanation:
    picture = request.request.description.features
    if not isinstance(picture, SeenPicture):
        raise TypeError("nano explains from its own description of a picture: call look first")
    maps = _line_maps(reader, request, picture)
    scene = request.request.description.scene
    if scene is not None and request.plan is not None:
        asked = decided_by_picture(request.request)
        maps = (*maps, *decision_maps(scene, picture.without, request.plan, asked))
    return Explanation(motivate(request), maps)


def _line_maps(reader: LineReader, request: ExplainRequest, picture: SeenPicture) -> tuple[AttentionMap, ...]:
    """Return maps of the whole line, each voice's part in it and its bars by fours, from the network's reading."""
    plan = request.plan
    if plan is None:
        return ()
    scene = request.request.description.scene or Scene(subject="")
    sketch = sketch_that_stands(request.abc, plan, suiting_music(scene).character)
    names: list[tuple[str, SegmentKind, str]] = [("all", "all", "the whole tune")]
    spans: list[list[int]] = [list(range(len(sketch.bars)))]
    for voice in sorted({bar.singer for bar in sketch.bars} - {0}, key=plan.place_of):
        place = plan.place_of(voice)
        names.append((f"voice {place}", "voice", str(place)))
        spans.append([number for number, bar in enumerate(sketch.bars) if bar.singer == voice])
    for first in range(0, len(sketch.bars), BARS_A_GROUP):
        last = min(first + BARS_A_GROUP, len(sketch.bars))
        names.append((f"bars {first + 1}-{last}", "bars", f"bars {first + 1} to {last}"))
        spans.append(list(range(first, last)))
    read = reader.read(sketch, picture.patches, spans)
    looked, blank = (
        layers.reshape(*layers.shape[:2], picture.rows, picture.cols) for layers in (read.by_layer, read.blank_by_layer)
    )
    maps = [looked[:, n].mean(0) for n in range(len(names))]
    measured: list[dict[str, float] | None] = [None] * len(maps)
    if request.attention_options.faithfulness:
        measure = _faithfulness(reader, sketch, picture, request.request.seed)
        measured = [measure.of(weights, span) for weights, span in zip(maps, spans, strict=True)]
    return tuple(
        AttentionMap(
            name, kind, text, maps[n], blank[:, n].mean(0),
            layers=looked[:, n] if request.attention_options.layers else None, faithfulness=measured[n],
        )
        for n, (name, kind, text) in enumerate(names)
    )  # fmt: skip


def _faithfulness(reader: LineReader, sketch: Sketch, picture: SeenPicture, seed: int) -> Faithfulness:
    """Measure maps by the likelihood of the line's bars beside pictures with blank cells, which stand for blur here."""

    def nats(masks: Masks) -> Floats:
        return reader.likelihood_by_bar(sketch, picture.patches, masks.reshape(len(masks), -1))

    return Faithfulness(nats, picture.rows, picture.cols, picture_seed(seed, "faithfulness"))


def sketch_that_stands(abc: str, plan: Plan, character: Character) -> Sketch:
    """Return a tune's melody as it stands, whoever sings it, over the plan's chords."""
    score = abc_to_score(abc)
    length = bar_ticks(plan.meter)
    starts = {bar.number: bar.tick for bar in reversed(score.bar_starts)}
    bars = []
    for number in range(1, plan.bars + 1):
        singer, place = plan.melody_at(number), plan.place_of(plan.melody_at(number))
        section = plan.section_at(number)
        notes: dict[int, Note] = {}
        if place and place <= len(score.tracks) and number in starts:
            track = score.tracks[place - 1]
            for onset, duration, pitch in zip(track.onsets, track.durations, track.pitches, strict=True):
                at = round((int(onset) - starts[number]) * TICKS / score.ticks_per_quarter)
                if 0 <= at < length:
                    notes[at] = (at, max(1, round(int(duration) * TICKS / score.ticks_per_quarter)), int(pitch))
        bars.append(
            SketchBar(
                chords=tuple(plan.harmony[number - 1].split()),
                notes=tuple(notes[at] for at in sorted(notes)),
                section=plan.sections.index(section),
                purpose=_purpose_of(plan, plan.sections.index(section)),
                dynamic=section.dynamic,
                singer=singer,
                program=plan.voice(singer).program if singer else 0,
            )
        )
    return Sketch(plan.key, plan.meter, plan.qpm, character, tuple(bars))


def _purpose_of(plan: Plan, number: int) -> Purpose:
    """Tell what a section is for from its name, its place and the climax, as plans don't say."""
    section = plan.sections[number]
    name, before = section.name.lower(), [one.name.lower() for one in plan.sections[:number]]
    named: dict[str, Purpose] = {"intro": "intro", "coda": "coda"}
    if name in named:
        return named[name]
    if plan.climax is not None and plan.climax.bar in section.bars:
        return "climax"
    if not name.startswith("a"):
        return "drive" if before[-1:] == [name] else "contrast"
    earlier = [one for one in before if one.startswith("a")]
    return "statement" if not earlier else "again" if before[-1].startswith("a") else "return"


Decision = Literal["tempo", "mode", "instruments", "device", "sections"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
"""What may be explained. The key's tonic and the meter are drawn by lot from what suits: no part of a picture decides
them. mode: how far the scene leans to major or minor. device, sections: see `Plan`."""
_LEAST = 1e-3
"""A decision that changes less by any block does not hang on the picture's parts."""
_DIGITS = 4


def decided_by_picture(request: ComposeRequest) -> frozenset[Decision]:
    """Return what nobody but the picture decided: no person's plan, no album, no wish."""
    if request.plan is not None:
        return frozenset()
    open_to: set[Decision] = set(DECISIONS)
    if request.album is not None:
        open_to -= {"tempo", "mode", "instruments"}
    for wanted in request.constraints:
        feeling = wanted.valence is not None or wanted.arousal is not None
        if wanted.qpm is not None or feeling:
            open_to.discard("tempo")
        if wanted.key is not None or wanted.modes or feeling:
            open_to.discard("mode")
        if wanted.players or wanted.suggested:
            open_to.discard("instruments")
    return frozenset(open_to)


def decision_maps(
    scene: Scene, without: Sequence[Scene], plan: Plan, asked: frozenset[Decision] = frozenset(DECISIONS)
) -> tuple[AttentionMap, ...]:
    """Return a map of kind `plan` for each decision that hangs on parts of the picture.

    `scene` is the whole one, `without` those of `scenes_without`, block by block (none: no maps).
    """
    if not without:
        return ()
    changes: Mapping[Decision, Callable[[Scene], float]] = {
        "tempo": _tempo_change(scene),
        "mode": _mode_change(scene),
        "instruments": _instruments_change(scene, plan),
        "device": _device_change(scene, plan),
        "sections": _sections_change(scene, plan),
    }
    even = np.full((CELLS, CELLS), 1 / CELLS**2, np.float32)
    maps = []
    for decision in DECISIONS:
        if decision not in asked:
            continue
        changed = [round(changes[decision](other), _DIGITS) for other in without]
        if max(changed) >= _LEAST:
            weights = cell_means(changed)
            shares = (weights / weights.sum()).astype(np.float32)
            maps.append(AttentionMap(f"plan: {decision}", "plan", decision, shares, even))
    return tuple(maps)


def _tempo_change(scene: Scene) -> Callable[[Scene], float]:
    own = leanings_of(scene).qpm
    return lambda other: abs(leanings_of(other).qpm - own)


def _mode_change(scene: Scene) -> Callable[[Scene], float]:
    own = leanings_of(scene).bright
    return lambda other: abs(leanings_of(other).bright - own)


def _instruments_change(scene: Scene, plan: Plan) -> Callable[[Scene], float]:
    """Compare how much the plan's instruments are asked for."""
    played = {instrument_called(voice.program, voice.name) for voice in plan.voices}

    def votes(of: Scene) -> dict[str, float]:
        found: dict[str, float] = {}
        for program, (vote, _) in leanings_of(of).instruments.items():
            if (name := instrument_called(program)) in played:
                found[name] = found.get(name, 0.0) + vote
        return found

    own = votes(scene)

    def change(other: Scene) -> float:
        there = votes(other)
        return sum(abs(own.get(name, 0.0) - there.get(name, 0.0)) for name in sorted({*own, *there}))

    return change


def _device_change(scene: Scene, plan: Plan) -> Callable[[Scene], float]:
    device = None if plan.device is None else device_called(plan.device.what)
    if device is None:
        return lambda other: 0.0

    def weight(of: Scene) -> float:
        return next(weight for name, weight, _ in gestures_of(of).devices if name == device)

    own = weight(scene)
    return lambda other: abs(weight(other) - own)


def _sections_change(scene: Scene, plan: Plan) -> Callable[[Scene], float]:
    """Count the parts of the picture that sections stand for and that would not be named."""
    parts = {section.picture_part for section in plan.sections if section.picture_part}

    def named(of: Scene) -> set[str]:
        return parts & {*of.eye_path, of.far, of.middle, of.near, of.focal_point, of.subject}

    own = named(scene)
    return lambda other: float(len(own - named(other)))
