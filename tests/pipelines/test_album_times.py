"""Albums in the order in which their pictures were taken, whoever says so, and nothing of where."""

import io
import json
import os
import shutil
import tarfile
from datetime import datetime

import mido
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import transforms.album
from image2music.storage.output import open_output
from pipelines.cli.main import main

pytestmark = pytest.mark.slow

COMPOSE = ["compose", "--index", "tunes.lance", "--output", "out", "--composer", "fake", "--album", "--images"]
LATITUDE, LONGITUDE = 48.858370, 2.294481
GPS_IFD, EXIF_IFD = 0x8825, 0x8769


def picture(seed, taken="", offset=""):
    """A picture of noise with EXIF data that say when and where it was taken."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    exif, data = Image.Exif(), io.BytesIO()
    exif.get_ifd(GPS_IFD).update({1: "N", 2: (48.0, 51.0, 30.132), 3: "E", 4: (2.0, 17.0, 40.131), 29: "2031:12:24"})
    for tag, value in ((0x9003, taken), (0x9011, offset)):
        if value:
            exif.get_ifd(EXIF_IFD)[tag] = value
    Image.fromarray(cells).resize((60, 40)).save(data, "JPEG", exif=exif.tobytes())
    return data.getvalue()


def sidecar(at):
    """What an export of a phone's pictures lays beside one."""
    place = {"latitude": LATITUDE, "longitude": LONGITUDE, "altitude": 35.0}
    taken = {"timestamp": str(int(at.timestamp())), "formatted": "whenever"}
    return json.dumps({"title": "x", "photoTakenTime": taken, "geoData": place, "geoDataExif": place}).encode()


def write(files, folder="trip"):
    os.makedirs(folder, exist_ok=True)
    for name, data in files.items():
        with open(f"{folder}/{name}", "wb") as file:
            file.write(data)
        os.utime(f"{folder}/{name}", (0, 1_700_000_000))


def albums(output="out"):
    table = pq.read_table(f"{output}/albums").to_pylist()
    return [row | {"names": [uri.rpartition("/")[2].rpartition("#")[2] for uri in row["image_uris"]]} for row in table]


@pytest.fixture
def trip(indexed):
    """A morning and an evening, told in five ways."""
    write(
        {
            "a.jpg": picture(1, "2024:05:03 20:10:00"),
            "b.jpg": picture(2),
            "b.jpg.supplemental-metadata.json": sidecar(datetime.fromisoformat("2024-05-03T09:05:00+00:00")),
            "IMG_20240503_091000.jpg": picture(3),
            "z.jpg": picture(4, "2024:05:03 09:00:00"),
            "zz.jpg": picture(5),
        }
    )
    os.utime("trip/zz.jpg", (0, datetime.fromisoformat("2024-05-03T20:00:00+00:00").timestamp()))
    return indexed / "trip"


def test_an_album_follows_its_times_and_an_event_is_a_chapter(trip):
    assert main([*COMPOSE, "trip"]) == 0
    (album,) = albums()
    assert album["names"] == ["z.jpg", "b.jpg", "IMG_20240503_091000.jpg", "zz.jpg", "a.jpg"]
    assert [at.strftime("%H:%M") for at in album["taken_at"]] == ["09:00", "09:05", "09:10", "20:00", "20:10"]
    assert [chapter["first"] for chapter in album["chapters"]] == [0, 3]
    assert all("3 May 2024" in chapter["title"] for chapter in album["chapters"])
    parts = {row["image_uri"]: row["album_part"] for row in pq.read_table("out/compositions").to_pylist()}
    assert len({parts[uri]["chapter"] for uri in album["image_uris"]}) == 2
    assert [parts[uri]["taken_by"] for uri in album["image_uris"]] == ["exif", "sidecar", "name", "file", "exif"]
    markers = [m.text for track in mido.MidiFile(file=io.BytesIO(album["midi"])).tracks for m in track
               if m.type == "marker"]  # fmt: skip
    assert markers == [chapter["title"] for chapter in album["chapters"]]
    assert [line for line in album["abc"].splitlines() if line.startswith("N:")] == [
        f"N:bar {album['starts'][chapter['first']]}: {chapter['title']}" for chapter in album["chapters"]
    ]


def test_titles_of_chapters_are_in_the_language_of_the_run(trip):
    assert main([*COMPOSE, "trip", "--language", "de"]) == 0
    assert all("3. Mai 2024" in chapter["title"] for chapter in albums()[0]["chapters"])


def test_a_gap_can_be_asked_for_and_is_part_of_the_settings(trip, capsys):
    assert main([*COMPOSE, "trip", "--chapter_gap", "12h"]) == 0
    assert len(albums()[0]["chapters"]) == 1
    assert main([*COMPOSE, "trip", "--chapter_gap", "4m"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main([*COMPOSE, "trip", "--chapter_gap", "4m", "--overwrite"]) == 0
    assert len(albums()[0]["chapters"]) == 5


@pytest.mark.parametrize(("given", "line"), [(["--chapter_gap", "soon"], "90m"), (["--chapter_gap", "0h"], "90m")])
def test_a_gap_is_a_time(world, given, line, capsys):
    assert main([*COMPOSE, "trip", *given]) == 1
    assert line in capsys.readouterr().err


def test_a_gap_is_of_albums(world, capsys):
    assert main([*(word for word in COMPOSE if word != "--album"), "trip", "--chapter_gap", "3h"]) == 1
    assert "--album" in capsys.readouterr().err


def test_nothing_says_where_a_picture_was_taken(trip):
    assert main([*COMPOSE, "trip", "--log_json", "log.jsonl"]) == 0
    said = [(trip.parent / "log.jsonl").read_bytes()]
    for path in (trip.parent / "out").rglob("*"):
        if path.suffix == ".parquet":
            said.append(repr(pq.read_table(path).to_pylist()).encode())
        if path.is_file():
            said.append(path.read_bytes())
    everything = b"".join(said)
    for telling in (b"48.858", b"2.2944", b"30.132", b"40.131", b"2031", b"GPS", b"atitude", b"geoData"):
        assert telling not in everything


def test_a_file_beside_that_comes_later_is_read_and_no_picture_again(trip, monkeypatch):
    assert main([*COMPOSE, "trip"]) == 0
    monkeypatch.setattr(transforms.album, "glance_at", None)  # nobody looks at a picture again
    write({"IMG_20240503_091000.jpg.json": sidecar(datetime.fromisoformat("2024-05-03T08:00:00+00:00"))})
    assert main([*COMPOSE, "trip"]) == 0
    assert albums()[0]["names"][0] == "IMG_20240503_091000.jpg"


def test_a_copy_of_the_folder_is_no_other_album(trip):
    assert main([*COMPOSE, "trip"]) == 0
    for path in trip.iterdir():
        os.utime(path)
    assert main([*COMPOSE, "trip"]) == 0
    assert open_output("out").run.read()["counts"]["composed"] == 0


def test_times_of_files_that_were_written_together_say_nothing(indexed):
    write({f"{name}.jpg": picture(seed) for seed, name in enumerate("dcba")})
    for number, name in enumerate("dcba"):
        os.utime(f"trip/{name}.jpg", (0, 1_700_000_000 + 600 * number))
    assert main([*COMPOSE, "trip"]) == 0
    assert albums()[0]["names"] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert albums()[0]["taken_at"] == [None] * 4


def test_pictures_in_a_tar_file_have_the_files_beside_them_and_the_times_of_their_members(trip):
    with tarfile.open("trip.tar", "w") as tar:
        tar.add("trip")
    shutil.rmtree("trip")
    assert main([*COMPOSE, "trip.tar"]) == 0
    (album,) = albums()
    assert album["names"] == ["z.jpg", "b.jpg", "IMG_20240503_091000.jpg", "zz.jpg", "a.jpg"]
    assert [at.strftime("%H:%M") for at in album["taken_at"]] == ["09:00", "09:05", "09:10", "20:00", "20:10"]
