"""From the words on the command line to a loaded embedder."""

from __future__ import annotations

from functools import lru_cache

from image2music.embedders.base import Embedder
from image2music.errors import ConfigError

KNOWN = "conse | open_clip:MODEL/PRETRAINED | open_clip:local-dir:PATH | transformers:ID_OR_PATH"
_LOCAL_DIR = "local-dir:"


@lru_cache(maxsize=4)
def load_embedder(spec: str) -> Embedder:
    """The embedder that `spec` names, loaded once a process; `conse` loads its networks when they are first used.

    Raises:
        ConfigError: `spec` is none of the forms in `KNOWN`.
        ModelError: the model is not there, or is no model of pictures and texts.
    """
    family, _, name = spec.partition(":")
    if spec == "conse":
        from image2music.embedders.conse import load_conse

        return load_conse()
    if family == "transformers" and name:
        from image2music.embedders.transformers_clip import TransformersClip

        return TransformersClip(name)
    if family == "open_clip" and name:
        return _open_clip(spec, name)
    raise _bad(spec)


def _open_clip(spec: str, name: str) -> Embedder:
    from image2music.embedders.open_clip import OpenClip

    if name.startswith(_LOCAL_DIR):
        if name == _LOCAL_DIR:
            raise _bad(spec)
        return OpenClip(name)
    model, _, pretrained = name.partition("/")
    if not (model and pretrained):
        raise _bad(spec)
    return OpenClip(model, pretrained)


def _bad(spec: str) -> ConfigError:
    return ConfigError(f"no embedder {spec!r}: write {KNOWN}", reason="bad_embedder_spec")
