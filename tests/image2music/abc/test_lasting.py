"""Tunes that last a given time: text, exact MIDI and performed MIDI all end there, to less than a sample of 48 kHz."""

import io
import re

import mido
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from image2music.abc.checker import check
from image2music.abc.expression import perform_abc
from image2music.abc.lasting import abc_lasting, abc_seconds
from image2music.abc.playback import abc_to_midi
from image2music.errors import AbcError

SAMPLE = 1 / 48_000
DUO = """X:1
T:Duo
M:3/4
L:1/8
Q:1/4=96
K:G
V:1
%%MIDI program 73
V:2
%%MIDI program 42
[V:1] d2 B2 g2 | f2 d4 | [Q:1/4=90]e2 c2 a2 | (g6 |
[V:2] G,6 | D6 | C6 | G,6 |
[V:1] b2) d2 z2 | c'2 a2 f2 | [Q:1/4=80]a2 f4 | !fermata!g6 |]
[V:2] G,6 | D6 | D2 D4 | G,6 |]
"""
PLAIN = "X:1\nM:4/4\nL:1/4\nK:C\n" + "C E G c | " * 7 + "c4 |]\n"
REPEATED = 'X:1\nM:6/8\nL:1/8\nQ:"Gently" 3/8=60\nK:D\n|: D2F A2F | [Q:3/8=54]G3 F3 :| D6 |]\n'


def seconds(midi: bytes) -> float:
    return mido.MidiFile(file=io.BytesIO(midi)).length


def tempos(abc: str) -> list[str]:
    return re.findall(r"Q:[^\]\n]*", abc)


@pytest.mark.parametrize("abc", [DUO, PLAIN, REPEATED])
@pytest.mark.parametrize("share", [0.7, 1.0, 1.23456, 1.61])
@pytest.mark.parametrize("loop", [False, True])
def test_text_midi_and_performance_end_at_the_same_sample(abc, share, loop):
    wanted = round(abc_seconds(abc) * share, 4)
    tune = abc_lasting(abc, wanted, 20, 300)
    assert abs(abc_seconds(tune) - wanted) < SAMPLE
    assert abs(seconds(abc_to_midi(tune)) - wanted) < SAMPLE
    assert abs(seconds(perform_abc(tune, wanted, loop)) - wanted) < 2e-6
    assert abc_lasting(tune, wanted, 20, 300) == tune
    assert not [one for one in check(tune) if one.severity.value == "error"]


@given(
    wanted=st.floats(5, 300),
    bars=st.integers(3, 60),
    changes=st.lists(st.tuples(st.integers(2, 50), st.integers(40, 200)), max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_any_tune_can_last_any_time(wanted, bars, changes):
    music = ["C2 E2 G2 c2"] * bars
    for bar, qpm in changes:
        if bar <= bars:
            music[bar - 1] = f"[Q:1/4={qpm}]C2 E2 G2 c2"
    try:
        tune = abc_lasting(f"X:1\nM:4/4\nL:1/8\nQ:1/4=100\nK:C\n{' | '.join(music)} |]\n", wanted, 20, 500)
    except AbcError:
        reject()
    assert abs(abc_seconds(tune) - wanted) < SAMPLE
    assert abs(seconds(abc_to_midi(tune)) - wanted) < SAMPLE


def test_tempos_keep_their_proportions_beats_and_words():
    first, second = tempos(abc_lasting(REPEATED, abc_seconds(REPEATED) / 1.5, 20, 300))
    assert first.startswith('Q:"Gently" 3/8=') and float(first.split("=")[1]) == pytest.approx(90, abs=0.001)
    assert second.startswith("Q:3/8=") and float(second.split("=")[1]) == pytest.approx(81, abs=0.001)


def test_a_tune_without_tempo_gets_one():
    assert tempos(abc_lasting(PLAIN, 20, 20, 300)) == ["Q:1/4=96"]


def test_a_tune_that_would_have_to_crawl_or_race_is_refused_and_told_how_long_it_should_be():
    with pytest.raises(AbcError, match="write a longer one, about 6") as refused:
        abc_lasting(PLAIN, 100, 30, 220)
    assert refused.value.reason == "wrong_length"
    with pytest.raises(AbcError, match="write a shorter one"):
        abc_lasting(PLAIN, 5, 30, 220)


def test_a_loop_is_performed_at_one_tempo():
    def performed(loop):
        file = mido.MidiFile(file=io.BytesIO(perform_abc(PLAIN, 16.0, loop)))
        return [60e6 / message.tempo for track in file.tracks for message in track if message.type == "set_tempo"]

    assert performed(True) == [120]
    assert len(performed(False)) > 2
