"""Readings of K:: tonic, mode and single accidentals. Source: ABC standard 2.1, 3.1.14."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from image2music.notation.abc_fields import C_MAJOR, PROPERTY, Key, is_clef

_KEY = re.compile(r"([A-G])\s*(##?|bb?|♯|♭|#|b)?\s*([A-Za-z]*)")
_ACCIDENTAL = re.compile(r"(\^\^|__|\^|_|=)[A-Ga-g]$|(\^|_)\d?/\d?[A-Ga-g]$")
_FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
_MODES = {
    "": 0, "maj": 0, "ion": 0, "min": -3, "m": -3, "aeo": -3,
    "dor": -2, "phr": -4, "lyd": 1, "mix": -1, "loc": -5,
}  # fmt: skip
_SHARPS = "FCGDAEB"
_STEPS = "CDEFGAB"
_KEY_WORDS = {"exp", "none"}


@lru_cache(maxsize=2048)
def read_key(text: str) -> Key | None:
    """Reads `G`, `Am`, `D mix`, `Bb major`, `D exp _b ^f`, `none`, `HP`, with or without clef words behind."""
    words = PROPERTY.sub(" ", text).split()
    accidentals = [word for word in words if _ACCIDENTAL.match(word)]
    rest = " ".join(word for word in _unglued(words, accidentals))
    key = _tonic_key(rest)
    if key is None:
        return None
    return _with_accidentals(key, accidentals) if accidentals else key


def names_key(text: str) -> bool:
    """Whether K: says more than a clef, an octave or a transposition."""
    return any(not is_clef(word) for word in PROPERTY.sub(" ", text).split())


def _unglued(words: list[str], accidentals: list[str]) -> list[str]:
    """The words that are not accidentals; accidentals glued together (`^f^c`) are split off."""
    kept = []
    for word in words:
        if word in accidentals:
            continue
        parts = re.findall(r"(?:\^\^|__|[\^_]\d?/\d?|[\^_=])[A-Ga-g]", word)
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
    sharps = _FIFTHS[match[1]] + {"": 0, "#": 7, "b": -7}[accidental] + shift
    if not -7 <= sharps <= 7:
        return None
    return _signature(sharps, minor=shift == -3, tonic=match[1] + accidental)


def _signature(sharps: int, *, minor: bool, tonic: str) -> Key:
    altered = [0] * 7
    for letter in _SHARPS[: max(sharps, 0)]:
        altered[_STEPS.index(letter)] = 1
    for letter in _SHARPS[::-1][: max(-sharps, 0)]:
        altered[_STEPS.index(letter)] = -1
    return Key(sharps, minor, tuple(altered), tonic)


def _with_accidentals(key: Key, accidentals: list[str]) -> Key:
    altered = list(key.alterations)
    for word in accidentals:
        step = _STEPS.index(word[-1].upper())
        altered[step] = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}.get(word[:-1], altered[step])
    return replace(key, alterations=tuple(altered), explicit=True)
