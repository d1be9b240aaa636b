import re
import shutil
from io import BytesIO

import mido
import music21
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_fonts import square_font
from PIL import Image

import image2music.music.engraving as engraving
from image2music.abc.playback import abc_to_midi
from image2music.music.loudness import loudness
from image2music.music.midi import read_midi
from image2music.music.render import decode, find_soundfont
from image2music.music.score import length_in_bars, seconds_at
from image2music.storage.output import open_output
from pipelines.cli.main import main
from pipelines.options.outputs import EXPORT_FORMATS

COMPOSE = "compose --images pictures --index tunes.lance --output out --composer fake"
ALL = ",".join(EXPORT_FORMATS)


@pytest.fixture(scope="module")
def home(made_once, tmp_path_factory):
    """Three rows by the stand-in composer in `out`, and one of them in every format in `files`."""
    home = tmp_path_factory.mktemp("exports") / "world"
    shutil.copytree(made_once, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(COMPOSE.split()) == 0
        row = next(open_output(home / "out").compositions.read(["image_id"]))
        assert main([*f"export --input out --output files --ids {row['image_id'][:8]} --formats".split(), ALL]) == 0
    return home


@pytest.fixture(autouse=True)
def indexed(home, monkeypatch):
    """The folder of all this, as the current one."""
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def row(home):
    """The row that is exported."""
    return next(open_output(home / "out").compositions.read(["image_id", "abc", "midi"]))


@pytest.fixture
def files(home, row):
    """Its files, by ending."""
    found = (path for path in (home / "files").iterdir() if path.name != ".lock")
    return {path.name.removeprefix(row["image_id"][:16]): path for path in found}


def test_there_is_a_file_for_each_format_and_a_table(files):
    assert {*files} == {
        ".abc", ".mid", ".musicxml", ".pdf", ".page-1.svg", ".wav", ".mp3", ".opus", ".stem-1-1.wav", ".stem-2-2.wav",
        ".stem-mix.wav", ".heatmap.png", "files.csv",
    }  # fmt: skip


def test_abc_and_midi_are_those_of_the_row_but_for_what_they_say_of_themselves(row, files):
    text = files[".abc"].read_text()
    assert abc_to_midi(text) == abc_to_midi(row["abc"])
    assert "trainedAlgorithmicMedia" in text
    said, plain = (mido.MidiFile(file=BytesIO(data)) for data in (files[".mid"].read_bytes(), row["midi"]))
    assert [str(event) for track in said.tracks for event in track if not event.is_meta] == [
        str(event) for track in plain.tracks for event in track if not event.is_meta
    ]
    assert said.length == plain.length


@pytest.mark.parametrize("ending", [".abc", ".mid", ".musicxml", ".pdf", ".page-1.svg", ".wav", ".heatmap.png"])
def test_every_file_says_that_it_was_made_by_ai(files, ending):
    data = files[ending].read_bytes()
    assert b"trainedAlgorithmicMedia" in data or b"trainedAlgorithmicMedia".hex().encode() in data.lower()


def test_stems_add_up_to_their_mix(files):
    parts = [
        decode(path.read_bytes())[0] for ending, path in files.items() if ".stem-" in ending and "mix" not in ending
    ]
    mix = decode(files[".stem-mix.wav"].read_bytes())[0]
    assert len(parts) == 2
    assert np.array_equal(np.sum(parts, axis=0, dtype=np.float32), mix)


def test_the_table_names_every_file_with_its_length_and_rights(row, files, indexed):
    table = pandas.read_csv(indexed / "files" / "files.csv").set_index("format")
    assert {*table.file} == {path.name for ending, path in files.items() if ending != "files.csv"}
    assert {*table.image_id} == {row["image_id"]}
    assert table.loc["wav", "seconds"] == pytest.approx(len(decode(files[".wav"].read_bytes())[0]) / 48_000, abs=1e-3)
    assert table.loc["wav", "bytes"] == files[".wav"].stat().st_size
    assert table.loc["abc", "digital_source_type"].endswith("trainedAlgorithmicMedia")
    assert table.made_by_ai.all()


def test_no_cell_of_the_table_is_a_formula(home, tmp_path):
    shutil.copytree(home / "out", tmp_path / "out")
    (shard,) = open_output(tmp_path / "out").compositions.shards()
    table = pq.ParquetFile(shard).read()
    hostile = {"catalog_id": "=A2", "title": "+1", "album": "@sum/x"}
    pq.write_table(pa.Table.from_pylist([row | hostile for row in table.to_pylist()], table.schema), shard)
    command = ["export", "--input", str(tmp_path / "out"), "--output", str(tmp_path / "files"), "--formats", "midi"]
    assert main([*command, "--name", "{catalog_id}-{title}"]) == 0
    table = pandas.read_csv(tmp_path / "files" / "files.csv", dtype=str)
    assert [{*table[name]} for name in hostile] == [{"'=A2"}, {"'+1"}, {"'@sum/x"}]
    assert not table.file.str.startswith("=").any()
    assert all(float(seconds) > 0 for seconds in table.seconds)


def test_the_same_rows_give_the_same_bytes(files, indexed, row):
    before = {ending: path.read_bytes() for ending, path in files.items()}
    command = f"export --input out --output again --ids {row['image_id'][:8]} --formats {ALL}"
    assert main(command.split()) == 0
    name = row["image_id"][:16]
    again = (path for path in (indexed / "again").iterdir() if path.name != ".lock")
    assert {path.name.removeprefix(name): path.read_bytes() for path in again} == before


def test_names_follow_a_pattern_and_are_told_apart_where_they_would_be_one(row, indexed):
    command = ["export", "--input", "out", "--formats", "abc", "--name"]
    assert main([*command, "{album}/{stem}", "--output", "named"]) == 0
    pictures = sorted(path.stem for path in (indexed / "pictures").glob("*.png"))
    assert sorted(path.stem for path in (indexed / "named" / "pictures").iterdir()) == pictures
    assert main([*command, "tune", "--output", "one"]) == 0
    names = {path.name for path in (indexed / "one").iterdir()} - {".lock"}
    assert f"tune-{row['image_id'][:8]}.abc" in names
    assert len(names) == len(pictures) + 1


def test_a_loop_is_as_long_as_its_bars_and_says_so(row, indexed):
    command = f"export --input out --output loops --loop --formats wav,opus --ids {row['image_id'][:8]}"
    assert main(command.split()) == 0
    wav, opus = ((indexed / "loops" / f"{row['image_id'][:16]}.{kind}").read_bytes() for kind in ("wav", "opus"))
    score = read_midi(row["midi"])
    seconds = seconds_at(length_in_bars(score) / score.ticks_per_quarter, score.tempos, score.ticks_per_quarter)
    assert len(decode(wav)[0]) == round(seconds * 48_000)
    assert b"smpl" in wav
    assert b"LOOPSTART=0" in opus


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
    assert len(list((indexed / "plain").iterdir())) == 4  # with files.csv and .lock


def test_a_heat_map_has_the_size_of_the_picture(files):
    with Image.open(files[".heatmap.png"]) as picture:
        assert (picture.format, picture.size) == ("PNG", (12, 8))


def test_files_of_rows_that_are_gone_are_one_line_and_stay(home, tmp_path, monkeypatch, capsys):
    shutil.copytree(home, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    (tmp_path / "world" / "shop.csv").write_text("image,id\nred.png,SKU-005\nblue.png,SKU-006\n")
    compose = [*COMPOSE.split(), "--catalog", "shop.csv", "--overwrite"]
    export_all = ["export", "--input", "out", "--output", "shop", "--name", "{catalog_id}"]
    assert main(compose) == main([*export_all, "--ids", "SKU-005"]) == 0
    assert capsys.readouterr().out.endswith("2 files in shop, listed in files.csv: 2 written, 0 unchanged\n")
    assert main(export_all) == 0
    found = open_output("out").compositions.read(["catalog_id", "image_uris"])
    (row,) = (row for row in found if row["catalog_id"] == "SKU-005")
    for place in row["image_uris"]:
        (tmp_path / "world" / place).unlink()
    assert main([*compose, "--prune", "all"]) == 0
    capsys.readouterr()
    assert main(export_all) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 files in shop are of no row of this output any more, such as SKU-005.abc; they stay until you remove them",
        "4 files in shop, listed in files.csv: 0 written, 4 unchanged",
    ]
    assert (tmp_path / "world" / "shop" / "SKU-005.abc").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--ids ffffffffffff", "no row has the catalog_id 'ffffffffffff', or an image_id that begins so"),
        ("--ids ../x", "at least 4 hex digits"),
        ("--formats abc,ogg", "--formats takes abc,midi,musicxml,pdf,svg,wav,mp3,opus,stems,heatmap, not ogg"),
        ("--name {name}", "--name: {name} is no field of a name: take of {image_id}, {catalog_id}, {title}"),
        ("--name {title", "--name: '{title': "),
        ("--name ../{title}", "leads out of its folder"),
    ],
)
def test_what_cannot_be_exported_is_one_line(row, capsys, options, complaint):
    assert main(f"export --input out --output files {options}".split()) == 1
    assert complaint in capsys.readouterr().err


def test_letters_that_no_font_has_are_one_line_for_all_scores(home, tmp_path, capsys, monkeypatch):
    shutil.copytree(home / "out", tmp_path / "out")
    (shard,) = open_output(tmp_path / "out").compositions.shards()
    table = pq.ParquetFile(shard).read()
    rows = [row | {"title": "海边", "abc": re.sub("T:.*", "T:海边", row["abc"])} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), shard)
    monkeypatch.setattr(engraving, "_is_written", lambda letter, font: font is not None)
    command = ["export", "--input", str(tmp_path / "out"), "--output", str(tmp_path / "files"), "--formats", "pdf"]
    assert main(command) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no font here has the Chinese, Japanese or Korean letters 海边: boxes stand in their place")
    monkeypatch.setattr(engraving, "_is_written", lambda letter, font: True)  # somebody installed one
    assert main(command) == 0
    assert " 0 unchanged\n" in capsys.readouterr().out
    assert main(command) == 0
    assert " 0 written, " in capsys.readouterr().out
    assert main([*command, "--font", str(square_font(tmp_path / "squares.ttf", "海边"))]) == 0
    assert capsys.readouterr().err == ""
    assert all(b"Squares" in path.read_bytes() for path in (tmp_path / "files").glob("*.pdf"))
