"""References that suit: what is looked for in the index, which tunes that are found suit the scene, what each may lend.

The query says what is seen and which music is wanted (`query_text`), in English, for captions say so of tunes. Of the
nearest tunes those come first that agree in caption, tempo, mode and mood. Everything depends on columns of the row
alone (embeddings, scene), so that a refresh finds what a fresh run would without opening a picture.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import median

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.borrowing import Borrowed, borrowed_from_abc, played_reference
from image2music.composers.suiting import SuitingMusic, suiting_music
from image2music.images.scene import Scene
from image2music.index.search import Background, Candidate, Candidates
from image2music.index.table import Pair, TuneIndex
from image2music.music.instruments import instrument_of
from image2music.music.score import Score
from image2music.music.theory import DEFAULT_QPM, key_name, tempo_word
from image2music.types import Reference

MOST = 3
"""References that a composer is shown."""

CANDIDATES = 64
"""Tunes that each of the two searches finds, to choose from."""

LEAST_ABOVE = 1.0
"""Standard deviations above the index's background that one of the two similarities must reach."""

FAR_ABOVE = 4.0
"""Standard deviations above the background from which a similarity cannot count for more."""

WIDEST_RATIO = 1.5
"""So many times quicker or slower than the tempo in the middle of what suits, a tune does not agree with it at all."""

LEEWAY = 1.05
"""A reference may lie outside of the tempi that suit by this factor."""

ENOUGH_MOODS = 2
"""Words of mood in common from which a tune's mood is that of the picture."""

_DIGITS = 3
_WORD = re.compile(r"[a-z]+")
_MINOR = re.compile(r"[A-G][b#]?\s*(m(?!aj|ix)|dor|phr|aeo|loc)", re.IGNORECASE)

Scores = NDArray[np.float64]


def recall(
    index: TuneIndex, pairs: Sequence[Pair], scenes: Sequence[Scene | None], most: int, *, exact: bool = False
) -> list[tuple[Reference, ...]]:
    """Return the references of each picture: at most `most` and never more than `MOST`, best first.

    `pairs` are the embeddings of `query_text` and of the picture. None at all is a good answer: a tune that does not
    suit misleads whoever writes for the picture. `exact` is for hundreds of pictures, and misses nothing.
    """
    found = index.candidates(pairs, CANDIDATES, exact=exact)
    chosen = [suitable(some, scene)[: min(most, MOST)] for some, scene in zip(found, scenes, strict=True)]
    return [tuple(filter(None, map(_lending, references))) for references in index.read(chosen)]


def query_text(description: str, scene: Scene | None, hint: str | None = None) -> str:
    """Return what is looked for: the picture as captions would name it, and the music that suits it.

    Without a scene it is the description. A catalogue's hint stands in front, as it does in the description already.
    """
    if scene is None:
        return description
    music = suiting_music(scene)
    mode = "" if music.mode == "either" else f" in a {music.mode} key"
    moods = " and ".join(music.moods[:ENOUGH_MOODS])
    players = [instrument_of(p).name.lower() for p in music.ensembles[0].programs if p < 128] if music.ensembles else []
    sound = f", played by {' and '.join(dict.fromkeys(players))}" if players else ""
    known = f"{hint.rstrip('.')}. " if hint else ""
    return f"{known}A {moods} piece at a {tempo_word(music.qpm)} tempo{mode}{sound}. {_seen(scene)}"


def _seen(scene: Scene) -> str:
    names = ", ".join(name for name, _ in scene.things[:_NAMED])
    parts = dict.fromkeys(part for part in (scene.subject, names, scene.place, scene.mood) if part)
    return f"It evokes {'; '.join(parts)}."


_NAMED = 3


def suitable(candidates: Candidates, scene: Scene | None) -> list[Candidate]:
    """Return the candidates that are near enough and suit the scene, best first, on a tie by similarity, then id."""
    found = candidates.found
    if not found:
        return []
    near, likeness = _likeness(candidates)
    scores, fits = likeness, near
    if scene is not None:
        music = suiting_music(scene)
        tempo, in_time = _tempo(found, music)
        mode, in_mode = _mode(found, music)
        scores, fits = likeness + tempo + mode + _mood(found, music), near & in_time & in_mode
    keys = [
        (-score, -(one.similarity_text or 0.0), one.tune_id)
        for score, one in zip(scores.round(_DIGITS), found, strict=True)
    ]
    return [found[at] for at in sorted(np.flatnonzero(fits).tolist(), key=lambda at: keys[at])]


def _likeness(candidates: Candidates) -> tuple[NDArray[np.bool_], Scores]:
    """Return which candidates stand out of the index's background, and how near each is, from 0 to 1.

    The picture's own similarities count as far as the nearest of them stands out by more than that of a picture which
    has nothing to do with the index would: the best of n normal numbers lies near sqrt(2 ln n).
    """
    text = _above([one.similarity_text for one in candidates.found], candidates.text)
    image = _above([one.similarity_image for one in candidates.found], candidates.image)
    by_chance = math.sqrt(2 * math.log(max(candidates.rows, 2)))
    weight = min(max(round(float(image.max()) - by_chance, _DIGITS), 0.0), 1.0) if candidates.image else 0.0
    nearest = text if not weight else np.maximum(text, image)
    near = nearest.round(_DIGITS) >= LEAST_ABOVE
    if candidates.text is None or candidates.image is None:
        near = np.ones(len(candidates.found), dtype=np.bool_)
    return near, (_share(text) + weight * _share(image)) / (1 + weight)


def _share(above: Scores) -> Scores:
    return np.clip(above / FAR_ABOVE, 0.0, 1.0)


def _above(similarities: Sequence[float | None], background: Background | None) -> Scores:
    """Return the similarities in standard deviations; one that a search missed is as far as the last that it found."""
    found = [one for one in similarities if one is not None]
    values = np.array([min(found, default=0.0) if one is None else one for one in similarities], dtype=np.float64)
    if background is None:
        return values * FAR_ABOVE
    return background.above(values)


@dataclass(frozen=True)
class RecallStats:
    """How recall does on made-up scenes.

    `found` of `scenes` have a reference; `tunes` counts different ones. `tempo_off` is the median factor, less 1,
    between a reference's tempo and the one wanted; `in_mode` the share in the mode wanted, where the scene wants one (1
    where none does); `above` the mean similarity to the query in standard deviations above the background (None where
    the index is too small to have one). `without` counts the scenes without a reference by feeling.
    """

    scenes: int
    found: int
    tunes: int
    tempo_off: float
    in_mode: float
    above: float | None
    without: Counter[str]


_VALENCES = {-0.7: "sad", -0.2: "sombre", 0.2: "friendly", 0.7: "happy"}
_AROUSALS = {0.15: "still", 0.4: "calm", 0.65: "lively", 0.9: "wild"}
_KINDS = (("a lake", "outdoors, water"), ("people", "street"), ("a cat", "indoors"), ("a building", "city, night"))


def recall_stats(index: TuneIndex, embed_texts: Callable[[Sequence[str]], NDArray[np.float32]]) -> RecallStats:
    """Look for the references of 64 scenes that no picture has: four kinds by valence by arousal, the same each time.

    `embed_texts` is that of the index's embedder. Where a picture would be embedded stands what it is said to show.
    """
    made = [
        (f"{sad}, {still}", Scene(kind, ((kind, 1.0),), place=place, valence=valence, arousal=arousal))
        for kind, place in _KINDS
        for valence, sad in _VALENCES.items()
        for arousal, still in _AROUSALS.items()
    ]
    texts = embed_texts([query_text(scene.subject, scene) for _, scene in made])
    pictures = embed_texts([f"{scene.subject}, {scene.place}" for _, scene in made])
    found = index.candidates(list(zip(texts, pictures, strict=True)), CANDIDATES, exact=True)
    chosen = [suitable(some, scene)[:MOST] for some, (_, scene) in zip(found, made, strict=True)]
    asked = [
        (one, some.text, suiting_music(scene))
        for few, some, (_, scene) in zip(chosen, found, made, strict=True)
        for one in few
    ]
    modes = [_mode_of(one.key) == music.mode for one, _, music in asked if music.mode != "either"]
    above = [
        background.above(one.similarity_text)
        for one, background, _ in asked
        if background and one.similarity_text is not None
    ]
    off = [math.exp(abs(math.log(one.tempo_qpm / music.qpm))) - 1 for one, _, music in asked]
    return RecallStats(
        scenes=len(made),
        found=sum(map(bool, chosen)),
        tunes=len({one.tune_id for one, _, _ in asked}),
        tempo_off=median(off) if off else 0.0,
        in_mode=sum(modes) / len(modes) if modes else 1.0,
        above=sum(above) / len(above) if above else None,
        without=Counter(feeling for few, (feeling, _) in zip(chosen, made, strict=True) if not few),
    )


def _tempo(found: Sequence[Candidate], music: SuitingMusic) -> tuple[Scores, NDArray[np.bool_]]:
    qpm = np.array([max(one.tempo_qpm, 1.0) for one in found], dtype=np.float64)
    agreement = 1.0 - np.abs(np.log(qpm / music.qpm)) / math.log(WIDEST_RATIO)
    in_time = (qpm.round(_DIGITS) >= music.slowest / LEEWAY) & (qpm.round(_DIGITS) <= music.fastest * LEEWAY)
    return np.clip(agreement, 0.0, 1.0), in_time


def _mode(found: Sequence[Candidate], music: SuitingMusic) -> tuple[Scores, NDArray[np.bool_]]:
    """Where the scene leaves the mode open, none is better; a tune without a key, as drums are, fits half."""
    if music.mode == "either":
        return np.ones(len(found)), np.ones(len(found), dtype=np.bool_)
    modes = [_mode_of(one.key) for one in found]
    agreement = np.array([0.5 if mode is None else float(mode == music.mode) for mode in modes])
    return agreement, agreement > 0


def _mode_of(key: str) -> str | None:
    key = key.strip()
    if not key or key.lower() == "none":
        return None
    return "minor" if _MINOR.match(key) else "major"


def _mood(found: Sequence[Candidate], music: SuitingMusic) -> Scores:
    """Return how far the moods agree; a tune of which no mood is known fits half."""
    wanted = frozenset(music.moods)
    shared = [len(wanted & _words_of(one)) / ENOUGH_MOODS if one.mood or one.caption else 0.5 for one in found]
    return np.minimum(shared, 1.0)


def _words_of(one: Candidate) -> set[str]:
    return {*one.mood, *one.genre, *_WORD.findall(one.caption.lower())}


def _lending(reference: Reference) -> Reference | None:
    lends = lending_words(reference.abc)
    return replace(reference, contributes=lends) if lends else None


@lru_cache(maxsize=4096)
def lending_words(abc: str) -> str:
    """Return what a reference may lend, in words; empty where it cannot be played.

    Cached: one tune is a reference of many pictures.
    """
    score = played_reference(abc)
    return _words_for(score, borrowed_from_abc(abc)) if score is not None and score.n_notes else ""


def _words_for(score: Score, borrowed: Borrowed) -> str:
    qpm = score.tempos[0].qpm if score.tempos else DEFAULT_QPM
    meter = score.meters[0] if score.meters else None
    rhythm = f"rhythm: {f'{meter.numerator}/{meter.denominator}, ' if meter else ''}{tempo_word(qpm)}"
    key = f"harmony: {key_name(score.keys[0].sharps, score.keys[0].minor)}" if score.keys else ""
    programs = dict.fromkeys(track.program for track in score.tracks if len(track) and not track.is_drum)
    names = [instrument_of(program).name for program in programs]
    if any(track.is_drum and len(track) for track in score.tracks):
        names.append("drums")
    instruments = f"instruments: {', '.join(names)}" if names else ""
    figures = dict.fromkeys(f"{one.family} ({instrument_of(one.program).name})" for one in borrowed.figures)
    figure = f"figure: {', '.join(list(figures)[:_FIGURES_SAID])}" if figures else ""
    strokes = borrowed.drums and len({at for at, _ in borrowed.drums.hits}) // borrowed.drums.bars
    drums = f"drums: {strokes} strokes a bar" if strokes else ""
    bass = f"bass: {len(borrowed.bass.rhythm)} notes a bar" if borrowed.bass else ""
    return "; ".join(part for part in (rhythm, key, instruments, figure, drums, bass) if part)


_FIGURES_SAID = 2
