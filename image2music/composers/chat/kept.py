"""What was computed for a picture, kept for the next round as far as memory allows."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Generic, TypeVar

from PIL.Image import Image

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values by key up to a number of bytes; of more, those that were not used for longest go.

    Forgetting costs time and changes no answer: whoever asks computes again what is not here.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> Value | None:
        """The value, which now counts as used; None if it was never kept or is forgotten."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: str, value: Value, size: int) -> None:
        """Keeps a value of `size` bytes in place of the one before; one that is larger than all room is not kept."""
        _, before = self._values.pop(key, (None, 0))
        self._bytes -= before
        if size > self._most:
            return
        self._values[key] = (value, size)
        self._bytes += size
        while self._bytes > self._most:
            _, (_, freed) = self._values.popitem(last=False)
            self._bytes -= freed

    def __len__(self) -> int:
        return len(self._values)


def picture_key(image: Image) -> str:
    """Names a picture by its pixels: the same picture is the same one whichever object holds it."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16)
    digest.update(f"{image.mode} {image.size}".encode())
    return digest.hexdigest()
