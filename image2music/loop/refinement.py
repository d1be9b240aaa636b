"""What refinement aims at, and when a refined tune takes the place of the one that stands.

The metrics of a tune should lie in the range of its references' metrics, as the paper asks; what lies outside is told
to the composer in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from image2music.composers.album_part import missing_constraints
from image2music.loop.examine import ExaminedTune
from image2music.music.metrics import Metrics
from image2music.music.similarity import LONGEST_ALLOWED
from image2music.settings import AcceptRule
from image2music.types import AlbumPart, Draft, Reference

Targets = dict[str, tuple[float, float] | None]
"""(low, high) of each metric; None where no reference defines it."""

_MARGIN = 0.1
"""Share of the larger bound that is let through beyond the references' range: few references span little."""
_SHARES = ("scale_consistency", "empty_beat_rate")
_SHARE_MARGIN = 0.05


def targets_of(references: Sequence[Reference]) -> Targets:
    """Return the range of each metric over the references, widened by a tenth."""
    return targets_over([reference.metrics for reference in references])


def targets_over(metrics: Sequence[Metrics]) -> Targets:
    """As `targets_of`, from the references' metrics alone."""
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


def metrics_distance(metrics: Metrics, targets: Targets) -> float:
    """Return how far the metrics lie outside their targets: the sum of the gaps, each as a share of the high end.

    0 means that every metric lies within. A metric that is undefined on either side adds nothing.
    """
    return sum(_gap(value, targets.get(name)) for name, value in asdict(metrics).items())


def _gap(value: float | None, target: tuple[float, float] | None) -> float:
    if value is None or target is None:
        return 0.0
    low, high = target
    return max(low - value, value - high, 0.0) / max(high, 1e-9)


def complaints(draft: Draft, targets: Targets) -> tuple[str, ...]:
    """Say in plain English what is to change about a valid tune; empty if nothing is."""
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
    """Return what the rule `better` compares, smaller is better: notes copied beyond the bound, `metrics_distance`."""
    assert draft.metrics is not None
    return max(0, draft.longest_copy - LONGEST_ALLOWED), metrics_distance(draft.metrics, targets)


def accepts(
    candidate: ExaminedTune, standing: ExaminedTune, targets: Targets, accept: AcceptRule, part: AlbumPart | None = None
) -> tuple[bool, str]:
    """Decide whether a refined tune takes the place of the one that stands, and say why.

    An invalid one never does. By `always` (the paper's rule) every valid one does; by `better` it must copy less
    beyond what is allowed, or copy no more and lie nearer to the targets (`rank`). In an album it must first of all
    leave out no more of what the album asked for.
    """
    if candidate.score is None:
        return False, candidate.draft.validity
    if accept == "always":
        return True, "always"
    if part is not None and standing.score is not None:
        now, before = (len(missing_constraints(score, part)) for score in (candidate.score, standing.score))
        if now != before:
            return now < before, "keeps_more_of_the_album" if now < before else "keeps_less_of_the_album"
    better = rank(candidate.draft, targets) < rank(standing.draft, targets)
    return better, "nearer_to_targets" if better else "no_nearer_to_targets"
