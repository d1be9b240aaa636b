import os
import time

from image2music.index import maintenance
from image2music.index.maintenance import KnownFile, Stamp, read_manifest, stamp_of, write_manifest

KNOWN = {"a.mid": KnownFile(Stamp(3, 4), "1"), "b.mid": KnownFile(Stamp(5, 6), "2", "no_notes", "nothing to play")}


def test_what_is_written_is_read(tmp_path):
    write_manifest(tmp_path / "m.parquet", KNOWN)
    assert read_manifest(tmp_path / "m.parquet") == KNOWN


def test_failures_of_another_release_are_tried_again(tmp_path, monkeypatch):
    write_manifest(tmp_path / "m.parquet", KNOWN)
    monkeypatch.setattr(maintenance, "__version__", "next")
    assert list(read_manifest(tmp_path / "m.parquet")) == ["a.mid"]


def test_a_manifest_that_is_missing_or_broken_knows_nothing(tmp_path):
    assert read_manifest(tmp_path / "m.parquet") == {}
    (tmp_path / "m.parquet").write_text("no Parquet")
    assert read_manifest(tmp_path / "m.parquet") == {}


def test_a_file_that_changed_just_now_has_no_stamp(tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(b"MThd")
    assert stamp_of(str(path), time.time_ns()) is None
    os.utime(path, (1000, 1000))
    assert stamp_of(str(path), time.time_ns()) == Stamp(4, 1000 * 10**9)
    assert stamp_of(str(tmp_path / "nothing"), time.time_ns()) is None
