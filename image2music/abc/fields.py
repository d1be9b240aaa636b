"""The values of ABC's fields: M:, L:, Q:, K:, V: and the few `%%MIDI` directives that are followed.

Each `read_*` function returns None where the value says nothing usable; `FieldValues` also reports it. All other `%%`
lines are left out, whatever they say. Source: ABC standard 2.1, 3.1 (keys: 3.1.14).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from image2music.abc.ast import Sound, VoiceSettings
from image2music.abc.lexer import read_int, read_note
from image2music.music.theory import (
    C_MAJOR,
    COMMON_TIME,
    DRUM_NAMES,
    FREE_METER,
    LETTERS,
    LOWEST_DRUM,
    MODE_SHARPS,
    NATURALS,
    WHOLE,
    Key,
    Length,
    Meter,
    Tempo,
    fifths_of,
    of_whole,
    signature_alterations,
)

MAX_NUMBER = 999
_METER = re.compile(r"\(?\s*([0-9]{1,3}(?:\s*\+\s*[0-9]{1,3})*)\s*\)?\s*/\s*([0-9]{1,3})$")
_UNIT = re.compile(r"([0-9]{1,3})\s*/\s*([0-9]{1,4})$")
_BEAT = re.compile(r"([0-9]{1,3})\s*/\s*([0-9]{1,3})")
_TEMPO = re.compile(r"((?:[0-9]{1,3}\s*/\s*[0-9]{1,3}\s*)+)=\s*([0-9]{1,4}(?:\.[0-9]{1,8})?)")
_QUOTED = re.compile(r'"[^"]*"')
PROPERTY = re.compile(r'([A-Za-z][\w-]*)\s*=\s*("[^"]*"|[^\s"]+)')
_KEY_PROPERTY = re.compile(
    r"\b(?:(?:clef|middle|octave|transpose|stafflines|staffscale|score|sound|shift|instrument|name|nm|snm|cue|map|stem)"
    r'\s*=\s*|[A-Za-z][\w-]+=(?![A-Ga-g](?:\s|$)))("[^"]*"|[^\s"]+)'
)
"""A property in K:. In `K:D =c` the c is natural, so an equals sign makes none behind a name that is not known."""

_CLEFS = re.compile(
    r"(treble|bass|alto|tenor|perc|none|soprano|mezzosoprano|baritone|G2?|F[34]?|C[1-4]|P)[,']*([+-]8|[+-]15)?[0-9]?$",
    re.IGNORECASE,
)


@lru_cache(maxsize=512)
def read_meter(text: str) -> Meter | None:
    """Read `4/4`, `C`, `C|`, `none`, `2+3/8` or `(2+3)/8`."""
    value = text.strip()
    if value == "C":
        return COMMON_TIME
    if value == "C|":
        return Meter.of(2, 2)
    if value.lower() in ("none", ""):
        return FREE_METER
    match = _METER.match(value)
    if match is None:
        return None
    numerator = sum(int(part) for part in match[1].split("+"))
    denominator = int(match[2])
    if not 0 < numerator <= 128 or not 0 < denominator <= 64 or denominator & (denominator - 1):
        return None
    return Meter.of(numerator, denominator)


@lru_cache(maxsize=512)
def read_unit(text: str) -> Length | None:
    """Read `1/8`: the unit length in length units."""
    value = text.strip()
    if value == "1":
        return WHOLE
    match = _UNIT.match(value)
    if match is None:
        return None
    numerator, denominator = int(match[1]), int(match[2])
    if not 0 < numerator <= 16 or not 0 < denominator <= 512 or denominator & (denominator - 1):
        return None
    return of_whole(numerator, denominator)


def default_unit(meter: Meter) -> Length:
    """Return the unit length where L: is missing: 1/16 under meters below 3/4, else 1/8 (ABC 2.1, 3.1.7)."""
    if meter.length is not None and meter.length * 4 < WHOLE * 3:
        return WHOLE // 16
    return WHOLE // 8


@lru_cache(maxsize=512)
def read_tempo(text: str, unit: Length = WHOLE // 8) -> Tempo | None:
    """Read `1/4=120`, `"Slow" 1/4=60`, `120` (quarters) or `C3=40` (unit lengths, ABC 1.6)."""
    words = " ".join(part.strip('"') for part in _QUOTED.findall(text))
    value = _QUOTED.sub(" ", text).strip()
    if not value and words:
        return Tempo(0.0, words)
    match = _TEMPO.match(value)
    if match is not None:
        beats = [(int(a), int(b)) for a, b in _BEAT.findall(match[1])]
        if any(b == 0 for _, b in beats):
            return None
        qpm = sum(4 * a / b for a, b in beats) * float(match[2])
    elif re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,8})?", value):
        qpm = float(value)
    else:
        old = re.fullmatch(r"C([0-9]{0,2})\s*=\s*([0-9]{1,4})", value)
        if old is None:
            return None
        qpm = int(old[1] or 1) * float(unit / WHOLE) * 4 * int(old[2])
    return Tempo(qpm, words) if 5 <= qpm <= 2000 else None


def is_clef(word: str) -> bool:
    """Say whether a word of K: or V: names a clef."""
    # `C` and `G` alone are keys, `C1`, `F4`, `G2` are clefs.
    return len(word) > 1 and _CLEFS.match(word) is not None


@lru_cache(maxsize=2048)
def read_voice_settings(text: str) -> VoiceSettings:
    """Read the sound from `clef=treble-8 octave=-1 transpose=2 name="Flute"` in V: or K:."""
    properties = {name.lower(): value.strip('"') for name, value in PROPERTY.findall(text)}
    bare = PROPERTY.sub(" ", text).split()
    clef = properties.get("clef") or next((word for word in bare if is_clef(word)), "")
    octave = 12 * _small_int(properties["octave"]) if "octave" in properties else None
    transposition = _small_int(properties["transpose"]) if "transpose" in properties else None
    shift = 0 if clef else None
    match = re.search(r"([+-])(8|15)$", clef)
    if match:
        shift = (12 if match[2] == "8" else 24) * (1 if match[1] == "+" else -1)
    name = properties.get("name") or properties.get("nm") or ""
    return VoiceSettings(shift, octave, transposition, clef.lower() in ("perc", "p"), name)


def _small_int(text: str) -> int:
    number = read_int(text)
    return number if number is not None and -100 < number < 100 else 0


_KEY = re.compile(r"([A-G])\s*(##?|bb?|♯|♭|#|b)?\s*([A-Za-z]*)")
_ACCIDENTAL = re.compile(r"(\^\^|__|\^|_|=)[A-Ga-g]$|(\^|_)[0-9]?/[0-9]?[A-Ga-g]$")
_MODES = {"": 0, "m": MODE_SHARPS["minor"], **{name[:3]: sharps for name, sharps in MODE_SHARPS.items()}}
_KEY_WORDS = {"exp", "none"}


@lru_cache(maxsize=2048)
def read_key(text: str) -> Key | None:
    """Read `G`, `Am`, `D mix`, `Bb major`, `D exp _b ^f`, `none`, `HP`, with or without clef words behind."""
    words = _KEY_PROPERTY.sub(" ", text).split()
    accidentals = [word for word in words if _ACCIDENTAL.match(word)]
    rest = " ".join(word for word in _unglued(words, accidentals))
    key = _tonic_key(rest)
    if key is None:
        return None
    return _with_accidentals(key, accidentals) if accidentals else key


def names_key(text: str) -> bool:
    """Say whether K: says more than a clef, an octave or a transposition."""
    return any(not is_clef(word) for word in _KEY_PROPERTY.sub(" ", text).split())


def _unglued(words: list[str], accidentals: list[str]) -> list[str]:
    """Return the words that are not accidentals; accidentals glued together (`^f^c`) are split off."""
    kept = []
    for word in words:
        if word in accidentals:
            continue
        parts = re.findall(r"(?:\^\^|__|[\^_][0-9]?/[0-9]?|[\^_=])[A-Ga-g]", word)
        if not parts:
            kept.append(word)
            continue
        accidentals.extend(parts)
        head = word[: word.index(parts[0])]
        if head:
            kept.append(head)
    return kept


def _tonic_key(text: str) -> Key | None:
    words = [word for word in text.split() if not is_clef(word)]
    if not words or words[0].lower() in _KEY_WORDS:
        return replace(C_MAJOR, explicit=True)
    if words[0] in ("HP", "Hp"):
        return _signature(2, minor=False, tonic="D")
    match = _KEY.match(" ".join(words))
    if match is None:
        return None
    mode = match[3].lower()
    trailing = " ".join(words)[match.end() :].split()
    if mode == "exp" or "exp" in trailing:
        return replace(C_MAJOR, explicit=True)
    # Only the first three letters of a mode count (ABC 2.1, 3.1.14).
    if mode[:3] not in _MODES:
        return None
    accidental = (match[2] or "").replace("♯", "#").replace("♭", "b")
    if len(accidental) > 1:
        return None
    shift = _MODES[mode[:3]]
    sharps = fifths_of(match[1] + accidental) + shift
    if not -7 <= sharps <= 7:
        return None
    return _signature(sharps, minor=shift == -3, tonic=match[1] + accidental)


def _signature(sharps: int, *, minor: bool, tonic: str) -> Key:
    return Key(sharps, minor, signature_alterations(sharps), tonic)


def _with_accidentals(key: Key, accidentals: list[str]) -> Key:
    altered = list(key.alterations)
    for word in accidentals:
        step = LETTERS.index(word[-1].upper())
        altered[step] = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}.get(word[:-1], altered[step])
    return replace(key, alterations=tuple(altered), explicit=True)


_TEMPO_WORDS = {
    "grave": 40, "largo": 50, "lento": 56, "adagio": 66, "slow": 66, "andante": 80, "andantino": 88, "moderato": 104,
    "moderate": 104, "allegretto": 112, "allegro": 132, "fast": 140, "vivace": 160, "presto": 180,
}  # fmt: skip
_MODE_NAMES = {"minor": "m", "min": "m", "m": "m", "moll": "m", "major": "", "maj": "", "dur": ""}
_SPOKEN_KEY = re.compile(r"([A-Ga-g])[ \-]?(#|b|♯|♭|sharp|flat|is|es)?[ \-]*([A-Za-z]*)\.?$")


def key_of_words(value: str, bare: str) -> str:
    """Return a key as ABC has it, for `A minor` or `B♭`; the value where it can be read, else `C`."""
    spoken = _SPOKEN_KEY.match(bare)
    if spoken is not None:
        accidental = {"♯": "#", "sharp": "#", "is": "#", "♭": "b", "flat": "b", "es": "b"}.get(
            spoken[2] or "", spoken[2] or ""
        )
        mode = _MODE_NAMES.get(spoken[3].lower(), spoken[3])
        if mode in ("m", "") and (spoken[1].isupper() or mode == "m" or spoken[3]):
            short = spoken[1].upper() + accidental + mode
            if read_key(short) is not None:
                return short
    return value if read_key(bare) is not None else "C"


def meter_of_words(bare: str) -> str | None:
    """Return a meter as ABC has it, for `4-4` or `common time`; None where there is none in it."""
    words = bare.lower()
    if "common" in words:
        return "4/4"
    if "cut" in words:
        return "2/2"
    match = re.search(r"([0-9]{1,2})\s*[/:\-x]\s*([0-9]{1,2})", words)
    if match is not None and read_meter(f"{match[1]}/{match[2]}") is not None:
        return f"{match[1]}/{match[2]}"
    return None


def tempo_of_words(value: str, bare: str) -> str | None:
    """Return a tempo as ABC has it, for `about 90 bpm` or `Allegro`; None where there is none in it."""
    tempo = read_tempo(bare)
    if tempo is not None and tempo.qpm:
        return value
    number = re.search(r"(?<![0-9/])([0-9]{2,3})(?![0-9/])", bare)
    if number is not None and 20 <= int(number[1]) <= 400:
        return f"1/4={number[1]}"
    for word in re.findall(r"[a-z]+", bare.lower()):
        if word in _TEMPO_WORDS:
            return f"1/4={_TEMPO_WORDS[word]}"
    return None


FORBIDDEN = frozenset({"abc-include", "abc-macro", "include", "jsinclude", "postscript", "svg", "beginjs", "format"})
"""Directives that read files or define code. None is ever followed; these are told."""
_RANGES = {"program": (0, 127), "channel": (1, 16), "transpose": (-48, 48), "rtranspose": (-48, 48)}


@lru_cache(maxsize=1024)
def read_midi_directive(text: str) -> tuple[Sound | None, str]:
    """Read what follows `%%MIDI`: the setting (None where it is not followed) and a message ("" where it is fine).

    `program` may name a channel first, as in `program 1 73`; a channel is returned from 0.
    """
    words = text.split("%", 1)[0].split()
    if not words:
        return None, "%%MIDI says nothing: write %%MIDI program 0"
    what = words[0].lower()
    numbers = [number for word in words[1:4] if (number := read_int(word)) is not None]
    if what == "ratio":
        return _ratio(numbers)
    if what == "drummap":
        return read_drum_map(" ".join(words[1:]))
    if what not in _RANGES:
        return None, ""
    low, high = _RANGES[what]
    value = numbers[-1] if what == "program" and numbers[:2] else (numbers[0] if numbers else None)
    if value is None or not low <= value <= high:
        return None, f"%%MIDI {what} takes a number from {low} to {high}: it is left out"
    if what == "channel":
        value -= 1
    return Sound("transpose" if what == "rtranspose" else what, value), ""


@lru_cache(maxsize=1024)
def read_drum_map(text: str) -> tuple[Sound | None, str]:
    """Read what follows `%%MIDI drummap` or `%%percmap`: `F 36`, `^c' acoustic-snare x`, or `F D 36 x` (xml2abc).

    The first word is a note as it is written, the first number or General MIDI name behind it the drum.
    """
    words = text.split("%", 1)[0].split()
    note = _DRUM_NOTE.fullmatch(words[0]) if words else None
    drum = next((drum for word in words[1:4] if (drum := _drum(word)) is not None), None)
    if note is None or drum is None:
        return None, "a drum map takes a note and a drum from 0 to 127, as in %%MIDI drummap F 36: it is left out"
    head = read_note(note[0]).heads[0]
    written = 12 * (head.octave + 1) + NATURALS[head.step] + (head.accidental or 0)
    return Sound("drum", 128 * written + drum), ""


_DRUM_NOTE = re.compile(r"(?:\^\^|__|[\^_=])?[A-Ga-g][,']{0,4}")


def _drum(word: str) -> int | None:
    if word.lower() in DRUM_NAMES:
        return LOWEST_DRUM + DRUM_NAMES.index(word.lower())
    number = read_int(word)
    return number if number is not None and 0 <= number <= 127 else None


def _ratio(numbers: list[int]) -> tuple[Sound | None, str]:
    if len(numbers) < 2 or not all(0 < number < 64 for number in numbers[:2]):
        return None, "%%MIDI ratio takes two numbers from 1 to 63: it is left out"
    return Sound("ratio", (numbers[0] << 8) | numbers[1]), ""


Report = Callable[[str, str, int], None]
"""Takes a code, a message and a column."""


class FieldValues:
    """Each method returns None, and reports, where the value says nothing usable."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def meter(self, value: str, column: int) -> Meter | None:
        """Read M:."""
        meter = read_meter(value)
        if meter is None:
            self.report("bad-meter", f"M:{value[:20]} is no meter: write beats over a note value, M:4/4", column)
        return meter

    def unit(self, value: str, column: int) -> Length | None:
        """Read L:."""
        unit = read_unit(value)
        if unit is None:
            self.report("bad-unit", f"L:{value[:20]} is no unit length: write a fraction, L:1/8", column)
        return unit

    def key(self, value: str, column: int) -> Key | None:
        """Read K:."""
        key = read_key(value)
        if key is None:
            message = f"K:{value[:20]} is no key: write a tonic and a mode, K:C, K:Am, K:D dor"
            self.report("bad-key", message, column)
        return key

    def tempo(self, value: str, column: int, unit: Length) -> Tempo | None:
        """Read Q: under a unit length; words alone are no tempo that could be played."""
        tempo = read_tempo(value, unit)
        if tempo is not None and tempo.qpm:
            return tempo
        if tempo is not None or (value and not re.search(r"[0-9]", value)):
            message = f"Q:{value[:20]} has no number and plays at 120: write Q:1/4=120"
            self.report("tempo-without-number", message, column)
        else:
            self.report("bad-tempo", f"Q:{value[:20]} is no tempo: write beats a minute, Q:1/4=120", column)
        return None
