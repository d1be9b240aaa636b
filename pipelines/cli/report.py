"""The commands `write_report` and `export`: rows to pages, and to files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds both; each sets `run`, which takes the parsed arguments and returns an exit code."""
    report = commands.add_parser("report", help="a folder of pages to look at and listen to, in any browser")
    report.add_argument("--input", required=True, help="the --output of compose")
    report.add_argument("--output", help="folder to write; INPUT/report by default; an earlier report is replaced")
    report.add_argument(
        "--include_references", action="store_true", help="also show the references' scores: mind their rights"
    )
    report.add_argument(
        "--abcjs", metavar="FILE", help="abcjs-basic-min.js or abcjs-*.tgz, to draw staves; see `make report-assets`"
    )
    report.set_defaults(run=run_report)

    export = commands.add_parser("export", help="chosen rows as ABC, MIDI, MusicXML, WAV and heat map files")
    export.add_argument("--input", required=True, help="the --output of compose")
    export.add_argument("--output", required=True, metavar="DIR", help="folder for the files, named by image_id")
    export.add_argument("--ids", nargs="+", default=[], metavar="ID", help="image_ids or their beginnings; else all")
    export.add_argument("--formats", default="abc,midi", help="of abc,midi,musicxml,wav,heatmap; abc,midi by default")
    export.set_defaults(run=run_export)


def run_report(args: argparse.Namespace) -> int:
    """Writes the pages and says where they are."""
    from pipelines.jobs.report import ReportOptions, write_report

    source = Path(args.input)
    output = Path(args.output) if args.output else source / "report"
    done = write_report(
        ReportOptions(source, output, args.include_references, Path(args.abcjs) if args.abcjs else None)
    )
    lost = "of them without their picture (relative places are looked for from the folder where compose ran)"
    unseen = f", {done.unseen} {lost}" if done.unseen else ""
    print(f"{done.pictures} pictures{unseen}, {done.failures} failures: open {output / 'index.html'}")
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Writes the files; exit code 1 if any could not be made."""
    from pipelines.jobs.export import ExportOptions, export

    formats = tuple(name for name in args.formats.split(",") if name)
    written, failed = export(ExportOptions(Path(args.input), Path(args.output), formats, tuple(args.ids)))
    print(f"{written} files in {args.output}")
    return 1 if failed else 0
