"""The job `compose --refresh`: after the index changed, compose only pictures with other references again."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from image2music.errors import OutputError
from image2music.images.archives import is_there
from image2music.index.table import Pair
from image2music.loop.recall import on_trial
from image2music.rows import KEY_COLUMNS, composition_key, failure_row, now, retried, scene_of_row
from image2music.storage.output import OutputStore
from image2music.types import METADATA_COLUMNS, Failure, ImageMetadata, Reference, metadata_key, metadata_of_row
from pipelines.jobs.album import assemble_albums
from pipelines.jobs.compose import ComposeRun, compose_pipeline, cost_of_other_settings, look_up
from pipelines.jobs.options import ComposeOptions
from pipelines.runtime.job import Job, open_job
from pipelines.runtime.supervisor import EXIT_DONE, EXIT_SOME_FAILED, GOES_ON
from pipelines.runtime.tables import compositions_table, failure_lines, places

_COLUMNS = [
    "image_id",
    "image_uris",
    "image_embedding",
    "description_embedding",
    "references",
    "scene",
    *METADATA_COLUMNS,
    "embedder_id",
    "index_uri",
    "index_version",
    "seconds",
]

_ROWS_A_SEARCH = 512
"""Pictures whose references are held in memory, and looked for in one pass over the index."""


@dataclass(frozen=True)
class StaleRows:
    """What a refresh found. `changed` holds every place of a picture with other references, by image_id.

    `current` counts rows that name this version of the index already; `seconds` is what the changed ones took.
    """

    kept: frozenset[str]
    changed: dict[str, tuple[str, ...]]
    current: int
    seconds: float
    briefs: dict[str, ImageMetadata]

    @property
    def rows(self) -> int:
        """Rows of the earlier output."""
        return len(self.kept) + len(self.changed)


def refresh(options: ComposeOptions) -> int:
    """Compare every row of an output with the index; return the exit code, as `compose` does.

    References come from the embeddings in the rows, so no picture is opened to find out. A row whose references have
    the same content stays, and names the new version; the others are composed again. A picture that cannot be
    composed again keeps its row as it was, and is a failure. The earlier generation moves to OUT/generations.

    Raises:
        Image2MusicError: as `compose`; the output holds no rows (`nothing_to_refresh`), or was made with other
            settings (`other_settings`).
    """
    run = look_up(options)
    if options.dry_run:
        print(refresh_plan(run, find_stale(run)))
        return EXIT_DONE
    with open_job("compose", options, run.output) as job:
        run.output.finish_generation()
        found = find_stale(run)
        if found.current < found.rows or found.changed:
            return _renew(job, options, run, found)
        if options.album:  # a run that was killed may have left them unbound
            assemble_albums(job, run.output)
        print(f"{found.rows} rows name version {run.index.version} already, and nothing changed")
        return EXIT_DONE


def find_stale(run: ComposeRun) -> StaleRows:
    """Search again for every row, many at a time, and compare the content of what is found.

    Raises:
        OutputError: as `refresh`.
    """
    if (cost := cost_of_other_settings(run)) is not None:
        print(f"image2music: {cost}", file=sys.stderr)
    kept, changed, current, seconds = set(), {}, 0, 0.0
    briefs: dict[str, ImageMetadata] = {}
    for row, references in _searched(run, run.output.compositions.read(_COLUMNS)):
        if row["embedder_id"] != run.settings.embedder_id:
            message = (
                f"{run.output} holds rows embedded by {row['embedder_id']}, and the index was made with "
                f"{run.settings.embedder_id}: compose anew without --refresh, with --overwrite"
            )
            raise OutputError(message, reason="other_embedder")
        if _hashes(references) == _stored_hashes(row):
            kept.add(row["image_id"])
            current += (row["index_uri"], row["index_version"]) == (run.index.uri, run.index.version)
            continue
        changed[row["image_id"]] = tuple(row["image_uris"])
        briefs[row["image_id"]] = metadata_of_row(row)
        seconds += row["seconds"]
    if not kept and not changed:
        message = f"{run.output} holds no compositions to refresh; leave --refresh away to make them"
        raise OutputError(message, reason="nothing_to_refresh")
    return StaleRows(frozenset(kept), changed, current, seconds, briefs)


def _searched(
    run: ComposeRun, rows: Iterator[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], tuple[Reference, ...]]]:
    """Yield each row with the references that it gets now.

    All are looked for exactly, in one pass. A picture is composed by a search in the vector index, which may miss one:
    where the two differ from each other only, the row is as it would be composed again.
    """
    index, k = run.index, run.options.top_k
    while some := list(islice(rows, _ROWS_A_SEARCH)):
        found = _tried(run, some, index.references_of_all([_pair(row) for row in some], k))
        others = [at for at, row in enumerate(some) if _hashes(found[at]) != _stored_hashes(row)]
        again = index.references([_pair(some[at]) for at in others], k)
        for at, references in zip(others, _tried(run, [some[at] for at in others], again), strict=True):
            found[at] = references
        yield from zip(some, found, strict=True)


def _tried(
    run: ComposeRun, rows: Sequence[dict[str, Any]], found: Sequence[tuple[Reference, ...]]
) -> list[tuple[Reference, ...]]:
    """Leave out what does not suit the scene of each row, where the run's chain does so."""
    if run.settings.loop.protocol != "plan":
        return list(found)
    return [on_trial(one, scene_of_row(row.get("scene"))) for row, one in zip(rows, found, strict=True)]


def _pair(row: dict[str, Any]) -> Pair:
    return np.asarray(row["description_embedding"], np.float32), np.asarray(row["image_embedding"], np.float32)


def _hashes(references: Sequence[Reference]) -> list[str]:
    return [reference.row_hash for reference in references]


def _stored_hashes(row: dict[str, Any]) -> list[str]:
    return [reference["row_hash"] for reference in row["references"]]


def refresh_plan(run: ComposeRun, found: StaleRows) -> str:
    """Return what a refresh would do, and what it would cost."""
    mean = found.seconds / len(found.changed) if found.changed else 0.0
    gone = sum(not _places(uris) for uris in found.changed.values())
    lines = {
        "rows": f"{found.rows} in {run.output}",
        "index": f"{run.index.uri}, version {run.index.version}, {run.index.rows} tunes",
        "compose": f"{len(found.changed)} again, for their references changed",
        "keep": f"{len(found.kept)}, of which {found.current} name this version already",
        "missing": f"{gone} of the pictures to compose are no longer there",
        "cost": f"about {found.seconds:.1f} seconds of the models, {mean:.2f} a picture, as they took before",
    }
    return "\n".join(f"{name:12}{value}" for name, value in lines.items())


def _renew(job: Job, options: ComposeOptions, run: ComposeRun, found: StaleRows) -> int:
    home = run.output.begin_generation(run.index.version)
    details = {name: value for name, value in run.details.items() if name != "settings"}
    with job.recorded(details, GOES_ON) as record:
        _compose_changed(job, run, found, home, options.log_json)
        made = _only_changed(home, found)
        _write_kept(run, found, made, home)
        lost = frozenset(found.changed) - made
        _write_replaced(home, found, lost)
        again = retried(uri for key in made for uri in found.changed[key])
        run.output.failures.forget(lambda row: row["uri"] in again)
        earlier = run.output.complete_generation(_earlier_version(run))
        albums = assemble_albums(job, run.output) if options.album else {}
        record.counts = {"rows": found.rows, "kept": len(found.kept), "composed": len(made), "failed": len(lost)}
        record.counts |= albums
    code = job.end(len(lost), found.rows, "pictures", options.max_failures)
    print(compositions_table(run.output))
    print(f"{len(made)} composed again, {len(found.kept)} kept, {len(lost)} failed; the earlier rows are in {earlier}")
    for line in failure_lines(run.output.failures):
        print(f"  {line}")
    print(places(run.output))
    return code or (EXIT_SOME_FAILED if albums.get("albums_failed") else EXIT_DONE)


def _compose_changed(job: Job, run: ComposeRun, found: StaleRows, home: OutputStore, log_json: str) -> None:
    """Send the pictures through the whole chain: what the composer keeps of a picture is not in its row."""
    finished = home.finished(KEY_COLUMNS, composition_key)
    todo = {
        key: uris for key, uris in found.changed.items() if metadata_key(key, found.briefs[key].row) not in finished
    }
    there = {key: _places(uris) for key, uris in todo.items()}
    gone = {key: todo[key] for key, paths in there.items() if not paths}
    _write_lost(home, gone, "picture_missing", "the picture is no longer there; its earlier row stays")
    pictures = tuple(path for paths in there.values() for path in paths)
    briefs = {path: found.briefs[key] for key, paths in there.items() for path in paths}
    if not pictures:
        return
    staged = replace(run, output=home, pictures=pictures, briefs=briefs)
    pipeline = partial(compose_pipeline, run=staged, finished=finished, log_json=log_json)
    counted = job.run(pipeline, "pictures", len(there) - len(gone))
    job.record.details["stages"] = dict(sorted(counted.items()))


def _write_lost(home: OutputStore, pictures: dict[str, tuple[str, ...]], reason: str, message: str) -> None:
    failures = [Failure("refresh", key, uris[0], reason, message) for key, uris in sorted(pictures.items())]
    home.failures.add([failure_row(failure, now()) for failure in failures])


def _write_replaced(home: OutputStore, found: StaleRows, lost: frozenset[str]) -> None:
    """Write failures of pictures that no stage failed at and that have no row: other bytes lie at their places."""
    failed = {word for row in home.failures.read(["id", "uri"]) for word in row.values()}
    replaced = {key: found.changed[key] for key in lost if not failed & {key, *found.changed[key]}}
    _write_lost(home, replaced, "picture_replaced", "another picture lies there now; its earlier row stays")


def _only_changed(home: OutputStore, found: StaleRows) -> frozenset[str]:
    """Return the ids of the staged rows, without rows of other pictures that lie at the places by now."""
    home.drop_repeated(KEY_COLUMNS, composition_key)
    return home.keep_only(found.changed)


def _write_kept(run: ComposeRun, found: StaleRows, made: frozenset[str], home: OutputStore) -> None:
    for _, table in run.output.compositions.tables():
        kept = table.filter(_among(table, found.kept))
        lost = table.filter(pc.invert(_among(table, found.kept | made)))
        rows = pa.concat_tables([_renamed(kept, run), lost])
        if rows.num_rows:
            home.kept.append_table(rows, ("image_id",))


def _among(table: pa.Table, ids: frozenset[str]) -> Any:
    return pc.is_in(table["image_id"], pa.array(sorted(ids), pa.string()))


def _renamed(table: pa.Table, run: ComposeRun) -> pa.Table:
    """Return the rows, naming the index that their references were found in again."""
    for name, value in (("index_uri", run.index.uri), ("index_version", run.index.version)):
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array([value] * table.num_rows, field.type))
    return table


def _earlier_version(run: ComposeRun) -> int:
    return max(row["index_version"] for row in run.output.compositions.read(["index_version"]))


def _places(uris: tuple[str, ...]) -> list[str]:
    """Return the places of a row at which there still is a file."""
    spelt = (path for uri in uris for path in dict.fromkeys((uri, _unprintable(uri))))
    return [path for path in spelt if is_there(path)]


def _unprintable(uri: str) -> str:
    """Return the file name whose bytes that are not UTF-8 were spelt in hex."""
    return os.fsdecode(re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), uri.encode()))
