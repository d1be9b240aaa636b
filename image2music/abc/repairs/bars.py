"""Repairs of bars, repeats and voices that do not fit together, the cause before the symptom.

A bar of the wrong length may come of a wrong M: or L:, of a bar line too many, too few or misplaced, or of a note. A
voice that ends early or late may lack a pick-up that stands in the other voices. Each function proposes the whole text
as it would stand, with a sentence in place of the finding's own; nothing is judged here.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from image2music.abc.ast import Bar, Event, StateChange, Tune, Voice
from image2music.abc.diagnostics import Diagnostic
from image2music.abc.fields import read_meter
from image2music.abc.lexer import MUSIC, TokenMusic, read_note, read_note_group, read_rest
from image2music.music.theory import Length, Meter, as_fraction, scaled, spoken


class Proposal(NamedTuple):
    """A text in which a finding may be mended, and the finding's sentence then; "" keeps the old one."""

    text: str
    message: str = ""


Edit = tuple[int, int, str]
"""Characters from and to, and what to put there."""

BAR_SIGN = re.compile(r"\.?(?:\[\||:{1,8}\||\||::)[|:\]]{0,8}(?:[0-9][0-9,\-.]{0,15})?|\[[ ]?[0-9][0-9,\-.]{0,15}")
_BLANKS_AND_FIELDS = re.compile(r"(?:[ \t`]|\[[A-Za-z]:[^\[\]]*\])*")
_BEHIND_NOTE = re.compile(r"[\-)'\],0-9/]*")
_BEHIND_EVENT = re.compile(r"(?:[ \t]*(?:\.?-(?![|\]])|\)))*")
_LENGTH_INSIDE = re.compile(r"[0-9/]")
_LENGTH_AT_END = re.compile(r"[0-9]*(?:/+[0-9]*)?$")
_HEADER_METER = re.compile(r"^M:[^\n%]*", re.MULTILINE)
_TIMES = {Fraction(2): "twice", Fraction(4): "four times", Fraction(1, 2): "half", Fraction(1, 4): "a quarter of"}
MAX_ADDED_BARS = 64


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with edits made that do not overlap; of two that do, the first wins."""
    pieces: list[str] = []
    at = 0
    for start, end, new in sorted(edits, key=lambda edit: edit[0]):
        if start >= at:
            pieces += (text[at:start], new)
            at = end
    return "".join([*pieces, text[at:]])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a finding is: `offset` in the text, the line around it, and the tune it belongs to (None outside tunes)."""

    text: str
    offset: int
    start: int
    end: int
    tune: Tune | None
    finding: Diagnostic

    @property
    def rest(self) -> str:
        """What follows the place in its line."""
        return self.text[self.offset : self.end]

    def put(self, start: int, end: int, new: str) -> Proposal:
        """Propose one edit, counted from the place."""
        return Proposal(edited(self.text, [(self.offset + start, self.offset + end, new)]))

    def cut(self, n: int = 1) -> Proposal:
        """Propose to remove `n` characters."""
        return self.put(0, n, "")

    def moved(self, offset: int) -> Place:
        """Return the place at another offset."""
        return replace(self, offset=offset)

    def without_line(self) -> Proposal:
        """Propose to remove the line."""
        end = self.end
        while end < len(self.text) and self.text[end] in "\r\n" and not (end > self.end and self.text[end] == "\r"):
            end += 1
            if self.text[end - 1] == "\n":
                break
        return Proposal(edited(self.text, [(self.start, end, "")]))

    @property
    def voice(self) -> Voice | None:
        """The voice the finding is in."""
        return self.tune.voices.get(self.finding.voice or "") if self.tune is not None else None

    @property
    def bar(self) -> Bar | None:
        """The bar the finding is in."""
        bars = self.voice.bars if self.voice is not None else []
        return next((bar for bar in bars if bar.number == self.finding.bar), None)

    def token(self) -> re.Match[str] | None:
        """The token that begins here, with its kind in `lastindex`."""
        return MUSIC.match(self.text, self.offset, self.end)

    def event(self) -> Event | None:
        """The note, chord or rest that begins here."""
        elements = self.voice.elements if self.voice is not None else []
        return next((e for e in elements if isinstance(e, Event) and e.start == self.offset), None)


Rule = Callable[[Place], Iterator[Proposal]]
"""Proposes repairs of one finding, the likeliest first."""


def written_length(length: Length, unit: Length) -> str | None:
    """Return a length as ABC writes it behind a note, "" for one unit; None where it needs a tuplet."""
    value = as_fraction(length) / as_fraction(unit)
    if value <= 0 or value.denominator & (value.denominator - 1):
        return None
    numerator = "" if value.numerator == 1 else str(value.numerator)
    return numerator if value.denominator == 1 else f"{numerator}/{value.denominator}"


def meter_of(length: Length) -> str | None:
    """Return a bar length as a meter, quarters preferred; None where no meter has it."""
    value = as_fraction(length)
    denominator = max(value.denominator, 4 if value.denominator <= 4 else 8)
    text = f"{value * denominator}/{denominator}"
    return text if read_meter(text) is not None else None


def events_of(voice: Voice, bar: Bar, layer: int | None = None) -> list[Event]:
    """Return the notes, chords and rests of one bar, those of an `&` layer where one is named."""
    events = [element for element in voice.elements if isinstance(element, Event)]
    first = bisect_left(events, bar.start, key=lambda event: event.start)
    last = bisect_left(events, bar.end, key=lambda event: event.start)
    return [event for event in events[first:last] if layer in (None, event.layer)]


def behind_last_note(text: str, offset: int) -> int:
    """Return the offset behind what still belongs to a note: its ties and slurs, up to a blank or a comment."""
    match = _BEHIND_NOTE.match(text, offset)
    return match.end() if match is not None else offset


def unit_in(voice: Voice, bar: Bar) -> Length:
    """The unit length in force in a bar."""
    return events_of(voice, bar)[0].grace_unit


def front_of(text: str, tune: Tune, bar: Bar) -> int:
    """Where a bar's text begins: in front of its marks and chord symbols, behind fields and the bar line."""
    span = tune.span_at(bar.start)
    at = span.start if span is not None else bar.start
    if bar.opening is not None and at <= bar.opening.start < bar.start:
        at = bar.opening.start
    while True:
        match = _BLANKS_AND_FIELDS.match(text, at)
        at = match.end() if match is not None else at
        sign = BAR_SIGN.match(text, at)
        if sign is None or sign.end() > bar.start:
            return min(at, bar.start)
        at = sign.end()


def rest_at(text: str, place: int, rest: str) -> Edit:
    """Return the edit that writes a rest of a written length at a place."""
    blank = "" if place == 0 or text[place - 1].isspace() else " "
    return place, place, f"{blank}z{rest} "


def end_of_bar(bar: Bar, last: Event) -> int:
    """Where something can be added at the end of a bar, given its last event."""
    return bar.closing.start if bar.closing is not None else last.end


def bar_proposals(place: Place) -> Iterator[Proposal]:
    """Propose for a bar that is too short or too long, or an `&` layer that is."""
    text, tune, voice, bar = place.text, place.tune, place.voice, place.bar
    if tune is None or voice is None or bar is None or bar.expected is None:
        return
    index = bisect_left(voice.bars, bar.start, key=lambda bar: bar.start)
    if len(bar.lengths) > 1:
        yield from _layer(text, voice, bar)
        return
    yield from _meter(text, tune)
    yield from _voice_unit(text, tune, voice)
    yield from bar_line_proposals(text, voice, index)
    yield from _one_bar(text, tune, voice, bar)


def _changes_meter(tune: Tune) -> bool:
    elements = (element for voice in tune.voices.values() for element in voice.elements)
    return any(isinstance(element, StateChange) and isinstance(element.value, Meter) for element in elements)


def _meter(text: str, tune: Tune) -> Iterator[Proposal]:
    """The meter that most bars have, where the header names another."""
    lengths = Counter(bar.length for voice in tune.voices.values() for bar in voice.bars if bar.count == 1)
    if not lengths:
        return
    length, count = lengths.most_common(1)[0]
    meter, total = meter_of(length), lengths.total()
    match = _HEADER_METER.search(text, tune.start, tune.music_start)
    if match is None or meter is None or length == tune.meter.length or 2 * count <= total or _changes_meter(tune):
        return
    message = f"{count} of {total} bars hold {spoken(length)}, while M: asks for {tune.meter}: write M:{meter}"
    message += " (or another L:, if all notes should be longer or shorter)"
    yield Proposal(edited(text, [(*match.span(), f"M:{meter}")]), message)


def _voice_unit(text: str, tune: Tune, voice: Voice) -> Iterator[Proposal]:
    """Another unit length for a voice most of whose bars are twice or four times as long as they should be, or half."""
    ratios = Counter(as_fraction(bar.length) / as_fraction(bar.expected) for bar in voice.bars if bar.expected)
    ratio, count = max(ratios.items(), key=lambda pair: pair[1], default=(Fraction(1), 0))
    if ratio not in _TIMES or len(voice.bars) < 2 or 3 * count < 2 * len(voice.bars):
        return
    unit = as_fraction(unit_in(voice, voice.bars[0])) / ratio
    place = front_of(text, tune, voice.bars[0])
    message = (
        f"{count} of the {len(voice.bars)} bars of voice {voice.id} hold {_TIMES[ratio]} what the meter asks: "
        f"begin the voice with [L:{unit}]"
    )
    yield Proposal(edited(text, [(place, place, f"[L:{unit}] ")]), message)


def bar_line_proposals(text: str, voice: Voice, index: int) -> Iterator[Proposal]:
    """Propose to take a bar line away, to add one or to move one, where the bars then are full.

    No note changes, and the voice keeps its length.
    """
    bars = voice.bars
    bar = bars[index]
    whole = bar.expected or 0
    if bar.count != 1 or len(bar.lengths) != 1 or not whole:
        return
    if bar.length < whole:
        for left in (index, index - 1):
            yield from _joined(text, voice, left)
    else:
        yield from _split(text, voice, bar)
    for left in (index, index - 1):
        yield from _moved(text, voice, left)


def _plain_line_between(text: str, voice: Voice, left: int) -> tuple[int, int] | None:
    """Where the bar line between two bars of single layers stands, if it is nothing but a bar line."""
    if not 0 <= left < len(voice.bars) - 1:
        return None
    one, two = voice.bars[left : left + 2]
    line = one.closing
    if line is None or line.is_section or two.opening is not line or len(one.lengths) + len(two.lengths) != 2:
        return None
    sign = BAR_SIGN.match(text, line.start)
    return sign.span() if sign is not None and one.meter == two.meter and not two.flawed else None


def _joined(text: str, voice: Voice, left: int) -> Iterator[Proposal]:
    line = _plain_line_between(text, voice, left)
    if line is None:
        return
    one, two = voice.bars[left : left + 2]
    if one.length + two.length == one.expected and not one.flawed:
        message = (
            f"bars {one.number} and {two.number} of voice {voice.id} together make one of {one.meter}: "
            "remove the bar line between them"
        )
        yield Proposal(edited(text, [(*line, "")]), message)


def _split(text: str, voice: Voice, bar: Bar) -> Iterator[Proposal]:
    whole = bar.expected or 0
    bars = as_fraction(bar.length) / as_fraction(whole)
    events = events_of(voice, bar)
    if bars.denominator != 1 or not 2 <= bars <= 8:
        return
    places = [_boundary(text, events, bar.onset + whole * number) for number in range(1, int(bars))]
    if any(place is None for place in places):
        return
    lines = "a bar line is" if len(places) == 1 else f"{len(places)} bar lines are"
    message = (
        f"bar {bar.number} of voice {voice.id} holds {bars} bars of {bar.meter}: {lines} missing, write | "
        f"behind each {bar.meter}"
    )
    yield Proposal(edited(text, [(place, place, " |") for place in places if place is not None]), message)


def _boundary(text: str, events: Sequence[Event], onset: Length) -> int | None:
    """Where a bar line can stand in front of the event at `onset`: right behind the event before it."""
    index = next((index for index, event in enumerate(events) if event.onset == onset), 0)
    if not index:
        return None
    match = _BEHIND_EVENT.match(text, events[index - 1].end)
    place = match.end() if match is not None else events[index - 1].end
    return None if re.search(r"[<>]", text[place : events[index].start]) else place


def _moved(text: str, voice: Voice, left: int) -> Iterator[Proposal]:
    line = _plain_line_between(text, voice, left)
    if line is None:
        return
    one, two = voice.bars[left : left + 2]
    whole = one.expected or 0
    if one.length + two.length != 2 * whole or one.length == whole or one.flawed:
        return
    place = _boundary(text, [*events_of(voice, one), *events_of(voice, two)], one.onset + whole)
    if place is None:
        return
    late = one.length > whole
    message = (
        f"the bar line between bars {one.number} and {two.number} of voice {voice.id} stands "
        f"{spoken(max(one.length, whole) - min(one.length, whole))} too {'late' if late else 'early'}: move it "
        f"{'back' if late else 'on'}, so that each holds {one.meter}"
    )
    yield Proposal(edited(text, [(*line, ""), (place, place, " |")]), message)


def _one_bar(text: str, tune: Tune, voice: Voice, bar: Bar) -> Iterator[Proposal]:
    if len(bar.lengths) != 1 or not bar.n_events:
        return
    missing = (bar.expected or 0) - bar.length
    events = events_of(voice, bar)
    # A last bar may be meant to complete the pick-up.
    first, is_last = voice.bars[0].length, bar is voice.bars[-1] and len(voice.bars) > 1
    place = f"bar {bar.number} of voice {voice.id} holds {spoken(bar.length)} of {bar.meter}"
    if missing > 0:
        for amount in (missing, missing - first) if is_last and missing > first else (missing,):
            rest = _rest_of(amount, events[-1].grace_unit)
            if rest:
                message = f"{place}: {spoken(amount)} too short, add notes or rests, such as {rest} at its end"
                at, _, new = rest_at(text, end_of_bar(bar, events[-1]), "")
                yield Proposal(edited(text, [(at, at, new.replace("z", rest))]), message)
        return
    for amount in (-missing, first - missing) if is_last else (-missing,):
        yield from trimmed(text, events, amount, f"{place}: {spoken(amount)} too long,")


def _rest_of(length: Length, unit: Length) -> str:
    """Write a rest, in a tuplet of its own where it must be; "" where neither will do."""
    plain = written_length(length, unit)
    in_three = written_length(scaled(length, 3, 2), unit)
    return f"z{plain}" if plain is not None else f"(3:2:1z{in_three}" if in_three is not None else ""


def rest_to_fill(text: str, bar: Bar, last: Event) -> Edit | None:
    """Return the edit that fills a short bar of one layer up with a rest; None where no rest has that length."""
    rest = written_length((bar.expected or 0) - bar.length, last.grace_unit)
    return None if rest is None else rest_at(text, end_of_bar(bar, last), rest)


def trimmed(text: str, events: Sequence[Event], excess: Length, place: str) -> Iterator[Proposal]:
    """Take what is too much from the end, else from a rest, else drop the last notes."""
    for event in [events[-1], *[event for event in events if not event.heads]]:
        edit = taken_off(text, event, excess)
        if edit is not None:
            old, new = text[event.start : event.end], edit[2]
            what = f"write {new} for {old}" if new else f"remove {old}"
            yield Proposal(edited(text, [edit]), f"{place} {what}")
    dropped: list[Event] = []
    left = excess
    while left > 0 and len(dropped) < len(events) - 1:
        dropped.append(events[len(events) - 1 - len(dropped)])
        left -= dropped[-1].duration
    start, end = dropped[-1].start if dropped else 0, events[-1].end
    rest = written_length(-left, events[-1].grace_unit) if left else None
    if dropped and left <= 0 and (rest is not None or not left):
        new = "" if rest is None else f"z{rest}"
        what = f"put {new} for {text[start:end][:40]}" if new else f"remove {text[start:end][:40]}"
        yield Proposal(edited(text, [(start, end, new)]), f"{place} shorten notes, or {what}")


def taken_off(text: str, event: Event, excess: Length) -> Edit | None:
    """Return the edit that takes `excess` off a note, chord or rest; None where its length is not its own."""
    if event.duration < excess or (event.duration == excess and event.heads):
        return None
    if event.duration == excess:
        return event.start, event.end, ""
    length = written_length(event.duration - excess, event.grace_unit)
    token = text[event.start : event.end]
    if length is None or not _says_its_length(token, event):
        return None
    return event.start, event.end, _LENGTH_AT_END.sub(length, token, count=1)


def _says_its_length(token: str, event: Event) -> bool:
    """Say whether the length behind a token is all of its length: no tuplet, no broken rhythm, none inside a chord."""
    if token[0] in "ZX":
        return False
    if token[0] == "[":
        return _LENGTH_INSIDE.search(token[: token.rindex("]")]) is None and _is_plain(read_note_group(token), event)
    return _is_plain(read_rest(token) if token[0] in "zx" else read_note(token), event)


def _is_plain(spelling: TokenMusic, event: Event) -> bool:
    return scaled(event.grace_unit, spelling.numerator, spelling.denominator) == event.duration


def _layer(text: str, voice: Voice, bar: Bar) -> Iterator[Proposal]:
    """Fill up or trim the first `&` layer that does not fill its bar."""
    whole = bar.expected or 0
    layer = next((number for number, length in enumerate(bar.lengths) if length != whole), None)
    events = [] if layer is None else events_of(voice, bar, layer)
    if layer is None or not events:
        return
    missing = whole - bar.lengths[layer]
    place = f"layer {layer + 1} of bar {bar.number} of voice {voice.id} holds {spoken(bar.lengths[layer])}"
    rest = written_length(missing, events[-1].grace_unit)
    if missing < 0:
        yield from trimmed(text, events, -missing, f"{place}: {spoken(-missing)} too long,")
    elif rest is not None:
        match = _BEHIND_EVENT.match(text, events[-1].end)
        at = match.end() if match is not None else events[-1].end
        message = f"{place}: {spoken(missing)} too short, end the layer with z{rest}"
        yield Proposal(edited(text, [(at, at, f" z{rest} ")]), message)
