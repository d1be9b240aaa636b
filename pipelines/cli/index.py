"""The command `index`: captioned MIDI files to a table of tunes, and what the versions of a table are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from image2music.failures import counted
from pipelines.options.index import IndexOptions
from pipelines.runtime.options import add_arguments, check_beam_flags, from_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from image2music.index.maintenance import IndexStats
    from image2music.index.table import TuneIndex

_MOST_NAMES = 12


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("index", help="captioned MIDI files to a searchable table of tunes")
    add_arguments(parser, IndexOptions)
    parser.set_defaults(run=run_index, takes_beam_options=True)


def run_index(args: argparse.Namespace) -> int:
    """Make or update a table, or say what its versions are."""
    options = from_arguments(IndexOptions, args, beam=args.beam)
    if options.makes_nothing:
        check_beam_flags(options.beam)
        print(_about_table(options))
        return 0
    check_beam_flags(options.beam)
    options.check_sources()
    if options.embeds_again:
        from pipelines.jobs.embed_again import embed_again

        code = embed_again(options)
        if not options.update:
            return code
    if options.update:
        from pipelines.jobs.index import update

        return update(options)
    from pipelines.jobs.index import index

    return index(options)


def _about_table(options: IndexOptions) -> str:
    if options.remove:
        return take_down(options.index, options.remove, purging=options.purge)
    if options.bring_back:
        return let_in_again(options.index, options.bring_back)
    if options.history:
        return history_table(options.index)
    return go_back(options.index, options.restore) if options.restore else stats_lines(options.index)


def history_table(uri: str) -> str:
    """Return a line for every version, the oldest first."""
    from image2music.index.maintenance import history
    from pipelines.runtime.job import table

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
    """Restore a version by tag or number; return what came of it."""
    from image2music.index.maintenance import history, restore
    from image2music.index.table import open_index
    from image2music.index.takedown import remove_again
    from image2music.storage.output import open_index_files

    uri = uri.rstrip("/")
    history(uri)  # says in one line that there is no table, before a lock is made beside it
    with open_index_files(uri).lock():
        version = restore(uri, name)
        out = remove_again(uri)
    made = open_index(uri)
    but = f", but for {counted(len(out), 'that was', 'that were')} removed since" if out else ""
    now = f"{counted(made.rows, 'tune')}, now version {made.version if out else version}"
    return f"{uri} is as it was at {name}{but}: {now}"


def take_down(uri: str, given: Sequence[str], *, purging: bool) -> str:
    """Remove tunes from an index; return what was removed, what stays, and what to do about outputs."""
    from image2music.index.table import open_table
    from image2music.index.takedown import named_tunes, purge, remove_tunes
    from image2music.storage.output import open_index_files

    uri, names = uri.rstrip("/"), named_tunes(given)
    open_table(uri)
    with open_index_files(uri).lock():
        done = remove_tunes(uri, names)
        version = purge(uri) if purging else done.version
    lines = [f"removed {one.tune_id}  {one.location}" for one in done.removed]
    lines += [f"was removed before, at {one.removed_at}: {one.tune_id}  {one.location}" for one in done.gone_before]
    lines += [f"stays, the same music: {tune_id}  {location}" for tune_id, location in done.copies]
    left = counted(done.rows, "tune is left", "tunes are left")
    lines.append(f"{left} in {uri}, version {version}; no update makes the others again")
    lines.append(
        "earlier versions are deleted, and nothing can be restored"
        if purging
        else "earlier versions still hold them: --purge, with the same command, deletes those for good"
    )
    lines.append("outputs that cite them are not known here: image2music compose --refresh composes their rows anew")
    return "\n".join(lines)


def let_in_again(uri: str, given: Sequence[str]) -> str:
    """Take tunes off the list of what was removed; return which."""
    from image2music.index.table import open_table
    from image2music.index.takedown import bring_back, named_tunes
    from image2music.storage.output import open_index_files

    uri, names = uri.rstrip("/"), named_tunes(given)
    open_table(uri)
    with open_index_files(uri).lock():
        back = bring_back(uri, names)
    lines = [f"may come back: {one.tune_id}  {one.location}" for one in back]
    return "\n".join([*lines, "the next index --update makes them again, where a line and a file name them"])


def stats_lines(uri: str) -> str:
    """Return what is in the newest version, one line for each fact."""
    from image2music.index.maintenance import index_stats
    from image2music.index.table import open_index

    stats = index_stats(open_index(uri.rstrip("/")))
    numbers = {
        name: f"{_short(s.least)} to {_short(s.most)}, middle {_short(s.middle)}, half of them {_short(s.lower)} to "
        f"{_short(s.upper)}"
        for name, s in stats.numbers.items()
    }
    names = {
        name: ", ".join(f"{value} {number}" for value, number in counted.most_common(_MOST_NAMES)) or "none"
        for name, counted in stats.names.items()
    }
    lines = {"tunes": str(stats.index.rows)} | _searching(stats) | numbers | names
    lines |= _recalling(stats.index)
    return "\n".join(f"{name:14}{value}" for name, value in lines.items())


def _short(number: float) -> str:
    return f"{number:,.1f}".removesuffix(".0")


def _recalling(index: TuneIndex) -> dict[str, str]:
    """Return how well tunes are recalled for made-up scenes, or why that cannot be measured here."""
    from image2music.embedders.base import load_embedder
    from image2music.errors import Image2MusicError
    from image2music.loop.recall import recall_stats
    from pipelines.jobs.index import check_embedder

    try:
        embedder = load_embedder(index.embedder_spec)
        check_embedder(index, index.embedder_spec, embedder.id)
    except Image2MusicError as error:
        return {"scenes": f"not tried: {error}"}
    stats = recall_stats(index, embedder.embed_texts)
    without = ", ".join(f"{feeling} {number}" for feeling, number in stats.without.most_common(_MOST_NAMES))
    lines = {
        "scenes": f"{stats.found} of {stats.scenes} made-up ones find a tune that suits, {stats.tunes} different tunes",
        "found_none": without or "none of them",
    }
    if stats.found:
        lines["found_tempo"] = f"{stats.tempo_off:.0%} off the tempo wanted, in the middle"
        lines["found_mode"] = f"{stats.in_mode:.0%} in the mode wanted, where one is"
    if stats.above is not None:
        lines["found_near"] = f"{stats.above:.1f} standard deviations nearer than the tunes of the index are on average"
    return lines


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
