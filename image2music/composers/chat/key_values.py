"""Keys and values of a language model's layers: of one conversation's beginning, and of a batch that is being written.

Source of the idea: "KV cache" of the transformers library, whose models call the four methods that `KeyValues` has. Its
own cache is copied as a whole for every token; this one grows in steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

ROOM = 256
"""Columns added whenever there is no room."""

Layers = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of each layer."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """What the layers keep of the first tokens of one conversation. It is right for all that begins with them.

    layers: keys and values, float[heads, tokens, dim] each.
    shift: by how much a text token's place is ahead of its number (pictures have places of their own in Qwen).
    """

    tokens: tuple[int, ...]
    layers: Layers
    shift: int

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.nbytes for layer in self.layers for part in layer)

    def first(self, tokens: int) -> Prefix:
        """The first tokens alone, as views."""
        layers = tuple((keys[:, :tokens], values[:, :tokens]) for keys, values in self.layers)
        return Prefix(self.tokens[:tokens], layers, self.shift)

    def shared_with(self, tokens: Sequence[int]) -> int:
        """How many tokens both begin with."""
        pairs = enumerate(zip(self.tokens, tokens, strict=False))
        return next((at for at, (ours, theirs) in pairs if ours != theirs), min(len(self.tokens), len(tokens)))


class KeyValues:
    """Keys and values of a batch, float[rows, heads, columns, dim], in the form that the library's models ask for."""

    is_compileable = False

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._columns: list[int] = []

    @classmethod
    def joined(cls, layers: Iterable[Sequence[tuple[Tensor, Tensor]]], width: int) -> KeyValues:
        """One row for each part of a layer, padded with zeros on the left up to `width` columns; layer by layer."""
        joined = cls()
        for parts in layers:
            joined._layers.append((_padded([keys for keys, _ in parts], width), _padded([v for _, v in parts], width)))
            joined._columns.append(width)
        return joined

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Adds columns to a layer; all its columns so far."""
        if layer_idx == len(self._layers):
            self._layers.append((keys[:, :, :0], values[:, :, :0]))
            self._columns.append(0)
        start = self._columns[layer_idx]
        end = start + keys.shape[2]
        if end > self._layers[layer_idx][0].shape[2]:
            self._layers[layer_idx] = tuple(_roomier(part, start, end + ROOM) for part in self._layers[layer_idx])  # type: ignore[assignment]
        held, seen = self._layers[layer_idx]
        held[:, :, start:end], seen[:, :, start:end] = keys, values
        self._columns[layer_idx] = end
        return held[:, :, :end], seen[:, :, :end]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns so far."""
        return self._columns[layer_idx] if layer_idx < len(self._columns) else 0

    get_query_offset = get_seq_length

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Columns after a query of so many tokens, and the first column that is still held."""
        return self.get_seq_length(layer_idx) + query_length, 0

    def crop(self, columns: int) -> None:
        """Forgets all but the first columns."""
        self._columns = [min(columns, held) for held in self._columns]

    def select(self, rows: Sequence[int]) -> None:
        """Keeps these rows only."""
        chosen = list(rows)
        for at, (keys, values) in enumerate(self._layers):  # one layer after the other: never two copies of all
            self._layers[at] = (keys[chosen], values[chosen])

    def row(self, row: int, columns: Tensor) -> Layers:
        """Copies of some columns of one row."""
        return tuple((keys[row][:, columns], values[row][:, columns]) for keys, values in self._layers)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for (keys, values), columns in zip(self._layers, self._columns, strict=True):
            yield keys[:, :, :columns], values[:, :, :columns]


def _padded(parts: Sequence[Tensor], width: int) -> Tensor:
    heads, _, dim = parts[0].shape
    whole = parts[0].new_zeros(len(parts), heads, width + ROOM, dim)
    for row, part in enumerate(parts):
        whole[row, :, width - part.shape[1] : width] = part
    return whole


def _roomier(part: Tensor, filled: int, columns: int) -> Tensor:
    rows, heads, _, dim = part.shape
    larger = part.new_zeros(rows, heads, columns, dim)
    larger[:, :, :filled] = part[:, :, :filled]
    return larger
