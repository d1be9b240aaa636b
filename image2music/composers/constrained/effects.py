"""What each token of a vocabulary does to the bars of a tune, so that all are compared with a bar at once.

What a token does does not depend on how full the bar is, only on a few kinds of state (`_Kind`): inside a triplet,
inside a chord, after a bar line. So each token is read once in each kind of state, letter by letter by the same
`BarCounter` that follows the tune, and a step of decoding compares a few arrays of whole numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from image2music.composers.constrained.bars import SHORTEST, TRIPLET, BarCounter, LineCounter, least_ticks, ticks_of

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
