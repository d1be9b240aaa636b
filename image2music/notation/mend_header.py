"""Mends headers: names of fields, values written for people, and the fields that must be there."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

from image2music.notation.abc_fields import FREE_METER, default_unit, read_meter, read_tempo, read_unit
from image2music.notation.abc_keys import read_key
from image2music.notation.abc_lengths import Length, as_fraction
from image2music.notation.abc_parser import parse
from image2music.notation.mending import Mending

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
_TEMPO_WORDS = {
    "grave": 40, "largo": 50, "lento": 56, "adagio": 66, "slow": 66, "andante": 80, "andantino": 88, "moderato": 104,
    "moderate": 104, "allegretto": 112, "allegro": 132, "fast": 140, "vivace": 160, "presto": 180,
}  # fmt: skip
_MODE_NAMES = {"minor": "m", "min": "m", "m": "m", "moll": "m", "major": "", "maj": "", "dur": ""}
_SPOKEN_KEY = re.compile(r"([A-Ga-g])[ \-]?(#|b|♯|♭|sharp|flat|is|es)?[ \-]*([A-Za-z]*)\.?$")


def mend_header(mending: Mending) -> None:
    """Brings every header line into ABC's form and adds the fields that are missing, in ABC's order."""
    lines = mending.text.split("\n")
    end = _first_music_line(lines)
    header = [mended for line in lines[:end] if line.strip() and (mended := _line(mending, line))]
    if any(not line.strip() for line in lines[:end]):
        mending.note("mended-blank-line", "removed blank lines from the header")
    body = lines[end:]
    _add_missing(mending, header, body)
    mending.text = "\n".join(header + body)


def mend_field_names(mending: Mending) -> None:
    """Undresses the header's field names (`x:1`, `**K:** C`), so that a tune is seen at all."""
    text = mending.text
    if re.search(r"^X:", text, re.MULTILINE):
        return
    end = _ANY_KEY.search(text)
    stop = end.end() if end is not None else len(text)
    head = _BOLD_FIELD.sub(r"\1:", _LOWER_FIELD.sub(lambda match: match[1].upper() + ":", text[:stop]))
    if head != text[:stop]:
        mending.note("mended-field", "wrote the header's field names as ABC does")
        mending.text = head + text[stop:]


def _first_music_line(lines: list[str]) -> int:
    for index, line in enumerate(lines):
        field = _field(line)
        if field is not None and field[0] == "K":
            return index + 1
        if field is None and line.strip() and not line.startswith("%") and ("|" in line or line.startswith("[V:")):
            return index
    return len(lines)


def _field(line: str) -> tuple[str, str] | None:
    """The letter and value of a header line, however it is dressed up."""
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


def _line(mending: Mending, line: str) -> str:
    """One header line in ABC's form; "" where it says nothing."""
    if line.startswith("%"):
        return line
    field = _field(line)
    if field is None:
        mending.note("mended-prose", f"left out {line.strip()[:30]!r} from the header")
        return ""
    letter, value = field
    mended = _value(letter, value)
    if mended is None:
        mending.note("mended-field", f"removed {letter}:{value[:20]}, which cannot be read")
        return ""
    if letter == "K" and mended == "C" and read_key(value) is None:
        mending.note("mended-field", f"put K:C for {value[:20]!r}, which names no key")
    plain = f"{letter}:{mended}"
    if mended == value and _FIELD.match(line) is not None and line[0] == letter:
        return line
    if plain != line:
        mending.note("mended-field", f"wrote {plain[:30]} for {line.strip()[:30]!r}")
    return plain


def _value(letter: str, value: str) -> str | None:
    """The value as ABC reads it, None where it cannot be read."""
    bare = value.split("%", 1)[0].strip()
    if letter == "K":
        return _key(value, bare)
    if letter == "M":
        return value if read_meter(bare) is not None and bare else _meter(bare)
    if letter == "L":
        return value if read_unit(bare) is not None else None
    if letter == "Q":
        return _tempo(value, bare)
    if letter == "X":
        return value if bare.isdigit() else "1"
    return value


def _key(value: str, bare: str) -> str:
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


def _meter(bare: str) -> str | None:
    words = bare.lower()
    if "common" in words:
        return "4/4"
    if "cut" in words:
        return "2/2"
    match = re.search(r"(\d{1,2})\s*[/:\-x]\s*(\d{1,2})", words)
    if match is not None and read_meter(f"{match[1]}/{match[2]}") is not None:
        return f"{match[1]}/{match[2]}"
    return None


def _tempo(value: str, bare: str) -> str | None:
    tempo = read_tempo(bare)
    if tempo is not None and tempo.qpm:
        return value
    number = re.search(r"(?<![\d/])(\d{2,3})(?![\d/])", bare)
    if number is not None and 20 <= int(number[1]) <= 400:
        return f"1/4={number[1]}"
    for word in re.findall(r"[a-z]+", bare.lower()):
        if word in _TEMPO_WORDS:
            return f"1/4={_TEMPO_WORDS[word]}"
    return None


def _add_missing(mending: Mending, header: list[str], body: list[str]) -> None:
    """Adds X:, M:, L: and K: where they are missing."""
    letters = [line[0] for line in header if line[1:2] == ":"]
    if "X" not in letters:
        mending.note("mended-missing", "added X:1")
        header.insert(0, "X:1")
    elif header[0][:2] != "X:":
        place = next(index for index, line in enumerate(header) if line.startswith("X:"))
        header.insert(0, header.pop(place))
        mending.note("mended-field", "moved X: to the first line")
    if "K" not in letters:
        mending.note("mended-missing", "added K:C, since no key is given")
        header.append("K:C")
    place = next(index for index, line in enumerate(header) if line.startswith("K:"))
    if "L" not in letters:
        header.insert(place, f"L:{_default_unit(header)}")
        mending.note("mended-missing", f"added {header[place]}, the unit length where none is given")
    if "M" not in letters:
        meter = guess_meter("\n".join([*header, *body]))
        if meter is not None:
            mending.note("mended-missing", f"added M:{meter}, the length of most bars")
            header.insert(place, f"M:{meter}")


def _default_unit(header: list[str]) -> Fraction:
    meter = next((read_meter(line[2:].split("%", 1)[0]) for line in header if line.startswith("M:")), None)
    return as_fraction(default_unit(meter if meter is not None else FREE_METER))


def guess_meter(text: str) -> str | None:
    """The meter that two thirds of the first tune's bars have, None where there is none."""
    lengths: Counter[Length] = Counter()
    for tune in parse(text).tunes[:1]:
        for voice in tune.voices.values():
            lengths.update(bar.length for bar in voice.bars if not bar.flawed)
    if not lengths:
        return None
    length, count = lengths.most_common(1)[0]
    return meter_of(length) if count * 3 >= lengths.total() * 2 else None


def meter_of(length: Length) -> str | None:
    """A bar length as a meter, quarters preferred; None where no meter has it."""
    value = as_fraction(length)
    denominator = max(value.denominator, 4 if value.denominator <= 4 else 8)
    text = f"{value * denominator}/{denominator}"
    return text if read_meter(text) is not None else None
