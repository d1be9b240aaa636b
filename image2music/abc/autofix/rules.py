"""Corrections by rule: of the header, voices, bars and meter of a tune, one after the other."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice

from image2music.abc.ast import Bar, Event, StateChange, Tune, Voice
from image2music.abc.autofix.wrapping import (
    TextEdit,
    TextEditor,
    choose_tune,
    mend_characters,
    mend_lines,
    mend_signs,
    note_lost_text,
    unwrap,
)
from image2music.abc.checker import check_parsed, count_severe, shared_pickup, wrong_bars
from image2music.abc.diagnostics import MAX_FINDINGS, Diagnostic, Severity
from image2music.abc.fields import (
    default_unit,
    key_of_words,
    meter_of_words,
    read_key,
    read_meter,
    read_unit,
    tempo_of_words,
)
from image2music.abc.parser import ParsedAbc, parse
from image2music.abc.repairs.bars import (
    MAX_ADDED_BARS,
    Proposal,
    bar_line_proposals,
    behind_last_note,
    meter_of,
    rest_to_fill,
    taken_off,
    written_length,
)
from image2music.abc.repairs.voices import differing_pick_ups
from image2music.errors import AbcError
from image2music.music.theory import FREE_METER, Length, Meter, as_fraction, spoken

_FIELD = re.compile(r"([A-Za-z]):(?![|:])[ \t]*(.*)$")
_DRESSED = re.compile(r"[ \t]*[*#>\-`_]*[ \t]*([A-Z])[*`_]*:[*`_]*[ \t]*(.*?)[*`_]*$")

_NAMED = re.compile(
    r"[*_\s]*(title|composer|meter|time signature|key|tempo|unit length|rhythm)[*_]*\s*:[*_]*\s*(.+?)[*_]*$",
    re.IGNORECASE,
)

_NAMES = {
    "title": "T", "composer": "C", "meter": "M", "time signature": "M",
    "key": "K", "tempo": "Q", "unit length": "L", "rhythm": "R",
}  # fmt: skip
_LOWER = frozenset("xtmlqkcr")
_LOWER_FIELD = re.compile(r"^([xtmlqkcr]):(?![|:])", re.MULTILINE)
_BOLD_FIELD = re.compile(r"^[ \t]*[*_`#>-]+[ \t]*([A-Z])[*_`]*:[*_`]*[ \t]*", re.MULTILINE)
_ANY_KEY = re.compile(r"^[*_`#> \t-]{0,8}[kK][*_`]{0,3}:", re.MULTILINE)


def mend_header(editor: TextEditor) -> None:
    """Bring every header line into ABC's form and add the fields that are missing, in ABC's order."""
    lines = editor.text.split("\n")
    end = _first_music_line(lines)
    header = [mended for line in lines[:end] if line.strip() and (mended := _line(editor, line))]
    if any(not line.strip() for line in lines[:end]):
        editor.note("mended-blank-line", "removed blank lines from the header")
    body = lines[end:]
    _add_missing(editor, header, body)
    editor.text = "\n".join(header + body)


def mend_field_names(editor: TextEditor) -> None:
    """Undress the header's field names (`x:1`, `**K:** C`), so that a tune is seen at all."""
    text = editor.text
    if re.search(r"^X:", text, re.MULTILINE):
        return
    end = _ANY_KEY.search(text)
    stop = end.end() if end is not None else len(text)
    head = _BOLD_FIELD.sub(r"\1:", _LOWER_FIELD.sub(lambda match: match[1].upper() + ":", text[:stop]))
    if head != text[:stop]:
        editor.note("mended-field", "wrote the header's field names as ABC does")
        editor.text = head + text[stop:]


def _first_music_line(lines: list[str]) -> int:
    for index, line in enumerate(lines):
        field = _field(line)
        if field is not None and field[0] == "K":
            return index + 1
        if field is None and line.strip() and not line.startswith("%") and ("|" in line or line.startswith("[V:")):
            return index
    return len(lines)


def _field(line: str) -> tuple[str, str] | None:
    """Return the letter and value of a header line, however it is dressed up."""
    match = _FIELD.match(line)
    if match is not None:
        letter = match[1]
        if letter in _LOWER:
            letter = letter.upper()
        return (letter, match[2].strip()) if letter.isupper() else None
    match = _DRESSED.match(line)
    if match is not None and "|" not in line:
        return match[1], match[2].strip()
    match = _NAMED.match(line)
    return (_NAMES[match[1].lower()], match[2].strip()) if match is not None else None


def _line(editor: TextEditor, line: str) -> str:
    """Return one header line in ABC's form; "" where it says nothing."""
    if line.startswith("%"):
        return line
    field = _field(line)
    if field is None:
        editor.note("mended-prose", f"left out {line.strip()[:30]!r} from the header")
        return ""
    letter, value = field
    mended = _value(letter, value)
    if mended is None:
        editor.note("mended-field", f"removed {letter}:{value[:20]}, which cannot be read")
        return ""
    if letter == "K" and mended == "C" and read_key(value) is None:
        editor.note("mended-field", f"put K:C for {value[:20]!r}, which names no key")
    plain = f"{letter}:{mended}"
    if mended == value and _FIELD.match(line) is not None and line[0] == letter:
        return line
    if plain != line:
        editor.note("mended-field", f"wrote {plain[:30]} for {line.strip()[:30]!r}")
    return plain


def _value(letter: str, value: str) -> str | None:
    """Return the value as ABC reads it, None where it cannot be read."""
    bare = value.split("%", 1)[0].strip()
    if letter == "K":
        return key_of_words(value, bare)
    if letter == "M":
        return value if read_meter(bare) is not None and bare else meter_of_words(bare)
    if letter == "L":
        return value if read_unit(bare) is not None else None
    if letter == "Q":
        return tempo_of_words(value, bare)
    if letter == "X":
        return value if bare.isascii() and bare.isdigit() else "1"
    return value


def _add_missing(editor: TextEditor, header: list[str], body: list[str]) -> None:
    """Add X:, M:, L: and K: where they are missing."""
    letters = [line[0] for line in header if line[1:2] == ":"]
    if "X" not in letters:
        editor.note("mended-missing", "added X:1")
        header.insert(0, "X:1")
    elif header[0][:2] != "X:":
        place = next(index for index, line in enumerate(header) if line.startswith("X:"))
        header.insert(0, header.pop(place))
        editor.note("mended-field", "moved X: to the first line")
    if "K" not in letters:
        editor.note("mended-missing", "added K:C, since no key is given")
        header.append("K:C")
    place = next(index for index, line in enumerate(header) if line.startswith("K:"))
    if "L" not in letters:
        header.insert(place, f"L:{_default_unit(header)}")
        editor.note("mended-missing", f"added {header[place]}, the unit length where none is given")
    if "M" not in letters:
        meter = guess_meter("\n".join([*header, *body]))
        if meter is not None:
            editor.note("mended-missing", f"added M:{meter}, the length of most bars")
            header.insert(place, f"M:{meter}")


def _default_unit(header: list[str]) -> Fraction:
    meter = next((read_meter(line[2:].split("%", 1)[0]) for line in header if line.startswith("M:")), None)
    return as_fraction(default_unit(meter if meter is not None else FREE_METER))


def guess_meter(text: str) -> str | None:
    """Return the meter that two thirds of the first tune's bars have, None where there is none."""
    lengths: Counter[Length] = Counter()
    for tune in parse(text).tunes[:1]:
        for voice in tune.voices.values():
            lengths.update(bar.length for bar in voice.bars if not bar.flawed)
    if not lengths:
        return None
    length, count = lengths.most_common(1)[0]
    return meter_of(length) if count * 3 >= lengths.total() * 2 else None


MAX_TRIED_LINES = 48
"""Changes of bar lines that are tried in one round."""


def mend_meter(editor: TextEditor) -> None:
    """Write the meter that two thirds of all bars have, where the header names another and nothing changes it."""
    tunes = editor.parsed.tunes
    if len(tunes) != 1 or not tunes[0].has_meter or tunes[0].meter.length is None:
        return
    tune = tunes[0]
    voices = list(tune.voices.values())
    if any(isinstance(e, StateChange) and isinstance(e.value, Meter) for voice in voices for e in voice.elements):
        return
    lengths = Counter(bar.length for voice in voices for bar in voice.bars if bar.count == 1)
    if lengths.total() < 3:
        return
    length, count = lengths.most_common(1)[0]
    meter = meter_of(length)
    if length == tune.meter.length or count * 3 < lengths.total() * 2 or meter is None:
        return
    match = re.search(r"^M:[^\n]*", editor.text, re.MULTILINE)
    if match is None:
        return
    message = f"wrote M:{meter} for {match[0][:20]}: {count} of {lengths.total()} bars have that length"
    editor.note("mended-meter", message, match.start())
    editor.apply([TextEdit(match.start(), match.end(), f"M:{meter}")])


def mend_pick_ups(editor: TextEditor) -> None:
    """Give every voice the pick-up that only some have, with rests; nothing is taken away."""
    tunes = editor.parsed.tunes
    pick_ups = differing_pick_ups(tunes[0]) if len(tunes) == 1 else None
    codes = {finding.code for finding in _found(editor.parsed)} if pick_ups is not None else set()
    if pick_ups is None or codes.isdisjoint({"voices-unequal", "pickup-alone"}):
        return
    new = pick_ups.applied(editor.text, tunes[0])
    if _badness(parse(new)) < _badness(editor.parsed):
        bar = pick_ups.additions[0].voice.bars[0]
        editor.note("mended-pickup", pick_ups.message, bar.start, pick_ups.additions[0].voice.id, bar.number)
        editor.text = new


def mend_bar_lines(editor: TextEditor) -> None:
    """Take bar lines away, add or move them where a voice that is as long as the others has wrong bars because of them.

    No note changes. A voice of another length may lack music, so its bars are left to the other rules.
    """
    left = MAX_TRIED_LINES if len(editor.text) <= LONG_CHARS else 0
    badness = _badness(editor.parsed) if left else (0, 0)
    while left > 0:
        for proposal, voice, bar in islice(_bar_line_proposals(editor), left):
            left -= 1
            now = _badness(parse(proposal.text))
            if now < badness:
                editor.note("mended-bar-line", proposal.message, bar.start, voice.id, bar.number)
                editor.text, badness = proposal.text, now
                break
        else:
            return


def _bar_line_proposals(editor: TextEditor) -> Iterator[tuple[Proposal, Voice, Bar]]:
    for tune in editor.parsed.tunes:
        lengths = Counter(voice.length for voice in tune.voices.values())
        pickup = shared_pickup(tune)
        for voice in tune.voices.values():
            if len(lengths) > 1 and lengths[voice.length] * 2 <= lengths.total():
                continue
            for wrong in wrong_bars(voice, pickup):
                index = bisect_left(voice.bars, wrong.bar.start, key=lambda bar: bar.start)
                for proposal in bar_line_proposals(editor.text, voice, index):
                    yield proposal, voice, wrong.bar


def mend_bar_lengths(editor: TextEditor) -> None:
    """Fit bars that are a little short or long, if at most a third of a voice's bars are wrong.

    Short by at most half a bar, or the last bar: a rest is added. Long: a rest at the end, or else the last note, gives
    up what is too much, if it is longer than that. Anything else has no clear meaning and stays for the composer.
    """
    edits: list[TextEdit] = []
    for tune in editor.parsed.tunes:
        for voice in tune.voices.values():
            edits += _voice_edits(editor, voice, shared_pickup(tune))
    editor.apply(edits)


def _voice_edits(editor: TextEditor, voice: Voice, pickup: Length | None) -> list[TextEdit]:
    wrong = [finding.bar for finding in wrong_bars(voice, pickup)]
    if not wrong or len(wrong) > max(2, len(voice.bars) // 3):
        return []
    edits = []
    events = [element for element in voice.elements if isinstance(element, Event)]
    for bar in wrong:
        edit = _fitted(editor.text, _last_event(events, bar), bar, is_last=bar is voice.bars[-1])
        if edit is not None:
            expected = bar.expected or 0
            message = f"bar {bar.number} of voice {voice.id} held {spoken(bar.length)}, now {spoken(expected)}"
            what = f"added {edit.text.strip()}" if edit.start == edit.end else "shortened its end"
            editor.note("mended-bar", f"{message}: {what}", bar.start, voice.id, bar.number)
            edits.append(edit)
    return edits


def _last_event(events: list[Event], bar: Bar) -> Event:
    """Return the last event of a bar; a bar that is closed holds one."""
    return events[bisect_left(events, bar.end, key=lambda event: event.start) - 1]


def _fitted(text: str, last: Event, bar: Bar, *, is_last: bool) -> TextEdit | None:
    expected = bar.expected
    if len(bar.lengths) != 1 or expected is None:
        return None
    missing = expected - bar.length
    if missing > 0:
        if missing * 2 > expected and not is_last:
            return None
        edit = rest_to_fill(text, bar, last)
    else:
        edit = taken_off(text, last, -missing)
    return TextEdit(*edit) if edit is not None else None


def mend_ends(editor: TextEditor) -> None:
    """Fill up voices that end before the longest one with bars of rest, and end every voice with a bar line."""
    edits: list[TextEdit] = []
    for tune in editor.parsed.tunes:
        longest = max((voice.length for voice in tune.voices.values()), default=0)
        for voice in tune.voices.values():
            edits += _end_edits(editor, tune, voice, longest)
    editor.apply(edits)


def _end_edits(editor: TextEditor, tune: Tune, voice: Voice, longest: Length) -> list[TextEdit]:
    if not voice.bars:
        return []
    last = voice.bars[-1]
    event = next(e for e in reversed(voice.elements) if isinstance(e, Event))
    place = last.end if last.closing is not None else behind_last_note(editor.text, event.end)
    addition = "" if last.closing is not None else " |]"
    missing = longest - voice.length
    bar_length = last.meter.length
    if missing and bar_length is not None and missing % bar_length == 0 and missing // bar_length <= MAX_ADDED_BARS:
        rest = written_length(bar_length, event.grace_unit)
        count = int(missing // bar_length)
        if rest is not None:
            addition = ("" if last.closing is not None else " |") + f" z{rest} |" * count
            message = f"voice {voice.id} ended {count} bars early: filled it up with rests"
            editor.note("mended-voice", message, place, voice.id, last.number)
    if addition == " |]":
        editor.note("mended-last-bar", f"ended voice {voice.id} with a bar line", place, voice.id, last.number)
    return [TextEdit(place, place, addition)] if addition else []


AUTOFIX_VERSION = 2
"""Raise it when a rule changes what comes out: rows of other versions are not mixed unasked."""

MAX_MODEL_CHARS = 65_536
"""A longer text is no answer that a model should have given."""

MAX_ROUNDS = 3
"""One mend can make room for another, as a closed bracket does for a bar that can then be counted."""

LONG_CHARS = 16_384
"""A longer text is mended in one round, its bar lines not at all: it is no single tune with a few slips."""
_STEPS = (
    mend_header, mend_characters, mend_lines, mend_signs, mend_meter, mend_pick_ups, mend_bar_lines, mend_bar_lengths,
    mend_ends,
)  # fmt: skip
_TUNE_START = re.compile(r"^(?=X:)", re.MULTILINE)


@dataclass(frozen=True)
class Autofixed:
    """The mended text, parsed, and one diagnostic (severity info) for each mend.

    A diagnostic's line and column count in the text as it stood at that step.
    """

    abc: str
    parsed: ParsedAbc = field(compare=False, repr=False)
    diagnostics: tuple[Diagnostic, ...] = ()


def autofix(text: str) -> Autofixed:
    """Correct one tune as a model writes it. A text without errors or warnings comes back as it is.

    Raises:
        AbcError: `text_too_long` above `MAX_MODEL_CHARS` characters, `no_music` where the text holds no tune.
    """
    if len(text) > MAX_MODEL_CHARS:
        raise AbcError(
            f"{len(text)} characters, at most {MAX_MODEL_CHARS} are mended: ask for less", reason="text_too_long"
        )
    editor = TextEditor(text)
    unwrap(editor)
    if editor.text == text and _is_fine(editor.parsed) and len(editor.parsed.tunes) == 1:
        return Autofixed(text, editor.parsed)
    mend_field_names(editor)
    before = editor.text
    choose_tune(editor)
    note_lost_text(editor, before)
    if not editor.text.strip():
        raise AbcError("there is no tune in the text: write one from X: to its last bar line", reason="no_music")
    _mend_tune(editor)
    return Autofixed(editor.text, editor.parsed, tuple(editor.diagnostics))


def autofix_file(text: str) -> Autofixed:
    """Correct every tune of a file, which may hold several; text between tunes stays.

    Raises:
        AbcError: as `autofix`, for each tune on its own.
    """
    pieces = _TUNE_START.split(text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff"))
    if len(pieces) <= 2:
        return autofix(text)
    mended = [pieces[0]]
    diagnostics: list[Diagnostic] = []
    for piece in pieces[1:]:
        if len(piece) > MAX_MODEL_CHARS or _is_fine(parse(piece)):
            mended.append(piece)
            continue
        part = autofix(piece)
        mended.append(part.abc.rstrip("\n") + "\n\n")
        diagnostics += part.diagnostics
    whole = "".join(mended)
    return Autofixed(whole, parse(whole), tuple(diagnostics))


def _mend_tune(editor: TextEditor) -> None:
    for _ in range(MAX_ROUNDS if len(editor.text) <= LONG_CHARS else 1):
        before = editor.text
        findings = _found(editor.parsed)
        # So many findings are no slips: the text is not a tune, and only a composer can write it anew.
        if len(findings) > MAX_FINDINGS or all(finding.severity is Severity.INFO for finding in findings):
            return
        for step in _STEPS:
            step(editor)
        if editor.text == before:
            return


def _is_fine(parsed: ParsedAbc) -> bool:
    return all(finding.severity is Severity.INFO for finding in _found(parsed))


def _found(parsed: ParsedAbc) -> list[Diagnostic]:
    return check_parsed(parsed, repairs=False)


def _badness(parsed: ParsedAbc) -> tuple[int, int]:
    """Errors and warnings; fewer of the first count more."""
    return count_severe(_found(parsed))
