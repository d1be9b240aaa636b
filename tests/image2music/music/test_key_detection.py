from __future__ import annotations

import numpy as np
import pytest

from image2music.music.grid import detect_key, pitch_class_weights
from image2music.music.theory import C_MAJOR, Key

C_MAJOR_TUNE = [60, 62, 64, 65, 67, 67, 69, 67, 65, 64, 62, 60, 64, 60, 55, 60]
A_MINOR_TUNE = [57, 60, 64, 69, 68, 69, 64, 60, 59, 57, 62, 65, 64, 68, 69, 57]


def detected(pitches: list[int]) -> Key:
    return detect_key(pitch_class_weights(np.array(pitches), np.ones(len(pitches))))


@pytest.mark.parametrize("semitones", range(12))
def test_a_transposed_tune_is_found_in_its_transposed_key(semitones: int) -> None:
    key = detected([pitch + semitones for pitch in C_MAJOR_TUNE])
    assert (key.sharps * 7 % 12, key.minor) == (semitones, False)


def test_a_raised_leading_note_makes_it_minor() -> None:
    assert detected(A_MINOR_TUNE) == Key.of(0, True)


def test_a_pedal_note_does_not_outweigh_the_tune() -> None:
    pitches = np.array([*C_MAJOR_TUNE, 55])
    quarters = np.array([1.0] * len(C_MAJOR_TUNE) + [64.0])
    assert detect_key(pitch_class_weights(pitches, quarters)) == C_MAJOR


def test_silence_is_c_major() -> None:
    assert detect_key(np.zeros(12)) == C_MAJOR
