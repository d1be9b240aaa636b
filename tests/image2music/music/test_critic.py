"""The critic hears human music above what is none, and is not moved by what is no music: loudness, order, silence."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.playback import abc_to_score
from image2music.music.critic.corruptions import CORRUPTIONS, DEGENERATE
from image2music.music.critic.hearing import Excerpt, excerpt_of
from image2music.music.critic.model import HIGHEST, LOWEST, criticise, load_critic, windows
from image2music.music.score import MeterChange, Score, Track

SOPRANO = """G|d d B G|c c B2|A B A G|F E D2|d d B G|c c B2|A B c B|A2 G D|
E F G A|B A G2|A B c B|A2 B G|c B A G|F G A2|B d c B|A2 G3|]"""
ALTO = """D|G F G D|E F G2|F G F E|D C D2|G A G E|E F G2|F G G G|F2 D B,|
C D E F|G F E2|F G G G|F2 G E|G G F E|D E F2|G G G G|F2 D3|]"""
TENOR = """B,|B, D D B,|G, A, B, D|D D D B,|A, G, F,2|B, D D B,|G, A, B,2|D D E D|D C B, G,|
G, A, B, D|D D B,2|D D E D|D2 D B,|E D D B,|A, C D2|D D E D|D C B,3|]"""
BASS = """G,|G, D, G, G,|C A, G,2|D G, D E|A, C D2|G, F, G, E|C A, G,2|D G, C G,|D D, G,2|
C B, E D|G, D E2|D G, C G,|D2 G, E|C G, D E|D C D2|G, B, C G,|D D, G,3|]"""
CHORALE = "X:1\nM:4/4\nL:1/4\nK:G\n" + "".join(
    f"V:{number}\n{voice}\n" for number, voice in enumerate((SOPRANO, ALTO, TENOR, BASS), start=1)
)
FIDDLE = """X:1
M:6/8
L:1/8
K:D
A|dfd ecA|BGB AFD|E2F GFG|EFG A2A|dfd ecA|BGB AFA|Bcd ecA|d3 d2|
f|afd fed|gbg e2f|gfe fed|cde A2f|afd fed|gbg efg|fed ecA|d3 d2|]
"""
HUMAN = {"chorale": CHORALE, "fiddle tune": FIDDLE}


def score_of(pitches: list[int], step: int = 240, silent: int = 0, n: int = 16 * 8) -> Score:
    """Pitches round and round; `silent` more tracks are empty."""
    onsets = np.arange(n) * step
    line = np.resize(np.array(pitches), n)
    none = np.zeros(0, dtype=np.int64)
    tracks = [Track(onsets, np.full(n, step), line, np.full(n, 90))] + [Track(none, none, none, none)] * silent
    return Score(480, tuple(tracks), meters=(MeterChange(0, 4, 4),))


SCALE = [60, 62, 64, 65, 67, 69, 71, 72]
POOR = {
    "scale": score_of(SCALE),
    "scale and a silent voice": score_of(SCALE, silent=1),
    "one note": score_of([64]),
    "two notes": score_of([64, 67]),
    "arpeggio": score_of([60, 64, 67, 72]),
    "long note": score_of([48], 1920, n=16),
}


@pytest.mark.parametrize("poor", POOR)
@pytest.mark.parametrize("human", HUMAN)
def test_human_music_stands_far_above_what_is_none(human, poor):
    assert criticise(abc_to_score(HUMAN[human])).score > criticise(POOR[poor]).score + 2


@pytest.mark.parametrize("human", HUMAN)
def test_human_music_lies_near_the_middle_of_human_music(human):
    judgement = criticise(abc_to_score(HUMAN[human]))
    assert -2.5 < judgement.score <= HIGHEST
    assert judgement.typicality > -2


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_spoiled_music_is_heard(kind):
    critic, dice = load_critic(), np.random.Generator(np.random.Philox(5))
    pieces = [excerpt_of(abc_to_score(text)) for text in HUMAN.values()]
    bad = [(piece, CORRUPTIONS[kind](piece, dice, pieces)) for piece in pieces for _ in range(6)]
    below = [critic.judge([made]).score < critic.judge([piece]).score for piece, made in bad if made is not None]
    assert sum(below) >= 0.7 * len(below)


@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_tunes_are_below(kind):
    critic, dice = load_critic(), np.random.Generator(np.random.Philox(6))
    piece = excerpt_of(abc_to_score(CHORALE))
    middle = critic.judge([piece]).score
    for _ in range(10):
        made = DEGENERATE[kind](piece, dice, [piece])
        assert made is None or critic.judge([made]).score < middle


def test_a_declared_voice_that_is_silent_costs():
    score = abc_to_score(FIDDLE)
    none = np.zeros(0, dtype=np.int64)
    with_silent = replace(score, tracks=(*score.tracks, Track(none, none, none, none)))
    alone, empty, declared = criticise(score), criticise(with_silent), criticise(score, empty_voices=1)
    assert empty == declared
    assert empty.typicality == pytest.approx(alone.typicality - 3, abs=1e-6)
    assert empty.score < alone.score - 2


def test_loudness_instruments_tempo_and_octave_names_do_not_count():
    score = abc_to_score(CHORALE)
    other = replace(
        score,
        ticks_per_quarter=480,
        tempos=(),
        keys=(),
        tracks=tuple(replace(track, velocities=np.full(len(track), 1), program=60) for track in score.tracks),
    )
    assert criticise(other) == criticise(score)


@given(st.integers(-11, 11))
@settings(max_examples=12, deadline=None)
def test_another_key_changes_next_to_nothing(step):
    score = abc_to_score(CHORALE)
    other = replace(score, tracks=tuple(replace(track, pitches=track.pitches + step) for track in score.tracks))
    assert criticise(other).score == pytest.approx(criticise(score).score, abs=0.3)


def test_a_voice_whose_instrument_changes_is_one_voice():
    score = score_of(SCALE)
    track = replace(score.tracks[0], name="1")
    first, second = slice(0, 40), slice(40, None)
    parts = tuple(
        Track(track.onsets[n], track.durations[n], track.pitches[n], track.velocities[n], program, name="1")
        for program, n in enumerate((first, second))
    )
    assert criticise(replace(score, tracks=parts)) == criticise(replace(score, tracks=(track,)))


def test_nothing_to_hear_is_no_number():
    none = np.zeros(0, dtype=np.int64)
    drums = replace(score_of([38]).tracks[0], is_drum=True, channel=9)
    assert criticise(Score(480, ())) is None
    assert criticise(Score(480, (Track(none, none, none, none),))) is None
    assert criticise(Score(480, (drums,))) is None


def test_long_pieces_are_judged_in_parts():
    excerpt = excerpt_of(score_of(SCALE, n=100 * 8))
    assert [part.n_bars for part in windows(excerpt)] == [25] * 4
    assert [part.has_end for part in windows(excerpt)] == [False, False, False, True]


@st.composite
def excerpts(draw) -> Excerpt:
    """Any notes at all, on the grid."""
    n = draw(st.integers(1, 40))
    column = st.lists(st.integers(0, 400), min_size=n, max_size=n)
    onsets, durations = np.array(draw(column)), np.array(draw(column)) % 97 + 1
    pitches, voices = np.array(draw(column)) % 128, np.array(draw(column)) % draw(st.integers(1, 4))
    bar, beat = draw(st.sampled_from([(96, 24), (72, 24), (72, 36), (36, 12)]))
    bars = np.arange(0, 500 + bar, bar)
    return Excerpt(onsets, durations, pitches, voices, 4, bars, bar, beat, has_end=draw(st.booleans())).in_order()


@given(excerpts())
@settings(max_examples=60, deadline=None)
def test_any_notes_have_a_score_within_the_scale(excerpt):
    judgement = load_critic().judge(windows(excerpt))
    assert LOWEST <= judgement.score <= HIGHEST
    assert judgement == load_critic().judge(windows(excerpt))
