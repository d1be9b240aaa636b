"""What the network is asked at run time: motifs, the surprise of lines, their liveliness, and where it looks.

Matrix products differ in their last bits with the batch's size and the processor. Dice are therefore thrown on
probabilities of double precision, and figures that decide something are rounded to `DIGITS`: in single precision first,
and once more in double precision where the rounding hangs on the last bits. So a line's figures and motifs depend on
nothing but what is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from image2music.composers.nano.network.model import KeysAndValues, LineDecoder, load_decoder, nats_of, pooled
from image2music.composers.nano.network.tokens import (
    BAR,
    BAR_ROW,
    CHORD_ROW,
    COLUMNS,
    HEAD,
    HEAD_ROW,
    HEAD_SIZES,
    HEADS,
    HIGHEST_STEP,
    KIND,
    LENGTHS,
    LONGEST_BAR,
    LOWEST_STEP,
    METERS,
    NOTE_ROW,
    NUMBER,
    PITCH_AT,
    REST,
    Rows,
    chord_symbols,
    control_symbols,
    encode_sketch,
    harmony_at,
    home_pitch,
    prefix_rows,
    register_class,
    tonality_of,
)
from image2music.composers.nano.sketch import PURPOSES, Note, Sketch, bar_ticks, beat_ticks
from image2music.composers.suiting import Character

NETWORK_WEIGHTS = Path(__file__).parent / "weights"
DIGITS = 3
_DOUBT = 3e-5
"""How near to a rounding edge single precision is not trusted; its error on these figures is below 1e-5."""
_NUCLEUS = 0.95
_JUDGED = frozenset({"tempo", "character", "purpose", "dynamic"})

Motif = tuple[tuple[Note, ...], tuple[Note, ...]]
"""Two bars of notes."""


@dataclass(frozen=True)
class LineReading:
    """Where the network looked: float32[layers, spans, cells], and the same over a blank picture.

    Each number is a share of one softmax over cells and the line so far, mean over heads and the tokens of the span.
    """

    by_layer: NDArray[np.float32]
    blank_by_layer: NDArray[np.float32]

    @property
    def maps(self) -> NDArray[np.float32]:
        """The maps of equation 2, float32[spans, cells]: mean over layers, heads and tokens."""
        found: NDArray[np.float32] = self.by_layer.mean(0)
        return found

    @property
    def baseline(self) -> NDArray[np.float32]:
        """The same over a blank picture."""
        found: NDArray[np.float32] = self.blank_by_layer.mean(0)
        return found


class NanoNetwork:
    """The network, ready to be asked; its weights are read once more, in double precision, when that is needed."""

    def __init__(self, folder: Path = NETWORK_WEIGHTS) -> None:
        self._folder = folder
        self.quick = load_decoder(folder, torch.float32)

    @cached_property
    def exact(self) -> LineDecoder:
        """The decoder in double precision, for dice and for what rounding leaves in doubt."""
        return load_decoder(self._folder, torch.float64)

    def propose_motifs(
        self,
        key: str,
        meter: str,
        chords: tuple[Sequence[str], Sequence[str]],
        character: Character,
        qpm: float,
        low: int,
        high: int,
        n: int,
        seed: int,
        *,
        density: int = 0,
    ) -> list[Motif]:
        """Return at most `n` different motifs of two full bars, the likeliest first.

        `chords` are the symbols of each bar, in equal parts of it. Pitches lie between `low` and `high`. Motif number
        i comes from the dice of `seed` and i, whatever `n` is. `density` asks for sparse (1) to dense (5) bars, see
        `DENSITY_EDGES`; 0 leaves it open.

        Raises:
            ModelError: `bad_key` or `bad_meter`; PlanError: `bad_chord`.
        """
        drawn = _Draw(self.exact, key, meter, chords, character, qpm, low, high, density).draw(n, seed)
        nats: dict[Motif, float] = {}
        for motif, mean in drawn:
            nats.setdefault(motif, mean)
        return sorted(nats, key=lambda motif: (nats[motif], motif))

    def surprise(self, sketches: Sequence[Sketch]) -> NDArray[np.float64]:
        """Return float64[n]: mean nats a note or rest of each line, rounded; what heads know of the notes is hidden."""
        return np.array([self._figure(line, _mean_nats) for line in sketches])

    def surprise_by_bar(self, sketch: Sketch) -> NDArray[np.float64]:
        """Return float64[bars]: mean nats a note or rest of each bar."""
        rows = _line_rows(sketch)
        _, nats = _read_line(self.quick, rows)
        notes = rows[1:, KIND] == NOTE_ROW
        own = nats.double().numpy()[notes]
        numbers = rows[1:, NUMBER][notes]
        sums = np.bincount(numbers, own, len(sketch.bars))
        return np.round(sums / np.maximum(np.bincount(numbers, minlength=len(sketch.bars)), 1), DIGITS)

    def liveliness(self, sketches: Sequence[Sketch]) -> NDArray[np.float64]:
        """Return float64[n]: the higher, the more like a person's line than a machine's; unbounded."""
        return np.array([self._figure(line, _liveliness_of, judged=True) for line in sketches])

    def read(
        self, sketch: Sketch, cells: NDArray[np.float32], spans: Sequence[Iterable[int]], *, dynamics: bool = True
    ) -> LineReading:
        """Read a line with a picture's cells in its context, and with a blank picture's, in one pass.

        `cells` float32[cells, dim] as `patches` makes them; each span names bars from 0 (a voice: the bars it sings).
        A bar's tokens are its bar line, head, chords and notes; each is read where it was predicted. A span without
        tokens has zeros. `dynamics` tells whether the network is told how loud the bars are.
        """
        rows = _line_rows(sketch, frozenset() if dynamics else frozenset({"dynamic"}))
        model = self.quick
        pictures = torch.stack([torch.from_numpy(cells).float(), model.blank.expand(len(cells), -1).float()])
        own = torch.from_numpy(rows.astype(np.int64))[None].expand(2, -1, -1)
        with torch.inference_mode():
            n_bars = torch.full((2,), len(sketch.bars))
            _, _, layers = model(own, n_bars, model.memory(pictures))
            weights = torch.stack([layer[..., : len(cells)].mean(1) for layer in layers]).numpy()
        # Row t was predicted at the position before it.
        weights = weights[:, :, :-1]
        kinds, numbers = rows[1:, KIND], rows[1:, NUMBER]
        in_bar = (kinds >= BAR_ROW) & (kinds <= NOTE_ROW)
        maps = np.zeros((2, weights.shape[0], len(spans), len(cells)), np.float32)
        for at, span in enumerate(spans):
            chosen = in_bar & np.isin(numbers, list(span))
            if chosen.any():
                maps[:, :, at] = weights[:, :, chosen].mean(2).transpose(1, 0, 2)
        return LineReading(maps[0], maps[1])

    def likelihood_by_bar(
        self, sketch: Sketch, cells: NDArray[np.float32], hidden: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return float64[n, bars]: log likelihood of each bar's tokens, read as in `read` with some cells blank.

        `hidden` bool[n, cells] tells which.
        """
        rows = _line_rows(sketch)
        model = self.quick
        shown = torch.from_numpy(cells).float().expand(len(hidden), -1, -1)
        own = torch.from_numpy(rows.astype(np.int64))[None].expand(len(hidden), -1, -1)
        with torch.inference_mode():
            pictures = torch.where(torch.from_numpy(hidden)[..., None], model.blank, shown)
            n_bars = torch.full((len(hidden),), len(sketch.bars))
            states, _, _ = model(own, n_bars, model.memory(pictures))
            nats = nats_of(model, states, own, own[..., HEADS:])
        tokens = (nats.symbols + nats.heads).double().numpy()
        kinds, numbers = rows[1:, KIND], rows[1:, NUMBER]
        in_bar = (kinds >= BAR_ROW) & (kinds <= NOTE_ROW)
        of_bar = (numbers[:, None] == np.arange(len(sketch.bars))) & in_bar[:, None]
        likelihood: NDArray[np.float64] = -tokens @ of_bar
        return likelihood

    def _figure(self, sketch: Sketch, figure: _Figure, *, judged: bool = False) -> float:
        rows = _line_rows(sketch, _JUDGED if judged else frozenset())
        value = figure(self.quick, rows)
        beyond = value * 10**DIGITS % 1
        if abs(beyond - 0.5) < _DOUBT * 10**DIGITS:
            value = figure(self.exact, rows)
        return round(value, DIGITS)


class _Figure(Protocol):
    """A figure of a line's rows."""

    def __call__(self, model: LineDecoder, rows: Rows) -> float: ...


def _line_rows(sketch: Sketch, unknown: frozenset[str] = frozenset()) -> Rows:
    """Encode a line, density and register hidden: they would tell the notes before they come."""
    rows = encode_sketch(sketch, unknown=unknown)
    rows[:, HEADS + 2 : HEADS + 4] = 0
    if unknown == _JUDGED:
        rows[:, HEADS:] = 0
    return rows


@torch.inference_mode()
def _read_line(model: LineDecoder, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """Return last layer [n, width] and nats [n - 1], without a picture."""
    own = torch.from_numpy(rows.astype(np.int64))[None]
    n_bars = torch.tensor([int((rows[:, KIND] == BAR_ROW).sum())])
    hidden, _, _ = model(own, n_bars, _no_picture(model, 1), fused=True)
    return hidden[0], nats_of(model, hidden, own, own[..., HEADS:]).symbols[0]


def _no_picture(model: LineDecoder, batch: int) -> KeysAndValues:
    empty = model.blank.new_zeros(batch, model.config.cells, model.config.cell_dim)
    return model.memory(empty)


def _mean_nats(model: LineDecoder, rows: Rows) -> float:
    _, nats = _read_line(model, rows)
    return float(nats[torch.from_numpy(rows[1:, KIND] == NOTE_ROW)].double().mean())


@torch.inference_mode()
def _liveliness_of(model: LineDecoder, rows: Rows) -> float:
    hidden, nats = _read_line(model, rows)
    return float(model.liveliness(pooled(hidden, nats.to(hidden.dtype), torch.from_numpy(rows.astype(np.int64)))))


class _Draw:
    """Draws motifs side by side, one row of the batch each."""

    def __init__(
        self,
        model: LineDecoder,
        key: str,
        meter: str,
        chords: tuple[Sequence[str], Sequence[str]],
        character: Character,
        qpm: float,
        low: int,
        high: int,
        density: int,
    ) -> None:
        self.model = model
        self.density = density
        self.prefix = prefix_rows(control_symbols(key, meter, qpm, character, 0))
        self.length, self.beat = bar_ticks(meter), beat_ticks(meter)
        self.meter_at = METERS.index(meter) * (LONGEST_BAR + 1)
        self.prefix[-1, 2] = self.meter_at
        tonic = tonality_of(key).pitch_class
        self.chords = [[chord_symbols(symbol, tonic) for symbol in bar] or [chord_symbols("", 0)] for bar in chords]
        self.home = home_pitch(key)
        self.register = register_class((low + high) / 2)
        steps = np.arange(LOWEST_STEP, HIGHEST_STEP + 1) + self.home
        self.pitches = PITCH_AT + np.flatnonzero((steps >= low) & (steps <= high))
        self.lengths = {at: self._lengths(at) for at in range(self.length)}

    def _lengths(self, onset: int) -> list[int]:
        """Return the second symbols that may begin at an onset: in the bar, on a grid of sixteenths or of triplets."""
        found = []
        for symbol, ticks in enumerate(LENGTHS, 1):
            end, inside = onset + ticks, onset % 12
            straight = inside % 3 == 0 and ticks % 3 == 0
            third = self.beat == 12 and ticks in (4, 8) and inside in (0, 4, 8) and inside + ticks <= 12
            if end <= self.length and (third or straight):
                found.append(symbol)
        return found

    def bar(self, number: int) -> list[list[int]]:
        """Return the rows that open a bar."""
        chords = self.chords[number]
        where = [number, number, 7 - number, 0]
        nothing = [0] * len(HEAD_SIZES)
        head = [1 + PURPOSES.index("statement"), 0, self.density, self.register, 0]
        rows = [[BAR, 0, self.meter_at, 0, *where, BAR_ROW, *nothing]]
        rows.append([HEAD, 0, self.meter_at, 0, *where, HEAD_ROW, *head])
        harmony = harmony_at(chords, 0, self.length)
        for at, chord in enumerate(chords):
            if at == 0 or chord != chords[at - 1]:
                place = self.meter_at + at * self.length // len(chords)
                rows.append([*chord, place, harmony, *where, CHORD_ROW, *nothing])
        return rows

    @torch.inference_mode()
    def draw(self, n: int, seed: int) -> list[tuple[Motif, float]]:
        """Return each row's motif and its mean nats a note, rounded."""
        model = self.model
        opening = np.concatenate([self.prefix, np.array(self.bar(0), np.int16)])
        one = torch.from_numpy(opening.astype(np.int64))[None]
        hidden, kept, _ = model(one, torch.tensor([0]), _no_picture(model, 1))
        kept, hidden = kept.repeated(n), hidden[:, -1].expand(n, -1)
        rows = [_DrawnRow(np.random.Generator(np.random.Philox([seed, row]))) for row in range(n)]
        n_bars = torch.zeros(n, dtype=torch.int64)
        while not all(row.done for row in rows):
            firsts = model.first_logits(hidden).numpy()
            waiting = [row.take_first(self, logits) for row, logits in zip(rows, firsts, strict=True)]
            seconds = model.second_logits(hidden, torch.tensor(waiting)).numpy()
            following = [row.take_second(self, logits) for row, logits in zip(rows, seconds, strict=True)]
            hidden, kept, _ = model(torch.tensor(following)[:, None], n_bars, kept)
            hidden = hidden[:, -1]
        return [row.motif() for row in rows]


class _DrawnRow:
    """One motif in the making."""

    def __init__(self, dice: np.random.Generator) -> None:
        self.dice = dice
        self.bars: tuple[list[Note], list[Note]] = ([], [])
        self.number = self.onset = self.symbol = 0
        self.forced: list[list[int]] = []
        self.done = False
        self.nats: list[float] = []

    def take_first(self, draw: _Draw, logits: NDArray[np.float64]) -> int:
        """Draw the next note's pitch or a rest; rows with forced steps pass."""
        if self.done or self.forced:
            return 0
        allowed = draw.pitches
        if (self.bars[0] and self.onset > 0) or self.number == 1:
            allowed = np.append(REST, allowed)
        self.symbol = self._drawn(logits, allowed)
        return self.symbol

    def take_second(self, draw: _Draw, logits: NDArray[np.float64]) -> list[int]:
        """Draw the length and return the row that follows, or the forced one."""
        if self.done:
            return [0] * COLUMNS
        if self.forced:
            return self.forced.pop(0)
        lengths = draw.lengths[self.onset]
        if self.symbol == REST:
            lengths = [symbol for symbol in lengths if LENGTHS[symbol - 1] * 2 <= draw.length] or lengths[:1]
        second = self._drawn(logits, np.array(lengths))
        ticks = LENGTHS[second - 1]
        if self.symbol != REST:
            pitch = draw.home + self.symbol - PITCH_AT + LOWEST_STEP
            self.bars[self.number].append((self.onset, ticks, pitch))
        self.onset += ticks
        where = [self.number, self.number, 7 - self.number, 0]
        harmony = harmony_at(draw.chords[self.number], self.onset, draw.length)
        place = draw.meter_at + self.onset
        row = [self.symbol, second, place, harmony, *where, NOTE_ROW, *[0] * len(HEAD_SIZES)]
        if self.onset == draw.length:
            self.done = self.number == 1
            if not self.done:
                self.number, self.onset = 1, 0
                self.forced = draw.bar(1)
        return row

    def _drawn(self, logits: NDArray[np.float64], allowed: NDArray[np.int64]) -> int:
        """Draw from the likeliest of the allowed symbols that make up `_NUCLEUS`, by inverse of the sum."""
        own = logits[allowed] - logits[allowed].max()
        shares = np.exp(own) / np.exp(own).sum()
        shares = np.round(shares, 9)
        order = np.lexsort((allowed, -shares))
        sums = np.cumsum(shares[order])
        keep = int(np.searchsorted(np.round(sums, 8), _NUCLEUS)) + 1
        edge = self.dice.random() * sums[min(keep, len(sums)) - 1]
        at = int(order[min(int(np.searchsorted(sums, edge)), len(order) - 1)])
        self.nats.append(-float(np.log(max(shares[at], 1e-9))))
        return int(allowed[at])

    def motif(self) -> tuple[Motif, float]:
        """Return the two bars and the mean nats a note."""
        notes = max(1, sum(map(len, self.bars)))
        return (tuple(self.bars[0]), tuple(self.bars[1])), round(sum(self.nats) / notes, 6)


@cache
def load_network(folder: Path = NETWORK_WEIGHTS) -> NanoNetwork:
    """Return the network of a folder, read once in a process.

    Raises:
        ModelError: the weights are not there (`no_weights`).
    """
    return NanoNetwork(folder)
