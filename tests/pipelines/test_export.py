import mido
import music21
import pytest
from PIL import Image

from image2music.music.loudness import loudness
from image2music.music.render import decode, find_soundfont
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
    formats = "abc,midi,musicxml,wav,mp3,opus,heatmap"
    command = f"export --input out --output files --ids {row['image_id'][:8]} --formats {formats}"
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


@pytest.mark.parametrize("ending", [".wav", ".mp3", ".opus"])
def test_a_sound_file_lasts_as_long_as_the_tune_and_dies_away(files, ending):
    sound, rate = decode(files[ending].read_bytes())
    assert (sound.shape[1], rate) == (2, 48_000)
    length = mido.MidiFile(files[".mid"]).length
    assert length < len(sound) / rate < length + 3
    assert loudness(sound, rate) == pytest.approx(-16, abs=0.5)


def test_a_sound_font_of_one_s_own_is_played_and_one_that_is_none_is_refused(row, indexed, capsys):
    command = f"export --input out --output own --ids {row['image_id'][:8]} --formats wav --soundfont"
    (indexed / "copy.sf2").write_bytes(find_soundfont().read_bytes())
    assert main([*command.split(), "copy.sf2"]) == 0
    (indexed / "text.sf2").write_bytes(b"no sound font")
    assert main([*command.split(), "text.sf2"]) == 1
    assert "text.sf2 is no sound font" in capsys.readouterr().err


def test_without_a_sound_font_there_are_plain_tones_and_a_line_that_says_so(row, indexed, capsys, monkeypatch):
    monkeypatch.setattr("image2music.music.render.find_soundfont", lambda _: None)
    assert main(f"export --input out --output plain --ids {row['image_id'][:8]} --formats wav,opus".split()) == 0
    assert capsys.readouterr().err.count("no sound font was found") == 1
    assert len(list((indexed / "plain").iterdir())) == 2


def test_a_heat_map_has_the_size_of_the_picture(files):
    with Image.open(files[".heatmap.png"]) as picture:
        assert (picture.format, picture.size) == ("PNG", (12, 8))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--ids ffffffffffff", "no composition's image_id begins with"),
        ("--ids ../x", "at least 4 hex digits"),
        ("--formats abc,ogg", "--formats takes abc,midi,musicxml,wav,mp3,opus,heatmap, not ogg"),
    ],
)
def test_what_cannot_be_exported_is_one_line(row, capsys, options, complaint):
    assert main(f"export --input out --output files {options}".split()) == 1
    assert complaint in capsys.readouterr().err
