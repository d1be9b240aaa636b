"""Makes references fit into a prompt, whole bars at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from image2music.notation.abc_parser import parse
from image2music.notation.abc_tree import Tune

FEWEST_BARS, MOST_BARS = 2, 32

_REMEMBERED = 1024
"""Answers about references that are kept: all rounds about a picture ask again, each with the same references."""


@lru_cache(_REMEMBERED)
def first_bars(abc: str, bars: int) -> str:
    """The first `bars` bars of every voice of a tune, header and voices' heads included."""
    tune = _tune(abc)
    if tune is None:
        return abc
    kept, at = [], tune.start
    for span in sorted(span for span in tune.spans if span.bar > bars):
        kept.append(abc[at : span.start])
        at = span.end
    kept.append(abc[at : tune.end])
    return "\n".join(line.rstrip() for line in "".join(kept).split("\n") if line.strip()) + "\n"


@lru_cache(_REMEMBERED)
def bars_of(abc: str) -> int:
    """Bars of the longest voice, 0 where nothing can be read."""
    tune = _tune(abc)
    return max((span.bar for span in tune.spans), default=0) if tune else 0


def shortened(tunes: Sequence[str], fits: Callable[[Sequence[str]], bool]) -> list[str]:
    """As many first bars of each tune as fit: the longest text gives up a bar until all do.

    Tunes have at most `MOST_BARS` bars, and keep at least `FEWEST_BARS`; where even that is too much, the last
    tunes, which match least, are left out. `fits` says whether a list of tunes is short enough.
    """
    bars = [min(MOST_BARS, bars_of(abc)) for abc in tunes]
    texts = [first_bars(abc, n) for abc, n in zip(tunes, bars, strict=True)]
    while not fits(texts):
        longest = max((i for i, n in enumerate(bars) if n > FEWEST_BARS), key=lambda i: len(texts[i]), default=None)
        if longest is None:
            return _fewest(texts, fits)
        bars[longest] -= 1
        texts[longest] = first_bars(tunes[longest], bars[longest])
    return texts


def _fewest(texts: list[str], fits: Callable[[Sequence[str]], bool]) -> list[str]:
    while texts and not fits(texts):
        texts = texts[:-1]
    return texts


def _tune(abc: str) -> Tune | None:
    return next((tune for tune in parse(abc).tunes if tune.spans), None)
