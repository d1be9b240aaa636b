"""How heavy the report of many pictures is, and how soon its first picture is seen in a headless Chromium.

    python -m benchmarks.page_weight --out build/demo/out --pictures 2000

The rows are the demo's, repeated over as many *generated* pictures in 20 albums. The peer is the same list with every
thumbnail loaded at once. It needs a Chromium.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.browser import Page, browser
from benchmarks.page_check import DRAWN, READY
from benchmarks.row import BenchRow, markdown
from image2music.storage.output import open_output
from pipelines.jobs import report
from pipelines.jobs.report import Row, write_report
from pipelines.options.outputs import ReportOptions

_SIZE, _ALBUMS, _RUNS = (640, 480), 20, 3

MOST_SECONDS = 1.0
"""Within which the first picture of a list has to be seen."""

_WATCH = """document.addEventListener("load", (event) => {
  if (event.target.tagName !== "IMG" || window.firstPicture) return;
  requestAnimationFrame(() => requestAnimationFrame(() => { window.firstPicture ||= performance.now(); }));
}, true);"""
"""Two frames after an image has loaded it is on the screen."""


@dataclass(frozen=True)
class Seen:
    """Seconds until the first picture and bytes read until the page was at rest, of a list."""

    first_picture: float
    read: float


def generated_picture(seed: int) -> bytes:
    """A JPEG of soft blobs of colour: about as large as a small photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    grain = np.random.default_rng(seed + 1).normal(0, 8, (_SIZE[1], _SIZE[0], 1))
    smooth = np.asarray(Image.fromarray(coarse).resize(_SIZE, Image.Resampling.BICUBIC), dtype=np.float64)
    stream = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(stream, format="JPEG", quality=85)
    return stream.getvalue()


def make_output(source: Path, home: Path, count: int) -> Path:
    """An output of `count` rows over generated pictures, in the form that `compose` writes."""
    shards = open_output(source).compositions.shards()
    real = pa.concat_tables([pq.ParquetFile(shard).read() for shard in shards])
    rows = list(_rows(real.to_pylist(), home, count))
    target = open_output(home / "out").compositions
    for start in range(0, count, 250):
        table = pa.Table.from_pylist(rows[start : start + 250], real.schema)
        target.append_table(table, ("image_id",))
    return home / "out"


def _rows(real: list[dict[str, Any]], home: Path, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        album = home / "pictures" / f"album {number % _ALBUMS + 1:02d}"
        album.mkdir(parents=True, exist_ok=True)
        path, data = album / f"{number:05d}.jpg", generated_picture(number)
        path.write_bytes(data)
        yield real[number % len(real)] | {
            "image_id": hashlib.sha256(data).hexdigest(),
            "image_uri": str(path),
            "image_uris": [str(path)],
            "album": str(album),
            "width": _SIZE[0],
            "height": _SIZE[1],
        }


@contextmanager
def repeated_once() -> Iterator[None]:
    """Make each tune's content once, however many generated pictures have it: its pages still are written each."""
    made = report.picture_page, report.tune_script
    pages: dict[str, Any] = {}

    def page_of(row: Row) -> Any:
        if row["abc"] not in pages:
            pages[row["abc"]] = made[0](row)
        return pages[row["abc"]]

    report.picture_page = page_of
    report.tune_script = cache(made[1])
    try:
        yield
    finally:
        report.picture_page, report.tune_script = made


def look(page: Page, path: Path) -> Seen:
    """Open a list some times; medians."""
    found = []
    for _ in range(_RUNS):
        page.call("Network.clearBrowserCache")
        page.open(path)
        page.wait("window.firstPicture > 0")
        time.sleep(0.5)
        files = {unquote(urlsplit(url).path) for url in page.requests if url.startswith("file:")}
        found.append(Seen(page.run("firstPicture") / 1000, sum(Path(file).stat().st_size for file in files)))
    return Seen(statistics.median(one.first_picture for one in found), statistics.median(one.read for one in found))


def search_seconds(page: Page, path: Path) -> float:
    """From the last letter of a search until the list shows what fits."""
    page.open(path)
    return float(
        page.run("""new Promise((done) => {
      const search = document.getElementById("search"), begun = performance.now();
      search.value = "espresso";
      search.dispatchEvent(new Event("input", { bubbles: true }));
      requestAnimationFrame(() => requestAnimationFrame(() => done((performance.now() - begun) / 1000)));
    })""")
    )


def pair_seconds(page: Page, path: Path) -> float:
    """From opening the page for comparing until both scores of its first pair are drawn."""
    begun = time.perf_counter()
    page.open(path)
    page.wait(READY)
    return time.perf_counter() - begun


def main() -> int:
    """Make the rows, write the report, look at it, print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/demo/out"), help="an --output of compose")
    parser.add_argument("--pictures", type=int, default=2000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, browser() as running:
        output = make_output(args.out, Path(home), args.pictures)
        folder = Path(home) / "report"
        begun = time.process_time()
        write_report(ReportOptions(input=args.out, output=Path(home) / "once", sounds=0))
        each = (time.process_time() - begun) / len(list((Path(home) / "once" / "pictures").glob("*.html")))
        with repeated_once():
            write_report(ReportOptions(input=output, output=folder, sounds=0))
        index = folder / "index.html"
        eager = folder / "eager.html"
        eager.write_text(index.read_text(encoding="utf-8").replace('loading="lazy"', ""), encoding="utf-8")
        page = running.page()
        page.resize(1280, 900)
        page.call("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
        ours, peer = look(page, index), look(page, eager)
        pages = sorted(path.stat().st_size for path in (folder / "pictures").glob("*.html"))
        tunes = sorted(path.stat().st_size for path in (folder / "tunes").glob("*.js"))
        opened = page.open(next((folder / "pictures").glob("*.html")))
        page.wait(DRAWN)
        pair = pair_seconds(page, folder / "compare.html")
        whole = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(
            f"{args.pictures} generated pictures: {each:.2f} s of a processor for a picture with its two tunes; "
            f"{whole / 1e6:.0f} MB in all, ",
            end="",
        )
        print(f"index.html {index.stat().st_size / 1e6:.2f} MB, a search {search_seconds(page, index):.2f} s")
        print(
            f"a picture's page {statistics.median(pages) / 1e3:.0f} kB (at most {pages[-1] / 1e3:.0f}), loaded after "
            f"{opened:.2f} s; a tune to compare {statistics.median(tunes) / 1e3:.0f} kB; compare.html shows its first "
            f"pair of {args.pictures} after {pair:.2f} s"
        )
    print(
        markdown(
            [
                BenchRow("first_picture", ours.first_picture, peer.first_picture, "all at once", "s", "lower"),
                BenchRow("read_to_rest", ours.read / 1e6, peer.read / 1e6, "all at once", "MB", "lower"),
            ]
        )
    )
    return 0 if ours.first_picture < MOST_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
