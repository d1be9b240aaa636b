"""A folder as it comes from telephones and cameras: 200 pictures of every kind, composed; nothing may be lost.

    python -m benchmarks.phone_folder --data PICTURES                 200 pictures, the tests' stand-in composer
    python -m benchmarks.phone_folder --data PICTURES --composer nano --embedder conse --pictures 40
    python -m benchmarks.phone_folder --images FOLDER                 a folder that is there already
    python -m benchmarks.phone_folder --data PICTURES --large         seconds and memory of the largest pictures

`--data` names a folder of ordinary pictures, out of which the others are made: HEIC and AVIF, with wrong endings too,
motion photos, Live Photos, camera RAW (generated DNG files around a JPEG), pairs of RAW and JPEG, bursts, copies, JPEG
files of 108 and 200 megapixels, names with emoji, in decomposed Unicode and with line breaks, and beside them what is
no picture. It prints counts by kind, how many pictures were lost, the exit code, time and peak memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageEnhance

from benchmarks.kill_compose import environment, make_captions
from image2music.images.decode import open_picture

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from phone_files import FILM, as_taken, dng, exif_of, file_of, heic, heic_of_tiles, motion_photo

PICTURES = 200
_MB = 1 << 20
_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
SIZE_108_MEGAPIXELS, SIZE_200_MEGAPIXELS = (12000, 9000), (16320, 12240)
Files = dict[bytes, bytes]

NO_PICTURES: Mapping[str, bytes] = {
    ".DS_Store": b"\0\0\0\1Bud1",
    "DCIM/100/._IMG_0000.JPG": b"\0\5\x16\7",
    "DCIM/100/IMG_0000.AAE": b"<?xml",
    "DCIM/100/IMG_0000.xmp": b"<x:xmpmeta",
    "DCIM/100/VID_0001.MOV": FILM,
    "DCIM/100/VID_0002.mp4": FILM,
    "DCIM/100/IMG_0001.THM": b"\xff\xd8\xff",
    "DCIM/@eaDir/IMG_0000.JPG/SYNOPHOTO_THUMB_M.jpg": b"\xff\xd8\xff",
    "DCIM/.thumbnails/1.jpg": b"\xff\xd8\xff",
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "DCIM/.nomedia": b"",
    "notes.txt": b"a text",
    "metadata.json": b"{}",
}
"""What lies beside the pictures of every folder."""


def make_folder(folder: Path, sources: Sequence[Path], pictures: int) -> frozenset[str]:
    """Write so many pictures and what lies beside them; return the sha256 of those that are to be composed."""
    expected = set()
    for number in range(pictures):
        chosen, others = picture_files(number, _source(sources, number), _source(sources, number - number % 20))
        expected.add(hashlib.sha256(next(iter(chosen.values()))).hexdigest())
        for name, data in (chosen | others).items():
            _write(os.path.join(os.fsencode(folder), b"DCIM", b"%d" % (100 + number // 50), name), data)
    for name, data in NO_PICTURES.items():
        _write(os.fsencode(folder / name), data)
    return frozenset(expected)


def _write(path: bytes, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def _source(sources: Sequence[Path], number: int) -> Image.Image:
    """A window of a given picture, each time another one."""
    with Image.open(sources[number % len(sources)]) as image:
        whole = image.convert("RGB")
    turn, (width, height) = number // len(sources), whole.size
    left, top = (turn % 3) * width // 10, (turn // 3 % 3) * height // 10
    window = whole.crop((left, top, left + 8 * width // 10, top + 8 * height // 10))
    return window.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turn % 2 else window


def picture_files(number: int, image: Image.Image, burst: Image.Image) -> tuple[Files, Files]:
    """Return the picture that is to be composed, and the files beside it; `burst` is the same for twenty numbers."""
    name = b"IMG_%04d" % number
    camera = file_of(image, quality=85, exif=exif_of(1))
    kinds: Sequence[Callable[[], tuple[Files, Files]]] = (
        lambda: ({name + b".JPG": _turned(image, number // 20 % 8 + 1)}, {name + b".JPG.json": b"{}"}),
        lambda: ({name + b".HEIC": heic(image, 6)}, {}),
        lambda: ({name + b".JPG": heic(image, 3)}, {}),
        lambda: ({name + b".jpg": file_of(image, "AVIF")}, {}),
        lambda: ({name + b".heic": file_of(image, "AVIF")}, {}),
        lambda: ({name + b".HEIC": heic(image, 8)}, {name + b".MOV": FILM}),
        lambda: ({name + b".JPG": camera}, {name + b".MOV": FILM, name + b".JPG.supplemental-metadata.json": b"{}"}),
        lambda: ({name + b".jpg": motion_photo(image)}, {}),
        lambda: ({name + b".JPG": camera}, {name + b".CR2": dng(camera)}),
        lambda: ({name + b".DNG": dng(file_of(as_taken(image, 6), quality=85), 6)}, {name + b".xmp": b"<x:xmpmeta"}),
        lambda: ({b"Screenshot %d.png" % number: file_of(image, "PNG")}, {}),
        lambda: ({"🌴👩‍👧 ".encode() + name + b".jpg": camera}, {}),
        lambda: ({"cafe\u0301 ".encode() + name + b".jpg": camera}, {}),
        lambda: ({b"two\nlines " + name + b".jpg": camera}, {}),
        lambda: ({b"caf\xe9 " + name + b".jpg": camera}, {}),
        lambda: ({name + b"_BURST1.jpg": file_of(burst, quality=90)}, {}),
        lambda: ({name + b"_BURST2.jpg": file_of(ImageEnhance.Brightness(burst).enhance(1.03), quality=90)}, {}),
        lambda: ({b"copy of " + name + b".jpg": file_of(burst, quality=90)}, {}),
        lambda: ({name: camera}, {}),
        lambda: ({name + b".jpg": _largest(number, image)}, {}),
    )
    return kinds[number % len(kinds)]()


def _turned(image: Image.Image, orientation: int) -> bytes:
    return file_of(as_taken(image, orientation), quality=85, exif=exif_of(orientation))


def _largest(number: int, image: Image.Image) -> bytes:
    size = {19: SIZE_108_MEGAPIXELS, 39: SIZE_200_MEGAPIXELS}.get(number)
    return file_of(image.resize(size) if size else image, quality=80)


def compose(home: Path, images: Path, composer: str, embedder: str, workers: int) -> dict[str, Any]:
    """Compose a folder in a process of its own; return exit code, seconds, peak memory and what run.json counts."""
    make_captions(home)
    program = [sys.executable, "-m", "pipelines.cli.main"]
    index = ["index", "--captions", "captions.json", "--midi_root", "midi", "--index", "tunes.lance", "--embedder"]
    subprocess.run([*program, *index, embedder], cwd=home, env=environment(), check=True, stdout=subprocess.DEVNULL)
    options = f"compose --index tunes.lance --output out --workers {workers} --composer {composer} --images".split()
    began = time.perf_counter()
    done = subprocess.run([*program, *options, str(images.absolute())], cwd=home, env=environment())
    seconds = time.perf_counter() - began
    record = json.loads((home / "out" / "run.json").read_text()) if (home / "out" / "run.json").exists() else {}
    rows = pq.read_table(home / "out/compositions", columns=["image_id"])["image_id"].to_pylist() if record else []
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {
        "exit": done.returncode, "seconds": seconds, "peak": peak, "counts": record.get("counts", {}), "rows": set(rows)
    }  # fmt: skip


def print_result(found: dict[str, Any], expected: frozenset[str], kinds: Mapping[str, int]) -> None:
    counts = found["counts"]
    print(f"files           {', '.join(f'{number} {kind}' for kind, number in kinds.items())}")
    for name in ("places", "pictures", "composed", "failed", "failed_for_reason", "live_photos", "raw_pairs",
                 "motion_photos", "skipped_files"):  # fmt: skip
        print(f"{name:16}{counts.get(name, 0)}")
    print(f"same bytes      {counts.get('places', 0) - counts.get('pictures', 0)}")
    if expected:
        print(f"expected        {len(expected)}\nlost            {len(expected - found['rows'])}")
    print(f"exit code       {found['exit']}")
    print(f"time            {found['seconds']:.1f} s\npeak memory     {found['peak'] / _MB:.0f} MB of one process")


def large_pictures(image: Image.Image) -> dict[str, Callable[[], bytes]]:
    """The largest pictures that telephones take, and the same in formats that are not decoded scaled down."""
    tile = image.resize((512, 512))
    small, large = SIZE_108_MEGAPIXELS, SIZE_200_MEGAPIXELS
    return {
        "12 MP JPEG": lambda: file_of(image.resize((4000, 3000)), quality=85),
        "108 MP JPEG": lambda: file_of(image.resize(small), quality=85),
        "200 MP JPEG": lambda: file_of(image.resize(large), quality=85),
        "108 MP progressive JPEG": lambda: file_of(image.resize(small), quality=85, progressive=True),
        "200 MP progressive JPEG": lambda: file_of(image.resize(large), quality=85, progressive=True),
        "12 MP HEIC": lambda: heic_of_tiles(tile, 8, 6),
        "48 MP HEIC": lambda: heic_of_tiles(tile, 16, 12),
        "108 MP HEIC": lambda: heic_of_tiles(tile, 23, 18),
        "200 MP HEIC": lambda: heic_of_tiles(tile, 32, 24),
        "108 MP PNG": lambda: file_of(image.resize(small), "PNG", compress_level=1),
        "200 MP PNG": lambda: file_of(image.resize(large), "PNG", compress_level=1),
        "108 MP PNG, transparent": lambda: file_of(image.resize(small).convert("RGBA"), "PNG", compress_level=1),
        "108 MP TIFF": lambda: file_of(image.resize(small), "TIFF", compression="tiff_lzw"),
        "108 MP AVIF": lambda: file_of(image.resize(small), "AVIF", speed=10, quality=40),
    }


def measure_large(image: Image.Image, only: str) -> None:
    """Print seconds and memory of opening each of the largest pictures, each in a process of its own."""
    print("| picture | file | seconds of one core | seconds | memory above the process's own |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, make in large_pictures(image).items():
            if only not in name:
                continue
            path = Path(folder) / "large"
            path.write_bytes(make())
            child = [sys.executable, "-m", "benchmarks.phone_folder", "--open", str(path)]
            done = subprocess.run(child, capture_output=True, text=True, env=environment())
            print(
                f"| {name} | {path.stat().st_size / _MB:.0f} MB | {done.stdout.strip() or done.stderr[-200:]} |",
                flush=True,
            )


def open_one(path: Path) -> None:
    """Open a picture and print what it took."""
    data = path.read_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak, which a process takes over from its parent
    before, began, worked = _peak_kib(), time.perf_counter(), time.process_time()
    picture = open_picture(data)
    seconds, cpu_seconds, peak = time.perf_counter() - began, time.process_time() - worked, _peak_kib() - before
    assert max(picture.image.size) <= 1024
    print(f"{cpu_seconds:.2f} | {seconds:.2f} | {peak / 1024:.0f} MB")


def _peak_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Compose a folder as it comes from telephones and cameras.")
    parser.add_argument("--data", type=Path, help="a folder of ordinary pictures")
    parser.add_argument("--images", type=Path, help="a folder that is there already")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--composer", default="fake")
    parser.add_argument("--embedder", default="fake")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="where the folder is made, and stays")
    parser.add_argument("--large", action="store_true", help="measure the largest pictures instead")
    parser.add_argument("--only", default="", help="of the largest pictures, those with this in their name")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.open:
        open_one(args.open)
        return 0
    sources = sorted(path for path in (args.data or Path()).glob("*") if path.suffix.lower() in _ENDINGS)
    if args.large:
        measure_large(_source(sources, 0), args.only)
        return 0
    home = args.keep or Path(tempfile.mkdtemp(prefix="phone-"))
    try:
        images, expected = args.images, frozenset[str]()
        if images is None:
            images = home / "phone"
            expected = make_folder(images, sources, args.pictures)
        paths = [path for path in images.rglob("*") if path.is_file()]
        kinds = Counter(path.suffix.lower() or "no ending" for path in paths)
        found = compose(home, images, args.composer, args.embedder, args.workers)
        print_result(found, expected, dict(kinds.most_common()))
    finally:
        if not args.keep:
            shutil.rmtree(home)
    return int(found["exit"] != 0 or bool(expected - found["rows"]))


if __name__ == "__main__":
    sys.exit(main())
