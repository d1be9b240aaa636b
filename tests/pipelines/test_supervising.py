import json
import os
import platform
import signal
import subprocess
import sys
import threading

import pytest

from image2music.storage.datasets import RunFile
from pipelines.runtime.processes import supervise

pytestmark = pytest.mark.process

KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
LOST_A_WORKER = "raise SystemExit(75)"


@pytest.fixture
def run_file(tmp_path):
    path = tmp_path / "run.json"
    gone = {"host": platform.node(), "pid": 2**22 + 1}
    path.write_text(json.dumps({"state": "running", "message": "", "finished_at": None, "process": gone}))
    return path


def python(code):
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("code", [0, 1, 3])
def test_what_the_job_ends_with_is_passed_on(run_file, code, capfd):
    assert supervise(python(f"raise SystemExit({code})"), restarts=3, run_file=lambda: RunFile(str(run_file))) == code
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("job", "how"), [(KILLED, "was killed by SIGKILL"), (LOST_A_WORKER, "lost a worker")])
def test_restarts_are_counted_and_then_the_reason_is_said_and_written(run_file, job, how, capfd):
    assert supervise(python(job), restarts=2, run_file=lambda: RunFile(str(run_file))) == 1
    first, second, last = capfd.readouterr().err.splitlines()
    assert first == f"image2music: the job {how}; it starts again from what is finished (1 of 2)"
    assert second.endswith("(2 of 2)")
    assert last.startswith(f"image2music: the job {how}, and --restarts 2 are used up: ")
    record = json.loads(run_file.read_text())
    assert (record["state"], record["message"]) == ("failed", f"the job {how}, and --restarts 2 are used up")


def test_the_second_time_counts(run_file, tmp_path):
    once = f"import os; os.makedirs({str(tmp_path / 'made')!r}) or exit(75)"  # the second time it is there: exit code 1
    assert supervise(python(once), restarts=1, run_file=lambda: RunFile(str(run_file))) == 1


def test_nothing_that_the_job_started_outlives_it(run_file, tmp_path):
    pid = tmp_path / "pid"
    child = f"import subprocess, sys; p = subprocess.Popen(['sleep', '60']); open({str(pid)!r}, 'w').write(str(p.pid))"
    assert supervise(python(child), restarts=0, run_file=lambda: RunFile(str(run_file))) == 0
    state = subprocess.run(["ps", "-o", "state=", "-p", pid.read_text()], capture_output=True, text=True).stdout
    assert state.strip() in ("", "Z")


def test_a_job_that_does_not_stop_when_told_is_ended(run_file, monkeypatch, capfd):
    monkeypatch.setattr("pipelines.runtime.processes._PATIENCE", 0.5)
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    assert supervise(python(deaf), restarts=3, run_file=lambda: RunFile(str(run_file))) == 130
    assert "stopped; the same command goes on" in capfd.readouterr().err
    assert json.loads(run_file.read_text())["state"] == "stopped"
