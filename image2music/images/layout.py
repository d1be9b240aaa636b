"""How a picture is laid out: light, colour and texture measured over its whole, its thirds and its cells.

`layouts_without` measures what is left of it without some cells, from the same planes of pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from image2music.images.features import CELLS, LINEAR, Floats, Pixels

_DIGITS = 3


@dataclass(frozen=True, eq=False)
class PictureLayout:
    """Measures of a picture squeezed to a square; shares are 0 to 1 of its area, or of the third that is named.

    lightness: mean L*/100; contrast: its standard deviation. `top_lightness` is that of the top third, `rim` the median
    along the border, `fall` how much lighter the upper half is than the bottom third.
    chroma: the 95th percentile of the CIE chroma. colourfulness: as Hasler and Süsstrunk (2003), on R, G, B in 0..1.
    colours: natural logarithm of the number of colours, of 4096, that cover more than a ten-thousandth.
    black, bright, vivid, clipped, warm: shares of pixels with L* below 8, above 60, chroma above 45, white to the brim,
    and of sunny hue. `warm_top` is for the upper half.
    points: small bright spots. disc: how far one round lit body stands free in the dark, 0 or 1.
    blue_sky, grey_sky: shares of the top third that are smooth and blue, or pale, from the upper border on.
    blue_bottom, white_bottom, sandy_bottom: shares of the bottom third.
    green, green_top, grassy_top, grassy_bottom: green, and green or straw-coloured.
    dull_top: dim bluish grey in the upper half.
    texture, texture_top, texture_bottom: mean step of L* from pixel to pixel.
    level: natural logarithm of steps from row to row over those from column to column, above 0 where lines are level;
    `level_bottom` for the lower half. diagonal: the share of steps that lie between. horizon: the sharpest step
    between mean rows.
    uneven_light, uneven_colour, uneven_texture: standard deviations over the cells.
    blurred: share of cells without fine detail.
    cells: float32[7, 7, 5], mean L*/100, a*/100, b*/100, the square root of the texture and the share of fine detail.
    """

    lightness: float
    contrast: float
    top_lightness: float
    rim: float
    fall: float
    chroma: float
    colourfulness: float
    colours: float
    black: float
    bright: float
    vivid: float
    clipped: float
    warm: float
    warm_top: float
    points: float
    disc: float
    blue_sky: float
    grey_sky: float
    blue_bottom: float
    white_bottom: float
    sandy_bottom: float
    green: float
    green_top: float
    grassy_top: float
    grassy_bottom: float
    dull_top: float
    texture: float
    texture_top: float
    texture_bottom: float
    level: float
    level_bottom: float
    diagonal: float
    horizon: float
    uneven_light: float
    uneven_colour: float
    uneven_texture: float
    blurred: float
    cells: Floats


# From linear sRGB to CIE XYZ over the white of D65 (IEC 61966-2-1).
_TO_XYZ = np.array(
    [[0.4340, 0.3762, 0.1898], [0.2126, 0.7152, 0.0722], [0.0178, 0.1094, 0.8728]], dtype=np.float32
)  # fmt: skip


def measure_layout(pixels: Pixels) -> PictureLayout:
    """Return the layout of sRGB pixels uint8[n, n, 3], n a multiple of 7 and at least 112."""
    return _measured(_planes_of(pixels), None)


def layouts_without(pixels: Pixels, left_out: Iterable[NDArray[np.bool_]]) -> list[PictureLayout]:
    """Return the layout of what is left where some cells, True in bool[7, 7], do not count; a lit disc stays one.

    The cells themselves look like the mean of the others.
    """
    planes = _planes_of(pixels)
    return [_measured(planes, ~out) for out in left_out]


@dataclass(frozen=True, eq=False)
class _Planes:
    """What is measured pixel by pixel, once a picture, and the measures that are of the whole alone."""

    light: Floats
    chroma: Floats
    across: Floats
    down: Floats
    step: Floats
    opponents: tuple[Floats, Floats]
    codes: NDArray[np.intp]
    spots: NDArray[np.bool_]
    masks: Mapping[str, NDArray[np.bool_]]
    cells: Floats
    disc: float
    horizon: float


def _planes_of(pixels: Pixels) -> _Planes:
    light, red_green, yellow_blue = _lab(pixels)
    chroma = np.hypot(red_green, yellow_blue)
    across = np.abs(np.diff(light, axis=1, prepend=light[:, :1]))
    down = np.abs(np.diff(light, axis=0, prepend=light[:1]))
    step = np.hypot(across, down)
    blue = (yellow_blue < -5) & (red_green < 12) & (light > 0.3)
    pale = (chroma < 9) & (light > 0.6)
    smooth = ndimage.uniform_filter(step, 5) < 0.02
    sky = np.cumprod(ndimage.uniform_filter((smooth & (blue | pale)).astype(np.float32), 5) > 0.5, axis=0) > 0
    green = (red_green < -5) & (yellow_blue > 5) & (chroma > 10)
    straw = (yellow_blue > 12) & (np.abs(red_green) < 14) & (chroma > 14)
    side = len(light)
    rows = ndimage.gaussian_filter1d(light.mean(axis=1), 1.5)[side // 12 : -side // 12]
    return _Planes(
        light, chroma, across, down, step, _opponents(pixels), _codes(pixels), _spots(light),
        masks={
            "clipped": pixels.min(axis=-1) >= 252,
            "warm": (red_green > 6) & (yellow_blue > 14) & (light > 0.35),
            "blue_sky": sky & blue,
            "grey_sky": sky & pale,
            "blue": (yellow_blue < -4) & (light > 0.15),
            "white": (light > 0.75) & (chroma < 9),
            "sandy": (yellow_blue > 10) & (red_green > -4) & (red_green < 22) & (light > 0.45),
            "green": green,
            "grassy": green | straw,
            "dull": (chroma < 28) & (yellow_blue < 2) & (light > 0.1) & (light < 0.62),
        },
        cells=np.stack(
            [_cells(light), _cells(red_green) / 100, _cells(yellow_blue) / 100, np.sqrt(_cells(step)), _fine(light)],
            axis=-1,
        ),
        disc=_disc(light),
        horizon=float(np.abs(rows[3:] - rows[:-3]).max()),
    )  # fmt: skip


def _measured(planes: _Planes, kept: NDArray[np.bool_] | None) -> PictureLayout:
    """Return the measures of all cells, or of those that are True in bool[7, 7]."""
    side = len(planes.light)
    stays = None if kept is None else np.kron(kept, np.ones((side // CELLS, side // CELLS), np.bool_))
    whole, top, bottom = slice(0, side), slice(0, side // 3), slice(side - side // 3, side)
    upper, lower = slice(side // 2), slice(side // 2, side)

    def of(plane: NDArray[Any], rows: slice = whole) -> NDArray[Any]:
        return plane[rows] if stays is None else plane[rows][stays[rows]]

    light, chroma, step, mask = planes.light, planes.chroma, planes.step, planes.masks
    cells = planes.cells if kept is None else planes.cells.copy()
    if kept is not None:
        cells[~kept] = cells[kept].mean(axis=0)
    own = cells if kept is None else cells[kept]
    rim = [of(light, slice(0, 1)).ravel(), of(light, slice(side - 1, side)).ravel()]
    rim += [light[:, at] if stays is None else light[:, at][stays[:, at]] for at in (0, -1)]
    shown, steps, tones = of(light), of(step), of(chroma)
    measures = dict(
        lightness=shown.mean(),
        contrast=shown.std(),
        top_lightness=of(light, top).mean(),
        rim=np.median(np.concatenate(rim)),
        fall=of(light, upper).mean() - of(light, bottom).mean(),
        chroma=np.percentile(tones, 95),
        colourfulness=_colourfulness(of(planes.opponents[0]), of(planes.opponents[1])),
        colours=_number_of_colours(of(planes.codes).ravel()),
        black=(shown < 0.08).mean(),
        bright=(shown > 0.6).mean(),
        vivid=(tones > 45).mean(),
        clipped=of(mask["clipped"]).mean(),
        warm=of(mask["warm"]).mean(),
        warm_top=of(mask["warm"], upper).mean(),
        points=of(planes.spots).sum(),
        disc=planes.disc,
        blue_sky=of(mask["blue_sky"], top).mean(),
        grey_sky=of(mask["grey_sky"], top).mean(),
        blue_bottom=of(mask["blue"], bottom).mean(),
        white_bottom=of(mask["white"], bottom).mean(),
        sandy_bottom=of(mask["sandy"], bottom).mean(),
        green=of(mask["green"]).mean(),
        green_top=of(mask["green"], top).mean(),
        grassy_top=of(mask["grassy"], top).mean(),
        grassy_bottom=of(mask["grassy"], bottom).mean(),
        dull_top=of(mask["dull"], upper).mean(),
        texture=steps.mean(),
        texture_top=of(step, top).mean(),
        texture_bottom=of(step, bottom).mean(),
        level=_log_ratio(of(planes.down), of(planes.across)),
        level_bottom=_log_ratio(of(planes.down, lower), of(planes.across, lower)),
        diagonal=_diagonal(of(planes.across), of(planes.down)),
        horizon=planes.horizon,
        uneven_light=own[..., 0].std(),
        uneven_colour=np.hypot(own[..., 1].std(), own[..., 2].std()),
        uneven_texture=np.log(own[..., 3] ** 2 + 0.004).std(),
        blurred=(own[..., 4] < 0.36).mean(),
    )
    return PictureLayout(**{name: round(float(value), _DIGITS) for name, value in measures.items()}, cells=cells)


def _lab(pixels: Pixels) -> tuple[Floats, Floats, Floats]:
    """Return L*/100, a* and b* (CIE 1976, D65 white)."""
    xyz = LINEAR[pixels] @ _TO_XYZ.T
    curved = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(curved, -1, 0)
    return (1.16 * y - 0.16).clip(0, 1), 500 * (x - y), 200 * (y - z)


def _cells(plane: Floats) -> Floats:
    height, width = plane.shape
    means: Floats = plane.reshape(CELLS, height // CELLS, CELLS, width // CELLS).mean(axis=(1, 3)).astype(np.float32)
    return means


def _fine(light: Floats) -> Floats:
    """Return how much of each cell's detail is as fine as pixels: about .5 where it is sharp, .3 where blurred."""
    soft = ndimage.uniform_filter(light, 3)
    softer = ndimage.uniform_filter(light, 9)
    return (_cells(np.abs(light - soft)) + 0.0005) / (_cells(np.abs(soft - softer)) + 0.004)


def _opponents(pixels: Pixels) -> tuple[Floats, Floats]:
    red, green, blue = np.moveaxis(pixels.astype(np.float32) / 255, -1, 0)
    return red - green, (red + green) / 2 - blue


def _colourfulness(first: Floats, second: Floats) -> float:
    return float(np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean()))


def _codes(pixels: Pixels) -> NDArray[np.intp]:
    """Return which of 4096 colours each pixel has."""
    codes: NDArray[np.intp] = (pixels >> 4).astype(np.intp) @ np.array([256, 16, 1])
    return codes


def _number_of_colours(codes: NDArray[np.intp]) -> float:
    shares = np.bincount(codes, minlength=4096) / len(codes)
    return float(np.log(max(1, int((shares > 1e-4).sum()))))


def _spots(light: Floats) -> NDArray[np.bool_]:
    """Return where the middle of a small bright spot is."""
    peaks = (light == ndimage.maximum_filter(light, 7)) & (light > 0.35)
    spots: NDArray[np.bool_] = peaks & (light - ndimage.uniform_filter(light, 15) > 0.2)
    return spots


def _disc(light: Floats) -> float:
    """Return 1 where the largest lit part is round, clear of the border and alone in the dark, else 0.

    An ellipse fills pi/4 of the box around it, whatever the picture's own shape was.
    """
    lit, count = ndimage.label(ndimage.uniform_filter(light, 5) > 0.13)
    if not count:
        return 0.0
    sizes = np.bincount(lit.ravel())[1:]
    rows, columns = ndimage.find_objects(lit)[int(sizes.argmax())]
    body = ndimage.binary_fill_holes(lit[rows, columns] == sizes.argmax() + 1)
    filled = body.sum() / body.size / (np.pi / 4)
    clear = rows.start > 2 and columns.start > 2 and rows.stop < len(light) - 2 and columns.stop < len(light) - 2
    alone = sizes.sum() < 1.1 * sizes.max()
    return float(clear and alone and 0.94 < round(filled, _DIGITS) < 1.06 and 0.02 < sizes.max() / light.size < 0.6)


def _log_ratio(first: Floats, second: Floats) -> float:
    return float(np.log((first.mean() + 0.002) / (second.mean() + 0.002)))


def _diagonal(across: Floats, down: Floats) -> float:
    strong = np.hypot(across, down) > 0.04
    slanted = strong & (np.minimum(across, down) > 0.5 * np.maximum(across, down))
    return float(slanted.sum() / max(1, strong.sum()))
