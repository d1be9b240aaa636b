"""Generated tunes for tests and for the fuzzer: well-formed ABC of several shapes, made from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction

METERS = {"4/4": 8, "3/4": 6, "6/8": 6, "2/4": 4, "9/8": 9, "5/4": 10}
"""Meter -> eighths in a bar."""

_LETTERS = ["C", "D", "E", "F", "G", "A", "B", "c", "d", "e", "f", "g", "^F", "_B", "=c", "G,", "c'"]
_LENGTHS = {"": Fraction(1), "2": Fraction(2), "3": Fraction(3), "/": Fraction(1, 2), "3/2": Fraction(3, 2)}


@dataclass
class Piece:
    """One voice: `bars` holds the tokens of each bar; `pick_up` says that the first and last bar share one bar."""

    name: str
    bars: list[list[str]] = field(default_factory=list)
    pick_up: bool = False


@dataclass
class SampleTune:
    """A generated tune. `abc()` writes one voice a line, one bar after the other."""

    meter: str
    key: str
    pieces: list[Piece]
    repeated: bool = False

    def abc(self) -> str:
        """The tune as text."""
        lines = ["X:1", "T:generated", f"M:{self.meter}", "L:1/8", "Q:1/4=120", f"K:{self.key}"]
        for piece in self.pieces:
            if len(self.pieces) > 1:
                lines.append(f"V:{piece.name}")
            bars = [" ".join(tokens) for tokens in piece.bars]
            opening, closing = ("|: ", " :|") if self.repeated else ("", " |]")
            lines.append(opening + " | ".join(bars) + closing)
        return "\n".join(lines) + "\n"


def sample_tune(seed: int) -> SampleTune:
    """A tune of 4 to 10 full bars in 1 to 3 voices; some have a pick-up, repeats, chords, tuplets, rests, symbols."""
    rng = random.Random(seed)
    meter = rng.choice(list(METERS))
    n_bars = rng.randint(4, 10)
    eighths = [Fraction(METERS[meter])] * n_bars
    pick_up = rng.random() < 0.4
    if pick_up:
        short = Fraction(rng.choice([1, 2]))
        eighths = [short, *eighths[1:-1], eighths[-1] - short]
    pieces = []
    for number in range(rng.choice([1, 1, 2, 3])):
        bars = [_bar(rng, length) for length in eighths]
        pieces.append(Piece(str(number + 1), bars, pick_up))
    return SampleTune(meter, rng.choice(["C", "G", "Am", "Bb", "D dor", "E"]), pieces, rng.random() < 0.4)


def _bar(rng: random.Random, eighths: Fraction) -> list[str]:
    tokens: list[str] = []
    left = eighths
    while left > 0:
        kind = rng.random()
        if kind < 0.08 and left >= 2:
            tokens.append("(3" + "".join(rng.choice(_LETTERS) for _ in range(3)))
            left -= 2
            continue
        if kind < 0.14 and left >= 2:
            tokens.append(rng.choice(_LETTERS) + ">" + rng.choice(_LETTERS))
            left -= 2
            continue
        text, length = rng.choice([(text, length) for text, length in _LENGTHS.items() if length <= left])
        tokens.append(_sound(rng, kind) + text)
        left -= length
    return tokens


def _sound(rng: random.Random, kind: float) -> str:
    if kind < 0.24:
        return "[" + "".join(rng.sample(_LETTERS[:12], 3)) + "]"
    if kind < 0.30:
        return "z"
    if kind < 0.36:
        return '"Am"' + rng.choice(_LETTERS)
    if kind < 0.42:
        return "!f!" + rng.choice(_LETTERS)
    return rng.choice(_LETTERS)
