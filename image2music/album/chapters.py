"""The chapters of an album: the order of its pictures, where it is cut, and what each chapter is called.

Pictures stand in the order of the times at which they were taken, those of one time by their names. Where times tell
nothing, names alone do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import pairwise
from statistics import fmean, median

from image2music.images.kinds import all_kinds
from image2music.images.scene import Scene
from image2music.images.taken import Clock, Taken, clocks_of
from image2music.images.words import HEDGED, PERSONS, noun_of, places_of, title_phrases, with_the

PICTURES_A_CHAPTER = 3
_FEWEST_IN_CHAPTER = 2
_DIGITS = 6
"""Decimals of sums that decide."""

Bounds = list[tuple[int, int]]
"""(start, stop) of each chapter."""


def natural_order(place: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a sort key that puts IMG_9 before IMG_10."""
    parts = re.split(r"(\d+)", place)
    return tuple((part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)


def ordered(keys: Sequence[tuple[str, str]], times: Sequence[Taken | None]) -> tuple[list[int], list[Clock] | None]:
    """Return the numbers of pictures in the order of their album, and their clocks in that order.

    `keys` are the places and image_ids of the pictures. The clocks are None where times tell nothing.
    """
    numbers = sorted(range(len(keys)), key=lambda at: (natural_order(keys[at][0]), keys[at][1]))
    clocks = clocks_of([times[at] for at in numbers])
    if clocks is None:
        return numbers, None
    timed = sorted(zip(numbers, clocks, strict=True), key=lambda one: one[1].moment)  # stable: then by name
    return [number for number, _ in timed], [clock for _, clock in timed]


def chapters_of(
    scenes: Sequence[Scene], themes: Sequence[str], clocks: Sequence[Clock] | None, gap: float | None
) -> Bounds:
    """Return the chapters of pictures in their order: by the gaps between their times, else by what is seen.

    `gap` are the seconds from which on a gap makes a chapter, None for what suits the album (`cut_by_time`). Where
    then none is wide enough, what is seen tells.
    """
    bounds = cut_by_time(clocks, gap) if clocks is not None else []
    return bounds if len(bounds) > 1 or (bounds and gap is not None) else cut_by_scene(scenes, themes)


# ---------------------------------------------------------------- by time

_HOUR = 3_600_000
_WIDER_THAN_USUAL = 17
"""A gap between two events is so many times as wide as the gaps within them: Platt and others, PhotoTOC, 2003."""
_LEAST_GAP, _MOST_GAP = _HOUR, 6 * _HOUR


def cut_by_time(clocks: Sequence[Clock], gap: float | None = None) -> Bounds:
    """Return the chapters of pictures in the order of their times: cut where a gap is wider than a bound.

    The bound is 17 times the median gap of the album, at least an hour and at most six; then no more than the widest
    gaps cut, so that there are no more chapters than half the pictures (or two). With `gap`, in seconds, every wider
    one does. Pictures of which only the day is known are not apart from others of their day.
    """
    n = len(clocks)
    gaps = {at: _gap(one, other) for at, (one, other) in enumerate(pairwise(clocks), 1)}
    if gap is not None:
        return list(pairwise([0, *(at for at in gaps if gaps[at] > 1000 * gap), n]))
    bound = min(max(_WIDER_THAN_USUAL * median(gaps.values()), _LEAST_GAP), _MOST_GAP) if gaps else _MOST_GAP
    wide = sorted((at for at in gaps if gaps[at] > bound), key=lambda at: (-gaps[at], at))
    return list(pairwise([0, *sorted(wide[: max(2, n // 2) - 1]), n]))


def _gap(one: Clock, other: Clock) -> int:
    same_day = one.shown.date() == other.shown.date()
    return 0 if same_day and (one.whole_day or other.whole_day) else other.moment - one.moment


# ---------------------------------------------------------------- by what is seen


def valence_of(scene: Scene) -> float:
    """Return how glad a scene is, -1 to 1; neither glad nor sad where nobody says."""
    return 0.0 if scene.valence is None else round(scene.valence, _DIGITS)


def cut_by_scene(scenes: Sequence[Scene], themes: Sequence[str]) -> Bounds:
    """Return (start, stop) of each chapter: cut where the scenes change most, about three pictures each.

    Two pictures before a cut are held against two behind it. A cut never falls between near-duplicates.
    """
    n = len(scenes)
    marks = [_Marks.of(scene) for scene in scenes]
    jumps = {at: _jump(marks[max(0, at - 2) : at], marks[at : at + 2]) for at in range(1, n)}
    cuts = {0, n}
    for at in sorted(jumps, key=lambda at: (-jumps[at], at)):
        if len(cuts) - 1 >= max(1, round(n / PICTURES_A_CHAPTER)):
            break
        near = range(at - _FEWEST_IN_CHAPTER + 1, at + _FEWEST_IN_CHAPTER)
        if themes[at - 1] != themes[at] and cuts.isdisjoint(near):
            cuts.add(at)
    return list(pairwise(sorted(cuts)))


Weights = Mapping[str, float]


@dataclass(frozen=True)
class _Marks:
    """What a scene is held against others by: its places, its things with their groups, and its feeling."""

    places: Weights
    things: Weights
    valence: float
    arousal: float

    @classmethod
    def of(cls, scene: Scene) -> _Marks:
        places = {place.strip().lower(): 1.0 for place in scene.place.split(",") if place.strip()}
        things: dict[str, float] = {"person": 1.0} if scene.people else {}
        for name, share in scene.things:
            for word in {name, _groups().get(name, name)}:
                things[word] = max(things.get(word, 0.0), share)
        arousal = _EVEN_AROUSAL if scene.arousal is None else scene.arousal
        return cls(places, things, valence_of(scene), arousal)


_EVEN_AROUSAL = 0.4


@cache
def _groups() -> dict[str, str]:
    return {kind.name: kind.group for kind in all_kinds()}


def _jump(before: Sequence[_Marks], after: Sequence[_Marks]) -> float:
    return round(fmean(_change(one, other) for one in before for other in after), _DIGITS)


def _change(one: _Marks, other: _Marks) -> float:
    """Return how unlike two scenes are: other places and other things count one each, a wide change of feeling too."""
    # Arousal spans half as much as valence.
    feeling = abs(other.valence - one.valence) + 2 * abs(other.arousal - one.arousal)
    return _unlike(one.places, other.places) + _unlike(one.things, other.things) + feeling


def _unlike(one: Weights, other: Weights) -> float:
    """Return 1 for nothing in common, 0 for the same (or nothing on both sides)."""
    names = sorted({*one, *other})
    both = sum(min(one.get(name, 0.0), other.get(name, 0.0)) for name in names)
    either = sum(max(one.get(name, 0.0), other.get(name, 0.0)) for name in names)
    return 1 - both / either if either else 0.0


# ---------------------------------------------------------------- what chapters are called

_NUMBERED = {"en": "Chapter {}", "de": "Kapitel {}", "fr": "Chapitre {}", "es": "Capítulo {}"}
_DAYS = {"en": "{} {} {}", "de": "{}. {} {}", "fr": "{} {} {}", "es": "{} de {} de {}"}
_FROM_TO = {"en": " to ", "de": " bis ", "fr": " au ", "es": " al "}
_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
}


def chapter_titles(
    bounds: Bounds, scenes: Sequence[Scene | None], clocks: Sequence[Clock] | None, language: str = "en"
) -> list[str]:
    """Return a title for each chapter, no two the same: what is seen in it more than elsewhere, and its day if known.

    `scenes` are those of the pictures in their order, None where nobody said; `language` is one of `LANGUAGES`.
    """
    names = [frozenset() if scene is None else _telling_names(scene, language) for scene in scenes]
    everywhere = Counter(name for one in names for name in one)
    titles: list[str] = []
    for number, (start, stop) in enumerate(bounds, 1):
        seen = Counter(name for one in names[start:stop] for name in one)
        # Much of the chapter shows it, and little else does.
        best = min(seen, key=lambda name: (-round(seen[name] ** 2 / everywhere[name], _DIGITS), name), default="")
        told = [clock for clock in clocks[start:stop] if clock.told] if clocks is not None else []
        words = _said(best, language) if best else _NUMBERED[language].format(number)
        title = ", ".join([words, *_days(told, language)])
        if title in titles and told and not told[0].whole_day:
            title = f"{title}, {told[0].shown:%H:%M}"
        titles.append(title if title not in titles else f"{title} ({number})")
    return titles


def _telling_names(scene: Scene, language: str) -> frozenset[str]:
    """Return the names of things and, with an @, of places in a scene that a title can have."""
    things = (name for name, confidence in scene.things if name not in PERSONS and round(confidence, 3) >= HEDGED)
    names = [*(f"@{place.lower()}" for place in places_of(scene)), *things]
    return frozenset(name for name in names if _said(name, language))


def _said(name: str, language: str) -> str:
    phrases = title_phrases(name, language)
    if not phrases and not name.startswith("@") and (noun := noun_of(name, language)):
        words = with_the(noun, language)
        phrases = (" ".join(word[:1].upper() + word[1:] for word in words.split()) if language == "en" else words,)
    text = phrases[0] if phrases else ""
    return text[:1].upper() + text[1:]


def _days(told: Sequence[Clock], language: str) -> list[str]:
    days = [clock.shown.date() for clock in told]
    return (
        [_FROM_TO[language].join(_day(day, language) for day in dict.fromkeys([min(days), max(days)]))] if days else []
    )


def _day(day: date, language: str) -> str:
    number = "1er" if language == "fr" and day.day == 1 else str(day.day)
    return _DAYS[language].format(number, _MONTHS[language].split()[day.month - 1], day.year)
