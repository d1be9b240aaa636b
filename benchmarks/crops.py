"""Many pictures out of few: crops of the demo's photographs in other colours. Made, not taken, and called so."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageEnhance

SEED = 20260102
_SIZE = (320, 240)


def make_crops(photographs: Path, folder: Path, count: int) -> None:
    """`count` JPEG files crop-NNNNNN.jpg of 320 by 240 pixels, the same ones every time; those there are left alone."""
    sources = [Image.open(path).convert("RGB") for path in sorted(photographs.iterdir()) if path.is_file()]
    if not sources:
        raise SystemExit(f"no photograph in {photographs}: run `make demo-data`")
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        target = folder / f"crop-{number:06}.jpg"
        if not target.exists():
            _crop(sources[number % len(sources)], random.Random(SEED + number)).save(target, quality=90)


def _crop(source: Image.Image, chance: random.Random) -> Image.Image:
    share = chance.uniform(0.3, 0.95)
    width, height = (max(1, round(share * side)) for side in source.size)
    left, top = chance.randint(0, source.width - width), chance.randint(0, source.height - height)
    picture = source.crop((left, top, left + width, top + height)).resize(_SIZE)
    for change in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        picture = change(picture).enhance(chance.uniform(0.6, 1.4))
    return picture
