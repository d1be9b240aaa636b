"""Voices and tunes under construction while the parser reads.

`VoiceBuilder` keeps the running position, bar, tuplet, broken rhythm and grace notes of one voice; `TuneBuilder` reads
a tune's header and the fields and directives between its music.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from image2music.abc.ast import Bar, BarLine, Event, PartMark, Sound, Span, StateChange, Tune, Voice, VoiceSettings
from image2music.abc.diagnostics import Findings
from image2music.abc.fields import (
    FORBIDDEN,
    FieldValues,
    default_unit,
    names_key,
    read_drum_map,
    read_midi_directive,
    read_tempo,
    read_voice_settings,
)
from image2music.abc.lexer import GraceNote, Head, token_cache
from image2music.music.theory import FREE_METER, WHOLE, Key, Length, Meter, scaled

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
        self.soundings = token_cache(unit)

    def set_unit(self, unit: Length) -> None:
        """Change the unit length from here on."""
        self.unit = unit
        self.soundings = token_cache(unit)

    def set_meter(self, meter: Meter) -> None:
        """Change the meter from the next bar on, or from this one where nothing has sounded in it yet."""
        self.meter = meter
        bar = self.open_bar
        if bar is not None and not bar.n_events:
            bar.meter, bar.expected = meter, meter.length

    @property
    def bar_number(self) -> int:
        """The number of the bar that is open or comes next."""
        return self.next_number if self.open_bar is None else self.open_bar.number

    def start_bar(self, start: int, line: int, column: int) -> Bar:
        """Return the open bar; open one where there is none."""
        bar = self.open_bar
        if bar is None:
            bar = Bar(self.next_number, self.position, start, line, column, self.meter.length, self.meter, self.opening)
            self.open_bar = bar
            self.layer = 0
        return bar

    def add_event(self, heads: tuple[Head, ...], length: Length, ties: int, start: int, end: int) -> Event:
        """Append a note, chord or rest to the open bar, with the pending tuplet, broken rhythm and grace notes."""
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
        """Apply `>` or `<` (up to three) to the last event and the next; False where there is no last one."""
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
        """Let the next `r` events take `q`/`p` of their length."""
        self.tuplet, self.tuplet_left, self.tuplet_start = (q, p), r, start
        self.closable_tuplets += 1

    def mark(self, name: str) -> None:
        """Note a decoration or slur at this place; "" is none."""
        if name:
            self.voice.marks.append((len(self.voice.elements), name))

    def close_slur(self) -> bool:
        """Close the last slur at `)`, or a tuplet as people write it, `(3abc)`; False where neither is open."""
        if self.slurs:
            self.slurs.pop()
            self.mark(")")
            return True
        self.closable_tuplets -= 1
        return self.closable_tuplets >= 0

    def rest_bars(self, count: int, start: int, end: int) -> None:
        """Add a `Z` rest of `count` bars in the open bar."""
        length = self.meter.length if self.meter.length is not None else WHOLE
        bar = self.open_bar
        if bar is not None and not bar.n_events:
            bar.count = count
            if bar.expected is not None:
                bar.expected = length * count
        self.add_event((), length * count, 0, start, end)

    def start_overlay(self) -> bool:
        """Go back to the start of the bar at `&`; return False where the bar is empty."""
        bar = self.open_bar
        if bar is None or not bar.n_events:
            return False
        bar.lengths.append(self.position - bar.onset)
        self.position = bar.onset
        self.layer += 1
        self.last = None
        return True

    def add_change(self, value: object, start: int) -> None:
        """Append a change of key, meter, tempo, sound or part."""
        self.voice.elements.append(StateChange(self.position, start, value))  # type: ignore[arg-type]
        if isinstance(value, Key):
            self.last = None

    def close_bar(self, bar_line: BarLine | None, end: int) -> Bar | None:
        """End the open bar at a bar line (None at the end of the tune) and return it, None where none was open."""
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
        """Close the last bar and return the voice."""
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


KNOWN_FIELDS = frozenset("ABCDEFGHIKLMmNOPQRrSsTUVWwXZ")
_CLEF_WORDS = re.compile(r"clef|treble|bass|alto|tenor|octave|transpose")
_VOICE_ID = re.compile(r"\s*([^\s\]]+)\s*(.*)")
_LONGEST_ID = 40
_READ_FIELDS = frozenset("IKLMPQUV")
_LONGEST_VALUE = 400


@dataclass(slots=True)
class Position:
    """Where reading is: the line from 1, and the offset of its first character."""

    line: int = 0
    start: int = 0


class TuneBuilder:
    """A tune under construction. `in_header` is true from X: to K:; `builder` is None until a voice is met."""

    def __init__(self, position: Position, findings: Findings) -> None:
        self.position = position
        self.findings = findings
        self.tune = Tune(position.start, position.line)
        self.in_header = True
        self.builders: dict[str, VoiceBuilder] = {}
        self.builder: VoiceBuilder | None = None
        self.settings: dict[str, VoiceSettings] = {}
        self.declared: dict[str, int] = {}
        self.key_settings = VoiceSettings()
        self.voice_id = "1"
        self.spans: list[Span] = []
        self.tempo_text = ""
        self.plus_decorations = False
        self.user_symbols: set[str] = set()
        self.broken_long = (3, 2)
        self.values = FieldValues(self.report)

    def report(self, code: str, message: str, column: int) -> None:
        """Report a finding in the current line, and in the current voice and bar behind the header."""
        voice, bar = None, None
        if not self.in_header and self.builder is not None:
            voice, bar = self.builder.voice.id, self.builder.bar_number
        self.findings.add(code, message, self.position.line, column, voice, bar)

    # --- the tune as a whole

    def end_header(self, end: int) -> None:
        """Settle the meter and the unit length, behind K: or where music begins without one."""
        if not self.in_header:
            return
        self.in_header = False
        tune = self.tune
        tune.music_start = end
        if not tune.has_meter:
            if "M" not in tune.fields:
                message = "no M: line, so bars cannot be checked: write the meter, M:4/4"
                self.findings.add("missing-meter", message, tune.line, 1)
            tune.meter = FREE_METER
        if tune.unit is None:
            tune.unit = default_unit(tune.meter)
        # `Q:C=120` counts unit lengths, and L: may stand behind it.
        tune.tempo = read_tempo(self.tempo_text, tune.unit) or tune.tempo

    def finish(self, end: int) -> Tune:
        """End all voices and return the tune."""
        tune = self.tune
        if self.in_header:
            if not tune.has_key:
                message = "the header ends without a key: write K: and the key as its last line, K:C"
                self.findings.add("missing-key", message, tune.line, 1)
            self.end_header(end)
        for builder in self.builders.values():
            self._end_voice(builder, end)
        for voice_id, line in self.declared.items():
            if voice_id not in tune.voices:
                message = f"voice {voice_id} is named but has no music: write some or remove its V: line"
                self.findings.add("voice-empty", message, line, 1, voice_id)
        tune.spans = self.spans
        tune.end = end
        if not tune.has_music:
            self.findings.add("no-music", "the tune has no music: write bars behind the K: line", tune.line, 1)
        return tune

    def _end_voice(self, builder: VoiceBuilder, end: int) -> None:
        voice = builder.voice
        bar = builder.open_bar
        if bar is not None and bar.n_events and builder.tuplet_left:
            message = "the last tuplet lacks notes: complete it or write plain notes"
            self.findings.add("short-tuplet", message, bar.line, bar.column, voice.id, bar.number)
        builder.finish(end)
        for line, column, bar_number in builder.slurs:
            message = "this ( opens a slur that is not closed: write ) behind its last note"
            self.findings.add("unclosed-slur", message, line, column, voice.id, bar_number)
        if voice.bars:
            self.tune.voices[voice.id] = voice

    # --- voices

    def current(self) -> VoiceBuilder:
        """Return the voice that music goes to now, made where it is met for the first time."""
        if self.builder is None:
            self.builder = self._voice(self.voice_id)
        return self.builder

    def _voice(self, voice_id: str) -> VoiceBuilder:
        builder = self.builders.get(voice_id)
        if builder is not None:
            return builder
        tune = self.tune
        own = self.settings.get(voice_id) or VoiceSettings()
        builder = VoiceBuilder(
            voice_id, own.over(self.key_settings), self.position.line, tune.meter, self._header_unit()
        )
        builder.broken_long = self.broken_long
        self.builders[voice_id] = builder
        return builder

    def _unit(self) -> Length:
        """The unit length in force: the current voice's, or the header's so far."""
        return self.builder.unit if self.builder is not None else self._header_unit()

    def _header_unit(self) -> Length:
        return self.tune.unit if self.tune.unit is not None else default_unit(self.tune.meter)

    def _switch_voice(self, value: str, column: int) -> None:
        match = _VOICE_ID.match(value)
        if match is None:
            self.report("bad-voice", "V: names no voice: write a name behind it, V:1", column)
            return
        voice_id = match[1][:_LONGEST_ID]
        self.voice_id = voice_id
        self.declared.setdefault(voice_id, self.position.line)
        if match[2]:
            self.settings.setdefault(voice_id, read_voice_settings(match[2]))
        self.builder = self._voice(voice_id)

    def _declare_voice(self, value: str) -> None:
        match = _VOICE_ID.match(value)
        if match is None:
            self.report("bad-voice", "V: names no voice: write a name behind it, V:1", 3)
            return
        voice_id = match[1][:_LONGEST_ID]
        self.declared.setdefault(voice_id, self.position.line)
        if match[2]:
            self.settings[voice_id] = read_voice_settings(match[2])
        if len(self.declared) == 1:
            # Music before the first V: of the body goes to the first voice of the header.
            self.voice_id = voice_id

    # --- fields

    def field(self, letter: str, raw: str) -> None:
        """Read a field on a line of its own."""
        value = raw.split("%", 1)[0].strip()
        if letter in _READ_FIELDS:
            value = value[:_LONGEST_VALUE]
        if letter == "+":
            return
        if letter == "m":
            self.report("unplayed-setting", "m: defines a macro, which is not played: write its notes out", 1)
        if letter not in KNOWN_FIELDS:
            if letter.islower() and letter.upper() in KNOWN_FIELDS:
                self.report("lowercase-field", f"{letter}: is no field of ABC: write {letter.upper()}:", 1)
            else:
                self.report("unknown-field", f"{letter}: is no field of ABC: remove the line", 1)
        elif self.in_header:
            self._header_field(letter, value)
        else:
            self._body_field(letter, value, self.position.start, 3)

    def _header_field(self, letter: str, value: str) -> None:
        tune = self.tune
        tune.fields.setdefault(letter, []).append(value)
        if letter == "M":
            meter = self.values.meter(value, 3)
            if meter is not None:
                tune.meter, tune.has_meter = meter, True
        elif letter == "L":
            tune.unit = self.values.unit(value, 3) or tune.unit
        elif letter == "Q":
            tempo = self.values.tempo(value, 3, self._unit())
            if tempo is not None:
                tune.tempo, self.tempo_text = tempo, value
        elif letter == "V":
            self._declare_voice(value)
        elif letter == "P":
            tune.parts = value
        elif letter == "U":
            self._user_symbol(value)
        elif letter == "I":
            self._instruction(value, self.position.start)
        elif letter == "K":
            tune.has_key = True
            tune.key = self.values.key(value, 3) or tune.key
            self.key_settings = read_voice_settings(value)
            self.end_header(self.position.start)

    def inline_field(self, letter: str, value: str, start: int) -> None:
        """Read a field in brackets at column `start` (from 0) of the current line."""
        if letter not in KNOWN_FIELDS:
            self.report("bad-inline-field", f"[{letter}:...] is no field of ABC: remove it", start + 1)
            return
        self._body_field(letter, value.strip()[:_LONGEST_VALUE], self.position.start + start, start + 4)

    def _body_field(self, letter: str, value: str, offset: int, column: int) -> None:
        if letter == "V":
            self._switch_voice(value, column)
        elif letter == "K":
            self._body_key(value, offset, column)
        elif letter == "M":
            meter = self.values.meter(value, column)
            if meter is not None:
                self.current().set_meter(meter)
                self.current().add_change(meter, offset)
        elif letter == "L":
            unit = self.values.unit(value, column)
            if unit is not None:
                self.current().set_unit(unit)
        elif letter == "Q":
            tempo = self.values.tempo(value, column, self._unit())
            if tempo is not None:
                self.current().add_change(tempo, offset)
        elif letter == "P":
            self.current().add_change(PartMark(value[:_LONGEST_ID]), offset)
        elif letter == "I":
            self._instruction(value, offset)
        elif letter == "U":
            self._user_symbol(value)
        elif letter == "X":
            self.report("misplaced-field", "X: begins a tune and cannot stand inside one: remove it", column)

    def _body_key(self, value: str, offset: int, column: int) -> None:
        if _CLEF_WORDS.search(value):
            settings = read_voice_settings(value)
            for what in ("clef", "octave", "transposition"):
                semitones = getattr(settings, what)
                if semitones is not None:
                    self.current().add_change(Sound(what, semitones), offset)
        if names_key(value):
            key = self.values.key(value, column)
            if key is not None:
                self.current().add_change(key, offset)

    def _user_symbol(self, value: str) -> None:
        symbol = value.split("=", 1)[0].strip()
        if len(symbol) == 1:
            self.tempo_text = ""
        self.plus_decorations = False
        self.user_symbols.add(symbol)

    # --- directives

    def directive(self, line: str) -> None:
        """Read a `%%` line; only a few `%%MIDI` settings are followed."""
        name, _, rest = line[2:].strip().partition(" ")
        if name.lower() in FORBIDDEN:
            self.report("forbidden-directive", f"%%{name[:20]} is left out: it reads files or defines code", 1)
        elif name in ("MIDI", "percmap"):
            self._setting(name, rest, self.position.start)
        elif name == "decoration":
            self.plus_decorations = rest.strip() == "+"

    def _instruction(self, value: str, offset: int) -> None:
        name, _, rest = value.replace("=", " ", 1).strip().partition(" ")
        if name in ("MIDI", "percmap"):
            self._setting(name, rest, offset)
        elif name == "decoration":
            self.plus_decorations = rest.strip() == "+"

    def _setting(self, name: str, rest: str, offset: int) -> None:
        """Apply `%%MIDI program 73`: to the current voice in the music, to every voice before it."""
        if name == "MIDI" and rest.split()[:1] in (["drum"], ["drumon"]):
            message = "%%MIDI drum adds a drum pattern, which is not played: write a voice with clef=perc"
            self.report("unplayed-setting", message, 1)
        sound, problem = read_midi_directive(rest) if name == "MIDI" else read_drum_map(rest)
        if problem:
            self.report("bad-midi-directive", problem, 1)
        if sound is None:
            return
        if sound.what == "ratio":
            long, short = sound.number >> 8, sound.number & 255
            self.broken_long = (2 * long, long + short)
            if self.builder is not None:
                self.builder.broken_long = self.broken_long
        elif self.builder is None or sound.what == "drum":
            # A drum map is the tune's, wherever it stands (abc2midi).
            self.tune.sounds.append(sound)
        else:
            self.builder.add_change(sound, offset)
