"""Decoding under rules.

Controls that keep to allowed words, bars that are always full, noise that belongs to each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from image2music.composers.nano.melody import Note, meter_fraction
from image2music.composers.nano.vocabulary import (
    CONTROL_SLOTS,
    DANCED_IN,
    LEVEL_EDGES,
    LEVELS,
    METERS,
    TICKS_PER_UNIT,
    TONICS,
    Controls,
    Vocabulary,
)
from image2music.music.theory import MIDDLE_C, SCALES

BoolArray = NDArray[np.bool_]
LOWEST_PITCH, HIGHEST_PITCH = 57, 88
SHORTEST = Fraction(1, 32)
BARS_A_PHRASE = 4
MOST_URGE = 4.0

CLOSE = 1e-3
"""Logits, and shares of the nucleus, nearer than this are not told apart by single precision. Its error with the
weights that come with the package is below 1e-5 (a test measures it), guided 4e-5."""

_DIGITS = 6
"""Decimals of scores that are compared: on a tie of the rounded scores the smaller token wins, so that neither the
order of a sum nor another processor's last bits decide."""


@dataclass(frozen=True)
class DecodingConstraints:
    """What one tune must keep to: the words allowed in each control slot; slots that are not named are free.

    `placed` maps (bar, onset in ticks) to the note token that must stand there.
    """

    allowed: Mapping[str, tuple[str, ...]]
    seed: int
    placed: Mapping[tuple[int, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class BarRules:
    """What the bars of one tune must keep to, read off its controls. Lengths in ticks, range in semitones.

    `widest` is never passed; a bias pushes the melody to reach `narrowest`. `fillable[room]` tells whether allowed
    notes other than triplets can fill so much of a bar.
    """

    capacity: int
    n_bars: int
    allowed_notes: BoolArray
    fillable: BoolArray
    narrowest: float
    widest: float

    @classmethod
    def of(cls, controls: Controls, vocabulary: Vocabulary) -> BarRules:
        """Derive the rules from complete controls."""
        unit = Fraction(controls["unit"])
        capacity = int(meter_fraction(controls["meter"]) / unit * TICKS_PER_UNIT)
        level = LEVELS.index(controls["range"])
        edges = (0.0, *LEVEL_EDGES["range"], float("inf"))
        notes = _allowed_notes(controls, vocabulary, unit, capacity)
        fillable = _fillable(notes, vocabulary, capacity)
        return cls(capacity, int(controls["bars"]), notes, fillable, edges[level] + 1, edges[level + 1])


def _allowed_notes(controls: Controls, vocabulary: Vocabulary, unit: Fraction, capacity: int) -> BoolArray:
    tonic = MIDDLE_C + TONICS.index(controls["tonic"])
    in_scale_only = controls["scale_consistency"] == LEVELS[-1]
    allowed = np.zeros(len(vocabulary), np.bool_)
    for note, token in vocabulary.note_ids.items():
        fits = note.length * unit >= SHORTEST and note.length * TICKS_PER_UNIT <= capacity
        if note.pitch is None:
            half_bar = note.length * TICKS_PER_UNIT * 2 <= capacity
            allowed[token] = fits and half_bar and controls["rests"] == "some" and not _is_third(note)
            continue
        sings = LOWEST_PITCH <= tonic + note.pitch <= HIGHEST_PITCH
        allowed[token] = fits and sings and not (in_scale_only and note.pitch % 12 not in SCALES[controls["mode"]])
    return allowed


def _fillable(allowed: BoolArray, vocabulary: Vocabulary, capacity: int) -> BoolArray:
    lengths = {
        vocabulary.ticks[token] for note, token in vocabulary.note_ids.items() if allowed[token] and not _is_third(note)
    }
    fillable = np.zeros(capacity + 1, np.bool_)
    fillable[0] = True
    for room in range(1, capacity + 1):
        fillable[room] = any(fillable[room - length] for length in lengths if length <= room)
    return fillable


def _is_third(note: Note) -> bool:
    return note.length.denominator == 3


@dataclass
class RowState:
    """The state of one row: in its controls, or in a bar."""

    controls: list[int] = field(default_factory=list)
    rules: BarRules | None = None
    onset: int = 0
    bars_done: int = 0
    triplet: tuple[int, int] = (0, 0)
    lowest: int | None = None
    highest: int | None = None
    ended: bool = False


class Grammar:
    """Which tokens may follow. One instance serves all rows."""

    def __init__(self) -> None:
        self.vocabulary = Vocabulary()
        size = len(self.vocabulary)
        pitches = np.full(size, -999)
        lengths = np.array(self.vocabulary.ticks)
        for note, token in self.vocabulary.note_ids.items():
            if note.pitch is not None:
                pitches[token] = note.pitch
        self.pitches, self.lengths = pitches, lengths
        self.is_triplet = np.zeros(size, np.bool_)
        for note, token in self.vocabulary.note_ids.items():
            self.is_triplet[token] = _is_third(note)

    def advance(self, state: RowState, token: int) -> None:
        """Take one token into a state."""
        vocabulary = self.vocabulary
        if state.rules is None:
            state.controls.append(token)
            if len(state.controls) == len(CONTROL_SLOTS):
                state.rules = BarRules.of(vocabulary.decode_controls(state.controls), vocabulary)
            return
        if token == vocabulary.end:
            state.ended = True
        elif token in (vocabulary.bar, vocabulary.section):
            state.onset, state.bars_done = 0, state.bars_done + 1
        else:
            self._advance_note(state, token)

    def _advance_note(self, state: RowState, token: int) -> None:
        length = int(self.lengths[token])
        state.onset += length
        if self.is_triplet[token]:
            left = state.triplet[0] - 1 if state.triplet[0] else 2
            state.triplet = (left, length)
        pitch = int(self.pitches[token])
        if pitch > -999:
            state.lowest = pitch if state.lowest is None else min(state.lowest, pitch)
            state.highest = pitch if state.highest is None else max(state.highest, pitch)

    def mask(self, state: RowState, constraint: DecodingConstraints) -> BoolArray:
        """bool[vocabulary], true for what may come next. Never all false."""
        if state.ended:
            return self._only(self.vocabulary.pad)
        if state.rules is None:
            return self._control_mask(state, constraint)
        if state.onset == state.rules.capacity:
            return self._line_mask(state)
        if (token := constraint.placed.get((state.bars_done, state.onset))) is not None:
            return self._only(token)
        return self._note_mask(state, state.rules)

    def urge(self, state: RowState) -> NDArray[np.float64]:
        """Return float64[vocabulary], a bias on the logits of notes that would widen a melody that is still too narrow.

        It grows as bars go by, so that the model finds its own place for the leap if it can.
        """
        bias = np.zeros(len(self.vocabulary))
        rules = state.rules
        if rules is None or state.lowest is None or state.highest is None:
            return bias
        if state.highest - state.lowest >= rules.narrowest:
            return bias
        widens = (self.pitches > state.highest) | ((self.pitches < state.lowest) & (self.pitches > -999))
        bias[widens] = MOST_URGE * min(1.0, 2 * state.bars_done / rules.n_bars)
        return bias

    def _only(self, *tokens: int) -> BoolArray:
        mask = np.zeros(len(self.vocabulary), np.bool_)
        mask[list(tokens)] = True
        return mask

    def _control_mask(self, state: RowState, constraint: DecodingConstraints) -> BoolArray:
        slot = CONTROL_SLOTS[len(state.controls)]
        first = self.vocabulary.control_offsets[slot.name]
        words = constraint.allowed.get(slot.name, slot.values)
        if slot.name == "kind":
            words = _dances(words, constraint.allowed.get("meter", METERS)) or words
        elif slot.name == "meter":
            words = _meters(words, self._controls_so_far(state)["kind"]) or words
        elif slot.name == "unit":
            words = _units(words, self._controls_so_far(state)["meter"]) or words
        return self._only(*(first + slot.values.index(word) for word in words))

    def _controls_so_far(self, state: RowState) -> Controls:
        """Return the slots decoded so far."""
        return self.vocabulary.decode_controls([*state.controls, *[0] * (len(CONTROL_SLOTS) - len(state.controls))])

    def _line_mask(self, state: RowState) -> BoolArray:
        assert state.rules is not None
        done = state.bars_done + 1
        if done == state.rules.n_bars:
            return self._only(self.vocabulary.end)
        if done % BARS_A_PHRASE == 0:
            return self._only(self.vocabulary.bar, self.vocabulary.section)
        return self._only(self.vocabulary.bar)

    def _note_mask(self, state: RowState, rules: BarRules) -> BoolArray:
        room = rules.capacity - state.onset
        left, length = state.triplet
        mask = rules.allowed_notes & (self.lengths <= room)
        if left:
            mask &= self.is_triplet & (self.lengths == length)
        else:
            mask &= self._leaves_fillable(rules, room) & (~self.is_triplet | self._triplet_starts(state.onset))
        if state.lowest is not None and state.highest is not None and rules.widest < float("inf"):
            near = (self.pitches >= state.highest - rules.widest) & (self.pitches <= state.lowest + rules.widest)
            mask &= near | (self.pitches == -999)
        if state.bars_done == rules.n_bars - 1:
            closing = self.lengths == room
            mask &= np.where(closing, self.pitches % 12 == 0, room - self.lengths >= TICKS_PER_UNIT) & ~self.is_triplet
            mask &= ~closing | (self.pitches > -999)
        return mask if mask.any() else self._fallback(rules, room)

    def _leaves_fillable(self, rules: BarRules, room: int) -> BoolArray:
        """Return whether the bar can still be filled after a note, or after the group of three that it begins."""
        leaves = room - self.lengths * np.where(self.is_triplet, 3, 1)
        fits: BoolArray = (leaves >= 0) & rules.fillable[np.maximum(leaves, 0)]
        return fits

    def _triplet_starts(self, onset: int) -> BoolArray:
        """Allow a group of three on a unit note, and one of two units' notes on an even one."""
        start = np.where(3 * self.lengths > 2 * TICKS_PER_UNIT, 2 * TICKS_PER_UNIT, TICKS_PER_UNIT)
        starts: BoolArray = onset % start == 0
        return starts

    def _fallback(self, rules: BarRules, room: int) -> BoolArray:
        """Allow any note that lets the bar end, where range or close left none."""
        return rules.allowed_notes & ~self.is_triplet & self._leaves_fillable(rules, room)


def _dances(kinds: tuple[str, ...], meters: tuple[str, ...]) -> tuple[str, ...]:
    """Keep the kinds that can have one of the meters."""
    return tuple(kind for kind in kinds if _meters(meters, kind))


def _meters(meters: tuple[str, ...], kind: str) -> tuple[str, ...]:
    return tuple(meter for meter in meters if meter in DANCED_IN.get(kind, METERS))


def _units(units: tuple[str, ...], meter: str) -> tuple[str, ...]:
    """Keep eighths, and sixteenths in 2/4: how the collections are written, but for a few."""
    return tuple(unit for unit in units if unit == ("1/16" if meter == "2/4" else "1/8"))


class SeededDecoding:
    """Masks, temperature, nucleus, and Gumbel noise from each row's own generator (the Gumbel-max trick).

    A row's tune does not depend on which rows share its batch. Matrix products do: their last bits differ with the
    batch's size. So a choice is *settled* only if logits that are off by up to `CLOSE` would lead to the same token;
    for the others the caller has to compute better logits.
    """

    def __init__(
        self,
        grammar: Grammar,
        constraints: Sequence[DecodingConstraints],
        *,
        temperature: float = 0.9,
        top_p: float = 0.95,
    ) -> None:
        self.grammar, self.constraints = grammar, constraints
        self.temperature, self.top_p = temperature, top_p
        self.states = [RowState() for _ in constraints]
        self._generators = [np.random.Generator(np.random.Philox(constraint.seed)) for constraint in constraints]

    def noise(self, row: int) -> NDArray[np.float64]:
        """Return float64[vocabulary], the row's next Gumbel noise; one array a token."""
        return self._generators[row].gumbel(size=len(self.grammar.vocabulary))

    def choose(self, row: int, logits: NDArray[np.floating], noise: NDArray[np.float64]) -> Choice:
        """Return the next token of a row without moving the row on: see `take`."""
        choices = np.flatnonzero(self.grammar.mask(self.states[row], self.constraints[row]))
        if len(choices) == 1:
            return Choice(int(choices[0]), settled=True)
        wanted = logits[choices].astype(np.float64) + self.grammar.urge(self.states[row])[choices]
        wanted /= self.temperature
        kept = nucleus(wanted, self.top_p)
        perturbed = wanted + noise[choices]
        winner = kept[np.argmax(perturbed[kept].round(_DIGITS))]
        return Choice(int(choices[winner]), _is_settled(wanted, perturbed, int(winner), self.top_p))

    def take(self, row: int, token: int) -> bool:
        """Move a row on by a token; return whether its tune has ended."""
        self.grammar.advance(self.states[row], token)
        return self.states[row].ended


@dataclass(frozen=True)
class Choice:
    """A token, and whether it stays the same for logits that are off by up to `CLOSE`."""

    token: int
    settled: bool


def nucleus(logits: NDArray[np.float64], top_p: float) -> NDArray[np.int64]:
    """Return the smallest set of choices whose probability reaches `top_p` (Holtzman et al. 2020), ascending."""
    order = np.argsort(-logits.round(_DIGITS), kind="stable")
    probabilities = np.exp(logits[order] - logits[order[0]])
    before = (np.cumsum(probabilities) - probabilities) / probabilities.sum()
    return np.sort(order[before.round(_DIGITS) < top_p])


def _is_settled(wanted: NDArray[np.float64], perturbed: NDArray[np.float64], winner: int, top_p: float) -> bool:
    """Return whether the winner is in every nucleus within reach, and ahead of all that is in any of them."""
    widest = wanted >= wanted[nucleus(wanted, top_p + CLOSE)].min() - CLOSE
    if (perturbed[widest] > perturbed[winner] - CLOSE).sum() > 1:
        return False
    surely_out = np.ones(len(wanted), np.bool_)
    surely_out[nucleus(wanted, top_p - CLOSE)] = False
    return not surely_out.any() or bool(wanted[winner] > wanted[surely_out].max() + CLOSE)
