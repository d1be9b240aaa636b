"""MusicXML is read as it sounds: against music21, against what our own writer wrote, and by hand."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.musicxml import abc_to_music_xml
from image2music.abc.playback import abc_to_score
from image2music.errors import NotationError
from image2music.music.grid import bars_of
from image2music.music.musicxml import read_musicxml
from image2music.music.score import MeterChange, Score


def notes_of(score: Score) -> list[tuple[float, int, float]]:
    """Onset and duration in quarters, and pitch, of all notes."""
    per = score.ticks_per_quarter
    return sorted(
        (round(int(onset) / per, 4), int(pitch), round(int(duration) / per, 4))
        for track in score.tracks
        for onset, pitch, duration in zip(track.onsets, track.pitches, track.durations, strict=True)
    )


def xml(measures: str, parts: str = "", attributes: str = "") -> bytes:
    """One part in 4/4 with four divisions a quarter; `measures` are its measures but for the first's attributes."""
    begin = (
        "<attributes><divisions>4</divisions><key><fifths>0</fifths></key>"
        f"<time><beats>4</beats><beat-type>4</beat-type></time>{attributes}</attributes>"
    )
    declared = parts or "<score-part id='P1'><part-name>Flute</part-name></score-part>"
    body = measures.replace("<measure>", f"<measure>{begin}", 1)
    return (f"<score-partwise><part-list>{declared}</part-list><part id='P1'>{body}</part></score-partwise>").encode()


def note(step: str, duration: int, more: str = "", octave: int = 4, chord: bool = False) -> str:
    return (
        f"<note>{'<chord/>' * chord}<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
        f"<duration>{duration}</duration>{more}</note>"
    )


def test_what_our_own_writer_wrote_sounds_the_same():
    abc = (
        "X:1\nT:T\nM:3/4\nL:1/8\nQ:1/4=96\nK:D\nV:1 name=Oboe\nV:2\n"
        "V:1\nA2|d2 (3efg a2-|a4 [FA]2|d6|]\nV:2\nz2|D,6|A,,3 B,,3|D,6|]\n"
    )
    score, played = read_musicxml(abc_to_music_xml(abc)), abc_to_score(abc)
    assert notes_of(score) == notes_of(played)
    assert [track.name for track in score.tracks] == ["Oboe", "2"]
    assert [change.qpm for change in score.tempos] == [96]
    assert (score.keys[0].sharps, score.keys[0].minor) == (2, False)


def test_a_pickup_lets_the_meter_start_anew():
    score = read_musicxml(abc_to_music_xml("X:1\nM:3/4\nL:1/4\nK:C\nG|c2 d|e2 f|c3|]\n"))
    assert score.meters == (MeterChange(0, 3, 4), MeterChange(480, 3, 4))
    assert bars_of(score, 48 * 10).lines.tolist() == [0, 48, 192, 336, 480]


def test_two_halves_of_a_bar_that_a_repeat_cuts_are_one_bar():
    bar, half = f"<measure>{note('C', 16)}</measure>", f"<measure>{note('D', 8)}</measure>"
    assert read_musicxml(xml(bar + half + half + bar)).meters == (MeterChange(0, 4, 4),)
    irregular = read_musicxml(xml(bar + half + bar)).meters
    assert irregular == (MeterChange(0, 4, 4), MeterChange(1920 + 960, 4, 4))


def test_chords_voices_backup_and_forward():
    measure = (
        "<measure>" + note("C", 8, "<voice>1</voice>") + note("E", 8, "<voice>1</voice>", chord=True)
        + "<backup><duration>8</duration></backup><forward><duration>4</duration></forward>"
        + note("G", 4, "<voice>2</voice>", 3) + "</measure>"
    )  # fmt: skip
    score = read_musicxml(xml(measure))
    assert notes_of(score) == [(0.0, 60, 2.0), (0.0, 64, 2.0), (1.0, 55, 1.0)]
    assert [(track.name, len(track)) for track in score.tracks] == [("Flute, voice 1", 2), ("Flute, voice 2", 1)]
    assert [len(track) for track in read_musicxml(xml(measure), by="staff").tracks] == [3]


def test_ties_go_over_the_bar_and_grace_and_cue_notes_are_left_out():
    grace = "<note><grace/><pitch><step>B</step><octave>4</octave></pitch></note>"
    start, stop = "<tie type='start'/>", "<tie type='stop'/>"
    first = f"<measure>{grace}{note('C', 12)}{note('D', 4, start)}</measure>"
    second = f"<measure>{note('D', 8, stop)}{note('E', 8, '<cue/>')}</measure>"
    assert notes_of(read_musicxml(xml(first + second))) == [(0.0, 60, 3.0), (3.0, 62, 3.0)]


def test_marks_and_wedges_are_velocities():
    def mark(name: str) -> str:
        return f"<direction><direction-type><dynamics><{name}/></dynamics></direction-type></direction>"

    def wedge(kind: str) -> str:
        return f"<direction><direction-type><wedge type='{kind}'/></direction-type></direction>"

    measures = (
        f"<measure>{mark('p')}{note('C', 4)}{wedge('crescendo')}{note('D', 4)}{note('E', 4)}{note('F', 4)}</measure>"
        f"<measure>{wedge('stop')}{mark('f')}{note('G', 16)}</measure>"
    )
    velocities = read_musicxml(xml(measures)).tracks[0].velocities.tolist()
    assert velocities[:2] == [60, 60] and velocities[-1] == 105
    assert velocities == sorted(velocities) and 60 < velocities[2] < velocities[3] < 105


@pytest.mark.parametrize(
    ("direction", "qpm"),
    [
        ("<sound tempo='72'/>", 72),
        ("<direction-type><metronome><beat-unit>quarter</beat-unit><beat-unit-dot/><per-minute>60</per-minute>"
         "</metronome></direction-type>", 90),
        ("<direction-type><words>Adagio</words></direction-type>", 66),
    ],
)  # fmt: skip
def test_tempos_by_number_mark_and_word(direction, qpm):
    score = read_musicxml(xml(f"<measure><direction>{direction}</direction>{note('C', 16)}</measure>"))
    assert [(change.tick, change.qpm) for change in score.tempos] == [(0, qpm)]


def test_the_part_list_names_program_and_part():
    viola = (
        "<score-part id='P1'><part-name>Viola</part-name>"
        "<midi-instrument id='P1-I1'><midi-program>42</midi-program></midi-instrument></score-part>"
    )
    track = read_musicxml(xml(f"<measure>{note('C', 16)}</measure>", viola)).tracks[0]
    assert (track.name, track.program, track.is_drum) == ("Viola", 41, False)


def test_transposing_instruments_drums_and_silent_parts():
    clarinet = read_musicxml(
        xml(f"<measure>{note('D', 16)}</measure>", attributes="<transpose><chromatic>-2</chromatic></transpose>")
    )
    assert notes_of(clarinet) == [(0.0, 60, 4.0)]
    assert clarinet.keys[0].sharps == -2
    drums = (
        "<score-part id='P1'><part-name>Kit</part-name><midi-instrument id='P1-I37'><midi-channel>10</midi-channel>"
        "<midi-unpitched>37</midi-unpitched></midi-instrument></score-part>"
    )
    hit = (
        "<note><unpitched><display-step>E</display-step><display-octave>4</display-octave></unpitched>"
        "<duration>4</duration><instrument id='P1-I37'/></note>"
    )
    kit = read_musicxml(xml(f"<measure>{hit}</measure>", drums)).tracks[0]
    assert (kit.is_drum, kit.pitches.tolist()) == (True, [36])
    silent = xml(f"<measure>{note('C', 16)}</measure>").replace(
        b"</score-partwise>",
        b"<part id='P2'><measure><note><rest/><duration>16</duration></note></measure></part></score-partwise>",
    )
    assert [len(track) for track in read_musicxml(silent).tracks] == [1, 0]


def test_music21_reads_the_same_notes(tmp_path):
    music21 = pytest.importorskip("music21")
    dice = np.random.Generator(np.random.Philox(3))
    score = music21.stream.Score()
    for name in ("Violin", "Clarinet", "Violoncello"):
        part = music21.stream.Part([getattr(music21.instrument, name)()])
        part.append(music21.meter.TimeSignature("3/4"))
        for _ in range(12):
            left = music21.duration.opFrac(3)
            while left > 0:
                length = min(left, music21.duration.opFrac([1 / 3, 0.5, 0.75, 1, 1.5, 2][int(dice.integers(6))]))
                pitches = sorted(dice.integers(55, 80, int(dice.integers(0, 3))).tolist())
                item = music21.chord.Chord(pitches) if pitches else music21.note.Rest()
                item.duration.quarterLength = length
                part.append(item)
                left = music21.duration.opFrac(left - length)
        score.insert(0, part)
    path = score.write("musicxml", tmp_path / "three.musicxml")
    ours = notes_of(read_musicxml(path.read_bytes()))
    back = music21.converter.parse(path, forceSource=True).toSoundingPitch().stripTies(matchByPitch=True)
    theirs = sorted(
        (round(float(item.getOffsetInHierarchy(back)), 4), pitch.midi, round(float(item.quarterLength), 4))
        for item in back.recurse().notes
        for pitch in item.pitches
    )
    assert len(ours) > 40
    assert ours == theirs


def packed(name: str, content: bytes, container: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        if container:
            archive.writestr(
                "META-INF/container.xml",
                f"<container><rootfiles><rootfile full-path='{container}'/></rootfiles></container>",
            )
        archive.writestr(name, content)
    return data.getvalue()


def test_compressed_files_are_known_by_their_content():
    plain = xml(f"<measure>{note('C', 16)}</measure>")
    for data in (packed("score.xml", plain), packed("a/b.musicxml", plain, "a/b.musicxml")):
        assert notes_of(read_musicxml(data)) == notes_of(read_musicxml(plain))


ENTITIES = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><score-partwise>&b;</score-partwise>'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 no zip",
        b"<score-partwise>",
        b"<score-partwise/>",
        b"<score-timewise/>",
        b"<html/>",
        ENTITIES,
        ENTITIES.decode().encode("utf-16"),
        packed("score.xml", b" " * 40_000_000),
        packed("readme.txt", b"no score"),
        xml("<measure><note><rest/><duration>16</duration></note></measure>"),
        xml(f"<measure>{note('H', 16)}</measure>"),
        xml(f"<measure>{note('C', -16)}</measure>"),
        xml("<measure/>").replace(b">4</divisions>", b">0</divisions>"),
        xml("<measure/>").replace(b">4</divisions>", b">1e999999999</divisions>"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(data):
    with pytest.raises(NotationError) as caught:
        read_musicxml(data)
    assert caught.value.reason == "bad_musicxml"


TAGS = ["note", "pitch", "step", "octave", "duration", "chord", "backup", "attributes", "divisions", "time", "beats",
        "measure", "direction", "sound", "tie", "alter", "transpose", "chromatic"]  # fmt: skip
TEXTS = st.sampled_from(["", "1", "4", "-1", "C", "x", "99999999999", "0.5", "1/0", "²"])
TREES = st.recursive(
    st.builds("<{0}>{1}</{0}>".format, st.sampled_from(TAGS), TEXTS),
    lambda inner: st.builds("<{0}>{1}</{0}>".format, st.sampled_from(TAGS), st.lists(inner, max_size=4).map("".join)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=80), st.lists(TREES, max_size=4).map(lambda e: xml(f"<measure>{''.join(e)}</measure>"))
    )
)
def test_any_file_is_read_or_refused(data):
    try:
        score = read_musicxml(data)
    except NotationError:
        return
    assert score.n_notes > 0
    assert all((track.durations > 0).all() and (track.onsets >= 0).all() for track in score.tracks)
