"""Agreement of a tune with its picture: by the words of the description, and by an embedder.

A description seldom names a key. Where it does not, its mood words decide: pleasant moods ask for major, unpleasant
ones for minor, quiet moods for a slow tempo and excited ones for a fast one. The links and words are this project's
choice, after the circumplex of Russell (1980); where the words lean to no side nothing is measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL.Image import Image

from image2music.embedders.base import Embedder, Vectors
from image2music.images.features import MOODS
from image2music.music.grid import detect_key, pitch_class_weights
from image2music.music.score import Score
from image2music.music.theory import DEFAULT_QPM, FAST_FROM_QPM, SLOW_BELOW_QPM, Key, fifths_of, key_name, tempo_word

_LEAN = 0.25
_QUIET, _EXCITED = 0.4, 0.6
_NAMED_TEMPO_TOLERANCE = 0.1

# (valence -1 to 1, arousal 0 to 1)
_WORDS: dict[str, tuple[float, float]] = {
    **MOODS,
    "happy": (0.7, 0.6), "sad": (-0.6, 0.3), "dark": (-0.5, 0.45), "gloomy": (-0.6, 0.3), "tender": (0.4, 0.3),
    "peaceful": (0.6, 0.2), "tranquil": (0.6, 0.2), "quiet": (0.1, 0.2), "still": (0.05, 0.2), "playful": (0.6, 0.7),
    "mysterious": (-0.3, 0.45), "nostalgic": (-0.1, 0.3), "tense": (-0.5, 0.75), "romantic": (0.5, 0.4),
    "energetic": (0.4, 0.85), "vibrant": (0.5, 0.75), "hopeful": (0.5, 0.5), "dramatic": (-0.3, 0.75),
    "wistful": (-0.3, 0.3), "solemn": (-0.4, 0.3), "joyous": (0.7, 0.7), "exciting": (0.5, 0.85), "angry": (-0.7, 0.85),
    "lonely": (-0.6, 0.3), "dreamy": (0.2, 0.25), "relaxing": (0.5, 0.2), "frightening": (-0.7, 0.8),
    "bright": (0.4, 0.55), "festive": (0.6, 0.8), "bleak": (-0.6, 0.35), "eerie": (-0.5, 0.5), "warm": (0.3, 0.4),
}  # fmt: skip
_WORD = re.compile(r"\b(" + "|".join(_WORDS) + r")\b", re.IGNORECASE)
_MOOD_SENTENCE = re.compile(r"[^.]*\bmood\b[^.]*", re.IGNORECASE)
_KEY = re.compile(r"\bin (?:the key of )?([A-G])(?:[ -]?(sharp|flat)|([#♯b♭]))? (major|minor)\b")
_TEMPO = re.compile(r"\b(\d{2,3})\s*(?:bpm|beats per minute|quarter notes)", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """What a description asks of a tune; None where it asks nothing.

    `minor` and `fast` follow from a named key or tempo, or from mood words; `sharps` (of the key signature, flats
    negative) and `qpm` (quarter notes a minute) are set only where a key or a tempo is named.
    """

    minor: bool | None = None
    sharps: int | None = None
    fast: bool | None = None
    qpm: float | None = None


def asked_by(description: str) -> Asked:
    """Return the key and tempo that a description names or that its mood words ask for.

    A sentence with the word "mood" counts alone where it holds a mood word.
    """
    valence, arousal = _mood(description)
    minor = None if abs(valence) < _LEAN else valence < 0
    fast = None if _QUIET < arousal < _EXCITED else arousal >= _EXCITED
    key, tempo = _KEY.search(description), _TEMPO.search(description)
    sharps = None
    if key:
        minor = key[4] == "minor"
        shift = {"sharp": 7, "#": 7, "♯": 7, "flat": -7, "b": -7, "♭": -7}.get(key[2] or key[3], 0)
        sharps = fifths_of(key[1]) + shift - (3 if minor else 0)
    return Asked(minor, sharps, fast, float(tempo[1]) if tempo else None)


def _mood(text: str) -> tuple[float, float]:
    """Return the mean (valence -1 to 1, arousal 0 to 1) of the mood words; (0, 0.5) where there is none."""
    sentence = _MOOD_SENTENCE.search(text)
    found = (_WORD.findall(sentence[0]) if sentence else []) or _WORD.findall(text)
    places = [_WORDS[word.lower()] for word in found]
    if not places:
        return 0.0, 0.5
    valence, arousal = np.mean(places, axis=0).tolist()
    return valence, arousal


def key_match(score: Score, asked: Asked) -> float | None:
    """Return 1 where the heard key has the mode (and the signature, where named) that was asked for, else 0."""
    if asked.minor is None:
        return None
    heard = heard_key(score)
    same_signature = asked.sharps is None or (heard.sharps - asked.sharps) % 12 == 0
    return float(heard.minor == asked.minor and same_signature)


def tempo_match(score: Score, asked: Asked) -> float | None:
    """Return 1 for the tempo that was asked for, 0.5 for a medium one (80 to 120), 0 for its opposite.

    A named tempo gives 1 within a tenth of it, else 0.
    """
    qpm = score.tempos[0].qpm if score.tempos else DEFAULT_QPM
    if asked.qpm is not None:
        return float(abs(qpm / asked.qpm - 1) <= _NAMED_TEMPO_TOLERANCE)
    if asked.fast is None:
        return None
    if SLOW_BELOW_QPM <= qpm < FAST_FROM_QPM:
        return 0.5
    return float((qpm >= FAST_FROM_QPM) == asked.fast)


def heard_key(score: Score) -> Key:
    """The key as the notes say, whatever K: says."""
    pitched = [track for track in score.tracks if len(track) and not track.is_drum]
    weights = np.zeros(12)
    for track in pitched:
        weights += pitch_class_weights(track.pitches, track.durations / score.ticks_per_quarter)
    return detect_key(weights)


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
    tempo, key = tempo_word(qpm), heard_key(score)
    meter = f"{score.meters[0].numerator}/{score.meters[0].denominator}" if score.meters else "4/4"
    voices = sum(1 for track in score.tracks if len(track))
    texture = "a single melody" if voices == 1 else f"{voices} voices"
    name = key_name(key.sharps, key.minor).removesuffix("m")
    return (
        f"A {tempo} instrumental piece with a {_MOODS[key.minor, tempo]} mood, in {name} "
        f"{'minor' if key.minor else 'major'} and {meter} time at {round(qpm)} beats per minute, for {texture}."
    )


def image_tune_similarity(embedder: Embedder, images: Sequence[Image], scores: Sequence[Score]) -> list[float | None]:
    """Return the cosine of each tune's sentence with its own picture, less its mean cosine with all pictures.

    A tune that fits every picture equally gets 0. None for fewer than two pictures.
    """
    if len(images) < 2:
        return [None] * len(images)
    seen = embedder.embed_images(images)
    heard = embedder.embed_texts([words_of(score) for score in scores])
    return own_minus_mean(seen, heard)


def own_minus_mean(seen: Vectors, heard: Vectors) -> list[float | None]:
    """Return the cosine of each row with its own picture less its mean over all pictures; float32[n, dim] each."""
    own = np.einsum("nd,nd->n", seen, heard, dtype=np.float64)
    everywhere = heard.astype(np.float64) @ seen.mean(axis=0, dtype=np.float64)
    return [float(value) for value in own - everywhere]
