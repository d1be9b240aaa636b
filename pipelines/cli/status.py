"""The command `status`: what a run did, or has done so far."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Mapping, Sequence
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
    """Return state, counts and seconds of the last run, and the rows that lie there now. Each shard is read once.

    Of an array job whose parts are not joined yet it says which are done, at work or missing.

    Raises:
        ConfigError: nothing has run there (`no_run`), or what it says of itself cannot be read (`bad_run_json`).
    """
    from image2music.composers.chat.ledger import Totals, read_spending, spending_line
    from image2music.storage.output import open_output
    from image2music.storage.pruned import pruned_rows

    reachable("the output", output)
    store = open_output(output)
    parts = store.part_records()
    if not (parts or store.run.exists()):
        raise ConfigError(f"{output} holds no run.json: nothing has run there yet", reason="no_run")
    lines = _last_run(store.run.read()) if store.run.exists() else {}
    rows = store.rows_by_seed()
    lines |= _array_job(store.uri, parts) if parts else {}
    lines |= {
        "rows now": str(rows.total()),
        "by settings": _text({made_by[:12]: number for made_by, number in store.rows_by_settings(rows).items()}),
        "further takes": str(store.further_takes(rows)),
        "pruned": str(pruned_rows(store)),
        "failures now": str(store.failures.count()),
    }
    spent = read_spending(store.ledger).all
    if spent != Totals():
        lines["requests"] = spending_line(spent)
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name:{width}}{value}" for name, value in lines.items())


def _last_run(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        "state": _state(record),
        "command": record["command"],
        "started": record["started_at"],
        "finished": record["finished_at"] or "not yet",
        **{name: _text(value) for name, value in record["counts"].items()},
        "seconds": _text(record["seconds"]),
    }


_PART_STATES = {
    "done": "parts done",
    "running": "parts at work",
    "killed": "parts killed",
    "stopped": "parts stopped",
    "failed": "parts that failed",
    "put_off": "parts that wait",
}


def _array_job(uri: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Say which parts are done, at work (of another machine nobody can tell whether they were killed) or missing."""
    of = parts[0]["of"]
    numbers: dict[str, list[int]] = {}
    for part in parts:
        state = "killed" if _was_killed(part) else part["state"]
        numbers.setdefault(state, []).append(part["number"])
    done = len(numbers.get("done", ()))
    missing = sorted({*range(1, of + 1)}.difference(*numbers.values()))
    lines = {"array job": f"{done} of {of} parts are done; when all are: image2music finish {shlex.quote(uri)}"}
    lines |= {name: _ranges(numbers[state]) for state, name in _PART_STATES.items() if state in numbers}
    lines |= {"parts not begun": _ranges(missing)} if missing else {}
    for name in ("composed", "failed"):
        lines[f"{name} by parts"] = str(sum(part["counts"].get(name, 0) for part in parts))
    return lines


def _ranges(numbers: Iterable[int]) -> str:
    """Return numbers in order, neighbours as ranges: `1-3, 7`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _was_killed(record: Mapping[str, Any]) -> bool:
    from image2music.storage.datasets import is_gone

    return record["state"] == "running" and is_gone(record.get("process", {}))


def _state(record: Mapping[str, Any]) -> str:
    if _was_killed(record):
        return "killed — its process is gone; the same command goes on where it stopped"
    return f"{record['state']}{' — ' + record['message'] if record['message'] else ''}"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {number}" for key, number in value.items()) or "none"
    return str(value)
