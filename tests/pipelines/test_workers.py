import json
import os
import signal
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from fakes import COMPOSERS, FakeComposer
from job_processes import WORKER, children, noise_pictures, start, wait_for

from pipelines.cli.main import main
from pipelines.jobs.compose import look_up
from pipelines.jobs.options import ComposeOptions
from pipelines.runtime.options import RunnerFlags, worker_flags

COMPOSE = ["compose", "--images", "many", "--index", "tunes.lance"]
PICTURES = 150


def rows(folder):
    table = pq.read_table(f"{folder}/compositions").drop_columns(["seconds", "composed_at", "composer_id"])
    return table.sort_by("image_id").to_pylist()


@pytest.fixture
def many(indexed):
    noise_pictures(indexed / "many", PICTURES)
    return indexed


@pytest.mark.process
def test_a_job_that_loses_a_worker_goes_on_from_what_is_finished(many):
    job = start([*COMPOSE, "--output", "out", "--composer", "fake:0.03", "--workers", "2"], many)
    wait_for(lambda: [*(many / "out" / "compositions").glob("part-*")])
    os.kill(children(job.pid, WORKER)[0], signal.SIGKILL)
    printed, _ = job.communicate(timeout=150)
    assert "the job lost a worker; it starts again from what is finished (1 of 3)" in printed
    assert job.returncode == 0
    assert json.loads((many / "out" / "run.json").read_text())["counts"]["skipped"] >= 64
    main([*COMPOSE, "--output", "undisturbed", "--composer", "fake"])
    assert rows("out") == rows("undisturbed")


def test_a_process_that_only_watches_others_loads_no_model(indexed, monkeypatch):
    monkeypatch.setitem(COMPOSERS, "unloadable", lambda: pytest.fail("it was loaded"))
    known = {"images": "pictures", "index": "tunes.lance", "output": "out", "composer": "fake:unloadable"}
    options = ComposeOptions(**known, workers=2)
    assert look_up(options).settings.composer_id == FakeComposer.id
    with pytest.raises(pytest.fail.Exception, match="it was loaded"):
        look_up(replace(options, workers=1))


def test_workers_is_short_for_beams_own_options():
    assert worker_flags(1) == ()
    assert RunnerFlags.parse(worker_flags(2)).has_own_processes
    assert RunnerFlags.parse(["--direct_running_mode", "multi_processing"]).has_own_processes
    assert not RunnerFlags.parse(["--direct_num_workers=2"]).has_own_processes


def test_workers_are_counted():
    found = [RunnerFlags.parse(flags).processes for flags in ([], worker_flags(3), ["--direct_num_workers=2"])]
    assert found == [1, 3, 1]


def test_less_than_one_worker_is_refused(indexed, capsys):
    assert main([*COMPOSE, "--output", "out", "--workers", "0"]) == 1
    assert "--workers must be 1 or more" in capsys.readouterr().err
