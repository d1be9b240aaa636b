"""The command `score`: tunes measured, judged and compared."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipelines.options.outputs import ScoreOptions
from pipelines.runtime.options import add_arguments, from_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("score", help="measure tunes, judge them, hold one output against another")
    add_arguments(parser, ScoreOptions)
    parser.set_defaults(run=run_score)


def run_score(args: argparse.Namespace) -> int:
    """Print the tables; the exit code is 1 on a regression."""
    from pipelines.jobs.score import score

    return score(from_arguments(ScoreOptions, args))
