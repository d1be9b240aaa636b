"""Light and colour as numbers, colour names and moods."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.images.features import (
    COLOUR_NAMES,
    cell_brightness,
    lightness_of,
    measure_palette,
)


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((14, 14, 3), (red, green, blue), dtype=np.uint8)


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((0, 0, 0), "black"),
        ((128, 128, 128), "grey"),
        ((255, 255, 255), "white"),
        ((220, 20, 20), "red"),
        ((250, 150, 20), "orange"),
        ((240, 230, 30), "yellow"),
        ((30, 160, 40), "green"),
        ((0, 140, 130), "teal"),
        ((40, 80, 220), "blue"),
        ((140, 40, 220), "violet"),
        ((250, 100, 180), "pink"),
        ((110, 70, 40), "brown"),
    ],
)
def test_a_plain_surface_is_called_by_its_colour(colour: tuple[int, int, int], name: str) -> None:
    assert measure_palette(plain(*colour)).colours == (name,)


def test_black_and_white_halves_have_full_contrast() -> None:
    pixels = plain(0, 0, 0)
    pixels[:, 7:] = 255
    palette = measure_palette(pixels)
    assert palette.contrast == pytest.approx(1, abs=0.01)
    assert palette.brightness == pytest.approx(0.5, abs=0.01)


def test_warmth_tells_red_from_blue() -> None:
    assert measure_palette(plain(255, 0, 0)).warmth == 1
    assert measure_palette(plain(0, 0, 255)).warmth == -1


def test_lightness_agrees_with_scikit_images_lab() -> None:
    from skimage.color import rgb2lab

    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    assert np.abs(lightness_of(colours) - rgb2lab(colours)[..., 0] / 100).max() < 1e-4


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_measures_stay_in_their_ranges(colour: tuple[int, int, int]) -> None:
    palette = measure_palette(plain(*colour))
    assert 0 <= palette.brightness <= 1
    assert palette.contrast == 0
    assert palette.saturation == pytest.approx((max(colour) - min(colour)) / 255, abs=1e-4)
    assert set(palette.colours) <= set(COLOUR_NAMES)


@given(st.floats(0, 0.999), st.floats(0.3, 1))
def test_the_colour_wheel_has_no_hole(hue: float, saturation: float) -> None:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, 0.9))
    assert measure_palette(plain(red, green, blue)).colours[0] not in ("black", "grey", "white", "brown")


def test_cell_brightness_is_in_reading_order() -> None:
    pixels = plain(0, 0, 0)
    pixels[:2, 12:] = 255
    cells = cell_brightness(pixels, 7)
    assert cells.shape == (7, 7)
    assert cells[0, 6] == pytest.approx(1, abs=1e-4)
    assert cells.sum() == pytest.approx(1, abs=1e-4)
