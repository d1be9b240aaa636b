"""The meter against what EBU Tech 3341 says a meter must show; the limiter against the meter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.music.loudness import limited, loudness, mastered, true_peak_db

RATE = 48_000


def sine(db, seconds, *, frequency=1000, rate=RATE, channels=2, phase=0.0):
    at = np.arange(round(seconds * rate))
    wave = 10 ** (db / 20) * np.sin(2 * np.pi * frequency / rate * at + phase)
    return np.repeat(wave[:, None], channels, axis=1)


def faded(sound, samples=2400):
    ramp = np.minimum(1, np.minimum(np.arange(len(sound)), np.arange(len(sound))[::-1]) / samples)
    return sound * ramp[:, None]


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("frequency", [997, 1000])
def test_a_sine_in_both_channels_reads_its_level(rate, frequency):
    assert loudness(sine(-23, 5, rate=rate, frequency=frequency), rate) == pytest.approx(-23, abs=0.1)
    assert loudness(sine(-33, 5, rate=rate, frequency=frequency), rate) == pytest.approx(-33, abs=0.1)


def test_one_channel_counts_half():
    assert loudness(sine(-20, 5, channels=1), RATE) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    "stretches",
    [
        ((-36, 10), (-23, 60), (-36, 10)),
        ((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)),
        ((-26, 20), (-20, 20.1), (-26, 20)),
    ],
)
def test_quiet_stretches_are_gated_as_tech_3341_wants_it(stretches):
    sound = np.concatenate([sine(db, seconds) for db, seconds in stretches])
    assert loudness(sound, RATE) == pytest.approx(-23, abs=0.1)


def test_silence_and_a_blink_have_no_loudness():
    assert loudness(np.zeros((RATE, 2)), RATE) == -np.inf
    assert loudness(sine(-20, 0.3), RATE) == -np.inf
    assert loudness(np.zeros((0, 2)), RATE) == -np.inf


@pytest.mark.parametrize("phase", [0, 45, 60, 67.5])
@pytest.mark.parametrize("part", [4, 6, 8])
def test_true_peaks_lie_within_what_tech_3341_allows(part, phase):
    sound = faded(sine(-6, 0.5, frequency=RATE / part, phase=np.radians(phase)))
    assert -0.4 <= true_peak_db(sound) + 6 <= 0.2


def test_a_peak_between_samples_is_seen():
    sound = faded(sine(0, 0.5, frequency=RATE / 4, phase=np.pi / 4))
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak_db(sound) == pytest.approx(0, abs=0.2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.2, 4), st.floats(-12, -1))
def test_nothing_passes_the_limiter(seed, level, ceiling):
    noise = np.random.Generator(np.random.Philox(seed)).normal(0, level, (4800, 2))
    noise[1000:3000] *= 0.1
    assert true_peak_db(limited(noise, RATE, ceiling)) <= ceiling + 0.01


def test_what_is_soft_enough_is_left_alone():
    sound = faded(sine(-10, 1))
    assert limited(sound, RATE, -3.0) is sound


def test_a_mastered_sound_has_the_loudness_that_is_asked_for_whatever_its_peaks():
    sound = faded(sine(-40, 8, frequency=220)).astype(np.float32)
    sound[:: RATE // 2] = 0.3
    done = mastered(sound, RATE)
    assert done.dtype == np.float32
    assert loudness(done, RATE) == pytest.approx(-16, abs=0.5)
    assert true_peak_db(done) <= -1.9


def test_silence_stays_silent():
    assert not mastered(np.zeros((RATE, 2), dtype=np.float32), RATE).any()
    assert not len(mastered(np.zeros((0, 2), dtype=np.float32), RATE))
