"""BERT's forward pass over texts laid end to end, with no padding between them.

transformers pads each batch to its longest text. Captions differ so much in length that a fifth of all matrix
products would go into padding. Here each pass holds `TOKENS_A_PASS` tokens of several texts; only attention looks at
one text at a time. The weights are those of a `transformers.BertModel`, and so is the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from transformers import BertModel

# Every pass has this one shape: a matrix product may round differently in another shape, and a text's vector must not
# depend on the texts beside it.
TOKENS_A_PASS = 256


class PackedBert:
    """Means over each text's tokens of a BERT's last hidden states."""

    def __init__(self, model: BertModel) -> None:
        import torch

        embeddings = model.embeddings
        self._words = embeddings.word_embeddings.weight
        self._places = embeddings.position_embeddings.weight + embeddings.token_type_embeddings.weight[0]
        self._first_norm = embeddings.LayerNorm
        self._layers = model.encoder.layer
        self._heads = int(model.config.num_attention_heads)
        attentions = [layer.attention.self for layer in self._layers]
        joined = [(attention.query, attention.key, attention.value) for attention in attentions]
        self._joined = [(torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])) for parts in joined]

    def means(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Token ids of texts, each of 1 to `TOKENS_A_PASS`, to float32[n, hidden]; n may be 0."""
        found = np.zeros((len(texts), self._words.shape[1]), dtype=np.float32)
        for members in packs([len(text) for text in texts]):
            found[members] = self._pass([texts[member] for member in members])
        return found

    def _pass(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        import torch

        ends = np.cumsum([len(text) for text in texts]).tolist()
        spans = [slice(end - len(text), end) for text, end in zip(texts, ends, strict=True)]
        ids, places = np.zeros((2, TOKENS_A_PASS), dtype=np.int64)
        for span, text in zip(spans, texts, strict=True):
            ids[span], places[span] = text, np.arange(len(text))
        with torch.inference_mode():
            hidden = self._first_norm(self._words[torch.from_numpy(ids)] + self._places[torch.from_numpy(places)])
            for number in range(len(self._layers)):
                hidden = self._layer(number, hidden, spans)
            means: NDArray[np.float32] = torch.stack([hidden[span].float().mean(0) for span in spans]).numpy()
        return means

    def _layer(self, number: int, hidden: torch.Tensor, spans: Sequence[slice]) -> torch.Tensor:
        layer = self._layers[number]
        attended = layer.attention.output.dense(self._attention(number, hidden, spans))
        hidden = layer.attention.output.LayerNorm(attended + hidden)
        wide = layer.intermediate.intermediate_act_fn(layer.intermediate.dense(hidden))
        joined: torch.Tensor = layer.output.LayerNorm(layer.output.dense(wide) + hidden)
        return joined

    def _attention(self, number: int, hidden: torch.Tensor, spans: Sequence[slice]) -> torch.Tensor:
        """What each token gathers from its own text, [TOKENS_A_PASS, hidden]; zeros behind the last text."""
        import torch
        from torch.nn.functional import linear, scaled_dot_product_attention

        # Heads of so few dimensions are attended to quicker, and more exactly, in single precision.
        joined = linear(hidden, *self._joined[number]).float()
        queries, keys, values = joined.view(TOKENS_A_PASS, 3, self._heads, -1).permute(1, 2, 0, 3)
        gathered = torch.zeros_like(queries)
        for span in spans:
            asked = (queries[None, :, span], keys[None, :, span], values[None, :, span])
            gathered[:, span] = scaled_dot_product_attention(*asked)[0]
        return gathered.transpose(0, 1).reshape(hidden.shape).to(hidden.dtype)


def packs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Members of each pass: the longest text that still fits, until none does."""
    waiting: dict[int, list[int]] = {}
    for member, length in enumerate(lengths):
        waiting.setdefault(length, []).append(member)
    while waiting:
        room, members = TOKENS_A_PASS, []
        while fitting := [length for length in waiting if length <= room]:
            longest = max(fitting)
            members.append(waiting[longest].pop())
            room -= longest
            if not waiting[longest]:
                del waiting[longest]
        yield members
