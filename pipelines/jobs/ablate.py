"""The paper's ablations: one description and one search a picture, then the loop of every variant."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import apache_beam as beam

from image2music import __version__
from image2music.composers import registry as composers
from image2music.evaluation.compare import (
    Difference,
    difference_json,
    differences,
    differences_table,
    measures_table,
    summarise,
    summary_json,
)
from image2music.evaluation.measures import Row, score_rows
from image2music.loop.ablations import FULL, VARIANTS, Variant
from image2music.rows import KEY_COLUMNS, Provenance, composition_key, retried
from image2music.settings import ComposeSettings
from image2music.storage.output import OutputStore
from pipelines.cli.options import ComposeOptions, beam_options
from pipelines.jobs.compose import ComposeRun, find_references, look_up
from pipelines.jobs.composing import count
from pipelines.jobs.dry_run import plan_lines
from pipelines.jobs.loaders import System, read_output
from pipelines.runtime.ending import EXIT_DONE, GOES_ON, end_job, recorded
from pipelines.runtime.progress import Progress
from pipelines.runtime.record import RunRecord, counters, stage_seconds
from pipelines.runtime.running import new_pipeline, run_to_end
from transforms.compose import ComposeVariant
from transforms.shards import composition_sink, failure_sink
from transforms.stage import Stage

REPORT, TABLES = "ablation.json", "ablation.md"


def ablate_pipeline(pipeline: beam.Pipeline, run: ComposeRun, finished: frozenset[bytes], ticks: str | None) -> None:
    """As `compose.build` until the references are found; from there on a branch for each variant."""
    options = run.options
    retrieved, failed = find_references(pipeline, run, finished)
    failed | "Failures" >> beam.Flatten() | "WriteFailures" >> failure_sink(run.output.failures)
    for variant in VARIANTS:
        handler = ComposeVariant(
            variant, options.composer, options.loop, options.seed, options.batch_size, options.attention_options
        )
        composed = retrieved | f"Compose {variant.name}" >> Stage(handler, run.limit)
        home, provenance = run.output.part(variant.name), _provenance(run, variant)
        composed.done | f"Write {variant.name}" >> composition_sink(
            home.compositions, run.index.dim, run.more_columns, provenance, ticks
        )
        composed.failed | f"Failures {variant.name}" >> failure_sink(home.failures)


def _settings(run: ComposeRun, variant: Variant) -> ComposeSettings:
    altered = variant.alter(composers.load_composer(run.options.composer))
    loop = replace(run.settings.loop, accept=variant.accept)
    return replace(run.settings, composer_id=altered.id, loop=loop)


def _provenance(run: ComposeRun, variant: Variant) -> Provenance:
    settings = _settings(run, variant)
    return replace(run.provenance, composer_id=settings.composer_id, settings_hash=settings.hash)


def ablate(options: ComposeOptions) -> int:
    """Compose by every variant, score all and print the table; goes on where an earlier run stopped.

    Returns the exit code: 0 all done, 3 some tunes failed within the bound, 1 too many failed.
    """
    run = look_up(options)
    if options.plan:
        print(f"{plan_lines(run)}\nvariants    {', '.join(variant.name for variant in VARIANTS)}")
        return EXIT_DONE
    run.output.prepare()
    with run.output.lock():
        return _run(run)


def _run(run: ComposeRun) -> int:
    options = run.options
    finished = [
        run.output.part(v.name).finished(_settings(run, v).hash, KEY_COLUMNS, composition_key) for v in VARIANTS
    ]
    again = retried(run.pictures)
    done = frozenset.intersection(*finished)
    for output in (run.output, *(run.output.part(variant.name) for variant in VARIANTS)):
        output.failures.forget(lambda row: row["uri"] in again)
    record = RunRecord(run.output.run, "ablate", asdict(options))
    record.write()
    beam_flags = beam_options(options.beam)
    with recorded(record, GOES_ON):
        with Progress("tunes", len(VARIANTS) * (len(run.pictures) - len(done))) as progress:
            pipeline = new_pipeline(beam_flags)
            ablate_pipeline(pipeline, run, done, progress.folder)
            result = run_to_end(pipeline)
        run.output.clear_stuck_notes()
        for variant in VARIANTS:
            run.output.part(variant.name).drop_repeated(KEY_COLUMNS, composition_key)
    record.counts, record.seconds = _counts(counters(result), len(run.pictures)), stage_seconds(result)
    failed, tunes = record.counts["failed"], record.counts["tunes"]
    code = end_job(record, failed, tunes, "tunes", options.max_failures, run.output.failures.uri)
    print(ablation_report(run.output, options.seed))
    return code


def _counts(found: dict[str, int], places: int) -> dict[str, Any]:
    tunes = sum(number for name, number in found.items() if name.startswith("compose_") and name.endswith(".done"))
    failed = count(found, places)["failed"]
    return {"places": places, "tunes": tunes + failed, "failed": failed}


def ablation_report(output: OutputStore, seed: int) -> str:
    """Score every variant, write ablation.json and ablation.md, and return the tables."""
    systems = [read_output(output.part(variant.name), variant.name) for variant in VARIANTS]
    rows = {system.name: score_rows(system.name, system.pieces) for system in systems}
    summaries = [summarise(system.name, system.pieces, rows[system.name], seed) for system in systems]
    changes = against_full(systems, rows, seed)
    content = {
        "image2music": __version__,
        "seed": seed,
        "variants": {summary.system: summary_json(summary) for summary in summaries},
        "against_full": {name: [difference_json(one) for one in found] for name, found in changes.items()},
    }
    output.write_json(REPORT, content)
    parts = [measures_table(summaries), *(differences_table(found, name, FULL) for name, found in changes.items())]
    text = "\n\n".join(parts)
    output.write(TABLES, f"{text}\n".encode())
    return text


def against_full(systems: list[System], rows: dict[str, list[Row]], seed: int) -> dict[str, list[Difference]]:
    """Each other variant against the full method, picture by picture."""
    return {system.name: differences(rows[system.name], rows[FULL], seed) for system in systems if system.name != FULL}
