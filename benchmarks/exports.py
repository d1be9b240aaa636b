"""Every export of every row of an output, opened by another program: `python -m benchmarks.exports --input OUT`.

mido reads the MIDI files, music21 the MusicXML, PyAV and soundfile the sounds, Pillow the pictures, pandas the table; a
PDF's pages and words are read by a few lines here. Prints a Markdown table: files that were right, milliseconds of
one core a tune and bytes a file by format, and what was wrong, a line each.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mido
import music21
import numpy as np
import pandas
from PIL import Image

from image2music.abc.playback import abc_to_score
from image2music.music.render import decode, load_renderer
from image2music.storage.files import FILES_TABLE
from image2music.storage.output import LOCK, open_output
from pipelines.cli.main import main as command
from pipelines.jobs.export import ExportedFile, ExportedTune, exported_rows
from pipelines.options.outputs import EXPORT_FORMATS

Row = dict[str, Any]


def sounding(row: Row) -> int:
    """Notes that the row's tune plays, drums left out."""
    return sum(len(track) for track in abc_to_score(row["abc"]).tracks if not track.is_drum)


def check_abc(row: Row, files: list[ExportedFile]) -> str:
    text = files[0].data.decode()
    return (
        "" if abc_to_score(text).n_notes == abc_to_score(row["abc"]).n_notes and row["title"] in text else "other notes"
    )


def check_midi(row: Row, files: list[ExportedFile]) -> str:
    file = mido.MidiFile(file=BytesIO(files[0].data), charset="utf-8")
    names = [event.name for track in file.tracks for event in track if event.type == "track_name"]
    ons = sum(event.type == "note_on" and event.velocity > 0 for track in file.tracks for event in track)
    voices = re.findall(r'^V:\d+.* name="([^"]*)"', row["abc"], re.MULTILINE)
    if names[:1] != [row["title"]] or set(names[1:]) - set(voices):
        return f"names {names}"
    return "" if ons == abc_to_score(row["abc"]).n_notes else f"{ons} notes"


def check_musicxml(row: Row, files: list[ExportedFile]) -> str:
    score = music21.converter.parseData(files[0].data, format="musicxml")
    parts = [part.expandRepeats().stripTies().flatten() for part in score.parts]
    notes = sum(len(note.pitches) for part in parts for note in part.notes if hasattr(note, "pitches"))
    short = [note for note in score.recurse().notes if note.duration.type in ("eighth", "16th", "32nd")]
    beamed = sum(bool(note.beams.beamsList) for note in short)
    if notes != sounding(row):
        return f"{notes} notes of {sounding(row)}"
    if short and beamed < len(short) / 4:
        return f"{beamed} of {len(short)} short notes under beams"
    return "" if score.metadata.title == row["title"] and "AI" in score.metadata.composer else "no title or composer"


def check_svg(row: Row, files: list[ExportedFile]) -> str:
    roots = [ElementTree.fromstring(file.data) for file in files]
    drawn = sum(element.get("class") == "note" for root in roots for element in root.iter())
    private = re.search("[\ue000-\uf8ff]", "".join(file.data.decode() for file in files))
    return "" if drawn >= sounding(row) / 4 and private is None else f"{drawn} notes drawn"


def check_pdf(row: Row, files: list[ExportedFile]) -> str:
    pages, words = read_pdf(files[0].data)
    return "" if pages and squeezed(row["title"]) in words else f"{pages} pages without the title"


def squeezed(text: str) -> str:
    return "".join(text.split())


def read_pdf(data: bytes) -> tuple[int, str]:
    """Return the pages of a PDF as Typst writes it, and its letters without blanks as each of its fonts reads them."""
    streams = []
    for found in re.finditer(rb"\d+ 0 obj\s*<<((?:(?!endobj).)*?)>>\s*stream\r?\n", data, re.DOTALL):
        length = re.search(rb"/Length (\d+)", found[1])
        assert length is not None
        content = data[found.end() : found.end() + int(length[1])]
        streams.append(zlib.decompress(content) if b"FlateDecode" in found[1] else content)
    fonts = [dict(re.findall(rb"<([0-9A-F]{4})> <([0-9A-F]{4,})>", text)) for text in streams if b"beginbfchar" in text]
    shown = [
        re.sub(rb"\\([0-7]{3}|.)", _unescaped, string).hex().upper().encode()
        for text in streams
        if b"BT " in text
        for string in re.findall(rb"\(((?:[^()\\]|\\.)*)\)\s*Tj", text, re.DOTALL)
    ]
    codes = [string[at : at + 4] for string in shown for at in range(0, len(string), 4)]
    readings = (b"".join(font.get(code, b"") for code in codes).decode() for font in fonts)
    words = "\n".join(bytes.fromhex(reading).decode("utf-16-be") for reading in readings)
    return len(re.findall(rb"/Type\s*/Page\b", data)), squeezed(words)


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if len(code) == 3:
        return bytes((int(code, 8),))
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}.get(code, code)


def check_sound(row: Row, files: list[ExportedFile]) -> str:
    import av

    with av.open(BytesIO(files[0].data)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        said = {name.lower(): value for name, value in {**container.metadata, **stream.metadata}.items()}
    seconds = samples / stream.rate
    if abs(seconds - files[0].seconds) > 0.06:
        return f"{seconds} s, not {files[0].seconds}"
    return (
        "" if said.get("title") == row["title"] and "trainedAlgorithmicMedia" in said.get("comment", "") else "no tags"
    )


def check_stems(row: Row, files: list[ExportedFile]) -> str:
    *parts, mix = [decode(file.data)[0] for file in files]
    worst = float(np.abs(np.sum(parts, axis=0) - mix).max())
    return "" if worst < 1e-6 else f"stems differ from the mix by {worst}"


def check_heatmap(row: Row, files: list[ExportedFile]) -> str:
    with Image.open(BytesIO(files[0].data)) as picture:
        picture.load()
        return "" if picture.info["Title"] == row["title"] else "no title"


CHECKS: dict[str, Callable[[Row, list[ExportedFile]], str]] = {
    "abc": check_abc, "midi": check_midi, "musicxml": check_musicxml, "pdf": check_pdf, "svg": check_svg,
    "wav": check_sound, "mp3": check_sound, "opus": check_sound, "stems": check_stems, "heatmap": check_heatmap,
}  # fmt: skip


def check_table(source: str) -> str:
    """Export the notation of all rows by the command, and read its table with pandas."""
    with tempfile.TemporaryDirectory() as folder:
        if command(["export", "--input", source, "--output", folder, "--name", "{album}/{title}"]):
            return "the command failed"
        table = pandas.read_csv(Path(folder, FILES_TABLE))
        there = {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()} - {
            FILES_TABLE,
            LOCK,
        }
        sizes = [Path(folder, name).stat().st_size for name in table.file]
    return "" if {*table.file} == there and sizes == table.bytes.tolist() else "the table names other files"


def main() -> int:
    """Print the table; return 1 where a file was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", default="build/demo/out", help="an --output of compose; that of the demo by default")
    parser.add_argument("--formats", default=",".join(EXPORT_FORMATS))
    parser.add_argument("--rows", type=int, default=1_000_000, help="at most so many")
    args = parser.parse_args()
    renderer = load_renderer()
    spent: dict[str, list[float]] = defaultdict(list)
    sizes: dict[str, list[int]] = defaultdict(list)
    right: dict[str, int] = defaultdict(int)
    wrong = []
    for row, _ in zip(exported_rows(open_output(args.input).compositions.shards()), range(args.rows), strict=False):
        for format in args.formats.split(","):
            tune = ExportedTune(row, renderer, loop=False)
            begun = time.process_time()
            files = tune.files(format)
            spent[format].append(time.process_time() - begun)
            sizes[format] += [len(file.data) for file in files]
            complaint = CHECKS[format](row, files)
            right[format] += not complaint
            wrong += [f"{row['title']}: {format}: {complaint}"] if complaint else []
    print("| format | tunes right | CPU ms a tune | kB a file | files a tune |\n| --- | --- | --- | --- | --- |")
    for format, seconds in spent.items():
        milliseconds, size = 1000 * float(np.median(seconds)), float(np.median(sizes[format])) / 1000
        files_each = len(sizes[format]) / len(seconds)
        print(f"| {format} | {right[format]}/{len(seconds)} | {milliseconds:.0f} | {size:.1f} | {files_each:.1f} |")
    wrong += [f"{FILES_TABLE}: {complaint}"] if (complaint := check_table(args.input)) else []
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
