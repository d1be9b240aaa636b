"""References on trial: which of the retrieved tunes suit the scene, and what each may lend.

Everything here depends on columns of the row alone (similarities, the tune, the scene), so that a refresh finds what a
fresh run would without opening a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from image2music.abc.playback import abc_to_score
from image2music.errors import AbcError
from image2music.images.scene import Scene
from image2music.music.instruments import instrument_of
from image2music.music.score import Score
from image2music.music.theory import DEFAULT_QPM, key_name, tempo_word
from image2music.types import Reference

MOST = 3
"""References that a composer is shown."""

LEAST_SIMILARITY = 0.15
"""Cosine that one of the two searches must reach; below it the nearest tune of an index is no nearer than any other."""

CALM_QPM, WILD_QPM = 66.0, 132.0
"""Tempi that suit an arousal of 0 and of 1; between them the logarithm of the tempo is linear in the arousal."""
WIDEST_RATIO = 1.5
"""A reference may be so many times quicker or slower than the tempo that suits."""
CLEARLY = 0.4
"""From this valence on (either way) the mode of a reference must be that of the mood."""

_DIGITS = 3


@dataclass(frozen=True)
class _Manner:
    """What a reference sounds like: tempo, mode and what it may lend, in words."""

    qpm: float
    minor: bool | None
    lends: str


def on_trial(found: Sequence[Reference], scene: Scene | None) -> tuple[Reference, ...]:
    """Return the at most `MOST` references that are near enough and suit the scene, each with what it contributes.

    None at all is a good answer: a tune that does not suit a picture misleads whoever writes for it.
    """
    suitable = (_suiting(reference, scene) for reference in found if _near_enough(reference))
    return tuple([reference for reference in suitable if reference is not None][:MOST])


def suiting_qpm(arousal: float) -> float:
    """Return the tempo (quarter notes a minute) in the middle of what suits an arousal of 0 to 1."""
    return CALM_QPM * (WILD_QPM / CALM_QPM) ** arousal


def _near_enough(reference: Reference) -> bool:
    similarities = (reference.similarity_text, reference.similarity_image)
    return any(one is not None and round(one, _DIGITS) >= LEAST_SIMILARITY for one in similarities)


def _suiting(reference: Reference, scene: Scene | None) -> Reference | None:
    manner = _manner(reference.abc)
    if manner is None:
        return None
    if scene is not None and scene.arousal is not None:
        distance = abs(math.log(manner.qpm / suiting_qpm(scene.arousal)))
        if round(distance, _DIGITS) > round(math.log(WIDEST_RATIO), _DIGITS):
            return None
    if scene is not None and scene.valence is not None and manner.minor is not None:
        valence = round(scene.valence, _DIGITS)
        if abs(valence) >= CLEARLY and manner.minor != (valence < 0):
            return None
    return replace(reference, contributes=manner.lends)


@lru_cache(maxsize=4096)
def _manner(abc: str) -> _Manner | None:
    """Return how a reference goes; None where it cannot be played. Cached: one tune is a reference of many pictures."""
    try:
        score = abc_to_score(abc)
    except AbcError:
        return None
    if not score.n_notes:
        return None
    qpm = score.tempos[0].qpm if score.tempos else DEFAULT_QPM
    key = score.keys[0] if score.keys else None
    return _Manner(qpm, None if key is None else key.minor, _lends(score, qpm))


def _lends(score: Score, qpm: float) -> str:
    meter = score.meters[0] if score.meters else None
    rhythm = f"rhythm: {f'{meter.numerator}/{meter.denominator}, ' if meter else ''}{tempo_word(qpm)}"
    key = f"harmony: {key_name(score.keys[0].sharps, score.keys[0].minor)}" if score.keys else ""
    programs = dict.fromkeys(track.program for track in score.tracks if len(track) and not track.is_drum)
    names = [instrument_of(program).name for program in programs]
    if any(track.is_drum and len(track) for track in score.tracks):
        names.append("drums")
    return "; ".join(part for part in (rhythm, key, f"instruments: {', '.join(names)}" if names else "") if part)
