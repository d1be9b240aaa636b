"""What every pretrained network needs: a number format, a device, and a revision for a model that lies in a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def accelerator() -> tuple[torch.device, torch.dtype]:
    """Return device and number format for models of a hub: bfloat16 on a GPU, float32 on the processor."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda"), torch.bfloat16
    return torch.device("cpu"), torch.float32


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
