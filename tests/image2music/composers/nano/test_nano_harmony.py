from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.parser import parse
from image2music.composers.nano.arrangement import FIGURES, Figure, accompany, harmonise, viterbi
from image2music.composers.nano.melody import Melody, Note
from image2music.composers.nano.reading import read_melody

WALTZ = "X:1\nM:3/4\nL:1/8\nK:C\nE2 G2 c2 | d2 B2 G2 | A2 c2 A2 | G4 z2 | E2 G2 c2 | f2 d2 B2 | c2 B2 d2 | c6 |]\n"
JIG = "X:1\nM:6/8\nL:1/8\nK:Am\nABc e2a | ged e3 | ^GAB e2B | A3 A3 |]\n"


def melody_of(abc: str) -> Melody:
    tune = parse(abc).tunes[0]
    melody = read_melody(tune, tune.voices["1"])
    assert melody is not None
    return melody


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_viterbi_finds_what_trying_all_paths_finds(steps: int, states: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fit, flow = rng.normal(size=(steps, states)), rng.normal(size=(states, states))

    def value(path: tuple[int, ...]) -> float:
        return sum(fit[i, s] for i, s in enumerate(path)) + sum(flow[a, b] for a, b in pairwise(path))

    best = max(product(range(states), repeat=steps), key=value)

    assert tuple(viterbi(fit, flow)) == best


def test_a_plain_waltz_gets_the_chords_a_musician_would_give_it() -> None:
    names = [chord.name for _, chord in harmonise(melody_of(WALTZ))]

    assert names[0] == "I"
    assert names[1] == "V"
    assert names[-1] == "I"


def test_a_raised_leading_note_in_minor_calls_for_the_major_dominant() -> None:
    chords = {place.bar: chord.name for place, chord in harmonise(melody_of(JIG))}

    assert chords[2] == "V"
    assert chords[3] == "i"


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("abc", [WALTZ, JIG])
def test_every_bar_of_the_second_voice_is_full(abc: str, figure: Figure) -> None:
    melody = melody_of(abc)

    second = accompany(melody, figure)

    lengths = {sum((struck.length for struck in bar), Fraction()) for bar in second.bars}
    assert lengths == {melody.bar_capacity}
    assert all(36 <= pitch <= 72 for bar in second.bars for struck in bar for pitch in struck.pitches)


@pytest.mark.parametrize("meter", ["2/4", "3/4", "4/4", "2/2", "6/8", "9/8", "12/8", "3/8", "3/2", "6/4"])
@pytest.mark.parametrize("unit", [Fraction(1, 8), Fraction(1, 16)])
def test_all_meters_can_be_accompanied(meter: str, unit: Fraction) -> None:
    empty = Melody(meter, unit, 0, "major", (), frozenset())
    bar = (Note(0, empty.bar_capacity),)
    melody = Melody(meter, unit, 0, "major", (bar, bar), frozenset({1}))

    for figure in FIGURES:
        for made in accompany(melody, figure).bars:
            assert sum((struck.length for struck in made), Fraction()) == melody.bar_capacity
