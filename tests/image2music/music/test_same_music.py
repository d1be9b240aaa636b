from dataclasses import replace

import numpy as np
import pytest
from fakes import two_voice_tune

from image2music.abc.playback import abc_to_midi
from image2music.music.midi import read_midi
from image2music.music.score import Score, Track
from image2music.music.similarity import music_id


@pytest.fixture
def score():
    return read_midi(abc_to_midi(two_voice_tune(1)))


def on_every_track(score, **change):
    tracks = (replace(t, **{name: alter(getattr(t, name)) for name, alter in change.items()}) for t in score.tracks)
    return replace(score, tracks=tuple(tracks))


def moved(tracks, semitones):
    return tuple(replace(track, pitches=track.pitches + semitones) for track in tracks)


@pytest.mark.parametrize(
    "alike",
    [
        pytest.param(lambda score: on_every_track(score, pitches=lambda p: p + 3), id="transposed"),
        pytest.param(lambda score: replace(score, tempos=()), id="another tempo"),
        pytest.param(lambda score: on_every_track(score, program=lambda _: 40), id="other instruments"),
        pytest.param(lambda score: on_every_track(score, velocities=lambda v: v // 2 + 1), id="softer"),
        pytest.param(lambda score: on_every_track(score, durations=lambda d: d // 2), id="shorter notes"),
        pytest.param(lambda score: on_every_track(score, onsets=lambda o: o + 480), id="after a rest"),
        pytest.param(lambda score: replace(score, tracks=score.tracks[::-1]), id="tracks in another order"),
        pytest.param(lambda score: replace(score, tracks=score.tracks + moved(score.tracks, 12)), id="doubled"),
    ],
)
def test_the_same_music(score, alike):
    assert music_id(alike(score)) == music_id(score)


def test_another_resolution_is_the_same_music(score):
    finer = replace(on_every_track(score, onsets=lambda o: 2 * o), ticks_per_quarter=2 * score.ticks_per_quarter)
    assert music_id(finer) == music_id(score)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda score: on_every_track(score, pitches=lambda p: 127 - p), id="upside down"),
        pytest.param(lambda score: on_every_track(score, onsets=lambda o: 2 * o), id="half as fast on paper"),
        pytest.param(lambda score: replace(score, tracks=score.tracks[:1]), id="without its bass"),
    ],
)
def test_other_music(score, other):
    assert music_id(other(score)) != music_id(score)


def drum_track(pitch):
    onsets = np.arange(8) * 24
    return Track(onsets, onsets * 0 + 12, onsets * 0 + pitch, onsets * 0 + 64, channel=9, is_drum=True)


def test_drums_alone_are_told_apart_by_their_notes():
    kick, snare = Score(48, (drum_track(36),)), Score(48, (drum_track(38),))
    assert music_id(kick) == music_id(replace(kick, tempos=())) != music_id(snare)
