"""What people ask for in words, as constraints on a plan, and which wishes a plan doesn't keep.

Words are read by tables (`vocabulary`). What is not understood is named, and stays a hint for the composer; what
contradicts is named too: tempo goes before style, style before mood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

from image2music.music.instruments import instrument_of
from image2music.music.planning.plan import DYNAMICS, MOST_BARS, Family, Plan
from image2music.music.planning.planner import MOST_PLANNED_VOICES, PlanRequest
from image2music.music.planning.schema import FASTEST_QPM, SLOWEST_QPM
from image2music.music.planning.vocabulary import (
    DRUM_KIT,
    mood_words,
    plain,
    players_of,
    style_words,
    tempo_words,
)
from image2music.music.theory import MODE_SHARPS, Tonality, fifths_name, fifths_of, read_tonality

Range = tuple[float, float]


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


WISH_COLUMNS = ("mood", "tempo", "instruments", "bars", "style")
"""Columns of a catalogue, and fields of the column `wishes` of a row."""


@dataclass(frozen=True)
class PlanConstraints:
    """What a plan must keep; None or empty where anything is right. Ranges include their ends.

    `key` and `meters` are written as in ABC; `qpm` is in quarter notes a minute. `players` has a group of programs
    (0-127, `DRUM_KIT` for drums) for each player, any of a group will do; others than these may only play if
    `others_may_play`. `without` are programs that may not. `families` are figures of which one must occur, `valence`
    (-1 to 1) and `arousal` (0 to 1) what the mood is. `suggested` programs are usual, not asked for. `sources` says by
    field in whose words it was asked, `remarks` are wishes that were not understood or contradict others.
    """

    key: str | None = None
    meters: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    qpm: Range | None = None
    bars: tuple[int, int] | None = None
    players: tuple[tuple[int, ...], ...] = ()
    others_may_play: bool = False
    without: tuple[int, ...] = ()
    families: tuple[Family, ...] = ()
    valence: Range | None = None
    arousal: Range | None = None
    suggested: tuple[int, ...] = ()
    style: str = ""
    sources: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()

    def source(self, field: str, default: str) -> str:
        """Return whose wish a field is: `mood 'sad'`."""
        return dict(self.sources).get(field, default)


def constraints_of(wishes: Wishes) -> PlanConstraints:
    """Read wishes. Never raises: what is not understood stands in `remarks`."""
    wishes = _in_their_columns(wishes)
    found = PlanConstraints()
    for read in (_with_tempo, _with_bars, _with_players, _with_style, _with_mood):
        found = read(found, wishes)
    return found


def _in_their_columns(wishes: Wishes) -> Wishes:
    """Move words that stand in another column than theirs (`slow waltz` as a style) where that one is empty."""
    tables: dict[str, Mapping[str, object]] = {"tempo": tempo_words(), "mood": mood_words(), "style": style_words()}
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
                    moved[column] = " ".join(texts[column].split())
    return replace(wishes, **moved)


def _sourced(found: PlanConstraints, fields: Iterable[str], source: str) -> PlanConstraints:
    return replace(found, sources=(*found.sources, *((field, source) for field in fields)))


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
    return _sourced(replace(found, qpm=qpm), ["qpm"], f"tempo {wishes.tempo!r}")


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
    return _sourced(replace(found, bars=(low, high)), ["bars"], f"bars {wishes.bars!r}")


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

_BETWEEN = re.compile(
    r"\s*(?:[,;+&]|\band\b|\bund\b|\bet\b|\by\b|\be\b|\bwith\b|\bmit\b|\bavec\b|\bcon\b|\bplus\b|/)\s*"
)
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
    if not players and not without:
        return found
    wanted = tuple(group for group in players if not set(group) <= set(without))
    found = replace(found, players=wanted, without=tuple(without))
    return _sourced(found, ["players", "without"], f"instruments {wishes.instruments!r}")


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
        if found.qpm is None or _overlap(found.qpm, rules.qpm):
            qpm = _overlap(found.qpm, rules.qpm) if found.qpm else rules.qpm
            if found.qpm is None:
                found = _sourced(found, ["qpm"], source)
            found = replace(found, qpm=qpm)
        else:
            asked = found.source("qpm", "tempo")
            found = _remarked(found, f"{source} goes at {_spoken(rules.qpm)}; {asked} was followed instead")
        for field, values in (("meters", rules.meters), ("modes", rules.modes), ("families", rules.families)):
            have = getattr(found, field)
            both = tuple(value for value in have if value in values) if have and values else have or values
            if have and values and not both:
                found = _remarked(
                    found, f"{source} and {found.source(field, field)} differ in {field}; kept the latter"
                )
            elif both != have:
                found = _sourced(replace(found, **{field: both}), () if have else [field], source)  # type: ignore[arg-type]
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
_CALM, _STRONG = 0.35, 0.65
"""Arousal below and from which a mood asks for a slow or a fast tempo."""
_CALM_QPM: Range = (SLOWEST_QPM, 92.0)
_STRONG_QPM: Range = (96.0, FASTEST_QPM)
_AROUND = 0.2
_NEGATED = re.compile(r"\b(?:not|no|never|nicht|kein|keine|pas|sin|non)\b(?! too| troppo| zu| trop)")


def _with_mood(found: PlanConstraints, wishes: Wishes) -> PlanConstraints:
    text = plain(wishes.mood)
    if not text:
        return found
    if _NEGATED.search(text):
        return _remarked(found, _not_known("mood", wishes.mood))
    modes, rest = _known(text, _MODE_WORDS)
    moods, left = _known(rest, mood_words())
    if left:
        found = _remarked(found, _not_known("mood", left))
    asked = tuple(mode for group in modes.values() for mode in group)
    if moods:
        valence = sum(one for one, _ in moods.values()) / len(moods)
        arousal = sum(one for _, one in moods.values()) / len(moods)
        found = replace(
            found,
            valence=(round(max(-1.0, valence - _AROUND), 3), round(min(1.0, valence + _AROUND), 3)),
            arousal=(round(max(0.0, arousal - _AROUND), 3), round(min(1.0, arousal + _AROUND), 3)),
        )
        found = _sourced(found, ["valence", "arousal"], f"mood {wishes.mood!r}")
        found = _paced(found, arousal, wishes.mood)
        if not asked and round(abs(valence), 3) >= _SIDE:
            asked = _MAJOR_MODES if valence > 0 else _MINOR_MODES
    if asked:
        both = tuple(mode for mode in found.modes if mode in asked)
        if found.modes and not both:
            source = found.source("modes", "style")
            return _remarked(found, f"mood {wishes.mood!r} asks for {_either(asked)}; {source} was followed instead")
        found = _sourced(replace(found, modes=both or asked), ["modes"], f"mood {wishes.mood!r}")
    return found


def _paced(found: PlanConstraints, arousal: float, mood: str) -> PlanConstraints:
    """Let a calm or a strong mood set the tempo where nothing else does."""
    wanted = _CALM_QPM if round(arousal, 3) < _CALM else _STRONG_QPM if round(arousal, 3) >= _STRONG else None
    if wanted is None:
        return found
    if found.qpm is None:
        return _sourced(replace(found, qpm=wanted), ["qpm"], f"mood {mood!r}")
    both = _overlap(found.qpm, wanted)
    if both is None:
        source = found.source("qpm", "tempo")
        return _remarked(found, f"mood {mood!r} asks for {_spoken(wanted)}; {source} was followed instead")
    return replace(found, qpm=both)


def _overlap(one: Range, other: Range) -> Range | None:
    low, high = max(one[0], other[0]), min(one[1], other[1])
    return (low, high) if low <= high else None


def _spoken(qpm: Range) -> str:
    return f"{qpm[0]:g}" if qpm[0] == qpm[1] else f"{qpm[0]:g} to {qpm[1]:g}"


def _either(options: Sequence[str]) -> str:
    return " or ".join(options)


# ---------------------------------------------------------------- what a plan keeps


def unmet(asked: PlanConstraints | Wishes, plan: Plan) -> tuple[str, ...]:
    """Name, in one sentence each, the wishes that a plan doesn't keep, and those that were not understood."""
    wanted = constraints_of(asked) if isinstance(asked, Wishes) else asked
    found: list[str] = []
    tonality = read_tonality(plan.key)
    if wanted.key is not None and (tonality is None or tonality != read_tonality(wanted.key)):
        found.append(f"{wanted.source('key', 'key')}: asked for {wanted.key}, the plan is in {plan.key}")
    if wanted.modes and (tonality is None or tonality.mode not in wanted.modes):
        found.append(f"{wanted.source('modes', 'mode')}: asked for {_either(wanted.modes)}, the plan is in {plan.key}")
    if wanted.meters and plan.meter not in wanted.meters:
        found.append(
            f"{wanted.source('meters', 'meter')}: asked for {_either(wanted.meters)}, the plan is in {plan.meter}"
        )
    qpm = main_tempo(plan)
    if wanted.qpm is not None and not wanted.qpm[0] <= qpm <= wanted.qpm[1]:
        found.append(f"{wanted.source('qpm', 'tempo')}: asked for {_spoken(wanted.qpm)}, the plan has {qpm:g}")
    if wanted.bars is not None and not wanted.bars[0] <= plan.bars <= wanted.bars[1]:
        found.append(f"{wanted.source('bars', 'bars')}: asked for {_spoken(wanted.bars)}, the plan has {plan.bars}")
    found += _unmet_players(wanted, plan)
    families = {part.family for section in plan.sections for part in section.parts if part.family}
    if wanted.families and not families & set(wanted.families):
        have = ", ".join(sorted(families)) or "none"
        found.append(
            f"{wanted.source('families', 'figures')}: asked for {_either(wanted.families)}, the plan has {have}"
        )
    found += _unmet_loudness(wanted, plan)
    return (*found, *wanted.remarks)


def main_tempo(plan: Plan) -> float:
    """Return the tempo of the middle bar when bars are sorted by tempo, in quarter notes a minute."""
    return median(section.qpm for section in plan.sections for _ in section.bars)


_CALM_AT_MOST, _STRONG_AT_LEAST = DYNAMICS.index("mf"), DYNAMICS.index("mf")


def _unmet_loudness(wanted: PlanConstraints, plan: Plan) -> list[str]:
    """A calm mood is never louder than `mf`, a strong one at least so somewhere."""
    if wanted.arousal is None:
        return []
    middle = round(sum(wanted.arousal) / 2, 3)
    loudest = max(DYNAMICS.index(section.dynamic) for section in plan.sections)
    source = wanted.source("arousal", "mood")
    if middle < _CALM and loudest > _CALM_AT_MOST:
        return [f"{source}: asked for calm, the plan is {DYNAMICS[loudest]} at its loudest"]
    if middle >= _STRONG and loudest < _STRONG_AT_LEAST:
        return [f"{source}: asked for strength, the plan is {DYNAMICS[loudest]} at its loudest"]
    return []


def _unmet_players(wanted: PlanConstraints, plan: Plan) -> list[str]:
    have = played_programs(plan)
    names = ", ".join(_program_name(program) for program in dict.fromkeys(have))
    source = wanted.source("players", "instruments")
    found = []
    missing = [wanted.players[number] for number in _unseated(wanted.players, have)]
    if missing:
        asked = ", ".join(_program_name(group[0]) for group in missing)
        found.append(f"{source}: asked for {asked}, the plan has {names}")
    welcome = {program for group in wanted.players for program in group}
    others = [one for one in dict.fromkeys(have) if one not in welcome]
    if wanted.players and not wanted.others_may_play and others:
        found.append(f"{source}: nobody asked for {', '.join(map(_program_name, others))}, which the plan has")
    refused = [one for one in dict.fromkeys(have) if one in wanted.without]
    if refused:
        found.append(f"{source}: asked for none of {', '.join(map(_program_name, refused))}, which the plan has")
    return found


def played_programs(plan: Plan) -> list[int]:
    """Return the program of each voice, `DRUM_KIT` for those that play drums."""
    drums = {part.voice for section in plan.sections for part in section.parts if part.role == "drums"}
    return [DRUM_KIT if voice.id in drums else voice.program for voice in plan.voices]


def _unseated(players: Sequence[tuple[int, ...]], have: Sequence[int]) -> list[int]:
    """Return the players for whom no voice is left when as many as possible have one (Kuhn's matching)."""
    seats: dict[int, int] = {}

    def seat(player: int, tried: set[int]) -> bool:
        for voice, program in enumerate(have):
            if program in players[player] and voice not in tried:
                tried.add(voice)
                if voice not in seats or seat(seats[voice], tried):
                    seats[voice] = player
                    return True
        return False

    return [player for player in range(len(players)) if not seat(player, set())]


def _program_name(program: int) -> str:
    return "drums" if program == DRUM_KIT else instrument_of(program).name


# ---------------------------------------------------------------- a request that keeps them


def apply_to_request(request: PlanRequest, constraints: PlanConstraints) -> PlanRequest:
    """Change a request as little as needed so that its plan keeps the constraints, as far as a plan can.

    A melody that is there already (`request.harmony`) keeps its key, meter and bars.
    """
    wanted = constraints
    if wanted.valence is not None:
        request = replace(request, valence=_inside(request.valence, wanted.valence))
    if wanted.arousal is not None:
        request = replace(request, arousal=_inside(request.arousal, wanted.arousal), dynamic=None)
    if wanted.qpm is not None:
        request = replace(request, qpm=_tempo_inside(request.qpm, wanted.qpm))
    request = replace(request, families=wanted.families or request.families, style=wanted.style or request.style)
    request = _with_programs(request, wanted)
    if request.harmony is not None:
        return request
    if wanted.meters and request.meter not in wanted.meters:
        request = replace(request, meter=wanted.meters[0])
    if wanted.bars is not None:
        request = replace(request, bars=min(max(request.bars, wanted.bars[0]), wanted.bars[1]))
    return replace(request, key=_key_for(request.key, wanted))


def _inside(value: float, allowed: Range) -> float:
    """Return the value, or where it is outside the middle of what is allowed."""
    return value if allowed[0] <= value <= allowed[1] else (allowed[0] + allowed[1]) / 2


_WELL_INSIDE = 8.0
"""Quarter notes a minute from the end of a range at which a tempo that must move into it comes to stand."""


def _tempo_inside(qpm: float, allowed: Range) -> float:
    """Return a whole tempo in a range, near the one given; a fraction only where the range holds no whole one."""
    low, high = allowed
    step = min(_WELL_INSIDE, (high - low) / 2)
    moved = qpm if low <= qpm <= high else low + step if qpm < low else high - step
    whole = float(round(moved))
    return whole if low <= whole <= high else round(moved, 2)


def _key_for(key: str, wanted: PlanConstraints) -> str:
    if wanted.key is not None:
        return wanted.key
    tonality = read_tonality(key)
    if not wanted.modes or tonality is None or tonality.mode in wanted.modes:
        return key
    place = fifths_of(tonality.tonic)
    for mode in wanted.modes:
        for tonic in (place, place - 12, place + 12):
            if abs(tonic + MODE_SHARPS[mode]) <= _MOST_SIGNS:
                return str(Tonality(fifths_name(tonic), mode))
    return key


_MOST_SIGNS = 7


def _with_programs(request: PlanRequest, wanted: PlanConstraints) -> PlanRequest:
    """Take the players that are asked for, else what the style suggests, melody first and bass last."""
    drums = any(group[0] == DRUM_KIT for group in wanted.players)
    programs = [next(one for one in group if one != DRUM_KIT) for group in wanted.players if group[0] != DRUM_KIT]
    if programs:
        chosen = tuple(_seated(programs)[:MOST_PLANNED_VOICES])
    elif wanted.suggested and not wanted.players:
        chosen = wanted.suggested
    else:
        chosen = request.programs
    chosen = tuple(one for one in chosen if one not in wanted.without) or request.programs
    return replace(request, programs=chosen, drums=drums or (request.drums and DRUM_KIT not in wanted.without))


def _seated(programs: Sequence[int]) -> list[int]:
    """Order programs: single lines from high to low, instruments that accompany themselves behind, basses last."""

    def place(program: int) -> tuple[int, int]:
        instrument = instrument_of(program)
        middle = (instrument.comfortable_low + instrument.comfortable_high) // 2
        low = instrument.comfortable_high <= _BASS_TOP
        return (2 if low else 1 if instrument.chords >= _SELF_ACCOMPANIED else 0), -middle

    return sorted(programs, key=place)


_BASS_TOP = 60
"""An instrument whose comfortable range ends here or below is a bass."""
_SELF_ACCOMPANIED = 5
