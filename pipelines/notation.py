"""The commands `abc`, `check` and `midi`: notation files in, notation files out, no Beam."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from image2music.errors import AbcError, ConfigError, Image2MusicError
from image2music.notation.diagnostic import Diagnostic, Severity
from pipelines.notation_files import OutputFolder, list_files, read_abc

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `abc`, `check` and `midi`; each sets `run`, which takes the parsed arguments and returns an exit code."""
    abc = commands.add_parser("abc", help="MIDI files or folders to ABC")
    abc.add_argument("paths", nargs="+", metavar="PATH", help="a MIDI file, or a folder of them")
    abc.add_argument("-o", "--output", metavar="DIR", help="write STEM.abc here; one file without it goes to stdout")
    abc.add_argument("--excerpt", action="store_true", help="only the most telling bars, short enough for a prompt")
    abc.set_defaults(run=run_abc)

    check = commands.add_parser("check", help="say what is wrong in ABC files; exit 1 if any error")
    check.add_argument("paths", nargs="+", metavar="PATH", help="an ABC file, or a folder of them")
    check.add_argument("--json", action="store_true", help="print one JSON list instead of lines")
    check.add_argument(
        "--fix", metavar="DIR", help="write mended files here; prints what was mended and what is still wrong"
    )
    check.set_defaults(run=run_check)

    midi = commands.add_parser("midi", help="ABC files to MIDI")
    midi.add_argument("paths", nargs="+", metavar="PATH", help="an ABC file, or a folder of them")
    midi.add_argument(
        "-o", "--output", metavar="DIR", required=True, help="write STEM.mid here, STEM_2.mid for a second tune"
    )
    midi.set_defaults(run=run_midi)


def run_abc(args: argparse.Namespace) -> int:
    """MIDI to ABC."""
    from image2music.notation.excerpt import excerpt_abc
    from image2music.notation.midi_to_abc import midi_to_abc

    convert = excerpt_abc if args.excerpt else midi_to_abc
    paths = list_files(args.paths)
    if args.output is None and len(paths) > 1:
        raise ConfigError(f"{len(paths)} files need a folder to go to: add -o DIR", reason="no_output")
    folder = OutputFolder(args.output, ".abc") if args.output is not None else None

    def convert_one(path: str) -> None:
        abc = convert(Path(path).read_bytes(), title=Path(path).stem).abc
        if folder is None:
            sys.stdout.write(abc)
        else:
            folder.write(path, abc.encode("utf-8"))

    return _each(paths, convert_one)


def run_midi(args: argparse.Namespace) -> int:
    """ABC to MIDI, one file a tune. What is wrong in a text is counted on stderr, and the text played as it stands."""
    from image2music.notation.abc_checker import check
    from image2music.notation.abc_parser import parse
    from image2music.notation.abc_to_midi import tune_to_score
    from image2music.notation.midi_writer import write_midi

    folder = OutputFolder(args.output, ".mid")

    def convert_one(path: str) -> None:
        text = read_abc(path)
        tunes = [tune for tune in parse(text).tunes if tune.has_music]
        if not tunes:
            raise AbcError("no tune with notes was found: write one from X: to its last bar line", reason="no_music")
        unplayed = []
        for tune in tunes:
            try:
                folder.write(path, write_midi(tune_to_score(tune)))
            except AbcError as error:
                unplayed.append(f"tune X:{tune.reference}: {error}" if len(tunes) > 1 else str(error))
        if unplayed:
            raise AbcError("; ".join(unplayed), reason="unplayed_tunes")
        errors = sum(finding.severity is Severity.ERROR for finding in check(text))
        if errors:
            told = f"{errors} error{'s' if errors > 1 else ''}, played as it stands"
            print(f"{path}: {told}; image2music check names them, --fix mends what it can", file=sys.stderr)

    return _each(list_files(args.paths), convert_one)


def run_check(args: argparse.Namespace) -> int:
    """Prints findings; with `--fix` also writes mended files."""
    from image2music.notation.abc_checker import check
    from image2music.notation.mend import mend_file

    folder = OutputFolder(args.fix, ".abc") if args.fix is not None else None
    told: list[tuple[str, Diagnostic]] = []

    def check_one(path: str) -> None:
        text = read_abc(path)
        findings: Sequence[Diagnostic]
        if folder is None:
            findings = check(text)
        else:
            mended = mend_file(text)
            folder.write(path, mended.abc.encode("utf-8"))
            findings = [*mended.diagnostics, *check(mended.abc)]
        told.extend((path, finding) for finding in findings)
        if not args.json:
            sys.stdout.writelines(f"{path}:{finding}\n" for finding in findings)

    code = _each(list_files(args.paths), check_one)
    if args.json:
        print(json.dumps([{"file": path, **asdict(finding)} for path, finding in told], ensure_ascii=False, indent=1))
    return 1 if any(finding.severity is Severity.ERROR for _, finding in told) else code


def _each(paths: Sequence[str], work: Callable[[str], None]) -> int:
    """Does every file; a bad one is one line on stderr and makes the exit code 1."""
    code = 0
    for path in paths:
        try:
            work(path)
        except (Image2MusicError, OSError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            print(f"{path}: {' '.join(reason.split())}", file=sys.stderr)
            code = 1
    return code
