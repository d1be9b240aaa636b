"""The network: a decoder over a line's rows whose attention also falls on the cells of a picture.

Cells are keys and values in every layer, beside those of the line itself, so that attention to a cell is a share of one
distribution, as it is in a vision-language model whose image tokens stand in the prompt. A note is one position: the
first symbol is predicted from what came before, the second one also from the first.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from image2music.composers.nano.network.tokens import (
    BAR_ROW,
    CHORDS,
    FIRST,
    FIRSTS,
    HARMONY,
    HEAD_SIZES,
    HEADS,
    IN_SECTION,
    KIND,
    LINE_BARS,
    LOWEST_STEP,
    MOST_IN_SECTION,
    NOTE_ROW,
    NUMBER,
    PITCH_AT,
    PLACE,
    PLACES,
    SECOND,
    SECONDS,
    SECTION_LEFT,
)
from image2music.errors import ModelError

LIVELINESS_INPUTS = 8
"""Figures of a line's surprise that its liveliness is judged by, beside the mean of the last layer."""


@dataclass(frozen=True)
class LineConfig:
    """Sizes of the decoder; a picture has `grid` times `grid` cells of `cell_dim` numbers."""

    width: int = 192
    layers: int = 6
    heads: int = 6
    feed_forward: int = 512
    grid: int = 7
    cell_dim: int = 384
    dropout: float = 0.15
    liveliness_width: int = 32

    @property
    def cells(self) -> int:
        """Cells of a picture."""
        return self.grid * self.grid


@dataclass
class KeysAndValues:
    """What earlier positions left in each layer: float[b, heads, t, head_dim], the picture's cells first."""

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    length: int = 0

    def repeated(self, n: int) -> KeysAndValues:
        """Return the same for `n` rows that go on from the one there is."""
        keys, values = ([kept.expand(n, -1, -1, -1) for kept in both] for both in (self.keys, self.values))
        return KeysAndValues(keys, values, self.length)


class PictureAttention(nn.Module):
    """Self-attention with the picture's cells before the line.

    Half of each head's dimensions turn with the position (rotary embedding, Su et al. 2021). Cells have no position in
    the line's time: that half of their keys is zero, so that the score does not depend on how far the line has come.
    """

    def __init__(self, config: LineConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.joined = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def cells(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of float[b, cells, width]."""
        _, keys, values = self._split(memory)
        half = keys.shape[-1] // 2
        return functional.pad(keys[..., half:], (half, 0)), values

    def forward(
        self, x: Tensor, kept: tuple[Tensor, Tensor], turn: tuple[Tensor, Tensor], *, fused: bool = False
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor | None]:
        """Attend from float[b, n, width] to what is `kept` and to itself.

        Returns the output, the keys and values with the new ones behind them, and the weights float[b, heads, n, t],
        which are None where the `fused` kernel is used.
        """
        queries, keys, values = self._split(x)
        keys = torch.cat([kept[0], rotated(keys, turn)], 2)
        values = torch.cat([kept[1], values], 2)
        queries = rotated(queries, turn)
        new, total = queries.shape[2], keys.shape[2]
        may_see = torch.ones(new, total, dtype=torch.bool, device=x.device).tril(total - new)
        weights = None
        if fused:
            mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=may_see)
        else:
            scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(2, 3)
            weights = (scores if new == 1 else scores.masked_fill(~may_see, -torch.inf)).softmax(-1)
            mixed = weights @ values
        return self.out(mixed.transpose(1, 2).flatten(2)), (keys, values), weights

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = self.joined(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return heads[0], heads[1], heads[2]


def rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the first half of the last dimension by the positions' angles."""
    cos, sin = turn
    half = x.shape[-1] // 2
    a, b = x[..., : half // 2], x[..., half // 2 : half]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, x[..., half:]], -1)


class DecoderLayer(nn.Module):
    """Attention and a gated feed-forward part, each normalised before."""

    def __init__(self, config: LineConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.cells_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.attention = PictureAttention(config)
        self.feed_norm = nn.RMSNorm(config.width, eps=1e-6)
        self.gate_and_up = nn.Linear(config.width, 2 * config.feed_forward, bias=False)
        self.down = nn.Linear(config.feed_forward, config.width, bias=False)
        self.drop = nn.Dropout(config.dropout)

    def feed(self, x: Tensor) -> Tensor:
        """Return float[..., width] through the gated feed-forward part."""
        gate, up = self.gate_and_up(self.feed_norm(x)).chunk(2, -1)
        out: Tensor = self.down(functional.silu(gate) * up)
        return out


class LineDecoder(nn.Module):
    """The decoder. `blank` is how an empty grey picture's cell looks, for the baseline of maps."""

    blank: Tensor
    pitch_class: Tensor

    def __init__(self, config: LineConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.first = nn.Embedding(FIRSTS, width)
        self.tone = nn.Embedding(13, width)
        self.second = nn.Embedding(SECONDS, width)
        self.place = nn.Embedding(PLACES, width)
        self.harmony = nn.Embedding(CHORDS, width)
        self.in_section = nn.Embedding(MOST_IN_SECTION + 1, width)
        self.section_left = nn.Embedding(MOST_IN_SECTION + 1, width)
        self.bars_left = nn.Embedding(LINE_BARS + 2, width)
        self.heads = nn.ModuleList(nn.Embedding(size, width) for size in HEAD_SIZES)
        self.cell_in = nn.Linear(config.cell_dim, width)
        self.cell_out = nn.Linear(width, width)
        self.cell_place = nn.Embedding(config.cells, width)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.first_out = nn.Linear(width, FIRSTS)
        self.second_mix = nn.Linear(width, width)
        self.second_from = nn.Embedding(FIRSTS, width)
        self.second_out = nn.Linear(width, SECONDS)
        self.head_out = nn.Linear(width, sum(HEAD_SIZES))
        self.lively_in = nn.Linear(width + LIVELINESS_INPUTS, config.liveliness_width)
        self.lively_out = nn.Linear(config.liveliness_width, 1)
        self.drop = nn.Dropout(config.dropout)
        self.register_buffer("blank", torch.zeros(config.cell_dim))
        steps = torch.arange(FIRSTS) - PITCH_AT + LOWEST_STEP
        tones = torch.where(torch.arange(FIRSTS) >= PITCH_AT, steps % 12 + 1, 0)
        self.register_buffer("pitch_class", tones, persistent=False)
        self.apply(_start)

    def memory(self, cells: Tensor) -> KeysAndValues:
        """Return the picture's keys and values in every layer; `cells` float[b, cells, cell_dim], zeros for none."""
        x = self.cell_out(functional.gelu(self.cell_in(cells * self.config.cell_dim**0.5))) + self.cell_place.weight
        x = self.drop(x)
        both = [layer.attention.cells(layer.cells_norm(x)) for layer in self.decoder_layers()]
        return KeysAndValues([keys for keys, _ in both], [values for _, values in both], 0)

    def decoder_layers(self) -> list[DecoderLayer]:
        """Return the layers by their type."""
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def embedded(self, rows: Tensor, n_bars: Tensor) -> Tensor:
        """Return float[b, n, width] of int64[b, n, columns]; `n_bars` int64[b], 0 where it is not known."""
        firsts = rows[..., FIRST]
        left = torch.where(n_bars[:, None] > 0, (n_bars[:, None] - rows[..., NUMBER]).clamp(0, LINE_BARS) + 1, 0)
        x: Tensor = self.first(firsts) + self.tone(self.pitch_class[firsts]) + self.second(rows[..., SECOND])
        x = x + self.place(rows[..., PLACE]) + self.harmony(rows[..., HARMONY]) + self.bars_left(left)
        x = x + self.in_section(rows[..., IN_SECTION]) + self.section_left(rows[..., SECTION_LEFT])
        for at, table in enumerate(self.heads):
            x = x + table(rows[..., HEADS + at])
        return x

    def forward(
        self, rows: Tensor, n_bars: Tensor, kept: KeysAndValues, *, fused: bool = False
    ) -> tuple[Tensor, KeysAndValues, list[Tensor]]:
        """Read rows int64[b, n, columns] after what is `kept`.

        Returns the last layer float[b, n, width], what is kept with these rows, and one float[b, heads, n, t] of
        attention a layer, cells first (none where `fused`).
        """
        x = self.drop(self.embedded(rows, n_bars))
        turn = self.angles(kept.length, rows.shape[1], x)
        after = KeysAndValues([], [], kept.length + rows.shape[1])
        maps: list[Tensor] = []
        for layer, keys, values in zip(self.decoder_layers(), kept.keys, kept.values, strict=True):
            out, both, weights = layer.attention(layer.attention_norm(x), (keys, values), turn, fused=fused)
            x = x + layer.drop(out)
            x = x + layer.drop(layer.feed(x))
            after.keys.append(both[0])
            after.values.append(both[1])
            if weights is not None:
                maps.append(weights)
        return self.norm(x), after, maps

    def angles(self, start: int, n: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine float[n, head_dim / 4] of positions from `start` on."""
        half = self.config.width // self.config.heads // 2
        speeds = 10_000.0 ** -(torch.arange(0, half, 2, device=like.device, dtype=torch.float64) / half)
        turns = torch.arange(start, start + n, device=like.device, dtype=torch.float64)[:, None] * speeds
        return turns.cos().to(like.dtype), turns.sin().to(like.dtype)

    def first_logits(self, hidden: Tensor) -> Tensor:
        """Return float[..., firsts]: what the next row's first symbol may be."""
        logits: Tensor = self.first_out(hidden)
        return logits

    def second_logits(self, hidden: Tensor, firsts: Tensor) -> Tensor:
        """Return float[..., seconds]: the next row's second symbol, once its first one is known."""
        logits: Tensor = self.second_out(functional.gelu(self.second_mix(hidden) + self.second_from(firsts)))
        return logits

    def head_logits(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Return what a bar's head may say, after its bar line: one float[..., values] for each part of it."""
        return tuple(self.head_out(hidden).split(list(HEAD_SIZES), -1))

    def liveliness(self, pooled: Tensor) -> Tensor:
        """Return float[b] of float[b, width + inputs]."""
        lively: Tensor = self.lively_out(functional.gelu(self.lively_in(pooled)))[..., 0]
        return lively

    def lively_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the judge of liveliness, which is trained after the rest."""
        return [*self.lively_in.parameters(), *self.lively_out.parameters()]


@dataclass(frozen=True)
class LineNats:
    """Nats of each row after the first, float[b, n - 1]: first and second symbol together, and those of bars' heads."""

    symbols: Tensor
    heads: Tensor


def nats_of(model: LineDecoder, hidden: Tensor, rows: Tensor, heads: Tensor) -> LineNats:
    """Return how surprising each row is from those before it.

    `heads` int64[b, n, parts] is what the bars' heads truly say (0: not known, no loss), which `rows` may hide.
    """
    before, after = hidden[:, :-1], rows[:, 1:]
    firsts, seconds = after[..., FIRST], after[..., SECOND]
    first = functional.cross_entropy(model.first_logits(before).float().transpose(1, 2), firsts, reduction="none")
    second = functional.cross_entropy(
        model.second_logits(before, firsts).float().transpose(1, 2), seconds, reduction="none"
    )
    on_bar = rows[:, :-1, KIND] == BAR_ROW
    parts = torch.zeros_like(first)
    for logits, said in zip(model.head_logits(before), heads[:, 1:].unbind(-1), strict=True):
        nats = functional.cross_entropy(logits.float().transpose(1, 2), said, reduction="none")
        parts = parts + nats * ((said > 0) & on_bar)
    return LineNats(first + second * (seconds > 0), parts)


def pooled(hidden: Tensor, nats: Tensor, rows: Tensor) -> Tensor:
    """Return float[width + inputs], what a line's liveliness is judged by: `hidden` float[n, width] and its surprise.

    `nats` float[n - 1] of the rows after the first, `rows` int64[n, columns].
    """
    notes = rows[:, KIND] == NOTE_ROW
    own = nats[notes[1:]]
    bars, at, sizes = rows[notes][:, NUMBER].unique(return_inverse=True, return_counts=True)
    means = torch.zeros(len(bars), dtype=own.dtype, device=own.device).index_add(0, at, own) / sizes
    figures = [own.mean(), own.std(), *own.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=own.dtype, device=own.device))]
    figures += [(own < 0.3).to(own.dtype).mean(), means.std() if len(bars) > 1 else own.sum() * 0]
    figures.append(torch.log1p(own.new_tensor(float(len(own) / len(bars)))))
    return torch.cat([hidden[notes].mean(0), torch.stack(figures)])


def _start(module: nn.Module) -> None:
    """Small normal weights."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def save_decoder(model: LineDecoder, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` with weights of 16 bits."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().to("cpu", torch.bfloat16) for name, tensor in model.state_dict().items()}
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    (folder / "config.json").write_text(json.dumps(asdict(model.config), indent=1) + "\n", encoding="utf-8")


def load_decoder(folder: Path, dtype: torch.dtype = torch.float32) -> LineDecoder:
    """Read what `save_decoder` wrote, ready to be asked.

    Raises:
        ModelError: the weights are not there (`no_weights`).
    """
    from safetensors.torch import load_file

    if not (folder / "model.safetensors").is_file():
        raise ModelError(f"the network's weights are not in {folder}: run `make train`", reason="no_weights")
    model = LineDecoder(LineConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8"))))
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()})
    return model.to(dtype).eval()
