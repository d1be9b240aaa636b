"""What is decided before the search begins: key, meter, tempo, length, instruments.

What suits the scene (`suiting_music`) gives tempo, mode, meter, instruments and figures; key, length and whatever it
leaves open are drawn by a seed, so that pictures of one kind don't get one plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from image2music.composers.nano.sketch import TICKS, bar_ticks
from image2music.composers.suiting import Character, Ensemble, SuitingMusic, blends, suiting_music
from image2music.images.scene import Scene
from image2music.music.planning.constraints import PlanConstraints, apply_to_request
from image2music.music.planning.lasting import bars_lasting
from image2music.music.planning.planner import PlanRequest
from image2music.music.planning.vocabulary import DRUM_KIT

_T = TypeVar("_T")
_SECONDS: dict[Character, float] = {
    "calm": 60.0, "flowing": 56.0, "playful": 46.0, "grand": 60.0, "dark": 58.0, "driving": 46.0,
}  # fmt: skip
"""How long a tune lasts that nobody asked a length for, before it is drawn a sixth longer or shorter."""
_FEWEST_BARS, _MOST_BARS = 18, 32
_MAJOR_TONICS, _MINOR_TONICS = ("C", "D", "Eb", "F", "G", "A", "Bb"), ("A", "B", "C", "D", "E", "F#", "G")
_DORIAN_SHARE = 0.25
_ENSEMBLES = (0.2, 0.17, 0.15, 0.12, 0.1, 0.1, 0.08, 0.08)
"""Chances of what suits, best first."""
_LEEWAY = 3
"""Quarter notes a minute by which tempi of like pictures differ."""
_LEADS: dict[int, tuple[int, ...]] = {
    48: (40, 40, 41, 48),
    45: (45,),
    25: (25,),
    0: (0, 1),
    4: (4, 5),
    24: (24, 24, 25),
}
_BELOW: dict[int, tuple[int, ...]] = {
    48: (48, 48, 49, 50), 0: (0, 0, 1), 4: (4, 5), 24: (24, 25), 89: (88, 89, 90, 92, 94, 95), 91: (91, 52),
    33: (33, 35), 38: (38, 39),    32: (32, 43), 52: (52, 53),
}  # fmt: skip
"""What may stand for an instrument in the melody and below it: its near relations."""
_INNER = {48: (41, 42, 48)}
_SOLO_STRINGS, _PLUGGED = frozenset({40, 41, 42}), frozenset({4, 18, 27, 29, 33, 38, 81, 89, 91, DRUM_KIT})
"""Who is no match for whom: a string player by himself, and what comes out of loudspeakers, or drums."""


def plan_request(
    scene: Scene, seed: int, constraints: Sequence[PlanConstraints] = (), title: str = ""
) -> tuple[PlanRequest, SuitingMusic]:
    """Return what a plan for a scene is made from, and the music that suits it.

    Of `constraints` the first one counts where two contradict. What they say of the mood is heard as if the scene felt
    so; all else overrides what suits the scene.
    """
    felt = _as_wished(scene, constraints)
    music = suiting_music(felt)
    rng = np.random.Generator(np.random.Philox([seed, 3]))
    ensemble = _drawn(music.ensembles, _ENSEMBLES, rng)
    meter = _drawn([name for name, _ in music.meter_chances], [chance for _, chance in music.meter_chances], rng)
    qpm = float(min(max(music.qpm + int(rng.integers(-_LEEWAY, _LEEWAY + 1)), music.slowest), music.fastest))
    seconds = _SECONDS[music.character] * (0.85 + 0.3 * float(rng.random()))
    request = PlanRequest(
        title=title,
        idea=_idea(music, ensemble),
        key=_key(music, rng),
        meter=meter,
        qpm=qpm,
        bars=_bars_in(seconds, qpm, meter),
        programs=_band(ensemble, music.unsuitable, rng),
        valence=felt.valence or 0.0,
        arousal=0.4 if felt.arousal is None else felt.arousal,
        picture_parts=_picture_parts(scene),
        seed=seed,
        drums=DRUM_KIT in ensemble.programs,
        tempo_moves=all(wanted.qpm is None for wanted in constraints),
    )
    for wanted in reversed(constraints):
        request = apply_to_request(request, wanted)
    return _timed(request, music, constraints), music


def _timed(request: PlanRequest, music: SuitingMusic, constraints: Sequence[PlanConstraints]) -> PlanRequest:
    """Give a request that is to last some time the bars and the tempo for it, in another meter if need be.

    The tempo stays within what suits the scene, or what was wished for, where any number of bars can do it.
    """
    if request.length_s is None:
        return request
    tempos = next((wanted.qpm for wanted in constraints if wanted.qpm), (music.slowest, music.fastest))
    bars = next((wanted.bars for wanted in constraints if wanted.bars), None)
    meters = [request.meter]
    if not any(wanted.meters for wanted in constraints):
        meters += [name for name, _ in music.meter_chances if name != request.meter]
    meter, count, qpm = bars_lasting(request.length_s, meters, request.qpm, tempos, bars, loop=request.loop)
    return replace(request, meter=meter, bars=count, qpm=qpm)


def _bars_in(seconds: float, qpm: float, meter: str) -> int:
    """Return the bars that last about so long, within what is usual."""
    bars = seconds * qpm / 60 / (bar_ticks(meter) / TICKS)
    return min(max(round(bars), _FEWEST_BARS), _MOST_BARS)


def _as_wished(scene: Scene, constraints: Sequence[PlanConstraints]) -> Scene:
    for wanted in reversed(constraints):
        for name in ("valence", "arousal"):
            allowed, value = getattr(wanted, name), getattr(scene, name)
            if allowed is not None and (value is None or not allowed[0] <= value <= allowed[1]):
                scene = replace(scene, **{name: round((allowed[0] + allowed[1]) / 2, 4)})
    return scene


def _drawn(options: Sequence[_T], chances: Sequence[float], rng: np.random.Generator) -> _T:
    shares = np.array(chances[: len(options)]).cumsum()
    return options[min(int(np.searchsorted(shares, rng.random() * shares[-1], side="right")), len(shares) - 1)]


def _key(music: SuitingMusic, rng: np.random.Generator) -> str:
    """Draw a key; where either mode would do it is major, as most pictures are neither dark nor sad."""
    minor = music.mode == "minor"
    tonics = _MINOR_TONICS if minor else _MAJOR_TONICS
    tonic = tonics[int(rng.integers(len(tonics)))]
    return tonic + ("" if not minor else "dor" if rng.random() < _DORIAN_SHARE else "m")


def _band(ensemble: Ensemble, unsuitable: frozenset[int], rng: np.random.Generator) -> tuple[int, ...]:
    """Return the programs of an ensemble, or near relations of them that blend as well, each once."""
    programs = [program for program in ensemble.programs if program != DRUM_KIT]
    band: list[int] = []
    for place, program in enumerate(programs):
        table = _LEADS if place == 0 else _BELOW if place == len(programs) - 1 else _BELOW | _INNER
        others = [one for one in ensemble.programs if one != program]
        options = [one for one in table.get(program, (program,)) if one not in unsuitable and one not in band]
        plugged = program == 48 and not _PLUGGED.isdisjoint(others)
        options = [one for one in options if blends((one, *others)) and not (plugged and one in _SOLO_STRINGS)]
        band.append(options[int(rng.integers(len(options)))] if options else program)
    return tuple(dict.fromkeys(band))


_LONG_PATH = 3
"""Places from which on the eye's path alone gives a form its parts."""


def _picture_parts(scene: Scene) -> tuple[str, ...]:
    """Return what the sections stand for: the eye's way through the picture, then its layers, else the subject."""
    layers = (scene.far, scene.middle, scene.focal_point, scene.near)
    seen = scene.eye_path if len(scene.eye_path) >= _LONG_PATH else (*scene.eye_path, *layers)
    parts = tuple(dict.fromkeys(part for part in seen if part))
    return parts or ((scene.subject,) if scene.subject else ())


def _idea(music: SuitingMusic, ensemble: Ensemble) -> str:
    return "; ".join((*music.reasons[:1], ensemble.reason))
