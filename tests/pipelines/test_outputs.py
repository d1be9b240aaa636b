import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.errors import OutputError
from image2music.rows import failure_row, now
from image2music.storage.datasets import (
    FAILURE_ID_COLUMNS,
    count_rows,
    drop_repeated,
    finished_ids,
    forget_failures,
    read_rows,
    retire_generation,
    write_shard,
)
from image2music.types import Failure
from schemas.failure import FAILURE_SCHEMA

SCHEMA = pa.schema(
    [("image_id", pa.string()), ("settings_hash", pa.string()), ("composed_at", pa.timestamp("us", tz="UTC"))]
)


def compositions(output, ids, settings):
    rows = [{"image_id": id, "settings_hash": settings, "composed_at": now()} for id in ids]
    write_shard(str(output / "compositions"), rows, SCHEMA, ("image_id", "settings_hash"))


def test_pictures_with_a_row_are_finished(tmp_path):
    compositions(tmp_path, ["aa", "bb"], "now")
    assert finished_ids(tmp_path, "now") == {b"\xaa", b"\xbb"}


def test_an_empty_output_has_nothing_finished(tmp_path):
    assert finished_ids(tmp_path, "now") == frozenset()


def test_rows_of_other_settings_are_not_mixed_with_new_ones(tmp_path):
    compositions(tmp_path, ["aa"], "before")
    with pytest.raises(OutputError, match="--overwrite"):
        finished_ids(tmp_path, "now")


def test_albums_and_books_go_with_the_rows_that_they_are_made_of(tmp_path):
    compositions(tmp_path, ["aa"], "before")
    for name in ("albums", "books"):
        (tmp_path / name).mkdir()
    home = retire_generation(tmp_path, "now")
    assert sorted(path.name for path in home.iterdir()) == ["albums", "books", "compositions"]
    assert not (tmp_path / "books").exists()


def test_an_earlier_generation_is_moved_and_not_lost(tmp_path):
    for settings in ("before", "between", "before"):
        compositions(tmp_path, ["aa"], settings)
        retire_generation(tmp_path, "now")
    homes = sorted(path.name for path in (tmp_path / "generations").iterdir())
    assert homes == ["before", "before-2", "between"]
    assert not (tmp_path / "compositions").exists()


def test_rows_of_the_same_settings_stay(tmp_path):
    compositions(tmp_path, ["aa"], "now")
    assert retire_generation(tmp_path, "now") is None
    assert count_rows(tmp_path / "compositions") == 1


def test_failures_of_pictures_that_are_tried_again_are_forgotten(tmp_path):
    rows = [failure_row(Failure("describe", uri, uri, "bad", "bad"), now()) for uri in ("a.jpg", "b.jpg")]
    write_shard(str(tmp_path), rows, FAILURE_SCHEMA, FAILURE_ID_COLUMNS)
    forget_failures(tmp_path, ["a.jpg"])
    assert [row["uri"] for row in read_rows(tmp_path, ["uri"])] == ["b.jpg"]


def test_a_picture_in_two_shards_keeps_one_row(tmp_path):
    compositions(tmp_path, ["aa", "bb"], "now")
    compositions(tmp_path, ["bb", "cc"], "now")
    assert drop_repeated(tmp_path) == 1
    assert sorted(pq.read_table(tmp_path / "compositions").column("image_id").to_pylist()) == ["aa", "bb", "cc"]


def test_the_newest_row_of_a_picture_stays(tmp_path):
    compositions(tmp_path, ["bb", "cc"], "now")
    compositions(tmp_path, ["aa", "bb"], "now")
    newest = max(row["composed_at"] for row in read_rows(tmp_path / "compositions", ["composed_at"]))
    drop_repeated(tmp_path)
    rows = read_rows(tmp_path / "compositions", ["image_id", "composed_at"])
    assert [row["composed_at"] for row in rows if row["image_id"] == "bb"] == [newest]
