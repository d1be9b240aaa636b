"""Conversations about one picture, the backend that answers them, and the steps of the paper's chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from image2music.abc.ast import Span, Tune
from image2music.abc.diagnostics import Diagnostic, Severity
from image2music.abc.parser import parse
from image2music.composers.attention import BARS_A_GROUP, Faithfulness, Segment, segment_map
from image2music.composers.base import ComposeRequest, ExplainRequest, RefineRequest, RepairRequest, opening_abc
from image2music.composers.chat.answers import sentences
from image2music.composers.constrained.forms import PROSE, Form
from image2music.composers.prompts import fill, in_language
from image2music.errors import ConfigError
from image2music.music.metrics import EXPLANATIONS
from image2music.types import AlbumPart, AttentionMap, Reference


def attention_maps(
    tune: TokenAttention,
    motivation: TokenAttention,
    faithfulness: Callable[[int, int], Faithfulness] | None = None,
    derived: frozenset[str] = frozenset(),
) -> tuple[AttentionMap, ...]:
    """Return maps of the whole tune, of each voice, of every four bars, and of each sentence of the motivation.

    With `faithfulness`, a function of rows and columns, each map is measured too; its tokens are those of both texts in
    order.
    """
    measure = faithfulness(*tune.weights.shape[1:]) if faithfulness else None
    music = [
        segment_map(segment, tune.weights, tune.baseline, tune.layers, measure)
        for segment in answer_segments(tune.text, tune.spans, derived)
    ]
    prose = [
        segment_map(segment, motivation.weights, motivation.baseline, motivation.layers, measure, len(tune.spans))
        for segment in sentence_segments(motivation.text, motivation.spans)
    ]
    return (*music, *prose)


def answer_segments(abc: str, spans: NDArray[np.int64], derived: frozenset[str] = frozenset()) -> list[Segment]:
    """Return the tokens of the music, header left out, by voice and by groups of four bars over all voices.

    A voice that is `derived` by rule was not written by the model, and has no segment of its own.
    """
    tune = next((tune for tune in parse(abc).tunes if tune.spans), None)
    if tune is None:
        return []
    places = {
        token: place
        for token, at in _first_letters(abc, spans)
        if (place := tune.span_at(at)) is not None and place.voice not in derived
    }
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


FEWEST_BARS, MOST_BARS = 2, 32

_REMEMBERED = 1024
"""Answers about references that are kept: all rounds about a picture ask again, each with the same references."""


@lru_cache(_REMEMBERED)
def first_bars(abc: str, bars: int) -> str:
    """Return the first `bars` bars of every voice of a tune, header and voices' heads included."""
    tune = _tune(abc)
    if tune is None:
        return abc
    kept, at = [], tune.start
    for span in sorted(span for span in tune.spans if span.bar > bars):
        kept.append(abc[at : span.start])
        at = span.end
    kept.append(abc[at : tune.end])
    return "\n".join(line.rstrip() for line in "".join(kept).split("\n") if line.strip()) + "\n"


@lru_cache(_REMEMBERED)
def longest_voice_bars(abc: str) -> int:
    """Count the bars of the longest voice; 0 where nothing can be read."""
    tune = _tune(abc)
    return tune.last_bar if tune else 0


def shortened(tunes: Sequence[str], fits: Callable[[Sequence[str]], bool]) -> list[str]:
    """Return as many first bars of each tune as fit: the longest text loses a bar until all do.

    Tunes have at most `MOST_BARS` bars, and keep at least `FEWEST_BARS`; where even that is too much, the last tunes,
    which match least, are left out. `fits` says whether a list of tunes is short enough.
    """
    bars = [min(MOST_BARS, longest_voice_bars(abc)) for abc in tunes]
    texts = [first_bars(abc, n) for abc, n in zip(tunes, bars, strict=True)]
    while not fits(texts):
        longest = max((i for i, n in enumerate(bars) if n > FEWEST_BARS), key=lambda i: len(texts[i]), default=None)
        if longest is None:
            return _fewest(texts, fits)
        bars[longest] -= 1
        texts[longest] = first_bars(tunes[longest], bars[longest])
    return texts


def _fewest(texts: list[str], fits: Callable[[Sequence[str]], bool]) -> list[str]:
    while texts and not fits(texts):
        texts = texts[:-1]
    return texts


def _tune(abc: str) -> Tune | None:
    return next((tune for tune in parse(abc).tunes if tune.spans), None)


MAX_DIAGNOSTICS = 20
_MAX_CAPTION = 600
CountTokens = Callable[[str], int]


def composing(request: ComposeRequest, prompt_tokens: int, count: CountTokens) -> Conversation:
    """Ask for a tune, with the references shortened until the prompt has at most `prompt_tokens` tokens."""

    def fits(tunes: Sequence[str]) -> bool:
        return count(_prompt(request, tunes)) <= prompt_tokens

    tunes = shortened([reference.abc.strip() for reference in request.references], fits)
    return Conversation(request.image, (Message("user", _prompt(request, tunes)),))


def _prompt(request: ComposeRequest, tunes: Sequence[str]) -> str:
    description = request.description.text
    if request.album is not None:
        description = f"{description}\n\n{_album(request.album)}"
    asked = fill("paper/compose", description=description, references=_references(request.references, tunes))
    return asked + in_language(request.language)


def _album(part: AlbumPart) -> str:
    return fill("paper/album", key=part.key, meter=part.meter, tempo=str(part.tempo_qpm), opening=opening_abc(part))


def _references(references: Sequence[Reference], tunes: Sequence[str]) -> str:
    if not tunes:
        return ""
    texts = [
        fill("paper/reference", number=str(number), caption=_caption(reference), abc=abc)
        for number, (reference, abc) in enumerate(zip(references, tunes, strict=False), 1)
    ]
    return fill("paper/references", references="\n\n".join(texts)) + "\n"


def _caption(reference: Reference) -> str:
    """Return the caption in one line; a tune may be in the index by its picture alone."""
    return " ".join(reference.caption.split())[:_MAX_CAPTION] or "a picture alike"


def repairing(request: RepairRequest, so_far: Conversation) -> Conversation:
    """Ask for the tune again, given its diagnostics."""
    errors = [finding for finding in request.diagnostics if finding.severity is Severity.ERROR]
    said = [_finding(finding, request.abc) for finding in errors[:MAX_DIAGNOSTICS]]
    if len(errors) > len(said):
        said.append(f"- and {len(errors) - len(said)} more of these kinds")
    question = fill("paper/repair", diagnostics="\n".join(said), bar_rule=_bar_rule(request.abc))
    return so_far.then(request.abc.strip(), question)


def _finding(finding: Diagnostic, abc: str) -> str:
    lines = abc.splitlines()
    shown = lines[finding.line - 1].strip()[:120] if 0 < finding.line <= len(lines) else ""
    quoted = f"\n  the line is: {shown}" if shown else ""
    return f"- line {finding.line}, column {finding.column}: {finding.message}{quoted}"


def _bar_rule(abc: str) -> str:
    fields = next((tune.fields for tune in parse(abc).tunes), {})
    meter, unit = fields.get("M", [""])[0], fields.get("L", [""])[0]
    if not meter:
        return "it must be what the meter in M: says."
    return f"the meter is {meter}" + (f", and a note without a number lasts {unit}." if unit else ".")


def refining(request: RefineRequest, so_far: Conversation) -> Conversation:
    """Ask for a better version, given the metrics and what they mean; what to make of them is the model's to judge."""
    metrics = "\n".join(
        f"- {name} ({EXPLANATIONS[name]}): {_number(value)}" for name, value in request.metrics.as_dict().items()
    )
    return so_far.then(request.abc.strip(), fill("paper/refine", metrics=metrics))


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"


def motivating(request: ExplainRequest, so_far: Conversation) -> Conversation:
    """Ask why the accepted tune suits the picture."""
    return so_far.then(request.abc.strip(), fill("paper/motivation"))


@dataclass(frozen=True)
class Message:
    """One turn. There is no system turn: several model families have none."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, eq=False)
class Conversation:
    """A picture, shown before the words of the first turn, and the turns so far.

    The last turn is the user's question.
    """

    image: Image
    messages: tuple[Message, ...]

    def then(self, answer: str, question: str) -> Conversation:
        """Append an answer and the next question."""
        turns = (Message("assistant", answer), Message("user", question))
        return Conversation(self.image, (*self.messages, *turns))

    def asked(self, question: str) -> Conversation:
        """Append a question to a conversation that ends with an answer."""
        return Conversation(self.image, (*self.messages, Message("user", question)))

    def answered(self, answer: str) -> Conversation:
        """Append the last answer."""
        return Conversation(self.image, (*self.messages, Message("assistant", answer)))


@dataclass(frozen=True, eq=False)
class Question:
    """A conversation whose last turn wants an answer.

    A seed makes the answer repeatable, whatever the batch; None asks for the likeliest one. It has at most `max_tokens`
    tokens, and keeps to `form` where the backend can see to that. `step` names what it is asked for (`look`, `plan`).
    """

    conversation: Conversation
    seed: int | None
    max_tokens: int
    form: Form = PROSE
    step: str = ""


def questions_of(
    conversations: Sequence[Conversation],
    seeds: Sequence[int | None],
    max_tokens: int,
    form: Form = PROSE,
    step: str = "",
) -> list[Question]:
    """Return the same question, with a seed of its own, about each conversation."""
    return [Question(talk, seed, max_tokens, form, step) for talk, seed in zip(conversations, seeds, strict=True)]


@dataclass(frozen=True, eq=False)
class TokenAttention:
    """A model's attention to the picture for each token of one text that it wrote.

    Attributes:
        text: what it wrote. spans: int64[tokens, 2], the characters of the text that each token covers. weights:
        float32[tokens, rows, cols], attention to each cell of the picture as a share of all attention of a token.
        baseline: the same for a blank picture. layers: float32[layers, tokens, rows, cols], the weights before their
        mean over layers, where asked for.
    """

    text: str
    spans: NDArray[np.int64]
    weights: NDArray[np.float32]
    baseline: NDArray[np.float32]
    layers: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class AnswerLengths:
    """Most tokens of each kind of answer; thoughts, where a model thinks aloud, count."""

    description: int = 800
    tune: int = 2000
    motivation: int = 500
    sketch: int = 1200
    plan: int = 4000
    lines: int = 3000
    edit: int = 2500

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1:
            raise ConfigError("an answer has at least one token", reason="bad_answer_length")


class ChatBackend(Protocol):
    """A chat model that sees pictures."""

    @property
    def id(self) -> str:
        """Name the model and its revision."""

    @property
    def prompt_tokens(self) -> int:
        """Return how many tokens of text a prompt may have beside picture and answers."""

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text; may be an estimate that is rather too high."""

    def generate(self, questions: Sequence[Question]) -> list[str]:
        """Return the answer to each question; no answer depends on which others share the batch.

        Raises:
            ModelError: the model gave no answer.
        """

    def attention(self, conversation: Conversation, *, layers: bool = False) -> list[TokenAttention]:
        """Return attention for each of the model's own turns; with `layers`, for each layer alone too.

        Raises:
            ModelError: the backend has no attention; the message says why.
        """

    def log_likelihood(self, conversation: Conversation, images: Sequence[Image]) -> NDArray[np.float64]:
        """Return float64[images, tokens].

        Nats of each token of the model's own turns beside other pictures of the same size.

        Raises:
            ModelError: the backend has no likelihoods.
        """
