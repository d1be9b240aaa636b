import muspy
import pytest
from fakes import two_voice_tune

from image2music.abc.playback import abc_to_score
from image2music.music.metrics import STEPS_A_QUARTER, groove_consistency

# The last note ends within its bar: MusPy counts another bar where a piece ends at a bar line.
UNEVEN = "X:1\nM:3/4\nL:1/8\nQ:1/4=90\nK:G\nG2 A B c2 | d e f2 g2 | G A B2 z c | G4 z2 |]\n"


def muspy_groove(score, bar):
    step = score.ticks_per_quarter // STEPS_A_QUARTER
    notes = [
        muspy.Note(int(on) // step, int(pitch), int(long) // step)
        for track in score.tracks
        for on, long, pitch in zip(track.onsets, track.durations, track.pitches, strict=True)
    ]
    music = muspy.Music(resolution=STEPS_A_QUARTER, tracks=[muspy.Track(notes=notes)])
    return muspy.groove_consistency(music, bar)


def test_it_is_muspy_s():
    score = abc_to_score(UNEVEN)
    assert groove_consistency(score) == pytest.approx(muspy_groove(score, 3 * STEPS_A_QUARTER))


def test_equal_bars_are_perfectly_steady():
    assert groove_consistency(abc_to_score(two_voice_tune(4))) == 1.0


def test_one_bar_has_no_neighbour():
    assert groove_consistency(abc_to_score("X:1\nM:4/4\nL:1/4\nK:C\nC D E F |]\n")) is None
