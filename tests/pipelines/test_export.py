import wave

import mido
import music21
import pytest
from PIL import Image

from image2music.storage.output import open_output
from pipelines.cli.main import main

COMPOSE = "compose --images pictures --index tunes.lance --output out --composer fake"


@pytest.fixture
def row(indexed):
    """One of three rows by the stand-in composer."""
    assert main(COMPOSE.split()) == 0
    return next(open_output(indexed / "out").compositions.read(["image_id", "abc", "midi"]))


@pytest.fixture
def files(row, indexed):
    """One row in every format, by ending."""
    command = f"export --input out --output files --ids {row['image_id'][:8]} --formats abc,midi,musicxml,wav,heatmap"
    assert main(command.split()) == 0
    name = row["image_id"][:16]
    return {path.name.removeprefix(name): path for path in (indexed / "files").iterdir()}


def test_abc_and_midi_are_written_as_the_row_has_them(row, files):
    assert files[".abc"].read_text() == row["abc"]
    assert files[".mid"].read_bytes() == row["midi"]


def test_other_programs_read_the_same_notes_out_of_midi_and_musicxml(files):
    ons = [
        message.note for message in mido.MidiFile(files[".mid"]) if message.type == "note_on" and message.velocity > 0
    ]
    score = music21.converter.parse(files[".musicxml"], format="musicxml")
    written = [pitch.midi for note in score.flatten().notes for pitch in note.pitches]
    assert sorted(written) == sorted(ons)
    assert len(ons) == 24


def test_a_wav_file_lasts_as_long_as_the_tune(files):
    with wave.open(str(files[".wav"])) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 44_100)
        seconds = sound.getnframes() / sound.getframerate()
    assert seconds == pytest.approx(mido.MidiFile(files[".mid"]).length, abs=0.5)


def test_a_heat_map_has_the_size_of_the_picture(files):
    with Image.open(files[".heatmap.png"]) as picture:
        assert (picture.format, picture.size) == ("PNG", (12, 8))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--ids ffffffffffff", "no composition's image_id begins with"),
        ("--ids ../x", "at least 4 hex digits"),
        ("--formats abc,mp3", "--formats takes abc,midi,musicxml,wav,heatmap, not mp3"),
    ],
)
def test_what_cannot_be_exported_is_one_line(row, capsys, options, complaint):
    assert main(f"export --input out --output files {options}".split()) == 1
    assert complaint in capsys.readouterr().err
