"""The ABC that a constrained model writes, as one regular expression.

It is a part of ABC standard 2.1 in which every bar's length can be counted as it is written: a header in fixed order,
up to four voices, notes, rests, chords, ties and triplets, every line ending with a bar line. Prose, lyrics, comments
and changes inside the music are left out, for nothing in a first tune needs them.
"""

from __future__ import annotations

_PITCH = r"[\^_=]?[A-Ga-g](?:,{1,3}|'{1,3})?"
_LENGTH = r"(?:[1-9][0-9]?(?:/[248])?|/[248]?)?"
_NOTE = rf"{_PITCH}{_LENGTH}-?"
_REST = rf"z{_LENGTH}"
_CHORD = rf"\[(?:{_PITCH}){{2,5}}\]{_LENGTH}-?"
_TRIPLET = rf"\(3 ?{_PITCH} ?{_PITCH} ?{_PITCH}"
_ITEM = rf"(?:{_NOTE}|{_REST}|{_CHORD}|{_TRIPLET})"
_ITEMS = rf"{_ITEM}(?: ?{_ITEM})*"
_BARS = rf"(?:\|: ?)?{_ITEMS}(?: ?\| ?{_ITEMS})*"
_LINE_END = r" ?(?:\|\||\|\]|:\||\|)\n"
_TUNE_END = r" ?(?:\|\]|:\|)\n?"

_TEXT = r"[^\n%\\]{1,60}"
_METER = r"(?:[2-7]|9|12)/[248]"
_TEMPO = r"(?:Q:1/4=[1-9][0-9]{1,2}\n)?"
# At most seven sharps or flats each.
_MAJOR = r"[A-G]|[FC]#|[CDEGAB]b"
_MINOR = r"(?:[A-G]|[FCGDA]#|[EBA]b)(?:m|min)"
_KEY = rf"(?:{_MAJOR}|{_MINOR}|[A-G] ?(?:dor|mix|phr|lyd))"
_HEADER = rf"X:1\nT:{_TEXT}\nM:{_METER}\nL:1/(?:4|8|16)\n{_TEMPO}K:{_KEY}\n"
_VOICE = r"V:[1-4](?: clef=(?:treble|bass))?\n(?:%%MIDI program [1-9]?[0-9]\n)?"
_PREFIX = r"\[V:[1-4]\] ?"


def _music(prefix: str) -> str:
    return rf"(?:{prefix}{_BARS}{_LINE_END})*{prefix}{_BARS}{_TUNE_END}"


TUNE = rf"{_HEADER}(?:{_music('')}|(?:{_VOICE}){{1,4}}{_music(_PREFIX)})"
"""Matches one whole tune; in the syntax that Python's `re` and llguidance share."""
