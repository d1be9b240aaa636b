"""How an arranged tune sounds: the line's own worth, the critic as a floor, and the faults that are heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from image2music.abc.playback import abc_to_score
from image2music.abc.writer.parts import lines_to_abc
from image2music.music.critic.model import criticise
from image2music.music.lines import Line
from image2music.music.listen.listener import listen
from image2music.music.planning.checks import check_plan
from image2music.music.planning.plan import Plan

_ENOUGH, _TYPICAL_ENOUGH = 1.5, 1.2
"""The critic's scores above which more says nothing: it is a floor, not a target."""

_DEVICE, _CLIMAX = 0.4, 0.2
"""What it is worth that the device came about, and that one note stands above all."""


@dataclass(frozen=True)
class Judged:
    """`total` is higher for what is better; differences of .3 mean something. `plan` is the plan after its checks."""

    total: float
    plan: Plan
    critic: float
    faults: float


def judge(worth: float, plan: Plan, lines: Sequence[Line]) -> Judged:
    """Judge an arranged tune by its line's worth, the critic and its faults a bar."""
    checked = check_plan(plan)
    score = abc_to_score(lines_to_abc("", plan.key, plan.meter, lines))
    judgement = criticise(score)
    sheet = listen(score, checked.plan)
    total = worth - 2.0 * len(sheet.faults) / plan.bars - 10.0 * bool(checked.faults)
    total += _DEVICE * (plan.device is not None) + _CLIMAX * (plan.climax is not None)
    if judgement is None:
        return Judged(round(total - 10.0, 6), checked.plan, -10.0, 1.0)
    total += 0.35 * min(judgement.score, _ENOUGH) + 0.9 * min(judgement.typicality, _TYPICAL_ENOUGH)
    return Judged(round(total, 4), checked.plan, judgement.score, len(sheet.faults) / plan.bars)
