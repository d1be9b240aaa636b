"""Constrained decoding: only tokens that keep to the grammar of ABC and to exact bars may be chosen.

The grammar is one regular expression: the part of ABC standard 2.1 in which every bar's length can be counted as it is
written. It has a header in fixed order, a given number of voices, notes, rests, chords, ties and triplets, and every
line ends with a bar line. Prose, lyrics, comments and changes inside the music are left out, for nothing in a first
tune needs them.

llguidance says which tokens the grammar allows, one automaton a row; `BarTokens` says which of these fit into the bar,
with a `BarCounter` for each row. What a token does to a bar does not depend on how full the bar is, only on a few kinds
of state (`_Kind`): inside a triplet, inside a chord, after a bar line. So each token is read once in each kind of
state, letter by letter by the same `BarCounter` that follows the tune, and a step of decoding compares a few arrays of
whole numbers. When a row's tokens run out, the tune is closed: first the voices that are behind catch up, and in the
end `closing_letters` gives each letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image2music.composers.constrained.bars import (
    SHORTEST,
    BarCounter,
    closing_letters,
    least_ticks,
    letters_to_close,
    ticks_of,
)
from image2music.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

Ints = NDArray[np.int32]

Bools = NDArray[np.bool_]
NEVER = 2**20
"""More ticks than any bar has."""
_MUSIC = re.compile(r"[A-GVa-gz0-9/,'^_=|:\[\]() \n-]+")
_LENGTH_DIGITS = re.compile(r"[,']*([0-9/]*)")
_WRITTEN = re.compile(r"(?:[1-9][0-9]?)?(?:/[248]?)?")

_NO_ABC = re.compile(r"[0-9]{3}|/[0135679/]|/[248][0-9/]|[,']{4}|  |\n\n|[\^_=]{2}")
"""What the grammar allows nowhere in the music: tokens with that need no reading."""

_Kind = tuple[str, int, bool, bool]
"""The open bracket as far as it matters, notes left of a triplet, between bars or not, length pending or not."""

_KINDS: tuple[_Kind, ...] = (
    ("", 0, True, False),
    ("", 0, False, False),
    ("", 0, False, True),
    *(("", notes, False, False) for notes in range(1, 5)),
    *((bracket, 0, is_closed, False) for bracket in ("[", "[C") for is_closed in (True, False)),
    *((bracket, 0, True, False) for bracket in ("[V", "[V:", "[V:1", "[V:2")),
)
"""The kinds of state that nearly every tune comes through."""


@dataclass(slots=True)
class _Measure(BarCounter):
    """A counter for a bar of any length: it notes how full each bar is when it ends."""

    ended: list[int] = field(default_factory=list)

    def _ends_bar(self) -> bool:
        if not self.is_closed:
            self.ended.append(self.filled)
            self.filled, self.is_closed = 0, True
        return not self.triplet

    @property
    def needed(self) -> int:
        """Ticks that the bar must have at least for what stands in it, the last note as short as it may become."""
        if self.pending is not None:
            return self.filled + least_ticks(self.pending)
        is_chord = self.bracket and not self.bracket.startswith("[V")
        is_open = is_chord or (self.last in "^_=" and not self.triplet)
        return self.filled + (SHORTEST if is_open else 0)


@dataclass(frozen=True)
class _Effects:
    """What each token does in one kind of state; int32[tokens] in ticks unless said otherwise.

    bars: how many bars it ends.
    first: what it adds to the bar that is open, up to its end or, where it ends none, at least.
    middle: how long the bars are that it both begins and ends; `NEVER` if they differ, 0 if there are none.
    last: what it needs of the bar that it begins and leaves open.
    """

    bars: Ints
    first: Ints
    middle: Ints
    last: Ints


class BarTokens:
    """The tokens of a vocabulary by what they do to bars. The others fit wherever the grammar says."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.ids = np.array([i for i, text in enumerate(texts) if _is_music(text)], dtype=np.int64)
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


def _is_music(text: str) -> bool:
    return bool(_MUSIC.fullmatch(text)) and not _NO_ABC.search(text)


def _kind(counter: BarCounter) -> _Kind:
    bracket = counter.bracket if len(counter.bracket) < 2 or counter.bracket[1] == "V" else "[C"
    return bracket, counter.triplet, counter.is_closed, counter.pending is not None


def _effects(kind: _Kind, texts: Sequence[str]) -> _Effects:
    read: dict[str, tuple[int, int, int, int]] = {}
    for text in texts:
        if text not in read:
            read[text] = _effect(kind, text)
    bars, first, middle, last = np.array([read[text] for text in texts], dtype=np.int32).reshape(-1, 4).T.copy()
    return _Effects(bars, first, middle, last)


def _effect(kind: _Kind, text: str) -> tuple[int, int, int, int]:
    bracket, triplet, is_closed, _ = kind
    measure = _Measure(in_header=False, bar=NEVER, bracket=bracket, triplet=triplet, is_closed=is_closed)
    for letter in text:
        if not measure._takes(letter):
            return 0, NEVER, 0, 0
    if not measure.ended:
        return 0, measure.needed, 0, 0
    first, *middle = measure.ended
    same = middle[0] if len(set(middle)) == 1 else NEVER if middle else 0
    return len(measure.ended), first, same, measure.needed


_PITCH = r"[\^_=]?[A-Ga-g](?:,{1,3}|'{1,3})?"
_LENGTH = r"(?:[1-9][0-9]?(?:/[248])?|/[248]?)?"
_NOTE = rf"{_PITCH}{_LENGTH}-?"
_REST = rf"z{_LENGTH}"
_CHORD = rf"\[(?:{_PITCH}){{2,5}}\]{_LENGTH}-?"
_TRIPLET = rf"\(3 ?{_PITCH} ?{_PITCH} ?{_PITCH}"
_ITEM = rf"(?:{_NOTE}|{_REST}|{_CHORD}|{_TRIPLET})"
_ITEMS = rf"{_ITEM}(?: ?{_ITEM})*"
_BARS = rf"(?:\|: ?)?{_ITEMS}(?: ?\| ?{_ITEMS})*"
_LINE_END = r" ?(?:\|\||\|\]|:\||\|)\n"
_TUNE_END = r" ?(?:\|\]|:\|)\n?"

# A title begins with a letter; what breaks lines in some reader or other is no part of it.
_TEXT = r"[A-Za-z\u00c0-\u1fff][^\x00-\x1f\x7f-\x9f\u2028\u2029%\\]{0,59}"
_METER = r"(?:[2-7]|9|12)/[248]"
_TEMPO = r"(?:Q:1/4=[1-9][0-9]{1,2}\n)?"

# At most seven sharps or flats each.
_MAJOR = r"[A-G]|[FC]#|[CDEGAB]b"
_MINOR = r"(?:[A-G]|[FCGDA]#|[EBA]b)(?:m|min)"
_KEY = rf"(?:{_MAJOR}|{_MINOR}|[A-G] ?(?:dor|mix|phr|lyd))"
_HEADER = rf"X:1\nT:{_TEXT}\nM:{_METER}\nL:1/(?:4|8|16)\n{_TEMPO}K:{_KEY}\n"
_DETAILS = r"(?: clef=(?:treble|bass))?\n(?:%%MIDI program [1-9]?[0-9]\n)?"
MOST_VOICES = 4


def tune_pattern(voices: int) -> str:
    """Return a pattern for one whole tune of 1 to `MOST_VOICES` voices.

    In the syntax that `re` and llguidance share.
    """
    if not 1 <= voices <= MOST_VOICES:
        raise ConfigError(f"a tune has 1 to {MOST_VOICES} voices, not {voices}", reason="bad_voices")
    if voices == 1:
        return _HEADER + _music("")
    declared = "".join(rf"V:{number}{_DETAILS}" for number in range(1, voices + 1))
    return _HEADER + declared + _music(rf"\[V:[1-{voices}]\] ?")


def _music(prefix: str) -> str:
    return rf"(?:{prefix}{_BARS}{_LINE_END})*{prefix}{_BARS}{_TUNE_END}"


VOICES = 2
"""Voices of a tune that a chat model writes, as its prompt asks for."""
TUNE = tune_pattern(VOICES)
_WORD_BITS = 32


class AbcVocabulary:
    """A tokenizer prepared for the grammar; takes about a second for a large one, so make it once a model."""

    def __init__(self, tokenizer: Any, eos: Sequence[int], size: int) -> None:
        import llguidance
        from llguidance.hf import from_tokenizer

        self.size, self.eos = size, frozenset(eos)
        self.end = np.array(sorted(self.eos), dtype=np.int64)
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
        """Return the grammar at its beginning."""
        return self._matcher.deep_copy()


class ConstrainedTuneState:
    """One tune while it is decoded, and what may come next in it.

    With `most_tokens` it ends before it has that many, its end of answer included; some hundreds are enough for a
    header and a bar in each voice. Without, it ends when the model ends it.
    """

    def __init__(self, vocabulary: AbcVocabulary, most_tokens: int | None = None) -> None:
        self.vocabulary, self._most_tokens = vocabulary, most_tokens
        self.matcher, self._counter = vocabulary.matcher(), BarCounter()
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
        if not self._in_music:
            self._tokens_of_header = self._tokens

    def narrow(self, allowed: Bools) -> None:
        """Clear in bool[vocabulary], which holds what the grammar allows, all that does not fit into the bar."""
        if self.has_ended:
            return _leave_only(allowed, self.vocabulary.end)
        if not self._in_music:
            return self._keep_whole_lines(allowed)
        if not self._counter.may_end:
            allowed[self.vocabulary.end] = False
        left = self._left()
        is_ending = left is not None and left <= letters_to_close(self._counter)
        is_closing = is_ending or (left is not None and left <= self._tokens_to_even())
        if is_closing and (is_ending or _has_the_lead(self._counter)):
            way_out = self._way_out(allowed)
            if way_out is not None:
                return _leave_only(allowed, way_out)
        most_bars = _most_bars(self._counter) if is_closing else None
        bars = self.vocabulary.bars
        allowed[bars.ids[~bars.fitting(self._counter, most_bars=most_bars)]] = False
        return None

    @property
    def _in_music(self) -> bool:
        return not (self._counter.in_header or self._counter.line)

    def _keep_whole_lines(self, allowed: Bools) -> None:
        """Lines without music; of the tokens that begin the line after, few are allowed, and each is tried."""
        longer = self.vocabulary.over_line_ends
        for token in longer[allowed[longer]].tolist():
            allowed[token] = self._counter.after(self.vocabulary.texts[token]) is not None

    def _way_out(self, allowed: Bools) -> NDArray[np.int64] | None:
        """The end of the answer where it may come, else the next letter of a short way there."""
        if allowed[self.vocabulary.end].any():
            return self.vocabulary.end
        tokens = (self.vocabulary.letters.get(letter) for letter in closing_letters(self._counter))
        return next((np.array([token]) for token in tokens if token is not None and allowed[token]), None)

    def _left(self) -> int | None:
        """Tokens that the tune may still have beside the one that ends it."""
        return None if self._most_tokens is None else self._most_tokens - self._tokens - 1

    def _tokens_to_even(self) -> float:
        """Tokens that the voices that are behind will want to catch up, if their bars take as many as those so far."""
        counter = self._counter
        a_bar = (self._tokens - self._tokens_of_header) / max(1, sum(counter.bars.values()))
        return letters_to_close(counter) + (counter.missing + len(counter.bars)) * a_bar


class AbcConstraint:
    """A logits processor of the transformers library that makes each row one whole tune."""

    def __init__(self, vocabulary: AbcVocabulary, rows: int, most_tokens: int | None = None) -> None:
        self._tunes = [ConstrainedTuneState(vocabulary, most_tokens) for _ in range(rows)]
        self._read: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores float[rows, vocabulary] with -inf for all but the tokens that may come next."""
        if self._read is not None:
            for tune, tokens in zip(self._tunes, input_ids[:, self._read :].tolist(), strict=True):
                for token in tokens:
                    tune.take(token)
        self._read = input_ids.shape[1]
        return only_allowed(self._tunes, scores)


def only_allowed(tunes: Sequence[ConstrainedTuneState], scores: Tensor) -> Tensor:
    """Return scores float[tunes, vocabulary] with -inf for all but the tokens that may come next in each tune.

    Raises:
        ModelError: none is left of those whose score was finite (`no_constraint`).
    """
    from llguidance.numpy import fill_next_token_bitmask

    size = tunes[0].vocabulary.size
    words = np.zeros((len(tunes), -(-size // _WORD_BITS)), dtype=np.int32)
    for row, tune in enumerate(tunes):
        if not tune.has_ended:
            fill_next_token_bitmask(tune.matcher, words, row)
    # The output may have more rows than there are tokens.
    bits = np.unpackbits(words.view(np.uint8), axis=1, count=scores.shape[1], bitorder="little")
    allowed = bits.view(np.bool_)
    for row, tune in enumerate(tunes):
        tune.narrow(allowed[row, :size])
    kept = torch.where(torch.from_numpy(allowed).to(scores.device), scores, -torch.inf)
    if not bool(kept.amax(-1).isfinite().all()):
        raise ModelError("no token of this model goes on with the tune in ABC", reason="no_constraint")
    return kept


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
