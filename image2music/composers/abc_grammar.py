"""The ABC that a constrained model writes, as one regular expression.

It is a part of ABC standard 2.1 in which every bar's length can be counted as it is written: a header in fixed order,
a given number of voices, notes, rests, chords, ties and triplets, every line ending with a bar line. Prose, lyrics,
comments and changes inside the music are left out, for nothing in a first tune needs them.
"""

from __future__ import annotations

from image2music.errors import ConfigError

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

# A title begins with a letter; what breaks lines in some reader or other is no part of it.
_TEXT = r"[A-Za-z\u00c0-\u1fff][^\x00-\x1f\x7f-\x9f\u2028\u2029%\\]{0,59}"
_METER = r"(?:[2-7]|9|12)/[248]"
_TEMPO = r"(?:Q:1/4=[1-9][0-9]{1,2}\n)?"
# At most seven sharps or flats each.
_MAJOR = r"[A-G]|[FC]#|[CDEGAB]b"
_MINOR = r"(?:[A-G]|[FCGDA]#|[EBA]b)(?:m|min)"
_KEY = rf"(?:{_MAJOR}|{_MINOR}|[A-G] ?(?:dor|mix|phr|lyd))"
_HEADER = rf"X:1\nT:{_TEXT}\nM:{_METER}\nL:1/(?:4|8|16)\n{_TEMPO}K:{_KEY}\n"
_DETAILS = r"(?: clef=(?:treble|bass))?\n(?:%%MIDI program [1-9]?[0-9]\n)?"

MOST_VOICES = 4


def tune(voices: int) -> str:
    """Matches one whole tune of 1 to `MOST_VOICES` voices, in the syntax that `re` and llguidance share."""
    if not 1 <= voices <= MOST_VOICES:
        raise ConfigError(f"a tune has 1 to {MOST_VOICES} voices, not {voices}", reason="bad_voices")
    if voices == 1:
        return _HEADER + _music("")
    declared = "".join(rf"V:{number}{_DETAILS}" for number in range(1, voices + 1))
    return _HEADER + declared + _music(rf"\[V:[1-{voices}]\] ?")


def _music(prefix: str) -> str:
    return rf"(?:{prefix}{_BARS}{_LINE_END})*{prefix}{_BARS}{_TUNE_END}"


VOICES = 2
"""Voices of a tune that a chat model writes, as its prompt asks for."""

TUNE = tune(VOICES)
