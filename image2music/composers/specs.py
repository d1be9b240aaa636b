"""Composers by their spec on the command line."""

from __future__ import annotations

from functools import cache

from image2music.composers.base import Composer
from image2music.errors import ConfigError

SPECS = "nano | transformers:ID_OR_PATH[@REVISION][+remote_code] | openai:BASE_URL#MODEL"


@cache
def load_composer(spec: str) -> Composer:
    """The composer for a spec, loaded once per process.

    Raises:
        ConfigError: the spec names no composer that this version has (`bad_composer_spec`).
        ModelError: the composer cannot be loaded.
    """
    kind, _, argument = spec.partition(":")
    if kind == "nano" and not argument:
        from image2music.composers.nano.composer import load

        return load()
    if kind == "transformers" and argument:
        from image2music.composers.chat import transformers_backend
        from image2music.composers.chat.composer import ChatComposer

        return ChatComposer(transformers_backend.load(argument))
    if kind == "openai" and argument:
        from image2music.composers.chat import openai_backend
        from image2music.composers.chat.composer import ChatComposer

        return ChatComposer(openai_backend.load(argument))
    raise ConfigError(f"--composer {spec!r} is not one of {SPECS}", reason="bad_composer_spec")
