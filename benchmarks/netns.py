"""Hosts on one machine that share nothing but a network: for programs that try what happens between machines.

    with network(("head", "left", "right"), Path("build/hosts")) as hosts:
        hosts["left"].start(["python", "-m", "http.server"], Path("build/left.txt"))
        hosts["left"].cut()

Each host is a network namespace with an address of its own on one bridge, a mount namespace in which the machine's
disk can only be read and one folder of memory (tmpfs) can be written, and a process namespace that ends with all its
processes when the program does, however it does. It needs root on Linux, iproute2 and util-linux.

Loss and delay: `bad_wire` puts a wire between a host and the bridge that loses frames and is slow. It is a thread of
this program instead of `tc netem`, which not every kernel was built with.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.watched_job import family

_TOOLS = ("ip", "unshare", "nsenter", "mount")
_PREFIX = "hosts"
_NEEDED = "network namespaces need root on Linux with iproute2 and util-linux"


def reason_against() -> str:
    """Why this machine cannot make hosts, in one line; empty where it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return f"{_NEEDED}: this is {sys.platform}, user {os.geteuid()}"
    if missing := [name for name in _TOOLS if not shutil.which(name)]:
        return f"{_NEEDED}: {', '.join(missing)} not found"
    name = f"{_PREFIX}{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if tried.returncode:
        return f"network namespaces are not allowed here: {tried.stderr.strip()}"
    try:
        tried = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, text=True
        )
        return f"mount namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@dataclass
class Host:
    """One host. `folder` is the only place where it can write; other hosts see their own under the same name."""

    name: str
    namespace: str
    address: str
    folder: Path
    port_name: str
    bridge: str
    environment: dict[str, str] = field(default_factory=dict)
    _first: subprocess.Popen[bytes] | None = None
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def boot(self, megabytes: int) -> None:
        """Make its folder and its first process, which holds its namespaces until `power_off`."""
        setup = (
            f"mount -t tmpfs -o size={megabytes}m tmpfs {self.folder} && mount -o remount,ro,bind / "
            f"&& cd {self.folder} && echo ready && exec cat"
        )
        ways = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._first = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, "unshare", *ways, "sh", "-c", setup],
            stdin=subprocess.PIPE,  # when this program ends, `cat` does, and with it every process of the host
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._first.stdout
        with self._first.stdout as said:
            if said.readline() != b"ready\n":
                raise SystemExit(f"host {self.name} does not start")

    @property
    def _anchor(self) -> int:
        """The id, outside, of the host's process number 1."""
        assert self._first
        return family(self._first.pid)[1]

    def seen(self, path: str) -> Path:
        """Where this program finds a file of the host's folder."""
        return Path(f"/proc/{self._anchor}/root{self.folder}") / path

    def _entered(self, words: Sequence[str]) -> list[str]:
        # The folder is looked up once inside: before, the same name means the machine's own folder.
        where = ["--target", str(self._anchor), "--net", "--mount", "--pid"]
        return ["nsenter", *where, "--", "sh", "-c", 'cd "$0" && exec "$@"', str(self.folder), *words]

    def start(self, words: Sequence[str], log: Path, **more: str) -> subprocess.Popen[bytes]:
        """Start a process in the host's folder; its output goes to a file of this program. `more` are variables."""
        environment = os.environ | self.environment | more
        with log.open("ab") as file:
            process = subprocess.Popen(self._entered(words), env=environment, stdout=file, stderr=subprocess.STDOUT)
        self._started.append(process)
        return process

    def run(self, words: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the host's folder to its end."""
        environment = os.environ | self.environment | more
        return subprocess.run(self._entered(words), env=environment, capture_output=True, text=True)

    def processes(self) -> list[int]:
        """Ids, outside, of the processes that run on it, but for the first."""
        return [pid for path in Path("/proc").glob("[0-9]*") if _is_in(pid := int(path.name), self._anchor)]

    def cut(self) -> None:
        """Take its link down at the bridge: what it sends and what is sent to it is lost, and nobody is told."""
        _ip("link", "set", self.port_name, "down")

    def mend(self) -> None:
        """Take its link up again."""
        _ip("link", "set", self.port_name, "up")

    def power_off(self) -> None:
        """End every process at once, as when the power fails: its link is down before, so nobody is told."""
        self.cut()
        assert self._first
        os.kill(self._anchor, signal.SIGKILL)
        self._first.wait()

    def down(self) -> None:
        """End every process and wait for it; nothing where it is off already."""
        if self._first and self._first.stdin:
            self._first.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._first.wait(10)
            self._first.kill()
            self._first.wait()
        for process in self._started:
            process.kill()  # nsenter stops with a child that was stopped, and would stay so
            process.wait()

    @contextmanager
    def bad_wire(self, loss: float, delay: float, seed: int = 0) -> Iterator[Wire]:
        """Lose a share of the frames each way and hold the others back for `delay` seconds while the block runs."""
        inside = f"{self.port_name}w"
        with ExitStack() as stack:
            tap = stack.enter_context(_tap(inside))
            _ip("link", "set", self.port_name, "nomaster")
            stack.callback(_ip, "link", "set", self.port_name, "master", self.bridge)
            _ip("link", "set", inside, "master", self.bridge, "up")
            # Frames reach a raw socket before the card would finish them: no work is left to a card that is none.
            _plain_frames(self.namespace)
            raw = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
            raw.bind((self.port_name, 0))
            _promiscuous(raw, self.port_name)
            wire = Wire(raw, tap, loss, delay, random.Random(seed))
            stack.callback(wire.join)
            stack.callback(wire.stop)
            wire.start()
            yield wire


class Wire(threading.Thread):
    """Carries frames between a host's port and the bridge, late and not all of them."""

    def __init__(self, port: socket.socket, tap: int, loss: float, delay: float, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._port, self._tap = port, tap
        self._loss, self._delay, self._chance = loss, delay, chance
        self._halt = threading.Event()
        self.carried = self.lost = 0

    def stop(self) -> None:
        """Carry no more."""
        self._halt.set()

    def run(self) -> None:
        """Carry until `stop`."""
        waiting: list[tuple[float, int, bool, bytes]] = []
        with selectors.DefaultSelector() as ready:
            ready.register(self._port, selectors.EVENT_READ)
            ready.register(self._tap, selectors.EVENT_READ)
            while not self._halt.is_set():
                until = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.1
                for key, _ in ready.select(min(until, 0.1)):
                    self._take(key.fileobj is self._port, waiting)
                while waiting and waiting[0][0] <= time.monotonic():
                    _, _, outward, frame = heapq.heappop(waiting)
                    with suppress(OSError):  # the link is down: the frame is lost
                        os.write(self._tap, frame) if outward else self._port.send(frame)

    def _take(self, outward: bool, waiting: list[tuple[float, int, bool, bytes]]) -> None:
        try:
            if outward:
                frame, address = self._port.recvfrom(1 << 16)
                if address[2] == socket.PACKET_OUTGOING:  # what this wire itself sent
                    return
            else:
                frame = os.read(self._tap, 1 << 16)
        except OSError:  # the link is down
            return
        if self._chance.random() < self._loss:
            self.lost += 1
            return
        self.carried += 1
        heapq.heappush(waiting, (time.monotonic() + self._delay, self.carried, outward, frame))


@contextmanager
def network(
    names: Sequence[str], folder: Path, environment: Mapping[str, str] = {}, megabytes: int = 2048
) -> Iterator[dict[str, Host]]:
    """Hosts by name, all on one bridge, on which this program has an address too; all gone after the block.

    A program has one network at a time.

    Args:
        names: of the hosts.
        folder: the place of each host's folder, under the same name on all of them.
        environment: variables of every process of a host, besides those of this program.
        megabytes: the most that a host's folder takes; it lies in memory.
    """
    remove_leftovers()
    own, folder = os.getpid(), folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    subnet, bridge = f"10.{200 + own % 50}.{own // 50 % 250}", f"{_PREFIX}{own}"
    with ExitStack() as stack:
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{subnet}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        hosts = {}
        known = {"TMPDIR": str(folder), "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment}
        for number, name in enumerate(names, 1):
            port = f"h{own}p{number}"
            host = Host(name, f"{bridge}-{name}", f"{subnet}.{number}", folder, port, bridge, known)
            _ip("netns", "add", host.namespace)
            stack.callback(_ip, "netns", "del", host.namespace)
            _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            _ip("link", "set", port, "master", bridge, "up")
            _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", host.namespace, "link", "set", link, "up")
            host.boot(megabytes)
            stack.callback(host.down)
            hosts[name] = host
        yield hosts


def remove_leftovers() -> None:
    """Remove namespaces and bridges of programs of this kind that were killed; their processes are gone already."""
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    links = Path("/sys/class/net")
    for name in [*spaces, *(path.name for path in links.glob(f"{_PREFIX}*"))]:
        owner = name.removeprefix(_PREFIX).partition("-")[0]
        if name.startswith(_PREFIX) and owner.isdigit() and not Path(f"/proc/{owner}").exists():
            _ip(*(["link", "del", name] if "-" not in name else ["netns", "del", name]))


def _is_in(pid: int, anchor: int) -> bool:
    """Whether a process lives in the process namespace of another one, and is not that one."""
    try:
        return pid != anchor and os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{anchor}/ns/pid")
    except OSError:  # it has ended
        return False


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def _tap(name: str) -> Iterator[int]:
    """A network card whose frames this program reads and writes; gone with the block."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000))  # TAP, frames alone
        yield tap
    finally:
        os.close(tap)


def _promiscuous(raw: socket.socket, port: str) -> None:
    member = struct.pack("iHH8s", socket.if_nametoindex(port), 1, 0, b"")
    raw.setsockopt(263, 1, member)  # SOL_PACKET, PACKET_ADD_MEMBERSHIP


def _plain_frames(namespace: str) -> None:
    """Let a host's card finish nothing: sums of frames and their cutting are left to the system."""
    libc = ctypes.CDLL(None, use_errno=True)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)

    def switch() -> None:
        # A thread of its own goes to the other namespace, so that this one stays where it is.
        if libc.setns(there, 0):
            raise OSError(ctypes.get_errno(), "setns")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            for command in (0x17, 0x1F, 0x24):  # sums, cutting by the card, cutting by the system: off
                value = ctypes.create_string_buffer(struct.pack("II", command, 0))
                request = struct.pack("16sP16x", b"eth0", ctypes.addressof(value))
                with suppress(OSError):  # the card cannot do it anyway
                    fcntl.ioctl(asked, 0x8946, request)  # SIOCETHTOOL

    worker = threading.Thread(target=switch)
    worker.start()
    worker.join()
    os.close(there)
