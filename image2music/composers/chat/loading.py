"""Loads a vision-language model of the transformers library by hub id or folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image2music.embedders.fingerprint import fingerprint
from image2music.embedders.precision import accelerator
from image2music.errors import ConfigError, ModelError

_REMOTE_CODE = "+remote_code"


@dataclass(frozen=True)
class ModelName:
    """`ID_OR_PATH[@REVISION][+remote_code]`. Code that comes with a model runs only where `+remote_code` says so."""

    name: str
    revision: str | None = None
    remote_code: bool = False

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Reads the part of the spec behind `transformers:`.

        Raises:
            ConfigError: it names no model (`bad_composer_spec`).
        """
        rest = text.removesuffix(_REMOTE_CODE)
        name, revision = (rest, "") if Path(rest).is_dir() else rest.partition("@")[::2]
        if not name:
            message = f"transformers:{text} names no model: write transformers:ID_OR_PATH[@REVISION]"
            raise ConfigError(message, reason="bad_composer_spec")
        return cls(name, revision or None, rest != text)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in evaluation mode on its device, its processor, and an id that names its revision."""

    model: Any
    processor: Any
    id: str


def load_model(wanted: ModelName) -> LoadedModel:
    """Model and processor; bfloat16 on a GPU, float32 on the processor.

    Raises:
        ModelError: the model is not there, or is none that answers in text about pictures (`model_not_loaded`).
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    device, dtype = accelerator()
    options = {"revision": wanted.revision, "trust_remote_code": wanted.remote_code}
    try:
        processor = AutoProcessor.from_pretrained(wanted.name, **options)
        model = AutoModelForImageTextToText.from_pretrained(wanted.name, dtype=dtype, **options)
    except Exception as error:  # whatever hub, disk or configuration raises means the same to the user
        first = " ".join(str(error).split())[:200]
        message = f"cannot load {wanted.name!r} with transformers; check the id or folder: {first}"
        raise ModelError(message, reason="model_not_loaded") from error
    if getattr(processor, "tokenizer", None) is None or not processor.tokenizer.is_fast:
        message = f"{wanted.name!r} has no fast tokenizer with its processor; take another model"
        raise ModelError(message, reason="model_not_loaded")
    if not (getattr(processor, "chat_template", None) or processor.tokenizer.chat_template):
        message = f"{wanted.name!r} has no chat template: take a model that was trained to follow instructions"
        raise ModelError(message, reason="model_not_loaded")
    processor.tokenizer.padding_side = "left"
    return LoadedModel(model.to(device).eval(), processor, _id(wanted, model))


def _id(wanted: ModelName, model: Any) -> str:
    path = Path(wanted.name)
    code = _REMOTE_CODE if wanted.remote_code else ""
    if path.is_dir():
        return f"transformers:{path.resolve().name}@{fingerprint(path)}{code}"
    revision = getattr(model.config, "_commit_hash", None) or wanted.revision or "unknown"
    return f"transformers:{wanted.name}@{revision}{code}"
