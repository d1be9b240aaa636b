"""Keeping an index: what changed since it was built, and what becomes of it after its commits.

A captions file, as MidiCaps has one, holds one JSON object a line. It is compared with the rows of the table. The
manifest, a Parquet file beside the table, says what the MIDI files looked like when they were last read. It only saves
work: the table says what is in the index, so a manifest that is lost or old costs time and no rows.

An index is quick to search when it has few data files and an approximate index that is extended, or trained anew:
compaction, vector index, versions with names, restore, statistics. Each run leaves one version with a name to go back
to.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median, quantiles
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from image2music import __version__
from image2music.errors import CaptionError, TuneIndexError
from image2music.index.table import TuneIndex, open_table
from image2music.storage.files import read_parquet, write_parquet
from image2music.storage.objects import with_patience
from image2music.storage.output import open_index_files
from image2music.types import CaptionedMidi, Failure

VECTOR_INDEX_FROM = 20_000
"""Rows from which an approximate index pays: below, an exact search takes a few milliseconds and misses nothing."""

MOST_OUTSIDE = 0.2
"""Share of the rows that may have come after the vector index was trained, before it is trained anew."""

MOST_FILES_OF_A_BUILD, MOST_SMALL_FILES = 16, 100
"""Data files below `FULL_FILE` rows each before they are written together, without a vector index and with one. A build
leaves one for 4,096 rows, and each holds some of what a search finds: with forty of them it took half as long again.
Those of updates hold few rows, and rows that the vector index knows cost as much to move as two updates."""

FULL_FILE = 65_536
"""Rows."""

KEPT_FOR = timedelta(days=7)
"""How long versions without a tag stay, and data files that no version names: a run may still be at work on them."""
_ID_INDEX, _VECTOR_INDEX = "tune_id_idx", "vector_idx"
Done = Literal["nothing", "extended", "trained"]


def reindex(dataset: Any) -> Done:
    """Index every row of a LanceDB dataset at its newest version; each step is a commit of its own.

    There is always a scalar index on tune_id, and from `VECTOR_INDEX_FROM` rows on a vector index: one graph of near
    neighbours (HNSW, Malkov and Yashunin 2016) over vectors of 8 bits a number. Partitions (IVF) serve embeddings of
    captions badly: for a recall of .99 a third of them has to be searched. The graph is made anew where more than
    `MOST_OUTSIDE` of the rows came later, or where more than half of its rows have gone. Otherwise new rows form a
    second graph, which later ones are merged with.
    A table without these answers the same questions, only slower, so a run that stops in between harms nothing.
    """
    names = {index.name for index in dataset.describe_indices()}
    done: Done = "nothing"
    if _ID_INDEX not in names:
        dataset.create_scalar_index("tune_id", "BTREE")
        done = "extended"
    elif unindexed(dataset, _ID_INDEX):
        dataset.optimize.optimize_indices(index_names=[_ID_INDEX])
        done = "extended"
    rows = dataset.count_rows()
    if rows >= VECTOR_INDEX_FROM and (_VECTOR_INDEX not in names or _is_worn(dataset, rows)):
        dataset.create_index("vector", "IVF_HNSW_SQ", metric="cosine", num_partitions=1, replace=True)
        return "trained"
    if _VECTOR_INDEX in names and unindexed(dataset, _VECTOR_INDEX):
        later_parts = len(_segments(dataset)) - 1
        dataset.optimize.optimize_indices(index_names=[_VECTOR_INDEX], num_indices_to_merge=min(1, later_parts))
        return "extended"
    return done


def compact(dataset: Any) -> None:
    """Merge many small data files into few."""
    fragments = dataset.get_fragments()
    most = MOST_SMALL_FILES if _has_vector_index(dataset) else MOST_FILES_OF_A_BUILD
    if sum(fragment.physical_rows < FULL_FILE for fragment in fragments) > most:
        dataset.optimize.compact_files(target_rows_per_fragment=FULL_FILE)


def cleanup(dataset: Any, *, kept_for: timedelta = KEPT_FOR) -> None:
    """Remove versions and files that no tag names and is older than `kept_for`.

    A version with a tag keeps the files that it needs.
    """
    dataset.cleanup_old_versions(older_than=kept_for, error_if_tagged_old_versions=False)


def unindexed(dataset: Any, name: str) -> int:
    """Return the number of rows that an index does not know yet; a search looks at them one by one."""
    return int(dataset.stats.index_stats(name)["num_unindexed_rows"])


def kind(dataset: Any) -> str:
    """Return how the table is searched, in words for a person."""
    if not _has_vector_index(dataset):
        return "exact"
    _, later = _trained(dataset)
    return f"HNSW, {later} rows came after it was made"


def _has_vector_index(dataset: Any) -> bool:
    return _VECTOR_INDEX in {index.name for index in dataset.describe_indices()}


def _is_worn(dataset: Any, rows: int) -> bool:
    trained, later = _trained(dataset)
    return later > MOST_OUTSIDE * rows or trained > 2 * rows


def _trained(dataset: Any) -> tuple[int, int]:
    """Return how many rows the first graph was made of, deleted ones included, and how many came later."""
    sizes = [sum(int(part["size"]) for part in segment["partitions"]) for segment in _segments(dataset)]
    return max(sizes), sum(sizes) - max(sizes) + unindexed(dataset, _VECTOR_INDEX)


def _segments(dataset: Any) -> list[Any]:
    statistics = dataset.stats.index_stats(_VECTOR_INDEX)
    found: list[Any] = statistics.get("segments", statistics.get("indices"))
    return found


Run = Literal["build", "update", "restore", "embed", "remove"]


@dataclass(frozen=True)
class IndexVersion:
    """One version of the table. `made_at` is local time; `bytes` counts its data files; `tags` are its names."""

    version: int
    made_at: datetime
    rows: int
    bytes: int
    tags: tuple[str, ...]


def keep_version(uri: str, version: int) -> None:
    """Give a version that has no name one, kept-VERSION, so that it stays."""
    dataset = open_table(uri)
    if version not in {tag["version"] for tag in dataset.tags.list().values()}:
        dataset.tags.create(f"kept-{version}", version)


def finalize(uri: str, run: Run) -> int:
    """Compact, index and clean up, name the newest version RUN-VERSION, and return that version.

    A second call does nothing: a run that was killed after its commit is finished by the next one.
    """
    return with_patience(uri, lambda: _finalized(uri, run))


def _finalized(uri: str, run: Run) -> int:
    dataset = open_table(uri)
    compact(dataset)
    reindex(dataset)
    cleanup(dataset)
    version = int(dataset.latest_version)
    if version not in {tag["version"] for tag in dataset.tags.list().values()}:
        dataset.tags.create(f"{run}-{version}", version)
    return version


def history(uri: str) -> list[IndexVersion]:
    """Return every version that is still there, the oldest first.

    Raises:
        TuneIndexError: there is no table (`index_missing`).
    """
    dataset = open_table(uri)
    tags: dict[int, list[str]] = {}
    for name, tag in sorted(dataset.tags.list().items()):
        tags.setdefault(tag["version"], []).append(name)
    return [_version(found, tuple(tags.get(found["version"], ()))) for found in dataset.versions()]


def restore(uri: str, name: str) -> int:
    """Make the rows of an earlier version, named by tag or number, the newest version; return its number.

    Nothing is deleted: what was the newest version stays in the history.

    Raises:
        TuneIndexError: there is no table (`index_missing`) or no such version (`no_such_version`).
    """
    dataset = open_table(uri)
    known = {found.version: found for found in history(uri)}
    by_name = {tag: number for number, found in known.items() for tag in found.tags}
    number = by_name.get(name, int(name) if name.isascii() and name.isdigit() else 0)
    if number not in known:
        names = ", ".join(sorted(by_name, key=lambda tag: by_name[tag])) or "none"
        message = f"{uri} has no version {name!r}; its tags: {names}; the history lists all versions"
        raise TuneIndexError(message, reason="no_such_version")
    dataset.checkout_version(number).restore()
    return finalize(uri, "restore")


def _version(found: dict[str, Any], tags: tuple[str, ...]) -> IndexVersion:
    metadata = found["metadata"]
    rows, size = int(metadata.get("total_rows", 0)), int(metadata.get("total_files_size", 0))
    return IndexVersion(int(found["version"]), found["timestamp"], rows, size, tags)


_COLUMNS = [
    "caption",
    "music_id",
    "key",
    "meter",
    "tempo_qpm",
    "duration_s",
    "bars",
    "voices",
    "genre",
    "mood",
    "instruments",
]
_NUMBERS = ("tempo_qpm", "duration_s", "bars", "voices")
_NAMES = ("key", "meter", "genre", "mood", "instruments")
_SEED = 0


@dataclass(frozen=True)
class ColumnSpread:
    """Smallest, middle and largest value of a column, and its quartiles."""

    least: float
    lower: float
    middle: float
    upper: float
    most: float


@dataclass(frozen=True)
class IndexStats:
    """Counts over all rows; what a search finds and how long it takes over a sample of stored vectors.

    `recall` is the share of the exact search's k best that the index finds. `same_music` and `same_caption` count
    rows beyond the first with the same music (by `music_id`), or the same caption.
    """

    index: TuneIndex
    bytes: int
    search: str
    names: dict[str, Counter[str]]
    numbers: dict[str, ColumnSpread]
    same_music: int
    same_caption: int
    recall: float
    query_ms: float
    exact_ms: float
    sample: int
    k: int


def index_stats(index: TuneIndex, *, sample: int = 50, k: int = 5) -> IndexStats:
    """Read the columns that are counted, and search for `sample` of the rows."""
    dataset = index.dataset()
    licences = [name for name in ("licence",) if name in index.schema.names]
    names: dict[str, Counter[str]] = {name: Counter() for name in (*_NAMES, *licences)}
    numbers: dict[str, list[float]] = {name: [] for name in _NUMBERS}
    music: set[str] = set()
    texts: set[bytes] = set()
    for batch in dataset.to_batches(columns=[*_COLUMNS, *licences]):
        for row in batch.to_pylist():
            for name in _NAMES:
                names[name].update(_texts(row[name]))
            for name in licences:
                names[name].update([row[name] or "not known"])
            for name in _NUMBERS:
                if row[name] is not None:
                    numbers[name].append(float(row[name]))
            music.add(row["music_id"])
            texts.add(hashlib.sha256(row["caption"].encode()).digest())
    queries = _sample(dataset, index.rows, sample)
    fast, found = _timed(index, queries, k, exact=False)
    slow, right = _timed(index, queries, k, exact=True)
    return IndexStats(
        index=index,
        bytes=open_index_files(index.uri).size(),
        search=kind(dataset),
        names=names,
        numbers={name: column_spread(values) for name, values in numbers.items() if values},
        same_music=index.rows - len(music),
        same_caption=index.rows - len(texts),
        recall=sum(len(a & b) for a, b in zip(found, right, strict=True)) / sum(map(len, right)),
        query_ms=fast,
        exact_ms=slow,
        sample=len(queries),
        k=k,
    )


def column_spread(values: Sequence[float]) -> ColumnSpread:
    """Return the spread of one value or more."""
    lower, middle, upper = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return ColumnSpread(min(values), lower, middle, upper, max(values))


def _texts(value: Any) -> list[str]:
    return list(value or ()) if isinstance(value, list) or value is None else [value]


def _sample(dataset: Any, rows: int, sample: int) -> list[Any]:
    places = np.random.default_rng(_SEED).choice(rows, size=min(sample, rows), replace=False)
    vectors = dataset.take(sorted(int(place) for place in places), columns=["vector"])["vector"].to_pylist()
    return [np.asarray(vector, dtype=np.float32) for vector in vectors]


def _timed(index: TuneIndex, queries: Sequence[Any], k: int, *, exact: bool) -> tuple[float, list[set[str]]]:
    """Return the median milliseconds of a search, after one that warms up, and what each found."""
    index.nearest_ids(queries[0], k, exact=exact)
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(set(index.nearest_ids(query, k, exact=exact)))
        times.append(1000 * (time.perf_counter() - start))
    return median(times), found


_LONGEST_PLACE = 1024


def parse_caption_line(line: str) -> CaptionedMidi:
    """Parse one line; other keys are ignored.

    `location` and `caption` are wanted; `image`, the place of a picture, may stand beside the caption or instead of it.
    `licence` (or `license`) and `source` say under which licence the tune is and where it comes from.

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
        genre=_texts_of_lines(row, "genre"),
        mood=_texts_of_lines(row, "mood"),
        instruments=_texts_of_lines(row, "instrument_summary"),
        image=image,
        licence=_known(row, "licence", "license"),
        source=_known(row, "source"),
    )


def _known(row: dict[str, Any], *keys: str) -> str:
    """Return the text under the first of some keys that has one; empty where none has."""
    return next((_text(row, key).strip() for key in keys if isinstance(row.get(key), str) and row[key].strip()), "")


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


def _texts_of_lines(row: dict[str, Any], key: str) -> tuple[str, ...]:
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

    A row is unchanged when its id and everything that its line says are; a line that names no licence or no source
    leaves those that the row has, which somebody may have written into the table. Ids in `hopeless` could not be
    converted before, or their pictures not be opened, and are not tried again. Rows at the locations in `keep` stay
    although no wanted tune is there.
    """
    wanted = [(tune_id, _completed(source, stored.get(tune_id))) for tune_id, source in wanted]
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


def _completed(source: CaptionedMidi, stored: CaptionedMidi | None) -> CaptionedMidi:
    if stored is None:
        return source
    return replace(source, licence=source.licence or stored.licence, source=source.source or stored.source)


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
