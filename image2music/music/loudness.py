"""How loud a sound is, and how to bring it to a target: a meter, a true-peak meter and a limiter.

Sources: ITU-R BS.1770-5 (K-weighting, gating, true peak), EBU R 128 and Tech 3341 (what a meter must show). Sound is
float[n, channels], 1.0 full scale; every channel weighs the same, as in mono and stereo.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.floating[Any]]

TARGET_LUFS = -16.0
"""Integrated loudness of what is rendered, in LUFS."""

PEAK_DBTP = -2.3
"""True peak that the limiter keeps below, in dB of full scale: codecs overshoot by up to a decibel."""

_BLOCK_HOPS = 4
_HOPS_A_SECOND = 10
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0
_OFFSET = -0.691
_MOST_GAIN_DB = 40.0
_OVERSAMPLING = 4
_TAPS_ASIDE = 6
_NEAR_THE_PEAK = 0.6
_LOOK_SECONDS = 0.012
_ROUNDS = 6


def loudness(sound: Samples, rate: int) -> float:
    """Return the integrated loudness in LUFS; minus infinity for silence and for less than 0.4 s.

    Blocks of 0.4 s that overlap by three quarters are averaged, without those below -70 LUFS and those more than 10 LU
    below the average of the others.
    """
    return _integrated(_weighted_power(sound, rate), rate)


def loudness_of_pieces(pieces: Iterable[Samples], rate: int) -> float:
    """Return the integrated loudness in LUFS of a sound in pieces, all but the last of whole tenths of a second.

    As `loudness`, but that the filters begin anew with each piece.
    """
    hop = rate // _HOPS_A_SECOND
    powers = [np.empty(0)]
    for piece in pieces:
        hops = len(piece) // hop
        powers.append(_weighted_power(piece, rate)[: hops * hop].reshape(hops, hop).mean(axis=1))
    return _integrated(np.concatenate(powers), _HOPS_A_SECOND)


def _weighted_power(sound: Samples, rate: int) -> NDArray[np.float64]:
    """Return the K-weighted power of each sample, channels added, float[n]."""
    from scipy.signal import sosfilt

    if not len(sound):
        return np.empty(0)
    power = np.zeros(len(sound))
    for channel in sound.T:
        power += np.square(sosfilt(_k_weighting(rate), channel))
    return power


def _integrated(power: NDArray[np.float64], rate: int) -> float:
    hop = rate // _HOPS_A_SECOND
    hops = len(power) // hop
    if hops < _BLOCK_HOPS:
        return -np.inf
    by_hop = power[: hops * hop].reshape(hops, hop).mean(axis=1)
    blocks = np.convolve(by_hop, np.full(_BLOCK_HOPS, 1 / _BLOCK_HOPS), mode="valid")
    blocks = blocks[blocks > _power_of(_ABSOLUTE_GATE)]
    if not len(blocks):
        return -np.inf
    blocks = blocks[blocks > _power_of(_lufs(blocks.mean()) + _RELATIVE_GATE)]
    return round(float(_lufs(blocks.mean())), 6)


def _lufs(power: Any) -> Any:
    return _OFFSET + 10 * np.log10(power)


def _power_of(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET) / 10))


@cache
def _k_weighting(rate: int) -> NDArray[np.float64]:
    """Return the two filters of BS.1770 for any rate: a shelf that lifts the treble, and a high-pass.

    The standard gives coefficients for 48 kHz alone; corner, gain and quality are those of the analogue filters from
    which the bilinear transform makes them (they agree to 1e-8 there).
    """
    shelf, passing = np.tan(np.pi * np.array([1681.974450955533, 38.13547087602444]) / rate)
    high = 10 ** (3.999843853973347 / 20)
    band, quality, rounder = high**0.4996667741545416, 0.7071752369554196, 0.5003270373238773
    below = 1 + shelf / quality + shelf**2
    first = [
        (high + band * shelf / quality + shelf**2) / below,
        2 * (shelf**2 - high) / below,
        (high - band * shelf / quality + shelf**2) / below,
        1.0,
        2 * (shelf**2 - 1) / below,
        (1 - shelf / quality + shelf**2) / below,
    ]
    under = 1 + passing / rounder + passing**2
    second = [1.0, -2.0, 1.0, 1.0, 2 * (passing**2 - 1) / under, (1 - passing / rounder + passing**2) / under]
    return np.array([first, second])


def true_peak_db(sound: Samples) -> float:
    """Return the greatest level between samples too, in dB of full scale, found at four times the rate."""
    highest = float(_peaks(sound).max(initial=0.0))
    return float(20 * np.log10(highest)) if highest else -np.inf


def _peaks(sound: Samples) -> NDArray[np.float64]:
    """Return, for each sample, the greatest level around it at four times the rate, over all channels, float[n].

    Only where samples come near the greatest of all is anything computed: what lies between two samples exceeds them by
    little.
    """
    from scipy.signal import upfirdn

    peaks = levels_over_channels(sound).astype(np.float64)
    window = 1024
    pad = -len(peaks) % window
    by_window = np.pad(peaks, (0, pad)).reshape(-1, window).max(axis=1)
    loud = by_window > _NEAR_THE_PEAK * by_window.max(initial=0.0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    taps = _interpolator().astype(sound.dtype)
    for first, last in edges.reshape(-1, 2).tolist():
        start, stop = max(0, first * window - _TAPS_ASIDE), min(len(peaks), last * window + _TAPS_ASIDE)
        between = upfirdn(taps, sound[start:stop], up=_OVERSAMPLING, axis=0)
        delay = (len(taps) - 1) // 2
        between = levels_over_channels(between[delay : delay + (stop - start) * _OVERSAMPLING])
        for phase in range(_OVERSAMPLING):
            np.maximum(peaks[start:stop], between[phase::_OVERSAMPLING], out=peaks[start:stop])
    return peaks


def levels_over_channels(sound: Samples) -> Samples:
    """Return the level of each sample, float[n]: that of the loudest channel."""
    # Column by column: numpy reduces rows of two a hundred times more slowly.
    levels = np.abs(sound[:, 0])
    for channel in range(1, sound.shape[1]):
        levels = np.maximum(levels, np.abs(sound[:, channel]))
    return levels


@cache
def _interpolator() -> NDArray[np.float64]:
    """Return a windowed sinc that puts three values between any two samples."""
    reach = _OVERSAMPLING * _TAPS_ASIDE
    at = np.arange(-reach, reach + 1)
    return np.asarray(np.sinc(at / _OVERSAMPLING) * np.kaiser(len(at), 5.0), dtype=np.float64)


def limited(sound: Samples, rate: int, peak_db: float = PEAK_DBTP) -> Samples:
    """Return the sound with its true peak at `peak_db` at most; where it lies lower everywhere, as it is.

    The gain falls in the twelve milliseconds before a peak and rises in those behind it, the same for all channels.
    """
    curve = _gain_curve(_peaks(sound), rate, peak_db)
    return sound if curve is None else np.asarray(sound * _gain(sound, 1.0, curve, peak_db))


def _gain_curve(peaks: NDArray[np.float64], rate: int, peak_db: float) -> NDArray[np.float64] | None:
    """Return what the limiter multiplies each sample with; None where it has nothing to do."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    ceiling = 10 ** (peak_db / 20)
    if peaks.max(initial=0.0) <= ceiling:
        return None
    reach = round(_LOOK_SECONDS * rate)
    wanted = np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))
    # Two averages as long as the minimum's window together: no gain is ever above what its own peak asks for.
    gain = minimum_filter1d(wanted, 2 * reach + 1)
    return np.asarray(uniform_filter1d(uniform_filter1d(gain, reach + 1), reach + 1))


def _gain(sound: Samples, factor: float, curve: NDArray[np.float64] | None, peak_db: float) -> Samples:
    """Return what each sample is multiplied with, float[n, 1]: the factor and the limiter's curve."""
    if curve is None:
        return np.full((len(sound), 1), factor, dtype=sound.dtype)
    gain = np.asarray((factor * curve).astype(sound.dtype)[:, None])
    # What a gain that moves adds between samples is taken off the whole.
    over = _peaks(sound * gain).max() / 10 ** (peak_db / 20)
    return gain if over <= 1.0 else np.asarray(gain / sound.dtype.type(over))


def mastered(sound: Samples, rate: int, target: float = TARGET_LUFS, peak_db: float = PEAK_DBTP) -> Samples:
    """Return the sound at a loudness and below a true peak; silence, and what is too short to measure, stay below both.

    Where the limiter takes away loudness, more gain makes up for it, as far as six rounds go; music that is one short
    blow and silence stays softer. Power and peaks are measured once: a gain that moves slowly scales both.
    """
    return np.asarray(sound * mastering_gain(sound, rate, target, peak_db))


def mastering_gain(sound: Samples, rate: int, target: float = TARGET_LUFS, peak_db: float = PEAK_DBTP) -> Samples:
    """Return what `mastered` multiplies each sample with, the same for all channels, float[n, 1].

    Parts of a sound that go through it add up to the sound as it is mastered.
    """
    power, peaks = _weighted_power(sound, rate), _peaks(sound)
    measured = _integrated(power, rate)
    if not np.isfinite(measured):
        return _gain(sound, 1.0, _gain_curve(peaks, rate, peak_db), peak_db)
    gain = min(target - measured, _MOST_GAIN_DB)
    for _ in range(_ROUNDS):
        factor = 10 ** (gain / 20)
        curve = _gain_curve(peaks * factor, rate, peak_db)
        if curve is None:
            break
        missing = target - 20 * np.log10(factor) - _integrated(power * np.square(curve), rate)
        if abs(missing) < 0.05 or gain >= _MOST_GAIN_DB:
            break
        gain = min(gain + 1.1 * missing, _MOST_GAIN_DB)
    return _gain(sound, factor, curve, peak_db)
