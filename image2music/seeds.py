"""Randomness from one explicit seed."""

from __future__ import annotations

import hashlib


def picture_seed(seed: int, image_id: str) -> int:
    """The picture's own seed, 0 to 2**63 - 1: independent of batch, order, workers and runner."""
    digest = hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
