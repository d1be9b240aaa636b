"""Pictures inside of other formats: HEIC, camera RAW, and photographs with a film behind them."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
from phone_files import (
    FILM,
    as_taken,
    dng,
    exif_of,
    file_of,
    heic,
    heic_of_10_bits,
    heic_of_tiles,
    motion_photo,
    red_left_blue_right,
)
from PIL import Image

from image2music.errors import PictureError
from image2music.images.containers import count_scans, is_motion_photo, is_raw
from image2music.images.decode import MAX_SIDE, open_picture

ORIENTATIONS = range(1, 9)


def shows_red_left_blue_right(data: bytes, size: tuple[int, int] = (80, 40)) -> bool:
    picture = open_picture(data)
    assert (picture.width, picture.height) == picture.image.size == size
    left, right = picture.image.getpixel((10, 20)), picture.image.getpixel((70, 20))
    return left[0] > 200 > 60 > left[2] and right[2] > 200 > 60 > right[0]


def reason_of(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        open_picture(data)
    assert "\n" not in str(caught.value)
    return caught.value.reason


# HEIC


@pytest.mark.parametrize("boxes", [True, False], ids=["boxes and EXIF", "EXIF alone"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_heic_picture_is_turned_once(orientation: int, boxes: bool) -> None:
    data = heic(red_left_blue_right(), orientation, boxes)
    assert (b"irot" in data or b"imir" in data) == (boxes and orientation > 1)
    assert shows_red_left_blue_right(data)


def test_heic_is_read_without_the_package_that_encodes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(red_left_blue_right())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert open_picture(data).format == "HEIF"


def test_without_its_package_a_heic_picture_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(red_left_blue_right())
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PictureError, match="pip install pi-heif") as caught:
        open_picture(data)
    assert caught.value.reason == "heic_not_supported"


def test_of_several_heic_pictures_the_primary_one_is_taken() -> None:
    others = [Image.new("RGB", (60, 60), "green"), Image.new("RGB", (20, 20), "white")]
    assert shows_red_left_blue_right(heic(red_left_blue_right(), 6, more=others))


def test_heic_of_10_bits_keeps_its_upper_8() -> None:
    assert open_picture(heic_of_10_bits(40000)).image.getpixel((9, 9)) == pytest.approx((156,) * 3, abs=2)


def test_a_transparent_heic_picture_lies_on_white() -> None:
    assert open_picture(heic(Image.new("RGBA", (64, 64), (255, 0, 0, 0)))).image.getpixel((9, 9)) == (255, 255, 255)


def test_a_heic_picture_of_tiles_is_one_picture_as_pillow_would_scale_it() -> None:
    import pillow_heif

    data = heic_of_tiles(red_left_blue_right(128, 128), 20, 15)
    picture = open_picture(data)
    assert (picture.width, picture.height, picture.image.size) == (2560, 1920, (MAX_SIDE, 768))
    whole = pillow_heif.open_heif(data).to_pillow()
    whole.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    assert np.array_equal(np.asarray(whole), np.asarray(picture.image))


@pytest.mark.parametrize(("kept", "reason"), [(0.95, "truncated"), (0.1, "broken_file")])
def test_a_heic_file_that_breaks_off_has_a_reason(kept: float, reason: str) -> None:
    data = heic(red_left_blue_right())
    assert reason_of(data[: int(kept * len(data))]) == reason


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "JPEG"])
def test_the_bytes_say_what_a_picture_is(kind: str) -> None:
    data = heic(red_left_blue_right()) if kind == "HEIF" else file_of(red_left_blue_right(), kind)
    assert open_picture(data).format == kind


# Films behind pictures


def test_a_photograph_with_its_film_is_its_photograph() -> None:
    data = motion_photo(red_left_blue_right())
    assert is_motion_photo(data)
    assert shows_red_left_blue_right(data)


def test_a_heic_photograph_may_have_its_film_in_a_box() -> None:
    data = heic(red_left_blue_right())
    assert not is_motion_photo(data)
    assert is_motion_photo(data + struct.pack(">I4s", 8 + len(FILM), b"mpvd") + FILM)


def test_a_plain_photograph_has_no_film() -> None:
    assert not is_motion_photo(file_of(Image.effect_noise((200, 200), 90)))


def test_scans_are_counted_up_to_the_end_of_the_picture() -> None:
    image = Image.effect_noise((64, 64), 90).convert("RGB")
    assert count_scans(file_of(image), 256) == 1
    assert 5 < count_scans(file_of(image, progressive=True), 256) < 20
    assert count_scans(motion_photo(image), 256) == 1


# Camera RAW


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_shows_its_preview_turned_as_the_raw_is(orientation: int) -> None:
    preview = file_of(as_taken(red_left_blue_right(), orientation), quality=95)
    data = dng(preview, orientation)
    assert is_raw(data)
    assert open_picture(data).format == "RAW"
    assert shows_red_left_blue_right(data)


def test_a_preview_that_says_the_same_as_its_raw_is_turned_once() -> None:
    preview = file_of(as_taken(red_left_blue_right(), 6), exif=exif_of(6))
    assert shows_red_left_blue_right(dng(preview, 6))


@pytest.mark.parametrize("refusal", ["not installed", "unknown camera"])
def test_where_libraw_refuses_the_largest_jpeg_inside_is_taken(monkeypatch: pytest.MonkeyPatch, refusal: str) -> None:
    preview = file_of(as_taken(red_left_blue_right(), 6), quality=95)
    data = dng(preview, 6) + file_of(Image.new("RGB", (16, 12), "green"))
    if refusal == "not installed":
        monkeypatch.setitem(sys.modules, "rawpy", None)
    else:
        monkeypatch.setattr("rawpy.imread", lambda file: (_ for _ in ()).throw(RuntimeError("unknown file")))
    assert shows_red_left_blue_right(data)


def test_a_raw_without_a_preview_is_developed() -> None:
    picture = open_picture(dng(None, 6, (64, 48)))
    assert (picture.format, picture.image.size) == ("RAW", (24, 32))


def test_a_raw_without_anything_to_show_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    assert reason_of(dng(None)) == "no_preview"


def test_fujis_raw_is_known_by_its_head_and_a_plain_tiff_is_none() -> None:
    raf = b"FUJIFILMCCD-RAW 0201" + bytes(100) + file_of(red_left_blue_right(), quality=95)
    assert open_picture(raf).format == "RAW"
    assert shows_red_left_blue_right(raf)
    assert not is_raw(file_of(red_left_blue_right(), "TIFF"))
    assert open_picture(file_of(red_left_blue_right(), "TIFF")).format == "TIFF"


@pytest.mark.parametrize("seed", range(40))
def test_damaged_containers_give_a_picture_or_a_reason(seed: int) -> None:
    random = np.random.default_rng(seed)
    image = red_left_blue_right()
    data = bytearray((heic(image, 6), dng(file_of(image), 6), motion_photo(image))[seed % 3])
    for at in random.integers(0, len(data), 6):
        data[at] = random.integers(256)
    try:
        picture = open_picture(bytes(data))
    except PictureError as error:
        assert error.reason and "\n" not in str(error)
    else:
        assert picture.image.mode == "RGB"
