import io
import wave

import numpy as np
import pytest

from image2music.abc.playback import abc_to_midi
from image2music.music.render import RATE, timbre_of, tone, wav_bytes
from image2music.report.page import playback, played_bars

REPEATED = "X:1\nT:Twice\nM:2/4\nL:1/4\nQ:1/4=120\nK:C\n|: C D | E F :| G2 |]\n"


def test_notes_and_bars_are_in_seconds():
    played = playback(abc_to_midi(REPEATED), REPEATED)
    assert [note[:3] for note in played.tracks[0].notes[:2]] == [(0.0, 0.5, 60), (0.5, 0.5, 62)]
    assert played.seconds == 5.0


def test_a_repeated_bar_keeps_its_number():
    assert list(played_bars(REPEATED)) == [(0.0, 1), (2.0, 2), (4.0, 1), (6.0, 2), (8.0, 3)]


def test_a_change_of_tempo_counts_from_its_place():
    abc = "X:1\nM:2/4\nL:1/4\nQ:1/4=60\nK:C\nC D | [Q:1/4=120] E F |]\n"
    assert [start for start, *_ in playback(abc_to_midi(abc), abc).tracks[0].notes] == [0.0, 1.0, 2.0, 2.5]


def test_a_tone_has_the_frequency_of_its_pitch():
    spectrum = np.abs(np.fft.rfft(tone(69, 1.0, timbre_of(73))[:RATE]))
    assert int(spectrum.argmax()) == pytest.approx(440, abs=1)


def test_a_wav_file_lasts_as_long_as_the_tune_and_is_not_clipped():
    played = playback(abc_to_midi(REPEATED), REPEATED)
    with wave.open(io.BytesIO(wav_bytes(played.tracks, played.seconds))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    assert len(samples) / RATE == pytest.approx(5.4)
    assert np.abs(samples).max() == pytest.approx(0.8 * 32767, abs=1)
