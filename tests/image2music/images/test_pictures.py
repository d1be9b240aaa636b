"""Opening pictures: what people have becomes RGB, what is broken or hostile becomes a reason."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from image2music.errors import PictureError
from image2music.images.decode import MAX_SIDE, open_picture, quiet

RED, BLUE = (255, 0, 0), (0, 0, 255)


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def red_left_blue_right() -> Image.Image:
    image = Image.new("RGB", (80, 40), RED)
    image.paste(BLUE, (40, 0, 80, 40))
    return image


def png_header(width: int, height: int) -> bytes:
    """A PNG file that promises this size and holds next to nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(b"\0" * 10)
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (body, pixels, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def reason_of(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        open_picture(data)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000"])
def test_common_formats_open(kind: str) -> None:
    picture = open_picture(file_of(red_left_blue_right(), kind))
    assert (picture.format, picture.width, picture.height, picture.image.mode) == (kind, 80, 40, "RGB")
    left, right = picture.image.getpixel((10, 20)), picture.image.getpixel((70, 20))
    assert left[0] > 200 > 60 > left[2]
    assert right[2] > 200 > 60 > right[0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    grey = np.full((20, 30), 200, dtype=np.uint8)
    sources = {
        "I;16": lambda: Image.fromarray(grey.astype(np.uint16) * 257),
        "I": lambda: Image.fromarray(grey.astype(np.int32) * 257),
        "F": lambda: Image.fromarray(grey.astype(np.float32) / 255),
    }
    image = sources.get(mode, lambda: Image.fromarray(grey).convert(mode))()
    picture = open_picture(file_of(image, "TIFF")).image
    assert picture.mode == "RGB"
    expected = 255 if mode == "1" else 200
    assert np.asarray(picture).mean() == pytest.approx(expected, abs=60 if mode == "1" else 2)


def test_sixteen_bits_that_hold_only_eight_are_not_black() -> None:
    image = Image.fromarray(np.full((8, 8), 200, dtype=np.uint16))
    assert open_picture(file_of(image, "TIFF")).image.getpixel((0, 0)) == (200, 200, 200)


def test_transparent_pixels_become_white() -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert open_picture(file_of(image)).image.getpixel((0, 0)) == (255, 255, 255)


def test_a_transparent_palette_entry_becomes_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0] + [0, 0, 0] * 255)
    assert open_picture(file_of(image, "GIF", transparency=0)).image.getpixel((0, 0)) == (255, 255, 255)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (10, 10), colour) for colour in (RED, BLUE)]
    data = file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_picture(data).image.getpixel((5, 5)) == RED


UNDO = {1: (), 2: (0,), 3: (3,), 4: (1,), 5: (5,), 6: (2,), 7: (6,), 8: (4,)}
"""For each EXIF orientation, how a camera that writes it has turned the upright picture (Pillow's transpose codes)."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    stored = red_left_blue_right()
    for turn in UNDO[orientation]:
        stored = stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(file_of(stored, kind, exif=exif))
    assert (picture.width, picture.height) == picture.image.size == (80, 40)
    assert picture.image.getpixel((10, 20))[0] > 200


def test_broken_exif_data_spoil_no_pixel() -> None:
    data = file_of(red_left_blue_right(), "JPEG", exif=b"Exif\0\0" + b"MM\0*\0\0\0\x08" + b"\xff" * 40)
    assert open_picture(data).image.size == (80, 40)


def test_a_large_photograph_is_scaled_down_and_its_size_remembered() -> None:
    picture = open_picture(file_of(Image.new("RGB", (4000, 3000), RED), "JPEG"), max_side=512)
    assert (picture.width, picture.height) == (4000, 3000)
    assert picture.image.size == (512, 384)


def test_a_small_picture_keeps_its_size() -> None:
    assert open_picture(file_of(Image.new("RGB", (1, 1)))).image.size == (1, 1)


NOISE = Image.effect_noise((64, 64), 80)

EMPTY_SCAN = bytes.fromhex("ffda 0008 01 01 00 00 3f 00")
"""The head of a scan of a JPEG with nothing behind it."""

HOSTILE = {
    "nothing": (b"", "empty_file"),
    "text": (b"this is no picture", "not_a_picture"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_a_picture"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not_a_picture"),
    "bomb": (png_header(16400, 16400), "too_many_pixels"),
    "giant": (png_header(2**31 - 1, 2**31 - 1), "too_many_pixels"),
    "line": (png_header(4000, 2), "too_thin"),
    "hollow": (png_header(100, 100), "truncated"),
    "half_png": (file_of(NOISE)[:2000], "truncated"),
    "half_jpeg": (file_of(NOISE, "JPEG")[:2000], "truncated"),
    "endless_scans": (file_of(NOISE, "JPEG")[:-2] + EMPTY_SCAN * 1000 + b"\xff\xd9", "too_many_scans"),
    "heic_head": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "broken_file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_opened_has_a_reason(name: str) -> None:
    data, reason = HOSTILE[name]
    assert reason_of(data) == reason


def test_a_negative_size_is_refused() -> None:
    assert reason_of(b"P6\n-5 5\n255\n" + b"\0" * 75) in ("bad_size", "not_a_picture", "broken_file")


def test_broken_pixels_are_not_taken_for_a_broken_exif_block() -> None:
    data = bytearray(file_of(NOISE))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    assert reason_of(bytes(data)) == "broken_file"


def test_a_file_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *args, **options: pytest.fail("it was opened"))
    monkeypatch.setattr("image2music.images.decode.MAX_BYTES", 10)
    assert reason_of(bytes(11)) == "file_too_large"


SEEDS = [file_of(red_left_blue_right(), kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM")]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=6)), max_size=4),
    st.floats(0, 1),
)
def test_damaged_files_give_a_picture_or_a_picture_error(
    seed: bytes, edits: list[tuple[float, bytes]], kept: float
) -> None:
    data = bytearray(seed)
    for place, patch in edits:
        start = int(place * len(data))
        data[start : start + len(patch)] = patch
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            picture = open_picture(bytes(data[: int(kept * len(data))]))
        except PictureError as error:
            assert error.reason
        else:
            assert picture.image.mode == "RGB"


def test_silence_ends_with_the_last_thread_that_asked_for_it() -> None:
    before = list(warnings.filters)
    first_in, first_may_go = threading.Event(), threading.Event()

    def first() -> None:
        with quiet():
            first_in.set()
            first_may_go.wait(5)

    thread = threading.Thread(target=first)
    thread.start()
    first_in.wait(5)
    with quiet():
        first_may_go.set()
        thread.join(5)
        warnings.warn("nobody hears this", stacklevel=1)
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    ("kind", "mode", "size"), [("JPEG", "RGB", (12032, 9024)), ("PNG", "1", (16320, 12240))], ids=["108 MP", "200 MP"]
)
def test_pictures_of_the_largest_telephones_are_read(kind: str, mode: str, size: tuple[int, int]) -> None:
    picture = open_picture(file_of(Image.new(mode, size), kind))
    assert (picture.width, picture.height, max(picture.image.size)) == (*size, MAX_SIDE)


def test_pillows_own_bound_is_as_it_was_afterwards() -> None:
    before = Image.MAX_IMAGE_PIXELS
    open_picture(file_of(NOISE, "PNG"))
    assert before == Image.MAX_IMAGE_PIXELS


def tiff(photometric: int, bits: int) -> bytes:
    """A TIFF file of one pixel with three channels, written by hand: few programs write CIELAB."""
    tags = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, photometric),
            (273, 4, 1, 206), (277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, 3 * bits // 8)]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    head = b"II*\0" + struct.pack("<I", 8) + directory
    return head.ljust(200, b"\0") + struct.pack("<3H", bits, bits, bits) + b"\x40" * 6


def test_a_cielab_tiff_is_read_with_8_bits_and_called_by_its_name_with_16() -> None:
    assert open_picture(tiff(8, 8)).image.mode == "RGB"
    with pytest.raises(PictureError, match=r"a kind that is not read \(CIELAB, 3 channels of 16 bits\)"):
        open_picture(tiff(8, 16))
    with pytest.raises(PictureError, match=r"\(ICCLAB, 3 channels of 8 bits\)"):
        open_picture(tiff(9, 8))
