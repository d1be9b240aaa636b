"""The commands `abc`, `check`, `listen` and `midi`: notation files in, notation files or findings out, no Beam.

Also which files a command takes, how ABC is decoded, and output names that never collide.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from image2music.abc.diagnostics import Diagnostic, Severity
from image2music.errors import AbcError, ConfigError, Image2MusicError, MidiError, OutputError, PlanError
from image2music.failures import counted
from image2music.music.theory import TICKS_PER_QUARTER
from image2music.storage.files import atomic_write
from pipelines.runtime.options import SOUNDFONT_HELP

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from image2music.abc.ast import Tune
    from image2music.music.listen.sheet import Sheet
    from image2music.music.score import Score
MAX_ABC_BYTES = 4_000_000


@dataclass(frozen=True)
class FileKind:
    """Which files of a folder a command takes: those with an ending of the kind, or that begin as the kind does."""

    name: str
    endings: tuple[str, ...]
    is_beginning: Callable[[bytes], bool]

    def takes(self, path: str) -> bool:
        """Say whether a regular file is of this kind; hidden files (`._tune.abc`) and unreadable ones are not."""
        name = os.path.basename(path)
        if name.startswith("."):
            return False
        if name.lower().endswith(self.endings):
            return True
        try:
            with open(path, "rb") as file:
                return self.is_beginning(file.read(_BEGINNING_BYTES))
        except OSError:
            return False


_BEGINNING_BYTES = 4096
_REFERENCE = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|[\r\n])X:[ \t]*[0-9]")


def _begins_as_abc(data: bytes) -> bool:
    return b"\0" not in data and _REFERENCE.search(data) is not None


def _begins_as_midi(data: bytes) -> bool:
    return data[:4] == b"MThd" or (data[:4] == b"RIFF" and data[8:12] == b"RMID")


ABC_FILES = FileKind("ABC", (".abc",), _begins_as_abc)
MIDI_FILES = FileKind("MIDI", (".mid", ".midi", ".kar", ".rmi"), _begins_as_midi)
TUNE_FILES = FileKind(
    "ABC or MIDI",
    (*ABC_FILES.endings, *MIDI_FILES.endings),
    lambda data: _begins_as_abc(data) or _begins_as_midi(data),
)


def list_files(paths: Sequence[str], kind: FileKind) -> list[str]:
    """Return the files that `paths` name: files as given, and the files of a kind in folders, at any depth, sorted.

    Links are followed; a folder that is reached twice is taken once. A path that does not exist stays in the list,
    so that it fails where it is opened like any other bad file. Other files of folders are counted on stderr.

    Raises:
        ConfigError: `no_files` when folders hold no file of the kind.
    """
    files: list[str] = []
    skipped = 0
    for path in paths:
        found = list(_walk(path)) if os.path.isdir(path) else None
        taken = [path] if found is None else [file for file in found if kind.takes(file)]
        files += taken
        skipped += len(found) - len(taken) if found is not None else 0
    if not files:
        message = f"no {kind.name} files in {', '.join(paths)}: name files, or folders that hold some"
        raise ConfigError(message, reason="no_files")
    if skipped:
        print(f"{counted(skipped, 'other file')} left out: no {kind.name}", file=sys.stderr)
    return list(dict.fromkeys(files))


def _walk(folder: str) -> Iterator[str]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            if os.path.isfile(path):
                yield path


def read_abc(path: str) -> str:
    """Return the text of an ABC file: UTF-8 (a BOM is dropped), UTF-16 with its BOM, else Latin-1.

    Raises:
        AbcError: `file_too_large` above 4 MB, `not_abc` for a MIDI file.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_ABC_BYTES + 1)
    if len(data) > MAX_ABC_BYTES:
        raise AbcError("larger than 4 MB: split it into several files", reason="file_too_large")
    if data.startswith((b"MThd", b"RIFF")):
        raise AbcError("this is a MIDI file: turn it into ABC with `image2music abc`", reason="not_abc")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


class OutputFolder:
    """Write files of one ending into one folder. The first of a name keeps it, later ones get `_2`, `_3`, ...

    Names that an earlier run left are written over.
    """

    def __init__(self, folder: str, ending: str) -> None:
        self.folder = Path(folder)
        self.ending = ending
        self.taken: set[str] = set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make the folder {folder}: {error.strerror}", reason="output_folder") from error

    def write(self, source: str, data: bytes) -> Path:
        """Write `data` under the stem of `source` and return the path."""
        place = self.folder / f"{self._free_stem(Path(source).stem)}{self.ending}"
        atomic_write(place, data)
        return place

    def _free_stem(self, stem: str) -> str:
        # File systems that ignore case must not lose a file either.
        name, number = stem, 1
        while name.lower() in self.taken:
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name.lower())
        return name


def add_parsers(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands `abc`, `check`, `listen` and `midi`; each sets `run`: parsed arguments to an exit code."""
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

    listen = commands.add_parser("listen", help="say what is heard in ABC or MIDI files: weak places, worst first")
    listen.add_argument("paths", nargs="+", metavar="PATH", help="an ABC or MIDI file, or a folder of them")
    listen.add_argument("--against", metavar="PLAN.json", help="the plan that the tunes were to follow")
    listen.add_argument("--json", action="store_true", help="print one JSON object a file instead of lines")
    listen.set_defaults(run=run_listen)

    midi = commands.add_parser("midi", help="ABC files to MIDI, exactly or as they are performed, or to sound")
    midi.add_argument("paths", nargs="+", metavar="PATH", help="an ABC file, or a folder of them")
    midi.add_argument(
        "-o", "--output", metavar="DIR", required=True, help="write STEM.mid here, STEM_2.mid for a second tune"
    )
    midi.add_argument("--expressive", action="store_true", help="performed, as `compose` does it, not exactly")
    midi.add_argument("--sound", choices=("wav", "mp3", "opus"), help="write the performed tune's sound instead")
    midi.add_argument("--kbps", type=int, metavar="N", help="of MP3 (128) and Opus (96) files, about")
    midi.add_argument("--soundfont", type=Path, metavar="FILE.sf2", help=SOUNDFONT_HELP)
    midi.set_defaults(run=run_midi)


def run_abc(args: argparse.Namespace) -> int:
    """Run `image2music abc`: MIDI to ABC."""
    from image2music.abc.writer.excerpt import excerpt_abc
    from image2music.abc.writer.text import midi_to_abc

    convert = excerpt_abc if args.excerpt else partial(midi_to_abc, named=True)
    paths = list_files(args.paths, MIDI_FILES)
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
    """Run `image2music midi`: ABC to MIDI or sound, one file a tune.

    What is wrong in a text is counted on stderr, and the text is played as it stands.
    """
    from image2music.abc.checker import check_parsed
    from image2music.abc.parser import parse

    make = _tune_maker(args)
    folder = OutputFolder(args.output, f".{args.sound or 'mid'}")

    def convert_one(path: str) -> None:
        parsed = parse(read_abc(path))
        tunes = [tune for tune in parsed.tunes if tune.has_music]
        if not tunes:
            raise AbcError("no tune with notes was found: write one from X: to its last bar line", reason="no_music")
        unplayed = []
        for tune in tunes:
            try:
                folder.write(path, make(tune))
            except AbcError as error:
                unplayed.append(f"tune X:{tune.reference}: {error}" if len(tunes) > 1 else str(error))
        if unplayed:
            raise AbcError("; ".join(unplayed), reason="unplayed_tunes")
        errors = sum(finding.severity is Severity.ERROR for finding in check_parsed(parsed))
        if errors:
            told = f"{counted(errors, 'error')}, played as it stands"
            print(f"{path}: {told}; image2music check names them, --fix mends what it can", file=sys.stderr)

    return _each(list_files(args.paths, ABC_FILES), convert_one)


def _tune_maker(args: argparse.Namespace) -> Callable[[Tune], bytes]:
    """Return what `midi` makes of a tune.

    Raises:
        ConfigError: the sound font cannot be used.
    """
    from image2music.abc.expression import performed_midi
    from image2music.abc.playback import tune_to_score
    from image2music.music.midi import write_midi
    from image2music.music.render import encode, load_renderer

    if args.sound is not None:
        renderer = load_renderer(args.soundfont)
        if renderer.remark:
            print(f"image2music: {renderer.remark}", file=sys.stderr)
        return lambda tune: encode(renderer.render(performed_midi(tune)), args.sound, args.kbps)
    return performed_midi if args.expressive else lambda tune: write_midi(tune_to_score(tune))


def run_check(args: argparse.Namespace) -> int:
    """Run `image2music check`: print findings; with `--fix` also write corrected files."""
    from image2music.abc.autofix.rules import autofix_file
    from image2music.abc.checker import check, check_parsed

    folder = OutputFolder(args.fix, ".abc") if args.fix is not None else None
    told: list[tuple[str, Diagnostic]] = []

    def check_one(path: str) -> None:
        text = read_abc(path)
        findings: Sequence[Diagnostic]
        if folder is None:
            findings = check(text)
        else:
            mended = autofix_file(text)
            folder.write(path, mended.abc.encode("utf-8"))
            findings = [*mended.diagnostics, *check_parsed(mended.parsed)]
        told.extend((path, finding) for finding in findings)
        if not args.json:
            sys.stdout.writelines(f"{path}:{finding}\n" for finding in findings)

    code = _each(list_files(args.paths, ABC_FILES), check_one)
    if args.json:
        print(json.dumps([{"file": path, **asdict(finding)} for path, finding in told], ensure_ascii=False, indent=1))
    return 1 if any(finding.severity is Severity.ERROR for _, finding in told) else code


def run_listen(args: argparse.Namespace) -> int:
    """Run `image2music listen`: print the sheet of each file, with the critic's score; exit 1 if one cannot be read."""
    from image2music.music.listen.listener import fault_line, listen
    from image2music.music.planning.plan import plan_of_json

    plan = None
    if args.against is not None:
        try:
            plan = plan_of_json(json.loads(Path(args.against).read_text("utf-8-sig")))
        except (OSError, ValueError, PlanError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise ConfigError(f"cannot read the plan {args.against}: {reason}", reason="bad_plan_file") from error

    def listen_to(path: str) -> None:
        score = _read_score(path)
        sheet = listen(score, plan)
        critic = _critic_of(score)
        if args.json:
            print(json.dumps(_heard_as_json(path, critic, sheet), ensure_ascii=False))
            return
        told = [f"critic {critic:.3f}"] if critic is not None else [] if score.n_notes else ["nothing sounds"]
        told += [f"plan kept {sheet.adherence:.2f}"] if sheet.adherence is not None else []
        lines = [*told, *map(fault_line, sheet.shown), *(f"not as planned: {one}" for one in sheet.missed)]
        sys.stdout.writelines(f"{path}: {line}\n" for line in (*lines, *sheet.remarks))

    return _each(list_files(args.paths, TUNE_FILES), listen_to)


def _read_score(path: str) -> Score:
    """Return what a file plays; a score without notes where it holds rests only."""
    from image2music.abc.parser import parse
    from image2music.abc.playback import first_tune, tune_to_score
    from image2music.music.midi import read_midi
    from image2music.music.score import Score

    with open(path, "rb") as file:
        is_midi = _begins_as_midi(file.read(16))
    if not is_midi and not path.lower().endswith(MIDI_FILES.endings):
        return tune_to_score(first_tune(parse(read_abc(path))), may_be_silent=True)
    try:
        return read_midi(Path(path).read_bytes())
    except MidiError as error:
        if error.reason != "no_notes":
            raise
        return Score(TICKS_PER_QUARTER, ())


def _critic_of(score: Score) -> float | None:
    """Return the critic's score of a tune, higher is more musical; None where nothing sounds."""
    from image2music.music.critic.model import criticise

    judgement = criticise(score)
    return None if judgement is None else round(judgement.score, 4)


def _heard_as_json(path: str, critic: float | None, sheet: Sheet) -> dict[str, object]:
    features: dict[str, float | None] = {**sheet.features, **sheet.metrics.as_dict()}
    if sheet.adherence is not None:
        features["adherence"] = sheet.adherence
    faults = [fault.as_json() for fault in sheet.shown]
    return {"path": path, "critic": critic, "faults": faults, "features": features}


def _each(paths: Sequence[str], work: Callable[[str], None]) -> int:
    """Do every file; a bad one is one line on stderr and makes the exit code 1."""
    code = 0
    for path in paths:
        try:
            work(path)
        except BrokenPipeError:  # nobody reads any more: no file is to blame
            raise
        except (Image2MusicError, OSError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            print(f"{path}: {' '.join(reason.split())}", file=sys.stderr)
            code = 1
    return code
