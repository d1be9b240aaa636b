"""Do pictures matter? The same seed and no references; only the picture changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from image2music.abc.parser import parse
from image2music.composers.base import ComposeRequest, WriteRequest
from image2music.composers.nano.composer import NanoComposer
from image2music.composers.nano.reading import read_controls_and_melody
from image2music.images.decode import open_picture

# Factors of brightness and contrast (Pillow's): the same photographs, made dark and faint, left alone, made bright.
VERSIONS = (("dark, low contrast", 0.4, 0.4), ("as it is", 1.0, 1.0), ("bright", 1.5, 1.1))
SEEDS = range(4)


def pictures_matter(composer: NanoComposer, pictures: Sequence[Path]) -> list[dict[str, Any]]:
    """One row a version: mean tempo, share in minor or dorian, and how many of the tunes of one seed differ."""
    rows = []
    for name, brightness, contrast in VERSIONS:
        images = [_changed(open_picture(path.read_bytes()).image, brightness, contrast) for path in pictures]
        descriptions = composer.look(images)
        tunes = [
            abc
            for seed in SEEDS
            for abc in composer.write(
                [
                    WriteRequest(ComposeRequest("x", image, seen, (), seed))
                    for image, seen in zip(images, descriptions, strict=True)
                ]
            )
        ]
        controls = [read_controls_and_melody(abc)[0] for abc in tunes]
        rows.append(
            {
                "pictures": name,
                "tunes": len(tunes),
                "mean tempo (quarter notes a minute)": float(np.mean([_qpm(abc) for abc in tunes])),
                "share in minor or dorian": float(
                    np.mean([controls["mode"] in ("minor", "dorian") for controls in controls])
                ),
                "different tunes of one seed": len(set(tunes[: len(images)])) / len(images),
            }
        )
    return rows


def _changed(image: Image.Image, brightness: float, contrast: float) -> Image.Image:
    return ImageEnhance.Brightness(ImageEnhance.Contrast(image).enhance(contrast)).enhance(brightness)


def _qpm(abc: str) -> float:
    tempo = parse(abc).tunes[0].tempo
    assert tempo is not None
    return tempo.qpm
