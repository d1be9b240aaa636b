"""What a job takes on one machine or many: hours, requests to the store, shards, memory. Only arithmetic.

    seconds = once + pictures x (compose / workers + end) + slices x (around / workers) + slices x hand_out

`once` is the start of the command and of a worker; `compose` a picture's seconds of one worker; `end` what a row costs
the one process that ends the job, with what it costs to make larger shards where there are very many; `around` what a
slice costs its worker beside its pictures; `hand_out` what it costs the scheduler, one after the other. The constants
are fitted by `python -m benchmarks.cost_model`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from image2music.failures import counted
from image2music.storage.datasets import LARGE_SHARD, MANY_SHARDS

_HOUR, _GB = 3600.0, 1e9
NIGHT_HOURS = 8.0
MANY_PICTURES = 1000
"""Of fewer nobody asks how many machines to take."""
_PAGE = 1000
"""Keys on one page of an S3 listing."""
SHARD_ROWS = 16
"""Rows of a shard as a rule: one is written with each batch."""


@dataclass(frozen=True)
class Rates:
    """Constants of the machine and the release: seconds, bytes and requests, as in this module's formula.

    `once_s` and `around_s` fit twelve jobs of 60 to 10,000 pictures on two free cores (docs/clusters.md); `end_s` and
    `compact_s` are seconds of the processor that `benchmarks.large_output` took for 100,000 rows; the requests of a
    shard were counted at a server.

    Attributes:
        requests_a_picture: reads of it, once to identify and once to compose it.
        requests_a_slice: looks at what is there of it already, and at what takes too long.
        compact_s: of a row, where the end of the job makes larger shards.
        requests_a_shard: its writing, and its two readings by the end of the job, of three and one to three requests.
        requests_once: of the command and of a worker, reads of the index among them.
        task_bytes: what the scheduler keeps of a slice that is not done.
        place_bytes: what the command keeps of a picture: its address and its id.
    """

    once_s: float = 15.0
    end_s: float = 0.0002
    compact_s: float = 0.0006
    around_s: float = 0.4
    hand_out_s: float = 0.006
    requests_a_picture: float = 2.0
    requests_a_slice: float = 10.0
    requests_a_shard: float = 7.0
    requests_once: float = 100.0
    task_bytes: float = 9_000.0
    place_bytes: float = 400.0


@dataclass(frozen=True)
class Forecast:
    """What a job takes. `machine_hours` are those of the workers; bytes are those of rows, in the store.

    `shards` are those that workers write, `shards_left` those that lie there at the end.
    """

    pictures: int
    workers: int
    slices: int
    shards: int
    shards_left: int
    seconds: float
    machine_hours: float
    requests: float
    bytes: float
    command_bytes: float
    scheduler_bytes: float
    scheduler_share: float
    end_share: float

    def first_limit(self) -> str:
        """Return what would break, or be slow, first; empty where nothing would."""
        if self.scheduler_share > 0.5:
            return f"one scheduler hands out slices {self.scheduler_share:.0%} of the time: larger slices"
        if self.end_share > 0.1:
            return f"one process ends the job, {self.end_share:.0%} of the time: several outputs"
        if self.command_bytes > 8 * _GB:
            return f"the command holds {self.command_bytes / _GB:.0f} GB of addresses: several outputs"
        if self.scheduler_bytes > 8 * _GB:
            return f"the scheduler holds {self.scheduler_bytes / _GB:.0f} GB of slices: larger slices"
        return ""


def forecast(
    pictures: int, workers: int, slice_size: int, picture_s: float, row_bytes: float, rates: Rates = Rates()
) -> Forecast:
    """Return what a job takes.

    Args:
        pictures: contents to compose, at least one.
        workers: processes that compose, one core each.
        slice_size: pictures of a slice.
        picture_s: seconds that one worker takes for one picture, reading it included.
        row_bytes: of one row in its shard.
        rates: constants.
    """
    slices = math.ceil(pictures / slice_size)
    shards = slices * math.ceil(min(slice_size, pictures) / SHARD_ROWS)
    # No more work at once than there are slices, and the last one is waited for by all.
    busy = min(workers, slices)
    rounds = math.ceil(slices / busy)
    working = most_pictures(pictures, workers, slice_size) * picture_s + rounds * rates.around_s
    is_compacted = shards > MANY_SHARDS
    handing, ending = slices * rates.hand_out_s, pictures * (rates.end_s + is_compacted * rates.compact_s)
    seconds = rates.once_s + max(working, handing) + ending
    left = math.ceil(pictures * row_bytes / LARGE_SHARD) if is_compacted else shards
    requests = (
        rates.requests_once * (1 + busy)
        + pictures * rates.requests_a_picture
        + slices * rates.requests_a_slice
        + shards * rates.requests_a_shard
        + (pictures + shards) / _PAGE
        + is_compacted * left
    )
    return Forecast(
        pictures=pictures,
        workers=workers,
        slices=slices,
        shards=shards,
        shards_left=left,
        seconds=seconds,
        machine_hours=workers * seconds / _HOUR,
        requests=requests,
        bytes=pictures * row_bytes,
        command_bytes=pictures * rates.place_bytes,
        scheduler_bytes=slices * rates.task_bytes,
        scheduler_share=handing / seconds,
        end_share=ending / seconds,
    )


def most_pictures(pictures: int, workers: int, slice_size: int) -> int:
    """Return how many pictures the busiest worker does: slices are taken in turn, and the last one may be smaller."""
    slices = math.ceil(pictures / slice_size)
    busy = min(workers, slices)
    last = pictures - (slices - 1) * slice_size
    is_alone_in_its_round = (slices - 1) % busy == 0
    return (math.ceil(slices / busy) - 1) * slice_size + (last if is_alone_in_its_round else slice_size)


def workers_for(hours: float, pictures: int, slice_size: int, picture_s: float, rates: Rates = Rates()) -> int | None:
    """Return the fewest workers with which a job is done in so many hours; None where no number of them is enough."""
    low, high = 1, math.ceil(pictures / slice_size)
    if forecast(pictures, high, slice_size, picture_s, 0.0, rates).seconds > hours * _HOUR:
        return None
    while low < high:
        middle = (low + high) // 2
        if forecast(pictures, middle, slice_size, picture_s, 0.0, rates).seconds > hours * _HOUR:
            low = middle + 1
        else:
            high = middle
    return low


def machine_lines(pictures: int, slice_size: int, picture_s: float) -> dict[str, str]:
    """Return machines and hours by the name of each line, for a person before a run; nothing for few pictures."""
    if pictures <= MANY_PICTURES:
        return {}
    taken = {workers: forecast(pictures, workers, slice_size, picture_s, 0.0) for workers in (1, 10, 100)}
    times = ", ".join(f"{counted(workers, 'worker')} {duration(job.seconds)}" for workers, job in taken.items())
    needed = workers_for(NIGHT_HOURS, pictures, slice_size, picture_s)
    night = f"{needed or 'no number of them'} for a night of {NIGHT_HOURS:.0f} hours"
    lines = {"machines": f"{times}; {night}"}
    return lines | ({"limit": limit} if (limit := taken[100].first_limit()) else {})


def store_line(pictures: int, workers: int, slice_size: int, picture_s: float, row_bytes: float) -> str:
    """Return what an object store is asked and holds afterwards, for a person before a run."""
    job = forecast(pictures, workers, slice_size, picture_s, row_bytes)
    return f"about {job.requests:,.0f} requests where all lies in one; {counted(job.shards_left, 'file')} of rows"


def duration(seconds: float) -> str:
    """Return a time in the unit in which people would name it: `35 s`, `12 min`, `1.5 h`."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < _HOUR:
        return f"{math.ceil(seconds / 60)} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < 100 * _HOUR else f"{seconds / _HOUR:,.0f} h"
