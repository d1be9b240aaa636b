"""The versions of a tune index: each run leaves one with a name to go back to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from image2music.errors import TuneIndexError
from image2music.index_search import bring_up_to_date, tidy, write_together

Run = Literal["build", "update", "restore"]


@dataclass(frozen=True)
class IndexVersion:
    """One version of the table. `made_at` is local time; `bytes` counts its data files; `tags` are its names."""

    version: int
    made_at: datetime
    rows: int
    bytes: int
    tags: tuple[str, ...]


def settle(uri: str, run: Run) -> int:
    """Index what is not indexed yet, tidy up and name the newest version RUN-VERSION; returns that version.

    A second call does nothing: a run that was killed after its commit is finished by the next one.
    """
    dataset = _open(uri)
    write_together(dataset)
    bring_up_to_date(dataset)
    tidy(dataset)
    version = int(dataset.latest_version)
    if version not in {tag["version"] for tag in dataset.tags.list().values()}:
        dataset.tags.create(f"{run}-{version}", version)
    return version


def history(uri: str) -> list[IndexVersion]:
    """Every version that is still there, the oldest first.

    Raises:
        TuneIndexError: there is no table (`index_missing`).
    """
    dataset = _open(uri)
    tags: dict[int, list[str]] = {}
    for name, tag in sorted(dataset.tags.list().items()):
        tags.setdefault(tag["version"], []).append(name)
    return [_version(found, tuple(tags.get(found["version"], ()))) for found in dataset.versions()]


def restore(uri: str, name: str) -> int:
    """Make the rows of an earlier version, named by tag or number, the newest version; returns its number.

    Nothing is deleted: what was the newest version stays in the history.

    Raises:
        TuneIndexError: there is no table (`index_missing`) or no such version (`no_such_version`).
    """
    dataset = _open(uri)
    known = {found.version: found for found in history(uri)}
    by_name = {tag: number for number, found in known.items() for tag in found.tags}
    number = by_name.get(name, int(name) if name.isascii() and name.isdigit() else 0)
    if number not in known:
        names = ", ".join(sorted(by_name, key=lambda tag: by_name[tag])) or "none"
        message = f"{uri} has no version {name!r}; its tags: {names}; --history lists all versions"
        raise TuneIndexError(message, reason="no_such_version")
    dataset.checkout_version(number).restore()
    return settle(uri, "restore")


def _version(found: dict[str, Any], tags: tuple[str, ...]) -> IndexVersion:
    metadata = found["metadata"]
    rows, size = int(metadata.get("total_rows", 0)), int(metadata.get("total_files_size", 0))
    return IndexVersion(int(found["version"]), found["timestamp"], rows, size, tags)


def _open(uri: str) -> Any:
    import lance

    try:
        return lance.dataset(uri)
    except (ValueError, OSError) as error:
        message = (
            f"no tune index at {uri}; make one with: image2music index --captions FILE --midi_root DIR --index {uri}"
        )
        raise TuneIndexError(message, reason="index_missing") from error
