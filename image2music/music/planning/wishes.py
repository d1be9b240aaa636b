"""What people ask for in words, read as constraints on a plan.

Words are read by tables (`vocabulary`). What is not understood is named, and stays a hint for the composer; what
contradicts is named too, by the plan that keeps the other: tempo goes before style, style before mood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from image2music.music.planning.constraints import (
    CALM_BELOW,
    STRONG_FROM,
    Demand,
    PlanConstraints,
    Range,
)
from image2music.music.planning.plan import MOST_BARS
from image2music.music.planning.schema import FASTEST_QPM, SLOWEST_QPM
from image2music.music.planning.vocabulary import mood_vocabulary, plain, players_of, style_words, tempo_words


@dataclass(frozen=True)
class Wishes:
    """What somebody asks of a tune, in free words; empty where nothing is asked.

    `hint` says what the picture shows; it goes to the composer and is no constraint.
    """

    mood: str = ""
    tempo: str = ""
    instruments: str = ""
    bars: str = ""
    style: str = ""
    hint: str = ""
    length: str = ""


WISH_COLUMNS = ("mood", "tempo", "instruments", "bars", "style", "length")
"""Columns of a catalogue, and fields of the column `wishes` of a row."""


def constraints_of(wishes: Wishes) -> PlanConstraints:
    """Read wishes. Never raises: what is not understood stands in `remarks`."""
    wishes = _in_their_columns(wishes)
    found = PlanConstraints()
    for read in (_with_tempo, _with_bars, _with_players, _with_style, _with_mood):
        found = read(found, wishes)
    return found


def _in_their_columns(wishes: Wishes) -> Wishes:
    """Move words that stand in another column than theirs (`slow waltz` as a style) where that one is empty."""
    tables: dict[str, Mapping[str, object]] = {
        "tempo": tempo_words(),
        "mood": mood_vocabulary(),
        "style": style_words(),
    }
    texts = {column: plain(getattr(wishes, column)) for column in tables}
    moved: dict[str, str] = {}
    for column, table in tables.items():
        _, left = _known(texts[column], table)
        for other in tables:
            if left and other != column and not texts[other]:
                words, _ = _known(left, tables[other])
                if words:
                    moved[other] = " ".join(words)
                    texts[column] = re.sub(rf"\b(?:{'|'.join(map(re.escape, words))})\b", " ", texts[column])
                    moved[column] = _without_loose_ends(texts[column])
    return replace(wishes, **moved)


def _without_loose_ends(text: str) -> str:
    words = text.strip(" ,;:&").split()
    while words and words[0] in _FILLERS:
        del words[0]
    while words and words[-1] in _FILLERS:
        del words[-1]
    return " ".join(words).strip(" ,;:&")


def _asking(found: PlanConstraints, field: str, values: Sequence[Any], source: str) -> PlanConstraints:
    """Add a wish: what the field allows becomes what both allow, or stays where they contradict."""
    have = getattr(found, field)
    if field == "qpm" and have:
        low, high = max(have[0], values[0]), min(have[1], values[1])
        both: tuple[Any, ...] = (low, high) if low <= high else have
    else:
        both = tuple(value for value in have if value in values) or have if have else tuple(values)
    found = replace(found, demands=(*found.demands, Demand(field, tuple(values), source)))
    return replace(found, **{field: both})  # type: ignore[arg-type]


def _remarked(found: PlanConstraints, remark: str) -> PlanConstraints:
    return replace(found, remarks=(*found.remarks, remark))


def _not_known(column: str, words: str) -> str:
    return f"{column} {words!r} is not known; it went to the composer as a hint"


# ---------------------------------------------------------------- tempo and bars

_NUMBER = r"(\d+(?:[.,]\d+)?)"
_RANGE = re.compile(
    rf"{_NUMBER}\s*(?:-|\u2013|\u2014|\.\.+|/|\bto\b|\bbis\b|\ba\b|\band\b|\bund\b|\bet\b|\by\b)\s*{_NUMBER}"
)
_MOST_WORDS = (
    r"at most|up to|under|below|less than|slower than|shorter than|max(?:imum|\.)?|hochstens|bis zu|unter|au plus|"
    r"como maximo|<=?|not more than|no more than"
)
_LEAST_WORDS = (
    r"at least|over|above|more than|faster than|longer than|min(?:imum|\.)?|mindestens|uber|ab|au moins|como minimo|"
    r">=?|not less than"
)
_AT_MOST = re.compile(rf"(?:{_MOST_WORDS})\s*{_NUMBER}")
_AT_LEAST = re.compile(rf"(?:{_LEAST_WORDS})\s*{_NUMBER}|{_NUMBER}\s*(?:\+|or more|oder mehr)")
_ABOUT = re.compile(
    rf"(?:about|around|ca\.?|circa|etwa|ungefahr|environ|roughly|approximately|approx\.?|~)\s*{_NUMBER}"
)
_ALONE = re.compile(_NUMBER)
_BEATS = {"♩.": 1.5, "♩": 1.0, "♪": 0.5, "half": 2.0, "dotted quarter": 1.5, "quarter": 1.0, "eighth": 0.5}
_BEAT = re.compile(r"(♩\.|♩|♪|dotted quarter|quarter|half|eighth)(?: note)?\s*=\s*")


def _range_of(text: str, near: float, lowest: float, highest: float) -> Range | None:
    """Read a number, a range or a bound; a number alone stands for itself and `near` around it."""
    if found := _RANGE.search(text):
        low, high = sorted(map(_number, found.groups()))
    elif found := _AT_MOST.search(text):
        low, high = lowest, _number(found.group(1))
    elif found := _AT_LEAST.search(text):
        low, high = _number(found.group(1) or found.group(2)), highest
    elif found := _ABOUT.search(text):
        low = high = _number(found.group(1))
        low, high = low - 2 * near, high + 2 * near
    elif found := _ALONE.search(text):
        low = high = _number(found.group(1))
        low, high = low - near, high + near
    else:
        return None
    return low, high


def _number(text: str) -> float:
    return float(text.replace(",", "."))


_NEAR_QPM = 2.0
"""Quarter notes a minute by which a tempo may miss the number that was asked for."""


def _with_tempo(found: PlanConstraints, wishes: Wishes) -> PlanConstraints:
    text = plain(wishes.tempo)
    if not text:
        return found
    beat = _BEAT.search(text)
    unit = _BEATS[beat.group(1)] if beat else 1.0
    named = _range_of(text[beat.end() :] if beat else text, _NEAR_QPM, SLOWEST_QPM, FASTEST_QPM)
    if named is not None:
        low, high = (value * unit for value in named)
    else:
        words, left = _known(text, tempo_words())
        if not words:
            return _remarked(found, _not_known("tempo", wishes.tempo))
        low, high = min(low for low, _ in words.values()), max(high for _, high in words.values())
        if re.search(r"\b(not too|non troppo|nicht zu|pas trop|no demasiado)\b", text):
            low, high = (low * 0.9, high * 0.9) if low >= 100 else (low * 1.1, high * 1.1)
        if left:
            found = _remarked(found, _not_known("tempo", left))
    if high < SLOWEST_QPM or low > FASTEST_QPM:
        return _remarked(found, f"tempo {wishes.tempo!r} lies outside of {SLOWEST_QPM:g} to {FASTEST_QPM:g}")
    qpm = (max(round(low, 1), SLOWEST_QPM), min(round(high, 1), FASTEST_QPM))
    return _asking(found, "qpm", qpm, f"tempo {wishes.tempo!r}")


_BAR_WORDS = {
    "very short": (4, 8), "short": (6, 14), "kurz": (6, 14), "court": (6, 14), "corto": (6, 14),
    "medium": (14, 24), "long": (28, 64), "lang": (28, 64), "largo": (28, 64), "four": (4, 4), "eight": (8, 8),
    "twelve": (12, 12), "sixteen": (16, 16), "twenty-four": (24, 24), "thirty-two": (32, 32), "acht": (8, 8),
    "sechzehn": (16, 16), "zwolf": (12, 12),
}  # fmt: skip


def _with_bars(found: PlanConstraints, wishes: Wishes) -> PlanConstraints:
    text = plain(wishes.bars)
    if not text:
        return found
    named = None if re.search(r"\d\s*(s|sec|seconds?|min|minutes?)\b", text) else _range_of(text, 0, 1, MOST_BARS)
    if named is not None and _ABOUT.search(text):
        middle = sum(named) / 2
        named = (middle - 2, middle + 2)
    if named is None and not re.search(r"\d", text):
        words, _ = _known(text, _BAR_WORDS)
        named = next(iter(words.values()), None)
    if named is None:
        return _remarked(found, _not_known("bars", wishes.bars))
    low, high = max(1, int(named[0])), int(min(named[1], MOST_BARS))
    if low > high:
        return _remarked(found, f"bars {wishes.bars!r}: a tune has 1 to {MOST_BARS}")
    return _asking(found, "bars", (low, high), f"bars {wishes.bars!r}")


_FILLER_TEXT = """
a an the of in at with and or but very quite rather somewhat slightly bit little more most some to for bpm qpm beats per
minute tempo mood feeling feel style music like in- und oder sehr etwas ein eine der die das wie et un une tres y muy
molto poco assai ma non troppo not too nicht zu pas trop no demasiado kind sort almost atmosphere touch overall piece
tune song ish steady pace con quarter note notes &
"""
_FILLERS = frozenset(_FILLER_TEXT.split())
"""Words that say nothing of their own."""

_Asked = TypeVar("_Asked")


def _known(text: str, table: Mapping[str, _Asked]) -> tuple[dict[str, _Asked], str]:
    """Find the words of a table in a text, longest first; return them, and what is left but for fillers."""
    words = re.findall(r"[^\s,;:/()+.!?]+", text)
    found: dict[str, _Asked] = {}
    left: list[str] = []
    at = 0
    while at < len(words):
        for size in range(min(4, len(words) - at), 0, -1):
            name = " ".join(words[at : at + size])
            match = next((one for one in (name, name.removesuffix("ly"), name.removesuffix("s")) if one in table), None)
            if match is not None:
                found[match] = table[match]
                at += size
                break
        else:
            if words[at] not in _FILLERS:
                left.append(words[at])
            at += 1
    return found, " ".join(left)


# ---------------------------------------------------------------- instruments

_BETWEEN = re.compile(r"\s*[,;+&/]\s*|\s+(?:and|und|et|y|e|with|mit|avec|con|plus)\s+")
_EITHER = re.compile(r"\s+(?:or|oder|ou|o)\s+")
_COUNTS = {
    "two": 2, "2": 2, "2x": 2, "zwei": 2, "deux": 2, "dos": 2, "due": 2, "pair of": 2, "three": 3, "3": 3, "3x": 3,
    "drei": 3, "trois": 3, "tres": 3, "tre": 3, "four": 4, "4": 4, "vier": 4, "quatre": 4, "cuatro": 4,
}  # fmt: skip
_COUNT = re.compile(rf"({'|'.join(sorted(_COUNTS, key=len, reverse=True))})\s+(.+)")
_WITHOUT = re.compile(r"(?:no|without|ohne|kein|keine|sans|sin|senza)\s+(.+)")


def _with_players(found: PlanConstraints, wishes: Wishes) -> PlanConstraints:
    players: list[tuple[int, ...]] = []
    without: list[int] = []
    text = re.sub(r"\b(without|ohne|sans|sin|senza|no)\b", r", \1", plain(wishes.instruments))
    parts = [text] if players_of(text) else _BETWEEN.split(text)
    for part in parts:
        if not part.strip(" ."):
            continue
        refused = _WITHOUT.fullmatch(part.strip(" ."))
        groups = _groups_of(refused.group(1) if refused else part.strip(" ."))
        if not groups:
            found = _remarked(found, _not_known("instruments", part.strip(" .")))
        elif refused:
            without.extend(program for group in groups for program in group)
        else:
            players.extend(groups)
    players = [group for group in players if not set(group) <= set(without)]
    source = f"instruments {wishes.instruments!r}"
    if players:
        found = _asking(found, "players", players, source)
    return _asking(found, "without", without, source) if without else found


def _groups_of(text: str) -> list[tuple[int, ...]]:
    """Read `two flutes`, `piano or harp`, `a soft electric guitar`, `program 42`; empty where nothing is known."""
    if numbered := re.fullmatch(r"(?:gm|program|midi)\s*(\d{1,3})", text):
        program = int(numbered.group(1))
        return [(program,)] if program < 128 else []
    counted = _COUNT.fullmatch(text)
    times, text = (_COUNTS[counted.group(1)], counted.group(2)) if counted else (1, text)
    options = [_longest(option) for option in _EITHER.split(text)]
    if not all(options):
        return []
    if len(options) > 1:
        return [tuple(dict.fromkeys(program for option in options for program in option[0]))] * times
    return list(options[0]) * times


def _longest(text: str) -> tuple[tuple[int, ...], ...]:
    """Return the players of the longest known name in a text."""
    words = text.split()
    spans = ((size, at) for size in range(len(words), 0, -1) for at in range(len(words) - size + 1))
    return next((players for size, at in spans if (players := players_of(" ".join(words[at : at + size])))), ())


# ---------------------------------------------------------------- style and mood


def _with_style(found: PlanConstraints, wishes: Wishes) -> PlanConstraints:
    text = plain(wishes.style)
    if not text:
        return found
    styles, left = _known(text, style_words())
    for name, rules in styles.items():
        source = f"style {name!r}"
        found = _asking(found, "qpm", rules.qpm, source)
        for field, values in (("meters", rules.meters), ("modes", rules.modes), ("families", rules.families)):
            if values:
                found = _asking(found, field, values, source)
        found = replace(found, suggested=found.suggested or rules.programs)
    if left:
        found = _remarked(found, _not_known("style", left))
    return replace(found, style=wishes.style)


_MAJOR_MODES, _MINOR_MODES = ("major", "mixolydian", "lydian"), ("minor", "dorian", "phrygian")
_MODE_WORDS = {
    "major": ("major",), "dur": ("major",), "majeur": ("major",), "mayor": ("major",), "minor": ("minor",),
    "moll": ("minor",), "mineur": ("minor",), "menor": ("minor",), "dorian": ("dorian",), "phrygian": ("phrygian",),
    "lydian": ("lydian",), "mixolydian": ("mixolydian",), "modal": ("dorian", "mixolydian", "lydian", "phrygian"),
}  # fmt: skip
_SIDE = 0.25
"""Valence from which a mood asks for major or minor."""
_CALM_QPM: Range = (SLOWEST_QPM, 92.0)
_STRONG_QPM: Range = (96.0, FASTEST_QPM)
_NEAR_MOOD = 0.15
_NEGATED = re.compile(r"\b(?:not|no|never|nicht|kein|keine|pas|sin|non)\b(?! too| troppo| zu| trop)")


def _with_mood(found: PlanConstraints, wishes: Wishes) -> PlanConstraints:
    text = plain(wishes.mood)
    if not text:
        return found
    if _NEGATED.search(text):
        return _remarked(found, _not_known("mood", wishes.mood))
    modes, rest = _known(text, _MODE_WORDS)
    moods, left = _known(rest, mood_vocabulary())
    if left:
        found = _remarked(found, _not_known("mood", left))
    asked = tuple(mode for group in modes.values() for mode in group)
    source = f"mood {wishes.mood!r}"
    if moods:
        valence = sum(one for one, _ in moods.values()) / len(moods)
        arousal = sum(one for _, one in moods.values()) / len(moods)
        found = replace(found, valence=_around(valence, -1.0))
        found = _asking(found, "arousal", _around(arousal, 0.0), source)
        if round(arousal, 3) < CALM_BELOW:
            found = _asking(found, "qpm", _CALM_QPM, source)
        elif round(arousal, 3) >= STRONG_FROM:
            found = _asking(found, "qpm", _STRONG_QPM, source)
        if not asked and round(abs(valence), 3) >= _SIDE:
            asked = _MAJOR_MODES if valence > 0 else _MINOR_MODES
    return _asking(found, "modes", asked, source) if asked else found


def _around(value: float, lowest: float) -> Range:
    return round(max(lowest, value - _NEAR_MOOD), 3), round(min(1.0, value + _NEAR_MOOD), 3)
