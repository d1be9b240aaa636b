"""Composers by their spec on the command line."""

from __future__ import annotations

from functools import cache

from image2music.composers.base import Composer
from image2music.errors import ConfigError

SPECS = (
    "nano | transformers:ID_OR_PATH[@REVISION][+remote_code] | "
    "openai:BASE_URL#MODEL[+attention=transformers:ID_OR_PATH]"
)


def composer_id(spec: str) -> str:
    """The id of the composer for a spec; no model is loaded and no server asked.

    Raises:
        ConfigError: as `load_composer`.
        ModelError: there is no such model.
    """
    kind, _, argument = spec.partition(":")
    if kind == "transformers" and argument:
        from image2music.composers.chat.engine import loading

        return loading.model_id(loading.ModelName.parse(argument))
    if kind == "openai" and argument:
        from image2music.composers.chat import served

        return served.served_id(argument)
    if spec == "nano":
        from image2music.composers.nano import identity

        return identity.nano_id()
    return load_composer(spec).id


def composer_memory_report(spec: str, batch: int) -> dict[str, str]:
    """What a plan says of the memory that the composer takes, line by line; nothing where it is the embedded one.

    Raises:
        ModelError: there is no such model, or it does not say how large it is.
    """
    kind, _, argument = spec.partition(":")
    if kind == "openai":
        from image2music.composers.chat import served

        return served.served_memory_report(argument)
    if kind != "transformers":
        return {}
    from image2music.composers.chat.engine import loading, transformers_backend

    return transformers_backend.memory_report(loading.read_config(loading.ModelName.parse(argument)), batch)


@cache
def load_composer(spec: str) -> Composer:
    """The composer for a spec, loaded once per process.

    Raises:
        ConfigError: the spec names no composer that this version has (`bad_composer_spec`).
        ModelError: the composer cannot be loaded.
    """
    kind, _, argument = spec.partition(":")
    if kind == "nano" and not argument:
        from image2music.composers.nano.composer import load_nano

        return load_nano()
    if kind == "transformers" and argument:
        from image2music.composers.chat.composer import ChatComposer
        from image2music.composers.chat.engine import transformers_backend

        return ChatComposer(transformers_backend.load_transformers_backend(argument))
    if kind == "openai" and argument:
        from image2music.composers.chat import served
        from image2music.composers.chat.composer import ChatComposer

        return ChatComposer(served.load_served(argument))
    raise ConfigError(f"--composer {spec!r} is not one of {SPECS}", reason="bad_composer_spec")
