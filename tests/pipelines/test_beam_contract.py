"""What this project relies on inside Beam. A failure here says what breaks, before a job hangs or talks too much."""

import inspect
import threading

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner.worker_handlers import SubprocessSdkWorkerHandler
from apache_beam.runners.worker import sdk_worker, sdk_worker_main

from pipelines.runtime import beam_runner
from pipelines.runtime.options import worker_flags


class LostWorker:
    """What Beam waits for a worker process with, when that process is killed."""

    def __init__(self, *arguments):
        pass

    def run(self):
        raise RuntimeError("worker subprocess exited with return code -9")


@pytest.fixture
def handler(monkeypatch):
    monkeypatch.setattr(local_job_service, "SubprocessSdkWorker", LostWorker)
    handler = object.__new__(SubprocessSdkWorkerHandler)
    for name in ("_worker_command_line", "control_address", "provision_info", "worker_id"):
        setattr(handler, name, name)
    return handler


def test_beam_waits_for_a_worker_process_in_a_thread_that_is_known_by_its_name(handler, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda caught: None)
    handler.start_worker()
    handler.stop_worker()
    assert handler.worker_thread.name == beam_runner.WORKER_THREAD, (
        "Beam names the thread that waits for a worker process anew: lost_workers_end_the_job must know the new name, "
        "or a job waits for ever for a worker that was killed"
    )


def test_a_lost_worker_is_noticed_by_an_error_that_nobody_catches_in_that_thread(handler, monkeypatch):
    left = []
    monkeypatch.setattr(threading, "excepthook", lambda caught: None)
    monkeypatch.setattr(beam_runner, "_leave", left.append)
    with beam_runner.lost_workers_end_the_job():
        handler.start_worker()
        handler.stop_worker()
    assert left == ["a worker is gone (worker subprocess exited with return code -9); killed, or out of memory"], (
        "Beam catches what its waiting thread raises: a lost worker has to be noticed in another way"
    )


def test_beam_prints_the_traceback_of_what_breaks_a_bundle():
    assert "print" in sdk_worker.SdkHarness._execute.__code__.co_names, (
        "Beam no longer prints tracebacks in a worker: `processes` need not take its print away"
    )
    assert not hasattr(sdk_worker, "print"), "sdk_worker has a print of its own: `processes` would put it out of action"


def test_a_worker_process_is_started_by_its_arguments():
    assert list(inspect.signature(sdk_worker_main.main).parameters) == ["unused_argv"], (
        "sdk_worker_main.main takes other arguments: `processes` must start it anew"
    )


def test_worker_processes_are_our_own():
    options = PipelineOptions([*worker_flags(2), "--runner=FnApiRunner"])
    runner = beam_runner.new_pipeline(options).runner
    assert b"pipelines.runtime.environment" in bytes(str(runner._default_environment.command_string), "utf-8"), (
        "Beam starts its workers in another way: they would not be quiet, and would not know the log level"
    )
