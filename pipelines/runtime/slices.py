"""Slices: a job cut into parts that any worker can do, and the loop that sees to it that each is done.

What an item becomes depends on nothing but the item, so it does not matter how a job is cut, who does a slice, or how
often. Workers come and go; a slice that was lost is handed out again, and one that ends whoever takes it is halved
until the one item is found.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from image2music.errors import ConfigError, JobError
from image2music.failures import one_line

Item = TypeVar("Item")

PICTURES_A_SLICE = 64
BYTES_A_SLICE = 1 << 30

WORKER_KILLED = "worker_killed"
"""Reason of the failure of an item that ended every process which took it."""


def killed_message(what: str) -> str:
    """Return the message of that failure; `what` the item is: picture, file."""
    return f"every process that took this {what} ended, three times; look at it before it is tried again"


@dataclass(frozen=True)
class Slice(Generic[Item]):
    """Some items of a job, each with a name that tells its content; `earlier` are the ids of what it was halved from.

    What an earlier one had finished before it was lost is finished.
    """

    names: tuple[str, ...]
    items: tuple[Item, ...]
    earlier: tuple[str, ...] = ()

    @cached_property
    def id(self) -> str:
        """16 hex digits of its content: the same items make the same slice, whoever cuts it and when."""
        return hashlib.sha256("\n".join(self.names).encode(errors="surrogateescape")).hexdigest()[:16]

    @property
    def root(self) -> str:
        """The id of what was cut before anything was halved."""
        return self.earlier[0] if self.earlier else self.id

    def __len__(self) -> int:
        return len(self.items)

    def halves(self) -> tuple[Slice[Item], Slice[Item]]:
        """Return two slices with the items of this one, which holds two or more."""
        middle, earlier = len(self) // 2, (*self.earlier, self.id)
        first = Slice(self.names[:middle], self.items[:middle], earlier)
        return first, Slice(self.names[middle:], self.items[middle:], earlier)


def cut_slices(
    items: Iterable[Item],
    name: Callable[[Item], str],
    most: int = PICTURES_A_SLICE,
    size: Callable[[Item], int] = lambda _: 0,
    most_bytes: int = BYTES_A_SLICE,
    group: Callable[[Item], Hashable] | None = None,
) -> Iterator[Slice[Item]]:
    """Yield slices of at most `most` items and `most_bytes` bytes, in order; an item larger than that stands alone.

    Neighbours of one `group` stay together, however many they are.
    """
    here: list[Item] = []
    filled = 0
    for together in _grouped(items, group):
        bytes_more = sum(size(item) for item in together)
        if here and (len(here) + len(together) > most or filled + bytes_more > most_bytes):
            yield _slice(here, name)
            here, filled = [], 0
        here += together
        filled += bytes_more
    if here:
        yield _slice(here, name)


def cut_by_name(items: Iterable[Item], name: Callable[[Item], str], about: int) -> Iterator[Slice[Item]]:
    """Yield slices of `about` items, at most four times as many, whose borders hang on names and not on numbers.

    An item that is added or goes changes the slice that it lies in, and leaves the others as they are.
    """
    here: list[Item] = []
    for item in items:
        here.append(item)
        digest = hashlib.sha256(name(item).encode(errors="surrogateescape")).digest()
        if len(here) >= 4 * about or int.from_bytes(digest[:8], "big") % about == 0:
            yield _slice(here, name)
            here = []
    if here:
        yield _slice(here, name)


def _grouped(items: Iterable[Item], group: Callable[[Item], Hashable] | None) -> Iterator[list[Item]]:
    if group is None:
        yield from ([item] for item in items)
        return
    here: list[Item] = []
    for item in items:
        if here and group(item) != group(here[0]):
            yield here
            here = []
        here.append(item)
    if here:
        yield here


def _slice(items: list[Item], name: Callable[[Item], str]) -> Slice[Item]:
    return Slice(tuple(map(name, items)), tuple(items))


@dataclass(frozen=True)
class SliceResult:
    """What came of a slice: counters and seconds of its stages, and a `value` where the job needs one."""

    counters: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    value: Any = None


class SliceWork(Protocol[Item]):
    """What is done with each slice of a job. It is pickled and sent to workers, so it holds no secrets."""

    def check(self) -> None:
        """See that this process may do it: it has the rules, models and index that the job was started with.

        Raises:
            ConfigError: it may not, and why (`other_worker`).
        """

    def do(self, slice: Slice[Item]) -> SliceResult:
        """Do a slice, but for what it, or one that it was halved from, has finished already."""

    def give_up(self, slice: Slice[Item]) -> SliceResult:
        """Write down that the one item of a slice ends every process that takes it."""


@dataclass(frozen=True)
class Ended(Generic[Item]):
    """A slice that a worker has done, or not.

    `result` is None where its workers were lost, `error` what it raised. `seconds` is the time that the worker took.
    """

    slice: Slice[Item]
    result: SliceResult | None = None
    error: Exception | None = None
    worker: str = ""
    seconds: float = 0.0


class Engine(Protocol):
    """Who does slices. Those that are handed out are waited for one after the other, in any order."""

    tries: int
    """How often a slice may raise before the job ends."""
    is_here: bool
    """Whether slices are done on this machine, where workers can tick off each item."""

    def room(self) -> int:
        """Return how many slices may be handed out at once: what waits with a worker that dies is suspected, too."""

    def submit(self, slice: Slice[Any], work: SliceWork[Any]) -> None:
        """Hand out a slice."""

    def next(self) -> Ended[Any]:
        """Wait for a slice to end.

        Raises:
            JobError: nobody is there any more who could do it.
        """


def run_slices(slices: Iterable[Slice[Item]], work: SliceWork[Item], engine: Engine) -> Iterator[Ended[Item]]:
    """Have every slice done, and yield each with its result when it is.

    `slices` are taken one by one as there is room. A slice whose workers are lost again and again is halved; of a
    single item the work gives up.

    Raises:
        ConfigError: a worker that may not work. JobError: a slice raises whatever is done (`job_failed`).
    """
    more, again = iter(slices), deque[Slice[Item]]()
    raised: Counter[str] = Counter()
    out = 0
    while True:
        while out < engine.room() and (slice := again.popleft() if again else next(more, None)) is not None:
            engine.submit(slice, work)
            out += 1
        if not out:
            return
        ended = engine.next()
        out -= 1
        if ended.result is not None:
            yield ended
        elif ended.error is not None:
            raised[ended.slice.id] += 1
            if isinstance(ended.error, ConfigError) or raised[ended.slice.id] >= engine.tries:
                raise _broken(ended.error)
            again.append(ended.slice)
        elif len(ended.slice) > 1:
            again.extend(ended.slice.halves())
        else:
            yield Ended(ended.slice, work.give_up(ended.slice))


def _broken(error: Exception) -> Exception:
    if isinstance(error, ConfigError | JobError):
        return error
    broken = JobError(
        f"the job broke: {one_line(error)}; image2music --log_level ERROR tells more", reason="job_failed"
    )
    broken.__cause__ = error
    return broken
