"""Where a tune's metrics should lie: in the range of its references, as the paper asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from image2music.composers.base import Reference
from image2music.copying import LONGEST_ALLOWED
from image2music.notation.metrics import Metrics
from image2music.stages import Draft

Targets = dict[str, tuple[float, float] | None]

_MARGIN = 0.1
"""Share of the larger bound that is let through beyond the references' range: few references span little."""

_SHARES = ("scale_consistency", "empty_beat_rate")
_SHARE_MARGIN = 0.05


def targets_of(references: Sequence[Reference]) -> Targets:
    """(low, high) of each metric over the references, widened by a tenth; None where none of them defines it."""
    return targets_over([reference.metrics for reference in references])


def targets_over(metrics: Sequence[Metrics]) -> Targets:
    """The same, from the references' metrics alone."""
    rows = [asdict(one) for one in metrics]
    names = Metrics.__dataclass_fields__
    return {name: _interval(name, [row[name] for row in rows if row[name] is not None]) for name in names}


def _interval(name: str, values: Sequence[float]) -> tuple[float, float] | None:
    if not values:
        return None
    if name in _SHARES:
        return max(0.0, min(values) - _SHARE_MARGIN), min(1.0, max(values) + _SHARE_MARGIN)
    margin = _MARGIN * max(values)
    return max(0.0, min(values) - margin), max(values) + margin


def distance(metrics: Metrics, targets: Targets) -> float:
    """How far the metrics lie outside of their targets: sum of the gaps, each as a share of the target's high end.

    0 means that every metric lies within. A metric that is undefined on either side adds nothing.
    """
    return sum(_gap(value, targets.get(name)) for name, value in asdict(metrics).items())


def _gap(value: float | None, target: tuple[float, float] | None) -> float:
    if value is None or target is None:
        return 0.0
    low, high = target
    return max(low - value, value - high, 0.0) / max(high, 1e-9)


def complaints(draft: Draft, targets: Targets) -> tuple[str, ...]:
    """What is to change about a valid tune, in plain English; empty if nothing is."""
    assert draft.metrics is not None
    found = [
        f"{name} is {value:.3g}, the references lie between {target[0]:.3g} and {target[1]:.3g}"
        for name, value in asdict(draft.metrics).items()
        if (target := targets.get(name)) is not None and _gap(value, target) > 0
    ]
    if draft.longest_copy > LONGEST_ALLOWED:
        found.append(f"shares {draft.longest_copy} notes in a row with a reference: move away from it")
    return tuple(found)


def rank(draft: Draft, targets: Targets) -> tuple[int, float]:
    """What `--accept better` compares, smaller is better: notes copied beyond what is allowed, then `distance`."""
    assert draft.metrics is not None
    return max(0, draft.longest_copy - LONGEST_ALLOWED), distance(draft.metrics, targets)
