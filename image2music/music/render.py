"""A tune as a WAV file: a few harmonics and an envelope for each note, nothing sampled.

It shows how a tune goes, not how it would sound on its instruments.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PlayedTrack:
    """One part: `notes` are (start, duration, pitch 0-127, velocity 1-127), times in seconds, in order of start."""

    name: str
    program: int
    is_drum: bool
    notes: tuple[tuple[float, float, int, int], ...]


RATE = 44_100
"""Samples a second; one channel, 16 bits."""

MAX_SECONDS = 1800.0
"""Longer tunes are cut here: half an hour takes 160 MB."""
_TAIL = 0.4
_PEAK = 0.8
_DRUM_SECONDS = 0.18


@dataclass(frozen=True)
class Timbre:
    """Loudness of the harmonics from the first on, seconds until full loudness, decay a second, seconds to fade."""

    harmonics: tuple[float, ...]
    attack: float
    decay: float
    release: float


_PLUCKED = Timbre((1.0, 0.45, 0.25, 0.12, 0.06), 0.004, 2.2, 0.15)
_HELD = Timbre((1.0, 0.6, 0.3, 0.3), 0.02, 0.0, 0.08)
_BOWED = Timbre((1.0, 0.5, 0.33, 0.25, 0.2, 0.16), 0.07, 0.1, 0.15)
_BLOWN = Timbre((1.0, 0.15, 0.5, 0.1, 0.3), 0.03, 0.2, 0.1)
_PIPE = Timbre((1.0, 0.2, 0.08), 0.04, 0.1, 0.1)
_FAMILIES = (_PLUCKED, _PLUCKED, _HELD, _PLUCKED, _PLUCKED, _BOWED, _BOWED, _BLOWN, _BLOWN, _PIPE)
_PIZZICATO, _HARP = 45, 46


def timbre_of(program: int) -> Timbre:
    """Return the timbre of a General MIDI program 0-127; sound effects and pads are held tones."""
    if program in (_PIZZICATO, _HARP):
        return _PLUCKED
    family = program // 8
    return _FAMILIES[family] if family < len(_FAMILIES) else _HELD


def wav_bytes(tracks: tuple[PlayedTrack, ...], seconds: float) -> bytes:
    """Render a tune as a mono 16-bit WAV file of 44,100 samples a second, its loudest sample at 0.8."""
    samples = mix(tracks, min(seconds, MAX_SECONDS))
    loudest = float(np.abs(samples).max(initial=0.0))
    scaled = samples * (_PEAK * 32767 / loudest) if loudest else samples
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(scaled).astype("<i2").tobytes())
    return stream.getvalue()


def mix(tracks: tuple[PlayedTrack, ...], seconds: float) -> NDArray[np.float32]:
    """Add up all notes, float32[samples]; notes that begin behind `seconds` are left out."""
    samples = np.zeros(round((seconds + _TAIL) * RATE), dtype=np.float32)
    for track in tracks:
        for start, duration, pitch, velocity in track.notes:
            first = round(start * RATE)
            sound = _hit(pitch) if track.is_drum else tone(pitch, duration, timbre_of(track.program))
            room = samples[first : first + len(sound)]
            room += sound[: len(room)] * np.float32(velocity / 127)
    return samples


def tone(pitch: int, duration: float, timbre: Timbre) -> NDArray[np.float32]:
    """Synthesise a note of `duration` seconds and its release, float32[samples]; only harmonics below RATE / 2."""
    frequency = 440.0 * 2.0 ** ((pitch - 69) / 12)
    at = np.arange(round((duration + timbre.release) * RATE), dtype=np.float32) / np.float32(RATE)
    phase = at * np.float32(2 * np.pi * frequency)
    sound = np.zeros_like(at)
    for order, loudness in enumerate(timbre.harmonics, start=1):
        if order * frequency < RATE / 2:
            sound += np.float32(loudness) * np.sin(phase * np.float32(order))
    rise = np.minimum(1.0, at / np.float32(timbre.attack))
    fall = np.clip((duration + timbre.release - at) / timbre.release, 0.0, 1.0)
    return np.asarray(sound * rise * fall * np.exp(-timbre.decay * at), dtype=np.float32)


def _hit(pitch: int) -> NDArray[np.float32]:
    """Synthesise a drum: noise that dies away, over a low tone for the bass drums (General MIDI 35 and 36)."""
    at = np.arange(round(_DRUM_SECONDS * RATE)) / RATE
    noise = np.random.default_rng(pitch).uniform(-1, 1, len(at))
    sound = np.sin(2 * np.pi * 70 * at) if pitch <= 36 else noise
    return np.asarray(sound * np.exp(-25 * at), dtype=np.float32)
