"""Draw the README's figure from one row of an output: the picture, where the composer looked, and the score.

`python docs/example_figure.py OUT PICTURE docs/example.png`. Needs the programs abcm2ps and rsvg-convert.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
from PIL import Image, ImageOps

HEIGHT, MARGIN = 420, 24


def main(output: str, picture: str, target: str) -> None:
    """Picture and heat map above, score below, on white."""
    rows = ds.dataset(f"{output}/compositions").to_table(columns=["image_uri", "abc", "attention"]).to_pylist()
    row = next(row for row in rows if Path(row["image_uri"]).name == picture)
    image = ImageOps.exif_transpose(Image.open(row["image_uri"])).convert("RGB")
    image = image.resize((round(image.width * HEIGHT / image.height), HEIGHT))
    whole = next(found for found in row["attention"] if found["kind"] == "all")
    top = side_by_side([image, heat_map(image, whole)])
    score = draw_score(row["abc"], top.width)
    sheet = Image.new("RGB", (top.width, top.height + score.height + MARGIN), "white")
    sheet.paste(top, (0, 0))
    sheet.paste(score, (0, top.height + MARGIN))
    sheet.quantize(256).save(target, optimize=True)


def heat_map(image: Image.Image, found: dict[str, object]) -> Image.Image:
    """The map over its baseline (a blank picture's), laid over the picture in grey."""
    shape = found["rows"], found["cols"]
    weights, blank = (np.array(found[name], np.float32).reshape(shape) for name in ("weights", "baseline"))
    ratio = weights / blank
    share = (ratio - ratio.min()) / (np.ptp(ratio) or 1)
    smooth = Image.fromarray((share * 255).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    heat = np.asarray(smooth, np.float32)[..., None] / 255
    grey = np.asarray(image.convert("L").convert("RGB"), np.float32)
    colour = np.array([255, 80, 0], np.float32)
    return Image.fromarray((grey * (1 - 0.75 * heat) + colour * 0.75 * heat).astype(np.uint8))


def side_by_side(images: list[Image.Image]) -> Image.Image:
    """Images of one height in a row."""
    width = sum(image.width for image in images) + MARGIN * (len(images) - 1)
    sheet, x = Image.new("RGB", (width, HEIGHT), "white"), 0
    for image in images:
        sheet.paste(image, (x, 0))
        x += image.width + MARGIN
    return sheet


def draw_score(abc: str, width: int) -> Image.Image:
    """The ABC as staves, cropped."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tune.abc").write_text(abc, encoding="utf-8")
        subprocess.run(["abcm2ps", "-q", "-g", "-O", "tune", "tune.abc"], check=True, capture_output=True, cwd=folder)
        drawn = Path(folder) / "tune001.svg"
        subprocess.run(["rsvg-convert", "-w", str(width), "-o", f"{folder}/tune.png", str(drawn)], check=True)
        page = Image.open(f"{folder}/tune.png").convert("RGBA")
    white = Image.new("RGBA", page.size, "white")
    white.alpha_composite(page)
    sheet = white.convert("RGB")
    return sheet.crop(ImageOps.invert(sheet).getbbox())


if __name__ == "__main__":
    main(*sys.argv[1:])
