"""Frames: colours, pictures on their blurred selves, moves between pixels, words."""

import cv2
import numpy as np
import pytest
from PIL import Image

from image2music.film.camera import HELD, CameraPath, View
from image2music.film.frames import Planes, Still, blended, canvas_of, lettering, planes_of, title_card

RED, GREEN = (200, 30, 30), (30, 200, 30)


def rgb(planes):
    """Colours by the formulas of BT.709, float[h, w, 3] of 0 to 255."""
    size = planes.size
    y = (planes.y.astype(float) - 16) / 219
    u, v = ((cv2.resize(plane, size).astype(float) - 128) / 224 for plane in (planes.u, planes.v))
    red, blue = y + 1.5748 * v, y + 1.8556 * u
    return np.dstack([red, (y - 0.2126 * red - 0.0722 * blue) / 0.7152, blue]) * 255


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), RED, GREEN, (12, 90, 220)])
def test_colours_are_those_of_video(colour):
    assert rgb(planes_of(np.full((8, 8, 3), colour, np.uint8)))[4, 4] == pytest.approx(colour, abs=2)


def whole(image, size):
    """A picture as it is first seen in a film of that size."""
    return rgb(Still(canvas_of(image, size), HELD).seen(0, size))


def test_a_portrait_lies_whole_in_the_middle_of_a_wide_film_on_its_blurred_self():
    seen = whole(Image.new("RGB", (30, 60), RED), (160, 80))
    assert seen.shape == (80, 160, 3)
    assert seen[40, 62:98] == pytest.approx(np.tile(RED, (36, 1)), abs=4)
    assert seen[40, 20, 0] == pytest.approx(0.55 * RED[0], abs=6)
    assert seen[2, 80] == pytest.approx(RED, abs=4)


def test_nothing_is_cut_off_or_stretched():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, :] = GREEN
    picture[:4, :4] = picture[-4:, -4:] = RED
    seen = whole(Image.fromarray(picture), (120, 60))
    for corner in ((2, 32), (57, 87)):
        assert seen[corner] == pytest.approx(RED, abs=30)


def test_a_canvas_has_the_pixels_that_the_closest_view_needs():
    for side in (160, 1600):
        assert canvas_of(Image.new("RGB", (side, side * 9 // 16)), (160, 90)).size == (210, 118)


def ramp(width, height):
    grey = np.tile(np.linspace(40, 200, width), (height, 1)).astype(np.uint8)
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    return Planes(grey, chroma, chroma)


def test_a_view_moves_by_less_than_a_pixel():
    still = [
        Still(ramp(64, 32), CameraPath((0.0,), (View(0.5 + shift / 64, 0.5, 0.5),))).seen(0, (64, 32)).y.mean()
        for shift in (0, 0.25, 0.5, 0.75, 1)
    ]
    steps = np.diff(still)
    assert steps == pytest.approx(np.full(4, 160 / 64 / 4), abs=0.15)


def test_the_whole_canvas_is_seen_as_it_is():
    canvas = ramp(64, 32)
    assert Still(canvas, HELD).seen(3, (64, 32)) is canvas


def test_planes_are_cut_alike():
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, 64:] = RED
    seen = rgb(Still(planes_of(image), CameraPath((0.0,), (View(0.4, 0.5, 0.8),))).seen(0, (128, 64)))
    edge = 128 * (0.5 - 0.4 + 0.4) / 0.8
    assert seen[32, int(edge) + 4] == pytest.approx(RED, abs=8)
    assert seen[32, int(edge) - 5] == pytest.approx((0, 0, 0), abs=8)


def test_a_blend_lies_between_its_two_images():
    one, other = (planes_of(np.full((8, 8, 3), colour, np.uint8)) for colour in (RED, GREEN))
    assert blended(one, other, 0.0) is one
    assert blended(one, other, 1.0) is other
    assert blended(one, other, 0.25).y[0, 0] == pytest.approx(0.75 * one.y[0, 0] + 0.25 * other.y[0, 0], abs=1)


@pytest.mark.parametrize("title", ["Österreich, déjà vu, ¿señor?", "Łódź", "Ελλάδα", "Москва"])
def test_letters_of_latin_greek_and_cyrillic_are_there(title):
    boxes = lettering((400, 200), "\U00010fff" * len(title))[..., 3]
    words = lettering((400, 200), title)[..., 3]
    assert words.shape[1] == 400
    assert 0.005 < (words > 128).mean() < 0.3
    assert boxes.shape != words.shape or np.abs(boxes.astype(int) - words).mean() > 2


def test_a_word_that_is_too_long_is_broken_and_markup_is_only_words():
    long = lettering((200, 100), "x" * 200)[..., 3]
    assert long.shape[0] > 2 * lettering((200, 100), "x")[..., 3].shape[0]
    assert (long[:, :2] == 0).all() and (long[:, -2:] == 0).all()
    assert (lettering((200, 100), "#panic() $x$ *a*")[..., 3] > 0).any()


def test_a_card_is_dark_with_light_words_in_its_middle():
    card = title_card(None, (160, 90), "Gone")
    assert card.size == (160, 90)
    assert card.y[:10].max() < 60
    assert card.y[30:60].max() > 200
