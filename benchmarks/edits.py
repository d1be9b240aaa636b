"""Are bad edits refused and good ones taken? `python -m benchmarks.edits --data DIR [--each 200]`.

Human pieces (hymns of `DIR`, a folder with `hymns/*.abc`) are written out as ABC. Degenerate edits (a bare scale, a
silenced bar, a voice less, the tune shortened, a voice doubled at the octave), on the piece as it is and on one with a
planted fault, must never be taken. Edits that put the human bar back where a fault was planted should be. Both kinds
run mixed, in one random order. Printed as Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.listener import (
    Generator,
    plant_ending,
    plant_leap,
    plant_parallel,
    plant_range,
    plant_rub,
)
from image2music.abc.playback import abc_to_score
from image2music.abc.writer.parts import bars_to_abc, lines_to_abc
from image2music.errors import Image2MusicError
from image2music.loop.choose import ExaminedTune, examine, judge_edit, try_edits
from image2music.music.lines import Bar, Line, bars_of_score
from image2music.music.listen.hearing import hearing_of
from image2music.music.score import Score, count_bars
from image2music.music.theory import key_name
from image2music.types import Edit

PLANTS = {
    "semitone rub": plant_rub(1),
    "major seventh": plant_rub(11),
    "parallel octaves": plant_parallel(0),
    "parallel fifths": plant_parallel(7),
    "out of range": plant_range,
    "leap": plant_leap,
    "ending": plant_ending,
}
DEGENERATE = ("scale", "silence", "a voice less", "shortened", "octaves")
_FEWEST_BARS, _MOST_BARS = 8, 24
MEANT = "the composer says so"
"""What every edit here gives as its reason, as a composer's does who means what it asks for."""


@dataclass(frozen=True)
class Written:
    """A piece as text, bar by bar: `bars[voice][bar]` is ABC without bar lines."""

    key: str
    meter: str
    lines: tuple[Line, ...]

    @property
    def abc(self) -> str:
        """The whole tune."""
        return lines_to_abc("", self.key, self.meter, self.lines)

    @property
    def bars(self) -> list[list[str]]:
        """The text of every bar of every voice."""
        return [bars_to_abc(self.key, self.meter, line.bars) for line in self.lines]


@dataclass(frozen=True)
class Case:
    """A tune that stands, an edit, and whether it should be taken."""

    kind: str
    good: bool
    standing: str
    edits: tuple[Edit, ...]


def written(score: Score) -> Written | None:
    """Write a score of one meter and key out; None where it is too short, too long, or changes."""
    bars = count_bars(score)
    regular = len(score.meters) == 1 and len(score.keys) == 1 and len({b.number for b in score.bar_starts}) == bars
    if not regular or not _FEWEST_BARS <= bars <= _MOST_BARS or not 3 <= len(score.tracks) <= 4:
        return None
    meter = f"{score.meters[0].numerator}/{score.meters[0].denominator}"
    key = key_name(score.keys[0].sharps, score.keys[0].minor)
    lines = tuple(
        Line(number, f"Voice {number}", track.program, bars_of_score(score, place, meter, bars))
        for place, (number, track) in enumerate(zip(range(1, 9), score.tracks, strict=False))
    )
    return Written(key, meter, lines)


def restored(human: Written, spoiled: Written) -> tuple[Edit, ...]:
    """Return the edits that put the human bars back."""
    pairs = zip(human.bars, spoiled.bars, strict=True)
    return tuple(
        Edit(bar, str(voice), mine, MEANT)
        for voice, (ours, theirs) in enumerate(pairs, 1)
        for bar, (mine, other) in enumerate(zip(ours, theirs, strict=True), 1)
        if mine != other
    )


def degenerate(kind: str, piece: Written, bar: int, rng: Generator) -> tuple[Edit, ...]:
    """Return edits that spoil a piece at a bar, or all along."""
    voices = len(piece.lines)
    voice = int(rng.integers(1, voices + 1))
    numerator, denominator = (int(part) for part in piece.meter.split("/"))
    eighths = 8 * numerator // denominator
    if kind == "scale":
        ladder = "CDEFGABcdefgab"
        start = int(rng.integers(0, len(ladder) - min(eighths, 8)))
        notes = [ladder[start + at % 8] for at in range(eighths)]
        return (Edit(bar, str(voice), "".join(notes), MEANT),)
    if kind == "silence":
        return (Edit(bar, str(voice), f"z{eighths}", MEANT),)
    if kind == "a voice less":
        return tuple(
            Edit(number, str(voice), f"z{eighths}", MEANT) for number in range(1, len(piece.lines[0].bars) + 1)
        )
    if kind == "octaves":
        other = voice % voices
        moved = [_moved(piece.lines[other].bars[bar - 1], -12 if other < voice - 1 else 12)]
        return (Edit(bar, str(voice), bars_to_abc(piece.key, piece.meter, moved)[0], MEANT),)
    raise ValueError(kind)


def _moved(bar: Bar, by: int) -> Bar:
    return tuple(replace(event, pitches=tuple(pitch + by for pitch in event.pitches)) for event in bar)


def shortened(piece: Written) -> str:
    """Return the tune without its last four bars."""
    return replace(piece, lines=tuple(replace(line, bars=line.bars[:-4]) for line in piece.lines)).abc


def cases(pieces: Sequence[Score], each: int, seed: int) -> Iterator[Case]:
    """Yield `each` good and `each` degenerate cases."""
    rng = np.random.Generator(np.random.Philox(seed))
    kinds, good, bad = list(PLANTS), 0, 0
    while good < each or bad < each:
        score = pieces[int(rng.integers(len(pieces)))]
        human = written(score)
        if human is None:
            continue
        kind = kinds[good % len(kinds)]
        planted = PLANTS[kind](score, hearing_of(score), rng)
        spoiled = written(planted.score) if planted is not None else None
        if planted is None or spoiled is None:
            kinds = kinds[1:] + kinds[:1]
            continue
        if good < each:
            good += 1
            yield Case(kind, True, spoiled.abc, restored(human, spoiled))
        if bad < each:
            base = (human, spoiled)[bad // len(DEGENERATE) % 2]
            spoil = DEGENERATE[bad % len(DEGENERATE)]
            bad += 1
            edits = () if spoil == "shortened" else degenerate(spoil, base, planted.bar, rng)
            yield Case(spoil, False, base.abc, edits or (Edit(0, "", shortened(base)),))


def taken(case: Case) -> tuple[bool, str]:
    """Return whether any of a case's edits is taken, and what was said."""
    standing = examine(case.standing, [])
    if case.edits[0].bar == 0:
        # An edit cannot take bars away; a composer that sends the whole tune anew is held to the same judgment.
        reason = judge_edit(standing, examine(case.edits[0].abc, []), [1])
        return reason == "better", reason
    trials = list(try_edits(standing, case.edits, _examined))
    return any(accepted for _, _, accepted in trials), trials[0][1] if trials else "no_trial"


def _examined(raw: str) -> ExaminedTune:
    return examine(raw, [])


def read_hymns(data: Path) -> list[Score]:
    """Return the hymns that can be read."""
    scores = []
    for path in sorted((data / "hymns").glob("*.abc")):
        try:
            scores.append(abc_to_score(path.read_text("utf-8", "replace")))
        except Image2MusicError as error:
            print(f"{path.name}: {error}")
    return [score for score in scores if written(score) is not None]


def main() -> None:
    """Run all cases in random order and print what was taken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with hymns/*.abc")
    parser.add_argument("--each", type=int, default=200, help="good and degenerate edits, each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tell", action="store_true", help="print what was said of wrong decisions")
    options = parser.parse_args()
    found = list(cases(read_hymns(options.data), options.each, options.seed))
    order = np.random.Generator(np.random.Philox(options.seed + 1)).permutation(len(found))
    counts: dict[tuple[bool, str], list[bool]] = {}
    said: Counter[tuple[str, str]] = Counter()
    seconds = []
    for at in order:
        case, start = found[at], time.perf_counter()
        accepted, reason = taken(case)
        seconds.append(time.perf_counter() - start)
        counts.setdefault((case.good, case.kind), []).append(accepted)
        if accepted != case.good:
            said[case.kind, reason] += 1
    print("| edit | should be taken | cases | taken |\n|---|---|---|---|")
    for (good, kind), results in sorted(counts.items()):
        print(f"| {kind} | {'yes' if good else 'no'} | {len(results)} | {sum(results)} |")
    for good in (True, False):
        results = [accepted for (is_good, _), some in counts.items() if is_good is good for accepted in some]
        print(f"| all | {'yes' if good else 'no'} | {len(results)} | {sum(results)} ({np.mean(results):.0%}) |")
    print(f"\n{1000 * statistics.median(seconds):.0f} ms an edit (median)")
    if options.tell:
        for (kind, reason), number in said.most_common():
            print(f"{kind}: {reason} ({number})")


if __name__ == "__main__":
    main()
