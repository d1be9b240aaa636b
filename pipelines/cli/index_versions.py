"""What an index holds and held, for the terminal."""

from __future__ import annotations

from image2music.index.maintenance import history, restore
from image2music.index.stats import IndexStats, index_stats
from image2music.index.table import open_index
from image2music.storage.index_files import open_index_files
from pipelines.cli.tables import table

_MOST_NAMES = 12


def history_table(uri: str) -> str:
    """Every version, one line each, the oldest first."""
    cells = [
        (
            str(found.version),
            f"{found.made_at:%Y-%m-%d %H:%M:%S}",
            str(found.rows),
            f"{found.bytes / 1e6:.1f}",
            " ".join(found.tags),
        )
        for found in history(uri.rstrip("/"))
    ]
    return table(("version", "made at", "tunes", "MB", "tags"), cells)


def go_back(uri: str, name: str) -> str:
    """Restore a version by tag or number; says what came of it."""
    uri = uri.rstrip("/")
    history(uri)  # says in one line that there is no table, before a lock is made beside it
    with open_index_files(uri).lock():
        version = restore(uri, name)
    made = open_index(uri)
    return f"{uri} is as it was at {name}: {made.rows} tunes, now version {version}"


def stats_lines(uri: str) -> str:
    """What is in the newest version, one line for each fact."""
    stats = index_stats(open_index(uri.rstrip("/")))
    numbers = {
        name: f"{s.least:g} to {s.most:g}, middle {s.middle:g}, half of them {s.lower:g} to {s.upper:g}"
        for name, s in stats.numbers.items()
    }
    names = {
        name: ", ".join(f"{value} {number}" for value, number in counted.most_common(_MOST_NAMES)) or "none"
        for name, counted in stats.names.items()
    }
    lines = {"tunes": str(stats.index.rows)} | _searching(stats) | numbers | names
    return "\n".join(f"{name:14}{value}" for name, value in lines.items())


def _searching(stats: IndexStats) -> dict[str, str]:
    return {
        "version": str(stats.index.version),
        "embedder": f"{stats.index.embedder_id}, {stats.index.dim} numbers a tune",
        "size": f"{stats.bytes / 1e6:.1f} MB with every version",
        "search": stats.search,
        "recall": f"{stats.recall:.3f} at {stats.k}, over {stats.sample} of its tunes",
        "latency": f"{stats.query_ms:.1f} ms a search, {stats.exact_ms:.1f} ms exact",
        "duplicates": f"{stats.same_music} with the music of another, {stats.same_caption} with the caption of another",
    }
