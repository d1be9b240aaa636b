"""nano's planner: from a scene to a plan, and from a drawn melody to the plan that it fills.

What suits the scene (`suiting_music`) gives tempo, mode, meter, instruments and figures; form, key and whatever it
leaves open are drawn by a seed, so that pictures of one kind don't get one plan. Nothing here knows the decoder: a
request is complete before a melody is there, and takes a melody's own key, harmony and peak over afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from image2music.composers.suiting import Character, Ensemble, SuitingMusic, suiting_music
from image2music.images.scene import Scene
from image2music.music.lines import Bar
from image2music.music.planning.constraints import PlanConstraints, apply_to_request
from image2music.music.planning.plan import Device, Plan
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.vocabulary import DRUM_KIT

_T = TypeVar("_T")
_FORMS: dict[Character, tuple[tuple[int, ...], ...]] = {
    "calm": ((4, 4, 4, 4), (4, 4, 5, 3), (4, 5, 4, 3)),
    "flowing": ((4, 4, 4, 4), (4, 4, 4, 5, 3), (4, 5, 4, 4)),
    "playful": ((4, 4, 4, 4), (4, 4, 4, 4, 4), (4, 4, 3, 5)),
    "grand": ((4, 4, 4, 4, 4), (4, 4, 5, 4, 3), (4, 4, 4, 4)),
    "dark": ((4, 4, 4, 4), (4, 5, 4, 3), (5, 4, 4, 3)),
    "driving": ((4, 4, 4, 4), (4, 4, 4, 4, 4), (4, 4, 4, 5, 3)),
}
"""Bars of the sections: opening, again or contrast, contrast, return with the peak, coda."""
_MAJOR_TONICS, _MINOR_TONICS = ("C", "D", "Eb", "F", "G", "A", "Bb"), ("A", "B", "C", "D", "E", "F#", "G")
_DORIAN_SHARE = 0.25
_ORDINARY_METERS = (0.5, 0.3, 0.2)
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
    form = _FORMS[music.character][int(rng.integers(len(_FORMS[music.character])))]
    request = PlanRequest(
        title=title,
        idea=_idea(music, ensemble),
        key=_key(music, rng),
        meter=_drawn(music.meters, _ORDINARY_METERS, rng),
        qpm=float(min(max(music.qpm + int(rng.integers(-_LEEWAY, _LEEWAY + 1)), music.slowest), music.fastest)),
        bars=sum(form),
        programs=_band(ensemble, music.unsuitable, rng),
        sections=tuple(int(end) for end in np.cumsum(form)),
        valence=felt.valence or 0.0,
        arousal=0.4 if felt.arousal is None else felt.arousal,
        families=music.families,
        picture_parts=_picture_parts(scene),
        seed=seed,
        drums=DRUM_KIT in ensemble.programs,
        tempo_moves=all(wanted.qpm is None for wanted in constraints),
    )
    for wanted in reversed(constraints):
        request = apply_to_request(request, wanted)
    return (request if request.bars == sum(form) else replace(request, sections=())), music


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
    """Return the programs of an ensemble, or near relations of them, each once."""
    programs = [program for program in ensemble.programs if program != DRUM_KIT]
    band: list[int] = []
    for place, program in enumerate(programs):
        table = _LEADS if place == 0 else _BELOW if place == len(programs) - 1 else _BELOW | _INNER
        options = [one for one in table.get(program, (program,)) if one not in unsuitable and one not in band]
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


_EARLIEST_PEAK = 0.6


def with_melody(
    request: PlanRequest, key: str, meter: str, bars: Sequence[Bar], harmony: tuple[str, ...], qpm: float
) -> PlanRequest:
    """Return a request whose plan is that of a melody as it was written: its key, chords, range and highest note."""
    sounding = [(pitch, number) for number, bar in enumerate(bars, 1) for event in bar for pitch in event.pitches]
    peak, peak_bar = max(sounding, key=lambda note: (note[0], note[1]))
    return replace(
        request,
        key=key,
        meter=meter,
        qpm=qpm,
        bars=len(bars),
        sections=request.sections if request.bars == len(bars) else (),
        harmony=harmony,
        melody_range=(min(pitch for pitch, _ in sounding), peak),
        climax=(peak_bar, peak),
    )


def plan_scene(request: PlanRequest) -> Plan:
    """Plan a tune, with the device that its form carries. A peak that comes too early is no climax: none is told then.

    Raises:
        PlanError: `bad_request`, as `plan_tune`.
    """
    plan = plan_tune(request)
    plan = replace(plan, device=_device_of(plan))
    early = request.climax is not None and request.climax[0] <= plan.bars * _EARLIEST_PEAK
    return replace(plan, climax=None) if early else plan


def _device_of(plan: Plan) -> Device | None:
    """Name what the form builds on: a second voice that comes nearer the tune, or a stop before its fullest bar."""
    lines = ("counter", "answer", "parallel")
    second = [
        (section, voice.id) for section in plan.sections for voice in plan.voices if section.role_of(voice.id) in lines
    ]
    if second and plan.sections[0].role_of(second[0][1]) == "rest":
        section, voice = next(((s, v) for s, v in second if s.role_of(v) == "parallel"), second[-1])
        what = "a second voice waits, answers the tune, and " + (
            "goes along with it" if section.role_of(voice) == "parallel" else "goes against it"
        )
        return Device(what, section.first, (plan.melody_at(section.first), voice))
    if plan.silences:
        stop = plan.silences[0]
        if stop.last < plan.bars:
            voices = tuple(dict.fromkeys((plan.melody_at(stop.last + 1), stop.voice)))
            return Device("the accompaniment falls silent before it is fullest", stop.last + 1, voices)
    return None
