"""`compose --length` and `--loop`, and the column `length` of a catalogue."""

import io
import json
from pathlib import Path

import mido
import pyarrow.parquet as pq
import pytest

from image2music.abc.lasting import abc_seconds
from pipelines.cli.main import main

pytestmark = pytest.mark.slow

COMPOSE = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
COMPOSE += ["--protocol", "plan"]
SAMPLE = 1 / 48_000


def rows():
    return {Path(row["image_uri"]).stem: row for row in pq.read_table("out/compositions").to_pylist()}


def lasts(row):
    """How long the row's MIDI lasts; its ABC lasts as long."""
    seconds = mido.MidiFile(file=io.BytesIO(row["midi"])).length
    assert abs(abc_seconds(row["abc"]) - seconds) < SAMPLE
    return seconds


def test_every_tune_lasts_as_long_as_was_asked_for_and_the_catalogues_own_length_goes_first(indexed, capsys):
    """One that is no length is named, and the tune lasts as long as the others."""
    Path("shop.csv").write_text("image,length\nred.png,0:08\ngreen.png,long\n", encoding="utf-8")
    compose = [*COMPOSE, "--catalog", "shop.csv", "--length", "11.5s"]
    assert main(compose) == 0
    made = rows()
    lengths = {name: row["plan"]["length_s"] for name, row in made.items()}
    assert lengths == {"red": 8.0, "green": 11.5, "blue": 11.5}
    assert all(abs(lasts(row) - lengths[name]) < SAMPLE for name, row in made.items())
    assert made["blue"]["plan"]["sections"][0]["qpm"] == pytest.approx(made["blue"]["tempo_qpm"], abs=0.001)
    assert [len(made[name]["plan"]["unmet"]) for name in ("red", "green", "blue")] == [0, 1, 0]
    assert "length 'long'" in made["green"]["plan"]["unmet"][0]
    assert "1 row does not keep a wish: green.png: length 'long': 'long' is no length" in capsys.readouterr().out
    assert json.loads(Path("out/run.json").read_text())["counts"]["wishes_unmet"] == 1
    assert main(compose) == 0
    assert rows() == made


def test_a_loop_is_said_in_the_plan_and_plays_at_one_tempo(indexed):
    assert main([*COMPOSE, "--loop"]) == 0
    for row in rows().values():
        assert row["plan"]["loop"] and row["plan"]["length_s"] is None
        file = mido.MidiFile(file=io.BytesIO(row["midi"]))
        assert sum(message.type == "set_tempo" for track in file.tracks for message in track) == 1


def test_without_them_a_row_says_nothing_of_them_and_settings_are_as_they_were(indexed):
    assert main(COMPOSE) == 0
    plain = rows()["red"]
    assert (plain["plan"]["length_s"], plain["plan"]["loop"]) == (None, False)
    assert main([*COMPOSE, "--length", "30s", "--overwrite"]) == 0
    assert rows()["red"]["settings_hash"] != plain["settings_hash"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--length", "2s"], "5 to 300 seconds"),
        (["--length", "soon"], "is no length"),
        (["--length", "30s", "--protocol", "paper"], "--length and --loop need --protocol plan"),
        (["--loop", "--protocol", "paper"], "--length and --loop need --protocol plan"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(indexed, capsys, more, said):
    assert main([*COMPOSE, *more]) != 0
    assert said in capsys.readouterr().err
