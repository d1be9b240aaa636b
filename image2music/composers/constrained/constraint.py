"""Constrained decoding: only tokens may be chosen that keep an answer to its form, and it ends before its tokens do.

llguidance says which tokens the form's grammar allows (`grammars`), one automaton a row. In music, `BarTokens` says
which of these fit into the bar, with a `BarCounter` for each row. What a token does to a bar does not depend on how
full the bar is, only on a few kinds of state (`_Kind`): inside a triplet, inside a chord, after a bar line. So each
token is read once in each kind of state, letter by letter by the same `BarCounter` that follows the tune, and a step of
decoding compares a few arrays of whole numbers. When a row's tokens run out, the music is closed: first the voices that
are behind catch up, and in the end `closing_letters` gives each letter. Every form has a state of its own, so rows of a
batch may have different ones.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image2music.composers.constrained.bars import (
    SHORTEST,
    TRIPLET,
    BarCounter,
    LineCounter,
    closing_letters,
    least_ticks,
    letters_to_close,
    ticks_of,
)
from image2music.composers.constrained.forms import (
    TUNE_OF_TWO,
    DocumentWriter,
    Form,
    JsonForm,
    LinesForm,
    ProseForm,
    TuneForm,
    grammar_of,
)
from image2music.errors import ModelError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]
NEVER = 2**20
"""More ticks than any bar has."""
_MUSIC = re.compile(r"[A-GQVa-gz0-9/,'^_=|:\[\](){}. \n-]+")
_WITH_SIGNS = re.compile(r"[A-GQVa-gpmsz0-9/,'^_=|:\[\](){}.!<> \n-]*(?:%.*)?", re.DOTALL)
"""Music with dynamics and the like in it, or with the beginning of a comment behind it."""
_LENGTH_DIGITS = re.compile(r"[,']*([0-9/]*)")
_WRITTEN = re.compile(r"(?:[1-9][0-9]?)?(?:/[248]?)?")

_NO_ABC = re.compile(r"[0-9]{3}|/[0135679/]|/[248][0-9/]|[,']{4}|  |\n\n|[\^_=]{2}|\.[.()]|[QV][A-Ga-gz ]")
"""What the grammar allows nowhere in the music: tokens with that need no reading."""

_Kind = tuple[str, int, bool, bool, bool]
"""The open bracket as far as it matters, notes left of a triplet, between bars or not, length pending, slur or not."""

_KINDS: tuple[_Kind, ...] = (
    *(
        (bracket, notes, is_closed, is_pending, slur)
        for slur in (False, True)
        for bracket, notes, is_closed, is_pending in (
            ("", 0, True, False),
            ("", 0, False, False),
            ("", 0, False, True),
            *(("", notes, False, False) for notes in range(1, 4)),
            *((bracket, 0, False, False) for bracket in ("(", "{", "[", "[C")),
            *((bracket, 0, True, False) for bracket in ("[", "[C")),
        )
    ),
    *((bracket, 0, True, False, False) for bracket in ("[V", "[V:", "[V:1", "[V:2")),
)
"""The kinds of state that nearly every tune comes through."""


@dataclass(slots=True)
class _Measure(BarCounter):
    """A counter for a bar of any length: it notes how full each bar is when it ends, and whether a line ends."""

    ended: list[int] = field(default_factory=list)
    has_slur_at_bar: bool = False
    ends_line: bool = False

    def _begin_bar(self) -> None:
        self.ended.append(self.filled)
        self.filled, self.is_closed, self.has_slur_at_bar = 0, True, self.slur

    def _ends_bar(self, sign: str) -> bool:
        if self.is_closed:
            return self._stands_alone()
        if self.triplet or (sign == ":" and not self._stands_alone()):
            return False
        self._begin_bar()
        return True

    def _stands_alone(self) -> bool:
        self.ends_line = True
        return not self.slur

    @property
    def needed(self) -> int:
        """Ticks that the bar must have at least for what stands in it, the last note as short as it may become."""
        if self.pending is not None:
            return self.filled + least_ticks(self.pending)
        if self.bracket == "(" and self.slur:
            return self.filled + TRIPLET
        is_begun = self.bracket and not self.bracket.startswith("[V")
        is_begun = is_begun or (self.last in "^_=.}" and not self.triplet)
        # Behind a bar line, a space stands only where another bar follows.
        is_begun = is_begun or (self.last == " " and self.is_closed and bool(self.ended))
        return self.filled + (SHORTEST if is_begun else 0)


@dataclass(frozen=True)
class _Effects:
    """What each token does in one kind of state; int32[tokens] in ticks unless said otherwise.

    bars: how many bars it ends.
    first: what it adds to the bar that is open, up to its end or, where it ends none, at least.
    middle: how long the bars are that it both begins and ends; `NEVER` if they differ, 0 if there are none.
    last: what it needs of the bar that it begins and leaves open.
    slur_at_bar: bool, whether a slur lasts at the last bar line in it.
    ends_line: bool, whether it has what stands at the end of a line only.
    """

    bars: Ints
    first: Ints
    middle: Ints
    last: Ints
    slur_at_bar: Bools
    ends_line: Bools


class BarTokens:
    """The tokens of a vocabulary by what they do to bars. The others fit wherever the grammar says.

    `ids` are music. `signs` are music with dynamics and comments, which are few and are tried one by one.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.ids = np.array([i for i, text in enumerate(texts) if _is_music(text)], dtype=np.int64)
        self.signs = np.array([i for i, text in enumerate(texts) if _has_signs(text)], dtype=np.int64)
        self._texts = [texts[i] for i in self.ids]
        lengths = [_LENGTH_DIGITS.match(text).group(1) for text in self._texts]  # type: ignore[union-attr]
        self._rests = [text[_LENGTH_DIGITS.match(text).end() :] for text in self._texts]  # type: ignore[union-attr]
        self._lengths, self._length_ids = np.unique(lengths, return_inverse=True)
        self._goes_on = np.array([bool(rest) for rest in self._rests])
        self._effects = {kind: self._read(kind) for kind in _KINDS}
        self._pending: dict[str, Ints] = {}

    def fitting(self, counter: BarCounter, *, most_bars: int | None = None) -> Bools:
        """bool[music tokens], in the order of `ids`: whether `counter` can take the token.

        Args:
            counter: somewhere in the music.
            most_bars: the voice may have that many bars, and begin no other; None for as many as it likes.
        """
        effects = self._effects_from(counter)
        first = effects.first
        if counter.pending is not None:
            first = first + self._lengths_after(counter.pending)
        stays = (effects.bars == 0) & (first <= counter.left)
        closes = (effects.bars > 0) & (first == counter.left) & (effects.last <= counter.bar)
        closes &= (effects.middle == 0) | (effects.middle == counter.bar)
        if most_bars is not None:
            there = counter.bars.get(counter.voice, 0) + effects.bars
            closes &= (there < most_bars) | ((there == most_bars) & (effects.last == 0))
        fits: Bools = stays | closes
        if counter.swell:
            fits &= ~effects.ends_line
        if isinstance(counter, LineCounter):
            fits &= _fits_line(effects, counter)
        return fits

    def _effects_from(self, counter: BarCounter) -> _Effects:
        kind = _kind(counter)
        if kind not in self._effects:
            self._effects[kind] = self._read(kind)
        return self._effects[kind]

    def _read(self, kind: _Kind) -> _Effects:
        return _effects(kind, self._rests if kind[3] else self._texts)

    def _lengths_after(self, pending: str) -> Ints:
        """int32[music tokens]: what the note that is being written takes, with the digits that each token begins with.

        As much as it has then if the token goes on after them, at least as much as it may still become otherwise.
        """
        if pending not in self._pending:
            texts = [pending + str(digits) for digits in self._lengths]
            ended = np.array([ticks_of(text) if _WRITTEN.fullmatch(text) else NEVER for text in texts], dtype=np.int32)
            least = np.array([least_ticks(text) if _WRITTEN.fullmatch(text) else NEVER for text in texts], np.int32)
            chosen = np.where(self._goes_on, ended[self._length_ids], least[self._length_ids])
            self._pending[pending] = chosen.astype(np.int32)
        return self._pending[pending]


def _fits_line(effects: _Effects, counter: LineCounter) -> Bools:
    """bool[music tokens]: whether the line has as many bars as it is to have where a token ends it, and no more."""
    there = counter.there + effects.bars
    last = (there == counter.wanted) & (effects.last == 0)
    if counter.swell:
        last &= effects.bars == 0
    last &= ~effects.slur_at_bar | (effects.bars == 0)
    fits: Bools = last | ((there < counter.wanted) & ~effects.ends_line)
    return fits


def _is_music(text: str) -> bool:
    return bool(_MUSIC.fullmatch(text)) and not _NO_ABC.search(text)


def _has_signs(text: str) -> bool:
    return ("!" in text or "%" in text or "<" in text or ">" in text) and bool(_WITH_SIGNS.fullmatch(text))


def _kind(counter: BarCounter) -> _Kind:
    bracket = counter.bracket
    if len(bracket) > 1 and bracket[1] != "V":
        bracket = "{" if bracket[0] == "{" else "[Q" if bracket[1] == "Q" else "[C"
    return bracket, counter.triplet, counter.is_closed, counter.pending is not None, counter.slur


def _effects(kind: _Kind, texts: Sequence[str]) -> _Effects:
    read: dict[str, tuple[int, ...]] = {}
    for text in texts:
        if text not in read:
            read[text] = _effect(kind, text)
    found = np.array([read[text] for text in texts], dtype=np.int32).reshape(-1, 6).T.copy()
    return _Effects(*found[:4], *(found[4:] > 0))


def _effect(kind: _Kind, text: str) -> tuple[int, ...]:
    bracket, triplet, is_closed, _, slur = kind
    measure = _Measure(in_header=False, bar=NEVER, bracket=bracket, triplet=triplet, is_closed=is_closed, slur=slur)
    for letter in text:
        if not measure._takes(letter):
            return 0, NEVER, 0, 0, 0, 0
    ends_line, slur_at_bar = int(measure.ends_line), int(measure.has_slur_at_bar)
    if not measure.ended:
        return 0, measure.needed, 0, 0, 0, ends_line
    first, *middle = measure.ended
    same = middle[0] if len(set(middle)) == 1 else NEVER if middle else 0
    return len(measure.ended), first, same, measure.needed, slur_at_bar, ends_line


_WORD_BITS = 32
_GRAMMARS_KEPT = 64
_STRUCTURE = frozenset('"{}[],:\\')


class FormState(Protocol):
    """One answer while it is decoded, and what may come next in it.

    Given a most number of tokens it ends before it has that many, its end included, if the form can be had in so few.
    """

    vocabulary: AbcVocabulary
    matcher: LLMatcher
    has_ended: bool

    def take(self, token: int) -> None:
        """Append a token; ignore what follows the end of the answer.

        Raises:
            ModelError: it may not come next (`no_constraint`).
        """

    def narrow(self, allowed: Bools) -> None:
        """Clear in bool[vocabulary], which holds what the grammar allows, all else that may not come next."""

    def forced(self) -> list[int]:
        """Return tokens that must come next, as far as the grammar can tell; often none."""


class AbcVocabulary:
    """A tokenizer prepared for the grammars; takes about a second for a large one, so make it once a model."""

    def __init__(self, tokenizer: Any, eos: Sequence[int], size: int) -> None:
        from llguidance.hf import from_tokenizer

        self.size, self.eos = size, frozenset(eos)
        self.end = np.array(sorted(self.eos), dtype=np.int64)
        self.tokenizer: LLTokenizer = from_tokenizer(tokenizer, n_vocab=size, eos_token=sorted(self.eos))
        # Bytes that are no whole letter, which only titles hold, come out as a sign for that.
        self.texts = [self.tokenizer.decode_bytes([token]).decode("utf-8", "replace") for token in range(size)]
        self.bars = BarTokens(self.texts)
        self.over_line_ends = np.array([i for i, text in enumerate(self.texts) if "\n" in text[:-1]], dtype=np.int64)
        self.line_ends = np.array([i for i, text in enumerate(self.texts) if text.lstrip(" ")[:1] in ("\n", "]")])
        self.letters = {text: token for token, text in enumerate(self.texts) if len(text) == 1}
        self.is_plain = np.array([not _STRUCTURE & set(text) for text in self.texts], dtype=np.bool_)
        self._matchers: OrderedDict[Form, LLMatcher] = OrderedDict()

    def matcher(self, form: Form = TUNE_OF_TWO) -> LLMatcher:
        """Return a form's grammar at its beginning; the latest ones are kept.

        Raises:
            ModelError: the tokenizer or the grammar does not work (`no_constraint`).
        """
        import llguidance

        if form not in self._matchers:
            matcher = llguidance.LLMatcher(self.tokenizer, grammar_of(form))
            if matcher.is_error():
                message = f"the tokenizer does not work with the grammar of a form: {matcher.get_error()[:150]}"
                raise ModelError(message, reason="no_constraint")
            self._matchers[form] = matcher
            if len(self._matchers) > _GRAMMARS_KEPT:
                self._matchers.popitem(last=False)
        self._matchers.move_to_end(form)
        return self._matchers[form].deep_copy()

    def state(self, form: Form, most_tokens: int | None = None) -> FormState | None:
        """Return the state of an answer in a form at its beginning; None for prose."""
        match form:
            case TuneForm():
                return ConstrainedTuneState(self, most_tokens, form)
            case LinesForm():
                return ConstrainedLinesState(self, form, most_tokens)
            case JsonForm():
                return ConstrainedJsonState(self, form, most_tokens)
            case ProseForm():
                return None


class _State(ABC):
    """What all states have in common."""

    def __init__(self, vocabulary: AbcVocabulary, form: Form, most_tokens: int | None) -> None:
        self.vocabulary, self.matcher = vocabulary, vocabulary.matcher(form)
        self.has_ended = False
        self._most_tokens, self._tokens = most_tokens, 0

    def take(self, token: int) -> None:
        """Append a token; ignore what follows the end of the answer.

        Raises:
            ModelError: it may not come next (`no_constraint`).
        """
        if self.has_ended or token in self.vocabulary.eos:
            self.has_ended = True
        elif self._follow(token) and self.matcher.consume_token(token):
            self._tokens += 1
        else:
            raise ModelError("a token was chosen that the form does not allow", reason="no_constraint")

    def forced(self) -> list[int]:
        """Return tokens that must come next, as far as the grammar can tell."""
        return [] if self.has_ended else self.matcher.compute_ff_tokens()

    @abstractmethod
    def _follow(self, token: int) -> bool:
        """Take a token in and return whether it may come."""

    @property
    def _left(self) -> int | None:
        """Tokens that the answer may still have beside the one that ends it."""
        return None if self._most_tokens is None else self._most_tokens - self._tokens - 1


class ConstrainedTuneState(_State):
    """One tune whose header the model writes; some hundreds of tokens are enough for a bar in each voice."""

    def __init__(self, vocabulary: AbcVocabulary, most_tokens: int | None = None, form: TuneForm = TUNE_OF_TWO) -> None:
        super().__init__(vocabulary, form, most_tokens)
        self._counter = BarCounter()
        self._tokens_of_header = 0

    def _follow(self, token: int) -> bool:
        fits = self._counter.take(self.vocabulary.texts[token])
        if self._counter.in_header or (self._counter.line and not self._counter.lead):
            self._tokens_of_header = self._tokens + 1
        return fits

    def forced(self) -> list[int]:
        """Return tokens that must come next; in music the grammar forces next to nothing."""
        return super().forced() if self._counter.in_header else []

    def narrow(self, allowed: Bools) -> None:
        """Clear in bool[vocabulary], which holds what the grammar allows, all that does not fit into the bar."""
        counter, vocabulary, left = self._counter, self.vocabulary, self._left
        if self.has_ended:
            return _leave_only(allowed, vocabulary.end)
        if counter.in_header or (counter.line and counter.line[0] != "%"):
            return _keep_fitting(vocabulary, counter, allowed, vocabulary.over_line_ends)
        if not counter.may_end:
            allowed[vocabulary.end] = False
        is_ending = left is not None and left <= letters_to_close(counter)
        is_closing = is_ending or (left is not None and left <= self._tokens_to_even())
        if is_closing and (is_ending or _has_the_lead(counter)):
            way_out = _way_out(vocabulary, counter, allowed)
            if way_out is not None:
                return _leave_only(allowed, way_out)
        if counter.line:
            return _keep_fitting(vocabulary, counter, allowed, vocabulary.over_line_ends)
        return _fit_music(vocabulary, counter, allowed, _most_bars(counter) if is_closing else None)

    def _tokens_to_even(self) -> float:
        """Tokens that the voices that are behind will want to catch up, if their bars take as many as those so far."""
        counter = self._counter
        a_bar = (self._tokens - self._tokens_of_header) / max(1, sum(counter.bars.values()))
        return letters_to_close(counter) + (counter.missing + len(counter.bars)) * a_bar


_LETTERS_AT_AN_END = 16
"""Where a text ends that is given, its last letters may come one by one."""


class ConstrainedLinesState(_State):
    """Lines of music, each with the text that is given and its bars."""

    def __init__(self, vocabulary: AbcVocabulary, form: LinesForm, most_tokens: int | None = None) -> None:
        super().__init__(vocabulary, form, most_tokens)
        self._counter = LineCounter.of(form)
        given = [len(vocabulary.tokenizer.tokenize_str(line.prefix)) + _LETTERS_AT_AN_END for line in form.lines]
        self._tokens_of_later = [sum(given[at + 1 :]) for at in range(len(given))]

    def _follow(self, token: int) -> bool:
        return self._counter.take(self.vocabulary.texts[token])

    def forced(self) -> list[int]:
        """Return tokens that must come next; in music the grammar forces next to nothing."""
        return super().forced() if self._counter.given else []

    def narrow(self, allowed: Bools) -> None:
        """Clear in bool[vocabulary], which holds what the grammar allows, all that does not fit into bar and line."""
        vocabulary, counter, left = self.vocabulary, self._counter, self._left
        if self.has_ended or counter.at == len(counter.form.lines):
            return _leave_only(allowed, vocabulary.end)
        if not counter.may_end:
            allowed[vocabulary.end] = False
        if left is not None and left <= letters_to_close(counter) + self._tokens_of_later[counter.at]:
            way_out = self._next_given(allowed) if counter.given else _way_out(vocabulary, counter, allowed)
            if way_out is not None:
                return _leave_only(allowed, way_out)
        if counter.given:
            return _keep_fitting(vocabulary, counter, allowed, np.flatnonzero(allowed))
        if counter.is_whole:
            return self._end_line(allowed)
        _fit_music(vocabulary, counter, allowed)
        return _keep_fitting(vocabulary, counter, allowed, vocabulary.over_line_ends)

    def _next_given(self, allowed: Bools) -> NDArray[np.int64] | None:
        """The longest token of the text that is given."""
        texts, given = self.vocabulary.texts, self._counter.given
        fitting = [token for token in np.flatnonzero(allowed).tolist() if given.startswith(texts[token])]
        return np.array([max(fitting, key=lambda token: len(texts[token]))]) if fitting else None

    def _end_line(self, allowed: Bools) -> None:
        """All bars are there: only the end may come, or the end of the line."""
        ends = self.vocabulary.line_ends
        kept = [token for token in ends[allowed[ends]].tolist() if self._counter.after(self.vocabulary.texts[token])]
        if self._counter.may_end:
            kept += self.vocabulary.end.tolist()
        _leave_only(allowed, np.array(kept, dtype=np.int64))


class ConstrainedJsonState(_State):
    """One JSON document that keeps to a schema, without free white space."""

    def __init__(self, vocabulary: AbcVocabulary, form: JsonForm, most_tokens: int | None = None) -> None:
        super().__init__(vocabulary, form, most_tokens)
        self._writer = DocumentWriter(self.matcher, form, vocabulary.letters, vocabulary.is_plain)

    def _follow(self, token: int) -> bool:
        self._writer.took(token)
        return True

    def narrow(self, allowed: Bools) -> None:
        """Clear in bool[vocabulary], which holds what the schema allows, all that leaves too few tokens to the end."""
        if self.has_ended:
            return _leave_only(allowed, self.vocabulary.end)
        if self._left is not None:
            self._writer.narrow(allowed, self._left)
        return None


class AbcConstraint:
    """A logits processor of the transformers library that keeps each row to a form."""

    def __init__(
        self, vocabulary: AbcVocabulary, rows: int, most_tokens: int | None = None, form: Form = TUNE_OF_TWO
    ) -> None:
        states = (vocabulary.state(form, most_tokens) for _ in range(rows))
        self._states = [state for state in states if state is not None]
        self._read: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores float[rows, vocabulary] with -inf for all but the tokens that may come next."""
        if self._read is not None:
            for state, tokens in zip(self._states, input_ids[:, self._read :].tolist(), strict=True):
                for token in tokens:
                    state.take(token)
        self._read = input_ids.shape[1]
        return only_allowed(self._states, scores)


def only_allowed(states: Sequence[FormState], scores: Tensor) -> Tensor:
    """Return scores float[states, vocabulary] with -inf for all but the tokens that may come next in each answer.

    Args:
        states: one a row, all of one vocabulary.
        scores: may have more columns than there are tokens.

    Raises:
        ModelError: none is left of those whose score was finite (`no_constraint`).
    """
    from llguidance.numpy import fill_next_token_bitmask

    size = states[0].vocabulary.size
    words = np.zeros((len(states), -(-size // _WORD_BITS)), dtype=np.int32)
    for row, state in enumerate(states):
        if not state.has_ended:
            fill_next_token_bitmask(state.matcher, words, row)
    bits = np.unpackbits(words.view(np.uint8), axis=1, count=scores.shape[1], bitorder="little")
    allowed = bits.view(np.bool_)
    for row, state in enumerate(states):
        state.narrow(allowed[row, :size])
    kept = torch.where(torch.from_numpy(allowed).to(scores.device), scores, -torch.inf)
    if not bool(kept.amax(-1).isfinite().all()):
        raise ModelError("no token of this model goes on with the answer in its form", reason="no_constraint")
    return kept


def _fit_music(vocabulary: AbcVocabulary, counter: BarCounter, allowed: Bools, most_bars: int | None = None) -> None:
    """Clear what does not fit into the bar. Inside of signs and tempos, few tokens are allowed, and each is tried."""
    if counter.bracket[:1] == "!" or counter.bracket[:2] == "[Q":
        return _keep_fitting(vocabulary, counter, allowed, np.flatnonzero(allowed))
    bars = vocabulary.bars
    allowed[bars.ids[~bars.fitting(counter, most_bars=most_bars)]] = False
    return _keep_fitting(vocabulary, counter, allowed, bars.signs)


def _keep_fitting(vocabulary: AbcVocabulary, counter: BarCounter, allowed: Bools, tokens: NDArray[np.int64]) -> None:
    """Try some tokens letter by letter, those of them that are allowed."""
    for token in tokens[allowed[tokens]].tolist():
        if token not in vocabulary.eos:
            allowed[token] = counter.after(vocabulary.texts[token]) is not None


def _way_out(vocabulary: AbcVocabulary, counter: BarCounter, allowed: Bools) -> NDArray[np.int64] | None:
    """The end of the answer where it may come, else the next letter of a short way there."""
    if allowed[vocabulary.end].any():
        return vocabulary.end
    tokens = (vocabulary.letters.get(letter) for letter in closing_letters(counter))
    return next((np.array([token]) for token in tokens if token is not None and allowed[token]), None)


def _leave_only(allowed: Bools, tokens: NDArray[np.int64]) -> None:
    allowed[:] = False
    allowed[tokens] = True


def _has_the_lead(counter: BarCounter) -> bool:
    """Return whether the voice is between bars and no other has more of them, or the next voice is being named."""
    return counter.bracket.startswith("[V") or (counter.is_closed and not counter.lag(counter.voice))


def _most_bars(counter: BarCounter) -> int:
    """Return the bars that the voice may have while the tune closes.

    As many as another has, or the one that is open.
    """
    there = counter.bars.get(counter.voice, 0)
    return max(counter.lead, there + (not counter.is_closed))
