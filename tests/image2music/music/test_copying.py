import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from image2music.music.score import Score, Track
from image2music.music.similarity import longest_shared_run, melody_steps, voice_steps

STEPS = st.lists(st.tuples(st.integers(-2, 2), st.sampled_from([24, 48])), max_size=30)


def track(notes, *, is_drum=False):
    """Notes as (onset, pitch), a quarter being 4 ticks."""
    onsets, pitches = (np.array(column, dtype=np.int64) for column in zip(*notes, strict=True))
    ones = np.ones_like(onsets)
    return Track(onsets, ones, pitches, ones * 64, is_drum=is_drum)


MELODY = [(0, 60), (4, 62), (6, 64), (8, 60), (12, 67)]


def test_steps_are_semitones_and_48ths_of_a_quarter():
    assert melody_steps(track(MELODY), ticks_per_quarter=4) == [(2, 48), (2, 24), (-4, 24), (7, 48)]


def test_the_top_note_of_a_chord_carries_the_melody():
    chords = MELODY + [(onset, pitch - 12) for onset, pitch in MELODY]
    assert melody_steps(track(sorted(chords)), 4) == melody_steps(track(MELODY), 4)


def test_transposition_and_another_resolution_do_not_hide_a_copy():
    higher = track([(3 * onset, pitch + 5) for onset, pitch in MELODY])
    ours, theirs = Score(4, (track(MELODY),)), Score(12, (higher,))
    assert longest_shared_run(voice_steps(ours), voice_steps(theirs)) == 5


def test_a_drone_is_nobodys_melody():
    drone = [(0, 48)] * 40
    assert longest_shared_run([drone], [drone]) == 0


def test_drums_are_not_compared():
    assert voice_steps(Score(4, (track(MELODY, is_drum=True),))) == []


def test_tracks_without_notes_share_nothing():
    assert longest_shared_run([[]], [[]]) == 0


def brute_force(voice, other):
    longest = 0
    for start in range(len(voice)):
        for stop in range(start + 2, len(voice) + 1):
            run = voice[start:stop]
            places = range(len(other) - len(run) + 1)
            if len(set(run)) > 1 and any(other[place : place + len(run)] == run for place in places):
                longest = max(longest, len(run) + 1)
    return longest


@given(STEPS, STEPS)
def test_as_a_search_over_all_runs(voice, other):
    assert longest_shared_run([voice], [other]) == brute_force(voice, other)
