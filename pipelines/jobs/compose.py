"""The job `compose`: pictures to tunes, one row each; and its albums, bound when all are there.

It goes in passes where requests wait for batches: each pass composes what has no row yet, and puts off the pictures of
which an answer is missing; between two passes the batches' answers come into the ledger. Without batches there is one.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import apache_beam as beam

from image2music.catalog import match, read_catalog, read_plans
from image2music.composers import registry as composers
from image2music.composers.chat.batches import BatchDesk, Underway
from image2music.composers.chat.ledger import Ledger, read_spending, spending_line
from image2music.embedders import base as embedders
from image2music.errors import JobError, ModelError, OutputError, PutOffError
from image2music.failures import counted, one_line
from image2music.index.table import narrowed, open_index
from image2music.rights import ModelLicences
from image2music.rows import KEY_COLUMNS, Row, composition_key, printable, retried
from image2music.storage.output import FAILURE_ID_COLUMNS, OutputStore, open_output, row_mark
from image2music.types import NO_METADATA
from pipelines.jobs.chain import ComposeRun, compose_pipeline
from pipelines.jobs.index import check_embedder
from pipelines.jobs.pictures import NEAR_DUPLICATES, ComposePictures, settings_of, slices_to_compose
from pipelines.jobs.prune import NOTHING_PRUNED, prune
from pipelines.options.compose import AblateOptions, ComposeOptions
from pipelines.runtime.environment import EXIT_DONE, EXIT_FAILED, EXIT_SOME_FAILED, GOES_ON
from pipelines.runtime.job import (
    Job,
    catalog_counts,
    catalog_lines,
    compositions_table,
    failure_lines,
    open_job,
    places,
    unmet_wishes,
)
from schemas.album import ALBUM_SCHEMA
from transforms.album import BindAlbums
from transforms.compose import WITHOUT_ATTENTION
from transforms.pictures import MOTION, PictureList, list_pictures
from transforms.shards import WriteShards, failure_sink
from transforms.stage import PUT_OFF, REASON


def compose(options: ComposeOptions) -> int:
    """Run the job; return the exit code: 0 all done, 3 some pictures failed within the bound, 1 too many failed.

    Raises:
        Image2MusicError: something is missing or does not fit together, or another run is writing into the output.
    """
    run = look_up(options)
    with open_job("compose", options, run.output) as job:
        desk = open_desk(run)
        if desk is not None and options.batch_api and (waiting := _wait_as_before(job, run, desk)):
            return job.end(put_off=waiting)
        finished = _prepare(run)
        with job.recorded(run_details(run), GOES_ON) as record:
            todo = len(run.pictures) - len(finished)
            found, put_off = compose_in_passes(job, run, desk, finished, todo, options.log_json)
            pruned = prune(run) if options.prune != "no" and not put_off else NOTHING_PRUNED
            binds = options.album or (pruned.rows and run.output.albums.shards())
            albums = assemble_albums(job, run.output, options.language) if binds and not put_off else {}
            listed, fit = run.listed.counts, catalog_counts(run.catalog)
            record.counts = count(found, places=len(run.pictures)) | listed | fit | albums
            record.counts |= pruned.counts if options.prune != "no" else {}
        counts = record.counts
        code = job.end(counts["failed"], counts["pictures"], "pictures", options.max_failures, put_off)
        if not put_off:
            forget_answers(run)
        pictures = run.listed
        more = (pictures.pairs_line, pictures.beside_line, pictures.skipped_line, *catalog_lines(run.catalog))
        print_summary(job, run.output, run.settings.hash, _done_line(counts), more)
        pruned.tell()
    if pruned.refused:
        return EXIT_FAILED
    return code or (EXIT_SOME_FAILED if albums.get("albums_failed") else EXIT_DONE)


def open_desk(run: ComposeRun) -> BatchDesk | None:
    """Return what sends and takes in batches, where requests go out in such, or did in an earlier run."""
    sending = run.options.sending
    if not (sending.batch_api or os.path.exists(sending.ledger)):
        return None
    desk = composers.load_batch_desk(run.options.composer, sending)
    return desk if desk is not None and (sending.batch_api or desk.underway().batches) else None


def _wait_as_before(job: Job, run: ComposeRun, desk: BatchDesk) -> str:
    """Where the last run ended for batches and nothing has changed, wait for these; return why it is still too early.

    A pass would read and embed every picture that waits, and find nothing new.
    """
    last = run.output.run.read() if run.output.run.exists() else {}
    counts, underway = last.get("counts", {}), desk.underway()
    same = last.get("settings_hash") == run.settings.hash and counts.get("places") == len(run.pictures)
    if last.get("state") != "put_off" or not same or not underway.batches or underway.held_back:
        return ""
    with job.recorded(run_details(run), GOES_ON) as record:
        record.counts = counts | {"composed": 0, "skipped": counts["composed"] + counts["skipped"]}
        if desk.collect() or desk.wait(run.options.batch_wait):
            return ""
    return batches_line(desk.underway(), f" for {counted(counts['put_off'], 'picture')}")


def compose_in_passes(
    job: Job, run: ComposeRun, desk: BatchDesk | None, finished: frozenset[bytes], todo: int, log_json: str = ""
) -> tuple[Counter[str], str]:
    """Compose what has no row, about `todo` pictures; send what waits for batches, and go on with what comes in time.

    Return the stages' counters, and in one line what pictures still wait for; empty where none does. Failures are those
    of the last pass: each takes up again what failed in the one before.

    Raises:
        JobError: the job broke, or rows are missing. ModelError: batches of an earlier run cannot be looked at.
    """
    earlier: Counter[str] = Counter()
    while True:
        if desk is not None:
            desk.collect()
            desk.clear()
            _warn_of_batches(run, desk)
        found = compose_once(job, run, finished, max(0, todo - earlier["compose.done"]), log_json)
        there = run.output.drop_repeated(KEY_COLUMNS, composition_key, finished)
        tell_failures_once(run.output)
        _check_rows(run, len(there), found)
        found = _added_up(earlier, found)
        if desk is None or not found[f"{PUT_OFF}.batch"]:
            break
        try:
            desk.submit()
            if not desk.wait(run.options.batch_wait):
                break
        except (ModelError, PutOffError) as error:
            return found, f"{one_line(error)}; {_put_off(found[f'{PUT_OFF}.batch'], 'picture')}, and {GOES_ON}"
        earlier, finished = found, run.output.finished(KEY_COLUMNS, composition_key)
        _forget_failures(run)
    return found, put_off_line(run, found, desk)


def compose_once(job: Job, run: ComposeRun, finished: frozenset[bytes], todo: int, log_json: str) -> Counter[str]:
    """Compose what has no row, in slices, or as one pipeline where Beam is given options; return stages' counters."""
    if run.options.is_one_pipeline:
        return job.run(partial(compose_pipeline, run=run, finished=finished, log_json=log_json), "pictures", todo)
    found: Counter[str] = Counter()
    slices = slices_to_compose(job, run, finished, found)
    work = ComposePictures(run.for_workers(), job.ticks, log_json)
    for result in job.run_slices(slices, work, "pictures", todo):
        found.update(result.counters)
    return found


def _warn_of_batches(run: ComposeRun, desk: BatchDesk) -> None:
    underway = desk.underway()
    if underway.requests and not run.options.sending.batch_api:
        what = f"{underway}, paid and not answered yet: without --batch_api they are asked and paid once more"
        print(f"image2music: {what}", file=sys.stderr)


def _added_up(earlier: Counter[str], found: Counter[str]) -> Counter[str]:
    """Add what earlier passes composed to the counters of the last one, which found their rows there before."""
    composed = earlier["compose.done"]
    more = {name: number for name, number in earlier.items() if name.startswith(WITHOUT_ATTENTION)}
    return found + Counter({"compose.done": composed, **more}) - Counter({"skip.skipped": composed})


def put_off_line(
    run: ComposeRun, found: Mapping[str, int], desk: BatchDesk | None = None, what: str = "picture"
) -> str:
    """Return in one line what pictures or tunes (one is a `what`) wait for, and what to do; empty where none waits."""
    reasons = {
        name.removeprefix(f"{PUT_OFF}."): number for name, number in found.items() if name.startswith(f"{PUT_OFF}.")
    }
    underway = desk.underway() if desk is not None else Underway()
    lines = []
    if underway.batches and "batch" in reasons:
        lines.append(batches_line(underway, f" for {counted(reasons.pop('batch'), what)}"))
    if underway.held_back or "max_cost" in reasons:
        waiting = reasons.pop("max_cost", 0) + reasons.pop("batch", 0)
        late = _put_off(waiting, what) if waiting else _put_off(underway.held_back, "request")
        lines.append(_money_line(run, late))
    lines += [f"{_put_off(number, what)} ({reason}); {GOES_ON}" for reason, number in sorted(reasons.items())]
    return "; ".join(lines)


def _put_off(number: int, what: str) -> str:
    return counted(number, f"{what} is put off", f"{what}s are put off")


def batches_line(underway: Underway, whose: str = "") -> str:
    """Return in one line what is under way in batches."""
    return f"submitted {underway}{whose}, to be answered within a day; the same command goes on with what has come"


def _money_line(run: ComposeRun, late: str) -> str:
    sending = run.options.sending
    spent = f"spent {read_spending(sending.ledger).all.cost:.2f} of --max_cost {sending.max_cost:g}"
    return f"{spent}, and {late}; the same command with a higher one goes on"


def look_up(options: ComposeOptions | AblateOptions) -> ComposeRun:
    """Open what the options name, and check that it fits together. Models are loaded where this process will use them.

    Raises:
        Image2MusicError: something is missing, or does not fit together.
    """
    pictures = PictureList((), {}) if options.from_rows else list_pictures(options.images, options.allow_web)
    catalog = match(read_catalog(options.catalog), pictures.places, options.images) if options.catalog else None
    index = open_index(options.index)
    if options.where is not None:
        index = narrowed(index, options.where)
    embedder_spec = options.embedder or index.embedder_spec
    embedder_id = embedders.load_embedder(embedder_spec).id
    check_embedder(index, embedder_spec, embedder_id)
    composer_id = _id_of_loaded(options) if options.works_here else composers.composer_id(options.composer)
    settings = settings_of(options, composer_id, embedder_id)
    if composers.is_remote_composer(options.composer) and not options.sending.ledger:
        print("image2music: workers are elsewhere: no answer is kept, and a killed job pays anew", file=sys.stderr)
    briefs = {place.uri: place.brief for place in catalog.places if place.brief != NO_METADATA} if catalog else {}
    output = open_output(options.output)
    plans = read_plans(options.plans) if options.plans else {}
    licences = ModelLicences(
        options.composer_licence or composers.KINDS.licence(options.composer), embedders.KINDS.licence(embedder_spec)
    )
    return ComposeRun(
        options,
        settings,
        index,
        embedder_spec,
        pictures.places,
        output,
        catalog,
        briefs,
        pictures,
        plans=plans,
        licences=licences,
    )


def _id_of_loaded(options: ComposeOptions | AblateOptions) -> str:
    # Whatever keeps it from loading is better said before anything is written.
    return composers.load_composer(options.composer, options.sending).id


_NO_ANSWER = ("server_unavailable", "timed_out")
"""Reasons of failures that a server's answers are not to blame for: the next run goes on with those that came."""


def forget_answers(run: ComposeRun, *parts: OutputStore) -> None:
    """Forget what a server answered a job that came to its end: pictures that failed by it are asked about anew."""
    ledger = run.options.sending.ledger
    reasons = {row["reason"] for output in (run.output, *parts) for row in output.failures.read(["reason"])}
    if not os.path.exists(ledger):
        return
    Ledger(ledger).forget_failures()
    if not reasons.intersection(_NO_ANSWER):
        Ledger(ledger).forget_answers()


def run_details(run: ComposeRun) -> dict[str, Any]:
    """Return what run.json says beside what it says of every job."""
    index = {"uri": run.index.uri, "version": run.index.version, "rows": run.index.rows}
    settings = {"settings": asdict(run.settings), "settings_hash": run.settings.hash, "index": index}
    settings["licences"] = asdict(run.licences)
    return settings | spending_details(run)


def spending_details(run: ComposeRun) -> dict[str, Any]:
    """Return what run.json says about a composer's requests, counted each time it is written; nothing without any.

    `this_run` is what came to it from now on, `all_runs` what all runs into the output came to.
    """
    sending = run.options.sending
    if not sending.ledger:
        return {}
    earlier = read_spending(sending.ledger)

    def used() -> dict[str, Any]:
        now = read_spending(sending.ledger)
        return {"price": sending.price, "this_run": asdict(now.since(earlier)), "all_runs": asdict(now)}

    return {"used": used}


def _prepare(run: ComposeRun) -> frozenset[bytes]:
    """Put the output in order; return the keys of the pictures that have their row."""
    run.output.finish_generation()
    if (cost := cost_of_other_settings(run)) is not None:
        print(f"image2music: {cost}", file=sys.stderr)
    if run.options.overwrite:
        run.output.retire(run.settings.hash)
    _forget_failures(run)
    return run.output.finished(KEY_COLUMNS, composition_key)


def _forget_failures(run: ComposeRun) -> None:
    again = retried(run.pictures)
    run.output.failures.forget(lambda row: row["uri"] in again)


def cost_of_other_settings(run: ComposeRun) -> str | None:
    """Return what it costs to go on where the output holds rows of other settings; None where it holds none.

    Raises:
        OutputError: it does, and neither --keep nor --overwrite was given (`other_settings`).
    """
    others = sum(rows for made_by, rows in run.output.rows_by_settings().items() if made_by != run.settings.hash)
    if not others:
        return None
    there = {uri for row in run.output.compositions.read(["image_uris"]) for uri in row["image_uris"]}
    fresh = sum(printable(picture) not in there for picture in run.pictures)
    old = "of other settings or rules"
    stay = counted(others, f"row {old} stays", f"rows {old} stay")
    composed = counted(fresh, "picture is composed", "pictures are composed")
    keeping = f"{stay} as {'it is' if others == 1 else 'they are'}; {composed}"
    everything = counted(len(run.pictures), "picture is composed anew", "pictures are composed anew")
    moving = f"all rows move to {run.output.generations}, and {'all ' if len(run.pictures) > 1 else ''}{everything}"
    if run.options.refresh:
        keeping = f"{stay}, unless references changed"
        moving = f"without --refresh: all rows move to {run.output.generations}, and all pictures are composed anew"
    if run.options.again:
        keeping = f"{stay}, but for those that --ids names"
        moving = f"without --again: all rows move to {run.output.generations}, and all pictures are composed anew"
    if run.options.keep:
        return f"--keep: {keeping}"
    if run.options.overwrite:
        return f"--overwrite: {moving}"
    message = (
        f"{run.output} holds compositions of other settings or rules. --keep: {keeping}. --overwrite: {moving}. "
        "Add one of them, or name another --output"
    )
    raise OutputError(message, reason="other_settings")


@dataclass(frozen=True)
class ToldFailures:
    """The failures of pictures in an output, each counted once: their `ids`, and how many by stage and reason."""

    ids: Collection[str]
    reasons: Counter[tuple[str, str]]


def tell_failures_once(output: OutputStore, has_row: Collection[str] = ()) -> ToldFailures:
    """Drop failures that were written twice, as a worker was lost in between; and those of pictures that have a row.

    Return what is left, but for those of albums. Shards are read once, and once more where something is to go.
    """
    told, ids, reasons = set[bytes](), set[str](), Counter[tuple[str, str]]()

    def again(row: Row) -> bool:
        mark = row_mark(row[name] for name in FAILURE_ID_COLUMNS)
        repeated = mark in told or (row["id"] in has_row and row["stage"] != "bind")
        told.add(mark)
        return repeated

    some_go = False
    for row in output.failures.read([*FAILURE_ID_COLUMNS]):
        if again(row):
            some_go = True
        elif row["stage"] != "bind":
            ids.add(row["id"])
            reasons[row["stage"], row["reason"]] += 1
    if some_go:
        told.clear()
        output.failures.forget(again)
    return ToldFailures(ids, reasons)


def _check_rows(run: ComposeRun, rows: int, found: Mapping[str, int]) -> None:
    wanted = found["compose.done"] + found["skip.skipped"]
    if rows < wanted:
        there = counted(rows, "row")
        message = f"{run.output} holds {there} and should hold {wanted}: something removed them; run again"
        raise JobError(message, reason="rows_missing")


def count(found: dict[str, int], places: int) -> dict[str, Any]:
    """Turn counters of stages into counts of pictures: done, skipped, failed or put off, in which stage and why."""
    failed = {name.removesuffix(".failed"): number for name, number in found.items() if name.endswith(".failed")}
    composed, skipped, lost = found.get("compose.done", 0), found.get("skip.skipped", 0), sum(failed.values())
    waiting = sum(number for name, number in found.items() if name.endswith(f".{PUT_OFF}"))
    return {
        "places": places,
        "pictures": composed + skipped + lost + waiting,
        "composed": composed,
        "skipped": skipped,
        "failed": lost,
        "put_off": waiting,
        "motion_photos": found.get(MOTION, 0),
        **({"near_duplicates": found[NEAR_DUPLICATES]} if NEAR_DUPLICATES in found else {}),
        "failed_in_stage": {stage: number for stage, number in sorted(failed.items()) if number},
        "failed_for_reason": {
            name.removeprefix(REASON): number for name, number in sorted(found.items()) if name.startswith(REASON)
        },
        "put_off_for_reason": {
            name.removeprefix(f"{PUT_OFF}."): number
            for name, number in sorted(found.items())
            if name.startswith(f"{PUT_OFF}.")
        },
        "without_attention": {
            name.removeprefix(WITHOUT_ATTENTION): number
            for name, number in sorted(found.items())
            if name.startswith(WITHOUT_ATTENTION)
        },
    }


def print_summary(
    job: Job, output: OutputStore, settings_hash: str, done: str, more: Iterable[str] = (), since: str = ""
) -> None:
    """Print what every command that composes ends with; rows that do not keep a wish are counted in run.json, too.

    The table has first what was composed `since` a moment, by default the job's start. `done` says what was, `more` are
    lines of one command alone.
    """
    record, unmet = job.record, unmet_wishes(output, settings_hash)
    record.counts["wishes_unmet"] = unmet.rows
    record.write()
    counts = record.counts
    if output.compositions.shards():
        print(compositions_table(output, since or record.started_at))
    print(done)
    if "albums" in counts:
        print(f"{counted(counts['albums'], 'album')} bound, {counts['albums_failed']} could not be, in {output.books}")
    for line in failure_lines(output.failures):
        print(f"  {line}")
    for line in filter(None, (unmet.line, motion_line(counts), alike_line(counts), *more)):
        print(line)
    if (spent := read_spending(output.ledger).all).requests:
        print(f"requests for {output} so far: {spending_line(spent)}")
    print(places(output))


def _done_line(counts: Mapping[str, Any]) -> str:
    put_off = f", {counts['put_off']} put off" if counts["put_off"] else ""
    return f"{counts['composed']} composed, {counts['skipped']} there before, {counts['failed']} failed{put_off}"


def motion_line(counts: Mapping[str, Any]) -> str:
    """Return how many pictures hold a film; empty where none does."""
    number = counts.get("motion_photos", 0)
    return f"each one picture: {number} with its film in the same file (motion photo)" if number else ""


def alike_line(counts: Mapping[str, Any]) -> str:
    """Return how many pictures are like others, as far as it is known; empty where none is."""
    near = counts.get("near_duplicates", 0)
    several = "near-duplicates of other pictures of their album"
    what = counted(near, "near-duplicate of another picture of its album", several)
    return f"{what} (bursts, edits, other sizes)" if near else ""


def assemble_albums(job: Job, output: OutputStore, language: str) -> dict[str, int]:
    """Write OUTPUT/albums and OUTPUT/books from OUTPUT/compositions; return how many were bound or could not be.

    They take the places of earlier ones when they are whole. Titles of chapters are in `language`.
    """
    staged = output.begin_albums()
    output.failures.forget(lambda row: row["stage"] == "bind")
    found = job.run(partial(album_pipeline, output=output, staged=staged, language=language), "albums")
    output.publish_albums()
    return {"albums": found["bind.done"], "albums_failed": found["bind.failed"]}


def album_pipeline(
    pipeline: beam.Pipeline, ticks: str | None, output: OutputStore, staged: OutputStore, language: str
) -> None:
    """Bind every album of an output anew."""
    bound = pipeline | "Shards" >> beam.Create(output.compositions.shards()) | BindAlbums(staged.uri, language)
    bound.done | "WriteAlbums" >> beam.ParDo(WriteShards(staged.albums, ALBUM_SCHEMA, dict, ("album",), progress=ticks))
    bound.failed | "WriteFailures" >> failure_sink(output.failures)
