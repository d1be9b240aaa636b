"""What was measured, as rows beside their peers and as lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.index_phases import WORKERS
from benchmarks.notebook import Figures
from benchmarks.row import BenchRow

MIDICAPS_ROWS = 168_385

Found = Mapping[str, Figures]


def rows(found: Found, n_rows: int) -> list[BenchRow]:
    """The rows of the benchmark.

    Throughput counts CPU seconds, for a machine that does other things besides gives no wall time to compare: ours
    keeps `WORKERS` cores busy, the peer one.
    """
    build, query, batch = found["build"], found["query"], found["batch"]
    workers = found["workers"]
    return [
        BenchRow(
            "rows_per_minute",
            60 * WORKERS * n_rows / build["cpu_seconds"],
            60 / _peer_seconds(found["peer"], "mido", "cpu_s"),
            "one file at a time (mido), batches of 32 in file order",
            f"rows a minute of CPU time: {WORKERS} processes; one",
            "higher",
        ),
        BenchRow("query_ms", query["query_ms"], query["exact_ms"], "exact search in LanceDB", "ms, p50", "lower"),
        BenchRow(
            "batch_query_ms", batch["batch_query_ms"], batch["exact_ms"], "one by one, exact", "ms a picture", "lower"
        ),
        BenchRow("update_1pct_s", found["update_1pct"]["seconds"], build["seconds"], "full build", "s", "lower"),
        BenchRow(
            "two_workers_rate",
            60 * workers["rows"] / workers["two_s"],
            60 * workers["rows"] / workers["one_s"],
            "one worker",
            "rows a minute, loading included",
            "higher",
        ),
    ]


def details(found: Found, n_rows: int) -> Iterator[str]:
    """What the rows do not say."""
    yield from _of_the_build(found["build"], n_rows)
    yield from _of_the_peer(found["peer"])
    yield from _of_searching(found["query"], found["batch"])
    yield from _of_updates(found)
    workers = found["workers"]
    yield (
        f"workers: {workers['rows']:.0f} rows, one {workers['one_s']:.0f} s ({workers['one_cpu_s']:.0f} s of CPU), two "
        f"{workers['two_s']:.0f} s ({workers['two_cpu_s']:.0f} s of CPU), the same tables, vectors within "
        f"{workers['vector_difference']:.1g}"
    )


def _of_the_build(build: Figures, n_rows: int) -> Iterator[str]:
    wall, cpu = build["seconds"] / n_rows, build["cpu_seconds"] / n_rows
    yield (
        f"build: {build['seconds']:.0f} s by the clock, {build['cpu_seconds']:.0f} s of CPU, {WORKERS} workers, "
        f"loading included: {60 / wall:.0f} rows a minute by the clock; peak memory of all processes "
        f"{build['peak_bytes'] / 1e9:.2f} GB (shared pages once)"
    )
    yield (
        f"{MIDICAPS_ROWS} rows at this rate: {MIDICAPS_ROWS * cpu / WORKERS / 60:.0f} minutes on {WORKERS} free cores, "
        f"{MIDICAPS_ROWS * wall / 60:.0f} at the clock's speed of this run"
    )


def _of_the_peer(peer: Figures) -> Iterator[str]:
    each = 1000 / peer["rows"]
    yield (
        f"peer: measured on {peer['rows']:.0f} of these rows, extrapolated by rate; CPU a row: "
        f"{peer['convert_mido_cpu_s'] * each:.1f} ms to read with mido, which writes no ABC (the paper's own "
        f"converter, pure Python too, is in no registry), {peer['convert_midi2abc_cpu_s'] * each:.1f} ms by the C "
        f"program midi2abc, {peer['embed_cpu_s'] * each:.1f} ms to embed; with midi2abc "
        f"{60 / _peer_seconds(peer, 'midi2abc', 'cpu_s'):.0f} rows a minute of CPU time, "
        f"{60 / _peer_seconds(peer, 'mido', 's'):.0f} by the clock with mido"
    )


def _of_searching(query: Figures, batch: Figures) -> Iterator[str]:
    yield (
        f"search: recall@5 {query['recall']:.4f} over {query['queries']:.0f} unseen captions; p95 "
        f"{query['query_p95_ms']:.1f} ms; numpy's product with all vectors in memory {query['numpy_ms']:.1f} ms; the "
        f"whole retrieval of a picture (two searches, what suits chosen, music read) {query['picture_ms']:.1f} ms"
    )
    yield (
        f"batch: {batch['pictures']:.0f} pictures, hits with their music; exact search one by one over "
        f"{batch['exact_queries']:.0f} of them, ids only"
    )


def _of_updates(found: Found) -> Iterator[str]:
    for name, what in (("nothing_changed", "by size and time of change"), ("nothing_changed_rehash", "by --rehash")):
        yield f"nothing changed, {what}: {found[name]['seconds']:.1f} s, {found[name]['cpu_seconds']:.1f} s of CPU"
    update, build = found["update_1pct"], found["build"]
    yield (
        f"update of 1 %: {update['cpu_seconds']:.1f} s of CPU; "
        f"{100 * update['cpu_seconds'] / build['cpu_seconds']:.2f} % of the build's CPU time, "
        f"{100 * update['seconds'] / build['seconds']:.2f} % of its time by the clock"
    )


def _peer_seconds(peer: Figures, converter: str, clock: str) -> float:
    """Seconds a row."""
    return (peer[f"convert_{converter}_{clock}"] + peer[f"embed_{clock}"]) / peer["rows"]
