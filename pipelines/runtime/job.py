"""The life of every job: lock, run.json, pipelines with their progress, counters, how it ended, exit code.

`open_job` takes the lock. Inside it `Job.recorded` keeps run.json, `Job.run` runs pipelines to their end, and `Job.end`
writes the last state and returns the exit code.

Also the tables and lines that a job prints when it is done.
"""

from __future__ import annotations

import heapq
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from textwrap import shorten
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.options.pipeline_options import PipelineOptions

from image2music import __version__
from image2music.catalog import Matched
from image2music.errors import OutputError
from image2music.failures import counted, one_line
from image2music.images.sources import in_one_line
from image2music.rows import now
from image2music.storage.datasets import Dataset, RunFile, open_shards, read_by_shard, read_shards
from image2music.storage.output import IndexStore, OutputStore
from pipelines.runtime.beam_runner import run_pipeline
from pipelines.runtime.engines import engine_for
from pipelines.runtime.environment import EXIT_DONE, EXIT_FAILED, EXIT_SOME_FAILED, stopped_by_terminate
from pipelines.runtime.options import FailureBound, JobOptions, beam_options
from pipelines.runtime.progress import Progress, tick_folder
from pipelines.runtime.slices import Ended, Engine, Slice, SliceResult, SliceWork, run_slices

_PACKAGES = ("apache-beam", "distributed", "pyarrow", "pylance", "torch", "transformers", "symusic", "numpy", "pillow")


@dataclass
class RunRecord:
    """The content of run.json. `state` goes from running to done, failed, put_off or stopped.

    A detail that can be called is called whenever the file is written.
    """

    file: RunFile
    command: str
    options: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    state: str = "running"
    message: str = ""
    started_at: str = field(default_factory=lambda: now().isoformat())
    _clock: float = field(default_factory=time.monotonic)

    def write(self) -> None:
        """Replace run.json in one step."""
        content = {
            "state": self.state,
            "message": self.message,
            "command": self.command,
            "options": self.options,
            **{name: detail() if callable(detail) else detail for name, detail in self.details.items()},
            "versions": versions(),
            "process": {"host": platform.node(), "pid": os.getpid()},
            "counts": self.counts,
            "seconds": {"total": round(time.monotonic() - self._clock, 3)} | self.seconds,
            "started_at": self.started_at,
            "finished_at": None if self.state == "running" else now().isoformat(),
        }
        self.file.replace(content)

    def end(self, state: str, message: str = "") -> None:
        """Write the last state."""
        self.state, self.message = state, message
        self.write()


class Job:
    """A job that holds the lock of what it writes. Made by `open_job`."""

    def __init__(
        self,
        command: str,
        options: JobOptions,
        store: OutputStore | IndexStore,
        beam_flags: PipelineOptions,
        file: RunFile,
    ) -> None:
        self._store, self._options, self._beam = store, options, beam_flags
        self._stack = ExitStack()
        self._engine: Engine | None = None
        self.record = RunRecord(file, command, asdict(options))
        self.ticks = tick_folder(self._stack) if not options.cluster else None
        """Where those who work on this machine tick off what is done; None without a terminal."""

    def close(self) -> None:
        """End the workers that this job started."""
        self._stack.close()

    @contextmanager
    def recorded(self, details: dict[str, Any], after_a_stop: str) -> Iterator[RunRecord]:
        """Keep run.json while the job runs, and write how it ended where it did not end well.

        `details` are fields of run.json beside those that every job has, `after_a_stop` says what is left when
        somebody stops the job.
        """
        self.record.details |= details
        self.record.write()
        try:
            yield self.record
        except KeyboardInterrupt:
            self._end_badly("stopped", f"stopped by hand; {after_a_stop}")
            raise
        except Exception as error:
            self._end_badly("failed", str(error))
            raise

    def _end_badly(self, state: str, message: str) -> None:
        # What broke the job may keep run.json from being written, too: then the job's own error is the one to tell,
        # and `status` finds the process gone.
        with suppress(OutputError):
            self.record.end(state, message)

    def run(
        self, build: Callable[[beam.Pipeline, str | None], None], what: str, total: int | None = None
    ) -> Counter[str]:
        """Build one pipeline and run it to its end, with progress on the terminal; return the stages' counters.

        `build` takes the pipeline and the folder in which workers tick off what is done (None without a terminal).
        The stages' seconds go into the record; those of a stage that ran before are added up.

        Raises:
            JobError: the job broke (`job_failed`).
        """
        with Progress(what, total, self.ticks):
            result = run_pipeline(lambda pipeline: build(pipeline, self.ticks), self._beam)
        self._add_seconds(result)
        return Counter(result.counters)

    def run_slices(
        self, slices: Iterable[Slice[Any]], work: SliceWork[Any], what: str, total: int | None = None
    ) -> Iterator[SliceResult]:
        """Have slices done where the options say, with progress on the terminal; yield what comes of each.

        Seconds of stages, and what each worker did, go into the record.

        Raises:
            JobError: the job broke, or whoever hands out slices is gone.
        """
        if self._engine is None:
            self._engine = self._stack.enter_context(engine_for(self._options, self._store.attempts))
        with Progress(what, total, self.ticks) as progress, stopped_by_terminate():
            for ended in run_slices(slices, work, self._engine):
                assert ended.result is not None
                self._add_seconds(ended.result)
                self._note_worker(what, ended)
                progress.ended(ended.worker, len(ended.slice))
                yield ended.result

    def _add_seconds(self, result: SliceResult) -> None:
        for stage, seconds in result.seconds.items():
            self.record.seconds[stage] = round(self.record.seconds.get(stage, 0.0) + seconds, 3)

    def _note_worker(self, what: str, ended: Ended[Any]) -> None:
        workers: dict[str, Any] = self.record.details.setdefault("workers", {})
        here: dict[str, Any] = workers.setdefault(ended.worker or "nobody", {})
        here["seconds"] = round(here.get("seconds", 0.0) + ended.seconds, 3)
        here[what] = here.get(what, 0) + len(ended.slice)

    def end(
        self, failed: int = 0, of: int = 0, what: str = "", bound: FailureBound | None = None, put_off: str = ""
    ) -> int:
        """Write the state of a job that came to its end; return the exit code.

        0 where nothing failed, 3 where no more than `bound` allows of the `of` pictures or tunes (`what`) did, else 1
        and a line on stderr. Without a bound any number may fail. Where some wait for what `put_off` says, the job is
        neither done nor failed: 1, with that line.
        """
        if put_off:
            self.record.end("put_off", put_off)
            print(f"image2music: {put_off}", file=sys.stderr)
            return EXIT_FAILED
        if self._options.part is None:
            self._store.clear_stuck_notes()
            self._compact()
        if bound is None or bound.allows(failed, of):
            self.record.end("done")
            return EXIT_SOME_FAILED if failed else EXIT_DONE
        message = f"{failed} of {of} {what} failed"
        self.record.end("failed", message)
        reasons = self._store.failures.uri
        print(f"image2music: {message}, more than --max_failures allows; see why in {reasons}", file=sys.stderr)
        return EXIT_FAILED

    def _compact(self) -> None:
        """Make larger shards of very many small ones; no row depends on it, and later commands read them faster."""
        if isinstance(self._store, OutputStore):
            try:
                self._store.compact()
            except (OSError, OutputError, pa.ArrowInvalid) as error:
                what = f"the shards of {self._store} stay as small as they are: {one_line(error)}"
                print(f"image2music: {what}; every row is there, and the next run tries it again", file=sys.stderr)


@contextmanager
def open_job(command: str, options: JobOptions, store: OutputStore | IndexStore) -> Iterator[Job]:
    """Hold the lock of an output or an index while a job runs; of its own part where it is one of an array job.

    Raises:
        ConfigError: an option that nobody knows (`unknown_option`).
        OutputError: the place cannot be written, or another run is writing there.
    """
    flags = beam_options(options.beam)
    store.prepare()
    part = options.part
    if part is not None and isinstance(store, OutputStore):
        lock, file = store.slice_lock(part.number, part.of), store.slice_run(part.number, part.of)
    else:
        lock, file = store.lock(), store.run
    with lock:
        job = Job(command, options, store, flags, file)
        try:
            yield job
        finally:
            job.close()


def versions() -> dict[str, str]:
    """Return the versions of this project, of Python and of the packages that can change a row."""
    found = {"image2music": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


MOST_ROWS = 20
_COLUMNS = ["image_uri", "title", "key", "meter", "tempo_qpm", "abc", "references", "composed_at"]
_HEADINGS = ("picture", "title", "key", "meter", "tempo", "bars", "best reference")
_WIDEST = 34


def compositions_table(output: OutputStore, since: str = "") -> str:
    """Return the first compositions by picture, one line each, and how many more there are.

    Those that were composed since a moment, `since` (ISO 8601), come before all others.
    """
    begun, number = datetime.fromisoformat(since) if since else None, 0
    shown = dict[tuple[bool, str], str]()
    for shard, rows in read_by_shard(output.compositions.shards(), ["image_uri", "composed_at"]):
        number += len(rows)
        here = ((_order(row, begun), shard) for row in rows)
        shown = dict(heapq.nsmallest(MOST_ROWS, chain(shown.items(), here)))
    read = ((_order(row, begun), row) for row in read_shards(sorted({*shown.values()}), _COLUMNS))
    found = {place: row for place, row in read if place in shown}
    lines = table(_HEADINGS, [_cells(found[place]) for place in sorted(found)])
    more = number - MOST_ROWS
    return f"{lines}\n… and {more} more" if more > 0 else lines


def _order(row: dict[str, Any], begun: datetime | None) -> tuple[bool, str]:
    return begun is not None and row["composed_at"] < begun, row["image_uri"]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from image2music.abc.playback import abc_to_score
    from image2music.music.score import count_bars

    references = row["references"]
    best = f"{references[0]['location']} ({references[0]['matched_by']})" if references else ""
    bars = count_bars(abc_to_score(row["abc"]))
    picture = os.path.basename(row["image_uri"])
    return picture, row["title"], row["key"], row["meter"], f"{row['tempo_qpm']:.0f}", str(bars), best


@dataclass(frozen=True)
class UnmetWishes:
    """How many rows do not keep a wish, or have one that was not understood; `first` names one and what it misses."""

    rows: int
    first: str = ""

    @property
    def line(self) -> str:
        """What to tell people; "" where all are kept."""
        kept = counted(self.rows, "row does not keep a wish", "rows do not keep a wish")
        if self.rows > 1:
            return f"{kept}, such as {self.first} (all in the column plan.unmet)"
        return f"{kept}: {self.first}" if self.rows else ""


def unmet_wishes(output: OutputStore, settings_hash: str) -> UnmetWishes:
    """Count the rows of these settings whose `plan.unmet` says something, and name the first by its picture's place."""
    number, first = 0, None
    for shard in open_shards(output.compositions.shards()):
        for batch in shard.iter_batches(columns=["settings_hash", "catalog_id", "image_uri", "plan.unmet"]):
            if "plan" not in batch.schema.names:  # of an early release
                continue
            misses = pc.greater(pc.list_value_length(pc.struct_field(batch["plan"], "unmet")), 0)
            missing = batch.filter(pc.and_(misses, pc.equal(batch["settings_hash"], settings_hash)))
            number += missing.num_rows
            rows = missing.take(pc.sort_indices(missing["image_uri"])[:1]).to_pylist()
            first = min([*rows, *filter(None, [first])], key=lambda row: row["image_uri"], default=None)
    if first is None:
        return UnmetWishes(0)
    name = first.get("catalog_id") or os.path.basename(first["image_uri"])
    return UnmetWishes(number, shorten(in_one_line(f"{name}: {first['plan']['unmet'][0]}"), 160, placeholder=" …"))


def failure_lines(failures: Dataset, most: int = 5) -> list[str]:
    """Return the first failures, one line each."""
    rows = failures.read(["stage", "uri", "reason", "message"])
    first = heapq.nsmallest(most, rows, key=lambda row: row["uri"])
    lines = [f"{in_one_line(row['uri'])}: {row['stage']}: {row['reason']}: {row['message']}" for row in first]
    more = failures.count() - most
    return [*lines, f"… and {more} more"] if more > 0 else lines


def catalog_counts(catalog: Matched | None) -> dict[str, int]:
    """Return what run.json says about a catalogue; nothing without one."""
    if catalog is None:
        return {}
    return {
        "catalog_rows": catalog.rows,
        "catalog_rows_without_picture": len(catalog.rows_without_picture),
        "catalog_rows_repeated": len(catalog.repeated_rows),
        "pictures_without_catalog_row": len(catalog.pictures_without_row),
        "catalog_rows_matched_loosely": len(catalog.loosely),
        "catalog_rows_without_name": catalog.catalog.nameless,
        "catalog_texts_cut": len(catalog.catalog.cut),
    }


def catalog_lines(catalog: Matched | None, most: int = 3) -> list[str]:
    """Return how a catalogue and the pictures fit together, with the first names of what does not."""
    if catalog is None:
        return []
    odd = (
        ("row", "without a picture", catalog.rows_without_picture),
        ("row", "for a picture that an earlier row has", catalog.repeated_rows),
        ("picture", "without a row", catalog.pictures_without_row),
        ("row", "whose picture was found by another spelling", [f"{row} is {uri}" for row, uri in catalog.loosely]),
        ("text", "too long", catalog.catalog.cut),
    )
    lines = [
        f"  {counted(len(names), what)} {why}: "
        f"{', '.join(map(in_one_line, names[:most]))}{' …' if len(names) > most else ''}"
        for what, why, names in odd
        if names
    ]
    nameless = counted(catalog.catalog.nameless, "row that names no picture", "rows that name no picture")
    lines += [f"  {nameless}"] if catalog.catalog.nameless else []
    return [f"{counted(catalog.rows, 'row')} in the catalogue, {catalog.catalog.line}", *lines]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return columns side by side, with long cells cut."""
    cells = [headings, *([_cut(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def places(output: OutputStore) -> str:
    """Return where everything was written."""
    return f"written to {', '.join(output.written())}"
