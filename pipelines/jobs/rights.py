"""The passports of an output's tunes: from their rows, and from the records of the runs that made them."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import chain
from typing import Any

from image2music.composers import registry as composers
from image2music.embedders import base as embedders
from image2music.errors import ConfigError
from image2music.plugins import KindRegistry
from image2music.rights import PASSPORT_COLUMNS, ModelLicences, longest_copied_run, passport, rights_row
from image2music.rows import plan_of_row
from image2music.storage.datasets import read_batches
from image2music.storage.files import open_place
from image2music.storage.objects import is_store
from image2music.storage.output import GENERATIONS, OutputStore, open_output
from pipelines.jobs.export import ID_COLUMNS, chosen_rows
from pipelines.options.compose import ComposeOptions
from pipelines.options.outputs import RightsOptions

Row = dict[str, Any]

_ROWS_AT_ONCE = 32
_COLUMNS = (*PASSPORT_COLUMNS, "hint", "wishes", "asked_plan", "album_part")
_NOT_SHOWN = ("abc", "plan", "references")
_NOT_NEEDED = (
    *("images", "index", "output", "seed", "keep", "overwrite", "refresh", "again", "ids", "dry_run", "log_json"),
    *("max_failures", "price", "max_cost", "batch_api", "batch_wait", "concurrency", "catalog", "plans", "album"),
    *("batch_size", "time_limit", "workers", "cluster", "part", "slice_size", "needs"),
    *("chapter_gap", "prune"),
)
"""Options that say nothing of one tune, or that the command names otherwise."""


def print_rights(options: RightsOptions) -> None:
    """Print the passports of the rows that are chosen, as text with an empty line between, or as lines of JSON.

    Raises:
        ConfigError: there are no rows (`no_rows`), or none has an id that was named (`unknown_id`).
    """
    for number, row in enumerate(rights_of(options)):
        if options.json:
            print(json.dumps(row, ensure_ascii=False, default=str))
        else:
            lies_in = row["lies_in"] if row["lies_in"] != str(open_output(options.input)) else ""
            print(("\n" if number else "") + passport(row, again=row["again"], lies_in=lies_in))


def rights_of(options: RightsOptions) -> Iterator[Row]:
    """Yield the passport's columns of each chosen row but tune and plan, with `again`, how to make it again.

    Rows that are named are looked for in earlier generations too, where what was pruned or replaced lies: `lies_in`
    says in which output a row is. A tune that stands in several is one passport.
    """
    stores = [open_output(options.input)]
    stores += _generations(stores[0]) if options.ids else []
    there = chain.from_iterable(store.compositions.read(ID_COLUMNS) for store in stores)
    chosen, records = chosen_rows(there, options.input, options.ids), run_records(options.input)
    seen = set[tuple[str, str]]()
    for store in stores:
        for batch in read_batches(store.compositions.shards(), _COLUMNS, _ROWS_AT_ONCE):
            for row in batch:
                if row["image_id"] not in chosen or (tune := (row["image_id"], row["abc"])) in seen:
                    continue
                seen.add(tune)
                record = records.get(row["settings_hash"])
                row["rights"] = row.get("rights") or _rights_of_earlier(row, record)
                more = command_again(row, record) | {"lies_in": str(store)}
                yield {name: row.get(name) for name in PASSPORT_COLUMNS if name not in _NOT_SHOWN} | more


def _generations(store: OutputStore) -> list[OutputStore]:
    """Return the earlier generations of an output, by name from the last."""
    place = open_place(store.generations)
    return [open_output((place / name).uri) for name in reversed(place.folders())]


def _rights_of_earlier(row: Row, record: Mapping[str, Any] | None) -> Row:
    """Return the column `rights` of an earlier release's row: licences as the cards of its models say now."""
    options = (record or {}).get("options", {})
    licences = ModelLicences(
        _card_of(composers.KINDS, options.get("composer") or _spec_of(row["composer_id"])),
        _card_of(embedders.KINDS, options.get("embedder") or _spec_of(row["embedder_id"])),
    )
    plan = plan_of_row(row["plan"]) if row.get("plan") else None
    copied = longest_copied_run(row["abc"], plan, row["references"])
    return rights_row(row["composer_id"], licences, row["references"], copied)


def _card_of(kinds: KindRegistry[Any], spec: str) -> str | None:
    try:
        return kinds.licence(spec)
    except ConfigError:  # a model of a package that is not installed here: nobody knows
        return None


def run_records(uri: str) -> dict[str, Mapping[str, Any]]:
    """Return what the runs into an output said of themselves, by settings_hash; of several the newest.

    Of a generation also what those into the output above it said.
    """
    place = uri.rstrip("/") if is_store(uri) else os.path.abspath(uri)
    above, _, name = place.rpartition(f"/{GENERATIONS}/")
    homes = [uri, above] if above and "/" not in name else [uri]
    found: dict[str, Mapping[str, Any]] = {}
    for run in chain.from_iterable(open_output(home).run_files() for home in homes):
        record = run.read()
        if record.get("command") == "compose" and "settings_hash" in record:
            found.setdefault(record["settings_hash"], record)
    return found


def command_again(row: Row, record: Mapping[str, Any] | None) -> dict[str, str]:
    """Return, under `again`, the command that makes a row's tune once more from its picture, and what it needs.

    The options are those of the run where its record is known; else composer and seed, which the row names.
    """
    words = ["--images", row["image_uri"], "--index", row["index_uri"], "--output", "AGAIN", "--seed", str(row["seed"])]
    if record is not None:
        words += _given(record["options"])
        needs = [f"version {row['index_version']} of the index"]
    else:
        words += ["--composer", _spec_of(row["composer_id"])]
        needs = [f"version {row['index_version']} of the index", "the run's own options, of which no record is left"]
    if row.get("album_part"):
        needs.append("its part of the album: compose --album of the whole folder")
    if any(row.get(name) for name in ("hint", "wishes")):
        needs.append("its row of the catalogue, by --catalog")
    if row.get("asked_plan"):
        needs.append("its plan, by --plans")
    return {"again": f"{shlex.join(['image2music', 'compose', *words])}  (needs {'; '.join(needs)})"}


def _spec_of(model_id: str) -> str:
    """Return how a model was named on the command line, as far as its id tells."""
    own = next((name for name in ("nano", "conse") if model_id.startswith(f"{name}-")), None)
    return own or model_id.partition("@")[0]


def _given(options: Mapping[str, Any]) -> list[str]:
    """Return the options of a recorded run that change a tune and are not the default, as words of a command line."""
    words: list[str] = []
    for entry in fields(ComposeOptions):
        value = options.get(entry.name, entry.default)
        if "option" not in entry.metadata or entry.name in _NOT_NEEDED or value in (entry.default, None):
            continue
        flag = entry.metadata["option"].flag or f"--{entry.name}"
        words += [flag] if value is True else [flag, _word(value)]
    return words


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
