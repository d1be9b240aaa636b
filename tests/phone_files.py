"""Files as telephones and cameras write them, made by Pillow, pillow_heif and by hand; none was photographed.

`python -m benchmarks.phone_folder` makes a folder of 200 of them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image

RED, BLUE = (255, 0, 0), (0, 0, 255)
ORIENTATION = 0x0112

UNDO = {1: (), 2: (0,), 3: (3,), 4: (1,), 5: (5,), 6: (2,), 7: (6,), 8: (4,)}
"""For each EXIF orientation, how a camera that writes it has turned the upright picture (Pillow's transpose codes)."""


def red_left_blue_right(width: int = 80, height: int = 40) -> Image.Image:
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def as_taken(upright: Image.Image, orientation: int) -> Image.Image:
    """The pixels of a camera that was held so that its picture needs this EXIF orientation."""
    for turn in UNDO[orientation]:
        upright = upright.transpose(Image.Transpose(turn))
    return upright


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def file_of(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# ---------------------------------------------------------------- HEIC


def heic(upright: Image.Image, orientation: int = 1, boxes: bool = True, more: Sequence[Image.Image] = ()) -> bytes:
    """A HEIC file whose orientation stands in its boxes and in its EXIF data, or in these alone.

    `more` are further pictures; the first one is the primary picture and the last one of the file.
    """
    import pillow_heif

    taken = as_taken(upright, orientation)
    if not boxes:
        pillow_heif.register_heif_opener()
        return file_of(taken, "HEIF", exif=exif_of(orientation), quality=90)
    file = pillow_heif.HeifFile()
    for image in (*more, taken):
        file.add_from_pillow(image)
    file[len(more)].info["exif"] = exif_of(orientation).tobytes()
    stream = io.BytesIO()
    file.save(stream, quality=90, primary_index=len(more))
    return stream.getvalue()


def heic_of_10_bits(value: int, side: int = 64) -> bytes:
    """A HEIC file of one grey with 10 bits a channel, its value given with 16."""
    import pillow_heif

    pixels = np.full((side, side, 3), value, np.uint16)
    stream = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (side, side), pixels.tobytes()).save(stream, quality=90)
    return stream.getvalue()


def heic_of_tiles(tile: Image.Image, columns: int, rows: int) -> bytes:
    """A HEIC file that shows one tile (64 pixels or more a side) many times, as telephones' large pictures have tiles.

    All tiles are the same bytes, so that the file is small however many pixels it has.
    """
    whole = heic(tile)
    inner = _contents(_contents(whole)[b"meta"][4:])
    properties = _boxes(_contents(inner[b"iprp"])[b"ipco"])
    coding = [box for box in properties if box[4:8] in (b"hvcC", b"ispe")]
    start, size = _extent_of_picture(inner[b"iloc"])
    coded = whole[start : start + size]

    count, width, height = columns * rows, columns * tile.width, rows * tile.height
    grid = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)
    large = _box(b"ispe", bytes(4) + struct.pack(">II", width, height))
    numbers = range(2, count + 2)

    def meta(at: int) -> bytes:
        infos = [(1, b"grid"), *((number, b"hvc1") for number in numbers)]
        items = b"".join(_box(b"infe", b"\2\0\0\0" + struct.pack(">HH4sB", n, 0, kind, 0)) for n, kind in infos)
        places = struct.pack(">HHHII", 1, 0, 1, at, len(grid))
        places += b"".join(struct.pack(">HHHII", n, 0, 1, at + len(grid), len(coded)) for n in numbers)
        links = struct.pack(">HH", 1, count) + b"".join(struct.pack(">H", n) for n in numbers)
        own = bytes([len(coding)]) + bytes(0x80 | (at + 1) for at in range(len(coding)))
        users = struct.pack(">HBB", 1, 1, 0x80 | (len(coding) + 1))
        users += b"".join(struct.pack(">H", n) + own for n in numbers)
        return _box(b"meta", bytes(4) + b"".join((
            _box(b"hdlr", bytes(8) + b"pict" + bytes(13)),
            _box(b"pitm", bytes(4) + struct.pack(">H", 1)),
            _box(b"iloc", bytes(4) + b"\x44\x00" + struct.pack(">H", count + 1) + places),
            _box(b"iinf", bytes(4) + struct.pack(">H", count + 1) + items),
            _box(b"iref", bytes(4) + _box(b"dimg", links)),
            _box(b"iprp", _box(b"ipco", b"".join(coding) + large)
                 + _box(b"ipma", bytes(4) + struct.pack(">I", count + 1) + users)),
        )))  # fmt: skip

    head = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    return head + meta(len(head) + len(meta(0)) + 8) + _box(b"mdat", grid + coded)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _boxes(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 8 <= len(data):
        size = struct.unpack_from(">I", data, at)[0] or len(data) - at
        found.append(data[at : at + size])
        at += size
    return found


def _contents(data: bytes) -> dict[bytes, bytes]:
    return {box[4:8]: box[8:] for box in _boxes(data)}


def _extent_of_picture(iloc: bytes) -> tuple[int, int]:
    """Place and size of the first item, as libheif writes it: four bytes each, no base offset."""
    version, offset_bytes, size_bytes = iloc[0], iloc[4] >> 4, iloc[4] & 15
    base_bytes, at = iloc[5] >> 4, 8
    at += 2 + (2 if version else 0) + 2
    base = int.from_bytes(iloc[at : at + base_bytes], "big")
    at += base_bytes + 2
    place = int.from_bytes(iloc[at : at + offset_bytes], "big")
    size = int.from_bytes(iloc[at + offset_bytes : at + offset_bytes + size_bytes], "big")
    return base + place, size


# ---------------------------------------------------------------- films, and pictures with films

FILM = _box(b"ftyp", b"qt  " + bytes(4) + b"qt  ") + _box(b"mdat", b"\xff\xda" * 400)
"""The beginning of a film, with bytes in it that would be scans of a JPEG."""


def motion_photo(image: Image.Image) -> bytes:
    """A JPEG with its film behind it, in one file."""
    film = _box(b"ftyp", b"mp42" + bytes(4) + b"isommp42") + _box(b"mdat", b"\xff\xda" * 400)
    return file_of(image, "JPEG") + film


# ---------------------------------------------------------------- camera RAW


def dng(preview: bytes | None = None, orientation: int = 1, sensor: tuple[int, int] = (64, 48)) -> bytes:
    """A DNG file with a grey sensor, and with a JPEG preview where one is given."""
    data = bytearray(b"II*\0" + bytes(4))

    def put(content: bytes) -> int:
        data.extend(bytes(len(data) % 2))
        data.extend(content)
        return len(data) - len(content)

    def directory(tags: dict[int, tuple[str, Sequence[int] | bytes]]) -> int:
        entries = []
        for tag, (kind, values) in sorted(tags.items()):
            number = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "S": 10}[kind]
            letter = {"R": "I", "S": "i"}.get(kind, kind)
            content = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{letter}", *values)
            count = len(values) // (2 if kind in "RS" else 1)
            packed = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack("<I", put(content))
            entries.append(struct.pack("<HHI", tag, number, count) + packed)
        return put(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))

    width, height = sensor
    pixels = np.full((height, width), 20000, "<u2").tobytes()
    parts = [directory({
        254: ("I", [0]), 256: ("I", [width]), 257: ("I", [height]), 258: ("H", [16]), 259: ("H", [1]),
        262: ("H", [32803]), 273: ("I", [put(pixels)]), 277: ("H", [1]), 278: ("I", [height]),
        279: ("I", [len(pixels)]), 33421: ("H", [2, 2]), 33422: ("B", bytes([0, 1, 1, 2])),
    })]  # fmt: skip
    if preview is not None:
        with Image.open(io.BytesIO(preview)) as image:
            shown = image.size
        parts.append(directory({
            254: ("I", [1]), 256: ("I", [shown[0]]), 257: ("I", [shown[1]]), 258: ("H", [8, 8, 8]), 259: ("H", [7]),
            262: ("H", [6]), 273: ("I", [put(preview)]), 277: ("H", [3]), 278: ("I", [shown[1]]),
            279: ("I", [len(preview)]),
        }))  # fmt: skip
    first = directory({
        254: ("I", [1]), 271: ("s", b"Made\0"), 272: ("s", b"By hand\0"), 274: ("H", [orientation]), 330: ("I", parts),
        50706: ("B", bytes([1, 4, 0, 0])), 50707: ("B", bytes([1, 1, 0, 0])), 50708: ("s", b"Made by hand\0"),
        50721: ("S", [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]),
        50728: ("R", [1, 1, 1, 1, 1, 1]),
    })  # fmt: skip
    struct.pack_into("<I", data, 4, first)
    return bytes(data)
