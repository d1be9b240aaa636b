"""Repairs of voices that do not fit together: pick-ups, lengths, repeats, and last bar lines.

A voice that ends early or late may lack a pick-up that stands in the other voices; that is the cause then, and told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from image2music.abc.ast import Bar, BarLine, Tune, Voice
from image2music.abc.repairs.bars import (
    BAR_SIGN,
    MAX_ADDED_BARS,
    Edit,
    Place,
    Proposal,
    Rule,
    bar_proposals,
    behind_last_note,
    edited,
    end_of_bar,
    events_of,
    front_of,
    rest_at,
    trimmed,
    unit_in,
    written_length,
)
from image2music.music.theory import Length, as_fraction, spoken


class VoiceAddition(NamedTuple):
    """What one voice needs: rests in front, at the last bar's end, and bars behind it.

    `own_line` is what stands behind the rests in front: "" where they fill the first bar up, `|` where they are a bar
    of their own, `|:` where that ends at the repeat sign that begins the voice.
    """

    voice: Voice
    front: Length
    own_line: str
    end: Length
    bars: int

    @property
    def said(self) -> str:
        """What to write, such as `begin voice 2 with z2 |`; "" where a length cannot be written."""
        unit = unit_in(self.voice, self.voice.bars[0])
        said = []
        if self.front:
            said.append(
                f"begin voice {self.voice.id} with z{written_length(self.front, unit)} {self.own_line}".rstrip()
            )
        last = self.voice.bars[-1]
        unit = unit_in(self.voice, last)
        if self.end:
            said.append(f"fill its last bar up with z{written_length(self.end, unit)}")
        if self.bars:
            said.append(f"end it with {' '.join([f'z{written_length(last.expected or 0, unit)} |'] * self.bars)}")
        if said and not self.front:
            said[0] = said[0].replace(" it ", f" voice {self.voice.id} ").replace(" its", f" voice {self.voice.id}'s")
        return ", ".join(said)

    @property
    def lengths(self) -> list[tuple[Length, Length]]:
        """The rests to write, each with its unit length."""
        last = self.voice.bars[-1]
        unit = unit_in(self.voice, last)
        rests = [(self.front, unit_in(self.voice, self.voice.bars[0])), (self.end, unit)]
        return [(length, unit) for length, unit in [*rests, ((last.expected or 0) * bool(self.bars), unit)] if length]

    def edits(self, text: str, tune: Tune) -> Iterator[Edit]:
        """Yield the edits that add it."""
        first, last = self.voice.bars[0], self.voice.bars[-1]
        if self.front:
            rest = written_length(self.front, unit_in(self.voice, first)) or ""
            is_before = self.own_line == "|:" and first.opening is not None
            place = first.opening.start if is_before and first.opening else front_of(text, tune, first)
            _, _, new = rest_at(text, place, rest)
            yield place, place, f"{new}| " if self.own_line == "|" else new
        event = events_of(self.voice, last)[-1]
        if self.end:
            place = end_of_bar(last, event)
            yield rest_at(text, place, written_length(self.end, event.grace_unit) or "")
        if self.bars:
            rest = written_length(last.expected or 0, event.grace_unit) or ""
            place = last.end if last.closing is not None else behind_last_note(text, event.end)
            yield place, place, ("" if last.closing is not None else " |") + f" z{rest} |" * self.bars


@dataclass(frozen=True)
class PickUps:
    """Voices whose first bars differ, and the least that makes them begin and end together."""

    message: str
    additions: tuple[VoiceAddition, ...]

    def applied(self, text: str, tune: Tune) -> str:
        """Return the text with all additions."""
        return edited(text, [edit for addition in self.additions for edit in addition.edits(text, tune)])


def differing_pick_ups(tune: Tune) -> PickUps | None:
    """Return how to mend a pick-up that some voices have and others lack; None where all begin alike.

    Nothing is taken away. Voices with a full first bar get a bar of rest as long as the pick-up, or the pick-up is made
    a full bar by rests before it, whichever adds less; last bars that completed the pick-up are filled up, and voices
    that then end early get bars of rest.
    """
    voices = list(tune.voices.values())
    firsts = [voice.bars[0] for voice in voices if voice.bars]
    if len({bar.length for bar in firsts}) < 2 or len(firsts) < len(voices):
        return None
    whole = firsts[0].expected
    if whole is None or any(bar.expected != whole or bar.count != 1 or len(bar.lengths) != 1 for bar in firsts):
        return None
    if any(bar.flawed or not 0 < bar.length <= whole for bar in firsts):
        return None
    short = [voice for voice in voices if voice.bars[0].length < whole]
    if not all(_is_pick_up(voice.bars, whole) for voice in short):
        return None
    longest = max(voice.bars[0].length for voice in short)
    ways = [_additions(voices, whole, longest), _additions(voices, whole, whole)]
    possible = [way for way in ways if way is not None]
    if not possible:
        return None
    best = min(possible, key=lambda way: sum(a.front + a.end + a.bars * whole for a in way))
    return PickUps(f"{_named(voices, whole)}: {' and '.join(a.said for a in best)}", tuple(best))


def _is_pick_up(bars: Sequence[Bar], whole: Length) -> bool:
    """Say whether a short first bar is one: at most two thirds of a bar, or completed by the last."""
    return bars[0].length * 3 <= whole * 2 or (len(bars) > 1 and bars[0].length + bars[-1].length == whole)


def _additions(voices: Sequence[Voice], whole: Length, first: Length) -> list[VoiceAddition] | None:
    """What makes every first bar `first` long, a whole bar or a pick-up, and all voices end together."""
    repeats_behind = any(line is not None and line.opens_repeat for line in (v.bars[0].closing for v in voices))
    plain: list[VoiceAddition] = []
    totals: list[Length] = []
    for voice in voices:
        bar, last = voice.bars[0], voice.bars[-1]
        own_line = "|" if bar.length > first else ""
        if own_line and repeats_behind and bar.opening is not None and bar.opening.opens_repeat:
            own_line = "|:"
        front = first if own_line else first - bar.length
        end = (last.expected or 0) - last.length if last is not bar and len(last.lengths) == 1 else 0
        end = end if 0 < end < (last.expected or 0) else 0
        plain.append(VoiceAddition(voice, front, own_line, end, 0))
        totals.append(voice.length + front + end)
    found = []
    for addition, total in zip(plain, totals, strict=True):
        bars = as_fraction(max(totals) - total) / as_fraction(whole)
        if bars.denominator != 1 or bars > MAX_ADDED_BARS:
            return None
        if addition.front or addition.end or bars:
            found.append(addition._replace(bars=int(bars)))
    writable = all(written_length(length, unit) is not None for one in found for length, unit in one.lengths)
    return found if writable and found else None


def _named(voices: Sequence[Voice], whole: Length) -> str:
    short = [voice for voice in voices if voice.bars[0].length < whole]
    full = [voice for voice in voices if voice.bars[0].length == whole]
    if not full:
        each = ", ".join(f"voice {voice.id} with {spoken(voice.bars[0].length)}" for voice in short)
        return f"the pick-ups differ: {each}"
    length = spoken(short[0].bars[0].length)
    has = "begins with a pick-up" if len(short) == 1 else "begin with a pick-up"
    others = "begins with a full bar" if len(full) == 1 else "begin with a full bar"
    return f"{_list_of(short)} {has} of {length}, {_list_of(full)} {others}"


def _list_of(voices: Sequence[Voice]) -> str:
    names = [voice.id for voice in voices]
    if len(names) == 1:
        return f"voice {names[0]}"
    return f"voices {', '.join(names[:-1])} and {names[-1]}"


def _pick_up_texts(place: Place) -> Iterator[Proposal]:
    pick_ups = differing_pick_ups(place.tune) if place.tune is not None else None
    if pick_ups is not None and place.tune is not None:
        yield Proposal(pick_ups.applied(place.text, place.tune), pick_ups.message)


def wrong_bar_proposals(place: Place) -> Iterator[Proposal]:
    """Propose for a bar of the wrong length: a first or last one may come of a pick-up that other voices lack."""
    voice = place.voice
    if voice is not None and voice.bars and place.finding.bar in (1, voice.bars[-1].number):
        yield from _pick_up_texts(place)
    yield from bar_proposals(place)


def unequal_proposals(place: Place) -> Iterator[Proposal]:
    """Propose for voices of different lengths."""
    yield from _pick_up_texts(place)
    text, tune, voice, finding = place.text, place.tune, place.voice, place.finding
    if tune is None or voice is None:
        return
    cause = finding.message.partition(": ")[0]
    longest = max(other.length for other in tune.voices.values())
    others = [other.length for other in tune.voices.values() if other is not voice]
    most = max(others, key=others.count, default=longest)
    yield from _filled_up(text, [voice], longest, cause)
    if voice.length > most:
        last = voice.bars[-1]
        if len(last.lengths) == 1:
            yield from trimmed(text, events_of(voice, last), voice.length - most, f"{cause}:")
        yield from _filled_up(text, [one for one in tune.voices.values() if one.length < longest], longest, cause)


def _filled_up(text: str, voices: Sequence[Voice], longest: Length, cause: str) -> Iterator[Proposal]:
    """End voices with rests: what the last bar lacks, then whole bars."""
    edits: list[Edit] = []
    said: list[str] = []
    for voice in voices:
        last = voice.bars[-1]
        whole = last.expected or 0
        missing = longest - voice.length
        end = whole - last.length if len(last.lengths) == 1 and last.count == 1 and last.length < whole else 0
        end = min(end, missing)
        bars = as_fraction(missing - end) / as_fraction(whole) if whole else Fraction(1, 2)
        if not missing or bars.denominator != 1 or bars > MAX_ADDED_BARS:
            return
        addition = VoiceAddition(voice, 0, "", end, int(bars))
        if any(written_length(length, unit) is None for length, unit in addition.lengths):
            return
        edits += addition.edits(text, Tune(0, 0))
        said.append(addition.said)
    if said:
        yield Proposal(edited(text, edits), f"{cause}: {' and '.join(said)}")


def repeat_proposals(place: Place) -> Iterator[Proposal]:
    """Propose for repeats: not closed, a first ending without its sign, or other signs than the first voice has."""
    text, tune, voice, finding = place.text, place.tune, place.voice, place.finding
    if tune is None or voice is None:
        return
    if finding.code == "repeats-differ":
        yield from _signs_of_first(text, next(iter(tune.voices.values())), voice)
        return
    bar = next((bar for bar in voice.bars if bar.number == finding.bar), None)
    opened = bar.opening if bar is not None else None
    if opened is None:
        return
    change = _closed_repeat if finding.code == "repeat-not-closed" else _closed_ending
    own = change(text, voice, opened.onset)
    alike = [change(text, one, opened.onset) for one in tune.voices.values()]
    yield Proposal(edited(text, [edit for edit in alike if edit is not None]))
    yield Proposal(edited(text, [own] if own is not None else []))
    sign = BAR_SIGN.match(text, opened.start)
    if sign is not None and finding.code == "repeat-not-closed":
        yield Proposal(edited(text, [(*sign.span(), sign[0].replace("|:", "||").replace("||||", "||"))]))


def _lines(voice: Voice) -> list[BarLine]:
    return [element for element in voice.elements if isinstance(element, BarLine)]


def _closed_repeat(text: str, voice: Voice, onset: Length) -> Edit | None:
    """Make a repeat's end of the bar line that ends the section which `|:` opens at `onset`."""
    lines = _lines(voice)
    opened = next((line for line in lines if line.onset == onset and line.opens_repeat), None)
    behind = [line for line in lines if opened is not None and line.start > opened.start and line.onset > onset]
    if not behind or any(line.repeats for line in behind[:1]):
        return None
    end = next((line for line in behind if line.is_section), behind[-1])
    sign = BAR_SIGN.match(text, end.start)
    if sign is None or end.repeats:
        return None
    return (*sign.span(), "::" if end.opens_repeat else ":|")


def _closed_ending(text: str, voice: Voice, onset: Length) -> Edit | None:
    """Write `:|` where a first ending that begins at `onset` runs into the second."""
    lines = _lines(voice)
    first = next((line for line in lines if line.onset == onset and 1 in line.ending), None)
    second = next((line for line in lines if first and line.ending and line.start > first.start), None)
    if second is None or second.repeats:
        return None
    place = next((line.start for line in lines if line.onset == second.onset and not line.ending), second.start)
    return place, place, ":" if text[place] != "[" or text[place : place + 2] == "[|" else ":|"


def _signs_of_first(text: str, first: Voice, voice: Voice) -> Iterator[Proposal]:
    """The repeat signs of the first voice at the same places of another."""
    theirs, mine = _signs(text, first), _signs(text, voice)
    edits: list[Edit] = []
    for onset, (start, end, sign) in mine.items():
        wanted = theirs[onset][2] if onset in theirs else ""
        if sign != wanted and (set(wanted) | set(sign)) & set(":123456789"):
            edits.append((start, end, wanted or "|"))
    yield Proposal(edited(text, edits))


def _signs(text: str, voice: Voice) -> dict[Length, Edit]:
    """Onset -> where the bar lines at it stand, and how they are written."""
    found: dict[Length, Edit] = {}
    for line in _lines(voice):
        sign = BAR_SIGN.match(text, line.start)
        if sign is None:
            continue
        before = found.get(line.onset)
        start = before[0] if before is not None and not text[before[1] : line.start].strip() else line.start
        found[line.onset] = (start, sign.end(), text[start : sign.end()])
    return found


def end_proposals(place: Place) -> Iterator[Proposal]:
    """Propose a last bar line for a voice that lacks it."""
    text, voice = place.text, place.voice
    if voice is not None and voice.bars and voice.bars[-1].closing is None:
        at = behind_last_note(text, events_of(voice, voice.bars[-1])[-1].end)
        yield Proposal(edited(text, [(at, at, " |]")]))


def pick_up_proposals(place: Place) -> Iterator[Proposal]:
    """Propose to give all voices the same pick-up."""
    yield from _pick_up_texts(place)


VOICE_RULES: dict[str, Rule] = {
    "bar-too-short": wrong_bar_proposals,
    "bar-too-long": wrong_bar_proposals,
    "overlay-length": wrong_bar_proposals,
    "missing-bar-line": end_proposals,
    "repeat-not-closed": repeat_proposals,
    "ending-without-repeat": repeat_proposals,
    "repeats-differ": repeat_proposals,
    "voices-unequal": unequal_proposals,
    "pickup-alone": pick_up_proposals,
}
"""Code -> what proposes repairs for it."""
