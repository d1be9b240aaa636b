"""Models of this and of other packages: how their kinds are found, and how weights are loaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, runtime_checkable

from image2music.errors import ConfigError

if TYPE_CHECKING:
    import torch


class Kind(Protocol):
    """What every kind can say of itself before anything is loaded."""

    @property
    def form(self) -> str:
        """How to write its spec, for messages: `transformers:ID_OR_PATH`."""

    def accepts(self, argument: str) -> bool:
        """Return whether the text behind the colon has the right form; empty where a spec has no colon."""


@runtime_checkable
class LicensedKind(Protocol):
    """What a kind has in addition where it can tell under which licence a model is."""

    def licence_of(self, argument: str) -> str | None:
        """Return the licence that the model's card names; None where it names none. No model is loaded."""


AnyKind = TypeVar("AnyKind", bound=Kind)


@dataclass(frozen=True)
class KindRegistry(Generic[AnyKind]):
    """The kinds of one sort of model.

    Attributes:
        model: what the models are called in messages: `composer`.
        group: the group of entry points.
        own: this project's kinds, name to `module:object`.
        reason: the reason of errors about a spec.
    """

    model: str
    group: str
    own: Mapping[str, str]
    reason: str

    def find(self, spec: str) -> tuple[AnyKind, str]:
        """Return the kind that a spec names and its argument.

        Raises:
            ConfigError: no kind has that name or its form, two packages declare it, or its package is broken.
        """
        name, colon, argument = spec.partition(":")
        declared = self._declared(name) if argument or not colon else None
        kind = self._load(declared) if declared is not None else None
        if kind is None or not kind.accepts(argument):
            raise ConfigError(f"{self.model} {spec!r} is not one of {self.forms()}", reason=self.reason)
        return kind, argument

    def licence(self, spec: str) -> str | None:
        """Return the licence of a spec's model; None where nobody names one. Raises as `find`."""
        kind, argument = self.find(spec)
        return kind.licence_of(argument) if isinstance(kind, LicensedKind) else None

    def forms(self) -> str:
        """List the forms of this project's kinds, and the names of all others, in one line."""
        own = [self._load(self._own(name)).form for name in self.own]
        others = {entry.name for entry in entry_points(group=self.group)} - self.own.keys()
        return " | ".join([*own, *sorted(others)])

    def _own(self, name: str) -> EntryPoint:
        return EntryPoint(name, self.own[name], self.group)

    def _declared(self, name: str) -> EntryPoint | None:
        if name in self.own:
            return self._own(name)
        found = {entry.value: entry for entry in entry_points(group=self.group, name=name)}
        if len(found) > 1:
            message = f"{self.model} {name!r} is declared by {' and by '.join(sorted(found))}: uninstall one of them"
            raise ConfigError(message, reason=self.reason)
        return next(iter(found.values()), None)

    def _load(self, entry: EntryPoint) -> AnyKind:
        try:
            kind: AnyKind = entry.load()
        except (ImportError, AttributeError) as error:
            message = f"{self.model} {entry.name!r} cannot be loaded from {entry.value}: {error}"
            raise ConfigError(message, reason=self.reason) from error
        return kind


def accelerator() -> tuple[torch.device, torch.dtype]:
    """Return device and number format for models of a hub: bfloat16 on a GPU, float32 on the processor."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda"), torch.bfloat16
    return torch.device("cpu"), torch.float32


_LONGEST_CARD = 1 << 20
_CARD_LINE = re.compile(r"(license|license_name):\s*(?:\"([^\"]*)\"|'([^']*)'|([^#\[\]{}]*?))\s*(?:#.*)?")


def card_licence(folder: str | Path) -> str | None:
    """Return the `license` that the front matter of a model's README.md names; None for what is no such folder.

    Where the card says `other`, the name that it gives it (`license_name`) is returned.
    """
    card = Path(folder) / "README.md"
    if not card.is_file():
        return None
    with card.open(encoding="utf-8", errors="replace") as file:
        lines = file.read(_LONGEST_CARD).splitlines()
    if not lines or lines[0].rstrip() != "---":
        return None
    matter = takewhile(lambda line: line.rstrip() != "---", lines[1:])
    said = {
        found[1]: (found[2] or found[3] or found[4] or "").strip()
        for found in map(_CARD_LINE.fullmatch, matter)
        if found
    }
    named = said.get("license_name") if said.get("license") == "other" else None
    return named or said.get("license") or None


_ENDS = 2**20
_SUFFIXES = (".json", ".txt", ".model", ".safetensors", ".bin", ".pt", ".pth")


def fingerprint(path: Path) -> str:
    """Return 12 hexadecimal digits that change with the model's files, not with the place where they lie.

    Of each file of weights, settings or vocabulary directly in the folder (or of the one file) its name, its size,
    and its first and last MiB count: reading all of a large model would take longer than loading it.
    """
    files = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.is_file() and f.suffix in _SUFFIXES)
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_ENDS))
            stream.seek(max(0, size - _ENDS))
            digest.update(stream.read(_ENDS))
    return digest.hexdigest()[:12]
