"""What can be wrong with ABC: a diagnostic is one place, one code and one sentence, for people and models.

`CODES` is the one table of codes, with severity and meaning; codes are stable, messages may change. `Findings` collects
diagnostics while a text is read and does not grow without bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is. An `ERROR` makes `check` exit with 1 and a draft go back to the composer."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, order=True, slots=True)
class Repair:
    """Put `text` for the characters `start` to `end` (from 0, `end` excluded) of the text that was checked."""

    start: int
    end: int
    text: str


def apply_repair(abc: str, repair: Repair) -> str:
    """Return the text that was checked with one repair made.

    Raises:
        ValueError: the repair lies outside the text, so it is another text's.
    """
    if not 0 <= repair.start <= repair.end <= len(abc):
        raise ValueError(f"a repair of characters {repair.start} to {repair.end} in a text of {len(abc)}")
    return abc[: repair.start] + repair.text + abc[repair.end :]


def repair_between(before: str, after: str) -> Repair:
    """Return the smallest repair that makes one text of another."""
    most = min(len(before), len(after))
    start = next((at for at in range(most) if before[at] != after[at]), most)
    same = next((at for at in range(most - start) if before[-1 - at] != after[-1 - at]), most - start)
    return Repair(start, len(before) - same, after[start : len(after) - same])


@dataclass(frozen=True, order=True)
class Diagnostic:
    """One finding in an ABC text.

    `line` and `column` count from 1 in the text as given; `bar` counts from 1 within its voice and is None
    outside the music; `voice` is the voice's id (`"1"` where the tune names none) or None outside the music.
    `repair` mends it where a plain repair is known: with it the text has fewer errors, or fewer warnings and no more
    errors. Two findings of one place and kind are equal whatever their repairs.
    """

    line: int
    column: int
    voice: str | None
    bar: int | None
    code: str
    severity: Severity
    message: str
    repair: Repair | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.severity} {self.code} {self.message}"


ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

CODES: dict[str, tuple[Severity, str]] = {
    # The text as a whole
    "empty-text": (ERROR, "there is nothing to read"),
    "text-too-long": (ERROR, "the text is longer than the checker reads"),
    "too-many-findings": (ERROR, "the findings of a tune after the first 500, or of a file after 50,000, are left out"),
    "no-music": (ERROR, "a tune without a note or a rest"),
    "text-outside-tune": (WARNING, "prose, fences or other text before, between or after tunes"),
    "blank-line": (ERROR, "a blank line inside a tune ends it for every reader, the music after it is lost"),
    "duplicate-reference": (WARNING, "two tunes of a file with the same X: number"),
    # The header
    "missing-reference": (ERROR, "no X: line; readers skip the tune"),
    "missing-key": (ERROR, "no K: line; it ends the header"),
    "missing-meter": (WARNING, "no M: line; bars cannot be checked and play as free meter"),
    "bad-reference": (WARNING, "X: without a number"),
    "bad-meter": (ERROR, "an M: that cannot be read"),
    "bad-unit": (ERROR, "an L: that cannot be read"),
    "bad-tempo": (ERROR, "a Q: that cannot be read or is out of range"),
    "tempo-without-number": (WARNING, "a Q: with words alone; plays at 120"),
    "bad-key": (ERROR, "a K: that cannot be read"),
    "bad-voice": (ERROR, "a V: without a voice name"),
    "unknown-field": (WARNING, "a letter and colon that is no field of ABC 2.1; it is left out"),
    "lowercase-field": (ERROR, "a header field in lower case, such as k: for K:"),
    "misplaced-field": (WARNING, "a field that has no meaning where it stands"),
    "forbidden-directive": (WARNING, "a %% line that reads files or defines code; it is left out"),
    "unplayed-setting": (INFO, "a macro (m:) or a %%MIDI drum pattern; it is not played"),
    "bad-midi-directive": (WARNING, "a %%MIDI line with a value outside its range"),
    # Notes
    "bad-length": (ERROR, "a length with a zero or too many digits"),
    "length-out-of-range": (ERROR, "a note longer than 64 whole notes"),
    "odd-divisor": (WARNING, "a length such as C4/3; most readers take powers of two only, write a tuplet"),
    "pitch-out-of-range": (ERROR, "a pitch outside MIDI's 0 to 127, or octave marks beyond reason"),
    "microtone": (WARNING, "a quarter tone; plays as the natural"),
    "empty-chord": (ERROR, "[] without notes"),
    "chord-lengths-differ": (WARNING, "notes of different lengths in one chord; the first counts"),
    "unclosed-chord": (ERROR, "a [ without its ]"),
    "unopened-chord": (ERROR, "a ] without its ["),
    "unclosed-grace": (ERROR, "a { without its }"),
    "unopened-grace": (ERROR, "a } without its {"),
    "bad-grace": (ERROR, "something other than notes between { and }"),
    "unclosed-string": (ERROR, 'a " without its partner on the line'),
    "unclosed-decoration": (ERROR, "a ! without its partner"),
    "unclosed-slur": (WARNING, "a ( without its )"),
    "unopened-slur": (WARNING, "a ) without its ("),
    "bad-tuplet": (ERROR, "a tuplet with impossible numbers"),
    "short-tuplet": (ERROR, "a tuplet that the bar ends before its notes are there"),
    "bad-broken-rhythm": (ERROR, "a < or > without a note on both sides"),
    "stray-tie": (WARNING, "a - without a note before it"),
    "tie-not-continued": (WARNING, "a tie whose next note has another pitch"),
    "stray-accidental": (ERROR, "an accidental that stands before no note"),
    "unknown-decoration": (WARNING, "a letter before a note that is no decoration; the note is played without it"),
    "text-in-music": (ERROR, "words where music should be"),
    "unexpected-character": (ERROR, "a character that means nothing in music"),
    "bad-inline-field": (ERROR, "an inline field that cannot be read"),
    # Bars, repeats and voices
    "bar-too-short": (ERROR, "a bar that holds less than the meter asks"),
    "bar-too-long": (ERROR, "a bar that holds more than the meter asks"),
    "overlay-length": (ERROR, "an & layer that does not fill its bar"),
    "missing-bar-line": (WARNING, "the last bar has no bar line"),
    "repeat-not-closed": (WARNING, "a |: without its :|"),
    "bad-ending": (ERROR, "an ending number that cannot be read"),
    "ending-without-repeat": (WARNING, "a first ending without a :| behind it"),
    "voices-unequal": (ERROR, "voices of different total length"),
    "pickup-alone": (WARNING, "a pick-up in some voices alone; their bars lie beside the bars of the others"),
    "voice-empty": (WARNING, "a voice that is named but has no music"),
    "repeats-differ": (WARNING, "voices with repeats at different bars; they play apart"),
    # What `mend` did
    "mended-wrapping": (INFO, "the tune was taken out of JSON or escapes"),
    "mended-characters": (INFO, "control characters were removed"),
    "mended-fence": (INFO, "code fences were removed"),
    "mended-choice": (INFO, "one of several tunes was kept"),
    "mended-prose": (INFO, "words for people were left out"),
    "mended-field": (INFO, "a header field was written as ABC has it"),
    "mended-missing": (INFO, "a header field was added"),
    "mended-blank-line": (INFO, "blank lines were removed"),
    "mended-accidental": (INFO, "accidentals or quotes were written as ABC has them"),
    "mended-sign": (INFO, "a bracket or mark was closed or removed"),
    "mended-meter": (INFO, "the meter was set to what the bars hold"),
    "mended-pickup": (INFO, "a pick-up of some voices was given to all"),
    "mended-bar-line": (INFO, "a bar line was removed, added or moved"),
    "mended-bar": (INFO, "a bar was fitted to the meter"),
    "mended-last-bar": (INFO, "a bar line was put at the end"),
    "mended-voice": (INFO, "a voice was filled up with rests"),
}
"""code -> (severity, meaning)."""
MAX_FINDINGS = 500
"""Most findings of one tune, so that the later tunes of a book are checked as well."""
MAX_FILE_FINDINGS = 50_000


class Findings:
    """Diagnostics in the order they were found, at most `MAX_FINDINGS` a tune and one that says so."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._tune_start = 0

    def start_tune(self) -> None:
        """Count anew: what is added from here on belongs to another tune."""
        self._tune_start = len(self.diagnostics)

    def add(
        self, code: str, message: str, line: int, column: int, voice: str | None = None, bar: int | None = None
    ) -> None:
        """Note one finding; `code` must be in `CODES`."""
        total = len(self.diagnostics)
        count = total - self._tune_start
        if count > MAX_FINDINGS or total > MAX_FILE_FINDINGS:
            return
        if count == MAX_FINDINGS or total == MAX_FILE_FINDINGS:
            most = MAX_FINDINGS if count == MAX_FINDINGS else MAX_FILE_FINDINGS
            code, message = "too-many-findings", f"more than {most} findings: mend these first"
        self.diagnostics.append(Diagnostic(line, column, voice, bar, code, CODES[code][0], message))


_WORDS = re.compile(r"[A-Za-z]+(?:[ ,.']+[A-Za-z]+)*")

_CHARACTERS = {
    "[": ("unclosed-chord", "this [ opens a chord that is not closed: write ] behind its last note"),
    "]": ("unopened-chord", "this ] closes no chord: remove it or open the chord with ["),
    "{": ("unclosed-grace", "this { is not closed on its line: write } behind the grace notes"),
    "}": ("unopened-grace", "this } closes no grace notes: remove it or open them with {"),
    '"': ("unclosed-string", 'this " is not closed on its line: write " behind the text'),
    "!": ("unclosed-decoration", "this ! is not closed: write !name! as in !trill!"),
}

_HINTS = {
    "#": "write a sharp before the letter, ^C",
    "♯": "write a sharp before the letter, ^C",
    "♭": "write a flat before the letter, _B",
    "♮": "write a natural before the letter, =B",
    "+": "write chords in square brackets, [CEG]",
    "\\": "a backslash may only end a line",
}

_NOTES = {
    "bad-length": "the length of {} cannot be read: write a number, or a fraction such as 3/2",
    "pitch-out-of-range": "{} is outside MIDI's range: use fewer octave marks",
    "odd-divisor": "{}: divisors of a length are powers of two: write a tuplet such as (3CDE",
    "microtone": "the quarter tone in {} plays as a natural: use ^, _ or =",
    "empty-chord": "{} holds no note: put notes in it or remove it",
    "chord-lengths-differ": "{}: all notes of a chord last as long as the first: give it one length",
}


def about_character(text: str) -> tuple[str, str]:
    """Return code and sentence for a character that starts no token."""
    if text in _CHARACTERS:
        return _CHARACTERS[text]
    if text in "^_=":
        return "stray-accidental", f"{text} stands before no note: accidentals come before the letter, ^C"
    shown = text if text.isprintable() else f"U+{ord(text):04X}"
    return "unexpected-character", f"{shown} means nothing in music: {_HINTS.get(text, 'remove it')}"


def about_note(problem: str, text: str) -> str:
    """Return the sentence for a note, chord or rest with a problem."""
    return _NOTES[problem].format(text if len(text) <= 24 else text[:21] + "...")


def words_at(line: str, start: int) -> str:
    """Return the words that begin at a letter, at most 60 characters of them."""
    match = _WORDS.match(line, start, start + 60)
    return match[0] if match is not None else line[start]


def about_words(words: str) -> str:
    """Return the sentence for words where music should be."""
    shown = words if len(words) <= 30 else words[:27] + "..."
    return f'{shown!r} is no music: remove it, or put words behind % or in "^..."'
