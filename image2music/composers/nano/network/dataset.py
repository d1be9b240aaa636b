"""Windows of the repertoire's lines, some of what is known about them hidden, with synthetic pictures.

No melody comes with a picture, so pictures are made. Every section of a line belongs to a region whose look goes with
it: things and light of a calm or busy, deep or airy kind (`AXES`) as the section is soft or loud, sparse or dense, low
or high, and inside the region from left to right as its bars are. Sections take their regions mostly in reading order;
a theme's return goes back to its region; what the title names lies in the region of the first. The light follows the
mode as well. These links are this file's assumption, not a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from image2music.composers.nano.network.repertoire import (
    FEWEST_BARS,
    TrainingLine,
    cut,
    hold_out_lines,
    spoiled,
)
from image2music.composers.nano.network.tokens import (
    BARS_AT,
    CHARACTER_AT,
    CHORD_AT,
    CHORD_ROW,
    END,
    END_ROW,
    FIRST,
    HARMONY,
    HEADS,
    KIND,
    NUMBER,
    PREFIX,
    SECOND,
    SECTION,
    TEMPO_AT,
    Rows,
    encode_sketch,
)

Floats = NDArray[np.float32]
MOST_BARS: Final = 32
WINDOW_ROWS: Final = 420


@dataclass(frozen=True)
class EncodedLine:
    """A line's rows without controls; `energy` and `height` float32[bars] from -1 to 1; bars' rows, sections' bars."""

    prefix: Rows
    rows: Rows
    bar_rows: tuple[int, ...]
    sections: tuple[int, ...]
    energy: Floats
    height: Floats
    minor: bool
    title: int
    kind: str


def encode_line(line: TrainingLine, title: int) -> EncodedLine:
    """Encode a line once; windows of it are cut from this."""
    sketch = line.sketch
    rows = encode_sketch(sketch, unknown=line.unknown)
    body = rows[PREFIX:-1]
    numbers = np.cumsum(body[:, KIND] == 1)
    bar_rows = (*np.searchsorted(numbers, np.arange(1, len(sketch.bars) + 1)).tolist(), len(body))
    heads = body[[at + 1 for at in bar_rows[:-1]], HEADS:].astype(np.float32)
    energy = (heads[:, 2] - 3) / 2
    if "dynamic" not in line.unknown:
        energy = (energy + (heads[:, 1] - 3.5) / 2) / 2
    height = np.clip((heads[:, 3] - 8) / 4, -1.5, 1.5)
    minor = rows[2, FIRST] >= 0 and not _is_bright(sketch.key)
    sections = tuple(bar.section for bar in sketch.bars)
    looks = (energy.astype(np.float32), height.astype(np.float32))
    return EncodedLine(rows[:PREFIX], body, bar_rows, sections, *looks, minor, title, line.kind)


def _is_bright(key: str) -> bool:
    return not ("m" in key[1:] and not key.endswith("mix")) and not key.endswith(("dor", "phr"))


@dataclass(frozen=True)
class LineWindow:
    """Some bars of a line: `rows` with everything known, `shown` with some conditions hidden, and its picture.

    `things` int64[cells] are rows of the table of things, `looks` float32[cells, 4] brightness, contrast, saturation,
    warmth from 0 to 1; `regions` bool[sections, cells]; `is_pictured` tells whether the picture is given at all.
    """

    rows: Rows
    shown: Rows
    n_bars: int
    things: NDArray[np.int64]
    looks: Floats
    regions: NDArray[np.bool_]
    is_pictured: bool


@dataclass(frozen=True)
class Hiding:
    """How often a condition is hidden, so that the network can do without it."""

    control: float = 0.25
    bars: float = 0.3
    chords: float = 0.2
    head: float = 0.4
    all_heads: float = 0.3
    picture: float = 0.15


NOT_HIDDEN = Hiding(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
AXES: Final = (
    ("a calm, quiet, still and empty place", "a loud, busy and crowded action full of movement"),
    ("something heavy, deep and low on the ground", "something light and small, high up in the air"),
)


class PictureMaker:
    """Makes pictures. `kinds` float32[things, 2] are the things' energy and height in units of their deviation."""

    def __init__(self, kinds: Floats, grid: int = 7) -> None:
        self.kinds = kinds
        self.grid = grid

    def regions(self, n: int, dice: np.random.Generator) -> NDArray[np.bool_]:
        """Return bool[n, cells]: the grid cut into `n` rectangles, in reading order more often than not."""
        boxes = [(0, 0, self.grid, self.grid)]
        while len(boxes) < n:
            at = int(np.argmax([(b - t) * (r - left) * dice.uniform(0.6, 1.4) for t, left, b, r in boxes]))
            top, left, bottom, right = boxes.pop(at)
            across = bottom - top > right - left if bottom - top != right - left else dice.random() < 0.5
            low, high = (top, bottom) if across else (left, right)
            cut = int(np.clip(round(low + (high - low) * dice.uniform(0.35, 0.65)), low + 1, high - 1))
            boxes += (
                [(top, left, cut, right), (cut, left, bottom, right)]
                if across
                else [(top, left, bottom, cut), (top, cut, bottom, right)]
            )
        boxes.sort(key=lambda box: box[0] + box[2] + 2 * (box[1] + box[3]))
        if dice.random() < 0.3:
            boxes = [boxes[i] for i in dice.permutation(n)]
        masks = np.zeros((n, self.grid, self.grid), np.bool_)
        for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
            mask[top:bottom, left:right] = True
        return masks.reshape(n, -1)

    def picture(
        self, line: EncodedLine, bars: range, dice: np.random.Generator
    ) -> tuple[NDArray[np.int64], Floats, NDArray[np.bool_]]:
        """Return things, looks and the regions of the sections that lie in `bars`."""
        sections = sorted({line.sections[bar] for bar in bars})
        again = self._returns(line, sections)
        own = [i for i, to in enumerate(again) if to == i]
        spare = 1 + int(dice.random() < 0.4)
        masks = self.regions(max(3, len(own) + spare), dice)
        place = {i: at for at, i in enumerate(own)}
        regions = np.stack([masks[place[to]] for to in again])
        cells = self.grid**2
        wanted = dice.normal(0, 0.7, (cells, 2)).astype(np.float32)
        shared = np.zeros(cells, np.bool_)
        things = np.zeros(cells, np.int64)
        for number, mask in enumerate(masks):
            centre = dice.normal(0, 0.7, 2).astype(np.float32)
            if number < len(own):
                centre, wanted[mask] = self._section(line, bars, sections[own[number]], mask, dice)
            things[mask] = self._thing(centre[None], dice)[0]
            shared |= mask & (dice.random(cells) < 0.45)
        things = np.where(shared, things, self._thing(wanted, dice))
        first = regions[0] & (dice.random(cells) < 0.4)
        if line.title >= 0:
            things[first] = line.title
        return things, self._looks(line, wanted, dice), regions

    def _returns(self, line: EncodedLine, sections: Sequence[int]) -> list[int]:
        """Return for each section the place of the one whose region it shares: its own, or the theme's it repeats."""
        purpose = {
            section: int(line.rows[line.bar_rows[line.sections.index(section)] + 1, HEADS]) for section in sections
        }
        found: list[int] = []
        for i, section in enumerate(sections):
            theme = [j for j in range(i) if purpose[sections[j]] in (2, 3, 6) and found[j] == j]
            found.append(theme[0] if purpose[section] in (3, 6) and theme else i)
        return found

    def _section(
        self, line: EncodedLine, bars: range, section: int, mask: NDArray[np.bool_], dice: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Return the section's energy and height, and those of each of its region's cells by its column."""
        inside = [bar for bar in bars if line.sections[bar] == section]
        values = np.stack([line.energy[inside], line.height[inside]], 1)
        mean = values.mean(0)
        columns = np.flatnonzero(mask) % self.grid
        share = (columns - columns.min() + 0.5) / (columns.max() - columns.min() + 1)
        cells = values[np.minimum((share * len(inside)).astype(int), len(inside) - 1)]
        noise = dice.normal(0, 0.2, cells.shape)
        return (1.3 * mean).astype(np.float32), (1.3 * (0.4 * mean + 0.6 * cells) + noise).astype(np.float32)

    def _thing(self, wanted: Floats, dice: np.random.Generator) -> NDArray[np.int64]:
        """Return things near to wanted energy and height, float32[n, 2], the nearest of 40 that are drawn."""
        drawn = dice.integers(len(self.kinds), size=(len(wanted), 40))
        far = ((self.kinds[drawn] - wanted[:, None]) ** 2).sum(-1) + dice.gumbel(0, 0.15, drawn.shape)
        chosen: NDArray[np.int64] = drawn[np.arange(len(wanted)), far.argmin(1)]
        return chosen

    def _looks(self, line: EncodedLine, wanted: Floats, dice: np.random.Generator) -> Floats:
        energy, height = wanted[:, 0], wanted[:, 1]
        mode = -0.12 if line.minor else 0.05
        brightness = 0.5 + mode + 0.13 * height + 0.05 * energy + dice.normal(0, 0.04, len(wanted))
        lively = 0.5 + 0.2 * float(energy.mean())
        whole = [
            np.full(len(wanted), dice.normal(level, 0.12))
            for level in (lively, 0.3 + 0.4 * lively, 0.45 + mode + 0.1 * float(height.mean()))
        ]
        return np.clip(np.stack([brightness, *whole], 1), 0, 1).astype(np.float32)


def line_window(
    line: EncodedLine, maker: PictureMaker, dice: np.random.Generator, hiding: Hiding, *, from_start: bool = False
) -> LineWindow:
    """Cut 6 to 32 bars that begin with a section, hide some of what is known about them, and make their picture."""
    n = len(line.sections)
    begins = [0, *(i for i in range(1, n) if line.sections[i] != line.sections[i - 1] and n - i >= FEWEST_BARS)]
    start = 0 if from_start else begins[int(dice.integers(len(begins)))]
    most = MOST_BARS if from_start or dice.random() < 0.5 else int(dice.integers(FEWEST_BARS, MOST_BARS + 1))
    stop = min(n, start + most)
    while stop - start > 2 and line.bar_rows[stop] - line.bar_rows[start] > WINDOW_ROWS:
        stop -= 1
    body = line.rows[line.bar_rows[start] : line.bar_rows[stop]].copy()
    body[:, NUMBER] -= start
    body[:, SECTION] -= line.sections[start]
    prefix = line.prefix.copy()
    end = np.zeros((1, body.shape[1]), np.int16)
    end[0, FIRST], end[0, KIND] = END, END_ROW
    rows = np.concatenate([prefix, body, end])
    rows[5, FIRST] = BARS_AT + stop - start
    shown = _hidden(rows, dice, hiding)
    things, looks, regions = maker.picture(line, range(start, stop), dice)
    n_bars = stop - start if shown[5, FIRST] > BARS_AT else 0
    is_pictured = dice.random() >= hiding.picture
    return LineWindow(rows, shown, n_bars, things, looks, regions, bool(is_pictured))


def _hidden(rows: Rows, dice: np.random.Generator, hiding: Hiding) -> Rows:
    shown = rows.copy()
    for at, unknown in ((3, TEMPO_AT), (4, CHARACTER_AT)):
        if dice.random() < hiding.control:
            shown[at, FIRST] = unknown
    if dice.random() < hiding.bars:
        shown[5, FIRST] = BARS_AT
    if dice.random() < hiding.chords:
        chords = shown[:, KIND] == CHORD_ROW
        shown[chords, FIRST], shown[chords, SECOND] = CHORD_AT, 0
        shown[:, HARMONY] = 0
    every = dice.random() < hiding.all_heads
    for part in range(HEADS, shown.shape[1]):
        if every or dice.random() < hiding.head:
            shown[:, part] = 0
        elif hiding.head and dice.random() < 0.3:
            shown[dice.random(len(shown)) < 0.5, part] = 0
    return shown


OBJECT_SHARE = 0.6
NOISE = 0.35
MOST_ALIKE = 1.3
"""Cells of one picture share things: so much of its mean, at most, is mixed into each."""
KINDS = ("song", "quartet", "hymn", "chorale", "solo")
KIND_WEIGHTS = {"song": 1.5, "quartet": 1.3, "hymn": 1.0, "chorale": 0.8, "solo": 0.6}


@dataclass(frozen=True)
class Prepared:
    """What is trained on. `things` float32[n, dim] are names of things, then titles; `poles` float32[4, 2, dim].

    `pairs` are (line as it is, the same spoiled, whether it is held out).
    """

    training: list[EncodedLine]
    held_out: list[EncodedLine]
    things: Floats
    kinds: Floats
    poles: Floats
    blank: Floats
    pairs: list[tuple[Rows, Rows, bool]]


def prepare(lines: Sequence[TrainingLine], seed: int) -> Prepared:
    """Split, encode, spoil, and embed titles, things and the poles of looks."""
    from image2music.composers.nano.patches import PoleVectors, blank_patches
    from image2music.embedders.conse import load_conse
    from image2music.images.features import class_names

    embedder = load_conse()
    training, held_out = hold_out_lines(lines)
    titles = {title: n for n, title in enumerate(sorted({line.title for line in lines if line.title}))}
    names = embedder.embed_texts(class_names())
    axes = embedder.embed_texts([text for pair in AXES for text in pair])
    kinds = np.stack([names @ (axes[1] - axes[0]), names @ (axes[3] - axes[2])], 1)
    kinds = ((kinds - kinds.mean(0)) / kinds.std(0)).astype(np.float32)
    poles = PoleVectors.embed(embedder)
    looks = np.stack([poles.vectors[name] for name in ("brightness", "contrast", "saturation", "warmth")])
    encoded = [
        [encode_line(line, len(names) + titles[line.title] if line.title else -1) for line in part]
        for part in (training, held_out)
    ]
    things = np.concatenate([names, embedder.embed_texts(sorted(titles))]) if titles else names
    looks[0] *= 2  # Brightness, the one look that differs from cell to cell, counts twice in real cells too.
    blank = blank_patches(1, poles)[0]
    pairs = spoiled_pairs(training, held_out, seed)
    return Prepared(encoded[0], encoded[1], things, kinds, looks, blank, pairs)


JUDGED = frozenset({"tempo", "character", "purpose", "dynamic"})
"""Hidden from the judge of liveliness, whose lines come from many sources."""


def spoiled_pairs(
    training: Sequence[TrainingLine], held_out: Sequence[TrainingLine], seed: int, most: int = 4500
) -> list[tuple[Rows, Rows, bool]]:
    """Return lines of 8 to 24 bars beside spoiled ones."""
    dice = np.random.Generator(np.random.Philox([seed, 3]))
    pairs = []
    for lines, is_held, n in ((training, False, most), (held_out, True, most // 5)):
        long = [line for line in lines if len(line.sketch.bars) >= 8]
        for at in dice.permutation(len(long))[:n].tolist():
            sketch = long[at].sketch
            first = int(dice.integers(0, len(sketch.bars) - 7))
            human = cut(sketch, first, int(dice.integers(8, 25)))
            if sum(len(bar.notes) for bar in human.bars) < 16:
                continue
            pairs.append(
                (
                    judged_rows(encode_sketch(human, unknown=JUDGED)),
                    judged_rows(encode_sketch(spoiled(human, dice), unknown=JUDGED)),
                    is_held,
                )
            )
    return pairs


def judged_rows(rows: Rows) -> Rows:
    """Hide what heads say of density and register, which nobody knows before the notes."""
    rows = rows.copy()
    rows[:, HEADS:] = 0
    return rows


def save_prepared(prepared: Prepared, path: Path) -> None:
    """Write everything to one compressed file."""
    lines = [*prepared.training, *prepared.held_out]
    pairs = [rows for good, bad, _ in prepared.pairs for rows in (good, bad)]
    np.savez_compressed(
        path,
        prefix=np.stack([line.prefix for line in lines]),
        rows=np.concatenate([line.rows for line in lines]),
        n_rows=np.array([len(line.rows) for line in lines]),
        n_bars=np.array([len(line.sections) for line in lines]),
        bar_rows=np.concatenate([np.array(line.bar_rows) for line in lines]),
        sections=np.concatenate([np.array(line.sections) for line in lines]),
        energy=np.concatenate([line.energy for line in lines]),
        height=np.concatenate([line.height for line in lines]),
        minor=np.array([line.minor for line in lines]),
        title=np.array([line.title for line in lines]),
        kind=np.array([KINDS.index(line.kind) for line in lines]),
        n_training=np.array(len(prepared.training)),
        things=prepared.things.astype(np.float16),
        kinds=prepared.kinds,
        poles=prepared.poles,
        blank=prepared.blank,
        pair_rows=np.concatenate(pairs),
        pair_lengths=np.array([len(rows) for rows in pairs]),
        pair_held=np.array([held for _, _, held in prepared.pairs]),
    )


def load_prepared(path: Path) -> Prepared:
    """Read what `save_prepared` wrote."""
    with np.load(path) as found:
        kept = {name: found[name] for name in found.files}
    lines = []
    row = bar = edge = 0
    for n, (n_rows, n_bars) in enumerate(zip(kept["n_rows"].tolist(), kept["n_bars"].tolist(), strict=True)):
        lines.append(
            EncodedLine(
                kept["prefix"][n],
                kept["rows"][row : row + n_rows],
                tuple(kept["bar_rows"][edge : edge + n_bars + 1].tolist()),
                tuple(kept["sections"][bar : bar + n_bars].tolist()),
                kept["energy"][bar : bar + n_bars],
                kept["height"][bar : bar + n_bars],
                bool(kept["minor"][n]),
                int(kept["title"][n]),
                KINDS[int(kept["kind"][n])],
            )
        )
        row, bar, edge = row + n_rows, bar + n_bars, edge + n_bars + 1
    pieces = np.split(kept["pair_rows"], np.cumsum(kept["pair_lengths"])[:-1])
    pairs = [(pieces[2 * n], pieces[2 * n + 1], bool(held)) for n, held in enumerate(kept["pair_held"].tolist())]
    n = int(kept["n_training"])
    things = kept["things"].astype(np.float32)
    return Prepared(lines[:n], lines[n:], things, kept["kinds"], kept["poles"], kept["blank"], pairs)


@dataclass(frozen=True)
class WindowBatch:
    """Windows side by side, padded by zeros; see `LineWindow`. `pictured` int64[b]: 0 nothing, 1 blank, 2 a picture."""

    rows: Tensor
    shown: Tensor
    n_bars: Tensor
    things: Tensor
    looks: Tensor
    regions: Tensor
    pictured: Tensor

    def to(self, device: torch.device) -> WindowBatch:
        """Return the same on a device."""
        return WindowBatch(*(value.to(device, non_blocking=True) for value in vars(self).values()))


def collate_windows(windows: Sequence[LineWindow]) -> WindowBatch:
    """Pad and stack."""
    n = max(len(window.rows) for window in windows)
    most = max(len(window.regions) for window in windows)
    rows, shown = (np.zeros((len(windows), n, windows[0].rows.shape[1]), np.int64) for _ in range(2))
    regions = np.zeros((len(windows), most, windows[0].regions.shape[1]), np.bool_)
    for at, window in enumerate(windows):
        rows[at, : len(window.rows)], shown[at, : len(window.rows)] = window.rows, window.shown
        regions[at, : len(window.regions)] = window.regions
    pictured = [2 if window.is_pictured else int(window.things[0]) % 2 for window in windows]
    return WindowBatch(
        torch.from_numpy(rows),
        torch.from_numpy(shown),
        torch.tensor([window.n_bars for window in windows]),
        torch.from_numpy(np.stack([window.things for window in windows])),
        torch.from_numpy(np.stack([window.looks for window in windows])),
        torch.from_numpy(regions),
        torch.tensor(pictured),
    )


BATCHES_AT_ONCE = 4


class BatchesBySeed(Dataset[list[WindowBatch]]):
    """Some batches of windows of like length; group number n is the same whoever makes it: its dice come from n."""

    def __init__(self, prepared: Prepared, batch: int, seed: int) -> None:
        self.lines, self.batch, self.seed = prepared.training, batch, seed
        self.maker = PictureMaker(prepared.kinds)
        weights = [min(len(line.sections), 96) ** 0.8 * KIND_WEIGHTS[line.kind] for line in self.lines]
        self.edges = np.cumsum(weights) / np.sum(weights)

    def __getitem__(self, number: int) -> list[WindowBatch]:
        """Return the batches of group `number`."""
        dice = np.random.Generator(np.random.Philox([self.seed, number]))
        size = self.batch
        chosen = np.searchsorted(self.edges, dice.random(size * BATCHES_AT_ONCE)).tolist()
        windows = [line_window(self.lines[at], self.maker, dice, Hiding()) for at in chosen]
        windows.sort(key=lambda window: len(window.rows))
        order = dice.permutation(BATCHES_AT_ONCE).tolist()
        return [collate_windows(windows[at * size : (at + 1) * size]) for at in order]


class CellMaker:
    """Turns things and looks into cells, on whatever device the tables are."""

    def __init__(self, prepared: Prepared, device: torch.device) -> None:
        self.things = torch.from_numpy(prepared.things).to(device)
        self.poles = torch.from_numpy(prepared.poles).to(device)
        self.blank = torch.from_numpy(prepared.blank).to(device)

    def cells(self, batch: WindowBatch) -> Tensor:
        """Return float[b, cells, dim]: the same mixture that real pictures' cells are; zeros where there is none."""
        things = self.things[batch.things]
        alike = torch.rand(len(things), 1, 1, device=things.device) * MOST_ALIKE
        things = functional.normalize(things + alike * things.mean(1, keepdim=True), dim=-1)
        things = functional.normalize(things + torch.randn_like(things) * (NOISE / things.shape[-1] ** 0.5), dim=-1)
        looks = torch.einsum("bcl,ld->bcd", batch.looks, self.poles[:, 1])
        looks = looks + torch.einsum("bcl,ld->bcd", 1 - batch.looks, self.poles[:, 0])
        cells = functional.normalize(
            OBJECT_SHARE * things + (1 - OBJECT_SHARE) * functional.normalize(looks, dim=-1), dim=-1
        )
        is_picture = (batch.pictured == 2)[:, None, None]
        is_blank = (batch.pictured == 1)[:, None, None]
        return torch.where(is_picture, cells, self.blank * is_blank)
