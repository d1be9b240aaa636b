"""Filters over the columns of the tune index: `--where` in LanceDB's SQL."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from image2music.errors import ConfigError

if TYPE_CHECKING:
    from image2music.tune_index import TuneIndex

_QUOTED = re.compile(r"'(?:[^']|'')*'")
_NOT_ALWAYS_THE_SAME = re.compile(r"\b(random|uuid|now|today|current_\w+)\b\s*(\(|$)", re.IGNORECASE)
_WHERE_IN_LANCE = re.compile(r",? *\S*/rust/\S+:\d+:\d+")


def narrowed(index: TuneIndex, where: str) -> TuneIndex:
    """The index as if it held only the rows that the filter lets through.

    Raises:
        ConfigError: the filter cannot be read, names no column, may answer differently the next time (`bad_where`),
            or lets no row through (`where_finds_nothing`).
    """
    plain = _QUOTED.sub("''", where)
    if not plain.strip() or ";" in plain:
        raise _refused(where, "it must be one condition", index)
    if _NOT_ALWAYS_THE_SAME.search(plain):
        raise _refused(where, "it must let the same rows through each time", index)
    try:
        rows = index.dataset().count_rows(where)
    except (OSError, ValueError) as error:  # lance has no class of its own for a filter that it cannot read
        raise _refused(where, _reason(error), index) from error
    if rows == 0:
        message = f"--where {where!r} lets none of the {index.rows} tunes of {index.uri} through"
        raise ConfigError(message, reason="where_finds_nothing")
    return replace(index, where=where, rows=rows, share=rows / index.rows)


def _refused(where: str, why: str, index: TuneIndex) -> ConfigError:
    columns = ", ".join(name for name in index.dataset().schema.names if name != "vector")
    return ConfigError(f"--where {where!r} is no filter: {why}; the columns are {columns}", reason="bad_where")


def _reason(error: Exception) -> str:
    """What LanceDB says, without the place in its sources."""
    text = _WHERE_IN_LANCE.sub("", " ".join(str(error).split()))
    text = text.removeprefix("Invalid user input: ").removeprefix("Schema error: ")
    return text.split(". Valid fields are")[0].rstrip(" .,?")
