"""Readings of the header fields M:, L:, Q: and V: (keys: `abc_keys`). Each returns None where nothing is usable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from image2music.notation.abc_lengths import WHOLE, Length, of_whole

MAX_NUMBER = 999

_METER = re.compile(r"\(?\s*(\d{1,3}(?:\s*\+\s*\d{1,3})*)\s*\)?\s*/\s*(\d{1,3})$")
_UNIT = re.compile(r"(\d{1,3})\s*/\s*(\d{1,4})$")
_BEAT = re.compile(r"(\d{1,3})\s*/\s*(\d{1,3})")
_TEMPO = re.compile(r"((?:\d{1,3}\s*/\s*\d{1,3}\s*)+)=\s*(\d{1,4}(?:\.\d{1,3})?)")
_QUOTED = re.compile(r'"[^"]*"')
PROPERTY = re.compile(r'([A-Za-z][\w-]*)\s*=\s*("[^"]*"|[^\s"]+)')

_CLEFS = re.compile(
    r"(treble|bass|alto|tenor|perc|none|soprano|mezzosoprano|baritone|G2?|F[34]?|C[1-4]|P)[,']*([+-]8|[+-]15)?\d?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Meter:
    """M:. `length` is a bar's length in length units, None for free meter (`none`)."""

    numerator: int
    denominator: int
    length: Length | None

    @property
    def is_compound(self) -> bool:
        """Whether tuplets of 2, 4, 5, 7 and 9 go in the time of 3 (6/8, 9/8, 12/8)."""
        return self.numerator % 3 == 0 and self.numerator > 3 and self.length is not None

    def __str__(self) -> str:
        return "none" if self.length is None else f"{self.numerator}/{self.denominator}"


FREE_METER = Meter(4, 4, None)
COMMON_TIME = Meter(4, 4, WHOLE)


@dataclass(frozen=True, slots=True)
class Tempo:
    """Q:. Quarter notes a minute, and the words beside them."""

    qpm: float
    words: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """K:. `sharps` -7 to 7 with flats negative; `alterations[step]` in semitones for the steps C D E F G A B."""

    sharps: int
    minor: bool
    alterations: tuple[int, ...]
    tonic: str = "C"
    explicit: bool = False


C_MAJOR = Key(0, False, (0,) * 7)


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """What V: or K: says about sound: semitones to add, percussion, and the shown name."""

    transpose: int = 0
    percussion: bool = False
    name: str = ""


@lru_cache(maxsize=512)
def read_meter(text: str) -> Meter | None:
    """Reads `4/4`, `C`, `C|`, `none`, `2+3/8` or `(2+3)/8`."""
    value = text.strip()
    if value == "C":
        return COMMON_TIME
    if value == "C|":
        return Meter(2, 2, WHOLE)
    if value.lower() in ("none", ""):
        return FREE_METER
    match = _METER.match(value)
    if match is None:
        return None
    numerator = sum(int(part) for part in match[1].split("+"))
    denominator = int(match[2])
    if not 0 < numerator <= 128 or not 0 < denominator <= 64 or denominator & (denominator - 1):
        return None
    return Meter(numerator, denominator, of_whole(numerator, denominator))


@lru_cache(maxsize=512)
def read_unit(text: str) -> Length | None:
    """Reads `1/8`: the unit length in length units."""
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
    """The unit length where L: is missing: 1/16 under meters below 3/4, else 1/8 (ABC 2.1, 3.1.7)."""
    if meter.length is not None and meter.length * 4 < WHOLE * 3:
        return WHOLE // 16
    return WHOLE // 8


@lru_cache(maxsize=512)
def read_tempo(text: str, unit: Length = WHOLE // 8) -> Tempo | None:
    """Reads `1/4=120`, `"Slow" 1/4=60`, `120` (quarters) or `C3=40` (unit lengths, ABC 1.6)."""
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
    elif re.fullmatch(r"\d{1,4}(\.\d{1,3})?", value):
        qpm = float(value)
    else:
        old = re.fullmatch(r"C(\d{0,2})\s*=\s*(\d{1,4})", value)
        if old is None:
            return None
        qpm = int(old[1] or 1) * float(unit / WHOLE) * 4 * int(old[2])
    return Tempo(qpm, words) if 5 <= qpm <= 2000 else None


def is_clef(word: str) -> bool:
    """Whether a word of K: or V: names a clef."""
    # `C` and `G` alone are keys, `C1`, `F4`, `G2` are clefs.
    return len(word) > 1 and _CLEFS.match(word) is not None


@lru_cache(maxsize=2048)
def read_voice_settings(text: str) -> VoiceSettings:
    """Reads the sound from `clef=treble-8 octave=-1 transpose=2 name="Flute"` in V: or K:."""
    properties = {name.lower(): value.strip('"') for name, value in PROPERTY.findall(text)}
    bare = PROPERTY.sub(" ", text).split()
    clef = properties.get("clef") or next((word for word in bare if is_clef(word)), "")
    transpose = 12 * _small_int(properties.get("octave")) + _small_int(properties.get("transpose"))
    match = re.search(r"([+-])(8|15)$", clef)
    if match:
        transpose += (12 if match[2] == "8" else 24) * (1 if match[1] == "+" else -1)
    name = properties.get("name") or properties.get("nm") or ""
    return VoiceSettings(transpose, clef.lower() in ("perc", "p"), name)


def _small_int(text: str | None) -> int:
    if text is None or not re.fullmatch(r"[+-]?\d{1,2}", text):
        return 0
    return int(text)
