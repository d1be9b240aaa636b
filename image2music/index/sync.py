"""What changed since an index was built: lines of the captions file, files, rows.

A captions file, as MidiCaps has one, holds one JSON object a line. It is compared with the rows of the table. The
manifest, a Parquet file beside the table, says what the MIDI files looked like when they were last read. It only saves
work: the table says what is in the index, so a manifest that is lost or old costs time and no rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from image2music import __version__
from image2music.errors import CaptionError
from image2music.storage.files import read_parquet, write_parquet
from image2music.types import CaptionedMidi, Failure

_LONGEST_PLACE = 1024


def parse_caption_line(line: str) -> CaptionedMidi:
    """Parse one line; other keys are ignored.

    `location` and `caption` are wanted; `image`, the place of a picture, may stand beside the caption or instead of it.

    Raises:
        CaptionError: no JSON (`bad_json`), no location, or neither caption nor image (`bad_caption_line`), or a place
            that is not a relative path inside the folder (`outside_midi_root`).
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and brackets without end
        raise CaptionError(f"not a line of JSON: {error}", reason="bad_json") from error
    if not isinstance(row, dict):
        raise CaptionError(f"a line must hold a JSON object, not {type(row).__name__}", reason="bad_caption_line")
    image = _place(row, "image") if row.get("image") is not None else ""
    return CaptionedMidi(
        _place(row, "location"),
        "" if image and row.get("caption") in (None, "") else _text(row, "caption"),
        genre=_texts(row, "genre"),
        mood=_texts(row, "mood"),
        instruments=_texts(row, "instrument_summary"),
        image=image,
    )


def _place(row: dict[str, Any], key: str) -> str:
    place = _text(row, key)
    if len(place) > _LONGEST_PLACE or "\0" in place:
        message = f"{key} must be a path of at most {_LONGEST_PLACE} characters, not {place!r:.60}"
        raise CaptionError(message, reason="bad_caption_line")
    if place.startswith("/") or ".." in place.split("/"):
        message = f"{key} {place} leaves the MIDI root; places are relative paths inside of it"
        raise CaptionError(message, reason="outside_midi_root")
    return place


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise CaptionError(f"{key} must be a text that is not empty, not {value!r:.60}", reason="bad_caption_line")
    # JSON can spell half of a surrogate pair, which no file can hold.
    return value.encode("utf-8", "replace").decode()


def _texts(row: dict[str, Any], key: str) -> tuple[str, ...]:
    """Return the texts under a key: MidiCaps gives a list, older rows a single text or null."""
    value = row.get(key)
    if isinstance(value, str):
        return (value,)
    return tuple([item for item in value if isinstance(item, str)]) if isinstance(value, list) else ()


IdentifiedMidi = tuple[str, CaptionedMidi]
"""tune_id and what its line says."""


@dataclass(frozen=True)
class Changes:
    """What an update has to do. `new` and `changed` rows are made, `removed` are the ids of rows to delete."""

    new: tuple[IdentifiedMidi, ...]
    changed: tuple[IdentifiedMidi, ...]
    removed: tuple[str, ...]
    unchanged: int

    @property
    def to_make(self) -> tuple[IdentifiedMidi, ...]:
        """Return the tunes to convert and embed."""
        return self.new + self.changed

    def __bool__(self) -> bool:
        return bool(self.to_make or self.removed)


def first_of_each(tune_id: str, sources: Iterable[CaptionedMidi]) -> tuple[CaptionedMidi, list[Failure]]:
    """Return the first location of a content and the failures of the others: an id stands once in the table."""
    first, *others = sorted(sources, key=lambda source: (source.location, source.caption, source.image))
    message = f"the same bytes as {first.location}"
    return first, [Failure("duplicates", tune_id, other.location, "duplicate_tune", message) for other in others]


def without_repeats(identified: Iterable[IdentifiedMidi]) -> tuple[list[IdentifiedMidi], list[Failure]]:
    """Return each content once, as `first_of_each` says, and the failures of the others."""
    groups: dict[str, list[CaptionedMidi]] = {}
    for tune_id, source in identified:
        groups.setdefault(tune_id, []).append(source)
    kept, failures = [], []
    for tune_id, sources in groups.items():
        first, others = first_of_each(tune_id, sources)
        kept.append((tune_id, first))
        failures += others
    return kept, failures


def find_changes(
    wanted: Sequence[IdentifiedMidi],
    stored: Mapping[str, CaptionedMidi],
    hopeless: Iterable[str] = (),
    *,
    keep: Iterable[str] = (),
) -> Changes:
    """Compare the wanted tunes (each id once) with the stored rows.

    A row is unchanged when its id and everything that its line says are. Ids in `hopeless` could not be converted
    before, or their pictures not be opened, and are not tried again. Rows at the locations in `keep` stay although no
    wanted tune is there.
    """
    ids = dict(wanted)
    skipped, kept = set(hopeless), set(keep)
    new = [(tune_id, source) for tune_id, source in wanted if tune_id not in stored and tune_id not in skipped]
    changed = [
        (tune_id, source)
        for tune_id, source in wanted
        if stored.get(tune_id, source) != source and tune_id not in skipped
    ]
    removed = [tune_id for tune_id, source in stored.items() if tune_id not in ids and source.location not in kept]
    unchanged = len(stored) - len(changed) - len(removed)
    return Changes(tuple(new), tuple(changed), tuple(sorted(removed)), unchanged)


_SCHEMA = pa.schema(
    [
        ("location", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("tune_id", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
    ]
)

_SETTLED_NS = 2_000_000_000
"""A file that changed so short before it is read may change again within one tick of its clock."""


@dataclass(frozen=True)
class Stamp:
    """Size in bytes and time of change in nanoseconds."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class KnownFile:
    """A file as it was read last. `reason` and `message` say why it cannot be converted; empty where it can."""

    stamp: Stamp
    tune_id: str
    reason: str = ""
    message: str = ""


Manifest = dict[str, KnownFile]
"""Known files by location."""


def stamp_of(path: str, started_ns: int) -> Stamp | None:
    """Return the stamp of a local file.

    None where there is none, or where it changed since `started_ns` or just before.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    settled = found.st_mtime_ns < started_ns - _SETTLED_NS
    return Stamp(found.st_size, found.st_mtime_ns) if settled else None


def read_manifest(uri: str) -> Manifest:
    """Return the known files; none where the file is missing or broken. Failures of another release are left out."""
    table = read_parquet(uri)
    if table is None or table.schema.names != _SCHEMA.names:
        return {}
    same_release = (table.schema.metadata or {}).get(b"release") == __version__.encode()
    columns = (table[name].to_pylist() for name in _SCHEMA.names)
    return {
        location: KnownFile(Stamp(size, mtime_ns), tune_id, reason, message)
        for location, size, mtime_ns, tune_id, reason, message in zip(*columns, strict=True)
        if same_release or not reason
    }


def write_manifest(uri: str, manifest: Mapping[str, KnownFile]) -> None:
    """Replace the manifest in one step."""
    known = sorted(manifest.items())
    columns = {
        "location": [location for location, _ in known],
        "size": [file.stamp.size for _, file in known],
        "mtime_ns": [file.stamp.mtime_ns for _, file in known],
        "tune_id": [file.tune_id for _, file in known],
        "reason": [file.reason for _, file in known],
        "message": [file.message for _, file in known],
    }
    schema = _SCHEMA.with_metadata({"release": __version__})
    write_parquet(uri, pa.Table.from_pydict(columns, schema=schema))
