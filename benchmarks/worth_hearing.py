"""What can be counted of whether tunes are worth hearing, over all rows of outputs, as one Markdown table.

`python -m benchmarks.worth_hearing OUT... [--critic build/second_critic.npz] [--data DIR --cache FILE]`: OUT holds
compositions/*.parquet, the critic's weights are those of `benchmarks.second_critic` (never used in choosing). With
DIR (or the pieces that its reading left at FILE) melodies are held against training tunes as well. `--bounds` exits
with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.second_critic import SECOND, SecondCritic, load_second
from benchmarks.training_runs import TrainingLines
from image2music.abc.playback import abc_to_score
from image2music.loop.choose import voices_of_abc
from image2music.music.listen.listener import listen
from image2music.music.listen.sheet import Fault
from image2music.music.planning.plan import BASS_ROLES, FIGURE_ROLES, Plan, Section
from image2music.music.score import Score, Track, count_bars
from image2music.music.similarity import LONGEST_ALLOWED, Step, longest_shared_run, melody_steps, music_id
from image2music.music.theory import GRID_QUARTER
from image2music.rows import plan_of_row

_TRIAD = (0, 3, 4, 7)
_CLOSING = (2, 5, 7, 10, 11)
"""Semitones above the tonic of the basses that lead home: II, IV, V, flat VII, VII."""
_HALF = 0.5
_MODES = re.compile(r"^([A-G][#b]?)")
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class Played:
    """A row as it sounds: `lines` are the tracks that have the tune at some time, `bars` their onsets and ends."""

    row: dict[str, Any]
    plan: Plan
    score: Score
    faults: tuple[Fault, ...]

    @property
    def bar_ticks(self) -> list[tuple[int, int]]:
        """First and last tick of every bar, as written."""
        starts = [start.tick for start in self.score.bar_starts]
        end = max(int((track.onsets + track.durations).max()) for track in self.score.tracks if len(track))
        return list(pairwise([*starts, max(end, starts[-1] + 1)]))

    def track(self, voice: int) -> Track | None:
        """The track of a planned voice."""
        place = self.plan.place_of(voice) - 1
        return self.score.tracks[place] if 0 <= place < len(self.score.tracks) else None

    def melody_tracks(self) -> list[Track]:
        """Tracks that have the tune in some bar."""
        voices = dict.fromkeys(self.plan.melody_at(bar) for bar in range(1, self.plan.bars + 1))
        return [track for voice in voices if (track := self.track(voice)) is not None and len(track) > 1]

    def melody_rhythms(self) -> list[tuple[int, ...]]:
        """Onsets of the tune since the bar line, of every bar in which it begins a note, in 48ths of a quarter."""
        found = []
        for number, (low, high) in enumerate(self.bar_ticks, 1):
            track = self.track(self.plan.melody_at(number)) if number <= self.plan.bars else None
            if track is None:
                continue
            inside = np.unique(track.onsets[(track.onsets >= low) & (track.onsets < high)]) - low
            if len(inside):
                scale = GRID_QUARTER / self.score.ticks_per_quarter
                found.append(tuple(np.rint(inside * scale).astype(int).tolist()))
        return found


def played(row: dict[str, Any]) -> Played:
    """Play a row again and listen to it."""
    plan = plan_of_row(row["plan"])
    score = abc_to_score(row["abc"])
    return Played(row, plan, score, listen(score, plan).faults)


def rows_of(output: Path) -> list[dict[str, Any]]:
    """The rows of an output."""
    columns = ["image_id", "image_uri", "references", "plan", "abc", "key", "meter", "tempo_qpm", "critic", "seconds"]
    rows: list[dict[str, Any]] = pq.read_table(output / "compositions", columns=columns).to_pylist()
    return sorted(rows, key=lambda row: row["image_id"])


def tonic_of(key: str) -> int:
    """The pitch class of a key as ABC writes it."""
    name = _MODES.match(key)
    if name is None:
        raise ValueError(f"{key!r} names no tonic")
    letter, sign = name[1][0], name[1][1:]
    return (_SEMITONES[letter] + {"": 0, "#": 1, "b": -1}[sign]) % 12


def closes(tune: Played) -> bool:
    """Whether it ends on the tonic's chord, its root below and the tune within it, a closing bass before."""
    tonic = tonic_of(tune.row["key"])
    tracks = [track for track in tune.score.tracks if len(track) and not track.is_drum]
    low, _ = tune.bar_ticks[-1]
    final = [pitch for track in tracks for pitch in _last_chord(track, low)]
    if not final or min(final) % 12 != tonic or any((pitch - tonic) % 12 not in _TRIAD for pitch in final):
        return False
    before = tune.bar_ticks[-3][0] if len(tune.bar_ticks) > 2 else 0
    basses = _bass_line(tracks, before)
    return any((bass - tonic) % 12 in _CLOSING for bass in basses[:-1])


def _last_chord(track: Track, low: int) -> list[int]:
    """The pitches that a track ends with, if it sounds in the last bar."""
    ends = track.onsets + track.durations
    last = int(ends.max())
    return track.pitches[ends >= last - 1].tolist() if last > low else []


def _bass_line(tracks: Sequence[Track], since: int) -> list[int]:
    """Lowest pitch at every onset of any track from a tick on."""
    onsets = np.unique(np.concatenate([track.onsets for track in tracks]))
    found: list[int] = []
    for at in onsets[onsets >= since].tolist():
        sounding = [int(pitch) for t in tracks for pitch in t.pitches[(t.onsets <= at) & (t.onsets + t.durations > at)]]
        found.append(min(sounding))
    return found


def figures_of(section: Section) -> tuple[tuple[int, str, str, str], ...]:
    """What accompanies in a section: voice, role, family and degrees."""
    return tuple(
        (part.voice, part.role, part.family or "", part.degrees)
        for part in section.parts
        if part.role in FIGURE_ROLES or part.role in BASS_ROLES or part.role in ("hold", "drums")
    )


def figure_bars(tune: Played) -> Iterable[tuple[tuple[int, int], ...]]:
    """Each bar of a voice with a figure as (onset in 48ths, rank of the pitch in the bar) of its notes."""
    for voice in tune.plan.voices:
        track = tune.track(voice.id)
        if track is None:
            continue
        for number, (low, high) in enumerate(tune.bar_ticks, 1):
            if number > tune.plan.bars or tune.plan.role_at(voice.id, number) not in FIGURE_ROLES:
                continue
            inside = (track.onsets >= low) & (track.onsets < high)
            onsets = np.rint((track.onsets[inside] - low) * (GRID_QUARTER / tune.score.ticks_per_quarter)).astype(int)
            ranks = np.searchsorted(np.unique(track.pitches[inside]), track.pitches[inside])
            if len(onsets) > 1:
                yield tuple(zip(onsets.tolist(), ranks.tolist(), strict=True))


def empty_bars(tune: Played) -> int:
    """Bars in which nothing sounds, though the plan lets some voice play."""
    count = 0
    for number, (low, high) in enumerate(tune.bar_ticks, 1):
        sounds = any(((t.onsets < high) & (t.onsets + t.durations > low)).any() for t in tune.score.tracks)
        meant = number <= tune.plan.bars and all(tune.plan.role_at(v.id, number) == "rest" for v in tune.plan.voices)
        count += not sounds and not meant
    return count


def device_kind(what: str) -> str:
    """The device's name: its words up to the first comma, without numbers."""
    return " ".join(re.sub(r"[\d-]+", " ", re.split(r"[,;:.(]", what, maxsplit=1)[0].lower()).split())


def form_of(plan: Plan) -> str:
    """The sections' names in order, copies of one (A', A'') told apart from it but not from each other."""
    return " ".join(re.sub(r"'+", "'", section.name) for section in plan.sections)


def repeated_share(tune: Played) -> float:
    """Share of the tune's bars that have its commonest rhythm."""
    rhythms = tune.melody_rhythms()
    return Counter(rhythms).most_common(1)[0][1] / len(rhythms) if rhythms else 1.0


def melodies(tune: Played) -> list[list[Step]]:
    """The steps of the voices that have the tune."""
    return [melody_steps(track, tune.score.ticks_per_quarter) for track in tune.melody_tracks()]


@dataclass(frozen=True)
class Line:
    """A row of the table: what is measured, the bound in words, the figure as text, and whether the bound is kept."""

    name: str
    bound: str
    text: str
    kept: bool | None = None


def measured(rows: Sequence[dict[str, Any]], critic: SecondCritic, training: TrainingLines | None) -> list[Line]:
    """All figures of one output."""
    tunes = [played(row) for row in rows]
    return [
        *_by_critic(tunes, critic),
        *_by_listener(tunes),
        *_variety(tunes),
        *_by_plan(tunes),
        *_copies(tunes, training),
        Line("median seconds a picture (column `seconds`)", "", f"{median(row['seconds'] for row in rows):.2f}"),
    ]


def _by_critic(tunes: Sequence[Played], critic: SecondCritic) -> list[Line]:
    scores = [found if (found := critic.score(tune.score)) is not None else -10.0 for tune in tunes]
    places = [critic.percentile(score) for score in scores]
    art = [critic.percentile(score, ("song", "quartet")) for score in scores]
    return [
        Line("tunes", "", str(len(tunes))),
        Line(
            "median percentile of human pieces, second critic",
            ">= .30",
            f"{median(places):.2f}",
            median(places) >= 0.30,
        ),
        Line("the same among songs and quartets alone", "", f"{median(art):.2f}"),
        Line("tunes below the 10th percentile", "", f"{mean(place < 0.10 for place in places):.2f}"),
        Line("second critic's score, median", "", f"{median(scores):.2f}"),
        Line("shipped critic's score, median", "", f"{median(tune.row['critic'] for tune in tunes):.2f}"),
    ]


def _by_listener(tunes: Sequence[Played]) -> list[Line]:
    bars = sum(len(tune.bar_ticks) for tune in tunes)
    faults = [fault for tune in tunes for fault in tune.faults]
    kinds = Counter(fault.kind for fault in faults).most_common(6)
    rate = len(faults) / bars
    closed = mean(closes(tune) for tune in tunes)
    ending = mean(all(fault.kind != "ending" for fault in tune.faults) for tune in tunes)
    hollow = sum(empty_bars(tune) for tune in tunes)
    dull = mean(repeated_share(tune) > _HALF for tune in tunes)
    return [
        Line("faults a bar", "<= .15", f"{rate:.3f}", rate <= 0.15),
        Line("of these weighing .3 and more", "", f"{sum(fault.weight >= 0.3 for fault in faults) / bars:.3f}"),
        Line("commonest faults", "", ", ".join(f"{kind} {count}" for kind, count in kinds)),
        Line("end on the tonic with a close", ">= .98", f"{closed:.3f}", closed >= 0.98),
        Line("no `ending` fault by the listener", "", f"{ending:.3f}"),
        Line("bars empty by accident", "0", str(hollow), hollow == 0),
        Line("one rhythm in over half of the melody's bars", "<= .05", f"{dull:.3f}", dull <= 0.05),
        Line("share of the commonest rhythm, median", "", f"{median(map(repeated_share, tunes)):.2f}"),
    ]


def _variety(tunes: Sequence[Played]) -> list[Line]:
    plans = [tune.plan for tune in tunes]
    parts = [part for plan in plans for section in plan.sections for part in section.parts if part.family]
    families = {part.family for part in parts}
    figures = {(part.family, part.degrees) for part in parts}
    heard = Counter(bar for tune in tunes for bar in set(figure_bars(tune)))
    ensembles = Counter(tuple(sorted(voice.program for voice in plan.voices)) for plan in plans)
    forms = Counter(map(form_of, plans))
    meters = Counter(plan.meter for plan in plans)
    devices = Counter(device_kind(plan.device.what) for plan in plans if plan.device)
    pairs = [[figures_of(a) != figures_of(b) for a, b in pairwise(plan.sections)] for plan in plans]
    differing, whole = mean(one for own in pairs for one in own or [True]), mean(all(own) for own in pairs)
    sizes = Counter(len(plan.voices) for plan in plans)
    drums = sum(any(track.is_drum for track in tune.score.tracks) for tune in tunes)
    return [
        Line("figure families in use", "", f"{len(families)}"),
        Line("figures (family and degrees) in use", ">= 12", f"{len(figures)}", len(figures) >= 12),
        Line(
            "figure bars (rhythm and contour) heard in two tunes and more", "", str(sum(n > 1 for n in heard.values()))
        ),
        Line("ensembles", ">= 8", _counted(ensembles, 2), len(ensembles) >= 8),
        Line("forms", ">= 4", _counted(forms, 3), len(forms) >= 4),
        Line("meters", ">= 5", _counted(meters, 8), len(meters) >= 5),
        Line("devices", ">= 5", _counted(devices, 6), len(devices) >= 5),
        Line("adjacent sections that differ in figure", "1", f"{differing:.3f}", differing == 1),
        Line("tunes in which all do", "", f"{whole:.3f}"),
        Line("voices", "2 to 5", _counted(sizes, 6), all(2 <= size <= 5 for size in sizes)),
        Line("tunes with drums", "", str(drums)),
    ]


def _counted(counts: Counter[Any], most: int) -> str:
    shown = ", ".join(f"{name} {count}" for name, count in counts.most_common(most))
    return f"{len(counts)} ({shown}{', ...' if len(counts) > most else ''})"


def _by_plan(tunes: Sequence[Played]) -> list[Line]:
    tempo = mean(abs(_first_tempo(tune.score) / tune.plan.qpm - 1) <= 0.01 for tune in tunes)
    bars = mean(count_bars(tune.score) == tune.plan.bars for tune in tunes)
    voices = mean(sum(len(track) > 0 for track in tune.score.tracks) == len(tune.plan.voices) for tune in tunes)
    velocities = [len({int(v) for track in tune.score.tracks for v in track.velocities.tolist()}) for tune in tunes]
    return [
        Line("tempo as planned", "", f"{tempo:.3f}"),
        Line("bars as planned", "", f"{bars:.3f}"),
        Line("voices as planned, all sounding", "", f"{voices:.3f}"),
        Line("bars a tune, least, median, most", "12 to 32", _spread([tune.plan.bars for tune in tunes])),
        Line("different velocities a tune, median", "", f"{median(velocities):.0f}"),
    ]


def _first_tempo(score: Score) -> float:
    return score.tempos[0].qpm if score.tempos else 120.0


def _spread(values: Sequence[int]) -> str:
    return f"{min(values)}, {median(values):.0f}, {max(values)}"


def _copies(tunes: Sequence[Played], training: TrainingLines | None) -> list[Line]:
    own = [melodies(tune) for tune in tunes]
    borrowed = []
    for tune, lines in zip(tunes, own, strict=True):
        others = [voices_of_abc(reference["abc"]) for reference in tune.row["references"] or []]
        borrowed.append(max((longest_shared_run(lines, other) for other in others), default=0))
    runs = [training.longest(lines) for lines in own] if training is not None else [0] * len(own)
    worst = [max(pair) for pair in zip(borrowed, runs, strict=True)]
    kept = mean(run <= LONGEST_ALLOWED for run in worst)
    different = len({music_id(tune.score) for tune in tunes})
    lines = [
        Line("melody's longest run shared with its references, median, most", "", _two(borrowed)),
        Line("the same with training tunes", "", _two(runs) if training is not None else "not measured"),
        Line("melodies that share no more than 16 notes with either", ">= .95", f"{kept:.3f}", kept >= 0.95),
        Line("different tunes", "all", f"{different}", different == len(tunes)),
        Line("different melodies", "", str(len({tuple(map(tuple, lines)) for lines in own}))),
    ]
    return lines


def _two(values: Sequence[int]) -> str:
    return f"{median(values):.0f}, {max(values)}"


def table(outputs: dict[str, list[Line]]) -> str:
    """The figures as Markdown, a column an output; a figure that misses its bound is in bold."""
    names = list(outputs)
    lines = [f"| | bound | {' | '.join(names)} |", "|" + "---|" * (len(names) + 2)]
    for cells in zip(*outputs.values(), strict=True):
        texts = [f"**{cell.text}**" if cell.kept is False else cell.text for cell in cells]
        lines.append(f"| {cells[0].name} | {cells[0].bound} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a bound is missed and `--bounds` asks for them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", type=Path, nargs="+", metavar="OUT")
    parser.add_argument("--critic", type=Path, default=SECOND)
    parser.add_argument("--data", type=Path, help="folder with INDEX.csv, lieder, quartets, hymns")
    parser.add_argument("--cache", type=Path, help="pieces that were read before (image2music.music.critic.training)")
    parser.add_argument("--bounds", action="store_true")
    options = parser.parse_args(arguments)
    critic = load_second(options.critic)
    training = TrainingLines.read(options.data, options.cache) if options.data or options.cache else None
    found = {str(output): measured(rows_of(output), critic, training) for output in options.outputs}
    print(table(found))
    missed = any(line.kept is False for lines in found.values() for line in lines)
    return 1 if options.bounds and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
