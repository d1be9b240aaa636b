"""An S3 server, a Dask scheduler and workers on hosts that share no disk (benchmarks.netns)."""

from __future__ import annotations

import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import obstore
from obstore.store import S3Store

from benchmarks.kill_compose import kill_all
from benchmarks.netns import Host, network
from benchmarks.watched_job import command_of, family

ROOT = Path(__file__).parents[1]
HEAD, WORKERS = "head", ("left", "right")
"""The host of the S3 server, the scheduler and the command; and those of the workers."""
BUCKET = "music"
PATIENCE = 60.0
_SCHEDULER_PORT, _STORE_PORT = 8786, 7070
_NOTES, _ACCESS = "composed.txt", "access.log"
_WORKER_MEMORY = "3GiB"


def s3_program() -> list[str]:
    """The S3 server's program: versitygw, or moto's where there is none."""
    gopath = os.environ.get("GOPATH", str(Path.home() / "go"))
    places = (os.environ.get("VERSITYGW"), shutil.which("versitygw"), f"{gopath}/bin/versitygw")
    found = next((place for place in places if place and os.access(place, os.X_OK)), None)
    return [found] if found else [sys.executable, "-m", "moto.server"]


@dataclass
class Site:
    """Three hosts and what runs on them; `logs` is a folder of this program."""

    hosts: dict[str, Host]
    logs: Path
    keys: dict[str, str]
    _store: subprocess.Popen[bytes] | None = None
    _scheduler: subprocess.Popen[bytes] | None = None
    _workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def head(self) -> Host:
        """The host of scheduler, S3 server and command."""
        return self.hosts[HEAD]

    @property
    def scheduler_address(self) -> str:
        """Where workers and commands find the scheduler."""
        return f"tcp://{self.head.address}:{_SCHEDULER_PORT}"

    @property
    def keeps_objects(self) -> bool:
        """Whether the S3 server can be killed and started again without a loss."""
        return len(s3_program()) == 1

    def bucket(self) -> S3Store:
        """The bucket, seen by this program."""
        known = {name.lower(): value for name, value in self.keys.items()}
        del known["aws_endpoint_url"]
        return S3Store(BUCKET, config=known)  # type: ignore[arg-type]

    def start_store(self) -> None:
        """Start the S3 server and wait until it answers."""
        program, address = s3_program(), self.head.address
        if self.keeps_objects:
            access = ["--access-log", str(self.head.folder / _ACCESS)]
            words = [*program, *access, "--port", f"{address}:{_STORE_PORT}", "posix", "s3"]
            self.head.run(["mkdir", "-p", f"s3/{BUCKET}"])
        else:
            words = [*program, "-H", address, "-p", str(_STORE_PORT)]  # it asks for no signature
        keys = {
            "ROOT_ACCESS_KEY": self.keys["AWS_ACCESS_KEY_ID"],
            "ROOT_SECRET_KEY": self.keys["AWS_SECRET_ACCESS_KEY"],
        }
        self._store = self.head.start(words, self.logs / "store.txt", **keys)
        _wait_for_port(address, _STORE_PORT, f"the S3 server does not answer: read {self.logs / 'store.txt'}")
        if not self.keeps_objects:
            asked = urllib.request.Request(f"http://{address}:{_STORE_PORT}/{BUCKET}", method="PUT")
            urllib.request.urlopen(asked, timeout=PATIENCE).close()

    def stop_store(self, seconds: float, by_kill: bool) -> None:
        """Let no request be answered for a while: the server is killed and started again, or it stands still."""
        assert self._store
        processes = family(self._store.pid)
        if by_kill:
            kill_all(processes)
            self._store.wait()
            time.sleep(seconds)
            self.start_store()
        else:
            for pid in processes[1:]:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            for pid in processes:  # nsenter, too: it stopped with its child
                os.kill(pid, signal.SIGCONT)

    def put(self, path: Path, key: str) -> None:
        """Put a file into the bucket."""
        obstore.put(self.bucket(), key, path)

    def requests(self) -> Counter[str]:
        """Requests that the S3 server has answered so far, by operation; none where the server tells nothing."""
        log = self.head.seen(_ACCESS)
        if not self.keeps_objects or not log.exists():
            return Counter()
        return Counter(re.findall(r" s3_(\w+) ", log.read_text()))

    def start_scheduler(self) -> None:
        """Start the Dask scheduler."""
        words = ["-m", "distributed.cli.dask_scheduler", "--host", self.head.address, "--no-dashboard"]
        words += ["--port", str(_SCHEDULER_PORT), "--no-show"]
        self._scheduler = self.head.start([sys.executable, *words], self.logs / "scheduler.txt")

    def kill_scheduler(self) -> None:
        """Kill it, and wait until its workers, which lose it, have ended: by themselves, as Dask's do."""
        assert self._scheduler
        kill_all(family(self._scheduler.pid))
        self._scheduler.wait()
        self.stop_workers(PATIENCE)

    def stop_workers(self, patience: float = 0.0) -> None:
        """End all workers; they have `patience` seconds to end by themselves."""
        end = time.monotonic() + patience
        for worker in self._workers.values():
            with suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, end - time.monotonic()))
            kill_all(family(worker.pid))
            worker.wait()
        self._workers.clear()

    def start_workers(self, places: Sequence[str]) -> None:
        """Have one worker, with a nanny that replaces it when it dies, for each of the named hosts; hosts may repeat.

        What runs already stays; what is not asked for ends.
        """
        wanted = {f"{place}-{list(places[:number]).count(place)}": place for number, place in enumerate(places)}
        for name in [*self._workers]:
            if name not in wanted or self._workers[name].poll() is not None:
                kill_all(family(self._workers[name].pid))
                self._workers.pop(name).wait()
        for name in wanted.keys() - self._workers.keys():
            host = self.hosts[wanted[name]]
            words = ["-m", "distributed.cli.dask_worker", self.scheduler_address, "--nthreads", "1", "--no-dashboard"]
            words += ["--host", host.address, "--memory-limit", _WORKER_MEMORY]
            words += ["--local-directory", str(host.folder / name)]
            self._workers[name] = host.start([sys.executable, *words], self.logs / f"worker-{name}.txt")
        self._wait_for_workers(len(wanted))

    def _wait_for_workers(self, number: int) -> None:
        text = "from distributed import Client; import sys; Client(sys.argv[1]).wait_for_workers(int(sys.argv[2]), 60)"
        done = self.head.run([sys.executable, "-c", text, self.scheduler_address, str(number)])
        if done.returncode:
            raise SystemExit(f"{number} workers did not come: {done.stderr.strip()[-300:]}; read {self.logs}")

    def worker_processes(self, place: str) -> list[int]:
        """Ids of the processes on a host that run tasks: those that nannies started."""
        names = [name for name in self._workers if name.rpartition("-")[0] == place]
        found = [pid for name in names for pid in family(self._workers[name].pid)]
        return [pid for pid in found if "spawn_main" in command_of(pid)]

    def kill_a_worker(self, chance: random.Random) -> None:
        """Kill one of the processes that run tasks."""
        running = [pid for place in WORKERS for pid in self.worker_processes(place)]
        if running:  # else the one before has just died
            os.kill(chance.choice(running), signal.SIGKILL)

    def command(self, *words: str) -> list[str]:
        """The command line of this very tree."""
        return [sys.executable, "-m", "pipelines.cli.main", *words]

    def composed(self) -> Counter[str]:
        """How often each picture was composed by the stand-in on any host so far, by the seed of its tune."""
        notes = (host.seen(_NOTES) for host in self.hosts.values())
        return Counter(line for note in notes if note.exists() for line in note.read_text().split())

    def processes(self) -> list[int]:
        """Ids of all processes of all hosts."""
        return [pid for host in self.hosts.values() for pid in host.processes()]


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Three hosts with an S3 server and a scheduler, no worker yet; gone with all that they hold after the block."""
    logs, place = folder.absolute() / "logs", folder.absolute() / "host"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    keys = {
        "AWS_ACCESS_KEY_ID": f"key{secrets.token_hex(6)}",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    common = {
        "PYTHONPATH": f"{ROOT / 'tests' / 'stand_ins'}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
        "FAKE_COMPOSER_NOTES": str(place / _NOTES),
    }
    with network((HEAD, *WORKERS), place, common) as hosts:
        endpoint = f"http://{hosts[HEAD].address}:{_STORE_PORT}"
        keys |= {"AWS_ENDPOINT": endpoint, "AWS_ENDPOINT_URL": endpoint}
        for host in hosts.values():
            host.environment |= keys
        made = Site(hosts, logs, keys)
        made.start_store()
        made.start_scheduler()
        yield made


def put_folder(store: S3Store, folder: Path, prefix: str) -> int:
    """Put every file of a folder under a prefix; return how many there are."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        obstore.put(store, f"{prefix}/{path.relative_to(folder)}", path)
    return len(files)


def _wait_for_port(address: str, port: int, complaint: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((address, port), timeout=1.0).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit(complaint) from None
            time.sleep(0.1)
