"""Make the films of an output and check them by decoding: one line a check, exit code 1 if any fails.

    python -m benchmarks.film_check --input out --output build/film-check --titles

Checked are the frames (their number, and that pictures change in the frame of a bar line, found from the differences
between frames), the sound (as long as the picture, -16 LUFS), the chapters (titles of the album's row, or of its
pictures where it has one chapter, each in the frame of its bar line), and what it costs: seconds a second of film
and the peak of memory. A bar line is believed where a note of the MIDI file begins, by mido's clock. Ten frames of each
film are left as PNG for eyes. `--made` checks films that are there already.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import mido
import numpy as np
from PIL import Image

from image2music.film.encode import FPS
from image2music.film.reel import FILM_COLUMNS, Reel, album_reel, tune_reel
from image2music.music.loudness import TARGET_LUFS, loudness_of_pieces, true_peak_db
from image2music.music.render import RATE
from image2music.storage.output import open_output
from schemas.album import ALBUM_SCHEMA

MOST_FRAMES_OFF = 1
MOST_SECONDS_APART = 0.034
MOST_LU_OFF = 0.5
MOST_SECONDS_A_SECOND = 1.0
MOST_MEMORY_MB = 1000
NOTE_NEAR_S = 0.02
SHOTS = 10
_SMALL = (64, 36)


@dataclass(frozen=True)
class FilmFigures:
    """What decoding a film showed. `cuts` are frames off the bar line, one for each change of picture.

    `chapters` are (title, seconds).
    """

    name: str
    seconds: float
    frames: int
    frames_said: int
    sound_seconds: float
    picture_seconds: float
    cuts: list[int]
    lines_without_note: int
    lufs: float
    peak_db: float
    chapters: list[tuple[str, float]]
    megabytes: float


def main() -> int:
    """Make, check and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="the --output of compose")
    parser.add_argument("--output", type=Path, default=Path("build/film-check"))
    parser.add_argument("--made", action="store_true", help="only check the films in --output")
    args, more = parser.parse_known_args()
    cost = None if args.made else _make(args.input, args.output, more)
    failed = False
    figures = []
    for reel, row in _reels(args.input):
        path = args.output / f"{reel.name}.mp4"
        if not path.exists():
            continue
        found = _measured(path, reel)
        figures.append(asdict(found))
        _save_frames(path, args.output / "frames", found.frames)
        for holds, words in _checks(found, reel, row):
            failed |= not holds
            print(f"{'ok  ' if holds else 'FAIL'} {found.name}: {words}")
    if cost is not None and figures:
        seconds, cpu, megabytes = cost
        whole = sum(one["seconds"] for one in figures)
        for holds, words in (
            (seconds / whole <= MOST_SECONDS_A_SECOND, f"{seconds / whole:.2f} s a second of film"),
            (cpu / whole / 2 <= MOST_SECONDS_A_SECOND, f"{cpu / whole:.2f} processor seconds a second of film"),
            (megabytes <= MOST_MEMORY_MB, f"{megabytes:.0f} MB of memory at most"),
        ):
            failed |= not holds
            print(f"{'ok  ' if holds else 'FAIL'} {words}")
    (args.output / "film_check.json").write_text(json.dumps({"films": figures, "cost": cost}, indent=2))
    return 1 if failed or not figures else 0


def _make(source: str, output: Path, more: Sequence[str]) -> tuple[float, float, float]:
    """Run the command; return seconds, processor seconds and peak megabytes."""
    command = [sys.executable, "-m", "pipelines.cli.main", "film", "--input", source, "--output", str(output), *more]
    begin = time.monotonic()
    subprocess.run(command, check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _reels(source: str) -> Iterator[tuple[Reel, Mapping[str, Any]]]:
    store = open_output(source)
    rows = {row["image_id"]: row for row in store.compositions.read(list(FILM_COLUMNS))}
    yield from ((album_reel(album, rows), album) for album in store.albums.read(ALBUM_SCHEMA.names))
    yield from ((tune_reel(row), row) for row in rows.values())


def _measured(path: Path, reel: Reel) -> FilmFigures:
    import av

    with av.open(str(path)) as film:
        video, audio = film.streams.video[0], film.streams.audio[0]
        said = video.frames
        chapters = [(one["metadata"]["title"], float(one["start"] * one["time_base"])) for one in film.chapters()]
        picture, sound = (float(stream.duration * stream.time_base) for stream in (video, audio))
        small = np.stack(
            [frame.reformat(*_SMALL, format="gray").to_ndarray() for frame in film.decode(video=0)]
        ).astype(np.int16)
    with av.open(str(path)) as film:
        blocks = [frame.to_ndarray().T for frame in film.decode(audio=0)]
    heard = np.concatenate(blocks)
    lines = [part.start for part in reel.parts[1:]]
    onsets = _onsets(reel.midi)
    return FilmFigures(
        path.stem,
        len(small) / FPS,
        len(small),
        said,
        sound,
        picture,
        [_change_near(small, line, part.upbeat) for line, part in zip(lines, reel.parts[1:], strict=True)],
        sum(bool(np.abs(onsets - line).min() > NOTE_NEAR_S) for line in lines),
        loudness_of_pieces((heard[at : at + 20 * RATE] for at in range(0, len(heard), 20 * RATE)), RATE),
        max(true_peak_db(heard[at : at + 20 * RATE]) for at in range(0, len(heard), 20 * RATE)),
        chapters,
        path.stat().st_size / 1e6,
    )


def _onsets(midi: bytes) -> np.ndarray:
    now, found = 0.0, []
    for message in mido.MidiFile(file=BytesIO(midi)):
        now += message.time
        if message.type == "note_on" and message.velocity:
            found.append(now)
    return np.array(found)


def _change_near(small: np.ndarray, line: float, upbeat: float) -> int:
    """Return how many frames off its bar line a fade ends, by its last frame that differs much from its neighbour.

    Much is more than the view's own move makes, before the fade and behind it: in fine textures that is not little.
    """
    expected = round(line * FPS)
    before, behind = max(1, round((line - 2 * upbeat) * FPS)), min(len(small) - 1, round((line + upbeat) * FPS))
    steps = np.abs(np.diff(small[before - 1 : behind + 1], axis=0)).mean(axis=(1, 2))
    moving = np.percentile(np.concatenate([steps[: len(steps) // 4], steps[-len(steps) // 4 :]]), 95)
    loud = np.flatnonzero(steps > (moving + np.percentile(steps, 80)) / 2)
    return int(before + loud[-1]) - expected if len(loud) else 10**6


def _expected_chapters(reel: Reel, row: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return (title, seconds) as the row says them; titles that stand there twice may have a number in the film."""
    titles = row.get("titles") or [row["title"]]
    chapters = row.get("chapters") or []
    named = [(one["title"], one["first"]) for one in chapters] if len(chapters) > 1 else []
    named = named or [(title, at) for at, title in enumerate(titles)]
    return [(title, reel.parts[first].start) for title, first in named]


def _chapters_hold(found: FilmFigures, expected: Sequence[tuple[str, float]]) -> bool:
    said, starts = [title for title, _ in found.chapters], [seconds for _, seconds in found.chapters]
    return (
        len(said) == len(expected) == len(set(said))
        and starts[0] == 0
        and all(one < other for one, other in pairwise(starts))
        and all(
            re.fullmatch(re.escape(title) + r"( \(\d+\))?", seen) and abs(start - seconds) * FPS <= MOST_FRAMES_OFF
            for (seen, seconds), (title, start) in zip(found.chapters, expected, strict=True)
        )
    )


def _checks(found: FilmFigures, reel: Reel, row: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    yield found.frames == found.frames_said == round(found.sound_seconds * FPS), f"{found.frames} frames"
    apart = abs(found.sound_seconds - found.picture_seconds)
    yield apart <= MOST_SECONDS_APART, f"sound and picture end {apart * 1000:.0f} ms apart, at {found.seconds:.1f} s"
    off = max((abs(cut) for cut in found.cuts), default=0)
    yield off <= MOST_FRAMES_OFF, f"{len(found.cuts)} changes of picture, {off} frames off their bar line at most"
    yield found.lines_without_note == 0, f"{found.lines_without_note} of these bar lines without a note"
    loud = f"{found.lufs:.2f} LUFS, true peak {found.peak_db:.1f} dB"
    yield abs(found.lufs - TARGET_LUFS) <= MOST_LU_OFF and found.peak_db < 0, loud
    titles = ", ".join(f"{title} at {seconds:.1f} s" for title, seconds in found.chapters)
    yield _chapters_hold(found, _expected_chapters(reel, row)), f"{len(found.chapters)} chapters: {titles}"
    yield found.megabytes > 0, f"{found.megabytes:.1f} MB, {found.megabytes * 8 / found.seconds:.2f} Mbit/s"


def _save_frames(path: Path, folder: Path, frames: int) -> None:
    import av

    folder.mkdir(parents=True, exist_ok=True)
    wanted = {round((at + 0.5) * frames / SHOTS) for at in range(SHOTS)}
    with av.open(str(path)) as film:
        for number, frame in enumerate(film.decode(video=0)):
            if number in wanted:
                image: Image.Image = _image(frame)
                image.save(folder / f"{path.stem[:24]}-{number:06}.png")


def _image(frame: Any) -> Image.Image:
    return Image.fromarray(frame.to_ndarray(format="rgb24"))


if __name__ == "__main__":
    sys.exit(main())
