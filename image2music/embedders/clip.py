"""Models of the open_clip library: `ViT-B-32/laion2b_s34b_b79k`, or a folder with `open_clip_config.json`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from image2music.embedders.base import Vectors, embed_texts, unit_rows
from image2music.errors import ModelError
from image2music.plugins import accelerator, fingerprint

_LOCAL_DIR = "local-dir:"


class OpenClip:
    """A model of open_clip with its own tokenizer and picture transform.

    Keeps the protocols `Embedder` and `TextEncoder` of `image2music.embedders.base`. It runs in bfloat16 on a GPU and
    in float32 elsewhere. Pictures go through one at a time and texts in fixed shapes, so a vector does not depend on
    its batch.
    """

    def __init__(self, model: str, pretrained: str | None = None) -> None:
        self._name, self._pretrained = model, pretrained
        self._device, self._dtype = accelerator()
        self._model, self._transform, self._tokenizer = _load(model, pretrained)
        self._model.to(self._device, self._dtype).eval()
        self.max_tokens: int = self._tokenizer.context_length

    @cached_property
    def id(self) -> str:
        """Name model and tag of its weights, or the folder or file with a fingerprint."""
        if self._name.startswith(_LOCAL_DIR):
            folder = Path(self._name.removeprefix(_LOCAL_DIR))
            return f"open_clip:{folder.resolve().name}@{fingerprint(folder)}"
        weights = Path(self._pretrained or "")
        revision = fingerprint(weights) if weights.is_file() else self._pretrained
        return f"open_clip:{self._name}/{revision}"

    @cached_property
    def dim(self) -> int:
        """Return the length of a vector."""
        return int(self.encode(["a"], self.max_tokens).shape[1])

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts of any length as unit float32[n, dim]."""
        return embed_texts(texts, self, self.dim)

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Embed RGB pictures as unit float32[n, dim]."""
        vectors = np.zeros((len(images), self.dim), dtype=np.float32)
        for row, image in enumerate(images):
            vectors[row] = self._embed_image(image)
        return unit_rows(vectors)

    def count_tokens(self, text: str) -> int:
        """Count tokens, special ones included, before truncation."""
        inner = getattr(self._tokenizer, "tokenizer", None)
        if inner is not None:
            return len(inner(text, verbose=False)["input_ids"])
        return len(self._tokenizer.encode(text)) + 2

    def padded_length(self, tokens: int) -> int:
        """Return the full context: these tokenizers pad to nothing else."""
        return self.max_tokens

    def encode(self, texts: Sequence[str], length: int) -> Vectors:
        """Encode texts truncated and padded to the full context as float32[n, dim]."""
        import torch

        with torch.inference_mode():
            features = self._model.encode_text(self._tokenizer(list(texts), context_length=length).to(self._device))
        vectors: Vectors = features.float().cpu().numpy()
        return vectors

    def _embed_image(self, image: Image) -> Vectors:
        import torch

        pixels = self._transform(image.convert("RGB"))[None].to(self._device, self._dtype)
        with torch.inference_mode():
            features = self._model.encode_image(pixels)
        vector: Vectors = features.float().cpu().numpy()[0]
        return vector


class OpenClipKind:
    """Models by architecture and tag of their weights, or by folder."""

    form = "open_clip:MODEL/PRETRAINED | open_clip:local-dir:PATH"

    def accepts(self, argument: str) -> bool:
        """A model and its weights, or a folder."""
        if argument.startswith(_LOCAL_DIR):
            return argument != _LOCAL_DIR
        model, _, pretrained = argument.partition("/")
        return bool(model and pretrained)

    def load(self, argument: str) -> OpenClip:
        """Load network, picture transform and tokenizer."""
        if argument.startswith(_LOCAL_DIR):
            return OpenClip(argument)
        model, _, pretrained = argument.partition("/")
        return OpenClip(model, pretrained)


OPEN_CLIP = OpenClipKind()


def _load(name: str, pretrained: str | None) -> tuple[Any, Any, Any]:
    """Load model, picture transform and tokenizer."""
    import open_clip

    try:
        # This one, unlike create_model_and_transforms, refuses a model whose weights are missing.
        model, transform = open_clip.create_model_from_pretrained(name, pretrained)
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # Whatever hub, disk or configuration raises means the same to the user.
        first = " ".join(str(error).split())[:200]
        message = f"cannot load {name}{'/' + pretrained if pretrained else ''} with open_clip: {first}"
        raise ModelError(message, reason="model_not_loaded") from error
    return model, transform, tokenizer
