"""The same rows, however a job is cut and whoever does its slices."""

import json
import os
import shutil

import pyarrow.parquet as pq
import pytest
from job_processes import noise_pictures

from image2music.storage.output import open_output
from pipelines.cli.main import main

COMPOSE = ["compose", "--images", "many", "--index", "tunes.lance", "--composer", "fake"]
NOT_OF_THE_PICTURE = ["seconds", "composed_at", "midi"]


@pytest.fixture
def many(indexed):
    """Twelve pictures in three folders, two of them under a second name, and two files that are no pictures."""
    noise_pictures(indexed / "many", 12)
    for number, folder in enumerate(("sea", "sea/far", "town")):
        (indexed / "many" / folder).mkdir()
        for picture in (indexed / "many" / f"{3 * number + at:05}.png" for at in range(3)):
            shutil.move(picture, indexed / "many" / folder / picture.name)
    shutil.copy(indexed / "many" / "00010.png", indexed / "many" / "sea" / "a copy.png")
    shutil.copy(indexed / "many" / "town" / "00006.png", indexed / "many" / "zoo.png")
    (indexed / "many" / "broken.png").write_bytes(b"no picture at all")
    (indexed / "many" / "town" / "broken too.jpg").write_bytes(b"nor this")
    # Times that turn the order of names around: by the files beside the pictures, and by the pictures' own files.
    for number, name in enumerate(sorted(path.name for path in (indexed / "many" / "sea").glob("*.png"))):
        beside = {"photoTakenTime": {"timestamp": str(1_700_000_000 - 7200 * number)}}
        (indexed / "many" / "sea" / f"{name}.supplemental-metadata.json").write_text(json.dumps(beside))
    for number, path in enumerate(sorted((indexed / "many" / "town").glob("*.png"))):
        os.utime(path, (0, 1_600_000_000 - 9000 * number))
    return indexed


def rows(folder, name="compositions"):
    table = pq.read_table(f"{folder}/{name}")
    wanted = [column for column in table.column_names if column not in ("seconds", "composed_at", "bound_at")]
    return table.select(wanted).sort_by(wanted[0]).to_pylist()


def failures(folder):
    told = open_output(folder).failures.read(["stage", "id", "uri", "reason", "message"])
    return sorted(tuple(row.values()) for row in told)


def counts(folder):
    found = open_output(folder).run.read()["counts"]
    return {name: found[name] for name in ("places", "pictures", "composed", "skipped", "failed", "failed_in_stage")}


def compose(output, *more, album=False):
    return main([*COMPOSE, "--output", output, "--max_failures", "2", *(["--album"] if album else []), *more])


def in_one_slice(output, album):
    assert compose(output, album=album) == 3


def in_small_slices(output, album):
    assert compose(output, "--slice_size", "2", album=album) == 3


def as_one_pipeline(output, album):
    assert compose(output, "--runner=FnApiRunner", album=album) == 3


def in_parts(output, album):
    codes = [compose(output, "--slice", f"{part}/3", "--slice_size", "2", album=album) for part in (2, 3, 1)]
    assert 3 in codes and set(codes) <= {0, 3}
    assert main(["finish", output]) == 3
    assert not open_output(output).slice_run(1, 3).exists()


def on_two_workers(output, album):
    assert compose(output, "--workers", "2", "--slice_size", "2", album=album) == 3


WAYS = [in_small_slices, as_one_pipeline, in_parts, pytest.param(on_two_workers, marks=pytest.mark.process)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("album", [False, True])
def test_rows_failures_albums_and_counts_are_the_same(many, way, album):
    in_one_slice("whole", album)
    way("other", album)
    assert rows("other") == rows("whole")
    assert len(rows("whole")) == 12
    assert failures("other") == failures("whole")
    assert counts("other") == counts("whole")
    if album:
        albums = rows("whole", "albums")
        assert rows("other", "albums") == albums
        told = {row["album"]: row["taken_at"] for row in albums}
        assert all(told[album] == sorted(told[album]) for album in ("many/sea", "many/town"))
