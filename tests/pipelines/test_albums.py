import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import transforms.album
from image2music.abc.checker import check
from image2music.errors import ModelError, TimeLimitError
from image2music.types import part_of_row
from pipelines.cli.main import main
from schemas.album import ALBUM_SCHEMA
from schemas.composition import composition_schema

pytestmark = pytest.mark.slow

COMPOSE = [
    "compose",
    "--images",
    "photos",
    "--index",
    "tunes.lance",
    "--output",
    "out",
    "--composer",
    "fake",
    "--album",
]


@pytest.fixture
def photos(indexed):
    """Two folders: five pictures of which two are near-duplicates, and two pictures."""
    random = np.random.default_rng(0)
    for name in ("sea/1", "sea/2", "sea/9", "sea/10", "wood/a", "wood/b"):
        path = indexed / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (5, 7, 3), np.uint8)).resize((60, 40)).save(path)
    Image.open("photos/sea/2.png").resize((90, 60)).save("photos/sea/2b.png")
    return indexed / "photos"


def albums():
    return sorted(pq.read_table("out/albums").to_pylist(), key=lambda row: row["album"])


def compositions():
    return {row["image_uri"]: row for row in pq.read_table("out/compositions").to_pylist()}


def test_each_folder_becomes_an_album_and_a_book(photos):
    assert main(COMPOSE) == 0
    sea, wood = albums()
    assert pq.read_table("out/albums").schema.names == ALBUM_SCHEMA.names
    assert [uri.rpartition("/")[2] for uri in sea["image_uris"]] == ["1.png", "2.png", "2b.png", "9.png", "10.png"]
    assert (sea["album"], sea["title"], len(wood["image_ids"])) == ("photos/sea", "Sea", 2)
    text = (photos.parent / "out" / sea["book"] / "album.abc").read_text()
    assert text == sea["abc"]
    assert check(text) == []
    assert (photos.parent / "out" / sea["book"] / "album.mid").read_bytes() == sea["midi"]
    counts = json.loads((photos.parent / "out" / "run.json").read_text())["counts"]
    assert (counts["albums"], counts["near_duplicates"]) == (2, 1)


def test_an_array_job_counts_the_near_duplicates_of_all_its_albums_once(photos, capsys):
    parts = [[*COMPOSE, "--slice_size", "2", "--slice", f"{part}/3"] for part in (1, 2, 3)]
    assert [main(part) for part in parts] == [0, 0, 0]
    capsys.readouterr()
    assert main(["finish", "out"]) == 0
    counts = json.loads((photos.parent / "out" / "run.json").read_text())["counts"]
    assert (counts["albums"], counts["near_duplicates"]) == (2, 1)
    printed = capsys.readouterr().out
    assert "2 albums bound, " in printed
    assert "1 near-duplicate" in printed


def test_the_composer_is_told_its_part(photos, stand_ins, monkeypatch):
    asked = []
    write = stand_ins.write
    monkeypatch.setattr(stand_ins, "write", lambda requests: asked.extend(requests) or write(requests))
    assert main(COMPOSE) == 0
    rows = {row["image_id"]: row for row in compositions().values()}
    assert len(asked) == 7
    assert all(part_of_row(rows[one.request.image_id]["album_part"]) == one.request.album for one in asked)
    two, two_b = (compositions()[f"photos/sea/{name}.png"]["album_part"] for name in ("2", "2b"))
    assert (two["theme"], two["opening"]) == (two_b["theme"], two_b["opening"])


def test_a_rerun_does_nothing_and_keeps_the_albums(photos, stand_ins):
    main(COMPOSE)
    before = albums()
    stand_ins.calls.clear()
    assert main(COMPOSE) == 0
    assert stand_ins.calls == []
    assert [row["abc"] for row in albums()] == [row["abc"] for row in before]


def test_each_picture_is_looked_at_once_in_the_life_of_an_output(photos, monkeypatch):
    looked = []
    look = transforms.album.glance_at
    monkeypatch.setattr(transforms.album, "glance_at", lambda *picture: looked.append(picture[1]) or look(*picture))
    main(COMPOSE)
    assert len(looked) == 7
    parts = {uri: row["album_part"] for uri, row in compositions().items()}
    shutil.copy("photos/wood/a.png", "photos/cut.png")
    Image.open("photos/wood/a.png").rotate(90).save("photos/wood/c.png")
    looked.clear()
    assert main([*COMPOSE, "--overwrite", "--rounds", "1"]) == 0
    assert looked == ["photos/wood/c.png"]
    assert all(compositions()[uri]["album_part"] == part for uri, part in parts.items() if "sea" in uri)


def test_without_the_networks_that_see_there_is_no_album(photos, monkeypatch, capsys):
    def blind(*picture):
        raise ModelError("install eyes", reason="model_not_installed")

    monkeypatch.setattr(transforms.album, "glance_at", blind)
    assert main(COMPOSE) == 1
    assert "install eyes" in capsys.readouterr().err


def test_a_picture_that_cannot_be_seen_in_time_is_composed_without_its_album(photos, monkeypatch):
    def slow(image_id, place, image):
        if place.endswith("9.png"):
            raise TimeLimitError("took longer", reason="timed_out")
        return look(image_id, place, image)

    look = transforms.album.glance_at
    monkeypatch.setattr(transforms.album, "glance_at", slow)
    assert main(COMPOSE) == 0
    assert [uri for uri, row in compositions().items() if row["album_part"] is None] == ["photos/sea/9.png"]
    assert len(albums()[0]["image_uris"]) == 4


def test_a_picture_that_leaves_changes_only_its_own_album(photos, stand_ins):
    main(COMPOSE)
    wood = compositions()["photos/wood/a.png"]
    (photos / "sea" / "1.png").unlink()
    stand_ins.calls.clear()
    assert main(COMPOSE) == 0
    assert 0 < sum(size for call, size in stand_ins.calls if call == "write") <= 4
    assert compositions()["photos/wood/a.png"] == wood


def test_a_file_that_is_no_picture_is_one_failure_and_not_in_the_album(photos):
    (photos / "sea" / "notes.jpg").write_text("no picture")
    assert main([*COMPOSE, "--max_failures", "1"]) == 3
    assert len(albums()[0]["image_uris"]) == 5


def test_albums_are_other_settings(photos, capsys):
    main(COMPOSE[:-1])
    assert pq.read_table("out/compositions").schema.names == composition_schema(8).names
    capsys.readouterr()
    assert main(COMPOSE) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*COMPOSE, "--overwrite"]) == 0
    assert pq.read_table("out/compositions").schema.names[-1] == "album_part"


def test_a_tune_that_cannot_be_bound_is_a_failure_of_its_album(photos, monkeypatch):
    monkeypatch.setattr("image2music.album.book.MOST_TUNES", 3)
    assert main(COMPOSE) == 3
    (failure,) = pq.read_table("out/failures").to_pylist()
    assert (failure["stage"], failure["uri"], failure["reason"]) == ("bind", "photos/sea", "album_too_long")
    assert [row["album"] for row in albums()] == ["photos/wood"]
    monkeypatch.undo()


def test_the_same_bytes_in_two_folders_belong_to_the_first(photos):
    shutil.copy("photos/sea/9.png", "photos/wood/z.png")
    assert main(COMPOSE) == 0
    assert [len(row["image_ids"]) for row in albums()] == [5, 2]
