"""References by the scene: a refresh finds what a fresh run finds, by the rows alone."""

import fakes
import pyarrow.parquet as pq
import pytest
from fakes import FakeComposer, colour_of, two_voice_tune

from image2music.abc.playback import abc_to_midi
from image2music.composers import registry
from image2music.images.scene import Scene
from image2music.storage.output import open_output
from image2music.types import Description
from pipelines.cli.main import main

AROUSALS = {"red": 0.6, "green": 0.4, "blue": 0.0}
COMPOSE = [
    "compose",
    "--images",
    "pictures",
    "--index",
    "tunes.lance",
    "--composer",
    "fake:seeing",
    "--protocol",
    "plan",
]
UPDATE = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--update"]


class SeeingComposer(FakeComposer):
    def look(self, images, language="en"):
        return [
            Description(colour, scene=Scene(f"all {colour}", valence=0.0, arousal=AROUSALS[colour]))
            for colour in map(colour_of, images)
        ]


@pytest.fixture
def composed(indexed, monkeypatch):
    """Composed with tunes of 96; then one of 64, which suits the blue picture alone, takes the place of the red one."""
    monkeypatch.setitem(fakes.COMPOSERS, "seeing", SeeingComposer)
    registry._loaded.cache_clear()
    assert main([*COMPOSE, "--output", "out"]) == 0
    slow = two_voice_tune(99).replace("Q:1/4=96", "Q:1/4=64")
    (indexed / "midi" / "red.mid").write_bytes(abc_to_midi(slow))
    assert main(UPDATE) == 0
    return indexed


def places(folder):
    table = pq.read_table(f"{folder}/compositions").to_pylist()
    return {row["description"]: [one["location"] for one in row["references"]] for row in table}


def test_a_refresh_finds_what_a_fresh_run_finds(composed, monkeypatch):
    assert len(places("out")["red"]) == len(places("out")["green"]) == 3
    with monkeypatch.context() as patch:
        patch.setattr("PIL.Image.open", lambda *_: pytest.fail("a picture was opened"))
        assert main([*COMPOSE, "--output", "out", "--refresh", "--plan"]) == 0
    assert main([*COMPOSE, "--output", "out", "--refresh"]) == 0
    assert main([*COMPOSE, "--output", "fresh"]) == 0
    assert places("out") == places("fresh")
    assert places("out")["blue"] == ["red.mid"]
    assert "red.mid" not in places("out")["red"]


def test_a_refresh_says_in_one_line_that_an_output_lacks_the_scene(composed, capsys):
    for shard in open_output("out").compositions.shards():
        pq.write_table(pq.read_table(shard).drop_columns(["scene"]), shard)
    capsys.readouterr()
    assert main([*COMPOSE, "--output", "out", "--refresh", "--plan"]) == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "scene" in line)
    assert line.startswith("image2music: 3 rows of out have no scene: ")
