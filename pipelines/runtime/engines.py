"""Who does the slices of a job: this process, workers of this machine, or those of any Dask cluster.

A Dask scheduler hands slices out, notices who died, and hands out again; nannies start workers anew. Nothing here
watches processes.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import platform
import queue
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from image2music import __version__
from image2music.errors import ConfigError, JobError
from pipelines.runtime.environment import LEVEL, prepare_environment, quieten
from pipelines.runtime.slices import Ended, Engine, Slice, SliceResult, SliceWork

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

    from image2music.storage.datasets import RunFile
    from pipelines.runtime.options import JobOptions

KILLS = 3
"""Workers of this machine that a slice may cost before it is halved. A cluster has a setting for it:
`distributed.scheduler.allowed-failures`, one less."""

_LOOK_EVERY = 1.0
_PATIENCE = 60.0
"""Seconds to wait for the first worker of a cluster."""
_STARTS_WITHIN = 30.0
"""Seconds in which a worker of this machine starts."""


@dataclass
class InProcess:
    """Slices one after the other in this process; models stay loaded between them.

    `attempts` keeps which slice is begun and how often, for whoever goes on after this process was killed: a slice that
    killed it three times is lost, as with workers.
    """

    attempts: RunFile | None = None
    tries: int = 1
    is_here: bool = True
    _waiting: deque[tuple[Slice[Any], SliceWork[Any]]] = field(default_factory=deque)

    def room(self) -> int:
        """One: the next slice is cut when this one is done."""
        return 1

    def submit(self, slice: Slice[Any], work: SliceWork[Any]) -> None:
        """Keep a slice for `next`."""
        self._waiting.append((slice, work))

    def next(self) -> Ended[Any]:
        """Do the slice; what it raises is raised here."""
        slice, work = self._waiting.popleft()
        with self._begun(slice) as before:
            if before >= KILLS:
                return Ended(slice)
            start = time.monotonic()
            result = work.do(slice)
        return Ended(slice, result, worker=platform.node(), seconds=time.monotonic() - start)

    @contextmanager
    def _begun(self, slice: Slice[Any]) -> Iterator[int]:
        """Note that a slice is begun, until it ends in any way that a process can tell of; yield how often before."""
        if self.attempts is None:
            yield 0
            return
        kept = self.attempts.read() if self.attempts.exists() else {}
        known = kept if isinstance(kept, dict) else {}
        before = known.get(slice.id, 0)
        self.attempts.replace(known | {slice.id: before + 1})
        try:
            yield before
        finally:
            self.attempts.replace({id: number for id, number in known.items() if id != slice.id})


class OnDask:
    """Slices to the workers of a Dask cluster; `resources` is what a slice needs of a worker, such as GPU 1."""

    tries = 3

    def __init__(self, client: Client, resources: Mapping[str, float], *, is_here: bool) -> None:
        self.is_here = is_here
        self._client, self._resources = client, dict(resources)
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._out: dict[Any, tuple[Slice[Any], Future[Any]]] = {}
        self._number = 0
        self._room, self._look_again = 1, 0.0

    def room(self) -> int:
        """As many as workers can do at once, as they were a second ago at most; one where there is no worker yet.

        Raises:
            JobError: as `next`.
        """
        if time.monotonic() < self._look_again:
            return self._room
        try:
            # The scheduler tells all of its workers: asked for each slice, a thousand workers would be kept waiting.
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except (OSError, RuntimeError, TimeoutError) as error:
            raise _scheduler_gone() from error
        self._room = max(1, sum(min(worker["nthreads"], self._fits(worker["resources"])) for worker in workers))
        self._look_again = time.monotonic() + _LOOK_EVERY
        return self._room

    def _fits(self, resources: Mapping[str, float]) -> int:
        least = min((resources.get(name, 0) // amount for name, amount in self._resources.items()), default=1 << 30)
        return int(least)

    def submit(self, slice: Slice[Any], work: SliceWork[Any]) -> None:
        """Send a slice. Its content is pickled here, so that another release is noticed before it is read."""
        self._number += 1
        future = self._client.submit(
            do_pickled,
            __version__,
            pickle.dumps((work, slice)),
            key=f"slice-{slice.id}-{self._number}",
            pure=False,
            resources=self._resources or None,
        )
        self._out[future.key] = slice, future
        future.add_done_callback(self._ended.put)

    def next(self) -> Ended[Any]:
        """Wait for a slice.

        Raises:
            JobError: the scheduler is gone (`scheduler_gone`).
        """
        from distributed import KilledWorker

        while True:
            try:
                future = self._ended.get(timeout=_LOOK_EVERY)
            except queue.Empty:
                if self._client.status in ("closing", "closed"):
                    raise _scheduler_gone() from None
                continue
            slice, _ = self._out.pop(future.key)
            if future.status == "cancelled":
                raise _scheduler_gone()
            error = future.exception()
            answer = None if error else future.result()
            future.release()  # a result that somebody waits for is made again where its worker dies
            if answer is not None:
                result, worker, seconds = answer
                return Ended(slice, result, worker=worker, seconds=seconds)
            return Ended(slice, error=None if isinstance(error, KilledWorker) else _refused(error))


def _scheduler_gone() -> JobError:
    message = "the cluster's scheduler is gone; start it, and the same command goes on"
    return JobError(message, reason="scheduler_gone")


def _refused(error: BaseException) -> Exception:
    """Return what is wrong with a worker that does not even know what to call; other errors as they are."""
    if isinstance(error, ImportError | AttributeError | pickle.UnpicklingError):
        message = f"a worker has another image2music than this one, {__version__}: {error}; install the same on all"
        return ConfigError(message, reason="other_worker")
    return error if isinstance(error, Exception) else JobError(f"the job broke: {error!r}", reason="job_failed")


def do_pickled(release: str, content: bytes) -> tuple[SliceResult, str, float]:
    """Do a slice in a worker; return its result, the worker's address and the seconds that it took.

    Raises:
        ConfigError: this worker is not fit for the job (`other_worker`).
    """
    from distributed import get_worker

    prepare_environment()
    quieten(os.environ.get(LEVEL, "CRITICAL"))
    address = get_worker().address
    if release != __version__:
        message = f"worker {address} has image2music {__version__}, and the job {release}; install the same on all"
        raise ConfigError(message, reason="other_worker")
    work, slice = pickle.loads(content)
    try:
        work.check()
    except ConfigError as error:
        raise ConfigError(f"worker {address} cannot help: {error}", reason="other_worker") from error
    start = time.monotonic()
    return work.do(slice), address, time.monotonic() - start


@contextmanager
def local_workers(workers: int) -> Iterator[Engine]:
    """Start workers on this machine, a process each, which nobody else can reach; they end with this process.

    Ctrl-C goes to all processes that a terminal's command has started: workers do not hear it, and are ended here.
    """
    cluster = client = None
    with ExitStack() as kept:
        try:
            with _quiet():
                from distributed import Client, LocalCluster

                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    # None would leave a server of pages open to other machines.
                    dashboard_address="127.0.0.1:0",
                    worker_dashboard_address="127.0.0.1:0",
                    memory_limit=_memory() // workers,
                    silence_logs=False,
                    loop=kept.enter_context(_loop_without_interrupts()),
                )
                client = Client(cluster, set_as_default=False)
            yield OnDask(client, {}, is_here=True)
            _wait_for_starts(cluster)
        finally:
            # A worker that is asked to end waits for the threads of its libraries, and this process for the worker.
            _end_workers(cluster)
            _close(client, cluster)


@contextmanager
def _loop_without_interrupts() -> Iterator[Any]:
    """Run a loop of events in a thread which blocks SIGINT, as do all threads and processes that begin in it.

    A worker that heard it would print a traceback, and its nanny would begin another one.
    """
    from multiprocessing import resource_tracker

    from distributed.utils import LoopRunner

    resource_tracker.ensure_running()  # whichever thread begins it is let hear signals afterwards
    runner = LoopRunner()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        runner.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield runner.loop
    finally:
        with suppress(TimeoutError):  # it ends with this process
            runner.stop(timeout=2)


def _wait_for_starts(cluster: LocalCluster) -> None:
    """Wait until no worker is being started anew: a nanny that is closed in the middle of that never ends."""
    end = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < end and not all(
        nanny.process is not None and nanny.process.status.name == "running" for nanny in cluster.workers.values()
    ):
        time.sleep(0.05)


def _end_workers(cluster: LocalCluster | None) -> None:
    """End the processes at once, in the middle of a slice too: what is finished is on disk.

    Without a cluster these are the workers of one that was being started.
    """
    if cluster is None:
        for process in multiprocessing.active_children():
            process.kill()
        return
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


def _memory() -> int:
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT)


@contextmanager
def any_cluster(place: str, resources: Mapping[str, float]) -> Iterator[Engine]:
    """Use the cluster whose scheduler is at an address (`tcp://HOST:8786`), or named in a scheduler file.

    Raises:
        JobError: no scheduler is there (`no_scheduler`), or it has no worker (`no_workers`).
    """
    with _quiet():
        from distributed import Client

        where = {"address": place} if "://" in place else {"scheduler_file": place}
        try:
            if "://" not in place:
                open(place).close()  # Dask would wait for it
            client = Client(**where, timeout=10, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            message = f"--cluster: no Dask scheduler answers at {place}; start one, and name the address that it says"
            raise JobError(message, reason="no_scheduler") from error
    try:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            message = f"--cluster: {place} has no workers; start some: dask worker {place}"
            raise JobError(message, reason="no_workers") from error
        yield OnDask(client, resources, is_here=False)
    finally:
        _close(client)


def engine_for(options: JobOptions, attempts: RunFile) -> AbstractContextManager[Engine]:
    """Return who does the slices of a job, by its options: whoever opens it waits until somebody is there."""
    if options.cluster:
        return any_cluster(options.cluster, options.resources)
    if options.workers > 1:
        return local_workers(options.workers)
    return nullcontext(InProcess(attempts))


def _close(*what: Any) -> None:
    for one in (one for one in what if one is not None):
        with suppress(Exception):  # a scheduler that is gone cannot be told
            one.close(timeout=2)


@contextmanager
def _quiet() -> Iterator[None]:
    """Load Dask with no more words than the job was asked for, and with settings that suit one slice a worker."""
    level = logging.getLevelName(logging.getLogger().level).lower()
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", level)
    if level == "critical" and not sys.warnoptions:
        os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of workers, and of who counts their semaphores
    import dask
    import distributed  # noqa: F401 - first, for loading it adds its own settings

    settings = {
        "distributed.scheduler.allowed-failures": KILLS - 1,
        # A worker that pauses for want of memory would never go on: its models stay.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        # glibc's own rule keeps what a picture's arrays took for the next one's: with Dask's, each was given back to
        # the system and taken anew, a fifth of a job's processor time.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
    }
    # For as long as this process lives, for it is read when a worker is lost: by default one that needs more than 15 s
    # to start anew is lost for good, and at last the job would wait for nobody.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "365 days"})
    with dask.config.set(settings):
        yield
