from image2music.abc.playback import abc_to_midi
from image2music.report.tunes import playback, played_bars

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
