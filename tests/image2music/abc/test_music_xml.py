"""MusicXML against music21, which reads it without knowing ABC."""

import music21
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.musicxml import abc_to_music_xml, note_value
from image2music.abc.playback import abc_to_midi
from image2music.errors import AbcError
from image2music.music.midi import read_midi
from image2music.music.theory import of_whole

HEAD = "X:1\nT:{title}\nM:{meter}\nL:1/8\nQ:1/4=90\nK:{key}\n"


def tune(music, *, title="Tune", meter="4/4", key="C"):
    return HEAD.format(title=title, meter=meter, key=key) + music + "\n"


def written(abc):
    return music21.converter.parseData(abc_to_music_xml(abc), format="musicxml")


def played(score):
    """(quarters from the start, pitch) of every note, with repeats and ties played out."""
    parts = [part.expandRepeats().stripTies().flatten() for part in score.toSoundingPitch().parts]
    return sorted((round(float(note.offset), 3), pitch.midi) for part in parts for note in part.notes
                  for pitch in note.pitches)  # fmt: skip


def sounding(abc):
    """The same from our MIDI."""
    score = read_midi(abc_to_midi(abc))
    return sorted((round(onset / score.ticks_per_quarter, 3), pitch) for track in score.tracks
                  for onset, pitch in zip(track.onsets.tolist(), track.pitches.tolist(), strict=True))  # fmt: skip


@pytest.mark.parametrize(
    "abc",
    [
        pytest.param(tune("CDEF GABc|c8|]"), id="plain"),
        pytest.param(tune("^F2F2 =F2F2|F8|]", key="D"), id="accidentals hold to the bar line"),
        pytest.param(tune("[CEG]4 z4|[CE]4-[CE]2 [DE]2|]"), id="chords, rests and a tied chord"),
        pytest.param(tune("C4 E4-|E4 G4|]"), id="a tie over the bar line"),
        pytest.param(tune("(3CDE F2 (3GAB c2|C>D E<F G4|]"), id="triplets and broken rhythm"),
        pytest.param(tune("|:CDEF G4|1 A8:|2 c8|]"), id="a repeat with two endings"),
        pytest.param(tune("C4 G4 & E,8|c8|]"), id="two layers in a bar"),
        pytest.param(tune("CDE FGA|[K:G] FGA Bcd|[M:9/8] ABc def gab|]", meter="6/8"), id="another key and meter"),
        pytest.param(tune("V:1\nV:2 clef=bass\n[V:1] c8|d8|]\n[V:2] C,4 G,4|[G,B,]8|]"), id="two voices"),
        pytest.param(tune("V:1 transpose=-2\nCDEF GABc|]"), id="a transposing instrument"),
    ],
)
def test_music21_plays_what_our_midi_plays(abc):
    assert played(written(abc)) == sounding(abc)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["C", "^D", "_e", "G,", "[Ac]", "z", "=B"]), min_size=8, max_size=8), min_size=1,
             max_size=4),
    st.sampled_from(["C", "Eb", "F#m", "Ddor"]),
)  # fmt: skip
def test_any_bars_in_any_key_are_played_alike(bars, key):
    abc = tune("C8|" + "|".join(" ".join(bar) for bar in bars) + "|]", key=key)
    assert played(written(abc)) == sounding(abc)


def test_title_tempo_key_and_meter_are_kept():
    score = written(tune("CDE FGA|]", title="A & <B>", meter="6/8", key="Gm"))
    assert score.metadata.title == "A & <B>"
    assert score.recurse().getElementsByClass("MetronomeMark").first().number == 90
    assert score.recurse().getElementsByClass("KeySignature").first().sharps == -2
    assert score.recurse().getElementsByClass("TimeSignature").first().ratioString == "6/8"


def test_a_low_voice_stands_in_the_bass_clef():
    score = written(tune("V:1\nV:2\n[V:1] c8|]\n[V:2] C,8|]"))
    assert [part.recurse().getElementsByClass("Clef").first().sign for part in score.parts] == ["G", "F"]


def test_rests_of_several_bars_are_as_many_measures():
    assert len(written(tune("C8|Z3|D8|]")).parts[0].getElementsByClass("Measure")) == 5


def test_a_text_without_music_is_refused():
    with pytest.raises(AbcError, match="no music"):
        abc_to_music_xml("X:1\nT:nothing\nK:C\n")


@pytest.mark.parametrize(
    ("length", "value"),
    [
        ((1, 4), ("quarter", 0, 1, 1)),
        ((3, 8), ("quarter", 1, 1, 1)),
        ((7, 16), ("quarter", 2, 1, 1)),
        ((1, 12), ("eighth", 0, 3, 2)),
        ((5, 8), None),
    ],
)
def test_a_length_has_the_name_that_an_engraver_gives_it(length, value):
    assert note_value(of_whole(*length)) == value
