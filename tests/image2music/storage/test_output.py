import contextlib
import os
import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.rows import KEY_COLUMNS, composition_key, failure_row, now, retried
from image2music.storage.output import FAILURE_ID_COLUMNS, open_output
from image2music.types import Failure
from schemas.failure import FAILURE_SCHEMA

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("settings_hash", pa.string()),
        ("seed", pa.int64()),
        ("composed_at", pa.timestamp("us", tz="UTC")),
    ]
)


@pytest.fixture
def output(tmp_path):
    return open_output(tmp_path)


def compose(output, ids, settings="now", seed=0):
    rows = [{"image_id": id, "settings_hash": settings, "seed": seed, "composed_at": now()} for id in ids]
    return output.compositions.append(rows, SCHEMA, ("image_id",))


def finished(output):
    return output.finished(KEY_COLUMNS, composition_key)


def drop_repeated(output):
    return output.drop_repeated(KEY_COLUMNS, composition_key)


def ids_in(output):
    return sorted(row["image_id"] for row in output.compositions.read(["image_id"]))


def fail(output, *uris):
    output.failures.add([failure_row(Failure("describe", uri, uri, "bad", "bad"), now()) for uri in uris])


def test_pictures_with_a_row_are_finished(output):
    compose(output, ["aa", "bb"])
    assert finished(output) == {b"\xaa", b"\xbb"}


def test_an_empty_output_has_nothing_finished(output):
    assert finished(output) == frozenset()


def test_rows_are_counted_by_their_settings(output):
    compose(output, ["aa"], "before")
    compose(output, ["bb", "cc"])
    assert list(output.rows_by_settings().items()) == [("now", 2), ("before", 1)]


def test_albums_and_books_go_with_the_rows_that_they_are_made_of(tmp_path, output):
    compose(output, ["aa"], "before")
    staged = output.begin_albums()
    staged.albums.append([{"album": "sea"}], pa.schema([("album", pa.string())]), ("album",))
    staged.write("books/sea/album.abc", b"X:1")
    output.publish_albums()
    output.retire("now")
    assert sorted(path.name for path in (tmp_path / "generations" / "before").iterdir()) == [
        "albums",
        "books",
        "compositions",
    ]
    assert not (tmp_path / "books").exists()


def test_an_earlier_generation_is_moved_and_not_lost(tmp_path, output):
    for settings in ("before", "between", "before"):
        compose(output, ["aa"], settings)
        output.retire("now")
    homes = sorted(path.name for path in (tmp_path / "generations").iterdir())
    assert homes == ["before", "before-2", "between"]
    assert not (tmp_path / "compositions").exists()


def test_rows_of_the_same_settings_stay(output):
    compose(output, ["aa"])
    assert output.retire("now") is None
    assert output.compositions.count() == 1


def test_failures_of_pictures_that_are_tried_again_are_forgotten(output):
    fail(output, "a.jpg", "b.jpg", "set.tar#")
    again = retried(["a.jpg", "set.tar#c.jpg"])
    output.failures.forget(lambda row: row["uri"] in again)
    assert [row["uri"] for row in output.failures.read(["uri"])] == ["b.jpg"]


def test_a_picture_in_two_shards_keeps_one_row(output):
    compose(output, ["aa", "bb"])
    compose(output, ["bb", "cc"])
    assert drop_repeated(output) == {"aa", "bb", "cc"}
    assert ids_in(output) == ["aa", "bb", "cc"]


def test_the_newest_row_of_a_picture_stays(output):
    compose(output, ["bb", "cc"])
    newest = compose(output, ["aa", "bb"])
    (expected,) = pq.read_table(newest).column("composed_at").unique().to_pylist()[-1:]
    drop_repeated(output)
    rows = output.compositions.read(["image_id", "composed_at"])
    assert [row["composed_at"] for row in rows if row["image_id"] == "bb"] == [expected]


def test_a_shortened_shard_does_not_take_the_name_of_an_older_one(output):
    for first, second in (("aa", "bb"), ("cc", "dd"), ("ee", "ff")):  # shards are gone through by the hash of their ids
        compose(output, [second])
        compose(output, [first, second])
        compose(output, [first])
    drop_repeated(output)
    assert ids_in(output) == ["aa", "bb", "cc", "dd", "ee", "ff"]


class Killed(BaseException):
    """What ends a process at once; nobody catches it."""


def killed_at(step, patch):
    """Let the step-th call that renames or removes a file end the process, as far as the disk can tell."""
    steps = iter(range(1, 1000))

    def counted(call):
        def deadly(*args, **kwargs):
            if next(steps) >= step:
                raise Killed
            return call(*args, **kwargs)

        return deadly

    for name in ("replace", "unlink"):
        patch.setattr(f"os.{name}", counted(getattr(os, name)))
        patch.setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))


@pytest.mark.parametrize("step", range(1, 9))
def test_a_kill_while_failures_are_forgotten_doubles_and_loses_none(output, monkeypatch, step):
    for uri in ("a.jpg", "b.jpg", "c.jpg"):
        fail(output, uri)
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        killed_at(step, patch)
        output.failures.forget(lambda row: row["uri"] == "a.jpg")
    left = sorted(row["uri"] for row in output.failures.read(["uri"]))
    assert left in (["a.jpg", "b.jpg", "c.jpg"], ["b.jpg", "c.jpg"])
    assert output.failures.count() == len(left)
    with output.lock():
        assert sorted(row["uri"] for row in output.failures.read(["uri"])) == left
        fail(output, "a.jpg")  # it fails again, in a shard of the same name
    assert {row["uri"] for row in output.failures.read(["uri"])} == {"a.jpg", "b.jpg", "c.jpg"}


@pytest.mark.parametrize("step", range(1, 9))
def test_a_kill_while_repeated_rows_are_dropped_loses_none(output, monkeypatch, step):
    compose(output, ["aa", "bb"])
    compose(output, ["bb", "cc"])
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        killed_at(step, patch)
        drop_repeated(output)
    assert set(ids_in(output)) == {"aa", "bb", "cc"}
    with output.lock():
        drop_repeated(output)
    assert ids_in(output) == ["aa", "bb", "cc"]
    assert len(list(pathlib.Path(output.compositions.uri).glob("part-*"))) == 2


def seeds_in(output):
    rows = output.compositions.read(["image_id", "seed"])
    return sorted((row["image_id"], row["seed"]) for row in rows)


@pytest.mark.parametrize("step", range(1, 31))
def test_a_kill_while_further_takes_are_put_in_place_loses_and_doubles_none(output, monkeypatch, step):
    compose(output, ["aa", "bb"], seed=0)
    compose(output, ["cc"], seed=0)
    compose(output, ["dd"], seed=0)
    before = seeds_in(output)
    compose(output.begin_generation(1, "takes"), ["bb", "cc"], seed=1)
    wanted = [("aa", 0), ("bb", 1), ("cc", 1), ("dd", 0)]
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        killed_at(step, patch)
        output.complete_takes()
    assert seeds_in(output) in (before, wanted)
    with output.lock():
        output.finish_generation()
        if seeds_in(output) == before:  # killed before they were said to be whole: the next run makes the same ones
            compose(output.begin_generation(1, "takes"), ["bb", "cc"], seed=1)
            output.complete_takes()
    assert seeds_in(output) == wanted
    (earlier,) = pathlib.Path(output.generations).iterdir()
    assert seeds_in(open_output(earlier)) == [("bb", 0), ("cc", 0)]
    assert not pathlib.Path(output.uri, ".refresh").exists()


def test_what_a_stopped_run_made_for_other_takes_is_not_taken_over(output):
    compose(output.begin_generation(2, "these"), ["aa"])
    assert ids_in(output.begin_generation(2, "these")) == ["aa"]
    assert ids_in(output.begin_generation(2, "those")) == []


def test_further_takes_are_counted_by_the_seed_that_their_settings_name(output):
    compose(output, ["aa"], seed=7, settings="s")
    compose(output, ["bb", "cc"], seed=8, settings="s")
    compose(output, ["dd"], seed=3, settings="other")
    assert output.further_takes() == 2
    output.run.replace({"settings_hash": "s", "options": {"seed": 8}})
    assert output.further_takes() == 1


def test_failures_that_an_earlier_release_left_twice_are_there_once_after_the_next_run(output):
    fail(output, "a.jpg")
    (shard,) = output.failures.shards()
    shutil.copy(shard, shard.replace("part-", "part-0"))
    output.failures.forget(lambda row: False)
    assert output.failures.count() == 1


def test_a_new_generation_takes_the_place_of_the_earlier_one(output):
    compose(output, ["aa", "bb"])
    staged = output.begin_generation(2)
    compose(staged, ["aa"])
    staged.kept.append([{"image_id": "bb"}], SCHEMA, ("image_id",))
    earlier = open_output(output.complete_generation(1))
    assert (ids_in(output), ids_in(earlier)) == (["aa", "bb"], ["aa", "bb"])
    assert earlier.uri.endswith("generations/index-1")


def test_what_a_stopped_run_composed_from_another_version_is_not_taken_over(output):
    compose(output.begin_generation(2), ["aa"])
    assert ids_in(output.begin_generation(2)) == ["aa"]
    assert ids_in(output.begin_generation(3)) == []


@pytest.fixture
def few_are_many(monkeypatch):
    """Let shards be made larger where there are more than three, in rounds of four at least."""
    monkeypatch.setattr("image2music.storage.datasets.MANY_SHARDS", 3)
    monkeypatch.setattr("image2music.storage.datasets._SHARDS_A_ROUND", 4)


def rows_in(dataset):
    """All rows in the order in which readers see them, one shard after the other."""
    return [row for _, table in dataset.tables() for row in table.to_pylist()]


def compose_in_slices(output, count):
    """One shard for each of so many slices."""
    for number in range(count):
        rows = [{"image_id": f"{number:02x}{more:02x}", "seed": number} for more in range(2)]
        output.compositions.append(rows, SCHEMA, ("image_id",), of=f"{number * 7919 % 100:016x}")


@pytest.mark.usefixtures("few_are_many")
class TestLargerShards:
    def test_rows_stay_as_they_are_and_in_their_order(self, output):
        compose_in_slices(output, 11)
        fail(output, "a.jpg")
        fail(output, "b.jpg")
        before = rows_in(output.compositions)
        output.compact()
        assert rows_in(output.compositions) == before
        assert len(output.compositions.shards()) == 1
        assert len(output.failures.shards()) == 2, "there are few of them"
        assert len(list(pathlib.Path(output.compositions.uri).iterdir())) == 1

    def test_they_are_bounded_in_bytes_and_large_ones_stay_where_they_are(self, output, monkeypatch):
        compose_in_slices(output, 11)
        sizes = [os.path.getsize(shard) for shard in output.compositions.shards()]
        monkeypatch.setattr("image2music.storage.datasets.LARGE_SHARD", 3 * max(sizes))
        before = rows_in(output.compositions)
        output.compact()
        large = output.compositions.shards()
        assert len(large) == 4
        assert all(pq.ParquetFile(shard).metadata.num_rows <= 6 for shard in large)
        monkeypatch.setattr("image2music.storage.datasets.LARGE_SHARD", 2 * min(map(os.path.getsize, large)))
        output.compact()
        assert output.compositions.shards() == large
        assert rows_in(output.compositions) == before

    def test_rows_with_other_columns_keep_their_own(self, output):
        compose_in_slices(output, 5)
        wider = SCHEMA.append(pa.field("mood", pa.string()))
        for number in range(5):
            row = {"image_id": f"ff{number:02x}", "mood": "calm"}
            output.compositions.append([row], wider, ("image_id",), of=f"{number * 13:016x}")
        before = sorted(rows_in(output.compositions), key=str)
        output.compact()
        assert sorted(rows_in(output.compositions), key=str) == before
        assert len(output.compositions.shards()) == 2

    def test_what_a_slice_wrote_is_no_longer_told_apart(self, output):
        compose_in_slices(output, 5)
        output.compact()
        assert output.compositions.shards(of=f"{0:016x}") == []
        assert set(output.compositions.shards_by_slice()) == {""}
        assert len(finished(output)) == 10

    def test_failures_of_one_slice_can_go_without_those_of_others(self, output):
        for number in range(5):
            rows = [failure_row(Failure("describe", f"{number}", f"{number}.jpg", "bad", "bad"), now())]
            output.failures.append(rows, FAILURE_SCHEMA, FAILURE_ID_COLUMNS, of=f"{number:016x}")
        output.compact()
        output.failures.discard(output.failures.shards(f"{3:016x}"))
        assert output.failures.count() == 5
        output.failures.forget(lambda row: row["id"] == "3")
        assert sorted(row["id"] for row in output.failures.read(["id"])) == ["0", "1", "2", "4"]

    def test_rows_that_come_later_are_added_and_the_newest_of_a_picture_stays(self, output):
        for ids in (["aa"], ["bb"], ["cc"], ["dd"]):
            compose(output, ids)
        output.compact()
        compose(output, ["bb", "ee"], seed=5)
        assert drop_repeated(output) == {"aa", "bb", "cc", "dd", "ee"}
        assert seeds_in(output) == [("aa", 0), ("bb", 5), ("cc", 0), ("dd", 0), ("ee", 5)]

    def test_a_further_take_replaces_a_row_inside_of_a_larger_shard(self, output):
        for ids in (["aa"], ["bb"], ["cc"], ["dd"]):
            compose(output, ids)
        output.compact()
        compose(output.begin_generation(1, "takes"), ["bb"], seed=1)
        earlier = open_output(output.complete_takes())
        assert seeds_in(output) == [("aa", 0), ("bb", 1), ("cc", 0), ("dd", 0)]
        assert seeds_in(earlier) == [("bb", 0)]

    def test_a_shard_that_cannot_be_read_leaves_all_as_they_are(self, output):
        compose_in_slices(output, 5)
        shards = output.compositions.shards()
        pathlib.Path(shards[2]).write_bytes(b"no table")
        with pytest.raises(pa.ArrowInvalid):
            output.compact()
        assert output.compositions.shards() == shards

    @pytest.mark.parametrize("step", range(1, 26))
    def test_a_kill_loses_and_doubles_none(self, output, monkeypatch, step):
        compose_in_slices(output, 9)
        before = seeds_in(output)
        with monkeypatch.context() as patch:
            patch.setattr(
                "image2music.storage.datasets.LARGE_SHARD", 3 * os.path.getsize(output.compositions.shards()[0])
            )
            with contextlib.suppress(Killed):
                killed_at(step, patch)
                output.compact()
        assert seeds_in(output) == before
        assert output.compositions.count() == len(before)
        with output.lock():
            assert seeds_in(output) == before
            output.compact()
        assert seeds_in(output) == before
        assert len(list(pathlib.Path(output.compositions.uri).glob("part-*"))) == len(output.compositions.shards()) <= 3
