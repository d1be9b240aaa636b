"""The command `report`: rows to pages."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from image2music.failures import counted
from pipelines.options.outputs import ReportOptions
from pipelines.runtime.options import add_arguments, from_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("report", help="a folder of pages to look at and listen to, in any browser")
    add_arguments(parser, ReportOptions)
    parser.set_defaults(run=run_report)


def run_report(args: argparse.Namespace) -> int:
    """Write the pages and say where they are."""
    from pipelines.jobs.report import write_report

    options = from_arguments(ReportOptions, args)
    if options.abcjs is not None:
        print("image2music: --abcjs is not needed any more: the scores are drawn here", file=sys.stderr)
    done = write_report(options)
    pages = f"{done.written:,} written, {done.unchanged:,} unchanged"
    lost = "of them without their picture (relative places are looked for from the folder where compose ran)"
    unseen = f", {done.unseen} {lost}" if done.unseen else ""
    shown, failures = counted(done.pictures, "picture"), counted(done.failures, "failure")
    print(f"{shown}{unseen}, {failures}; {pages}: open {options.folder / 'index.html'}")
    return 0
