"""Builds one voice: keeps the running position, bar, tuplet, broken rhythm and grace notes."""

from __future__ import annotations

from image2music.notation.abc_fields import Key, Meter, VoiceSettings
from image2music.notation.abc_lengths import WHOLE, Length, scaled
from image2music.notation.abc_soundings import soundings
from image2music.notation.abc_tokens import GraceNote, Head
from image2music.notation.abc_tree import Bar, BarLine, Change, Event, Voice

MAX_EVENT = 64 * WHOLE
"""The longest note or rest; `Z` rests are counted in bars and have their own bound."""

MAX_REST_BARS = 999


class VoiceBuilder:
    """A voice under construction.

    `unit` and `meter` are those in force; `open_bar` is None between a bar line and the next event.
    """

    def __init__(self, voice_id: str, settings: VoiceSettings, line: int, meter: Meter, unit: Length) -> None:
        self.voice = Voice(voice_id, settings, line)
        self.meter = meter
        self.unit = unit
        self.position: Length = 0
        self.open_bar: Bar | None = None
        self.opening: BarLine | None = None
        self.layer = 0
        self.next_number = 1
        self.tuplet_left = 0
        self.tuplet_start = 0
        self.closable_tuplets = 0
        self.tuplet = (1, 1)
        self.broken: tuple[int, int] | None = None
        self.grace: tuple[GraceNote, ...] = ()
        self.last: Event | None = None
        self.slurs: list[tuple[int, int, int]] = []
        self.broken_long = (3, 2)
        self.soundings = soundings(unit)

    def set_unit(self, unit: Length) -> None:
        """Changes the unit length from here on."""
        self.unit = unit
        self.soundings = soundings(unit)

    def set_meter(self, meter: Meter) -> None:
        """Changes the meter from the next bar on, or from this one where nothing has sounded in it yet."""
        self.meter = meter
        bar = self.open_bar
        if bar is not None and not bar.n_events:
            bar.meter, bar.expected = meter, meter.length

    @property
    def bar_number(self) -> int:
        """The number of the bar that is open or comes next."""
        return self.next_number if self.open_bar is None else self.open_bar.number

    def start_bar(self, start: int, line: int, column: int) -> Bar:
        """The open bar; opens one where there is none."""
        bar = self.open_bar
        if bar is None:
            bar = Bar(self.next_number, self.position, start, line, column, self.meter.length, self.meter, self.opening)
            self.open_bar = bar
            self.layer = 0
        return bar

    def add_event(self, heads: tuple[Head, ...], length: Length, ties: int, start: int, end: int) -> Event:
        """Appends a note, chord or rest to the open bar, with the pending tuplet, broken rhythm and grace notes."""
        if self.tuplet_left:
            length = scaled(length, *self.tuplet)
            self.tuplet_left -= 1
        if self.broken is not None:
            length = scaled(length, *self.broken)
            self.broken = None
        event = Event(heads, self.position, length, start, end, self.layer, ties, self.grace, self.unit)
        self.grace = ()
        self.last = event
        self.voice.elements.append(event)
        self.position += length
        bar = self.open_bar
        if bar is not None:
            bar.n_events += 1
        return event

    def break_rhythm(self, marks: str) -> bool:
        """Applies `>` or `<` (up to three) to the last event and the next; False where there is no last one."""
        last = self.last
        if last is None or len(marks) > 3 or self.broken is not None or self.open_bar is None:
            return False
        halvings = 2 ** len(marks)
        long = self.broken_long if len(marks) == 1 else (2 * halvings - 1, halvings)
        short = (2 * long[1] - long[0], long[1])
        mine, self.broken = (long, short) if marks[0] == ">" else (short, long)
        last.duration = scaled(last.duration, *mine)
        self.position = last.onset + last.duration
        return True

    def start_tuplet(self, p: int, q: int, r: int, start: int) -> None:
        """The next `r` events take `q`/`p` of their length."""
        self.tuplet, self.tuplet_left, self.tuplet_start = (q, p), r, start
        self.closable_tuplets += 1

    def close_slur(self) -> bool:
        """`)`: closes the last slur, or a tuplet as people write it, `(3abc)`; False where neither is open."""
        if self.slurs:
            self.slurs.pop()
            return True
        self.closable_tuplets -= 1
        return self.closable_tuplets >= 0

    def rest_bars(self, count: int, start: int, end: int) -> None:
        """A `Z` rest of `count` bars in the open bar."""
        length = self.meter.length if self.meter.length is not None else WHOLE
        bar = self.open_bar
        if bar is not None and not bar.n_events:
            bar.count = count
            if bar.expected is not None:
                bar.expected = length * count
        self.add_event((), length * count, 0, start, end)

    def start_overlay(self) -> bool:
        """`&`: goes back to the start of the bar; False where the bar is empty."""
        bar = self.open_bar
        if bar is None or not bar.n_events:
            return False
        bar.lengths.append(self.position - bar.onset)
        self.position = bar.onset
        self.layer += 1
        self.last = None
        return True

    def add_change(self, value: object, start: int) -> None:
        """Appends a change of key, meter, tempo, sound or part."""
        self.voice.elements.append(Change(self.position, start, value))  # type: ignore[arg-type]
        if isinstance(value, Key):
            self.last = None

    def close_bar(self, bar_line: BarLine | None, end: int) -> Bar | None:
        """Ends the open bar at a bar line (None at the end of the tune) and returns it, None where none was open."""
        bar = self.open_bar
        if bar is not None and bar.n_events:
            bar.lengths.append(self.position - bar.onset)
            if self.layer:
                self.position = bar.onset + bar.length
            bar.closing, bar.end = bar_line, end
            self.voice.bars.append(bar)
            self.next_number = bar.number + bar.count
            self.open_bar = None
            self.tuplet_left = self.closable_tuplets = 0
            self.broken = None
            self.layer = 0
        else:
            bar = None
        if bar_line is not None:
            bar_line.onset = self.position
            self.voice.elements.append(bar_line)
            self.opening = _merged(self.opening, bar_line) if bar is None else bar_line
        self.last = None
        return bar

    def finish(self, end: int) -> Voice:
        """Closes the last bar and returns the voice."""
        self.close_bar(None, end)
        self.voice.length = self.position
        return self.voice


def _merged(first: BarLine | None, second: BarLine) -> BarLine:
    if first is None:
        return second
    return BarLine(
        second.onset,
        second.start,
        first.repeats + second.repeats,
        first.opens_repeat or second.opens_repeat,
        first.is_section or second.is_section,
        second.ending or first.ending,
    )
