"""Does the composer do what it is asked: key, tempo, bars, instruments, figure, dynamics, and whole plans of a person?

`python -m benchmarks.control --pictures DIR [--tries 100] [--candidates 1] [--parts key tempo ...]` prints, of so many
requests each, how many tunes deliver it, heard in the notes, and how many plans say so. Wishes go the way of a
catalogue's columns (`Wishes`), keys and figures that of an album (`PlanConstraints`), dynamics and `plan` that of
`--plans`: a whole plan, made here by the plain planner. No references; the pictures take turns.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from image2music.abc.playback import abc_to_score
from image2music.composers import registry
from image2music.composers.base import Composer, ComposeRequest
from image2music.images.decode import open_picture
from image2music.loop.chain import compose_batch
from image2music.music.grid import bars_of, keys_of, parts_of
from image2music.music.planning.checks import families_for
from image2music.music.planning.constraints import PlanConstraints
from image2music.music.planning.plan import DYNAMICS, FIGURE_ROLES, Dynamic, Family, Plan
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.vocabulary import DRUM_KIT
from image2music.music.planning.wishes import Wishes, constraints_of
from image2music.music.score import Score, count_bars
from image2music.music.theory import DEFAULT_QPM, GRID_QUARTER, read_tonality, tonic_pitch_class
from image2music.settings import LoopSettings, picture_seed
from image2music.types import ComposedTune

_AT_ONCE = 10
_KEYS = ("C", "G", "D", "A", "F", "Bb", "Eb", "Am", "Em", "Bm", "Dm", "Gm", "Cm", "F#m")
_BANDS = ("flute, piano", "violin, viola, cello", "oboe, harp, cello", "clarinet, piano, cello", "trumpet, horn, tuba",
          "guitar, flute, double bass", "violin, flute, harp, cello", "accordion, clarinet, double bass")  # fmt: skip
_FIGURES: tuple[tuple[Family, str], ...] = (
    ("broken", "4/4"), ("waltz", "3/4"), ("offbeat", "4/4"), ("pulse", "4/4"), ("wave", "4/4"), ("alberti", "4/4"),
    ("arpeggio", "4/4"), ("ostinato", "4/4"), ("pad", "4/4"), ("chorale", "4/4"), ("broken", "6/8"), ("wave", "3/4"),
)  # fmt: skip
_PIANO_TRIO = (73, 0, 42)
_NEAR = 0.02


@dataclass(frozen=True)
class Wanted:
    """One request: what is asked for in words, what it puts into the request, and whether a tune delivers it."""

    words: str
    constraints: tuple[PlanConstraints, ...]
    delivers: Callable[[ComposedTune, Score], bool]
    plan: Plan | None = None


def asked_key(dice: np.random.Generator) -> Wanted:
    """A key; it counts where K: and a key detector that sees the notes alone agree with it in tonic or its relative."""
    key = _KEYS[int(dice.integers(len(_KEYS)))]
    wanted = read_tonality(key)
    assert wanted is not None

    def delivers(tune: ComposedTune, score: Score) -> bool:
        said = read_tonality(tune.key)
        return said == wanted and _ends_at_home(score)

    return Wanted(f"key {key}", (PlanConstraints(key=key),), delivers)


def _ends_at_home(score: Score) -> bool:
    """Whether the last bass note is the tonic that the score states."""
    tracks = [track for track in score.tracks if len(track) and not track.is_drum]
    end = max(int((track.onsets + track.durations).max()) for track in tracks)
    last = [int(track.pitches[track.onsets + track.durations >= end - 1].min(initial=128)) for track in tracks]
    parts = parts_of(score)
    keys = keys_of(score, parts, bars_of(score, int(end * GRID_QUARTER / score.ticks_per_quarter)))
    return min(last) % 12 == tonic_pitch_class(keys[-1].sharps, keys[-1].minor)


def asked_tempo(dice: np.random.Generator) -> Wanted:
    """A number of quarter notes a minute; it counts where most of the tune goes at it, within two."""
    qpm = int(dice.integers(50, 160))

    def delivers(tune: ComposedTune, score: Score) -> bool:
        return abs(_main_tempo(score) - qpm) <= 2 + qpm * _NEAR / 4

    return Wanted(f"tempo {qpm}", (constraints_of(Wishes(tempo=str(qpm))),), delivers)


def _main_tempo(score: Score) -> float:
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks if len(track))
    ticks = [change.tick for change in score.tempos]
    spans = {change.qpm: 0 for change in score.tempos}
    for change, until in zip(score.tempos, [*ticks[1:], end], strict=True):
        spans[change.qpm] += until - change.tick
    return max(spans, key=lambda qpm: spans[qpm], default=DEFAULT_QPM)


def asked_bars(dice: np.random.Generator) -> Wanted:
    """A number of bars, 12 to 32."""
    bars = int(dice.integers(12, 33))

    def delivers(tune: ComposedTune, score: Score) -> bool:
        return count_bars(score) == bars

    return Wanted(f"{bars} bars", (constraints_of(Wishes(bars=str(bars))),), delivers)


def asked_voices(dice: np.random.Generator) -> Wanted:
    """Two to four instruments by name; it counts where each plays two notes or more and nothing else does."""
    band = _BANDS[int(dice.integers(len(_BANDS)))]
    wanted = constraints_of(Wishes(instruments=band))
    if len(wanted.players) != len(band.split(", ")):
        raise ValueError(f"{band}: not all of these are known")

    def delivers(tune: ComposedTune, score: Score) -> bool:
        have = {DRUM_KIT if track.is_drum else track.program for track in score.tracks if len(track) > 1}
        return all(have & set(group) for group in wanted.players) and have <= {p for g in wanted.players for p in g}

    return Wanted(band, (wanted,), delivers)


def asked_figure(dice: np.random.Generator) -> Wanted:
    """A family of figures in a meter that has it; it counts where the plan has it and a voice plays there."""
    family, meter = _FIGURES[int(dice.integers(len(_FIGURES)))]

    def delivers(tune: ComposedTune, score: Score) -> bool:
        return tune.plan is not None and any(
            _plays(score, tune.plan, part.voice, section.first, section.last)
            for section in tune.plan.sections
            for part in section.parts
            if part.family == family and part.role in FIGURE_ROLES
        )

    return Wanted(f"figure {family}", (PlanConstraints(meters=(meter,), families=(family,)),), delivers)


def _plays(score: Score, plan: Plan, voice: int, first: int, last: int) -> bool:
    """Whether a planned voice begins a note in every other bar of a stretch, or more."""
    starts = [start.tick for start in score.bar_starts]
    track = score.tracks[plan.place_of(voice) - 1]
    bars = np.searchsorted(starts, track.onsets, side="right")
    sounding = {int(bar) for bar in bars if first <= bar <= last}
    return 2 * len(sounding) >= last - first + 1


def asked_dynamics(dice: np.random.Generator) -> Wanted:
    """A plan whose sections have dynamics; it counts where loudness rises and falls between sections as they do."""
    plan = _made_plan(dice)
    levels: list[Dynamic] = []
    for number, _ in enumerate(plan.sections):
        near = [level for level in DYNAMICS if not levels or level != levels[number - 1]]
        levels.append(near[int(dice.integers(len(near)))])
    sections = tuple(
        replace(section, dynamic=level, swell="none") for section, level in zip(plan.sections, levels, strict=True)
    )
    plan = replace(plan, sections=sections)

    def delivers(tune: ComposedTune, score: Score) -> bool:
        return _loudness_follows(score, plan)

    return Wanted(f"dynamics {' '.join(levels)}", (), delivers, plan)


def _loudness_follows(score: Score, plan: Plan) -> bool:
    """Whether the loudest voice's mean velocity goes up and down from section to section as the plan says."""
    heard = [_loudness(score, section.first, section.last) for section in plan.sections]
    asked = [DYNAMICS.index(section.dynamic) for section in plan.sections]
    return all(
        (later - before) * (then - now) > 0
        for before, later, now, then in zip(heard, heard[1:], asked, asked[1:], strict=False)
    )


def _loudness(score: Score, first: int, last: int) -> float:
    starts = [start.tick for start in score.bar_starts]
    low = starts[first - 1] if first <= len(starts) else 0
    high = starts[last] if last < len(starts) else np.inf
    means = [
        float(track.velocities[inside].mean())
        for track in score.tracks
        if (inside := (track.onsets >= low) & (track.onsets < high)).any()
    ]
    return max(means, default=0.0)


def asked_plan(dice: np.random.Generator) -> Wanted:
    """A whole plan: key, meter, tempo, bars, instruments and figures all count together."""
    plan = _made_plan(dice)

    def delivers(tune: ComposedTune, score: Score) -> bool:
        meter = score.meters[0]
        return (
            tune.plan is not None
            and read_tonality(tune.key) == read_tonality(plan.key)
            and f"{meter.numerator}/{meter.denominator}" == plan.meter
            and abs(score.tempos[0].qpm / plan.qpm - 1) <= _NEAR
            and count_bars(score) == plan.bars
            and [track.program for track in score.tracks if len(track)] == [voice.program for voice in plan.voices]
            and all(a.parts == b.parts for a, b in zip(tune.plan.sections, plan.sections, strict=True))
        )

    return Wanted("a whole plan", (), delivers, plan)


def _made_plan(dice: np.random.Generator) -> Plan:
    meter = ("4/4", "3/4", "6/8")[int(dice.integers(3))]
    families = families_for(0, meter)
    return plan_tune(
        PlanRequest(
            title="Asked for",
            key=_KEYS[int(dice.integers(len(_KEYS)))],
            meter=meter,
            qpm=float(dice.integers(56, 140)),
            bars=int(dice.choice([16, 20, 24])),
            programs=_PIANO_TRIO,
            families=(families[int(dice.integers(len(families)))],),
            seed=int(dice.integers(2**31)),
        )
    )


PARTS: dict[str, Callable[[np.random.Generator], Wanted]] = {
    "key": asked_key,
    "tempo": asked_tempo,
    "bars": asked_bars,
    "voices": asked_voices,
    "figure": asked_figure,
    "dynamics": asked_dynamics,
    "plan": asked_plan,
}


def counted(
    composer: Composer, seen: Sequence[ComposeRequest], name: str, tries: int, loop: LoopSettings
) -> tuple[int, int, Counter[str]]:
    """How many of `tries` tunes deliver, in how many rows no wish is named as unmet, and what was asked where not."""
    dice = np.random.Generator(np.random.Philox([len(name), *name.encode()]))
    wanted = [PARTS[name](dice) for _ in range(tries)]
    requests = []
    for number, one in enumerate(wanted):
        request = seen[number % len(seen)]
        seed = picture_seed(number, f"{name} {request.image_id}")
        requests.append(replace(request, seed=seed, constraints=one.constraints, plan=one.plan))
    delivered, met, missed = 0, 0, Counter[str]()
    for at in range(0, tries, _AT_ONCE):
        for one, tune in zip(
            wanted[at : at + _AT_ONCE], compose_batch(composer, requests[at : at + _AT_ONCE], loop), strict=True
        ):
            if isinstance(tune, Exception):
                missed[f"{one.words}: {type(tune).__name__} {tune}"[:90]] += 1
                continue
            met += not tune.unmet
            if one.delivers(tune, abc_to_score(tune.draft.abc)):
                delivered += 1
            else:
                missed[one.words] += 1
    return delivered, met, missed


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, default=Path("build/demo/data/pictures"))
    parser.add_argument("--composer", default="nano")
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=1)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args(arguments)
    composer = registry.load_composer(options.composer)
    loop = LoopSettings(candidates=options.candidates)
    seen = []
    for path in sorted(path for path in options.pictures.iterdir() if path.is_file()):
        image = open_picture(path.read_bytes()).image
        (description,) = composer.look([image])
        seen.append(ComposeRequest(path.name, image, description, (), 0))
    print(
        f"| asked for | delivered of {options.tries} | plans that name no wish as unmet | missed |\n|---|---|---|---|"
    )
    for name in options.parts:
        delivered, met, missed = counted(composer, seen, name, options.tries, loop)
        told = "; ".join(f"{words} ({count})" for words, count in missed.most_common(4))
        print(f"| {name} | {delivered} | {met} | {told} |", flush=True)


if __name__ == "__main__":
    main()
