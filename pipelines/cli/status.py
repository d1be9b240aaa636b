"""The command `status`: what a run did, or has done so far."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from image2music.errors import ConfigError
from pipelines.runtime.options import reachable

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("status", help="what a run did, or has done so far")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("output", nargs="?", help="the --output of compose")
    where.add_argument("--input", metavar="OUTPUT", help="the same, as the other commands that read rows have it")
    parser.set_defaults(run=run_status)


def run_status(args: argparse.Namespace) -> int:
    """Print state, counts and seconds."""
    print(status(args.output or args.input))
    return 0


def status(output: str) -> str:
    """Return state, counts and seconds of the last run, and the rows that lie there now.

    Raises:
        ConfigError: there is no run.json (`no_run`), or it cannot be read (`bad_run_json`).
    """
    from image2music.composers.chat.ledger import Totals, read_spending, spending_line
    from image2music.storage.output import open_output
    from image2music.storage.pruned import pruned_rows

    reachable("the output", output)
    store = open_output(output)
    if not store.run.exists():
        raise ConfigError(f"{output} holds no run.json: nothing has run there yet", reason="no_run")
    record = store.run.read()
    lines = {
        "state": _state(record),
        "command": record["command"],
        "started": record["started_at"],
        "finished": record["finished_at"] or "not yet",
        **{name: _text(value) for name, value in record["counts"].items()},
        "seconds": _text(record["seconds"]),
        "rows now": str(store.compositions.count()),
        "by settings": _text({made_by[:12]: rows for made_by, rows in store.rows_by_settings().items()}),
        "further takes": str(store.further_takes()),
        "pruned": str(pruned_rows(store)),
        "failures now": str(store.failures.count()),
    }
    spent = read_spending(store.ledger).all
    if spent != Totals():
        lines["requests"] = spending_line(spent)
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in lines.items())


def _state(record: dict[str, Any]) -> str:
    from image2music.storage.datasets import is_gone

    if record["state"] == "running" and is_gone(record.get("process", {})):
        return "killed — its process is gone; the same command goes on where it stopped"
    return f"{record['state']}{' — ' + record['message'] if record['message'] else ''}"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {number}" for key, number in value.items()) or "none"
    return str(value)
