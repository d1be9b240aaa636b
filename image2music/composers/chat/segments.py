"""Equation 2 for the parts of a tune and of its motivation: the mean of its tokens' looks at the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from image2music.composers.base import AttentionMap
from image2music.composers.chat.answers import sentences
from image2music.composers.chat.backend import Looks
from image2music.composers.faithfulness import Faithfulness
from image2music.composers.segments import BARS_A_GROUP, Segment, segment_map
from image2music.notation.abc_parser import parse
from image2music.notation.abc_tree import Span


def attention_maps(
    tune: Looks, motivation: Looks, judge: Callable[[int, int], Faithfulness] | None = None
) -> tuple[AttentionMap, ...]:
    """Maps of the whole tune, of each voice, of every four bars, and of each sentence of the motivation.

    With a judge, made for rows and columns, each map is measured too; its tokens are those of both texts in order.
    """
    measure = judge(*tune.weights.shape[1:]) if judge else None
    music = [
        segment_map(segment, tune.weights, tune.baseline, tune.layers, measure)
        for segment in music_segments(tune.text, tune.spans)
    ]
    prose = [
        segment_map(segment, motivation.weights, motivation.baseline, motivation.layers, measure, len(tune.spans))
        for segment in sentence_segments(motivation.text, motivation.spans)
    ]
    return (*music, *prose)


def music_segments(abc: str, spans: NDArray[np.int64]) -> list[Segment]:
    """The tokens of the music, header left out, by voice and by groups of four bars over all voices."""
    tune = next((tune for tune in parse(abc).tunes if tune.spans), None)
    if tune is None:
        return []
    places = {token: place for token, at in _first_letters(abc, spans) if (place := tune.span_at(at)) is not None}
    segments = [Segment("all", "all", "the whole tune", tuple(places))]
    for voice in tune.voices:
        tokens = tuple(token for token, place in places.items() if place.voice == voice)
        segments.append(Segment(f"voice {voice}", "voice", voice, tokens))
    segments += _groups_of_bars(places)
    return [segment for segment in segments if segment.tokens]


def _groups_of_bars(places: dict[int, Span]) -> Iterator[Segment]:
    most = max((place.bar for place in places.values()), default=0)
    for first in range(1, most + 1, BARS_A_GROUP):
        last = min(first + BARS_A_GROUP - 1, most)
        tokens = tuple(token for token, place in places.items() if first <= place.bar <= last)
        yield Segment(f"bars {first}-{last}", "bars", f"bars {first} to {last}", tokens)


def sentence_segments(text: str, spans: NDArray[np.int64]) -> list[Segment]:
    """The tokens of each sentence."""
    letters = list(_first_letters(text, spans))
    segments = []
    for number, (start, end) in enumerate(sentences(text), 1):
        tokens = tuple(token for token, at in letters if start <= at < end)
        if tokens:
            segments.append(Segment(f"sentence {number}", "motivation", text[start:end], tokens))
    return segments


def _first_letters(text: str, spans: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    """Each token with the place of the first character in it that is no blank; a token of blanks belongs nowhere."""
    for token, (start, end) in enumerate(spans.tolist()):
        piece = text[start:end]
        if piece.strip():
            yield token, start + len(piece) - len(piece.lstrip())
