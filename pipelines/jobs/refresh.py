"""The jobs `compose --refresh` and `compose --again`: compose some rows of an output once more.

A refresh composes those again whose references changed in the index, with the seeds that they have. Another take is of
the rows that `--ids` names, with other seeds, and touches no other row.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from image2music.errors import ConfigError, OutputError
from image2music.failures import counted
from image2music.images.sources import as_on_disk, is_there
from image2music.index.table import Pair
from image2music.index.takedown import removed_tunes
from image2music.loop.recall import recall
from image2music.rows import KEY_COLUMNS, composition_key, failure_row, ids_by_name, now, retried, scene_of_row
from image2music.settings import next_take
from image2music.storage.output import OutputStore, open_output
from image2music.types import METADATA_COLUMNS, Failure, ImageMetadata, Reference, metadata_key, metadata_of_row
from pipelines.jobs.chain import ComposeRun
from pipelines.jobs.compose import (
    assemble_albums,
    compose_in_passes,
    cost_of_other_settings,
    forget_answers,
    look_up,
    open_desk,
    print_summary,
    run_details,
)
from pipelines.options.compose import SHORTEST_CHOSEN, ComposeOptions
from pipelines.runtime.environment import EXIT_DONE, EXIT_SOME_FAILED, GOES_ON
from pipelines.runtime.job import Job, open_job

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
    "settings_hash",
    "seed",
    "seconds",
]
_TAKE_COLUMNS = ["image_id", "image_uris", *METADATA_COLUMNS, "seed", "seconds"]
_MOST_NAMED = 20
"""Ids of no row that a line names."""

_ROWS_A_SEARCH = 512
"""Pictures whose references are held in memory, and looked for in one pass over the index."""


@dataclass(frozen=True)
class StaleRows:
    """What is to be composed again. `changed` holds every place of such a picture, by image_id.

    `current` counts rows that name this version of the index already; `seconds` is what the changed ones took; `seeds`
    are those of further takes.
    """

    kept: frozenset[str]
    changed: dict[str, tuple[str, ...]]
    current: int
    seconds: float
    briefs: dict[str, ImageMetadata]
    seeds: dict[str, int] = field(default_factory=dict)

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
            assemble_albums(job, run.output, options.language)
        rows = counted(found.rows, "row names", "rows name")
        print(f"{rows} version {run.index.version} already, and nothing changed")
        return EXIT_DONE


def take_again(options: ComposeOptions) -> int:
    """Compose another take of the rows that `--ids` names; return the exit code, as `compose` does.

    Every take after the settings' own has a seed one higher than the one before, which its row names; settings_hash
    stays that of the command. No other row is touched. The rows of the earlier takes move to OUT/generations. A
    picture that cannot be composed again keeps its row, and is a failure. A run that did not come to its end is gone
    on with by the same command: the takes that it wanted are made, and not still further ones.

    Raises:
        Image2MusicError: as `compose`; ids that no row or several rows have (`bad_ids`; see `chosen_ids`).
    """
    store = open_output(options.output)
    ids = chosen_ids(options.ids, store.compositions.read(["image_id", "catalog_id"]))
    if not ids:
        print(f"nothing to do: no row of {store} is named in {options.ids}")
        return EXIT_DONE
    run = look_up(options)
    if options.dry_run:
        print(refresh_plan(run, find_chosen(run, wanted_takes(run, ids))))
        return EXIT_DONE
    with open_job("compose", options, run.output) as job:
        run.output.finish_generation()
        run.output.drop_repeated(KEY_COLUMNS, composition_key)
        takes = wanted_takes(run, ids)
        return _renew(job, options, run, find_chosen(run, takes), takes)


def chosen_ids(given: str, rows: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the image_ids of rows that a file with one name a line, or a list with commas, names (`ids_by_name`).

    A file may be empty, and may name pictures that have no row any more: these are a line on stderr. `rows` have
    image_id and catalog_id.

    Raises:
        ConfigError: `bad_ids`: the file cannot be read, or is not there; a list names none, or one of no row; several
            rows have an image_id that begins so.
    """
    is_file = os.path.isfile(given)
    names = _lines(given) if is_file else [name for part in given.split(",") if (name := part.strip())]
    if not (names or is_file):
        raise ConfigError(f"--ids: there is no id in {given}", reason="bad_ids")
    found = ids_by_name(names, rows, SHORTEST_CHOSEN)
    for name, ids in found.items():
        if len(ids) > 1 and all(id.startswith(name.lower()) for id in ids):
            raise ConfigError(f"--ids: several rows have an image_id that begins with {name}", reason="bad_ids")
    if unknown := [name for name, ids in found.items() if not ids]:
        if not is_file:
            raise ConfigError(f"--ids: {_unknown(unknown[0][:80], given)}", reason="bad_ids")
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        some = ", ".join(name[:80] for name in unknown[:_MOST_NAMED])
        print(f"image2music: {given} names what no row has (any more), left out: {some}{more}", file=sys.stderr)
    return frozenset(id for ids in found.values() for id in ids)


def _unknown(name: str, given: str) -> str:
    if name == given and (any(sign in name for sign in "/\\") or Path(name).suffix[1:].isalpha()):
        return f"there is no file {name}, nor a row with this catalog_id"
    digits = f"at least {SHORTEST_CHOSEN} hex digits"
    return f"no row has the catalog_id {name!r}, or an image_id that begins so ({digits})"


def _lines(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--ids: {path} cannot be read: {error}", reason="bad_ids") from error
    return [name for line in lines if (name := line.strip())]


def wanted_takes(run: ComposeRun, ids: frozenset[str]) -> dict[str, int]:
    """Return the seed of the take that each row is to have by its image_id.

    They are one higher than the rows have, or what the last run wanted of the same rows where it came to no end.
    """
    last = run.output.run.read() if run.output.run.exists() else {}
    begun: dict[str, int] = last.get("takes", {})
    if last.get("state") != "done" and last.get("settings_hash") == run.settings.hash and begun.keys() == ids:
        return begun
    rows = run.output.compositions.read(["image_id", "seed"])
    return {row["image_id"]: next_take(row["seed"]) for row in rows if row["image_id"] in ids}


def find_chosen(run: ComposeRun, takes: Mapping[str, int]) -> StaleRows:
    """Return the rows that do not have the wanted take yet, as what is to be composed again.

    Raises:
        OutputError: the output holds rows of other settings, and --keep was not given (`other_settings`).
    """
    if (cost := cost_of_other_settings(run)) is not None:
        print(f"image2music: {cost}", file=sys.stderr)
    rows = list(run.output.compositions.read(_TAKE_COLUMNS))
    todo = {row["image_id"]: row for row in rows if takes.get(row["image_id"], row["seed"]) != row["seed"]}
    return StaleRows(
        kept=frozenset(row["image_id"] for row in rows) - todo.keys(),
        changed={id: tuple(row["image_uris"]) for id, row in todo.items()},
        current=0,
        seconds=sum(row["seconds"] for row in todo.values()),
        briefs={id: metadata_of_row(row) for id, row in todo.items()},
        seeds={id: takes[id] for id in todo},
    )


def _digest(run: ComposeRun, takes: Mapping[str, int]) -> str:
    """Return what tells whether a stopped run wanted the same takes."""
    return hashlib.sha256(repr((run.settings.hash, sorted(takes.items()))).encode()).hexdigest()


def find_stale(run: ComposeRun) -> StaleRows:
    """Search again for every row, many at a time, and compare the content of what is found.

    Raises:
        OutputError: as `refresh`.
    """
    if (cost := cost_of_other_settings(run)) is not None:
        print(f"image2music: {cost}", file=sys.stderr)
    kept, changed, current, seconds = set(), {}, 0, 0.0
    briefs: dict[str, ImageMetadata] = {}
    seeds: dict[str, int] = {}
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
        if row["settings_hash"] == run.settings.hash:  # else it gets the settings of this command, its seed included
            seeds[row["image_id"]] = row["seed"]
        seconds += row["seconds"]
    if not kept and not changed:
        message = f"{run.output} holds no compositions to refresh; leave --refresh away to make them"
        raise OutputError(message, reason="nothing_to_refresh")
    return StaleRows(frozenset(kept), changed, current, seconds, briefs, seeds)


def _searched(
    run: ComposeRun, rows: Iterator[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], tuple[Reference, ...]]]:
    """Yield each row with the references that it gets now.

    All are looked for exactly, in one pass. A picture is composed by a search in the vector index, which may miss one:
    where the two differ from each other only, the row is as it would be composed again.
    """
    sceneless = 0
    while some := list(islice(rows, _ROWS_A_SEARCH)):
        found = _references(run, some, exact=True)
        others = [at for at, row in enumerate(some) if _hashes(found[at]) != _stored_hashes(row)]
        again = _references(run, [some[at] for at in others], exact=False)
        for at, references in zip(others, again, strict=True):
            found[at] = references
        sceneless += sum(row.get("scene") is None for row in some)
        yield from zip(some, found, strict=True)
    if sceneless and _suited(run):
        what = "their references are looked for by the text alone, and what does not suit is not left out"
        which = counted(sceneless, f"row of {run.output} has", f"rows of {run.output} have")
        print(f"image2music: {which} no scene: {what}", file=sys.stderr)


def _suited(run: ComposeRun) -> bool:
    return run.settings.loop.protocol == "plan"


def _references(run: ComposeRun, rows: Sequence[dict[str, Any]], *, exact: bool) -> list[tuple[Reference, ...]]:
    """Return what the chain of the run finds for each row now."""
    index, k, pairs = run.index, run.options.top_k, [_pair(row) for row in rows]
    if _suited(run):
        return recall(index, pairs, [scene_of_row(row.get("scene")) for row in rows], k, exact=exact)
    return index.references_of_all(pairs, k) if exact else index.references(pairs, k)


def _pair(row: dict[str, Any]) -> Pair:
    return np.asarray(row["description_embedding"], np.float32), np.asarray(row["image_embedding"], np.float32)


def _hashes(references: Sequence[Reference]) -> list[str]:
    return [reference.row_hash for reference in references]


def _stored_hashes(row: dict[str, Any]) -> list[str]:
    return [reference["row_hash"] for reference in row["references"]]


def refresh_plan(run: ComposeRun, found: StaleRows) -> str:
    """Return what a refresh, or other takes, would do and what it would cost."""
    mean = found.seconds / len(found.changed) if found.changed else 0.0
    gone = sum(not _places(uris) for uris in found.changed.values())
    again = run.options.again
    version = f"of which {counted(found.current, 'names', 'name')} this version already"
    lines = {
        "rows": f"{found.rows} in {run.output}",
        "index": f"{run.index.uri}, version {run.index.version}, {counted(run.index.rows, 'tune')}",
        "compose": f"{len(found.changed)} again, {'with another seed' if again else 'for their references changed'}",
        "keep": f"{len(found.kept)}, {'as they are' if again else version}",
        "missing": f"{counted(gone, 'picture to compose is', 'pictures to compose are')} no longer there",
        "cost": f"about {found.seconds:.1f} seconds of the models, {mean:.2f} a picture, as they took before",
    }
    return "\n".join(f"{name:12}{value}" for name, value in lines.items())


def _renew(
    job: Job, options: ComposeOptions, run: ComposeRun, found: StaleRows, takes: Mapping[str, int] | None = None
) -> int:
    """Compose what is to be composed again, and put it in place; `takes` are all of `--ids`, None in a refresh."""
    home = run.output.begin_generation(run.index.version, "" if takes is None else _digest(run, takes))
    details = {name: value for name, value in run_details(run).items() if name != "settings"}
    with job.recorded(details | ({} if takes is None else {"takes": takes}), GOES_ON) as record:
        if put_off := _compose_changed(job, run, found, home, options.log_json):
            return job.end(put_off=put_off)
        made = _only_changed(home, found)
        if takes is None:
            _write_kept(run, found, made, home)
        lost = frozenset(found.changed) - made
        _write_replaced(run, home, found, lost)
        again = retried(uri for key in made for uri in found.changed[key])
        run.output.failures.forget(lambda row: row["uri"] in again)
        if takes is None:
            earlier: str | None = run.output.complete_generation(_earlier_version(run))
        else:
            earlier = run.output.complete_takes()
        albums = assemble_albums(job, run.output, options.language) if options.album else {}
        record.counts = {"rows": found.rows, "kept": len(found.kept), "composed": len(made), "failed": len(lost)}
        record.counts |= albums
    code = job.end(len(lost), found.rows, "pictures", options.max_failures)
    forget_answers(run)
    where = f"; the earlier rows are in {earlier}" if earlier else ""
    done = f"{len(made)} composed again, {len(found.kept)} kept, {len(lost)} failed{where}"
    print_summary(job, run.output, run.settings.hash, done, [_citing_line(run, lost)])
    return code or (EXIT_SOME_FAILED if albums.get("albums_failed") else EXIT_DONE)


def _citing_line(run: ComposeRun, lost: frozenset[str]) -> str:
    """Return which rows, of those that stayed as they were for want of a picture, cite a tune that was taken down."""
    removed = removed_tunes(run.index.uri)
    if not (removed and lost):
        return ""
    rows = run.output.compositions.read(["image_id", "references"])
    citing = sorted(
        row["image_id"]
        for row in rows
        if row["image_id"] in lost and any(one["tune_id"] in removed for one in row["references"])
    )
    again = "that could not be composed again"
    what = counted(len(citing), f"row {again} cites tunes", f"rows {again} cite tunes")
    return f"{what} that were removed: {', '.join(citing)}" if citing else ""


def _compose_changed(job: Job, run: ComposeRun, found: StaleRows, home: OutputStore, log_json: str) -> str:
    """Send the pictures through the whole chain: what the composer keeps of a picture is not in its row.

    Return what some of them still wait for; empty where none does.
    """
    finished = home.finished(KEY_COLUMNS, composition_key)
    todo = {
        key: uris for key, uris in found.changed.items() if metadata_key(key, found.briefs[key].row) not in finished
    }
    there = {key: _places(uris) for key, uris in todo.items()}
    gone = {key: todo[key] for key, paths in there.items() if not paths}
    _write_lost(run, home, gone, "picture_missing", "the picture is no longer there; its earlier row stays")
    pictures = tuple(path for paths in there.values() for path in paths)
    briefs = {path: found.briefs[key] for key, paths in there.items() for path in paths}
    if not pictures:
        return ""
    staged = replace(run, output=home, pictures=pictures, briefs=briefs, seeds=found.seeds)
    counted, put_off = compose_in_passes(job, staged, open_desk(staged), finished, len(there) - len(gone), log_json)
    job.record.details["stages"] = dict(sorted(counted.items()))
    return put_off


def _write_lost(
    run: ComposeRun, home: OutputStore, pictures: dict[str, tuple[str, ...]], reason: str, message: str
) -> None:
    stage = "again" if run.options.again else "refresh"
    failures = [Failure(stage, key, uris[0], reason, message) for key, uris in sorted(pictures.items())]
    home.failures.add([failure_row(failure, now()) for failure in failures])


def _write_replaced(run: ComposeRun, home: OutputStore, found: StaleRows, lost: frozenset[str]) -> None:
    """Write failures of pictures that no stage failed at and that have no row: other bytes lie at their places."""
    failed = {word for row in home.failures.read(["id", "uri"]) for word in row.values()}
    replaced = {key: found.changed[key] for key in lost if not failed & {key, *found.changed[key]}}
    _write_lost(run, home, replaced, "picture_replaced", "another picture lies there now; its earlier row stays")


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
    return [path for path in map(as_on_disk, uris) if is_there(path)]
