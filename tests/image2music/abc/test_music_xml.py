"""MusicXML against music21, which reads it without knowing ABC."""

import music21
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.musicxml import abc_to_music_xml
from image2music.abc.playback import abc_to_midi
from image2music.errors import AbcError
from image2music.music.midi import read_midi
from image2music.music.musicxml import read_musicxml
from image2music.music.rhythm import note_value
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
        pytest.param(tune("C8|D8:|E8|F8:|G8:|A8|]"), id="repeats without a sign at their beginning"),
        pytest.param(tune("C8|1 D8:|2 E8||F8|G8:|A8|]"), id="such a repeat behind an ending"),
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
    assert score.recurse().getElementsByClass("MetronomeMark").first().getQuarterBPM() == 90
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


def measures(abc):
    return list(written(abc).parts[0].getElementsByClass("Measure"))


def test_beams_and_brackets_are_those_that_music21_reads():
    notes = list(measures(tune("CDEF (3GAB c2|]"))[0].notes)
    kinds = [[beam.type for beam in note.beams.beamsList] for note in notes]
    assert kinds == [["start"], ["continue"], ["continue"], ["stop"], ["start"], ["continue"], ["stop"], []]
    brackets = [note.duration.tuplets[0].type if note.duration.tuplets else "" for note in notes]
    assert brackets == ["", "", "", "", "start", None, "stop", ""]


def test_a_pickup_is_no_bar_of_its_own_for_beams():
    abc = tune("AB|c2de f2ga|c4 d4-|d5 AB|]")
    first, *_, last = measures(abc)
    assert first.duration.quarterLength == 1
    assert [note.beams.beamsList[0].type for note in first.notes] == ["start", "stop"]
    assert [(note.duration.type, note.duration.dots) for note in last.notes][:2] == [("half", 0), ("eighth", 0)]


def test_dynamics_swells_slurs_and_articulation_are_written():
    abc = tune("!p!!crescendo(!(.C D) !accent!E!crescendo)!F !f!G4|!fermata!c8|]")
    score = written(abc)
    recursed = score.recurse()
    assert [mark.value for mark in recursed.getElementsByClass("Dynamic")] == ["p", "f"]
    assert [type(span).__name__ for span in recursed.getElementsByClass("Spanner")] == ["Crescendo", "Slur"]
    assert [type(sign).__name__ for note in recursed.notes for sign in note.articulations] == ["Staccato", "Accent"]
    assert [type(sign).__name__ for note in recursed.notes for sign in note.expressions] == ["Fermata"]


def test_chord_symbols_are_written():
    score = written(tune('"C"c4 "F#m7b5"d4|"Bb/D"e4 "plain words"f4|]'))
    symbols = score.recurse().getElementsByClass("Harmony")
    assert [symbol.figure for symbol in symbols] == ["C", "F#ø7", "B-/D"]


DRUMS = "V:1\nV:2 clef=perc\n%%MIDI channel 10\n[V:1] c8|]\n[V:2] C,,2 D,,2 ^F,,2 D,,2|]"


def test_drums_stand_on_a_staff_of_their_own_and_our_own_reader_plays_them():
    drums = written(tune(DRUMS)).parts[1]
    assert drums.recurse().getElementsByClass("Clef").first().sign == "percussion"
    assert [note.displayName for note in drums.recurse().notes] == ["F4", "C5", "G5", "C5"]
    track = next(track for track in read_musicxml(abc_to_music_xml(tune(DRUMS))).tracks if track.is_drum)
    assert track.pitches.tolist() == [36, 38, 42, 38]


def test_the_program_is_that_of_the_first_note():
    xml = abc_to_music_xml(tune('V:1 name="Cello"\n%%MIDI program 42\n[V:1] C,8|]'))
    assert read_musicxml(xml).tracks[0].program == 42


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
