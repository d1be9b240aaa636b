"""The grammar of what is decoded: the part of ABC standard 2.1 in which every bar's length can be counted as written.

Patterns are in the syntax that `re` and llguidance share. A tune has a header in fixed order, a given number of voices,
notes, rests, chords, ties, slurs, triplets, grace notes, dynamics, accents and swells, changes of tempo in the first
voice, and comments between lines; every line ends with a bar line. Lyrics, chord names and changes of key and meter
inside the music are left out, for nothing in a first tune needs them.
"""

from __future__ import annotations

import json

from image2music.composers.forms import Form, LinesForm, TuneForm
from image2music.errors import ConfigError

_PITCH = r"[\^_=]?[A-Ga-g](?:,{1,3}|'{1,3})?"
_LENGTH = r"(?:[1-9][0-9]?(?:/[248])?|/[248]?)?"
_SIGN = r"!(?:pp?|m[pf]|ff?|sfz|>|[<>][()])!"
_GRACE = rf"(?:\{{(?:{_PITCH}){{1,3}}\}})?"
_NOTE = rf"(?:{_PITCH}|\[(?:{_PITCH}){{2,5}}\]){_LENGTH}-?"
_TRIPLET = rf"\(3 ?{_PITCH} ?{_PITCH} ?{_PITCH}"
_STRUCK = rf"(?:{_SIGN}){{0,2}}\.?{_GRACE}{_NOTE}"
_ITEM = rf"(?:(?:{_SIGN}){{0,3}}\(?(?:{_STRUCK}|{_TRIPLET})|z{_LENGTH})"
_CLOSED = r"(?: ?(?:![<>]\)!|\)))* ?"
"""What may stand behind a note: the ends of swells and slurs."""
_ITEMS = rf"{_ITEM}(?:{_CLOSED}{_ITEM})*"

# A title begins with a letter; what breaks lines in some reader or other is no part of it.
_TEXT = r"[A-Za-z\u00c0-\u1fff][^\x00-\x1f\x7f-\x9f\u2028\u2029%\\]{0,59}"
_METER = r"(?:[2-7]|9|12)/[248]"
_QPM = r"Q:1/4=[1-9][0-9]{1,2}"
_TEMPO = rf"(?:{_QPM}\n)?"

# At most seven sharps or flats each.
_MAJOR = r"[A-G]|[FC]#|[CDEGAB]b"
_MINOR = r"(?:[A-G]|[FCGDA]#|[EBA]b)(?:m|min)"
_KEY = rf"(?:{_MAJOR}|{_MINOR}|[A-G] ?(?:dor|mix|phr|lyd))"
_HEADER = rf"X:1\nT:{_TEXT}\nM:{_METER}\nL:1/(?:4|8|16)\n{_TEMPO}K:{_KEY}\n"
_DETAILS = r"(?: clef=(?:treble|bass))?\n(?:%%MIDI program [1-9]?[0-9]\n)?"
_COMMENT = r"(?:% [ -$&-~]{0,79}\n)?"

_NEW_TEMPO = rf"(?:\[{_QPM}\] ?)?"
_BAR_LINE = rf"{_CLOSED}\| ?"
_LINE_END = rf"{_CLOSED}(?:\|\||\|\]|:\||\|)\n"
_TUNE_END = rf"{_CLOSED}(?:\|\]|:\|)\n?"
MOST_VOICES = 4


def tune_pattern(voices: int) -> str:
    """Return a pattern for one whole tune of 1 to `MOST_VOICES` voices.

    Raises:
        ConfigError: for any other number (`bad_voices`).
    """
    if not 1 <= voices <= MOST_VOICES:
        raise ConfigError(f"a tune has 1 to {MOST_VOICES} voices, not {voices}", reason="bad_voices")
    if voices == 1:
        line = _bars(_NEW_TEMPO)
        return rf"{_HEADER}(?:{_COMMENT}{line}{_LINE_END})*{_COMMENT}{line}{_TUNE_END}"
    declared = "".join(rf"V:{number}{_DETAILS}" for number in range(1, voices + 1))
    line = rf"\[V:(?:1\] ?{_bars(_NEW_TEMPO)}|[2-{voices}]\] ?{_bars('')})"
    return rf"{_HEADER}{declared}(?:{_COMMENT}{line}{_LINE_END})*{_COMMENT}{line}{_TUNE_END}"


def _bars(opening: str) -> str:
    return rf"(?:\|: ?)?{opening}{_ITEMS}(?:{_BAR_LINE}{opening}{_ITEMS})*"


_LINE = rf"{_ITEMS}(?:{_BAR_LINE}{_ITEMS})*{_CLOSED}\|"


def lines_grammar(form: LinesForm) -> str:
    """Return the grammar of a form in llguidance's form of Lark, with as many bars in a line as one likes.

    All lines share one terminal, so that what was found out about it in one line serves for the next.
    """
    parts = []
    for number, line in enumerate(form.lines, 1):
        if line.prefix:
            parts.append(json.dumps(line.prefix, ensure_ascii=False))
        opening = "FIRST" if _begins_at_once(line.prefix) else "NEXT"
        parts.append(f"{opening}_{'END' if number == len(form.lines) else 'LINE'}")
    last = _LINE + r"\]?\n?"
    terminals = {
        "FIRST_LINE": _LINE + r"\n",
        "NEXT_LINE": rf" ?{_LINE}\n",
        "FIRST_END": last,
        "NEXT_END": rf" ?{last}",
    }
    used = (f"{name}: /{_in_slashes(pattern)}/" for name, pattern in terminals.items() if name in parts)
    return "\n".join((f"start: {' '.join(parts)}", *used))


def _begins_at_once(prefix: str) -> bool:
    return not prefix.endswith(("]", ":"))


def _in_slashes(pattern: str) -> str:
    return pattern.replace("/", r"\/")


def pattern_of(form: Form) -> str | None:
    """Return the regular expression of a form of music; of lines it counts the bars too. None for any other form."""
    if isinstance(form, TuneForm):
        return tune_pattern(form.voices)
    if not isinstance(form, LinesForm):
        return None
    lines = []
    for line in form.lines:
        first = "" if _begins_at_once(line.prefix) else " ?"
        more = rf"(?:{_BAR_LINE}{_ITEMS}){{{line.bars - 1}}}" if line.bars > 1 else ""
        lines.append(rf"{_quoted(line.prefix)}{first}{_ITEMS}{more}{_CLOSED}\|")
    return r"\n".join(lines) + r"\]?\n?"


def _quoted(text: str) -> str:
    """Quote a text for both; `re.escape` quotes letters that llguidance wants plain."""
    return "".join(
        r"\n" if letter == "\n" else "\\" + letter if letter in r".^$*+?{}[]\|()" else letter for letter in text
    )
