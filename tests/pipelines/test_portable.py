import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PortableOptions
from job_processes import ROOT, environment, wait_for

from image2music.errors import JobError
from pipelines.cli.main import main
from pipelines.runtime.beam_runner import _give_time, run_pipeline
from pipelines.runtime.options import beam_options

pytestmark = pytest.mark.process


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def listens(port):
    with socket.socket() as caller:
        return caller.connect_ex(("localhost", port)) == 0


@pytest.fixture
def worker_pool(tmp_path):
    """Its port. The pool is started as the runbook says: by `make worker-pool`."""
    port = free_port()
    command = ["make", "-s", "worker-pool", f"POOL_PORT={port}", f"BIN={Path(sys.executable).parent}"]
    with open(tmp_path / "pool.txt", "w") as log:
        pool = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=log, stderr=log, start_new_session=True)
        wait_for(lambda: listens(port))
        yield port
        os.killpg(pool.pid, signal.SIGKILL)
        pool.wait()


def rows(folder):
    table = pq.read_table(f"{folder}/compositions").drop_columns(["seconds", "composed_at"])
    return table.sort_by("image_id").to_pylist()


def failures(folder):
    return pq.read_table(f"{folder}/failures").drop_columns(["failed_at"]).to_pylist()


def compose(home, output, *options):
    """The exit code. Paths are whole ones: workers have another current folder."""
    paths = ["--images", str(home / "pictures"), "--index", str(home / "tunes.lance"), "--output", str(home / output)]
    return main(["compose", *paths, "--composer", "fake", "--max_failures", "1", *options])


def test_a_job_may_last_longer_than_a_job_service_may_take_to_answer():
    for named, given in (((), 30 * 24 * 3600), (("--job_server_timeout=20",), 20)):
        options = beam_options((*named, "--runner=PortableRunner")).view_as(PortableOptions)
        _give_time(options)
        assert options.job_server_timeout == given


def test_a_job_service_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr("pipelines.runtime.beam_runner._ANSWERS_WITHIN", 0.5)
    options = beam_options(("--runner=PortableRunner", f"--job_endpoint=localhost:{free_port()}"))
    with pytest.raises(JobError, match="--job_endpoint: no job service answers at localhost:"):
        run_pipeline(lambda pipeline: None, options)


def test_workers_of_a_portable_runner_make_the_rows_of_this_process(indexed, worker_pool):
    (indexed / "pictures" / "notes.jpg").write_text("no picture")
    workers = ["--environment_type=EXTERNAL", f"--environment_config=localhost:{worker_pool}"]
    assert compose(indexed, "there", "--runner=PortableRunner", "--job_endpoint=embed", *workers) == 3
    assert compose(indexed, "here") == 3
    assert len(rows("there")) == 3
    assert rows("there") == rows("here")
    assert failures("there") == failures("here")


def test_a_relative_path_is_refused_where_workers_run_elsewhere(indexed, capsys):
    command = "compose --images pictures --index tunes.lance --output out --runner=PortableRunner"
    assert main(command.split()) == 1
    assert "--images pictures is relative, and workers of PortableRunner run elsewhere" in capsys.readouterr().err
