import json
import os
import pickle
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import COMPOSERS, FakeComposer
from job_processes import WORKER, children, environment, noise_pictures, start, wait_for
from PIL import Image

from image2music.composers import registry
from image2music.errors import ConfigError
from pipelines.cli.main import main
from pipelines.jobs.compose import look_up
from pipelines.jobs.pictures import ComposePictures, settings_here
from pipelines.options.compose import ComposeOptions
from pipelines.runtime.options import ArrayPart

COMPOSE = ["compose", "--images", "many", "--index", "tunes.lance"]
PICTURES = 60


def rows(folder):
    table = pq.read_table(f"{folder}/compositions").drop_columns(["seconds", "composed_at", "composer_id"])
    return table.sort_by("image_id").to_pylist()


def record(folder):
    return json.loads(Path(folder, "run.json").read_text())


@pytest.fixture
def many(indexed):
    noise_pictures(indexed / "many", PICTURES)
    return indexed


@pytest.mark.process
def test_a_job_that_loses_a_worker_goes_on_and_repeats_nothing_that_is_finished(many):
    more = ["--composer", "fake:0.3", "--workers", "2", "--slice_size", "8", "--batch_size", "4"]
    job = start([*COMPOSE, "--output", "out", *more], many)
    wait_for(lambda: [*(many / "out" / "compositions").glob("part-*")], 300)
    assert job.poll() is None, job.communicate()[0]
    os.kill(children(job.pid, WORKER)[0], signal.SIGKILL)
    printed, _ = job.communicate(timeout=400)
    assert job.returncode == 0, printed
    assert record("out")["counts"]["composed"] == PICTURES
    main([*COMPOSE, "--output", "undisturbed", "--composer", "fake"])
    assert rows("out") == rows("undisturbed")


@pytest.mark.process
def test_the_one_picture_that_kills_its_workers_is_found(many):
    for picture in sorted((many / "many").iterdir())[5:]:
        picture.unlink()
    Image.new("RGB", (12, 16)).save(many / "many" / "deadly.png")
    words = [
        "--composer",
        "fake:deadly",
        "--workers",
        "2",
        "--slice_size",
        "2",
        "--max_failures",
        "1",
        "--output",
        "out",
    ]
    job = start([*COMPOSE, *words], many)
    printed, _ = job.communicate(timeout=400)
    assert job.returncode == 3, printed
    counts = record("out")["counts"]
    assert (counts["composed"], counts["failed"]) == (5, 1)
    assert counts["failed_for_reason"] == {"worker_killed": 1}
    (failure,) = pq.read_table("out/failures").to_pylist()
    assert (failure["uri"], failure["reason"]) == ("many/deadly.png", "worker_killed")


@pytest.mark.process
def test_a_job_that_is_stopped_stops_its_workers(many):
    job = start([*COMPOSE, "--output", "out", "--composer", "fake:0.5", "--workers", "2"], many)
    workers = wait_for(lambda: (found := children(job.pid, WORKER)) and len(found) == 2 and found, 300)
    wait_for(lambda: (many / "out" / ".places").exists(), 300)
    job.send_signal(signal.SIGTERM)
    printed, _ = job.communicate(timeout=60)
    assert (job.returncode, printed) == (130, "image2music: stopped; the same command goes on where it stopped\n")
    assert record("out")["state"] == "stopped"
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)


MOMENTS = {
    "Python loads the program": lambda job, out: time.sleep(1) or True,
    "the job has begun": lambda job, out: (out / "run.json").exists(),
    "a worker has begun": lambda job, out: children(job.pid, WORKER),
    "pictures are composed": lambda job, out: [*(out / "compositions").glob("part-*")],
}


@pytest.mark.process
@pytest.mark.parametrize(("moment", "hear"), [*((moment, "all") for moment in MOMENTS), ("a worker has begun", "one")])
def test_an_interrupt_is_one_line_whenever_it_comes_and_whether_all_processes_hear_it_or_one(many, moment, hear):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in a background ignores it
    words = ["--output", "out", "--composer", "fake:0.3", "--workers", "2", "--slice_size", "4", "--batch_size", "2"]
    try:
        job = start([*COMPOSE, *words], many, group=0)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(lambda: MOMENTS[moment](job, many / "out"), 300)
    workers = children(job.pid, WORKER)
    os.killpg(job.pid, signal.SIGINT) if hear == "all" else job.send_signal(signal.SIGINT)
    printed, _ = job.communicate(timeout=60)
    assert (job.returncode, printed) == (130, "image2music: stopped; the same command goes on where it stopped\n")
    assert not Path("out", "run.json").exists() or record("out")["state"] == "stopped"
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)


def test_a_process_that_only_hands_out_slices_loads_no_model(indexed, monkeypatch):
    monkeypatch.setitem(COMPOSERS, "unloadable", lambda: pytest.fail("it was loaded"))
    known = {"images": "pictures", "index": "tunes.lance", "output": "out", "composer": "fake:unloadable"}
    options = ComposeOptions(**known, workers=2)
    assert look_up(options).settings.composer_id == FakeComposer.id
    with pytest.raises(pytest.fail.Exception, match="it was loaded"):
        look_up(replace(options, workers=1))


@pytest.fixture
def work(indexed):
    options = ComposeOptions(images="pictures", index="tunes.lance", output="out", composer="fake")
    settings_here.cache_clear()
    yield ComposePictures(look_up(options).for_workers())
    settings_here.cache_clear()


def test_a_worker_like_the_one_that_started_the_job_is_fit(work):
    work.check()


def test_what_is_sent_to_workers_holds_no_key(indexed, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-anyone")
    known = {"images": "pictures", "index": "tunes.lance", "output": "out"}
    server = ComposeOptions(**known, composer="openai:http://h/v1#m", workers=2)
    sent = pickle.dumps(ComposePictures(look_up(server).for_workers()))
    assert b"http://h/v1#m" in sent
    assert b"sk-not-for-anyone" not in sent


def test_a_worker_with_another_model_rule_or_index_is_not(work, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(registry.load_composer("fake"), "id", "fake-composer@2", raising=False)
        with pytest.raises(ConfigError, match="it has composer_id fake-composer@2, not fake-composer@1"):
            work.check()
    settings_here.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.jobs.pictures.rules_version", lambda: "old")
        with pytest.raises(ConfigError, match="it has rules old, not "):
            work.check()
    settings_here.cache_clear()
    shutil.rmtree("tunes.lance")
    with pytest.raises(ConfigError, match="no tune index at"):
        work.check()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--workers 0", "--workers must be 1 or more"),
        ("--workers 2 --cluster tcp://host:8786", "--workers and --cluster are two ways to run a job"),
        ("--slice 1/2 --workers 2", "--workers and --slice are two ways to run a job"),
        ("--slice 1/2 --runner=PrismRunner", "--slice and --runner=PrismRunner are two ways to run a job"),
        ("--slice 0/4", "--slice takes K/N, such as 3/16, with K from 1 to N, not '0/4'"),
        ("--slice 5/4", "--slice takes K/N"),
        ("--slice 1/4 --refresh", "--refresh puts rows away"),
        ("--slice_size 0", "--slice_size must be 1 or more"),
        ("--resources GPU=1", "--resources is for the workers of a --cluster"),
        ("--cluster tcp://host:8786 --resources GPU", "--resources takes NAME=NUMBER"),
        ("--cluster tcp://host:8786", "--images pictures is relative, and workers of a cluster run elsewhere"),
        ("--direct_running_mode=multi_processing", "take --workers instead"),
    ],
)
def test_ways_to_run_that_cannot_work_are_refused_in_one_line(indexed, capsys, options, said):
    words = ["compose", "--images", "pictures", "--index", "tunes.lance", "--output", "out", *options.split()]
    assert main(words) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_part_is_written_as_it_is_read():
    assert ArrayPart.parse("3/16") == ArrayPart(3, 16)
    assert str(ArrayPart(3, 16)) == "3/16"


@pytest.fixture
def scheduler(tmp_path):
    """The words that start a scheduler and workers of a cluster, by the scheduler file; all are ended afterwards."""
    import subprocess

    file, begun = tmp_path / "cluster.json", []

    def begin(what, *more, **changed):
        words = [sys.executable, "-m", "distributed.cli.dask_" + what, "--scheduler-file", str(file), *more]
        begun.append(subprocess.Popen(words, env=environment() | changed, stderr=subprocess.DEVNULL))
        return begun[-1]

    begin.file = file
    yield begin
    for process in begun:
        process.kill()
        process.wait()


def absolute(home):
    return ["compose", "--images", f"{home}/many", "--index", f"{home}/tunes.lance", "--composer", "fake:0.05"]


@pytest.mark.process
def test_a_cluster_that_somebody_started_makes_the_rows_and_a_lost_scheduler_is_one_line(many, scheduler):
    begun = scheduler("scheduler", "--host", "127.0.0.1", "--no-dashboard")
    wait_for(scheduler.file.exists)
    scheduler("worker", "--nthreads", "1", "--resources", "GPU=1")
    words = [*absolute(many), "--output", f"{many}/out", "--cluster", str(scheduler.file), "--slice_size", "4"]
    job = start([*words, "--resources", "GPU=1"], many)
    wait_for(lambda: [*(many / "out" / "compositions").glob("part-*")], 300)
    begun.kill()
    printed, _ = job.communicate(timeout=300)
    assert job.returncode == 1
    assert printed == "image2music: the cluster's scheduler is gone; start it, and the same command goes on\n"
    scheduler.file.unlink()
    scheduler("scheduler", "--host", "127.0.0.1", "--no-dashboard")
    wait_for(scheduler.file.exists)
    scheduler("worker", "--nthreads", "1")
    scheduler("worker", "--nthreads", "1")
    job = start(words, many)
    printed, _ = job.communicate(timeout=400)
    assert job.returncode == 0, printed
    assert record("out")["counts"]["skipped"] > 0
    main([*COMPOSE, "--output", "undisturbed", "--composer", "fake"])
    assert len(rows("out")) == len(rows("undisturbed")) == PICTURES


@pytest.mark.process
def test_workers_of_another_release_are_refused_in_one_line(many, scheduler, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(Path(__file__).parents[2] / "image2music", other / "image2music")
    init = other / "image2music" / "__init__.py"
    init.write_text(init.read_text().replace('__version__ = "', '__version__ = "9.'))
    scheduler("scheduler", "--host", "127.0.0.1", "--no-dashboard")
    wait_for(scheduler.file.exists)
    path = f"{other}{os.pathsep}{environment()['PYTHONPATH']}"
    scheduler("worker", "--nthreads", "1", PYTHONPATH=path)
    job = start([*absolute(many), "--output", f"{many}/out", "--cluster", str(scheduler.file)], many)
    printed, _ = job.communicate(timeout=300)
    assert job.returncode == 1
    assert "has image2music 9." in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("place", ["tcp://127.0.0.1:1", "nowhere.json"])
def test_no_scheduler_is_one_line(many, capsys, place):
    begun = time.monotonic()
    assert main([*absolute(many), "--output", f"{many}/out", "--cluster", place]) == 1
    what = f"no Dask scheduler answers at {place}; start one, and name the address that it says"
    assert capsys.readouterr().err == f"image2music: --cluster: {what}\n"
    assert time.monotonic() - begun < 30
