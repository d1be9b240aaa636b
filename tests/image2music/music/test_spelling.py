from __future__ import annotations

import pytest

from benchmarks.roundtrip import abc2midi
from image2music.music.midi import read_midi
from image2music.music.theory import SCALES, key_name, spelling


@pytest.mark.parametrize("sharps", range(-7, 8))
@pytest.mark.parametrize("minor", [False, True])
def test_every_name_means_its_pitch_and_the_scale_needs_no_accidentals(sharps: int, minor: bool) -> None:
    names = spelling(sharps, minor)
    notes = [names.accidentals[pitch] + names.letters[pitch] for pitch in range(12, 120)]
    played = abc2midi("X:1\nM:1/4\nL:1/4\nK:C\n" + "|".join(notes) + "|\n").output
    assert played is not None
    assert read_midi(played).tracks[0].pitches.tolist() == list(range(12, 120))
    tonic = sharps * 7 + (9 if minor else 0)
    assert not any(names.altered[60 + (tonic + step) % 12] for step in SCALES["minor" if minor else "major"])


@pytest.mark.parametrize(
    ("sharps", "minor", "name"), [(0, False, "C"), (0, True, "Am"), (-3, True, "Cm"), (7, False, "C#")]
)
def test_keys_are_named_as_abc_names_them(sharps: int, minor: bool, name: str) -> None:
    assert key_name(sharps, minor) == name


def test_the_leading_note_of_a_minor_key_is_a_sharp() -> None:
    a_minor = spelling(0, True)
    assert a_minor.accidentals[68] + a_minor.letters[68] == "^G"
