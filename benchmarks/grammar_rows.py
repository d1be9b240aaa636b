"""What a step of constrained decoding costs: our mask of grammar and bars, against xgrammar's of the grammar alone.

Both follow the same tunes, drawn at random from the tokens that our mask allows: states that a good model would
never reach are among them. Both take in the token that was chosen, say what may come next, and rule the rest out of
the scores. Times are of the processor, in one thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.large_vocabulary import large_tokenizer
from benchmarks.row import BenchRow
from image2music.composers.constrained.constraint import AbcConstraint, AbcVocabulary
from image2music.composers.constrained.forms import tune_pattern

BATCH, MOST_TOKENS, BATCHES = 8, 400, 3
LIMIT_MS = 4.0
_PIECE = re.compile(r"\(\?:|\[(?:\\.|[^\]\\])*\]|\{\d+,?\d*\}|\\.|.", re.DOTALL)

_details: list[str] = []


def details() -> list[str]:
    """Sizes, and what a step of a batch costs."""
    return list(_details)


def rows(data: Path) -> Iterator[BenchRow]:
    """One row; no file under `data` is needed."""
    torch.set_num_threads(1)
    _details.clear()
    tokenizer = large_tokenizer()
    started = time.process_time()
    vocabulary = AbcVocabulary(tokenizer, [tokenizer.eos_token_id], len(tokenizer))
    prepared = time.process_time() - started
    tunes, steps = _drawn(vocabulary)
    median, p95 = np.percentile(steps, [50, 95])
    _details.append(
        f"- grammar and bars together, {vocabulary.size} tokens, batch of {BATCH}: {median:.2f} ms a step (median), "
        f"{p95:.2f} ms (p95), at most {LIMIT_MS:g} wanted; {len(steps)} steps; prepared once in {prepared:.1f} s"
    )
    peer = _XGrammar(tokenizer)
    _same_grammar(vocabulary, peer, tunes[0])
    ours = [ms for tune in tunes for ms in _followed(lambda: _Ours(vocabulary), tune, vocabulary.size)]
    theirs = [ms for tune in tunes for ms in _followed(peer.begin, tune, vocabulary.size)]
    for name, times in (("ours, bars included", ours), ("xgrammar, without bars", theirs)):
        shown = ", ".join(f"{value:.2f}" for value in np.percentile(times, [50, 95, 100]))
        _details.append(f"- {name}, one row, {len(times)} steps: {shown} ms (median, p95, worst)")
    yield BenchRow(
        "grammar_p95_ms", _p95(ours), _p95(theirs), "xgrammar, the same grammar", "CPU ms a step, p95", "lower"
    )


def _p95(times: list[float]) -> float:
    return float(np.percentile(times, 95))


def _drawn(vocabulary: AbcVocabulary) -> tuple[list[list[int]], list[float]]:
    """Random tunes, and the ms of each step of their batches."""
    dice, tunes, steps = torch.Generator().manual_seed(0), [], []
    for _ in range(BATCHES):
        rule, tokens = AbcConstraint(vocabulary, BATCH, MOST_TOKENS), torch.zeros((BATCH, 0), dtype=torch.int64)
        for _ in range(MOST_TOKENS):
            scores = torch.rand((BATCH, vocabulary.size), generator=dice)
            started = time.thread_time()
            scores = rule(tokens, scores)
            steps.append((time.thread_time() - started) * 1e3)
            tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], 1)
        tunes += [_whole(row, vocabulary.eos) for row in tokens.tolist()]
    return tunes, steps


def _whole(row: list[int], eos: frozenset[int]) -> list[int]:
    return row[: next(at for at, token in enumerate(row) if token in eos)]


def _followed(begin: Callable[[], Any], tune: list[int], size: int) -> list[float]:
    """The ms of each step along a tune."""
    follower, times = begin(), []
    scores = torch.rand((1, size))
    for token in [None, *tune]:
        own = scores.clone()
        started = time.thread_time()
        follower.step(token, own)
        times.append((time.thread_time() - started) * 1e3)
    return times


class _Ours:
    def __init__(self, vocabulary: AbcVocabulary) -> None:
        self._rule, self._written = AbcConstraint(vocabulary, 1), torch.zeros((1, 0), dtype=torch.int64)

    def step(self, token: int | None, scores: Tensor) -> None:
        if token is not None:
            self._written = torch.cat([self._written, torch.tensor([[token]])], 1)
        self._rule(self._written, scores)


class _XGrammar:
    """xgrammar with the same tokenizer and the same grammar, written as it wants it."""

    def __init__(self, tokenizer: Any) -> None:
        import xgrammar

        self._library, eos = xgrammar, [tokenizer.eos_token_id]
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=len(tokenizer), stop_token_ids=eos)
        self._compiled = xgrammar.GrammarCompiler(info, max_threads=1).compile_grammar(ebnf(tune_pattern(2)))
        self._mask, self._size = xgrammar.allocate_token_bitmask(1, len(tokenizer)), len(tokenizer)

    def begin(self) -> _XGrammar:
        self._matcher = self._library.GrammarMatcher(self._compiled)
        return self

    def step(self, token: int | None, scores: Tensor) -> None:
        if token is not None and not self._matcher.accept_token(token):
            raise SystemExit("xgrammar does not accept what llguidance allows: the grammars differ")
        self._matcher.fill_next_token_bitmask(self._mask)
        self._library.apply_token_bitmask_inplace(scores, self._mask)

    @property
    def allowed(self) -> Any:
        return np.unpackbits(self._mask[0].numpy().view(np.uint8), count=self._size, bitorder="little").astype(bool)


def _same_grammar(vocabulary: AbcVocabulary, peer: _XGrammar, tune: list[int]) -> None:
    """Both allow the same tokens at every step of a tune, or the comparison is void.

    But where only one text can follow, llguidance allows only the token with which the tokenizer would begin it.
    """
    from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

    matcher, mask = vocabulary.matcher(), allocate_token_bitmask(1, vocabulary.size)
    peer.begin()
    for token, following in pairwise([None, *tune, None]):
        peer.step(token, torch.zeros((1, vocabulary.size)))
        fill_next_token_bitmask(matcher, mask)
        allowed = np.unpackbits(mask[0].view(np.uint8), count=vocabulary.size, bitorder="little").astype(bool)
        different = np.flatnonzero(allowed & ~peer.allowed if allowed.sum() == 1 else allowed != peer.allowed)
        if different.size:
            raise SystemExit(f"the grammars differ in {[vocabulary.texts[i] for i in different[:5]]}")
        if following is not None:
            matcher.consume_token(following)


def ebnf(regex: str) -> str:
    """A regular expression as a grammar of one rule in xgrammar's EBNF; its own reader of regular expressions errs."""
    pieces = [_as_ebnf(piece) for piece in _PIECE.findall(regex)]
    return "root ::= " + "".join(pieces) + "\n"


def _as_ebnf(piece: str) -> str:
    if piece == "(?:":
        return " ("
    if piece in ("(", ")", "|", "?", "*", "+") or piece[0] == "{":
        return piece
    if piece[0] == "[":
        return " " + piece
    letter = piece if piece == r"\n" else piece.removeprefix("\\")
    return ' "' + letter.replace('"', '\\"') + '"'
