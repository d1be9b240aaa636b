import pytest
from fakes import two_voice_tune
from PIL import Image

from image2music.notation.abc_to_midi import abc_to_midi
from image2music.notation.midi_reader import read_midi
from image2music.report.music_xml import music_xml
from pipelines import outputs
from pipelines.cli import main

COMPOSE = "compose --images pictures --index tunes.lance --output out --composer fake"


@pytest.fixture
def row(indexed):
    """One of three rows by the stand-in composer."""
    assert main(COMPOSE.split()) == 0
    return next(outputs.read_rows(indexed / "out" / "compositions", ["image_id", "abc", "midi"]))


def test_a_row_is_written_in_every_format_that_was_asked_for(row, indexed, capsys):
    command = f"export --input out --output files --ids {row['image_id'][:8]} --formats abc,midi,wav,heatmap"
    assert main(command.split()) == 0
    name = row["image_id"][:16]
    files = {path.name: path for path in (indexed / "files").iterdir()}
    assert sorted(files) == sorted(name + ending for ending in (".abc", ".mid", ".wav", ".heatmap.png"))
    assert files[f"{name}.mid"].read_bytes() == row["midi"]
    with Image.open(files[f"{name}.heatmap.png"]) as picture:
        assert picture.size == (12, 8)


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


def test_musicxml_has_the_title_and_every_note():
    midi = abc_to_midi(two_voice_tune(3))
    xml = music_xml(midi, "A & B").decode()
    assert "<work-title>A &amp; B</work-title>" in xml
    assert xml.count("<pitch>") == read_midi(midi).n_notes
