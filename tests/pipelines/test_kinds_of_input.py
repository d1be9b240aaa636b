"""Pictures out of folders, archives, lists and the web end up in the same rows."""

import json
import shutil
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli.main import main

pytestmark = pytest.mark.slow

COMPOSE = ["compose", "--index", "tunes.lance", "--output", "out", "--composer", "fake", "--images"]


def rows():
    return sorted(pq.read_table("out/compositions").to_pylist(), key=lambda row: row["image_uri"])


@pytest.fixture
def archives(indexed):
    """A folder with the red picture as a file, red and green in a tar file, blue in a Parquet file."""
    Path("mixed").mkdir()
    shutil.copy("pictures/red.png", "mixed/red.png")
    with tarfile.open("mixed/shard.tar", "w") as tar:
        for name in ("red", "green"):
            tar.add(f"pictures/{name}.png", f"day/{name}.png")
    cell = {"bytes": Path("pictures/blue.png").read_bytes(), "path": "blue.png"}
    pq.write_table(pa.table({"image": [cell], "label": [1]}), "mixed/set.parquet")
    return indexed


def test_a_folder_of_archives(archives):
    assert main([*COMPOSE, "mixed"]) == 0
    assert [(row["description"], row["image_uris"], row["album"]) for row in rows()] == [
        ("red", ["mixed/red.png", "mixed/shard.tar#day/red.png"], "mixed"),
        ("blue", ["mixed/set.parquet#0"], "mixed/set.parquet"),
        ("green", ["mixed/shard.tar#day/green.png"], "mixed/shard.tar#day"),
    ]


def test_a_rerun_knows_what_is_finished_in_an_archive(archives, stand_ins):
    main([*COMPOSE, "mixed"])
    stand_ins.calls.clear()
    assert main([*COMPOSE, "mixed"]) == 0
    assert stand_ins.calls == []


def test_what_cannot_be_read_of_an_archive_is_one_failure_until_it_is_mended(archives):
    shard = Path("mixed/shard.tar")
    shard.write_bytes(shard.read_bytes()[:700])
    assert main([*COMPOSE, "mixed", "--max_failures", "9"]) == 3
    failures = {row["uri"]: row["reason"] for row in pq.read_table("out/failures").to_pylist()}
    assert failures["mixed/shard.tar#"] == "broken_archive"
    assert [row["description"] for row in rows()] == ["red", "blue"]
    with tarfile.open(shard, "w") as tar:
        tar.add("pictures/green.png", "day/green.png")
    assert main([*COMPOSE, "mixed"]) == 0
    assert pq.read_table("out/compositions").num_rows == 3
    assert not list(Path("out/failures").iterdir())


def test_pictures_of_a_site(archives):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory="pictures"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    site = f"http://127.0.0.1:{server.server_port}"
    Path("list.txt").write_text(f"{site}/blue.png\n{site}/none.png\npictures/red.png\n")
    code = main([*COMPOSE, "@list.txt", "--allow_web", "any", "--max_failures", "1"])
    server.shutdown()
    thread.join()
    server.server_close()
    assert code == 3
    assert [(row["description"], row["image_uri"]) for row in rows()] == [
        ("blue", f"{site}/blue.png"),
        ("red", "pictures/red.png"),
    ]
    (failure,) = pq.read_table("out/failures").to_pylist()
    assert (failure["stage"], failure["reason"]) == ("identify", "web_status")
    assert json.loads(Path("out/run.json").read_text())["options"]["allow_web"] == "any"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_picture_that_changes_while_the_job_runs_is_a_failure(archives, monkeypatch):
    from image2music.images.reading import PictureReader

    read, seen = PictureReader.__call__, set()

    def changing(self, uri):
        data = read(self, uri) if uri not in seen else Path("pictures/blue.png").read_bytes()
        seen.add(uri)
        return data

    monkeypatch.setattr(PictureReader, "__call__", changing)
    assert main([*COMPOSE, "mixed/red.png"]) == 1
    assert pq.read_table("out/failures").to_pylist()[0]["reason"] == "picture_changed"
