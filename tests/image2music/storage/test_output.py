import contextlib
import os
import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.rows import KEY_COLUMNS, composition_key, failure_row, now, retried
from image2music.storage.output import open_output
from image2music.types import Failure

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
    assert drop_repeated(output) == 1
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
