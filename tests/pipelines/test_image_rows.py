"""Lines of the captions file that give a picture beside their caption or instead of it."""

import json
import os
import time

import lance
import numpy as np
import pyarrow.parquet as pq
import pytest
from fakes import FakeEmbedder, unit
from PIL import Image

from pipelines.cli.main import main

pytestmark = pytest.mark.slow

INDEX = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--embedder", "fake"]
UPDATE = [*INDEX, "--update"]
LONG_AGO = time.time() - 3600


def write_lines(*lines):
    with open("captions.json", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def paint(name, colour):
    Image.new("RGB", (8, 8), colour).save(f"midi/{name}")
    os.utime(f"midi/{name}", (LONG_AGO, LONG_AGO))


def rows():
    return {row["location"]: row for row in lance.dataset("tunes.lance").to_table().to_pylist()}


def failures():
    return [(row["stage"], row["uri"], row["reason"]) for row in pq.read_table("tunes.lance.failures").to_pylist()]


@pytest.fixture
def illustrated(world):
    """Three tunes: one with a caption, one with a caption and a picture, one with a picture only."""
    for name in os.listdir("midi"):
        os.utime(f"midi/{name}", (LONG_AGO, LONG_AGO))
    paint("cover.png", "green")
    paint("sea.png", "blue")
    write_lines(
        {"location": "red.mid", "caption": "red", "image": None},
        {"location": "green.mid", "caption": "a garden", "image": "cover.png"},
        {"location": "blue.mid", "caption": None, "image": "sea.png"},
    )
    return world


def test_a_picture_stands_for_the_caption_or_goes_halves_with_it(illustrated):
    assert main(INDEX) == 0
    found = rows()
    both = (unit("a garden") + unit("green")) / np.linalg.norm(unit("a garden") + unit("green"))
    for name, vector in (("red", unit("red")), ("green", both), ("blue", unit("blue"))):
        assert found[f"{name}.mid"]["vector"] == pytest.approx(vector.tolist(), abs=1e-6)
    assert [found[f"{name}.mid"]["image"] for name in ("red", "green", "blue")] == [None, "cover.png", "sea.png"]
    assert found["blue.mid"]["caption"] == ""
    assert found["red.mid"]["image_id"] is None
    assert len(found["blue.mid"]["image_id"]) == 64


def test_bad_pictures_are_counted_failures_and_the_other_rows_are_done(illustrated):
    (illustrated / "midi" / "text.png").write_text("no picture")
    write_lines(
        {"location": "red.mid", "caption": "red", "image": "text.png"},
        {"location": "green.mid", "caption": "green", "image": "missing.png"},
        {"location": "blue.mid", "caption": "blue", "image": "../pictures/blue.png"},
        {"location": "other.mid", "image": "  "},
        {"location": "blue.mid", "image": "sea.png"},
    )
    assert main(INDEX) == 3
    assert list(rows()) == ["blue.mid"]
    assert sorted(failures()) == [
        ("captions", "captions.json:3", "outside_midi_root"),
        ("captions", "captions.json:4", "bad_caption_line"),
        ("convert", "text.png", "not_a_picture"),
        ("identify", "green.mid", "unreadable_file"),
    ]


@pytest.fixture
def pictures_seen(monkeypatch):
    """How many pictures were embedded in each call."""
    seen = []
    real = FakeEmbedder.embed_images
    monkeypatch.setattr(
        FakeEmbedder, "embed_images", lambda self, images: seen.append(len(images)) or real(self, images)
    )
    return seen


def test_an_update_embeds_a_row_anew_when_its_picture_changed(illustrated, pictures_seen, capsys):
    main(INDEX)
    main(UPDATE)
    pictures_seen.clear()
    capsys.readouterr()
    main(UPDATE)
    assert pictures_seen == []
    assert "3 unchanged, 0 files read" in capsys.readouterr().out
    paint("sea.png", "red")
    os.utime("midi/sea.png", (LONG_AGO + 60, LONG_AGO + 60))
    assert main(UPDATE) == 0
    assert pictures_seen == [1]
    assert rows()["blue.mid"]["vector"] == pytest.approx(unit("red").tolist(), abs=1e-6)


def test_a_picture_that_cannot_be_opened_is_tried_once(illustrated, monkeypatch):
    (illustrated / "midi" / "sea.png").write_text("no picture")
    os.utime("midi/sea.png", (LONG_AGO, LONG_AGO))
    assert main(INDEX) == 3
    assert main(UPDATE) == 3
    monkeypatch.setattr("transforms.midi.captioned_tune", lambda *_: pytest.fail("converted again"))
    assert main(UPDATE) == 3
    assert failures() == [("convert", "sea.png", "not_a_picture")]


def test_rows_with_pictures_are_the_same_after_an_update_and_after_a_build(illustrated):
    write_lines({"location": "red.mid", "caption": "red"})
    main(INDEX)
    write_lines(
        {"location": "red.mid", "caption": "red", "image": "cover.png"}, {"location": "blue.mid", "image": "sea.png"}
    )
    assert main(UPDATE) == 0
    updated = rows()
    main(INDEX)
    assert rows() == updated
