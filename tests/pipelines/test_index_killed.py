"""The same table whatever happens on the way: killed jobs and workers, one worker or two, slices of any size."""

import json
import os
import signal
from dataclasses import replace

import lance
import pyarrow.parquet as pq
import pytest
from fakes import two_voice_tune
from job_processes import children, start, wait_for

from benchmarks.same_table import compare_tables
from image2music.abc.playback import abc_to_midi
from image2music.errors import ConfigError
from image2music.index.maintenance import history
from image2music.index.table import index_schema
from image2music.types import CaptionedMidi
from pipelines.cli.main import main
from pipelines.jobs.tunes import IdentifySources, MakeTunes, tunes_a_slice
from pipelines.options.index import IndexOptions
from pipelines.runtime.slices import Slice
from transforms.deadlines import NO_LIMIT

pytestmark = pytest.mark.process

TUNES = 40
INDEX = ["index", "--captions", "captions.json", "--midi_root", "midi", "--embedder", "fake"]


@pytest.fixture
def undisturbed(world):
    """A folder with captions of 40 tunes and one that is a copy, and the table that they make in one quiet run."""
    lines = []
    for seed in range(TUNES):
        (world / "midi" / f"{seed}.mid").write_bytes(abc_to_midi(two_voice_tune(seed)))
        lines.append({"location": f"{seed}.mid", "caption": f"tune {seed}"})
    (world / "midi" / "copy.mid").write_bytes(abc_to_midi(two_voice_tune(7)))
    lines.append({"location": "copy.mid", "caption": "the seventh again"})
    (world / "captions.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main([*INDEX, "--index", "undisturbed.lance"]) == 3
    return world


def is_written(table):
    """The rows are on disk, and no version names them yet."""
    return [*(table / "data").glob("*")]


def is_committed(table):
    """There is a version, and neither a search structure nor a tag."""
    return [*(table / "_versions").glob("*")]


@pytest.mark.parametrize("moment", [is_written, is_committed])
def test_a_killed_build_that_is_run_again_makes_the_table_of_an_undisturbed_one(undisturbed, moment):
    table = undisturbed / "killed.lance"
    job = start([*INDEX, "--index", "killed.lance"], undisturbed)
    wait_for(lambda: moment(table))
    os.kill(job.pid, signal.SIGKILL)
    job.communicate()
    assert main([*INDEX, "--index", "killed.lance"]) == 3
    found = compare_tables(undisturbed / "undisturbed.lance", table)
    assert found.same
    assert found.rows == TUNES
    assert history(str(table))[-1].tags


def content(table):
    """All rows in their order, but for the vectors' last bits."""
    return lance.dataset(str(table)).to_table(columns=["tune_id", "row_hash", "abc"]).to_pylist()


@pytest.mark.parametrize("how", [["--slice_size", "1"], ["--slice_size", "7"], ["--runner=FnApiRunner"]])
def test_slices_of_any_size_make_the_table_of_one_pipeline(undisturbed, how):
    assert main([*INDEX, "--index", "cut.lance", *how]) == 3
    assert compare_tables(undisturbed / "undisturbed.lance", undisturbed / "cut.lance").same
    if "--slice_size" in how:
        assert content("cut.lance") == content("undisturbed.lance")
    assert_same_failures("cut.lance", "undisturbed.lance")


def assert_same_failures(one, other):
    tables = [pq.read_table(f"{table}.failures").drop_columns(["failed_at"]) for table in (one, other)]
    first, second = (sorted(table.to_pylist(), key=str) for table in tables)
    assert first == second


def test_two_workers_make_the_table_of_one_although_one_of_them_is_killed(undisturbed):
    job = start([*INDEX, "--index", "two.lance", "--workers", "2", "--slice_size", "2"], undisturbed)
    wait_for(lambda: is_written(undisturbed / "two.lance"))
    os.kill(children(job.pid, "multiprocessing.spawn")[-1], signal.SIGKILL)
    told, _ = job.communicate(timeout=200)
    assert job.returncode == 3, told
    found = compare_tables(undisturbed / "undisturbed.lance", undisturbed / "two.lance")
    assert found == replace(found, rows=TUNES, repeated_ids=0, only_in_one=0, other_abc=0, other_columns=0)
    assert found.vector_difference <= 1e-5
    assert content(undisturbed / "two.lance") == content(undisturbed / "undisturbed.lance")
    assert_same_failures("two.lance", "undisturbed.lance")


def test_an_update_by_two_workers_makes_the_table_of_a_full_build(undisturbed):
    lines = (undisturbed / "captions.json").read_text().splitlines(keepends=True)
    (undisturbed / "captions.json").write_text("".join([*lines[5:], '{"location": "0.mid", "caption": "anew"}\n']))
    main([*INDEX, "--index", "full.lance"])
    command = [*INDEX, "--index", "undisturbed.lance", "--update", "--workers", "2", "--slice_size", "1"]
    job = start(command, undisturbed)
    told, _ = job.communicate(timeout=200)
    assert job.returncode == 3, told
    assert compare_tables(undisturbed / "full.lance", undisturbed / "undisturbed.lance").same


def test_a_worker_with_another_embedder_is_refused(undisturbed):
    work = make_work(undisturbed, embedder_id="another@1")
    with pytest.raises(ConfigError, match=r"it has the embedder fake-embedder@1, not another@1"):
        work.check()
    make_work(undisturbed, embedder_id="fake-embedder@1").check()


def test_a_tune_that_ends_every_worker_becomes_a_failure_and_the_others_are_there(undisturbed):
    lines = [{"location": f"{seed}.mid", "caption": "poison" if seed == 1 else "a tune"} for seed in range(3)]
    (undisturbed / "captions.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [*INDEX, "--index", "deadly.lance", "--workers", "2", "--slice_size", "1", "--embedder", "fake:deadly"]
    job = start(command, undisturbed)
    told, _ = job.communicate(timeout=250)
    assert job.returncode == 3, told
    rows = lance.dataset("deadly.lance").to_table(columns=["location"])["location"].to_pylist()
    assert rows == ["0.mid", "2.mid"]
    (failure,) = pq.read_table("deadly.lance.failures").to_pylist()
    assert (failure["uri"], failure["stage"], failure["reason"]) == ("1.mid", "convert", "worker_killed")


def test_what_is_given_up_is_a_failure_of_its_stage(undisturbed):
    tune = ("ab12", CaptionedMidi("poison.mid", "a tune", (), ()))
    result = make_work(undisturbed, "fake-embedder@1").give_up(Slice(("ab12",), (tune,)))
    (failure,) = result.value.failures
    assert (failure.stage, failure.id, failure.uri, failure.reason) == (
        "convert",
        "ab12",
        "poison.mid",
        "worker_killed",
    )
    assert result.counters["convert.failed"] == 1
    line = IdentifySources("midi").give_up(Slice(("poison.mid",), ((tune[1], {}, {}),)))
    assert [failure.stage for failure in line.value.failures] == ["identify"]


def make_work(home, embedder_id):
    schema = index_schema(8, embedder_id=embedder_id, embedder_spec="fake")
    return MakeTunes(str(home / "midi"), "x.lance", "overwrite", schema, "fake", embedder_id, 8, NO_LIMIT)


def test_a_small_job_is_cut_for_many_and_a_large_one_into_no_more_than_can_be_committed_at_once():
    known = {"captions": "c", "midi_root": "m", "index": "i.lance"}
    alone, two = IndexOptions(**known), IndexOptions(**known, workers=2)
    assert [tunes_a_slice(tunes, alone) for tunes in (10, 20_000)] == [1024, 1024]
    assert [tunes_a_slice(tunes, two) for tunes in (10, 20_000, 200_000)] == [64, 625, 1024]
    assert tunes_a_slice(100_000_000, two) == 2000
    assert tunes_a_slice(20_000, IndexOptions(**known, slice_size=5)) == 5


def test_an_index_is_no_array_job(undisturbed, capsys):
    assert main([*INDEX, "--index", "parts.lance", "--slice", "1/4"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "--slice is for compose" in line


def test_tables_that_differ_are_told_apart(undisturbed):
    lines = (undisturbed / "captions.json").read_text().splitlines(keepends=True)
    (undisturbed / "captions.json").write_text("".join([*lines[1:], lines[0].replace("tune 0", "another")][1:]))
    main([*INDEX, "--index", "other.lance"])
    found = compare_tables(undisturbed / "undisturbed.lance", undisturbed / "other.lance")
    assert not found.same
    assert (found.only_in_one, found.other_abc, found.other_columns) == (1, 0, 1)
    assert found.vector_difference > 0.01
