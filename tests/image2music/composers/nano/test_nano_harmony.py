from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.parser import parse
from image2music.composers.nano.arrangement import (
    fitted,
    harmonise,
    melody_chords,
    melody_lines,
    misfit,
    viterbi,
)
from image2music.composers.nano.melody import Melody, Note
from image2music.composers.nano.reading import read_melody
from image2music.music.lines import LineEvent
from image2music.music.planning.plan import plan_of_json
from image2music.music.theory import read_chord

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


@pytest.mark.parametrize("meter", ["2/4", "3/4", "4/4", "2/2", "6/8", "9/8", "12/8", "3/8", "3/2", "6/4"])
@pytest.mark.parametrize("unit", [Fraction(1, 8), Fraction(1, 16)])
def test_all_meters_get_chords_for_every_bar(meter: str, unit: Fraction) -> None:
    empty = Melody(meter, unit, 0, "major", (), frozenset())
    bar = (Note(0, empty.bar_capacity),)
    chords = melody_chords(Melody(meter, unit, 0, "major", (bar, bar), frozenset({1})))
    assert len(chords) == 2
    assert all(0 in read_chord(symbol).classes for bar_chords in chords for symbol in bar_chords.split())


def test_chords_are_spelled_in_the_key() -> None:
    abc = "X:1\nM:4/4\nL:1/8\nK:Bm\nF2 B2 d2 f2 | e2 g2 b2 g2 | f2 ^a2 c2 f2 | B8 |]\n"
    assert melody_chords(melody_of(abc)) == ("Bm", "Em", "F#", "Bm")


PLAN = plan_of_json(
    {
        "key": "C",
        "meter": "4/4",
        "voices": [{"id": 1, "low": "C4", "high": "C6"}, {"id": 2, "low": "C3", "high": "C5"}],
        "sections": [
            {"bars": "1-2", "roles": {"1": "melody", "2": "hold"}},
            {"bars": "3-4", "roles": {"1": "rest", "2": "melody"}},
        ],
        "harmony": ["C", "F", "G", "C"],
        "climax": {"bar": 4, "voice": 2, "note": "C5"},
    }
)


def sung(*pitches: int) -> tuple[LineEvent, ...]:
    return tuple(LineEvent((pitch,), Fraction(1)) for pitch in pitches)


def test_a_melody_is_moved_into_the_chords_of_a_strangers_plan_and_under_its_climax() -> None:
    bars = (sung(60, 62, 64, 67), sung(66, 65, 69, 72), sung(67, 71, 74, 67), sung(64, 60, 67, 60))
    assert misfit(PLAN, bars) > 0
    moved = fitted(PLAN, bars)
    assert misfit(PLAN, moved) == 0
    pitches = [[event.pitches[0] for event in bar] for bar in moved]
    assert max(max(bar) for bar in pitches[:3]) < max(pitches[3]) == 72
    assert pitches[0][0] == 60


def test_each_stretch_of_a_melody_goes_to_the_voice_that_has_the_tune_in_its_range() -> None:
    lines = melody_lines(PLAN, [sung(72, 74), sung(76, 72), sung(79, 77), sung(76, 72)])
    assert lines[1][2:] == (None, None)
    assert lines[2][:2] == (None, None)
    assert [event.pitches for event in lines[1][0]] == [(72,), (74,)]
    assert [event.pitches for event in lines[2][2]] == [(67,), (65,)]
