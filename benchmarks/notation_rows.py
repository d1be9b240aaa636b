"""MIDI to ABC and back, excerpts, metrics, checking and playing, against midi2abc, abc2midi and MusPy."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from benchmarks.roundtrip import Match, Ran, abc2midi, compare, midi2abc
from benchmarks.row import BenchRow
from benchmarks.samples import midi_files
from image2music.abc.checker import check
from image2music.abc.playback import abc_to_midi
from image2music.abc.writer.excerpt import excerpt_abc
from image2music.abc.writer.text import ConvertedTune, midi_to_abc
from image2music.errors import MidiError
from image2music.music.metrics import METRIC_NAMES, metrics_of_midi
from image2music.music.midi import read_midi
from image2music.music.score import Score

MOST_FILES = 600
MOST_MUSPY_FILES = 60
_MUSPY_LONGEST = 4_000_000
"""Ticks: MusPy's piano roll takes 128 bytes for each."""

_ROUNDS = 5

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_details: list[str] = []


@dataclass(frozen=True)
class Trip:
    """One file's way to ABC and back, by us and by the peer."""

    name: str
    ours: Match
    ours_pitched: Match
    peer_f1: float
    meter_kept: bool
    tempo_kept: bool
    bar_warnings: int
    ours_cpu_s: float
    peer_cpu_s: float


def details() -> list[str]:
    """Lines about the round trip of the last run."""
    return list(_details)


def rows(data: Path) -> Iterator[BenchRow]:
    """The rows of this module, over a sample of the MIDI files under `data`."""
    _details.clear()
    files = midi_files(data, MOST_FILES)
    tunes, failures = _converted(files)
    if not tunes:
        raise SystemExit(f"none of {len(files)} MIDI files under {data} can be converted")
    trips = [_trip(path, score, tune, cpu_s) for path, score, tune, cpu_s in tunes]
    _details.extend(_described(files, trips, failures))
    f1, peer_f1 = np.mean([trip.ours.f1 for trip in trips]), np.mean([trip.peer_f1 for trip in trips])
    yield BenchRow("abc_roundtrip_f1", float(f1), float(peer_f1), "midi2abc", "F1, drums included", "higher")
    yield _excerpts_row([path for path, *_ in tunes], sum(trip.peer_cpu_s for trip in trips))
    yield _metrics_row([path for path, *_ in tunes])
    yield from _playing_rows([excerpt_abc(score, title=path.stem).abc for path, score, _, _ in tunes])


def _converted(files: Sequence[Path]) -> tuple[list[tuple[Path, Score, ConvertedTune, float]], Counter[str]]:
    done, failures = [], Counter[str]()
    for path in files:
        data = path.read_bytes()
        started = time.process_time()
        try:
            tune = midi_to_abc(data, title=path.stem)
        except MidiError as error:
            failures[error.reason] += 1
            continue
        cpu_s = time.process_time() - started
        done.append((path, read_midi(data), tune, cpu_s))
    return done, failures


def _trip(path: Path, score: Score, tune: ConvertedTune, cpu_s: float) -> Trip:
    played = abc2midi(tune.abc)
    copy = _score(played.output)
    peer_abc = midi2abc(path.read_bytes())
    peer = _score(abc2midi(peer_abc.output.decode("latin-1")).output) if peer_abc.output else Score(480, ())
    return Trip(
        name=path.name,
        ours=compare(score, copy, drums=True),
        ours_pitched=compare(score, copy, drums=False),
        peer_f1=compare(score, peer, drums=True).f1,
        meter_kept=_first_meter(score) == _written_meter(copy),
        tempo_kept=abs(_first_tempo(copy) / _first_tempo(score) - 1) <= 0.011,
        bar_warnings=_bar_warnings(played),
        ours_cpu_s=cpu_s,
        peer_cpu_s=peer_abc.cpu_s,
    )


def _score(data: bytes | None) -> Score:
    """What a program wrote, read; a score without tracks where it wrote nothing that can be read."""
    try:
        return read_midi(data or b"")
    except MidiError:
        return Score(480, ())


def _first_meter(score: Score) -> tuple[int, int]:
    at_start = [(change.numerator, change.denominator) for change in score.meters if change.tick == 0]
    return at_start[-1] if at_start else (4, 4)


def _written_meter(copy: Score) -> tuple[int, int]:
    """What abc2midi read in the header; it puts later meters that follow a rest at the beginning too."""
    return (copy.meters[0].numerator, copy.meters[0].denominator) if copy.meters else (4, 4)


def _first_tempo(score: Score) -> float:
    at_start = [change.qpm for change in score.tempos if change.tick == 0]
    return at_start[-1] if at_start else 120.0


def _bar_warnings(played: Ran) -> int:
    """Errors and warnings, but for the remark that the notes of a tuplet differ in length."""
    return sum(
        ("rror" in line or "arning" in line) and "Different length notes in tuple" not in line
        for line in played.said.splitlines()
    )


def _excerpts_row(files: Sequence[Path], peer_cpu_s: float) -> BenchRow:
    files = [path for path in files if _readable(path)]
    contents = [path.read_bytes() for path in files]
    excerpt_abc(contents[0])
    started = time.process_time()
    for data in contents:
        excerpt_abc(data)
    ours = len(files) / (time.process_time() - started)
    return BenchRow(
        "abc_excerpts_per_cpu_s", ours, len(files) / peer_cpu_s, "midi2abc, whole files", "files a CPU second", "higher"
    )


def _metrics_row(files: Sequence[Path]) -> BenchRow:
    """Reading and all eight metrics, on both sides: the peer's piano roll is why it is slow, so it stays in."""
    ours, peer, differences = [], [], Counter[str]()
    for path in files[:: max(1, len(files) // MOST_MUSPY_FILES)]:
        data = path.read_bytes()
        score = read_midi(data)
        if max(int((track.onsets + track.durations).max()) for track in score.tracks) > _MUSPY_LONGEST:
            continue
        mine, ours_s = _timed(_our_metrics, data, time.process_time)
        theirs, peer_s = _timed(_muspy_metrics, path, time.process_time)
        if theirs is None:
            continue
        ours.append(ours_s)
        peer.append(peer_s)
        differences.update(name for name in METRIC_NAMES if _differ(mine[name], theirs[name]))
    agree = ", ".join(f"{name} {len(ours) - differences[name]}" for name in METRIC_NAMES)
    _details.append(f"- metrics equal to MusPy's, each from its own reading, of {len(ours)} files: {agree}")
    return BenchRow(
        "metrics_ms",
        1e3 * float(np.mean(ours)),
        1e3 * float(np.mean(peer)),
        "MusPy",
        "CPU ms a file, read included",
        "lower",
    )


def _our_metrics(data: bytes) -> dict[str, float | None]:
    return metrics_of_midi(data).as_dict()


def _muspy_metrics(path: Path) -> dict[str, float] | None:
    import muspy

    try:
        music = muspy.read_midi(path)
    except Exception:  # whatever MusPy cannot read is no part of the comparison
        return None
    with np.errstate(all="ignore"):
        return {name: float(getattr(muspy, name)(music)) for name in METRIC_NAMES}


def _differ(ours: float | None, theirs: float) -> bool:
    return not np.isnan(theirs) if ours is None else not abs(ours - theirs) <= 1e-6


def _playing_rows(tunes: Sequence[str]) -> Iterator[BenchRow]:
    """Checking and playing excerpts, as long as what a composer writes.

    The peer takes what a caller with a text in memory waits for: a folder and a file made, the program run to its end,
    its findings and its MIDI file read, all removed. Wall time grows for the peer on a busy machine, since its process
    must wait for its turn, so the CPU seconds of both, those of the peer's process included, are told beside the rows.
    """
    abc2midi_s, check_s, play_s = _quickest(tunes, (abc2midi, check, abc_to_midi))
    _details.append(
        f"- CPU ms a tune, the start of a process included: abc2midi {1e3 * abc2midi_s.cpu:.2f}, "
        f"check {1e3 * check_s.cpu:.2f}, abc_to_midi {1e3 * play_s.cpu:.2f}"
    )
    yield BenchRow("check_ms", 1e3 * check_s.wall, 1e3 * abc2midi_s.wall, "abc2midi", "ms a tune", "lower")
    yield BenchRow("abc_to_midi_ms", 1e3 * play_s.wall, 1e3 * abc2midi_s.wall, "abc2midi", "ms a tune", "lower")


class _Seconds(NamedTuple):
    """What a call takes, the mean over all arguments: wall time, and CPU time with that of its processes."""

    wall: float
    cpu: float


def _quickest(arguments: Sequence[str], calls: Sequence[Callable[[str], object]]) -> list[_Seconds]:
    """The best of a few rounds for each argument, which other work disturbs least.

    The calls take turns, so that all find the machine alike, and each round goes through all arguments, so that none
    finds its own work still warm.
    """
    best = np.full((len(calls), len(arguments), 2), np.inf)
    for _ in range(_ROUNDS):
        for row, call in enumerate(calls):
            for column, argument in enumerate(arguments):
                cpu = _cpu_s()
                _, wall = _timed(call, argument, time.perf_counter)
                best[row, column] = np.minimum(best[row, column], (wall, _cpu_s() - cpu))
    return [_Seconds(float(wall), float(cpu)) for wall, cpu in best.mean(axis=1)]


def _cpu_s() -> float:
    """CPU seconds so far, of this process and of those that it started and waited for."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _timed(call: Callable[[Argument], Result], argument: Argument, clock: Callable[[], float]) -> tuple[Result, float]:
    """What a call gives, and its seconds by a clock."""
    started = clock()
    result = call(argument)
    return result, clock() - started


def _readable(path: Path) -> bool:
    try:
        read_midi(path.read_bytes())
    except MidiError:
        return False
    return True


def _described(files: Sequence[Path], trips: Sequence[Trip], failures: Counter[str]) -> list[str]:
    pitched = [trip for trip in trips if trip.ours_pitched.original]
    matched = sum(trip.ours.matched for trip in trips)
    right = sum(trip.ours.right_duration for trip in trips)
    worst, slowest = min(trips, key=lambda trip: trip.ours.f1), max(trips, key=lambda trip: trip.ours_cpu_s)
    reasons = ", ".join(f"{reason} {n}" for reason, n in failures.most_common()) or "none"
    return [
        f"MIDI to ABC and back on {len(files)} files:",
        "",
        f"- F1 without drums {np.mean([trip.ours_pitched.f1 for trip in pitched]):.4f}, "
        f"with drums {np.mean([trip.ours.f1 for trip in trips]):.4f}",
        f"- durations within tolerance for {right / matched:.2%} of the matched notes",
        f"- first meter kept in {sum(trip.meter_kept for trip in trips)}, "
        f"first tempo in {sum(trip.tempo_kept for trip in trips)} of {len(trips)}",
        f"- files with an error or a warning about bars: {sum(trip.bar_warnings > 0 for trip in trips)}",
        f"- failures by reason: {reasons}",
        f"- whole files a CPU second: {len(trips) / sum(trip.ours_cpu_s for trip in trips):.0f}; "
        f"slowest {slowest.name}, {slowest.ours_cpu_s:.2f} s",
        f"- worst file: {worst.name}, F1 {worst.ours.f1:.3f}",
    ]
