"""Mends bars: a meter that no bar follows, bars a little short or long, a last bar cut off, voices that end early."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter

from image2music.notation.abc_fields import Meter
from image2music.notation.abc_lengths import Length, as_fraction, scaled, spoken
from image2music.notation.abc_parser import parse
from image2music.notation.abc_tokens import Spelling, read_chord, read_note, read_rest
from image2music.notation.abc_tree import Bar, Change, Event, Tune, Voice
from image2music.notation.bar_lengths import wrong_bars
from image2music.notation.mend_header import meter_of
from image2music.notation.mending import Edit, Mending

_BEHIND_NOTE = re.compile(r"[\-)'\],\d/]*")
_LENGTH_INSIDE = re.compile(r"[\d/]")
_LENGTH_AT_END = re.compile(r"\d*(?:/+\d*)?$")
MAX_ADDED_BARS = 64


def mend_meter(mending: Mending) -> None:
    """Writes the meter that two thirds of all bars have, where the header names another and nothing changes it."""
    tunes = parse(mending.text).tunes
    if len(tunes) != 1 or not tunes[0].has_meter or tunes[0].meter.length is None:
        return
    tune = tunes[0]
    voices = list(tune.voices.values())
    if any(isinstance(e, Change) and isinstance(e.value, Meter) for voice in voices for e in voice.elements):
        return
    lengths = Counter(bar.length for voice in voices for bar in voice.bars if bar.count == 1)
    if lengths.total() < 3:
        return
    length, count = lengths.most_common(1)[0]
    meter = meter_of(length)
    if length == tune.meter.length or count * 3 < lengths.total() * 2 or meter is None:
        return
    match = re.search(r"^M:[^\n]*", mending.text, re.MULTILINE)
    if match is None:
        return
    message = f"wrote M:{meter} for {match[0][:20]}: {count} of {lengths.total()} bars have that length"
    mending.note("mended-meter", message, match.start())
    mending.apply([Edit(match.start(), match.end(), f"M:{meter}")])


def mend_bar_lengths(mending: Mending) -> None:
    """Fits bars that are a little short or long, if at most a third of a voice's bars are wrong.

    Short by at most half a bar, or the last bar: a rest is added. Long: a rest at the end, or else the last note, gives
    up what is too much, if it is longer than that. Anything else has no clear meaning and stays for the composer.
    """
    edits: list[Edit] = []
    for tune in parse(mending.text).tunes:
        for voice in tune.voices.values():
            edits += _voice_edits(mending, voice)
    mending.apply(edits)


def _voice_edits(mending: Mending, voice: Voice) -> list[Edit]:
    wrong = [finding.bar for finding in wrong_bars(voice)]
    if not wrong or len(wrong) > max(2, len(voice.bars) // 3):
        return []
    edits = []
    events = [element for element in voice.elements if isinstance(element, Event)]
    for bar in wrong:
        edit = _fitted(mending.text, _last_event(events, bar), bar, is_last=bar is voice.bars[-1])
        if edit is not None:
            expected = bar.expected or 0
            message = f"bar {bar.number} of voice {voice.id} held {spoken(bar.length)}, now {spoken(expected)}"
            what = f"added {edit.text.strip()}" if edit.start == edit.end else "shortened its end"
            mending.note("mended-bar", f"{message}: {what}", bar.start, voice.id, bar.number)
            edits.append(edit)
    return edits


def _last_event(events: list[Event], bar: Bar) -> Event:
    """The last event of a bar; a bar that is closed holds one."""
    return events[bisect_left(events, bar.end, key=lambda event: event.start) - 1]


def _fitted(text: str, last: Event, bar: Bar, *, is_last: bool) -> Edit | None:
    expected = bar.expected
    if len(bar.lengths) != 1 or expected is None:
        return None
    missing = expected - bar.length
    if missing > 0:
        if missing * 2 > expected and not is_last:
            return None
        rest = written_length(missing, last.grace_unit)
        place = bar.closing.start if bar.closing is not None else last.end
        blank = "" if text[place - 1 : place].isspace() else " "
        return Edit(place, place, f"{blank}z{rest} ") if rest is not None else None
    return _shortened(text, last, -missing)


def _shortened(text: str, event: Event, excess: Length) -> Edit | None:
    if event.duration < excess or (event.duration == excess and event.heads):
        return None
    if event.duration == excess:
        return Edit(event.start, event.end, "")
    length = written_length(event.duration - excess, event.grace_unit)
    token = text[event.start : event.end]
    if length is None or not _says_its_length(token, event):
        return None
    return Edit(event.start, event.end, _LENGTH_AT_END.sub(length, token, count=1))


def _says_its_length(token: str, event: Event) -> bool:
    """Whether the length behind a token is all of its length: no tuplet, no broken rhythm, none inside a chord."""
    if token[0] in "ZX":
        return False
    if token[0] == "[":
        return _LENGTH_INSIDE.search(token[: token.rindex("]")]) is None and _is_plain(read_chord(token), event)
    return _is_plain(read_rest(token) if token[0] in "zx" else read_note(token), event)


def _is_plain(spelling: Spelling, event: Event) -> bool:
    return scaled(event.grace_unit, spelling.numerator, spelling.denominator) == event.duration


def written_length(length: Length, unit: Length) -> str | None:
    """A length as ABC writes it behind a note, "" for one unit; None where it needs a tuplet."""
    value = as_fraction(length) / as_fraction(unit)
    if value.denominator & (value.denominator - 1):
        return None
    numerator = "" if value.numerator == 1 else str(value.numerator)
    return numerator if value.denominator == 1 else f"{numerator}/{value.denominator}"


def mend_ends(mending: Mending) -> None:
    """Fills up voices that end before the longest one with bars of rest, and ends every voice with a bar line."""
    edits: list[Edit] = []
    for tune in parse(mending.text).tunes:
        longest = max((voice.length for voice in tune.voices.values()), default=0)
        for voice in tune.voices.values():
            edits += _end_edits(mending, tune, voice, longest)
    mending.apply(edits)


def _end_edits(mending: Mending, tune: Tune, voice: Voice, longest: Length) -> list[Edit]:
    if not voice.bars:
        return []
    last = voice.bars[-1]
    event = next(e for e in reversed(voice.elements) if isinstance(e, Event))
    place = last.end if last.closing is not None else _end_of_line(mending.text, event.end)
    addition = "" if last.closing is not None else " |]"
    missing = longest - voice.length
    bar_length = last.meter.length
    if missing and bar_length is not None and missing % bar_length == 0 and missing // bar_length <= MAX_ADDED_BARS:
        rest = written_length(bar_length, event.grace_unit)
        count = int(missing // bar_length)
        if rest is not None:
            addition = ("" if last.closing is not None else " |") + f" z{rest} |" * count
            message = f"voice {voice.id} ended {count} bars early: filled it up with rests"
            mending.note("mended-voice", message, place, voice.id, last.number)
    if addition == " |]":
        mending.note("mended-last-bar", f"ended voice {voice.id} with a bar line", place, voice.id, last.number)
    return [Edit(place, place, addition)] if addition else []


def _end_of_line(text: str, offset: int) -> int:
    """Behind what still belongs to the last note: ties, slurs and the like up to a blank, comment or line end."""
    match = _BEHIND_NOTE.match(text, offset)
    return match.end() if match is not None else offset
