"""The same table whatever happens on the way: killed jobs, one worker or two."""

import json
import os
import signal
from dataclasses import replace

import pytest
from fakes import two_voice_tune
from job_processes import start, wait_for

from benchmarks.same_table import compare_tables
from image2music.abc.playback import abc_to_midi
from image2music.index.maintenance import history
from pipelines.cli.main import main

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


def test_two_workers_make_the_table_of_one(undisturbed):
    job = start([*INDEX, "--index", "two.lance", "--workers", "2"], undisturbed)
    job.communicate(timeout=120)
    found = compare_tables(undisturbed / "undisturbed.lance", undisturbed / "two.lance")
    assert found == replace(found, rows=TUNES, repeated_ids=0, only_in_one=0, other_abc=0, other_columns=0)
    assert found.vector_difference <= 1e-5


def test_tables_that_differ_are_told_apart(undisturbed):
    lines = (undisturbed / "captions.json").read_text().splitlines(keepends=True)
    (undisturbed / "captions.json").write_text("".join([*lines[1:], lines[0].replace("tune 0", "another")][1:]))
    main([*INDEX, "--index", "other.lance"])
    found = compare_tables(undisturbed / "undisturbed.lance", undisturbed / "other.lance")
    assert not found.same
    assert (found.only_in_one, found.other_abc, found.other_columns) == (1, 0, 1)
    assert found.vector_difference > 0.01
