"""One thing is broken in a tune that was right; the checker must find it, and name the bar it is in."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from benchmarks.generated_tunes import SampleTune, sample_tune
from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity


@dataclass
class Broken:
    abc: str
    voice: str | None
    bar: int | None
    kind: str


Mutation = Callable[[SampleTune, random.Random], Broken | None]


def _tokens(tune: SampleTune, rng: random.Random) -> tuple[SampleTune, int, int, int]:
    tune = copy.deepcopy(tune)
    voice = rng.randrange(len(tune.pieces))
    bar = rng.randrange(len(tune.pieces[voice].bars))
    return tune, voice, bar, rng.randrange(len(tune.pieces[voice].bars[bar]))


def _in_bar(kind: str, change: Callable[[list[str], int], bool]) -> Mutation:
    def mutate(tune: SampleTune, rng: random.Random) -> Broken | None:
        tune, voice, bar, token = _tokens(tune, rng)
        if not change(tune.pieces[voice].bars[bar], token):
            return None
        return Broken(tune.abc(), tune.pieces[voice].name, bar + 1, kind)

    return mutate


def _drop(tokens: list[str], index: int) -> bool:
    if len(tokens) < 2:
        return False
    del tokens[index]
    return True


def _add(tokens: list[str], index: int) -> bool:
    tokens.insert(index, "G")
    return True


def _lengthen(tokens: list[str], index: int) -> bool:
    if not tokens[index][-1].isalpha() or "(" in tokens[index] or ">" in tokens[index]:
        return False
    tokens[index] += "2"
    return True


def _shorten(tokens: list[str], index: int) -> bool:
    if not tokens[index].endswith("2") or "/" in tokens[index]:
        return False
    tokens[index] = tokens[index][:-1]
    return True


def _replace(old: str, new: str) -> Callable[[list[str], int], bool]:
    def change(tokens: list[str], index: int) -> bool:
        if old not in tokens[index]:
            return False
        tokens[index] = tokens[index].replace(old, new, 1)
        return True

    return change


def _insert(text: str) -> Callable[[list[str], int], bool]:
    def change(tokens: list[str], index: int) -> bool:
        tokens.insert(index, text)
        return True

    return change


def _octaves(tokens: list[str], index: int) -> bool:
    if tokens[index][-1] not in "cdefg":
        return False
    tokens[index] += "'" * 8
    return True


def _short_tuplet(tokens: list[str], index: int) -> bool:
    if not tokens[-1].startswith("(3"):
        return False
    tokens[-1] = tokens[-1][:3]
    return True


def _join_bars(tune: SampleTune, rng: random.Random) -> Broken | None:
    tune, voice, bar, _ = _tokens(tune, rng)
    bars = tune.pieces[voice].bars
    if bar + 1 >= len(bars):
        return None
    bars[bar : bar + 2] = [bars[bar] + bars[bar + 1]]
    return Broken(tune.abc(), tune.pieces[voice].name, bar + 1, "bar line removed")


def _move_bar_line(tune: SampleTune, rng: random.Random) -> Broken | None:
    tune, voice, bar, _ = _tokens(tune, rng)
    bars = tune.pieces[voice].bars
    if bar + 1 >= len(bars) or len(bars[bar]) < 2:
        return None
    bars[bar + 1].insert(0, bars[bar].pop())
    return Broken(tune.abc(), tune.pieces[voice].name, bar + 1, "bar line moved")


def _field(kind: str, old: str, new: str) -> Mutation:
    def mutate(tune: SampleTune, rng: random.Random) -> Broken | None:
        lines = tune.abc().split("\n")
        place = next(index for index, line in enumerate(lines) if line.startswith(old))
        lines[place : place + 1] = [new] if new else []
        return Broken("\n".join(lines), None, None, kind)

    return mutate


MUTATIONS: list[Mutation] = [
    _in_bar("note dropped", _drop),
    _in_bar("note added", _add),
    _in_bar("note lengthened", _lengthen),
    _in_bar("note shortened", _shorten),
    _in_bar("] removed", _replace("]", "")),
    _in_bar("[ removed", _replace("[", "")),
    _in_bar("string left open", _replace('"Am"', '"Am')),
    _in_bar("decoration left open", _replace("!f!", "!f")),
    _in_bar("words among notes", _insert("softly")),
    _in_bar("strange character", _insert("?")),
    _in_bar("octave out of range", _octaves),
    _in_bar("tuplet cut short", _short_tuplet),
    _in_bar("zero length", _insert("C0")),
    _join_bars,
    _move_bar_line,
    _field("bad meter", "M:", "M:4/x"),
    _field("bad unit", "L:", "L:1/0"),
    _field("bad tempo", "Q:", "Q:1/4=1/4"),
    _field("bad key", "K:", "K:H dur"),
    _field("no key", "K:", ""),
    _field("no reference", "X:", ""),
]


@pytest.fixture(scope="module")
def broken_tunes() -> list[Broken]:
    rng = random.Random(7)
    broken = []
    for seed in range(60):
        tune = sample_tune(seed)
        for mutate in MUTATIONS:
            found = mutate(tune, rng)
            if found is not None:
                broken.append(found)
    return broken


def test_generated_tunes_are_right_before_they_are_broken() -> None:
    for seed in range(60):
        assert check(sample_tune(seed).abc()) == []


def test_at_least_98_percent_of_mutations_are_found(broken_tunes: list[Broken]) -> None:
    missed = [broken for broken in broken_tunes if not _errors(broken)]
    assert len(broken_tunes) >= 200
    assert len(missed) <= 0.02 * len(broken_tunes), Counter(broken.kind for broken in missed)


def test_at_least_95_percent_of_mutations_are_placed_in_their_bar(broken_tunes: list[Broken]) -> None:
    in_bars = [broken for broken in broken_tunes if broken.bar is not None]
    astray = [b for b in in_bars if (b.voice, b.bar) not in {(e.voice, e.bar) for e in _errors(b)}]
    assert len(astray) <= 0.05 * len(in_bars), Counter(broken.kind for broken in astray)


def _errors(broken: Broken) -> list:
    return [finding for finding in check(broken.abc) if finding.severity is Severity.ERROR]
