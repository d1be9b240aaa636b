"""Reads tune and prose out of a chat model's answers, and the parts of them that get attention maps.

Maps follow equation 2 of the paper: the mean over the attention of a part's tokens to the picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from image2music.abc.ast import Span
from image2music.abc.autofix.wrapping import TextEditor, choose_tune, unwrap
from image2music.abc.parser import parse
from image2music.composers.attention.maps import BARS_A_GROUP, Faithfulness, Segment, segment_map
from image2music.composers.chat.backend import TokenAttention
from image2music.types import AttentionMap

_THINKING = re.compile(
    r"<(think|thinking|thought|reasoning|analysis)\b[^>]*>.*?(?:</\1>|\Z)|◁think▷.*?(?:◁/think▷|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_END_OF_THINKING = re.compile(r"</(?:think|thinking|thought|reasoning|analysis)>|◁/think▷", re.IGNORECASE)
_ANSWER_TAG = re.compile(r"</?(?:answer|final|response|abc|music|tune)>|<\|(?:begin|end)_of_box\|>", re.IGNORECASE)
_FENCED = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n.*?(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_LABEL = re.compile(r"\A[\s#*_>]*(?:motivation|description|answer|explanation|rationale)[\s*_]*(?::[\s*_]*|\n)", re.I)
_MARKDOWN = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]*|[-*•][ \t]+|\d{1,2}[.)][ \t]+)", re.MULTILINE)
_ABC_LINE = re.compile(r"^(?:[XTCMLQKV]:.*|\[V:.*|%%.*|[^\n]*\|[\]:|]?[ \t]*)$\n?", re.MULTILINE)
_EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")
_SENTENCE = re.compile(r"\S.*?(?:[.!?…]+[\"'”\u2019)\]]*(?=\s+[\"'“\u2018(\[]?[A-Z])|\Z)", re.DOTALL)


def without_thinking(answer: str) -> str:
    """Remove thoughts from an answer, closed or broken off; a tag that only closes ends thoughts begun earlier."""
    rest = _THINKING.sub("", answer)
    ends = list(_END_OF_THINKING.finditer(rest))
    return _ANSWER_TAG.sub("", rest[ends[-1].end() :] if ends else rest).strip()


def tune_in(answer: str) -> str:
    """Return the tune in an answer: of several the longest, without fences, JSON or prose around it.

    An answer without a tune is returned whole, without its thoughts, so that the checker says what is wrong.
    """
    text = without_thinking(answer)
    mending = TextEditor(text)
    unwrap(mending)
    choose_tune(mending)
    return mending.text or text


def prose_in(answer: str) -> str:
    """Return the prose of an answer as one paragraph: no thoughts, fences, ABC, headings, list marks or emphasis."""
    text = _FENCED.sub("\n", without_thinking(answer))
    text = _ABC_LINE.sub("", _LABEL.sub("", text))
    text = _EMPHASIS.sub(r"\2", _MARKDOWN.sub("", text))
    return " ".join(text.split())


def sentences(text: str) -> list[tuple[int, int]]:
    """Return start and end of each sentence of a paragraph, in characters."""
    return [match.span() for match in _SENTENCE.finditer(text)]


def attention_maps(
    tune: TokenAttention, motivation: TokenAttention, faithfulness: Callable[[int, int], Faithfulness] | None = None
) -> tuple[AttentionMap, ...]:
    """Return maps of the whole tune, of each voice, of every four bars, and of each sentence of the motivation.

    With `faithfulness`, a function of rows and columns, each map is measured too; its tokens are those of both texts in
    order.
    """
    measure = faithfulness(*tune.weights.shape[1:]) if faithfulness else None
    music = [
        segment_map(segment, tune.weights, tune.baseline, tune.layers, measure)
        for segment in answer_segments(tune.text, tune.spans)
    ]
    prose = [
        segment_map(segment, motivation.weights, motivation.baseline, motivation.layers, measure, len(tune.spans))
        for segment in sentence_segments(motivation.text, motivation.spans)
    ]
    return (*music, *prose)


def answer_segments(abc: str, spans: NDArray[np.int64]) -> list[Segment]:
    """Return the tokens of the music, header left out, by voice and by groups of four bars over all voices."""
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
    """Return the tokens of each sentence."""
    letters = list(_first_letters(text, spans))
    segments = []
    for number, (start, end) in enumerate(sentences(text), 1):
        tokens = tuple(token for token, at in letters if start <= at < end)
        if tokens:
            segments.append(Segment(f"sentence {number}", "motivation", text[start:end], tokens))
    return segments


def _first_letters(text: str, spans: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    """Yield each token with the position of its first character that is no blank; tokens of blanks are left out."""
    for token, (start, end) in enumerate(spans.tolist()):
        piece = text[start:end]
        if piece.strip():
            yield token, start + len(piece) - len(piece.lstrip())
