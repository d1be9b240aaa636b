"""Packets for blind judges of music and its fit to pictures, and what their answers say.

    python -m benchmarks.judging --pictures DIR --systems new=OUT old=OUT2 --human DATA --wrong new --output PACKETS
    python -m benchmarks.judging --read PACKETS/judge_1/ANSWERS.json PACKETS/judge_2/ANSWERS.json --key PACKETS/key.json

A packet is a folder with judge.md, pictures (PNG, at most 640 pixels) and tunes in ABC without titles, comments, names
of voices and plan words, each named by letters; what stands behind them is in key.json, which is no part of a packet.
Each judge gets an order and letters of its own. OUT holds compositions/*.parquet, DATA what `human_excerpts` reads: an
excerpt of human music for each picture. `--wrong NAME` adds that system's tune of another picture. Without `--ids` the
`--count` pictures of DIR are taken whose files have the least sha256. Judges answer ANSWERS.json as judge.md says.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from benchmarks.human_excerpts import human_excerpts
from image2music.evaluation.questions import GROUPS, HIGHEST, LOWEST, anonymize, wording

QUESTIONS = (*GROUPS["music"], *GROUPS["consistency"])
HUMAN = "human"
WRONG = "wrong picture"
_MOST_PIXELS = 640
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_ANNOTATION = re.compile(r'"[\^_<>@][^"\n]*"')
_PART = re.compile(r"\[[Pr]:[^\]\n]*\]")
_PART_LINE = re.compile(r"^[Pr]:.*\n", re.MULTILINE)

SHEET = """# You judge music for pictures
You are an experienced musician, composer and teacher. This folder holds {pictures} pictures (PNG) and {tunes} short
pieces in ABC notation (tune_XX.abc). The list below says for which picture each is offered. Titles and comments were
taken off; `%%MIDI program` tells the instrument (General MIDI, from 0). View each picture once. Read each tune as
music: hear the voices together, their rhythm, harmony, phrases and form, on the instruments and at the tempo that are
given. Do not run programs on the music, and look at nothing outside of this folder.

Judge each tune by itself, in the order of the list, strictly and with the whole scale: {low} is very poor, 4 a
competent, dull exercise, {high} excellent, as good as a good published piece. Answer each question with a whole number:

{questions}

Write ANSWERS.json into this folder: `{{"{first}": {{{example}}}, ...}}`, a key for every tune. Then answer with a few
lines: what parts the best from the rest, what is most often wrong (in which tunes and bars), which tune you like best.

| tune | picture |
|---|---|
{listing}
"""


@dataclass(frozen=True)
class Offered:
    """A tune as it is offered to a judge: by whom, for which picture (a file's name), its ABC, and where it is from."""

    system: str
    picture: str
    abc: str
    source: str


def least_hashes(pictures: Path, count: int) -> list[Path]:
    """The pictures whose files have the least sha256, least first."""
    paths = [path for path in sorted(pictures.iterdir()) if path.is_file()]
    return sorted(paths, key=lambda path: sha256(path.read_bytes()).hexdigest())[:count]


def tunes_of(output: Path) -> dict[str, dict[str, Any]]:
    """The rows of an output by image_id."""
    columns = ["image_id", "image_uri", "abc"]
    rows: list[dict[str, Any]] = pq.read_table(output / "compositions", columns=columns).to_pylist()
    return {row["image_id"]: row for row in rows}


def blind(abc: str) -> str:
    """A tune without anything that tells who wrote it or what it was written for; chord symbols stay."""
    return _PART_LINE.sub("", _PART.sub("", _ANNOTATION.sub("", anonymize(abc))))


def deranged(names: Sequence[str], seed: int) -> list[str]:
    """The names in another order, none at its own place."""
    dice = np.random.Generator(np.random.Philox(seed))
    order = dice.permutation(len(names)).tolist()
    found = {names[here]: names[there] for here, there in zip(order, [*order[1:], order[0]], strict=True)}
    return [found[name] for name in names]


def offered_tunes(
    pictures: Sequence[Path],
    systems: Mapping[str, Path],
    human: Path | None,
    wrong: str | None,
    seed: int,
    cache: Path | None = None,
) -> list[Offered]:
    """Everything that is judged, in plain order.

    Raises:
        SystemExit: a system has no tune for one of the pictures.
    """
    ids = {path.name: sha256(path.read_bytes()).hexdigest() for path in pictures}
    offered: list[Offered] = []
    for name, output in systems.items():
        rows = tunes_of(output)
        missing = [picture for picture, image_id in ids.items() if image_id not in rows]
        if missing:
            raise SystemExit(f"{output} has no tune for {', '.join(missing)}")
        offered += [Offered(name, picture, rows[image_id]["abc"], picture) for picture, image_id in ids.items()]
    if wrong is not None:
        own = {tune.picture: tune for tune in offered if tune.system == wrong}
        for picture, other in zip(own, deranged(list(own), seed), strict=True):
            offered.append(Offered(WRONG, picture, own[other].abc, other))
    if human is not None:
        for picture, excerpt in zip(ids, human_excerpts(human, list(ids), seed, cache), strict=True):
            offered.append(Offered(HUMAN, picture, excerpt.abc, f"{excerpt.source} from bar {excerpt.first_bar}"))
    return offered


def write_packet(folder: Path, pictures: Sequence[Path], offered: Sequence[Offered], seed: int) -> dict[str, Any]:
    """Write one judge's folder; return its part of the key."""
    dice = np.random.Generator(np.random.Philox(seed))
    folder.mkdir(parents=True, exist_ok=True)
    names = {}
    for number, place in enumerate(dice.permutation(len(pictures)).tolist(), 1):
        path = pictures[place]
        names[path.name] = f"picture_{number:02}.png"
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
            picture.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
            picture.save(folder / names[path.name])
    codes = [f"tune_{one}{two}" for one in _LETTERS for two in _LETTERS]
    chosen = [codes[place] for place in dice.choice(len(codes), len(offered), replace=False).tolist()]
    key = {}
    for code, place in zip(chosen, dice.permutation(len(offered)).tolist(), strict=True):
        tune = offered[place]
        (folder / f"{code}.abc").write_text(blind(tune.abc), encoding="utf-8")
        key[code] = {name: value for name, value in asdict(tune).items() if name != "abc"} | {
            "shown": names[tune.picture]
        }
    (folder / "judge.md").write_text(_sheet(key, len(pictures)), encoding="utf-8")
    return key


def _sheet(key: Mapping[str, Any], pictures: int) -> str:
    example = ", ".join(f'"{name}": {LOWEST + (3 * number) % 7}' for number, name in enumerate(QUESTIONS))
    return SHEET.format(
        pictures=pictures,
        tunes=len(key),
        low=LOWEST,
        high=HIGHEST,
        questions="\n".join(f"- `{name}`: {wording()[name]}" for name in QUESTIONS),
        first=next(iter(key)),
        example=example,
        listing="\n".join(f"| {code} | {entry['shown']} |" for code, entry in key.items()),
    )


def read_answers(path: Path, key: Mapping[str, Any]) -> list[tuple[str, str, str, float]]:
    """A judge's points as (system, picture, question, points).

    Raises:
        SystemExit: a tune or a question is not answered, or not with a number from 1 to 7.
    """
    given = json.loads(path.read_text(encoding="utf-8"))
    found = []
    for code, entry in key.items():
        for question in QUESTIONS:
            points = given.get(code, {}).get(question)
            if not isinstance(points, int | float) or not LOWEST <= points <= HIGHEST:
                raise SystemExit(f"{path}: {code} has {points!r} for {question}, not a number from 1 to 7")
            found.append((entry["system"], entry["picture"], question, float(points)))
    return found


def means_table(judges: Mapping[str, Sequence[tuple[str, str, str, float]]]) -> str:
    """Means by system and question, of every judge and of all, as Markdown."""
    lines = [f"| judge | system | {' | '.join(QUESTIONS)} |", "|" + "---|" * (len(QUESTIONS) + 2)]
    everything = [one for answers in judges.values() for one in answers]
    shown = {**judges, "all": everything} if len(judges) > 1 else dict(judges)
    for judge, answers in shown.items():
        for system in dict.fromkeys(one[0] for one in sorted(answers)):
            cells = [
                f"{mean(p for s, _, q, p in answers if s == system and q == question):.2f}" for question in QUESTIONS
            ]
            lines.append(f"| {judge} | {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def duels(answers: Iterable[tuple[str, str, str, float]], question: str) -> str:
    """How often one system's tune of a picture stands above another's, by mean points over judges, as Markdown."""
    points: dict[tuple[str, str], list[float]] = {}
    for system, picture, asked, value in answers:
        if asked == question:
            points.setdefault((system, picture), []).append(value)
    systems = sorted({system for system, _ in points})
    lines = [f"| {question}: better, even, worse than | {' | '.join(systems)} |", "|" + "---|" * (len(systems) + 1)]
    for one in systems:
        cells = []
        for two in systems:
            gaps = [
                mean(points[one, picture]) - mean(points[two, picture])
                for system, picture in points
                if system == one and (two, picture) in points
            ]
            counts = (sum(gap > 0 for gap in gaps), sum(gap == 0 for gap in gaps), sum(gap < 0 for gap in gaps))
            cells.append("" if one == two else "/".join(map(str, counts)))
        lines.append(f"| {one} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_picture(answers: Iterable[tuple[str, str, str, float]], question: str) -> str:
    """Mean points of each picture's tunes, as Markdown."""
    points: dict[tuple[str, str], list[float]] = {}
    for system, picture, asked, value in answers:
        if asked == question:
            points.setdefault((picture, system), []).append(value)
    systems = sorted({system for _, system in points})
    lines = [f"| {question} | {' | '.join(systems)} |", "|" + "---|" * (len(systems) + 1)]
    for picture in sorted({picture for picture, _ in points}):
        cells = [f"{mean(points[picture, s]):.1f}" if (picture, s) in points else "" for s in systems]
        lines.append(f"| {picture} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not name or name in (HUMAN, WRONG):
        raise argparse.ArgumentTypeError(f"NAME=OUT, not {text!r}")
    return name, Path(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make packets, or read answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="folder of pictures")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--ids", nargs="*", help="names of files in the folder, in place of the least hashes")
    parser.add_argument("--systems", type=_named, nargs="*", default=[], metavar="NAME=OUT")
    parser.add_argument("--human", type=Path, metavar="DATA", help="folder with lieder and quartets")
    parser.add_argument("--cache", type=Path, help="pieces that were read before (image2music.music.critic.training)")
    parser.add_argument("--wrong", metavar="NAME", help="whose tunes are shown with another picture as well")
    parser.add_argument("--judges", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("build/judging"))
    parser.add_argument("--read", type=Path, nargs="*", help="ANSWERS.json of judge 1, 2, ...")
    parser.add_argument("--key", type=Path, help="key.json, for --read")
    parser.add_argument("--by_picture", action="store_true")
    options = parser.parse_args(arguments)
    if options.read:
        _print_answers(options.read, options.key or options.output / "key.json", options.by_picture)
        return
    if options.pictures is None or not options.systems:
        parser.error("give --pictures and --systems, or --read")
    chosen = [options.pictures / name for name in options.ids or ()] or least_hashes(options.pictures, options.count)
    systems = dict(options.systems)
    offered = offered_tunes(chosen, systems, options.human, options.wrong, options.seed, options.cache)
    key = {}
    for number in range(1, options.judges + 1):
        judge = f"judge_{number}"
        key[judge] = write_packet(options.output / judge, chosen, offered, options.seed * 1000 + number)
    (options.output / "key.json").write_text(json.dumps(key, indent=1), encoding="utf-8")
    print(f"{options.judges} packets of {len(offered)} tunes for {len(chosen)} pictures: {options.output}")


def _print_answers(paths: Sequence[Path], key_path: Path, pictures: bool) -> None:
    key = json.loads(key_path.read_text(encoding="utf-8"))
    judges = {}
    for number, path in enumerate(paths, 1):
        judge = path.parent.name if path.parent.name in key else f"judge_{number}"
        judges[judge] = read_answers(path, key[judge])
    answers = [one for own in judges.values() for one in own]
    print(means_table(judges), "\n")
    for question in ("music_overall", "consistency_overall"):
        print(duels(answers, question), "\n")
        if pictures:
            print(by_picture(answers, question), "\n")


if __name__ == "__main__":
    main()
