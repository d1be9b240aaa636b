"""CLIP models of open_clip and of transformers as embedders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from image2music.embedders.base import Vectors, embed_texts, unit_rows
from image2music.errors import ModelError
from image2music.plugins import accelerator, card_licence, fingerprint

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

    def licence_of(self, argument: str) -> str | None:
        """Read the card in the model's folder, where it is one."""
        return card_licence(argument.removeprefix(_LOCAL_DIR)) if argument.startswith(_LOCAL_DIR) else None

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


_BUCKET = 16
_SIGLIP = ("siglip", "siglip2")


class TransformersClip:
    """A model with `get_text_features` and `get_image_features`, by hub id or folder.

    Keeps the protocols `Embedder` and `TextEncoder` of `image2music.embedders.base`. It runs in bfloat16 on a GPU and
    in float32 elsewhere. Pictures go through one at a time and texts in fixed shapes, so a vector does not depend on
    its batch.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._device, self._dtype = accelerator()
        self._model, self._tokenizer, self._processor = _load_weights(name)
        self._model.to(self._device, self._dtype).eval()
        self._type: str = self._model.config.model_type
        self.max_tokens: int = self._model.config.text_config.max_position_embeddings

    @property
    def id(self) -> str:
        """Name hub id with the commit, or the folder with a fingerprint of its files."""
        path = Path(self._name)
        if path.is_dir():
            return f"transformers:{path.resolve().name}@{self._fingerprint}"
        return f"transformers:{self._name}@{getattr(self._model.config, '_commit_hash', None) or 'unknown'}"

    @cached_property
    def dim(self) -> int:
        """Return the length of a vector."""
        return int(self.encode(["a"], self.padded_length(self.count_tokens("a"))).shape[1])

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(Path(self._name))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts of any length as unit float32[n, dim]."""
        return embed_texts([self._prepared(text) for text in texts], self, self.dim)

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Embed RGB pictures as unit float32[n, dim]."""
        vectors = np.zeros((len(images), self.dim), dtype=np.float32)
        for row, image in enumerate(images):
            vectors[row] = self._embed_image(image)
        return unit_rows(vectors)

    def count_tokens(self, text: str) -> int:
        """Count tokens, special ones included, before truncation."""
        return len(self._tokenizer(text, verbose=False)["input_ids"])

    def padded_length(self, tokens: int) -> int:
        """Return the full length for SigLIP, which was trained on texts padded to it; else the next multiple of 16."""
        if self._type in _SIGLIP:
            return self.max_tokens
        return min(self.max_tokens, -(-tokens // _BUCKET) * _BUCKET)

    def encode(self, texts: Sequence[str], length: int) -> Vectors:
        """Encode texts truncated and padded to `length` tokens as float32[n, dim]."""
        import torch

        tokens = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        names = ("input_ids",) if self._type in _SIGLIP else ("input_ids", "attention_mask")
        with torch.inference_mode():
            output = self._model.get_text_features(**{name: tokens[name].to(self._device) for name in names})
        return _array(output)

    def _embed_image(self, image: Image) -> Vectors:
        import torch

        inputs = self._processor(images=[image.convert("RGB")], return_tensors="pt")
        moved = {name: self._moved(value) for name, value in inputs.items()}
        with torch.inference_mode():
            output = self._model.get_image_features(**moved)
        return _array(output)[0]

    def _moved(self, value: Any) -> Any:
        return value.to(self._device, self._dtype) if value.is_floating_point() else value.to(self._device)

    def _prepared(self, text: str) -> str:
        # SigLIP 2 was trained on lower-case text, and its tokenizer does not lower it.
        return text.lower() if self._type == "siglip2" else text


class TransformersClipKind:
    """Models by hub id or folder."""

    form = "transformers:ID_OR_PATH"

    def accepts(self, argument: str) -> bool:
        """Any model."""
        return bool(argument)

    def licence_of(self, argument: str) -> str | None:
        """Read the card in the model's folder; of one that a hub has, nothing is known here."""
        return card_licence(argument)

    def load(self, argument: str) -> TransformersClip:
        """Load network, tokenizer and image processor."""
        return TransformersClip(argument)


TRANSFORMERS = TransformersClipKind()


def _array(output: Any) -> Vectors:
    # transformers 5 returns an object that carries the projected vector; earlier ones the tensor itself.
    pooled = getattr(output, "pooler_output", output)
    vectors: Vectors = pooled.float().cpu().numpy()
    return vectors


def _load_weights(name: str) -> tuple[Any, Any, Any]:
    """Load model, tokenizer and image processor."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
        processor = AutoImageProcessor.from_pretrained(name)
    except Exception as error:  # Whatever hub, disk or configuration raises means the same to the user.
        first = " ".join(str(error).split())[:200]
        message = f"cannot load {name!r} with transformers; check the id or folder: {first}"
        raise ModelError(message, reason="model_not_loaded") from error
    if not (hasattr(model, "get_text_features") and hasattr(model, "get_image_features")):
        message = (
            f"{name!r} is a {model.config.model_type} model; take one of pictures and texts, such as CLIP or SigLIP"
        )
        raise ModelError(message, reason="not_an_embedder")
    return model, tokenizer, processor
