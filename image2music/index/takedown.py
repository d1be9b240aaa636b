"""Tunes that have to leave an index: removed in a version of their own, remembered, and purged where that is wanted.

A removed tune is known by its tune_id, the sha256 of its MIDI file: no update and no build takes these bytes up again
while they are in the list beside the table (NAME.lance.removed.json). Another file with the same music has another id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from image2music.errors import ConfigError, TuneIndexError
from image2music.index.maintenance import FULL_FILE, cleanup, finalize
from image2music.index.table import open_table, replace_rows
from image2music.storage.files import json_bytes, open_place
from image2music.storage.objects import with_patience
from image2music.storage.output import open_index_files

SHORTEST_NAMED = 8
"""Digits of a tune_id that name a tune at least."""
_HEX = re.compile(rf"[0-9a-f]{{{SHORTEST_NAMED},64}}")


@dataclass(frozen=True)
class RemovedTune:
    """A tune that was removed: its id, its place in the folder of MIDI files, and when (ISO 8601, UTC)."""

    tune_id: str
    location: str
    removed_at: str


@dataclass(frozen=True)
class Takedown:
    """What a removal did. `copies` are tunes that stay although they are the same music; `version` is the new one."""

    removed: tuple[RemovedTune, ...]
    gone_before: tuple[RemovedTune, ...]
    copies: tuple[tuple[str, str], ...]
    version: int
    rows: int


def removed_tunes(uri: str) -> dict[str, RemovedTune]:
    """Return the tunes that were removed from an index, by tune_id.

    Raises:
        TuneIndexError: the list cannot be read (`bad_removed_list`): going on would bring tunes back.
    """
    place = open_place(open_index_files(uri).removed)
    if not place.is_file():
        return {}
    try:
        listed = [RemovedTune(**one) for one in json.loads(place.read())["removed"]]
    except (ValueError, KeyError, TypeError) as error:
        message = f"{place.uri}, the list of removed tunes, cannot be read ({error}): mend it, or take it from a backup"
        raise TuneIndexError(message, reason="bad_removed_list") from error
    return {one.tune_id: one for one in listed}


def named_tunes(given: Sequence[str]) -> list[str]:
    """Return the names of tunes among words of a command line: each word, each line of @FILE, each part of ID,ID.

    Raises:
        ConfigError: a file cannot be read (`bad_ids`).
    """
    names: list[str] = []
    for word in given:
        if word.startswith("@"):
            try:
                lines = Path(word[1:]).read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{word[1:]} cannot be read: {error}", reason="bad_ids") from error
            names += [line.strip() for line in lines if line.strip()]
            continue
        parts = [part.strip() for part in word.split(",")]
        names += parts if all(_HEX.fullmatch(part) for part in parts) else [word]
    if not names:
        raise ConfigError("no tune is named: give tune_ids, locations or @FILE", reason="bad_ids")
    return list(dict.fromkeys(names))


def find_named(names: Sequence[str], places: Mapping[str, str], where: str) -> list[str]:
    """Return the ids of the tunes that are named, by id, by 8 digits or more of its beginning, or by location.

    `places` are locations by tune_id, `where` says in a message what they are the tunes of.

    Raises:
        ConfigError: a name is that of no tune, or of several (`bad_ids`).
    """
    by_location: dict[str, list[str]] = {}
    for tune_id, location in places.items():
        by_location.setdefault(location, []).append(tune_id)
    found: list[str] = []
    for name in names:
        some = [name] if name in places else by_location.get(name, [])
        if not some and _HEX.fullmatch(name):
            some = [tune_id for tune_id in places if tune_id.startswith(name)]
        if len(some) != 1:
            what = f"{len(some)} tunes of {where} have" if some else f"no tune of {where} has"
            needs = f"the location or the tune_id {name!r}, of which {SHORTEST_NAMED} digits are enough"
            raise ConfigError(f"{what} {needs}; nothing was changed", reason="bad_ids")
        found += some
    return list(dict.fromkeys(found))


def remove_tunes(uri: str, names: Sequence[str]) -> Takedown:
    """Remove tunes and remember them; the caller holds the index's lock.

    The list is written first: a removal that was killed is finished by the same command, or by the next update.

    Raises:
        ConfigError: as `find_named`. TuneIndexError: there is no table, or its list cannot be read.
    """
    dataset, listed = open_table(uri), removed_tunes(uri)
    table = with_patience(uri, lambda: dataset.to_table(columns=["tune_id", "location", "music_id"]))
    rows = {row["tune_id"]: row for row in table.to_pylist()}
    known = {tune_id: one.location for tune_id, one in listed.items()}
    chosen = find_named(names, known | {tune_id: row["location"] for tune_id, row in rows.items()}, uri)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    removed = [RemovedTune(tune_id, rows[tune_id]["location"], at) for tune_id in chosen if tune_id in rows]
    _write_list(uri, listed | {one.tune_id: one for one in removed})
    ids = {one.tune_id for one in removed}
    music = {rows[tune_id]["music_id"] for tune_id in ids}
    copies = [(id, row["location"]) for id, row in rows.items() if row["music_id"] in music and id not in ids]
    version = _without(uri, int(dataset.version), ids, left=len(rows) - len(ids))
    return Takedown(
        removed=tuple(removed),
        gone_before=tuple(listed[tune_id] for tune_id in chosen if tune_id not in rows),
        copies=tuple(sorted(copies, key=lambda copy: copy[1])),
        version=version,
        rows=len(rows) - len(ids),
    )


def remove_again(uri: str) -> tuple[RemovedTune, ...]:
    """Remove what the list names and the table holds, as after an earlier version was restored; return these."""
    listed = removed_tunes(uri)
    if not listed:
        return ()
    dataset = open_table(uri)
    ids = set(with_patience(uri, lambda: dataset.to_table(columns=["tune_id"]))["tune_id"].to_pylist())
    back = [one for tune_id, one in listed.items() if tune_id in ids]
    _without(uri, int(dataset.version), {one.tune_id for one in back}, left=len(ids) - len(back))
    return tuple(back)


def bring_back(uri: str, names: Sequence[str]) -> tuple[RemovedTune, ...]:
    """Take tunes off the list, so that the next update makes them again; the caller holds the index's lock.

    Raises:
        ConfigError: as `find_named`, for the list. TuneIndexError: it cannot be read.
    """
    listed = removed_tunes(uri)
    places = {tune_id: one.location for tune_id, one in listed.items()}
    chosen = find_named(names, places, f"the list of tunes removed from {uri}")
    _write_list(uri, {tune_id: one for tune_id, one in listed.items() if tune_id not in chosen})
    return tuple(listed[tune_id] for tune_id in chosen)


def purge(uri: str) -> int:
    """Delete every earlier version and every deleted row's bytes, and return the version that is left.

    No version can be restored afterwards, and a run that reads an earlier version breaks.
    """
    return with_patience(uri, lambda: _purged(uri))


def _purged(uri: str) -> int:
    dataset = open_table(uri)
    for name in dataset.tags.list():
        dataset.tags.delete(name)
    dataset.optimize.compact_files(
        target_rows_per_fragment=FULL_FILE, materialize_deletions=True, materialize_deletions_threshold=0.0
    )
    version = finalize(uri, "remove")
    cleanup(open_table(uri), kept_for=timedelta(0))
    return version


def _without(uri: str, version: int, ids: Collection[str], left: int) -> int:
    if not ids:
        return version
    made = replace_rows(uri, version, [], ids)
    return finalize(uri, "remove") if left else made


def _write_list(uri: str, listed: Mapping[str, RemovedTune]) -> None:
    removed: list[dict[str, Any]] = [asdict(one) for one in sorted(listed.values(), key=lambda one: one.tune_id)]
    open_place(open_index_files(uri).removed).write(json_bytes({"removed": removed}))
