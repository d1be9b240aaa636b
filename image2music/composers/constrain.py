"""Constrained decoding: only tokens that keep to the grammar of ABC and to exact bars may be chosen.

llguidance says which tokens the grammar allows (one automaton a row); of these, the likeliest are tried on a
`BarCounter`, likeliest first, since counting every token of the vocabulary would take longer than the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image2music.composers.abc_grammar import TUNE
from image2music.composers.bar_rules import BarCounter
from image2music.errors import ModelError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

CANDIDATES = 48
"""Tokens tried on the bars at first; where none of them fits, eight times as many are."""

_WIDER = 8


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
        self._texts: dict[int, str] = {}

    def matcher(self) -> LLMatcher:
        """The grammar at its beginning."""
        return self._matcher.deep_copy()

    def text(self, token: int) -> str:
        """What a token writes; bytes that are no whole letter, which only titles hold, come out as a sign for that."""
        if token not in self._texts:
            self._texts[token] = self.tokenizer.decode_bytes([token]).decode("utf-8", "replace")
        return self._texts[token]


@dataclass
class _Row:
    """One tune in the making."""

    matcher: LLMatcher
    counter: BarCounter
    has_ended: bool = False


class AbcConstraint:
    """A logits processor: each row writes one whole tune from its first token on, and then ends."""

    def __init__(self, vocabulary: AbcVocabulary, rows: int) -> None:
        self._vocabulary = vocabulary
        self._rows = [_Row(vocabulary.matcher(), BarCounter()) for _ in range(rows)]
        self._read = -1

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores float[rows, vocabulary] with -inf for all but the likeliest tokens that may come next."""
        if self._read >= 0:
            for row, tokens in zip(self._rows, input_ids[:, self._read :].tolist(), strict=True):
                self._advance(row, tokens)
        self._read = input_ids.shape[1]
        kept = torch.full_like(scores, -torch.inf)
        for index, row in enumerate(self._rows):
            allowed = self._allowed(row, scores[index])
            kept[index, allowed] = scores[index, allowed]
        return kept

    def _advance(self, row: _Row, tokens: Sequence[int]) -> None:
        for token in tokens:
            if row.has_ended or token in self._vocabulary.eos:
                row.has_ended = True
                return
            counter = row.counter.after(self._vocabulary.text(token))
            if counter is None or not row.matcher.consume_token(token):
                raise ModelError("a token was chosen that the grammar of ABC does not allow", reason="no_constraint")
            row.counter = counter

    def _allowed(self, row: _Row, scores: Tensor) -> Tensor:
        """The tokens that may come next, at most `CANDIDATES` unless more must be tried."""
        if row.has_ended:
            return torch.tensor(sorted(self._vocabulary.eos), device=scores.device)
        by_grammar = torch.from_numpy(self._by_grammar(row.matcher)).to(scores.device)
        there = scores[by_grammar]
        by_grammar, there = by_grammar[there.isfinite()], there[there.isfinite()]
        most, tried = CANDIDATES, 0
        while tried < len(there):
            likeliest = by_grammar[there.topk(min(most, len(there))).indices[tried:]]
            fitting = [token for token in likeliest.tolist() if self._fits(row, token)]
            if fitting:
                return torch.tensor(fitting, device=scores.device)
            tried, most = most, most * _WIDER
        raise ModelError("no token of this model goes on with the tune in ABC", reason="no_constraint")

    def _fits(self, row: _Row, token: int) -> bool:
        if token in self._vocabulary.eos:
            return row.counter.may_end
        return row.counter.after(self._vocabulary.text(token)) is not None

    def _by_grammar(self, matcher: LLMatcher) -> NDArray[np.int64]:
        return np.flatnonzero(np.frombuffer(matcher.compute_logit_bias(), dtype=np.uint8)[: self._vocabulary.size])
