"""Jobs of very many rows: larger shards at their end, and every later command on what they leave.

More than two shards are many here.
"""

import shutil
from collections import Counter

import pytest
from job_processes import noise_pictures

from image2music.storage import datasets
from image2music.storage.datasets import is_gone, this_process
from image2music.storage.files import LocalPlace, open_place
from image2music.storage.output import open_output
from pipelines.cli.main import main

COMPOSE = ["compose", "--images", "many", "--index", "tunes.lance", "--composer", "fake", "--max_failures", "5"]
IN_SLICES = [*COMPOSE, "--output", "out", "--slice_size", "2"]


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    monkeypatch.setattr("image2music.storage.datasets.MANY_SHARDS", 2)


@pytest.fixture
def many(indexed):
    """Eight pictures, and four files that are no pictures."""
    noise_pictures(indexed / "many", 8)
    for number in range(4):
        (indexed / "many" / f"broken {number}.png").write_bytes(b"no picture at all, %d" % number)
    return indexed


def rows_of(output):
    """All rows but for what no two runs share, by image_id."""
    found = (row for _, table in open_output(output).compositions.tables() for row in table.to_pylist())
    kept = [{name: value for name, value in row.items() if name not in ("seconds", "composed_at")} for row in found]
    return sorted(kept, key=lambda row: row["image_id"])


def counts(output):
    found = open_output(output).run.read()["counts"]
    return found["composed"], found["skipped"], found["failed"]


@pytest.fixture
def composed(many):
    """An output whose four shards of rows have become one."""
    assert main(IN_SLICES) == 3
    assert len(open_output("out").compositions.shards()) == 1
    return many


def test_rows_are_those_of_small_shards(composed, monkeypatch):
    monkeypatch.setattr("image2music.storage.datasets.MANY_SHARDS", 1000)
    assert main([*COMPOSE, "--output", "small", "--slice_size", "2"]) == 3
    assert len(open_output("small").compositions.shards()) == 4
    assert rows_of("out") == rows_of("small")
    assert counts("out") == counts("small") == (8, 0, 4)


def test_the_end_of_a_job_reads_each_shard_twice(many, monkeypatch):
    opened, read = Counter(), Counter()

    def counted(call, counter):
        def counting(shard, *more):
            counter.update([str(shard)])
            return call(shard, *more)

        return counting

    monkeypatch.setattr(datasets, "_opened", counted(datasets._opened, opened))
    monkeypatch.setattr(LocalPlace, "read", counted(LocalPlace.read, read))
    assert main(IN_SLICES) == 3
    small = [shard for shard in opened if "/compositions/" in shard and not open_place(shard).exists()]
    assert len(small) == 4
    assert {opened[shard] + read[shard] for shard in small} == {2}


def test_a_rerun_composes_what_is_new_and_tries_failures_again(composed):
    before = rows_of("out")
    assert main(IN_SLICES) == 3
    assert counts("out") == (0, 8, 4)
    shutil.copy("pictures/red.png", "many/broken 0.png")
    assert main(IN_SLICES) == 3
    assert counts("out") == (1, 8, 3)
    assert open_output("out").failures.count() == 3
    assert [row for row in rows_of("out") if row in before] == before


def test_a_refresh_renews_rows_inside_of_larger_shards(composed):
    captions = composed / "captions.json"
    lines = captions.read_text().splitlines()
    captions.write_text("\n".join(line for line in lines if "red" not in line))
    assert (
        main(["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--update"]) == 0
    )
    assert main([*IN_SLICES, "--refresh"]) == 0
    after = rows_of("out")
    assert len(after) == 8
    assert {row["index_version"] for row in after} != {1}
    assert not any(reference["location"] == "red.mid" for row in after for reference in row["references"])


def test_another_take_of_one_row_leaves_all_others(composed):
    first, *others = rows_of("out")
    assert main([*IN_SLICES, "--again", "--ids", first["image_id"]]) == 0
    after = rows_of("out")
    assert (after[0]["seed"], after[1:]) == (first["seed"] + 1, others)


def test_export_and_report_show_every_row(composed):
    assert main(["export", "--input", "out", "--output", "files"]) == 0
    assert len(list((composed / "files").glob("*.mid"))) == 8
    assert main(["report", "--input", "out", "--output", "pages"]) == 0
    assert len(list((composed / "pages" / "pictures").glob("*.html"))) == 8


def test_parts_of_an_array_job_keep_their_shards_until_all_are_joined(many, capsys):
    for part in (1, 2):
        assert main([*IN_SLICES, "--slice", f"{part}/2"]) in (0, 3)
    assert len(open_output("out").compositions.shards()) == 4
    assert main(["finish", "out"]) == 3
    assert len(open_output("out").compositions.shards()) == 1
    assert len(open_output("out").failures.shards()) <= 2
    assert main([*IN_SLICES, "--slice", "1/2"]) == 3
    assert main([*IN_SLICES, "--slice", "2/2"]) in (0, 3)
    assert main(["finish", "out"]) == 3
    assert counts("out") == (0, 8, 4)
    assert open_output("out").failures.count() == 4


def test_a_disk_that_is_full_leaves_small_shards_and_says_so(many, monkeypatch, capsys):
    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("image2music.storage.datasets.Dataset.compact", full)
    assert main(IN_SLICES) == 3
    assert "stay as small as they are" in capsys.readouterr().err
    assert open_output("out").run.read()["state"] == "done"


def status_of(output, capsys):
    capsys.readouterr()
    assert main(["status", output]) == 0
    return dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())


def test_status_tells_the_parts_of_an_array_job(many, capsys):
    assert main([*IN_SLICES, "--slice", "2/6"]) in (0, 3)
    output = open_output("out")
    record = output.slice_run(2, 6).read()
    output.slice_run(3, 6).replace(record | {"state": "running", "process": this_process()})
    gone = this_process() | {"pid": 4_000_000}
    assert is_gone(gone)
    output.slice_run(5, 6).replace(record | {"state": "running", "process": gone})
    found = {name: value.strip() for name, value in status_of("out", capsys).items()}
    assert found["array job"].startswith("1 of 6 parts are done; when all are: image2music finish ")
    assert (found["parts done"], found["parts at work"], found["parts killed"]) == ("2", "3", "5")
    assert found["parts not begun"] == "1, 4, 6"
    assert found["rows now"] == str(output.compositions.count())
    assert main(["finish", "out"]) == 1
    assert "state" in status_of("out", capsys)
