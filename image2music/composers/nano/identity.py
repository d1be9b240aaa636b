"""nano's id, found without loading torch or a model."""

from __future__ import annotations

import hashlib
from pathlib import Path

from image2music.embedders.conse import ConseEmbedder
from image2music.errors import ModelError

WEIGHTS = Path(__file__).parent / "weights"

RECIPE = 3
"""Raise it with every change of code that changes a tune for the same weights and seed."""


def nano_id(folder: Path = WEIGHTS) -> str:
    """Return recipe, the first 12 digits of the weights' sha256.

    And the id of the embedder that nano's patches come from.

    Raises:
        ModelError: the weights are not there (`no_weights`).
    """
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelError(f"nano's weights are not in {folder}: run `make train`", reason="no_weights")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
    return f"nano-{RECIPE}@{digest}+{ConseEmbedder().id}"
