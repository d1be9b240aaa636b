"""Constrained decoding: only tokens may be chosen that keep an answer to its form, and it ends before its tokens do.

llguidance says which tokens the form's grammar allows (`notation`, or a JSON Schema as in `documents`), one automaton a
row. In music, `BarTokens` says which of these fit into the bar, with a `BarCounter` for each row. When a row's tokens
run out, the music is closed: first the voices that are behind catch up, and in the end `closing_letters` gives each
letter. Every form has a state of its own, so rows of a batch may have different ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image2music.composers.constrained.bars import BarCounter, LineCounter, closing_letters, letters_to_close
from image2music.composers.constrained.documents import DocumentWriter, document_grammar
from image2music.composers.constrained.effects import BarTokens, Bools
from image2music.composers.constrained.notation import lines_grammar, tune_pattern
from image2music.composers.forms import TUNE_OF_TWO, Form, JsonForm, LinesForm, ProseForm, TuneForm
from image2music.errors import ModelError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

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


def grammar_of(form: Form) -> str:
    """Return the grammar of a form as llguidance reads it.

    Raises:
        ModelError: prose has none (`no_constraint`).
    """
    from llguidance import LLMatcher

    match form:
        case TuneForm():
            return LLMatcher.grammar_from_regex(tune_pattern(form.voices))
        case LinesForm():
            return LLMatcher.grammar_from_lark(lines_grammar(form))
        case JsonForm():
            return document_grammar(form)
        case ProseForm():
            raise ModelError("prose has no grammar", reason="no_constraint")


class ConstrainedTuneState:
    """One tune whose header the model writes; some hundreds of tokens are enough for a bar in each voice."""

    def __init__(
        self, vocabulary: AbcVocabulary, most_tokens: int | None = None, form: TuneForm = TUNE_OF_TWO
    ) -> None:
        self.vocabulary, self._most_tokens = vocabulary, most_tokens
        self.matcher, self._counter = vocabulary.matcher(form), BarCounter()
        self._tokens = self._tokens_of_header = 0
        self.has_ended = False

    def take(self, token: int) -> None:
        """Append a token; ignore what follows the end of the answer.

        Raises:
            ModelError: it may not come next (`no_constraint`).
        """
        if self.has_ended or token in self.vocabulary.eos:
            self.has_ended = True
            return
        if not (self._counter.take(self.vocabulary.texts[token]) and self.matcher.consume_token(token)):
            raise ModelError("a token was chosen that the grammar of ABC does not allow", reason="no_constraint")
        self._tokens += 1
        if self._counter.in_header or (self._counter.line and not self._counter.lead):
            self._tokens_of_header = self._tokens

    def forced(self) -> list[int]:
        """Return tokens that must come next."""
        return self.matcher.compute_ff_tokens() if self._counter.in_header and not self.has_ended else []

    def narrow(self, allowed: Bools) -> None:
        """Clear in bool[vocabulary], which holds what the grammar allows, all that does not fit into the bar."""
        counter = self._counter
        if self.has_ended:
            return _leave_only(allowed, self.vocabulary.end)
        if counter.in_header or (counter.line and counter.line[0] != "%"):
            return _keep_fitting(self.vocabulary, counter, allowed, self.vocabulary.over_line_ends)
        if not counter.may_end:
            allowed[self.vocabulary.end] = False
        left = _tokens_left(self._most_tokens, self._tokens)
        is_ending = left is not None and left <= letters_to_close(counter)
        is_closing = is_ending or (left is not None and left <= self._tokens_to_even())
        if is_closing and (is_ending or _has_the_lead(counter)):
            way_out = _way_out(self.vocabulary, counter, allowed)
            if way_out is not None:
                return _leave_only(allowed, way_out)
        if counter.line:
            return _keep_fitting(self.vocabulary, counter, allowed, self.vocabulary.over_line_ends)
        return _fit_music(self.vocabulary, counter, allowed, _most_bars(counter) if is_closing else None)

    def _tokens_to_even(self) -> float:
        """Tokens that the voices that are behind will want to catch up, if their bars take as many as those so far."""
        counter = self._counter
        a_bar = (self._tokens - self._tokens_of_header) / max(1, sum(counter.bars.values()))
        return letters_to_close(counter) + (counter.missing + len(counter.bars)) * a_bar


class ConstrainedLinesState:
    """Lines of music, each with the text that is given and its bars."""

    def __init__(self, vocabulary: AbcVocabulary, form: LinesForm, most_tokens: int | None = None) -> None:
        self.vocabulary, self._most_tokens = vocabulary, most_tokens
        self.matcher, self._counter = vocabulary.matcher(form), LineCounter.of(form)
        given = [len(vocabulary.tokenizer.tokenize_str(line.prefix)) for line in form.lines]
        # Where a given text ends, its last letters may come one by one.
        self._tokens_of_later = [sum(given[at + 1 :]) + _LETTERS_AT_AN_END * (len(given) - at - 1) for at in range(len(given))]
        self._tokens = 0
        self.has_ended = False

    def take(self, token: int) -> None:
        """Append a token; ignore what follows the end of the answer.

        Raises:
            ModelError: it may not come next (`no_constraint`).
        """
        if self.has_ended or token in self.vocabulary.eos:
            self.has_ended = True
            return
        if not (self._counter.take(self.vocabulary.texts[token]) and self.matcher.consume_token(token)):
            raise ModelError("a token was chosen that the lines do not allow", reason="no_constraint")
        self._tokens += 1

    def forced(self) -> list[int]:
        """Return tokens that must come next."""
        return self.matcher.compute_ff_tokens() if self._counter.given and not self.has_ended else []

    def narrow(self, allowed: Bools) -> None:
        """Clear in bool[vocabulary], which holds what the grammar allows, all that does not fit into bar and line."""
        vocabulary, counter = self.vocabulary, self._counter
        if self.has_ended:
            return _leave_only(allowed, vocabulary.end)
        if counter.at == len(counter.form.lines):
            return _leave_only(allowed, vocabulary.end)
        if not counter.may_end:
            allowed[vocabulary.end] = False
        left = _tokens_left(self._most_tokens, self._tokens)
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


_LETTERS_AT_AN_END = 16


class ConstrainedJsonState:
    """One JSON document that keeps to a schema, without free white space."""

    def __init__(self, vocabulary: AbcVocabulary, form: JsonForm, most_tokens: int | None = None) -> None:
        self.vocabulary, self._most_tokens = vocabulary, most_tokens
        self.matcher = vocabulary.matcher(form)
        self._writer = DocumentWriter(self.matcher, form, vocabulary.letters, vocabulary.is_plain)
        self._tokens = 0
        self.has_ended = False

    def take(self, token: int) -> None:
        """Append a token; ignore what follows the end of the answer.

        Raises:
            ModelError: it may not come next (`no_constraint`).
        """
        if self.has_ended or token in self.vocabulary.eos:
            self.has_ended = True
            return
        if not self.matcher.consume_token(token):
            raise ModelError("a token was chosen that the schema does not allow", reason="no_constraint")
        self._tokens += 1
        self._writer.took(token)

    def forced(self) -> list[int]:
        """Return tokens that must come next."""
        return [] if self.has_ended else self.matcher.compute_ff_tokens()

    def narrow(self, allowed: Bools) -> None:
        """Clear in bool[vocabulary], which holds what the schema allows, all that leaves too few tokens to the end."""
        if self.has_ended:
            return _leave_only(allowed, self.vocabulary.end)
        left = _tokens_left(self._most_tokens, self._tokens)
        if left is not None:
            self._writer.narrow(allowed, left)
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


def _tokens_left(most: int | None, tokens: int) -> int | None:
    """Tokens that the answer may still have beside the one that ends it."""
    return None if most is None else most - tokens - 1


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
