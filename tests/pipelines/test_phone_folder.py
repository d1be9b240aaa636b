"""A telephone's folder as it is: every picture gets its tune, everything else is skipped and counted."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from phone_files import FILM, dng, file_of, heic, motion_photo
from PIL import Image

from pipelines.cli.main import main

pytestmark = pytest.mark.slow

COMPOSE = ["compose", "--images", "phone", "--index", "tunes.lance", "--output", "out", "--composer", "fake"]


def noise(seed: int) -> Image.Image:
    """A picture that is like no other, in large spots."""
    import numpy as np

    spots = np.random.default_rng(seed).integers(0, 255, (8, 9, 3), np.uint8)
    return Image.fromarray(spots).resize((96, 64), Image.Resampling.NEAREST)


@pytest.fixture
def phone(indexed) -> Path:
    beach = noise(7)
    files = {
        "IMG_1.HEIC": heic(noise(1), 6),
        "IMG_1.MOV": FILM,
        "IMG_1.HEIC.supplemental-metadata.json": b"{}",
        "IMG_2.JPG": motion_photo(noise(2)),
        "IMG_3.CR2": b"II*\0 its JPEG is beside it",
        "IMG_3.JPG": file_of(noise(3)),
        "IMG_4.DNG": dng(file_of(noise(4)), 6),
        "IMG_5.jpg": file_of(noise(5), "AVIF"),
        "IMG_6.png": heic(noise(6)),
        "burst/IMG_7.JPG": file_of(beach),
        "burst/IMG_8.JPG": file_of(beach, quality=60),
        "burst/copy.JPG": file_of(beach),
        "🌴 two\nlines.jpg": file_of(noise(9)),
        "cafe\u0301.jpg": file_of(noise(10)),
        ".DS_Store": b"\0\0\0\1Bud1",
        "._IMG_1.HEIC": b"\0\5\x16\7",
        "IMG_1.AAE": b"<?xml",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
        "@eaDir/IMG_1.HEIC/SYNOFILE_THUMB_M.jpg": file_of(noise(1)),
    }
    for name, data in files.items():
        path = indexed / "phone" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    Path(os.fsdecode(b"phone/caf\xe9.jpg")).write_bytes(file_of(noise(11)))
    return indexed


CONTENTS = 11


def counts():
    return json.loads(Path("out/run.json").read_text())["counts"]


def test_every_picture_gets_its_tune_and_the_rest_is_counted(phone, capsys):
    assert main(COMPOSE) == 0
    out = capsys.readouterr().out
    assert len(pq.read_table("out/compositions")) == CONTENTS
    found = counts()
    assert (found["places"], found["pictures"], found["composed"], found["failed"]) == (12, CONTENTS, CONTENTS, 0)
    assert (found["live_photos"], found["raw_pairs"], found["motion_photos"]) == (1, 1, 1)
    skipped = {".json": 1, ".mov": 1, ".aae": 1, ".DS_Store": 1, "._*": 1, "Thumbs.db": 1, "@eaDir/": 1}
    assert found["skipped_files"] == skipped
    assert "3 files go with pictures: 1 .json (their times, for --album); 1 .mov (films of Live Photos); " in out
    assert "skipped 4 files that are no pictures: 1 .DS_Store" in out
    assert "each one picture: 1 with its film beside it (Live Photo), 1 with its RAW beside it\n" in out
    assert "each one picture: 1 with its film in the same file (motion photo)\n" in out


def test_a_second_run_knows_what_the_first_one_read(phone, capsys):
    main(COMPOSE)
    first = counts()
    assert main(COMPOSE) == 0
    assert counts() | {"composed": first["composed"], "skipped": 0} == first


def test_one_beam_pipeline_counts_the_same(phone):
    assert main([*COMPOSE, "--runner=FnApiRunner"]) == 0
    assert (counts()["composed"], counts()["motion_photos"]) == (CONTENTS, 1)


def test_a_dry_run_says_it_first(phone, capsys):
    Path("shop.csv").write_bytes("Image;ID\ncafé.jpg;1\nimg_2.jpg;2\nlost.jpg;3\n".encode("cp1252"))
    assert main([*COMPOSE, "--dry_run", "--catalog", "shop.csv"]) == 0
    lines = {line[:12].strip(): line[12:] for line in capsys.readouterr().out.splitlines()}
    assert lines["kinds"] == "9 .jpg, 1 .dng, 1 .heic, 1 .png"
    assert lines["beside"].startswith("3 files go with pictures: ")
    assert lines["left out"].startswith("skipped 4 files that are no pictures: ")
    assert lines["pairs"] == "each one picture: 1 with its film beside it (Live Photo), 1 with its RAW beside it"
    assert lines["looked at"] == "all 12 pictures"
    near = "1 near-duplicate, of 1 of them (bursts, edits, other sizes)"
    assert lines["alike"] == f"1 has the bytes of another, {near}"
    assert lines["motion"] == "1 with its film in the same file (motion photo)"
    assert lines["catalogue"] == (
        "3 rows in the catalogue, read as Windows-1252 (Latin-1), as it is not UTF-8, semicolons; columns image, id; "
        "1 row without a picture: lost.jpg; "
        "10 pictures without a row: phone/IMG_1.HEIC, phone/IMG_3.JPG, phone/IMG_4.DNG …; "
        "1 row whose picture was found by another spelling: img_2.jpg is phone/IMG_2.JPG"
    )
    assert not Path("out").exists()


def test_a_dry_run_names_what_cannot_be_read(phone, capsys):
    Path("phone/cut.jpg").write_bytes(file_of(noise(3))[:900])
    assert main([*COMPOSE, "--dry_run"]) == 0
    assert "unreadable  1: phone/cut.jpg: truncated: the pixels cannot be read" in capsys.readouterr().out
