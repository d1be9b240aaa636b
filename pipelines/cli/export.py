"""The command `export`: rows to files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from image2music.failures import counted
from pipelines.options.outputs import ExportOptions
from pipelines.runtime.options import add_arguments, from_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export", help="chosen rows as ABC, MIDI, MusicXML, scores to print, sound, stems and heat maps"
    )
    add_arguments(parser, ExportOptions)
    parser.set_defaults(run=run_export)


def run_export(args: argparse.Namespace) -> int:
    """Write the files; the exit code is 1 if any could not be made."""
    from pipelines.jobs.export import export

    options = from_arguments(ExportOptions, args)
    done = export(options)
    said = f"{done.written:,} written, {done.unchanged:,} unchanged"
    files = counted(done.written + done.unchanged, "file")
    print(f"{files} in {options.output}, listed in files.csv: {said}")
    return 1 if done.failed else 0
