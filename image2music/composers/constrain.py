"""Constrained decoding: only tokens that keep to the grammar of ABC and to exact bars may be chosen.

llguidance says which tokens the grammar allows, one automaton a row; `BarTokens` says which of these fit into the bar,
with a `BarCounter` carried along for each row. When a row's tokens run out, the tune is brought to its end in order:
first the voices that are behind catch up, and in the end `way_out` says each letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image2music.composers.abc_grammar import TUNE
from image2music.composers.bar_rules import BarCounter
from image2music.composers.bar_tokens import BarTokens
from image2music.composers.way_out import letters_to_end, next_letters
from image2music.errors import ModelError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

Bools = NDArray[np.bool_]

_WORD_BITS = 32


class AbcVocabulary:
    """A tokenizer prepared for the grammar: about a second for a large one, so make it once a model."""

    def __init__(self, tokenizer: Any, eos: Sequence[int], size: int) -> None:
        import llguidance
        from llguidance.hf import from_tokenizer

        self.size, self.eos = size, frozenset(eos)
        self.tokenizer: LLTokenizer = from_tokenizer(tokenizer, n_vocab=size, eos_token=sorted(self.eos))
        self._matcher = llguidance.LLMatcher(self.tokenizer, llguidance.LLMatcher.grammar_from_regex(TUNE))
        if self._matcher.is_error():
            message = f"the tokenizer does not work with the grammar of ABC: {self._matcher.get_error()[:150]}"
            raise ModelError(message, reason="no_constraint")
        # Bytes that are no whole letter, which only titles hold, come out as a sign for that.
        self.texts = [self.tokenizer.decode_bytes([token]).decode("utf-8", "replace") for token in range(size)]
        self.bars = BarTokens(self.texts)
        self.over_line_ends = np.array([i for i, text in enumerate(self.texts) if "\n" in text[:-1]], dtype=np.int64)
        self.letters = {text: token for token, text in enumerate(self.texts) if len(text) == 1}

    def matcher(self) -> LLMatcher:
        """The grammar at its beginning."""
        return self._matcher.deep_copy()


@dataclass
class _Row:
    """One tune in the making, and how many tokens it has."""

    matcher: LLMatcher
    counter: BarCounter = field(default_factory=BarCounter)
    tokens: int = 0
    tokens_of_header: int = 0
    has_ended: bool = False

    @property
    def in_music(self) -> bool:
        return not (self.counter.in_header or self.counter.line)


class AbcConstraint:
    """A logits processor: each row writes one whole tune from its first token on, and then ends.

    With `most_tokens` a tune ends before it has that many, its end of answer included; some hundreds are enough for
    a header and a bar in each voice. Without, it ends when the model wants it to.
    """

    def __init__(self, vocabulary: AbcVocabulary, rows: int, most_tokens: int | None = None) -> None:
        self._vocabulary, self._most_tokens = vocabulary, most_tokens
        self._rows = [_Row(vocabulary.matcher()) for _ in range(rows)]
        self._words = np.zeros((1, -(-vocabulary.size // _WORD_BITS)), dtype=np.int32)
        self._eos = np.array(sorted(vocabulary.eos), dtype=np.int64)
        self._read = -1

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores float[rows, vocabulary] with -inf for all but the tokens that may come next."""
        if self._read >= 0:
            for row, tokens in zip(self._rows, input_ids[:, self._read :].tolist(), strict=True):
                self._advance(row, tokens)
        self._read = input_ids.shape[1]
        allowed = np.zeros(tuple(scores.shape), dtype=np.bool_)
        for index, row in enumerate(self._rows):
            allowed[index, : self._vocabulary.size] = self._allowed(row)
        kept = torch.where(torch.from_numpy(allowed).to(scores.device), scores, -torch.inf)
        if not bool(kept.amax(-1).isfinite().all()):
            raise ModelError("no token of this model goes on with the tune in ABC", reason="no_constraint")
        return kept

    def _advance(self, row: _Row, tokens: Sequence[int]) -> None:
        for token in tokens:
            if row.has_ended or token in self._vocabulary.eos:
                row.has_ended = True
                return
            counter = row.counter.after(self._vocabulary.texts[token])
            if counter is None or not row.matcher.consume_token(token):
                raise ModelError("a token was chosen that the grammar of ABC does not allow", reason="no_constraint")
            row.counter, row.tokens = counter, row.tokens + 1
            row.tokens_of_header = row.tokens_of_header if row.in_music else row.tokens

    def _allowed(self, row: _Row) -> Bools:
        """bool[vocabulary]: the tokens that may come next."""
        if row.has_ended:
            return self._only(self._eos)
        allowed = self._by_grammar(row.matcher)
        if not row.in_music:
            return self._whole_lines(row, allowed)
        if not row.counter.may_end:
            allowed[self._eos] = False
        left = self._left(row)
        is_ending = left is not None and left <= letters_to_end(row.counter)
        is_closing = is_ending or (left is not None and left <= self._tokens_to_even(row))
        if is_closing and (is_ending or _has_the_lead(row.counter)):
            way_out = self._way_out(row, allowed)
            if way_out is not None:
                return self._only(way_out)
        fits = self._vocabulary.bars.fitting(row.counter, most_bars=_most_bars(row.counter) if is_closing else None)
        allowed[self._vocabulary.bars.ids[~fits]] = False
        return allowed

    def _by_grammar(self, matcher: LLMatcher) -> Bools:
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(matcher, self._words)
        bits = np.unpackbits(self._words[0].view(np.uint8), count=self._vocabulary.size, bitorder="little")
        return bits.view(np.bool_)

    def _whole_lines(self, row: _Row, allowed: Bools) -> Bools:
        """Lines without music; of the tokens that begin the line after, few are allowed, and each is tried."""
        longer = self._vocabulary.over_line_ends
        for token in longer[allowed[longer]].tolist():
            allowed[token] = row.counter.after(self._vocabulary.texts[token]) is not None
        return allowed

    def _way_out(self, row: _Row, allowed: Bools) -> NDArray[np.int64] | None:
        """The end of the answer where it may come, else the next letter of a short way there."""
        if allowed[self._eos].any():
            return self._eos
        tokens = (self._vocabulary.letters.get(letter) for letter in next_letters(row.counter))
        return next((np.array([token]) for token in tokens if token is not None and allowed[token]), None)

    def _only(self, tokens: NDArray[np.int64]) -> Bools:
        allowed = np.zeros(self._vocabulary.size, dtype=np.bool_)
        allowed[tokens] = True
        return allowed

    def _left(self, row: _Row) -> int | None:
        """Tokens that the row may still have beside the one that ends it."""
        return None if self._most_tokens is None else self._most_tokens - row.tokens - 1

    def _tokens_to_even(self, row: _Row) -> float:
        """Tokens that the voices that are behind will want to catch up, if their bars take as many as those so far."""
        counter = row.counter
        missing = sum(map(counter.lag, counter.bars))
        a_bar = (row.tokens - row.tokens_of_header) / max(1, sum(counter.bars.values()))
        return letters_to_end(counter) + (missing + len(counter.bars)) * a_bar


def _has_the_lead(counter: BarCounter) -> bool:
    """Whether the voice is between bars and no other has more of them, or the next voice is being named."""
    return counter.bracket.startswith("[V") or (counter.is_closed and not counter.lag(counter.voice))


def _most_bars(counter: BarCounter) -> int:
    """Bars that the voice may have while the tune is closing: as many as another has, or the one that is open."""
    there = counter.bars.get(counter.voice, 0)
    return max(counter.lead, there + (not counter.is_closed))
