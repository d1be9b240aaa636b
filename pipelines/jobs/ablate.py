"""The job `ablate`: the paper's ablations. One description and one search a picture, then every variant's loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apache_beam as beam

from image2music import __version__
from image2music.composers import registry as composers
from image2music.errors import OutputError
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
from image2music.loop.ablations import FULL, Variant, variants_of
from image2music.rows import KEY_COLUMNS, Provenance, composition_key, retried
from image2music.settings import ComposeSettings
from image2music.storage.output import OutputStore
from pipelines.jobs.chain import ComposeRun, find_references, tell_apart
from pipelines.jobs.compose import (
    count,
    forget_answers,
    look_up,
    put_off_line,
    spending_details,
    tell_failures_once,
)
from pipelines.jobs.dry_run import plan_lines
from pipelines.jobs.pictures import ComposePictures, Todo, finished_by, slices_to_compose
from pipelines.jobs.score import System, read_output
from pipelines.options.compose import AblateOptions
from pipelines.runtime.beam_runner import run_here
from pipelines.runtime.environment import EXIT_DONE, GOES_ON
from pipelines.runtime.job import Job, open_job
from pipelines.runtime.slices import Slice, SliceResult
from transforms.compose import ComposeVariant
from transforms.shards import composition_sink, failure_sink
from transforms.stage import Stage

REPORT, TABLES = "ablation.json", "ablation.md"


def ablate(options: AblateOptions) -> int:
    """Compose by every variant, score all and print the table; goes on where an earlier run stopped.

    Return the exit code: 0 all done, 3 some tunes failed within the bound, 1 too many failed.
    """
    run = look_up(options)
    if options.dry_run:
        print(f"{plan_lines(run)}\nvariants    {', '.join(variant.name for variant in variants_of(run.options.loop))}")
        return EXIT_DONE
    with open_job("ablate", options, run.output) as job:
        finished = _prepare(run)
        with job.recorded(spending_details(run), GOES_ON) as record:
            found = _compose_all(job, run, finished)
            for variant in variants_of(options.loop):
                run.output.part(variant.name).drop_repeated(KEY_COLUMNS, composition_key)
                tell_failures_once(run.output.part(variant.name))
            tell_failures_once(run.output)
            record.counts = _counts(found, len(run.pictures))
        put_off = put_off_line(run, found, None, "tune")
        code = job.end(record.counts["failed"], record.counts["tunes"], "tunes", options.max_failures, put_off)
        if not put_off:
            forget_answers(run, *(run.output.part(variant.name) for variant in variants_of(options.loop)))
        print(ablation_report(run.output, options.seed, [variant.name for variant in variants_of(options.loop)]))
    return code


def _compose_all(job: Job, run: ComposeRun, finished: frozenset[bytes]) -> Counter[str]:
    """Compose every variant of what lacks one, in slices, or as one pipeline where options of Beam's are given."""
    total = len(variants_of(run.options.loop)) * (len(run.pictures) - len(finished))
    if run.options.is_one_pipeline:
        return job.run(partial(ablate_pipeline, run=run, finished=finished), "tunes", total)
    found: Counter[str] = Counter()
    slices = slices_to_compose(job, run, finished, found)
    for result in job.run_slices(slices, ComposeVariants(run.for_workers(), job.ticks), "pictures"):
        found.update(result.counters)
    return found


@dataclass(frozen=True)
class ComposeVariants(ComposePictures):
    """Work: pictures to a row of every variant."""

    def do(self, slice: Slice[Todo]) -> SliceResult:
        """Compose every variant of the pictures of which one is missing."""
        homes = [self.run.output.part(variant.name) for variant in variants_of(self.run.options.loop)]
        for home in (self.run.output, *homes):
            home.failures.discard(home.failures.shards(slice.id))
        composed = frozenset.intersection(*(finished_by(home.compositions, slice) for home in homes))
        return run_here(partial(self._build_variants, slice=slice, composed=composed))

    def _build_variants(self, pipeline: beam.Pipeline, slice: Slice[Todo], composed: frozenset[bytes]) -> None:
        refs = pipeline | "Pictures" >> beam.Create([one.ref for one in slice.items])
        retrieved, failed = find_references(refs, self.run, frozenset(), composed)
        write_variants(retrieved, failed, self.run, self.ticks, slice.id)


def ablate_pipeline(pipeline: beam.Pipeline, ticks: str | None, run: ComposeRun, finished: frozenset[bytes]) -> None:
    """Build a whole job as one pipeline."""
    refs, failed = tell_apart(pipeline, run)
    retrieved, lost = find_references(refs, run, finished)
    write_variants(retrieved, [*failed, *lost], run, ticks)


def write_variants(
    retrieved: beam.PCollection,
    failed_before: Sequence[beam.PCollection],
    run: ComposeRun,
    ticks: str | None,
    of: str = "",
) -> None:
    """Build a branch for each variant, from references to rows."""
    options = run.options
    failed_before | "Failures" >> beam.Flatten() | "WriteFailures" >> failure_sink(run.output.failures, of=of)
    for variant in variants_of(options.loop):
        handler = ComposeVariant(
            variant,
            options.composer,
            options.loop,
            options.seed,
            options.batch_size,
            options.attention_options,
            options.sending,
            licences=run.licences,
        )
        composed = retrieved | f"Compose {variant.name}" >> Stage(handler, run.limit)
        home, provenance = run.output.part(variant.name), _provenance(run, variant)
        composed.done | f"Write {variant.name}" >> composition_sink(
            home.compositions, run.index.dim, run.more_columns, provenance, ticks, of=of
        )
        composed.failed | f"Failures {variant.name}" >> failure_sink(home.failures, of=of)


def _prepare(run: ComposeRun) -> frozenset[bytes]:
    """Forget failures that are tried again; return the keys of the pictures that have a row of every variant."""
    outputs = [(variant, run.output.part(variant.name)) for variant in variants_of(run.options.loop)]
    again = retried(run.pictures)
    for variant, output in outputs:
        if output.rows_by_settings().keys() - {_settings(run, variant).hash}:
            message = f"{output} holds compositions of other settings or rules: name another --output"
            raise OutputError(message, reason="other_settings")
    finished = [output.finished(KEY_COLUMNS, composition_key) for _, output in outputs]
    for output in (run.output, *(output for _, output in outputs)):
        output.failures.forget(lambda row: row["uri"] in again)
    return frozenset.intersection(*finished)


def _settings(run: ComposeRun, variant: Variant) -> ComposeSettings:
    altered = variant.alter(composers.load_composer(run.options.composer, run.options.sending))
    return replace(run.settings, composer_id=altered.id, loop=variant.loop(run.settings.loop))


def _provenance(run: ComposeRun, variant: Variant) -> Provenance:
    settings = _settings(run, variant)
    return replace(run.provenance, composer_id=settings.composer_id, settings_hash=settings.hash)


def _counts(found: dict[str, int], places: int) -> dict[str, Any]:
    tunes = sum(number for name, number in found.items() if name.startswith("compose_") and name.endswith(".done"))
    failed = count(found, places)["failed"]
    return {"places": places, "tunes": tunes + failed, "failed": failed}


def ablation_report(output: OutputStore, seed: int, variants: Sequence[str]) -> str:
    """Score every variant, write ablation.json and ablation.md, and return the tables."""
    systems = [read_output(output.part(name), name) for name in variants]
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
    """Compare each other variant with the full method, picture by picture."""
    return {system.name: differences(rows[system.name], rows[FULL], seed) for system in systems if system.name != FULL}
