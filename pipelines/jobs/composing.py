"""The command `compose`: look up, run, record, and say what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from image2music.errors import JobError
from image2music.rows import KEY_COLUMNS, composition_key, retried
from pipelines.cli.options import ComposeOptions, beam_options
from pipelines.cli.tables import catalog_counts, catalog_lines, compositions_table, failure_lines, places
from pipelines.jobs.album import assemble_albums
from pipelines.jobs.compose import ComposeRun, compose_pipeline, look_up
from pipelines.runtime.ending import EXIT_DONE, EXIT_SOME_FAILED, GOES_ON, end_job, recorded
from pipelines.runtime.progress import Progress
from pipelines.runtime.record import RunRecord, counters, stage_seconds
from pipelines.runtime.running import new_pipeline, run_to_end
from transforms.compose import WITHOUT_ATTENTION
from transforms.stage import REASON


def compose(options: ComposeOptions) -> int:
    """Run the job; returns the exit code: 0 all done, 3 some pictures failed within the bound, 1 too many failed.

    Raises:
        Image2MusicError: something is missing or does not fit together, or another run is writing into the output.
    """
    run = look_up(options)
    run.output.prepare()
    with run.output.lock():
        return _run(run)


def _run(run: ComposeRun) -> int:
    options = run.options
    run.output.finish_generation()
    if options.overwrite:
        run.output.retire(run.settings.hash)
    finished = run.output.finished(run.settings.hash, KEY_COLUMNS, composition_key)
    beam_flags = beam_options(options.beam)
    again = retried(run.pictures)
    run.output.failures.forget(lambda row: row["uri"] in again)

    record = RunRecord(run.output.run, "compose", asdict(options), details=_details(run))
    record.write()
    with recorded(record, GOES_ON):
        with Progress("pictures", max(0, len(run.pictures) - len(finished))) as progress:
            pipeline = new_pipeline(beam_flags)
            compose_pipeline(pipeline, run, finished, progress.folder)
            result = run_to_end(pipeline)
        run.output.drop_repeated(KEY_COLUMNS, composition_key, finished)
        run.output.clear_stuck_notes()
        _check_rows(run, counters(result))
        albums = assemble_albums(run.output, beam_flags) if options.album else {}
    found = count(counters(result), places=len(run.pictures)) | {"skipped_files": dict(run.listed.skipped)}
    record.counts = found | catalog_counts(run.catalog) | albums
    record.seconds = stage_seconds(result)
    failed, pictures = record.counts["failed"], record.counts["pictures"]
    code = end_job(record, failed, pictures, "pictures", options.max_failures, run.output.failures.uri)
    print_summary(run, record)
    return code or (EXIT_SOME_FAILED if albums.get("albums_failed") else EXIT_DONE)


def _check_rows(run: ComposeRun, found: Mapping[str, int]) -> None:
    rows, wanted = (
        run.output.compositions.count(),
        found["compose.done"] + found["skip.skipped"],
    )
    if rows < wanted:
        message = f"{run.output} holds {rows} rows and should hold {wanted}: something removed them; run again"
        raise JobError(message, reason="rows_missing")


def count(found: dict[str, int], places: int) -> dict[str, Any]:
    """Counters of the stages to what a person asks: how many pictures, done, skipped, failed and where."""
    failed = {name.removesuffix(".failed"): number for name, number in found.items() if name.endswith(".failed")}
    composed, skipped, lost = found.get("compose.done", 0), found.get("skip.skipped", 0), sum(failed.values())
    return {
        "places": places,
        "pictures": composed + skipped + lost,
        "composed": composed,
        "skipped": skipped,
        "failed": lost,
        "failed_in_stage": {stage: number for stage, number in sorted(failed.items()) if number},
        "failed_for_reason": {
            name.removeprefix(REASON): number for name, number in sorted(found.items()) if name.startswith(REASON)
        },
        "without_attention": {
            name.removeprefix(WITHOUT_ATTENTION): number
            for name, number in sorted(found.items())
            if name.startswith(WITHOUT_ATTENTION)
        },
    }


def print_summary(run: ComposeRun, record: RunRecord) -> None:
    """The closing table, failures and places."""
    counts = record.counts
    if counts["composed"] + counts["skipped"]:
        print(compositions_table(run.output))
    print(f"{counts['composed']} composed, {counts['skipped']} there before, {counts['failed']} failed")
    if "albums" in counts:
        print(f"{counts['albums']} albums bound, {counts['albums_failed']} could not be, in {run.output.books}")
    for line in failure_lines(run.output.failures):
        print(f"  {line}")
    if run.listed.skipped:
        print(run.listed.skipped_line)
    for line in catalog_lines(run.catalog):
        print(line)
    print(places(run.output))


def _details(run: ComposeRun) -> dict[str, Any]:
    index = {"uri": run.index.uri, "version": run.index.version, "rows": run.index.rows}
    return {"settings": asdict(run.settings), "settings_hash": run.settings.hash, "index": index}
