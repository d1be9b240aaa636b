"""Whether a tune goes with its own picture rather than with the others, in the eyes of an embedder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from image2music.embedders.base import Embedder, Vectors
from image2music.notation.keys import Key
from image2music.notation.score import Score
from image2music.notation.spelling import key_name
from image2music.notation.tempos import DEFAULT_QPM
from image2music.scoring.agreement import heard_key

_SLOW_BELOW_QPM, _FAST_FROM_QPM = 80.0, 120.0
_MOODS = {
    (False, "slow"): "calm, warm and peaceful",
    (False, "moderate"): "gentle and cheerful",
    (False, "fast"): "happy, bright and lively",
    (True, "slow"): "sad, dark and melancholic",
    (True, "moderate"): "serious and wistful",
    (True, "fast"): "dramatic, tense and stormy",
}


def words_of(score: Score) -> str:
    """A tune in one sentence of a caption's kind, from what is heard: tempo, key, mood, texture."""
    qpm = score.tempos[0].qpm if score.tempos else DEFAULT_QPM
    tempo = "slow" if qpm < _SLOW_BELOW_QPM else "moderate" if qpm < _FAST_FROM_QPM else "fast"
    key: Key = heard_key(score)
    meter = f"{score.meters[0].numerator}/{score.meters[0].denominator}" if score.meters else "4/4"
    voices = sum(1 for track in score.tracks if len(track))
    texture = "a single melody" if voices == 1 else f"{voices} voices"
    name = key_name(*key).removesuffix("m")
    return (
        f"A {tempo} instrumental piece with a {_MOODS[key[1], tempo]} mood, in {name} {'minor' if key[1] else 'major'} "
        f"and {meter} time at {round(qpm)} beats per minute, for {texture}."
    )


def picture_music(embedder: Embedder, images: Sequence[Image], scores: Sequence[Score]) -> list[float | None]:
    """Cosine of each tune's words with its own picture, less its mean cosine with all pictures.

    A tune that goes with any picture alike gets 0. None for fewer than two pictures.
    """
    if len(images) < 2:
        return [None] * len(images)
    seen = embedder.embed_images(images)
    heard = embedder.embed_texts([words_of(score) for score in scores])
    return own_above_all(seen, heard)


def own_above_all(seen: Vectors, heard: Vectors) -> list[float | None]:
    """The same from vectors, float32[n, dim] each."""
    own = np.einsum("nd,nd->n", seen, heard, dtype=np.float64)
    everywhere = heard.astype(np.float64) @ seen.mean(axis=0, dtype=np.float64)
    return [float(value) for value in own - everywhere]
