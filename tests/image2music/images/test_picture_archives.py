import io
import os
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image2music.errors import PictureError
from image2music.images import sources
from image2music.images.sources import album_of, is_there, list_members, member_of, read_member

FILES = {"000/a.jpg": b"first", "000/a.json": b"{}", "000/b": b"second", "c.png": b"third"}


def opened(path):
    return open(path, "rb")


def read(uri):
    return read_member(member_of(uri), opened)


def reason(uri):
    with pytest.raises(PictureError) as caught:
        read(uri)
    return caught.value.reason


@pytest.fixture
def shard(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tarfile.open("shard.tar", "w") as tar:
        tar.addfile(directory := tarfile.TarInfo("000"), None)
        directory.type = tarfile.DIRTYPE
        for name, data in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return tmp_path / "shard.tar"


def write(path, table, **options):
    pq.write_table(table, path, **options)


def test_members_of_a_shard_without_sidecars(shard):
    with tarfile.open("plain.tar", "w") as tar:
        tar.add("shard.tar")
    assert list_members("plain.tar", opened) == (["plain.tar#"], {("other", ".tar"): 1}, [])


def test_each_member_is_read_by_its_place(shard):
    places = [place for place in list_members("shard.tar", opened).places if not place.endswith("#000")]
    assert places == ["shard.tar#000/a.jpg", "shard.tar#000/b", "shard.tar#c.png"]
    assert [read(place) for place in places] == [b"first", b"second", b"third"]
    assert reason("shard.tar#nothing") == "member_missing"


@pytest.mark.parametrize("cut", [700, 1100, 2100])
def test_a_shard_that_breaks_off_is_accounted_for(shard, cut):
    shard.write_bytes(shard.read_bytes()[:cut])
    places = list_members("shard.tar", opened).places
    assert places[-1] == "shard.tar#"
    assert reason("shard.tar#") == "broken_archive"


def test_a_header_of_garbage_is_not_the_end(shard):
    data = bytearray(shard.read_bytes())
    data[1536:1700] = os.urandom(164)
    shard.write_bytes(data)
    assert list_members("shard.tar", opened).places[-1] == "shard.tar#"


def test_a_member_too_large_is_refused_unread(shard, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 5)
    assert reason("shard.tar#000/b") == "file_too_large"
    assert read("shard.tar#c.png") == b"third"


def test_a_shard_without_pictures_is_accounted_for(tmp_path):
    path = f"{tmp_path}/empty.tar"
    tarfile.open(path, "w").close()
    assert list_members(path, opened).places == [f"{path}#"]
    assert reason(f"{path}#") == "no_pictures"


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"0", b"1", None, b"3", b"4"]),
        pa.array([{"bytes": str(n).encode() if n != 2 else None, "path": "x.jpg"} for n in range(5)]),
        pa.array([b"0", b"1", None, b"3", b"4"], pa.large_binary()),
    ],
    ids=["bytes", "huggingface", "large"],
)
def test_rows_of_a_parquet_file(tmp_path, monkeypatch, column):
    path = f"{tmp_path}/file.parquet"
    write(path, pa.table({"label": range(5), "hash": [b"h"] * 5, "image": column}), row_group_size=2)
    places = list_members(path, opened).places
    assert places == [f"{path}#{row}" for row in range(5)]
    assert [read(place) for place in places] == [b"0", b"1", b"", b"3", b"4"]
    monkeypatch.setattr(sources, "_CACHED_BYTES", 0)
    assert [read(place) for place in places[::-1]] == [b"4", b"3", b"", b"1", b"0"]
    assert reason(f"{path}#5") == "member_missing"


def test_a_parquet_file_without_pictures_or_without_sense_is_accounted_for(tmp_path):
    write(f"{tmp_path}/numbers.parquet", pa.table({"n": [1, 2]}))
    (tmp_path / "noise.parquet").write_bytes(b"PAR1 no, it is not")
    for name, why in (("numbers", "no_pictures"), ("noise", "broken_archive")):
        assert list_members(f"{tmp_path}/{name}.parquet", opened).places == [f"{tmp_path}/{name}.parquet#"]
        assert reason(f"{tmp_path}/{name}.parquet#") == why


def test_a_shard_that_is_written_anew_is_looked_into_again(shard):
    assert read("shard.tar#c.png") == b"third"
    with tarfile.open("shard.tar", "w") as tar:
        info = tarfile.TarInfo("c.png")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"new"))
    os.utime("shard.tar", ns=(1, 1))
    assert read("shard.tar#c.png") == b"new"


@pytest.mark.parametrize(
    ("uri", "album"),
    [
        ("photos/sea/1.jpg", "photos/sea"),
        ("s/day.tar#x/1.jpg", "s/day.tar#x"),
        ("s/day.tar#1.jpg", "s/day.tar"),
        ("s/set.parquet#7", "s/set.parquet"),
        ("https://example.org/a/1.jpg?size=2/3", "https://example.org/a"),
        ("gs://bucket/a/1.jpg", "gs://bucket/a"),
    ],
)
def test_the_album_of_a_place(uri, album):
    assert album_of(uri) == album


def test_a_file_whose_name_looks_like_a_member_is_a_file(shard):
    (shard.parent / "odd.tar#1.jpg").write_bytes(b"x")
    assert member_of("odd.tar#1.jpg") is None
    assert is_there("odd.tar#1.jpg")
    assert is_there("shard.tar#000/b")
    assert not is_there("gone.tar#000/b")
