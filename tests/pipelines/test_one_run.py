"""One output, one run at a time; who only reads does not mind."""

import json
import os
import platform
import signal

import pyarrow.parquet as pq
import pytest
from job_processes import noise_pictures, start, wait_for

from image2music.errors import OutputError
from image2music.storage.datasets import RunFile
from image2music.storage.locks import file_lock
from image2music.storage.output import open_output
from pipelines.cli.main import main

pytestmark = pytest.mark.process

COMPOSE = ["compose", "--images", "many", "--index", "tunes.lance", "--output", "out", "--composer"]
PICTURES = 5


@pytest.fixture
def running(indexed):
    """A run that goes on from one row and needs a while; PICTURES pictures in `many`."""
    noise_pictures(indexed / "many", 1)
    main([*COMPOSE, "fake"])
    noise_pictures(indexed / "many", PICTURES)
    job = start([*COMPOSE, "fake:60"], indexed)
    wait_for(lambda: json.loads((indexed / "out" / "run.json").read_text())["state"] == "running")
    yield job
    job.kill()
    job.communicate()


def test_a_second_run_is_refused_readers_are_not_and_a_kill_leaves_no_lock(running, indexed, capsys):
    capsys.readouterr()
    assert main([*COMPOSE, "fake"]) == 1
    assert capsys.readouterr().err == "image2music: another run is writing out; wait until it has ended\n"
    for reading in (
        ["status", "out"],
        ["report", "--input", "out", "--output", "page"],
        ["export", "--input", "out", "--output", "files", "--formats", "abc"],
        ["score", "--input", "out"],
    ):
        assert main(reading) == 0, reading
    assert running.poll() is None
    assert json.loads((indexed / "out" / "run.json").read_text())["state"] == "running"

    running.send_signal(signal.SIGKILL)
    running.wait()
    assert main([*COMPOSE, "fake"]) == 0
    assert pq.read_table(indexed / "out" / "compositions").num_rows == PICTURES


@pytest.mark.parametrize("command", [["compose"], ["compose", "--refresh"], ["ablate"]], ids=" ".join)
def test_whatever_writes_rows_takes_the_lock(indexed, command, capsys):
    options = ["--images", "pictures", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]
    assert main(["compose", *options]) == 0
    capsys.readouterr()
    with open_output("out").lock():
        assert main([*command, *options]) == 1
    assert capsys.readouterr().err == "image2music: another run is writing out; wait until it has ended\n"


def test_a_place_without_locks_is_named(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with pytest.raises(OutputError, match="No locks available; put out on a disk with file locks") as caught:
        file_lock("out", tmp_path / "lock").__enter__()
    assert caught.value.reason == "no_lock"


def test_the_record_of_a_run_that_goes_on_is_not_closed_by_another(tmp_path):
    path = tmp_path / "run.json"
    process = {"host": platform.node(), "pid": os.getpid()}
    path.write_text(json.dumps({"state": "running", "message": "", "finished_at": None, "process": process}))
    RunFile(str(path)).close("failed", "the other one was killed")
    assert json.loads(path.read_text())["state"] == "running"
