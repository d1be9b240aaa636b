"""Every mode of pixel that Pillow knows, to RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image

_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")


def to_rgb(image: Image.Image) -> Image.Image:
    """A loaded picture in RGB; what is transparent becomes white.

    16-bit grey keeps its upper 8 bits, unless it only uses the lower ones; floating-point grey counts as 0 to 1, or
    as 0 to 255 where it exceeds 1.
    """
    if image.mode.startswith("I"):
        return _from_integers(np.asarray(image))
    if image.mode == "F":
        return _from_floats(np.asarray(image))
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _from_integers(values: np.ndarray) -> Image.Image:
    clipped = np.clip(values, 0, 65535).astype(np.uint16)
    grey = clipped >> 8 if clipped.max(initial=0) > 255 else clipped
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _from_floats(values: np.ndarray) -> Image.Image:
    finite = np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0)
    scale = 255.0 if finite.max(initial=0.0) <= 1 else 1.0
    return Image.fromarray(np.clip(finite * scale, 0, 255).astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")
