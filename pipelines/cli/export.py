"""The commands `export`, rows to files, and `rights`, who made a tune, of what and under which licences."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipelines.jobs.options import ExportOptions, RightsOptions
from pipelines.runtime.options import add_arguments, from_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    parser = commands.add_parser(
        "export", help="chosen rows as ABC, MIDI, MusicXML, scores to print, sound, stems and heat maps"
    )
    add_arguments(parser, ExportOptions)
    parser.set_defaults(run=run_export)
    passports = commands.add_parser(
        "rights", help="who made a tune, of what, under which licences, and how to make it again"
    )
    add_arguments(passports, RightsOptions)
    passports.set_defaults(run=run_rights)


def run_export(args: argparse.Namespace) -> int:
    """Write the files; the exit code is 1 if any could not be made."""
    from pipelines.jobs.export import export

    options = from_arguments(ExportOptions, args)
    written, failed = export(options)
    print(f"{written} files in {options.output}, listed in files.csv")
    return 1 if failed else 0


def run_rights(args: argparse.Namespace) -> int:
    """Print a passport a tune."""
    from pipelines.jobs.rights import print_rights

    print_rights(from_arguments(RightsOptions, args))
    return 0
