"""Which number format, and which device, networks run in and on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def cpu_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it in hardware (twice as fast there), otherwise float32.

    The two agree to a cosine above .999, so an index made on one kind of machine serves the other.
    """
    import torch

    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def accelerator() -> tuple[torch.device, torch.dtype]:
    """Device and number format for models of a hub: bfloat16 on a GPU, float32 on the processor."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda"), torch.bfloat16
    return torch.device("cpu"), torch.float32
