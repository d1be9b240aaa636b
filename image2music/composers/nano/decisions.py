"""What in the picture decided the plan: its decisions once more without each part of the picture.

No network looks here. Tempo, mode, instruments, device and sections are each asked how much they change when a block of
the picture is left out (`images.leaving_out`): the map is that change, block by block, spread over the cells and made
to add up to 1. It tells what the rules saw, as attention tells where a network looked; the two are kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from image2music.composers.base import ComposeRequest
from image2music.composers.nano.gestures import device_called, gestures_of
from image2music.composers.suiting import instrument_called, leanings_of
from image2music.images.features import CELLS
from image2music.images.leaving_out import cell_means
from image2music.images.scene import Scene
from image2music.music.planning.plan import Plan
from image2music.types import AttentionMap

Decision = Literal["tempo", "mode", "instruments", "device", "sections"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
"""What may be explained. The key's tonic and the meter are drawn by lot from what suits: no part of a picture decides
them. mode: how far the scene leans to major or minor. device, sections: see `Plan`."""
_LEAST = 1e-3
"""A decision that changes less by any block does not hang on the picture's parts."""
_DIGITS = 4


def decided_by_picture(request: ComposeRequest) -> frozenset[Decision]:
    """Return what nobody but the picture decided: no person's plan, no album, no wish."""
    if request.plan is not None:
        return frozenset()
    open_to: set[Decision] = set(DECISIONS)
    if request.album is not None:
        open_to -= {"tempo", "mode", "instruments"}
    for wanted in request.constraints:
        feeling = wanted.valence is not None or wanted.arousal is not None
        if wanted.qpm is not None or feeling:
            open_to.discard("tempo")
        if wanted.key is not None or wanted.modes or feeling:
            open_to.discard("mode")
        if wanted.players or wanted.suggested:
            open_to.discard("instruments")
    return frozenset(open_to)


def decision_maps(
    scene: Scene, without: Sequence[Scene], plan: Plan, asked: frozenset[Decision] = frozenset(DECISIONS)
) -> tuple[AttentionMap, ...]:
    """Return a map of kind `plan` for each decision that hangs on parts of the picture.

    `scene` is the whole one, `without` those of `scenes_without`, block by block (none: no maps).
    """
    if not without:
        return ()
    changes: Mapping[Decision, Callable[[Scene], float]] = {
        "tempo": _tempo_change(scene),
        "mode": _mode_change(scene),
        "instruments": _instruments_change(scene, plan),
        "device": _device_change(scene, plan),
        "sections": _sections_change(scene, plan),
    }
    even = np.full((CELLS, CELLS), 1 / CELLS**2, np.float32)
    maps = []
    for decision in DECISIONS:
        if decision not in asked:
            continue
        changed = [round(changes[decision](other), _DIGITS) for other in without]
        if max(changed) >= _LEAST:
            weights = cell_means(changed)
            shares = (weights / weights.sum()).astype(np.float32)
            maps.append(AttentionMap(f"plan: {decision}", "plan", decision, shares, even))
    return tuple(maps)


def _tempo_change(scene: Scene) -> Callable[[Scene], float]:
    own = leanings_of(scene).qpm
    return lambda other: abs(leanings_of(other).qpm - own)


def _mode_change(scene: Scene) -> Callable[[Scene], float]:
    own = leanings_of(scene).bright
    return lambda other: abs(leanings_of(other).bright - own)


def _instruments_change(scene: Scene, plan: Plan) -> Callable[[Scene], float]:
    """Compare how much the plan's instruments are asked for."""
    played = {instrument_called(voice.program, voice.name) for voice in plan.voices}

    def votes(of: Scene) -> dict[str, float]:
        found: dict[str, float] = {}
        for program, (vote, _) in leanings_of(of).instruments.items():
            if (name := instrument_called(program)) in played:
                found[name] = found.get(name, 0.0) + vote
        return found

    own = votes(scene)

    def change(other: Scene) -> float:
        there = votes(other)
        return sum(abs(own.get(name, 0.0) - there.get(name, 0.0)) for name in sorted({*own, *there}))

    return change


def _device_change(scene: Scene, plan: Plan) -> Callable[[Scene], float]:
    device = None if plan.device is None else device_called(plan.device.what)
    if device is None:
        return lambda other: 0.0

    def weight(of: Scene) -> float:
        return next(weight for name, weight, _ in gestures_of(of).devices if name == device)

    own = weight(scene)
    return lambda other: abs(weight(other) - own)


def _sections_change(scene: Scene, plan: Plan) -> Callable[[Scene], float]:
    """Count the parts of the picture that sections stand for and that would not be named."""
    parts = {section.picture_part for section in plan.sections if section.picture_part}

    def named(of: Scene) -> set[str]:
        return parts & {*of.eye_path, of.far, of.middle, of.near, of.focal_point, of.subject}

    own = named(scene)
    return lambda other: float(len(own - named(other)))
