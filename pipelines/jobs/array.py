"""An array job: `compose --slice K/N`, many commands that need no engine between them, and `finish`, which joins them.

Every part lists the same pictures and cuts the same slices; it does its share and nobody else's. Parts share what they
find out of places and albums. No part holds the output's lock; `finish` does.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from image2music.errors import OutputError
from image2music.failures import counted
from image2music.rows import KEY_COLUMNS, composition_key
from image2music.storage.output import OutputStore, open_output
from pipelines.jobs.chain import ComposeRun
from pipelines.jobs.compose import (
    ToldFailures,
    assemble_albums,
    compose_once,
    cost_of_other_settings,
    count,
    look_up,
    print_summary,
    put_off_line,
    run_details,
    tell_failures_once,
)
from pipelines.jobs.pictures import NEAR_DUPLICATES, Distinct, by_album, each_once, slices_of_part, survey_of_places
from pipelines.options.compose import ComposeOptions
from pipelines.runtime.environment import EXIT_DONE, EXIT_SOME_FAILED, GOES_ON
from pipelines.runtime.job import open_job
from pipelines.runtime.options import ArrayPart
from pipelines.runtime.slices import PICTURES_A_SLICE
from transforms.pictures import MOTION, list_pictures
from transforms.stage import REASON

_MOST_COMMANDS = 8
_SHARED = ("of", "settings_hash", "index", "images", "slice_size", "album")
"""Details of a part that are the same for all: what is cut into slices, and what rows depend on."""


def compose_part(options: ComposeOptions, part: ArrayPart) -> int:
    """Compose one part's share; return the exit code, as `compose` does for all.

    Raises:
        Image2MusicError: as `compose`; other parts were started with other settings (`other_parts`).
    """
    run = look_up(options)
    with open_job("compose", options, run.output) as job:
        details = run_details(run) | _shared_details(run, part)
        _check_others(run.output, details)
        cost_of_other_settings(run)
        finished = run.output.finished(KEY_COLUMNS, composition_key)
        with job.recorded(details, GOES_ON) as record:
            found = compose_once(job, run, finished, len(run.pictures) // part.of, options.log_json)
            record.counts = count(found, found["identify.done"] + found["identify.failed"])
        counts, put_off = record.counts, put_off_line(run, found)
        code = job.end(counts["failed"], counts["pictures"], "pictures", options.max_failures, put_off)
    print(f"part {part}: {counts['composed']} composed, {counts['skipped']} there before, {counts['failed']} failed")
    print(f"when all parts are done: image2music finish {shlex.quote(options.output)}")
    return code


def _shared_details(run: ComposeRun, part: ArrayPart) -> dict[str, Any]:
    options = run.options
    return {"of": part.of, "images": options.images, "slice_size": options.slice_size, "album": options.album}


def _check_others(output: OutputStore, details: Mapping[str, Any]) -> None:
    for other in output.part_records():
        if differs := [name for name in _SHARED if other.get(name) != details.get(name)]:
            message = (
                f"{output} has parts of an array job with another {' and another '.join(differs)}: "
                f"join them first (image2music finish {shlex.quote(output.uri)}), or name another --output"
            )
            raise OutputError(message, reason="other_parts")


def finish(options: ComposeOptions, records: Sequence[Mapping[str, Any]], command: Callable[[int], str]) -> int:
    """Join the parts of an array job, whose `options` are those of one of them; return the exit code of the whole.

    Doubled rows go, and failures of pictures that have a row now; albums are bound; run.json says how the whole job
    ended. Where something is missing, the commands that make it (`command` of a part's number) are printed, and the
    exit code is 1.
    """
    options, of = replace(options, part=None), records[0]["of"]
    output, albums = open_output(options.output), dict[str, int]()
    with open_job("compose", options, output) as job:
        details = {name: value for name, value in records[0].items() if name in ("settings", "settings_hash", "index")}
        with job.recorded(details, GOES_ON) as record:
            there = output.drop_repeated(KEY_COLUMNS, composition_key)
            told = tell_failures_once(output, there)
            failed = told.reasons.total()
            pictures, missing = _missing(options, output, of, lambda id: id in there or id in told.ids)
            record.counts = _counts(records, pictures, len(there), told)
            record.seconds |= _summed(records)
            if lacking := sorted({*missing, *_unfinished(records)}):
                _say_missing(sum(missing.values()), lacking, of, command)
                pictures_missing = counted(sum(missing.values()), "picture is missing", "pictures are missing")
                return job.end(put_off=f"{pictures_missing}, of {len(lacking)} of {counted(of, 'part')}")
            if options.album:
                albums = assemble_albums(job, output, options.language)
                record.counts |= albums
        code = job.end(failed, pictures, "pictures", options.max_failures)
        done = f"{counted(len(there), 'row')}, {failed} failed, of {counted(of, 'part')}"
        since = min(one["started_at"] for one in records)
        print_summary(job, output, str(records[0].get("settings_hash")), done, since=since)
        output.clear_slice_runs()
    return code or (EXIT_SOME_FAILED if albums.get("albums_failed") else EXIT_DONE)


def _missing(
    options: ComposeOptions, output: OutputStore, of: int, is_settled: Callable[[str], bool]
) -> tuple[int, Counter[int]]:
    """Return how many pictures there are, and how many of each part have neither a row nor a failure."""
    listed = list_pictures(options.images, options.allow_web).places
    survey = survey_of_places(listed, output)
    survey.tidy()
    unread = sum(row is None for _, row in survey.read())
    if unread:
        return len(listed), Counter({number: unread * (number == 1) for number in range(1, of + 1)})
    found: Counter[str] = Counter()
    pictures: Iterable[Distinct] = each_once(survey, None, found=found)
    if options.album and not options.from_rows:
        pictures = sorted(pictures, key=lambda one: by_album(one.uri))
    missing: Counter[int] = Counter()
    number_of = 0
    most = options.slice_size or PICTURES_A_SLICE
    slices = slices_of_part(pictures, lambda one: one.image_id, lambda one: one.size, options, most)
    for number, slice in enumerate(slices):
        number_of += len(slice)
        lacking = sum(not is_settled(one.image_id) for one in slice.items)
        missing.update({number % of + 1: lacking} if lacking else {})
    return number_of + found["identify.failed"], missing


def _unfinished(records: Sequence[Mapping[str, Any]]) -> set[int]:
    """Return the parts that are at work, were killed or broke; those with too many failures are done.

    One that never began lacks pictures, or has none to do.
    """
    return {record["number"] for record in records if record["state"] != "done" and not _has_too_many_failures(record)}


def _has_too_many_failures(record: Mapping[str, Any]) -> bool:
    return record["state"] == "failed" and bool(record["counts"].get("failed"))


def _say_missing(pictures: int, parts: Sequence[int], of: int, command: Callable[[int], str]) -> None:
    have = counted(pictures, "picture has", "pictures have")
    print(f"{have} neither a row nor a failure; these parts of {of} are missing, at work, or broke:")
    for number in parts[:_MOST_COMMANDS]:
        print(f"  {command(number)}")
    if len(parts) > _MOST_COMMANDS:
        print(f"  … and parts {', '.join(map(str, parts[_MOST_COMMANDS:]))}")


def _counts(records: Sequence[Mapping[str, Any]], pictures: int, rows: int, told: ToldFailures) -> dict[str, Any]:
    composed = min(rows, sum(record["counts"].get("composed", 0) for record in records))
    motion = sum(record["counts"].get("motion_photos", 0) for record in records)
    found = Counter({"compose.done": composed, "skip.skipped": rows - composed, MOTION: motion})
    # Every part plans all albums, so each has counted all near-duplicates; where none was planned nobody counts any.
    if near := [record["counts"]["near_duplicates"] for record in records if "near_duplicates" in record["counts"]]:
        found[NEAR_DUPLICATES] = max(near)
    for (stage, reason), number in told.reasons.items():
        found.update({f"{stage}.failed": number, f"{REASON}{reason}": number})
    return count(found, sum(record["counts"].get("places", 0) for record in records)) | {"pictures": pictures}


def _summed(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the seconds of the stages over all parts."""
    total: Counter[str] = Counter()
    for record in records:
        total.update({stage: value for stage, value in record["seconds"].items() if stage != "total"})
    return {stage: round(value, 3) for stage, value in total.items()}
