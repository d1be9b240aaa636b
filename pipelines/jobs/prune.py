"""`compose --prune`: put the rows away whose pictures are gone, and forget the places that others have lost.

A place is lost where the run looked for pictures, nothing lies there any more, and whoever is asked says so; or where
another picture lies there now. What nobody can tell, such as what lies behind a web address, is not lost.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
import pyarrow as pa

from image2music.errors import Image2MusicError
from image2music.failures import counted
from image2music.images.reading import PictureReader, open_seekable
from image2music.images.sources import album_of, as_on_disk, is_web, list_members, member_of
from image2music.rows import printable
from image2music.storage.files import open_place
from image2music.storage.objects import is_store
from image2music.storage.pruned import set_aside
from pipelines.jobs.chain import ComposeRun
from transforms.pictures import Identified, identify, matches_glob

SHARE = 10
"""A run that goes by itself puts away one row in so many at most."""
_AT_ONCE = 8


@dataclass(frozen=True)
class Pruned:
    """What a prune did: rows put away, and to where; rows that lost places. `refused` says why it did nothing."""

    rows: int = 0
    shortened: int = 0
    home: str = ""
    refused: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """What run.json says."""
        return {"pruned": self.rows, "places_dropped": self.shortened}

    def tell(self) -> None:
        """Print it, where there is something to say."""
        if self.refused:
            print(f"image2music: {self.refused}", file=sys.stderr)
        if self.rows:
            several = "rows of pictures that are gone were moved"
            print(f"{counted(self.rows, 'row of a picture that is gone was moved', several)} to {self.home}")
        if self.shortened:
            print(counted(self.shortened, "row has lost some of its places", "rows have lost some of their places"))


NOTHING_PRUNED = Pruned()


@dataclass(frozen=True)
class Losses:
    """What is to be done: the places of rows whose picture is gone, and those that others keep, both by image_id.

    `all_rows` counts the rows of the output.
    """

    all_rows: int
    gone: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def too_many(self) -> bool:
        """Whether more rows go than a run puts away by itself."""
        return len(self.gone) * SHARE > self.all_rows


def prune(run: ComposeRun) -> Pruned:
    """Put away the rows whose every place is lost, and drop lost places of others; for a run that has composed.

    Rows go to a generation of their own, OUT/generations/pruned. A picture that was only moved keeps its row, with its
    new places. Nothing is done where somebody cannot tell whether a place is lost, or where more than a tenth of the
    rows would go and `--prune all` was not given.
    """
    try:
        losses = find_losses(run, partial(_ids_at, run))
    except (OSError, Image2MusicError) as error:
        return Pruned(refused=f"nothing is pruned, for nobody can tell what is gone: {error}")
    if losses.too_many and run.options.prune != "all":
        return Pruned(refused=f"{_too_many(losses)}: nothing is pruned; --prune all does it")
    if not (losses.gone or losses.left):
        return NOTHING_PRUNED
    home = set_aside(run.output, losses.gone, losses.left, partial(_with_places, left=losses.left))
    lost = {uri for uris in losses.gone.values() for uri in uris}.difference(map(printable, run.pictures))
    run.output.failures.forget(lambda row: row["uri"] in lost)
    return Pruned(len(losses.gone), len(losses.left), home or "")


def prune_plan(run: ComposeRun) -> str:
    """Return the rows that a prune would put away, one a line; none is read, so one that was moved is among them."""
    try:
        losses = find_losses(run, lambda places: {})
    except (OSError, Image2MusicError) as error:
        return f"prune       nothing, for nobody can tell what is gone: {error}"
    more = f"; {_too_many(losses)}, which only --prune all does" if losses.too_many else ""
    most = counted(len(losses.gone), "row")
    lines = [f"prune       at most {most}; those of pictures that were only moved stay{more}"]
    lines += [f"  {id[:12]} {uris[0]}" for id, uris in sorted(losses.gone.items(), key=lambda one: one[1])]
    have = counted(len(losses.left), "row has", "rows have")
    return "\n".join([*lines, f"places      {have} lost some" if losses.left else ""]).rstrip()


def _too_many(losses: Losses) -> str:
    return f"{len(losses.gone)} of {counted(losses.all_rows, 'row')} have lost their pictures, more than a tenth"


Identities = Callable[[Collection[str]], Mapping[str, str | None]]
"""Of some places the image_ids of what lies there now; None where it cannot be read."""


def find_losses(run: ComposeRun, ids_at: Identities) -> Losses:
    """Compare the places of every row with those that the run listed, and with what lies there.

    Raises:
        OSError, Image2MusicError: nobody can tell whether a place is lost.
    """
    listed = {printable(place): place for place in run.pictures}
    shared, all_rows = _shared_places(run)
    # What a list or a catalogue names may be gone, and what was listed may be gone since.
    doubted = {row["uri"] for row in run.output.failures.read(["uri", "stage"]) if row["stage"] == "identify"}
    if run.options.images.startswith("@") or run.options.images in listed:
        doubted |= {uri for uri in listed if not is_store(uri)}
    there = listed.keys() - doubted
    suspects: dict[str, tuple[str, ...]] = {}
    unknown, contested = {*listed}, set[str]()
    for row in run.output.compositions.read(["image_id", "image_uris"]):
        uris = tuple(row["image_uris"])
        unknown.difference_update(uris)
        doubtful = {uri for uri in uris if _short(uri) in shared and uri in listed}
        contested |= doubtful
        if doubtful or not there.issuperset(uris):
            suspects[row["image_id"]] = uris
    covers = coverage(run.options.images, run.pictures)
    asked = {uri for uris in suspects.values() for uri in uris if uri not in there and covers(uri)}
    lost = _lost(asked)
    now_at = ids_at(contested - lost) if contested else {}
    kept = {id: tuple(uri for uri in uris if not (uri in lost or _is_other(now_at.get(uri), id)))
            for id, uris in suspects.items()}  # fmt: skip
    if any(not uris for uris in kept.values()):
        for uri, id in ids_at(unknown).items():
            if id in kept and len(kept[id]) < len(suspects[id]):
                kept[id] = tuple(sorted({*kept[id], uri}, key=os.fsencode))
    changed = {id: uris for id, uris in kept.items() if uris != suspects[id]}
    gone = {id: suspects[id] for id, uris in changed.items() if not uris}
    return Losses(all_rows, gone, {id: uris for id, uris in changed.items() if uris})


def _is_other(now: str | None, id: str) -> bool:
    return now is not None and now != id


def _short(uri: str) -> int:
    return int.from_bytes(hashlib.blake2b(uri.encode(), digest_size=8).digest(), "big", signed=True)


def _shared_places(run: ComposeRun) -> tuple[frozenset[int], int]:
    """Return hashes of the places that more than one row names, eight bytes for each place, and the number of rows."""
    rows = 0

    def hashes() -> Iterator[int]:
        nonlocal rows
        for row in run.output.compositions.read(["image_uris"]):
            rows += 1
            yield from map(_short, row["image_uris"])

    short = np.fromiter(hashes(), np.int64)
    short.sort()
    return frozenset(short[1:][short[1:] == short[:-1]].tolist()), rows


def _ids_at(run: ComposeRun, places: Collection[str]) -> Mapping[str, str | None]:
    """Return the ids of what lies at places: what the run found out as it told pictures apart, else what is read."""
    known: dict[str, str | None] = {}
    if not run.options.is_one_pipeline:
        rows = run.output.places.read(["uri", "image_id"])
        known = {row["uri"]: row["image_id"] for row in rows if row["uri"] in places}
    read = PictureReader(run.options.allow_web)
    found = {uri: identify(uri, read) for uri in places if uri not in known}
    return known | {uri: one.image_id if isinstance(one, Identified) else None for uri, one in found.items()}


def _with_places(table: pa.Table, left: Mapping[str, tuple[str, ...]]) -> pa.Table:
    """Return rows of which some have other places; the first one is that of the row, and its folder the album."""
    ids = table["image_id"].to_pylist()
    if left.keys().isdisjoint(ids):
        return table
    values: dict[str, Callable[[tuple[str, ...]], object]] = {
        "image_uri": lambda uris: uris[0],
        "image_uris": list,
        "album": lambda uris: printable(album_of(as_on_disk(uris[0]))),
    }
    for name, value in values.items():
        at = table.schema.get_field_index(name)
        old = table[name].to_pylist()
        new = [value(left[id]) if id in left else old[row] for row, id in enumerate(ids)]
        table = table.set_column(at, table.schema.field(at), pa.array(new, table.schema.field(at).type))
    return table


# ---------------------------------------------------------------- where a run looked, and what is lost there


def coverage(images: str, places: Iterable[str]) -> Callable[[str], bool]:
    """Return what tells whether a place lies where `--images` looks for pictures.

    That is under a folder, or among what a glob matches. A list names folders by its places: what lay in one of them is
    lost where it lies there no longer, and no place elsewhere is.
    """
    if images.startswith("@") or not images:
        folders = frozenset(_plain(album_of(place)) for place in places)
        return lambda uri: _plain(album_of(as_on_disk(uri))) in folders
    pattern = _plain(images).split("/")

    def covers(uri: str) -> bool:
        parts = _plain(_file_of(as_on_disk(uri))).split("/")
        under = parts[: len(pattern)] == pattern
        return under or matches_glob(parts, pattern)

    return covers


def _plain(place: str) -> str:
    return place.rstrip("/") if "://" in place else os.path.abspath(place)


def _file_of(uri: str) -> str:
    member = member_of(uri)
    return uri if member is None else member.archive


def _lost(places: Collection[str]) -> frozenset[str]:
    """Return the places at which nothing lies any more.

    Raises:
        OSError, Image2MusicError: nobody can tell.
    """
    ordered, members = sorted(places), cache(_members)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        gone = threads.map(lambda uri: _has_nothing(as_on_disk(uri), members), ordered)
        return frozenset(uri for uri, is_gone in zip(ordered, gone, strict=True) if is_gone)


def _has_nothing(place: str, members: Callable[[str], frozenset[str]]) -> bool:
    if is_web(place):
        return False
    member = member_of(place)
    if member is None:
        return not _is_file(place)
    if not _is_file(member.archive):
        return True
    inside = members(member.archive)
    return f"{member.archive}#" not in inside and place not in inside  # of a broken one nobody can tell


def _is_file(path: str) -> bool:
    if is_store(path):
        return open_place(path).info() is not None
    try:
        os.lstat(path)  # a link whose disk is not there is no lost picture
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _members(archive: str) -> frozenset[str]:
    return frozenset(list_members(archive, open_seekable).places)
