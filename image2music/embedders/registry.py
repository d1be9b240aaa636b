"""Embedders by their spec: `conse`, `open_clip:...`, `transformers:...`, and the kinds of other packages."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from image2music.embedders.base import Embedder
from image2music.plugins import Kind, KindRegistry


class EmbedderKind(Kind, Protocol):
    """What an entry point of the group `image2music.embedders` names: an object that makes embedders of one kind."""

    def load(self, argument: str) -> Embedder:
        """Load the embedder.

        Raises:
            ModelError: the model is not there, or is no model of pictures and texts.
        """


KINDS: KindRegistry[EmbedderKind] = KindRegistry(
    model="embedder",
    group="image2music.embedders",
    own={
        "conse": "image2music.embedders.conse:CONSE",
        "open_clip": "image2music.embedders.open_clip:OPEN_CLIP",
        "transformers": "image2music.embedders.transformers_clip:TRANSFORMERS",
    },
    reason="bad_embedder_spec",
)


@lru_cache(maxsize=4)
def load_embedder(spec: str) -> Embedder:
    """Load a spec's embedder, once a process; `conse` loads its networks when they are first used.

    Raises:
        ConfigError: no kind of embedder has that spec (`bad_embedder_spec`).
        ModelError: the model is not there, or is no model of pictures and texts.
    """
    kind, argument = KINDS.find(spec)
    return kind.load(argument)
