"""ABC text to syntax trees: headers, fields, directives and lines of music. Source: ABC standard 2.1.

Reading is linear in the text's length, never recursive, opens no file and follows no directive; what cannot be read
becomes a diagnostic and reading goes on behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from image2music.notation.abc_directives import FORBIDDEN, read_midi
from image2music.notation.abc_fields import (
    FREE_METER,
    Key,
    Meter,
    Tempo,
    VoiceSettings,
    default_unit,
    names_key,
    read_key,
    read_meter,
    read_tempo,
    read_unit,
    read_voice_settings,
)
from image2music.notation.abc_findings import Findings
from image2music.notation.abc_lengths import Length
from image2music.notation.abc_music import MusicLine, looks_like_prose
from image2music.notation.abc_tree import PartMark, Sound, Span, Tune
from image2music.notation.abc_voice import VoiceBuilder
from image2music.notation.diagnostic import Diagnostic

MAX_CHARS = 4_000_000
"""Longer texts are refused: a file of this size holds thousands of tunes."""

KNOWN_FIELDS = frozenset("ABCDEFGHIKLMmNOPQRrSsTUVWwXZ")
_FIELD = re.compile(r"([A-Za-z+]):(?![|:])")
_INLINE = re.compile(r"\[[A-Za-z]:")
_MUSIC_FIELDS = frozenset("KLMQVPw")
_LOOKS_MUSICAL = re.compile(r"[\sA-Ga-gzxZXy\d|:\[\](){}/,'^_=\-<>.~&+HLMOPSTuv\\$]*")
_NOT_NOTES = re.compile(r"\"[^\"]*\"|![^!\s]*!|%.*")
_BLOCK = re.compile(r"%%\s*begin(\w+)")
_CLEF_WORDS = re.compile(r"clef|treble|bass|alto|tenor|octave|transpose")
_VOICE_ID = re.compile(r"\s*([^\s\]]+)\s*(.*)")


@dataclass(frozen=True, slots=True)
class ParsedAbc:
    """All tunes of a text in order, and what was found while reading them."""

    tunes: tuple[Tune, ...]
    diagnostics: tuple[Diagnostic, ...]


def parse(text: str) -> ParsedAbc:
    """Reads an ABC text of one or more tunes.

    Lines may end in LF, CRLF or CR. Never raises for any text; a text above `MAX_CHARS` gives no tune and one
    diagnostic `text-too-long`.
    """
    if len(text) > MAX_CHARS:
        findings = Findings()
        findings.add("text-too-long", f"{len(text)} characters, at most {MAX_CHARS} are read: split the file", 1, 1)
        return ParsedAbc((), tuple(findings.diagnostics))
    return _Parser(text).parse()


class _Parser:
    """Walks the lines. `tune` is None outside a tune; `in_header` is true from X: to K:."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.findings = Findings()
        self.tunes: list[Tune] = []
        self.tune: Tune | None = None
        self.in_header = False
        self.line = 0
        self.line_start = 0
        self.has_references = re.search(r"^X:", text, re.MULTILINE) is not None
        self.file_header: list[tuple[str, str]] = []
        self.references: set[str] = set()
        self.outside_reported = False
        self.block: str | None = None
        self.blank_line = 0
        self.last_field = ""
        self._reset_tune()

    def _reset_tune(self) -> None:
        self.builders: dict[str, VoiceBuilder] = {}
        self.settings: dict[str, VoiceSettings] = {}
        self.declared: dict[str, int] = {}
        self.key_settings = VoiceSettings()
        self.voice_id = "1"
        self.builder: VoiceBuilder | None = None
        self.spans: list[Span] = []
        self.user_symbols: set[str] = set()
        self.broken_long = (3, 2)
        self.pending: list[tuple[object, int]] = []

    def parse(self) -> ParsedAbc:
        text = self.text
        start = 1 if text.startswith("\ufeff") else 0
        size = len(text)
        if not text.strip("\ufeff \t\r\n"):
            self.findings.add("empty-text", "there is no text: write a tune from X: to its last bar line", 1, 1)
            return ParsedAbc((), tuple(self.findings.diagnostics))
        while start < size:
            end = text.find("\n", start)
            end = size if end < 0 else end
            self.line += 1
            line = text[start:end]
            if "\r" in line:
                self._line_with_returns(line, start)
            else:
                self.line_start = start
                self._read_line(line.rstrip())
            start = end + 1
        self._end_tune(size)
        if not self.tunes:
            self.findings.add("no-music", "no tune was found: write one from X: to its last bar line", 1, 1)
        return ParsedAbc(tuple(self.tunes), tuple(self.findings.diagnostics))

    def _line_with_returns(self, line: str, start: int) -> None:
        """A line that ends in CR LF, or several lines that end in CR alone."""
        parts = line.split("\r")
        if not parts[-1]:
            parts.pop()
        self.line -= 1
        for part in parts:
            self.line += 1
            self.line_start = start
            self._read_line(part.rstrip())
            start += len(part) + 1

    # --- lines

    def _read_line(self, line: str) -> None:
        if self.block is not None:
            if line.startswith("%%") and line[2:].strip().startswith("end" + self.block):
                self.block = None
            return
        if not line:
            self._blank()
            return
        if line[0] == "%":
            if line.startswith("%%"):
                self._directive(line)
            return
        match = _FIELD.match(line)
        if match is not None and match[1] == "X":
            self._start_tune(line[2:])
        elif self.tune is None:
            self._outside(line, match)
        elif self.blank_line:
            self._after_blank(line, match)
        elif match is not None:
            self._field(match[1], line[2:])
        elif line.startswith("```"):
            self._report("text-in-music", "a code fence is no music: remove it", 1)
        elif self.in_header and (not self._looks_musical(line) or looks_like_prose(line)):
            shown = line[:30]
            self._report("text-in-music", f"{shown!r} is neither a field nor music: remove it or put % before it", 1)
        else:
            self._music(line)

    def _blank(self) -> None:
        if self.tune is not None:
            self.blank_line = self.blank_line or self.line
        self.outside_reported = False

    def _after_blank(self, line: str, match: re.Match[str] | None) -> None:
        """Music behind a blank line still belongs to the tune; anything else is outside it."""
        is_field = match is not None and match[1] in (KNOWN_FIELDS if self.in_header else _MUSIC_FIELDS)
        if not is_field and not (self._looks_musical(line) and ("|" in line or _INLINE.match(line) is not None)):
            if not self.in_header:
                self._end_tune(self.line_start)
            self.blank_line = 0 if self.in_header else self.blank_line
            self._outside(line, match)
            return
        message = "the blank line ends the tune, so what follows is lost: remove it"
        self.findings.add("blank-line", message, self.blank_line, 1)
        self.blank_line = 0
        self._read_line(line)

    def _looks_musical(self, line: str) -> bool:
        rest = _NOT_NOTES.sub("", line)
        return _LOOKS_MUSICAL.fullmatch(rest) is not None or "|" in rest or _INLINE.match(line) is not None

    def _outside(self, line: str, match: re.Match[str] | None) -> None:
        """A line outside any tune: a file header's field, the start of a tune without X:, or text."""
        if match is not None and match[1] in KNOWN_FIELDS:
            if not self.has_references and not self.tunes:
                self._start_tune(None)
                self._field(match[1], line[2:])
            else:
                self.file_header.append((match[1], line[2:]))
            return
        if not self.has_references and not self.tunes and "|" in line and self._looks_musical(line):
            self._start_tune(None)
            self._music(line)
            return
        if not self.outside_reported:
            message = f"{line[:30]!r} stands outside any tune and is not read: remove it or put % before it"
            self._report("text-outside-tune", message, 1)
        self.outside_reported = True

    def _music(self, line: str) -> None:
        tune = self.tune
        if tune is None:
            return
        if self.in_header:
            self._report("missing-key", "the header ends without a key: write K: and the key as its last line, K:C", 1)
            self._end_header(self.line_start)
        if "|" not in line and looks_like_prose(line):
            shown = line if len(line) <= 30 else line[:27] + "..."
            self._report("text-in-music", f"{shown!r} is no music: remove it or put % before it", 1)
            return
        MusicLine(self, line).read()

    def _report(self, code: str, message: str, column: int) -> None:
        voice, bar = None, None
        if self.tune is not None and not self.in_header and self.builder is not None:
            voice, bar = self.builder.voice.id, self.builder.bar_number
        self.findings.add(code, message, self.line, column, voice, bar)

    # --- tunes

    def _start_tune(self, reference: str | None) -> None:
        self._end_tune(self.line_start)
        self._reset_tune()
        tune = Tune(self.line_start, self.line)
        self.tune, self.in_header, self.blank_line = tune, True, 0
        for letter, value in self.file_header:
            if letter in "LMQR":
                self._field(letter, value)
        if reference is None:
            self._report("missing-reference", "the tune has no X: line: begin it with X:1", 1)
            return
        tune.reference = reference.split("%", 1)[0].strip()
        if not tune.reference.isdigit():
            self._report("bad-reference", f"X:{tune.reference[:20]} is no number: write X:1", 1)
        elif tune.reference in self.references:
            self._report("duplicate-reference", f"X:{tune.reference} is used twice: number each tune anew", 1)
        self.references.add(tune.reference)

    def _end_header(self, end: int) -> None:
        tune = self.tune
        if tune is None or not self.in_header:
            return
        self.in_header = False
        tune.music_start = end
        if not tune.has_meter:
            self.findings.add(
                "missing-meter", "no M: line, so bars cannot be checked: write the meter, M:4/4", tune.line, 1
            )
            tune.meter = FREE_METER
        if tune.unit is None:
            tune.unit = default_unit(tune.meter)

    def _end_tune(self, end: int) -> None:
        tune = self.tune
        if tune is None:
            return
        if self.in_header:
            if not tune.has_key:
                message = "the header ends without a key: write K: and the key as its last line, K:C"
                self.findings.add("missing-key", message, tune.line, 1)
            self._end_header(end)
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
        self.tunes.append(tune)
        self.tune, self.blank_line = None, 0
        self._reset_tune()

    def _end_voice(self, builder: VoiceBuilder, end: int) -> None:
        tune = self.tune
        voice = builder.voice
        if builder.open_bar is not None and builder.open_bar.n_events and builder.tuplet_left:
            bar = builder.open_bar
            message = "the last tuplet lacks notes: complete it or write plain notes"
            self.findings.add("short-tuplet", message, bar.line, bar.column, voice.id, bar.number)
        builder.finish(end)
        for line, column, bar_number in builder.slurs:
            message = "this ( opens a slur that is not closed: write ) behind its last note"
            self.findings.add("unclosed-slur", message, line, column, voice.id, bar_number)
        if voice.bars and tune is not None:
            tune.voices[voice.id] = voice

    # --- voices

    def current(self) -> VoiceBuilder:
        """The voice that music goes to now, made where it is met for the first time."""
        if self.builder is None:
            self.builder = self._voice(self.voice_id)
        return self.builder

    def _voice(self, voice_id: str) -> VoiceBuilder:
        builder = self.builders.get(voice_id)
        tune = self.tune
        if builder is None:
            assert tune is not None
            settings = self.settings.get(voice_id) or VoiceSettings()
            merged = VoiceSettings(
                settings.transpose + self.key_settings.transpose,
                settings.percussion or self.key_settings.percussion,
                settings.name,
            )
            unit: Length = tune.unit if tune.unit is not None else default_unit(tune.meter)
            builder = VoiceBuilder(voice_id, merged, self.line, tune.meter, unit)
            builder.broken_long = self.broken_long
            self.builders[voice_id] = builder
        return builder

    def _switch_voice(self, value: str, column: int) -> None:
        match = _VOICE_ID.match(value)
        if match is None:
            self._report("bad-voice", "V: names no voice: write a name behind it, V:1", column)
            return
        voice_id = match[1][:40]
        self.voice_id = voice_id
        self.declared.setdefault(voice_id, self.line)
        if match[2]:
            self.settings.setdefault(voice_id, read_voice_settings(match[2]))
        self.builder = self._voice(voice_id)

    # --- fields

    def _field(self, letter: str, raw: str) -> None:
        value = raw.split("%", 1)[0].strip()
        tune = self.tune
        if tune is None:
            return
        if letter == "+":
            return
        if letter not in KNOWN_FIELDS:
            if letter.islower() and letter.upper() in KNOWN_FIELDS:
                self._report("lowercase-field", f"{letter}: is no field of ABC: write {letter.upper()}:", 1)
            else:
                self._report("unknown-field", f"{letter}: is no field of ABC: remove the line", 1)
            return
        if self.in_header:
            self._header_field(tune, letter, value)
        else:
            self._body_field(letter, value, self.line_start, 3)

    def _header_field(self, tune: Tune, letter: str, value: str) -> None:
        tune.fields.setdefault(letter, []).append(value)
        if letter == "M":
            meter = self._meter(value, 3)
            if meter is not None:
                tune.meter, tune.has_meter = meter, True
        elif letter == "L":
            tune.unit = self._unit(value, 3) or tune.unit
        elif letter == "Q":
            tempo = self._tempo(value, 3)
            tune.tempo = tempo or tune.tempo
        elif letter == "V":
            self._declare_voice(value)
        elif letter == "P":
            tune.parts = value
        elif letter == "U":
            self._user_symbol(value)
        elif letter == "I":
            self._instruction(value, self.line_start)
        elif letter == "K":
            tune.has_key = True
            tune.key = self._key(value, 3) or tune.key
            self.key_settings = read_voice_settings(value)
            self._end_header(self.line_start)

    def _declare_voice(self, value: str) -> None:
        match = _VOICE_ID.match(value)
        if match is None:
            self._report("bad-voice", "V: names no voice: write a name behind it, V:1", 3)
            return
        voice_id = match[1][:40]
        self.declared.setdefault(voice_id, self.line)
        if match[2]:
            self.settings[voice_id] = read_voice_settings(match[2])
        if len(self.declared) == 1:
            # Music before the first V: of the body goes to the first voice of the header.
            self.voice_id = voice_id

    def _user_symbol(self, value: str) -> None:
        symbol = value.split("=", 1)[0].strip()
        if len(symbol) == 1:
            self.user_symbols.add(symbol)

    def inline_field(self, letter: str, value: str, start: int) -> None:
        """A field in brackets at column `start` of the current line."""
        if letter not in KNOWN_FIELDS:
            self._report("bad-inline-field", f"[{letter}:...] is no field of ABC: remove it", start + 1)
            return
        self._body_field(letter, value.strip(), self.line_start + start, start + 4)

    def _body_field(self, letter: str, value: str, offset: int, column: int) -> None:
        if letter == "V":
            self._switch_voice(value, column)
        elif letter == "K":
            self._body_key(value, offset, column)
        elif letter == "M":
            meter = self._meter(value, column)
            if meter is not None:
                self.current().set_meter(meter)
                self.current().add_change(meter, offset)
        elif letter == "L":
            unit = self._unit(value, column)
            if unit is not None:
                self.current().set_unit(unit)
        elif letter == "Q":
            tempo = self._tempo(value, column)
            if tempo is not None:
                self.current().add_change(tempo, offset)
        elif letter == "P":
            self.current().add_change(PartMark(value.strip()[:40]), offset)
        elif letter == "I":
            self._instruction(value, offset)
        elif letter == "U":
            self._user_symbol(value)
        elif letter == "X":
            self._report("misplaced-field", "X: begins a tune and cannot stand inside one: remove it", column)

    def _body_key(self, value: str, offset: int, column: int) -> None:
        if _CLEF_WORDS.search(value):
            self.current().add_change(Sound("octave", read_voice_settings(value).transpose), offset)
        if names_key(value):
            key = self._key(value, column)
            if key is not None:
                self.current().add_change(key, offset)

    def _meter(self, value: str, column: int) -> Meter | None:
        meter = read_meter(value)
        if meter is None:
            self._report("bad-meter", f"M:{value[:20]} is no meter: write beats over a note value, M:4/4", column)
        return meter

    def _unit(self, value: str, column: int) -> Length | None:
        unit = read_unit(value)
        if unit is None:
            self._report("bad-unit", f"L:{value[:20]} is no unit length: write a fraction, L:1/8", column)
        return unit

    def _key(self, value: str, column: int) -> Key | None:
        key = read_key(value)
        if key is None:
            message = f"K:{value[:20]} is no key: write a tonic and a mode, K:C, K:Am, K:D dor"
            self._report("bad-key", message, column)
        return key

    def _tempo(self, value: str, column: int) -> Tempo | None:
        tempo = read_tempo(value)
        if tempo is None and value and not any(c.isdigit() for c in value):
            message = f"Q:{value[:20]} has no number and plays at 120: write Q:1/4=120"
            self._report("tempo-without-number", message, column)
            return None
        if tempo is None:
            self._report("bad-tempo", f"Q:{value[:20]} is no tempo: write beats a minute, Q:1/4=120", column)
            return None
        if not tempo.qpm:
            message = f"Q:{value[:20]} has no number and plays at 120: write Q:1/4=120"
            self._report("tempo-without-number", message, column)
            return None
        return tempo

    # --- directives

    def _directive(self, line: str) -> None:
        block = _BLOCK.match(line)
        if block is not None:
            self.block = block[1]
            return
        body = line[2:].strip()
        name, _, rest = body.partition(" ")
        if name.lower() in FORBIDDEN:
            self._report("forbidden-directive", f"%%{name[:20]} is left out: it reads files or defines code", 1)
        elif name == "MIDI":
            self._midi(rest, self.line_start, 1)

    def _instruction(self, value: str, offset: int) -> None:
        name, _, rest = value.replace("=", " ", 1).strip().partition(" ")
        if name == "MIDI":
            self._midi(rest, offset, 1)

    def _midi(self, rest: str, offset: int, column: int) -> None:
        """`%%MIDI program 73`: for the current voice in the music, for every voice before it."""
        sound, problem = read_midi(rest)
        if problem:
            self._report("bad-midi-directive", problem, column)
        if sound is None or self.tune is None:
            return
        if sound.what == "ratio":
            self.broken_long = (2 * (sound.number >> 8), (sound.number >> 8) + (sound.number & 255))
            if self.builder is not None:
                self.builder.broken_long = self.broken_long
        elif self.builder is None:
            self.tune.sounds.append(sound)
        else:
            self.builder.add_change(sound, offset)
