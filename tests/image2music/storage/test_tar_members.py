"""Archives are made with Python's tarfile and with the tar and gzip programs."""

import gzip
import io
import os
import subprocess
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.errors import CaptionError, ConfigError
from image2music.storage import tar
from image2music.storage.tar import LocalFile, SeekableGzip, is_tar, open_archive

NOISE = np.random.default_rng(0).integers(0, 60, 400_000, dtype=np.uint8).tobytes()
FILES = {f"lmd/{number}.mid": NOISE[number : number + 7000 * number] for number in range(20)}
PLENTY = 1 << 20


@pytest.fixture(params=["w", "w:gz"], ids=["tar", "tar.gz"])
def archive(request, tmp_path):
    path = str(tmp_path / ("music.tar" if request.param == "w" else "music.tar.gz"))
    with tarfile.open(path, request.param) as file:
        for name, data in FILES.items():
            add(file, f"./{name}", data)
        add(file, "lmd/3.mid", b"a later one")
        for name, kind, target in (
            ("out", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard", tarfile.LNKTYPE, "./lmd/5.mid"),
            ("lost", tarfile.LNKTYPE, "../secret"),
        ):
            entry = tarfile.TarInfo(f"lmd/{name}.mid")
            entry.type, entry.linkname = kind, target
            file.addfile(entry)
    return path


def add(file, name, data, mtime=1_500_000_000):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(data), mtime
    file.addfile(entry, io.BytesIO(data))


def test_files_are_read_in_any_order(archive):
    found = open_archive(archive)
    for name in [*reversed(FILES), *FILES]:
        assert found.read(name, at_most=PLENTY) == (b"a later one" if name == "lmd/3.mid" else FILES[name])


def test_size_and_time_of_change_are_those_of_the_entry(archive):
    member = open_archive(archive).member("lmd/7.mid")
    assert (member.size, member.mtime) == (49_000, 1_500_000_000)


def test_a_hard_link_is_its_file_and_other_links_are_not_followed(archive):
    found = open_archive(archive)
    assert found.read("lmd/hard.mid", at_most=PLENTY) == FILES["lmd/5.mid"]
    for name in ("lmd/out.mid", "lmd/lost.mid"):
        with pytest.raises(CaptionError) as caught:
            found.read(name, at_most=PLENTY)
        assert caught.value.reason == "link_in_archive"


def test_what_is_not_there_or_too_large_is_an_error_of_the_system(archive):
    found = open_archive(archive)
    for name in ("missing.mid", "lmd"):
        with pytest.raises(FileNotFoundError):
            found.read(name, at_most=PLENTY)
    with pytest.raises(OSError, match="larger than"):
        found.read("lmd/19.mid", at_most=1000)


def test_archives_of_the_tar_program_are_read(tmp_path):
    (tmp_path / "folder").mkdir()
    long_name = "a" * 150 + ".mid"
    (tmp_path / "folder" / long_name).write_bytes(NOISE[:1000])
    os.link(tmp_path / "folder" / long_name, tmp_path / "folder" / "again.mid")
    subprocess.run(["tar", "-czf", "music.tgz", "-C", "folder", "."], cwd=tmp_path, check=True)
    found = open_archive(str(tmp_path / "music.tgz"))
    assert found.read(long_name, at_most=PLENTY) == found.read("again.mid", at_most=PLENTY) == NOISE[:1000]


def test_an_archive_that_changed_is_read_anew(tmp_path):
    path = str(tmp_path / "music.tar")
    for number in (1, 2):
        with tarfile.open(path, "w") as file:
            add(file, "a.mid", b"x" * number)
        os.utime(path, (number, number))
        assert open_archive(path).read("a.mid", at_most=9) == b"x" * number


@pytest.mark.parametrize("name", ["broken.tar", "broken.tar.gz"])
@pytest.mark.parametrize("data", [b"", b"no archive " * 100, gzip.compress(NOISE)[:5000]], ids=["empty", "text", "cut"])
def test_what_is_no_archive_is_said_in_one_line(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match="no tar archive that can be read"):
        open_archive(str(tmp_path / name))


def test_a_folder_with_the_name_of_an_archive_is_a_folder(tmp_path):
    (tmp_path / "folder.tar").mkdir()
    assert not is_tar(str(tmp_path / "folder.tar"))


PARTS = (NOISE[:150_000], b"", NOISE[150_000:])


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """Several gzip streams one after the other, and zeros at the end, as some programs write them."""
    path = tmp_path_factory.mktemp("gzip") / "noise.gz"
    path.write_bytes(b"".join(gzip.compress(part) for part in PARTS) + b"\0" * 512)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tar, "SPACING", 30_000)
        yield SeekableGzip(LocalFile(str(path)))


@given(st.lists(st.tuples(st.integers(0, 410_000), st.integers(0, 200_000)), max_size=6))
def test_any_place_of_a_gzip_file_can_be_read(streams, reads):
    for offset, size in reads:
        assert streams.read_at(offset, size) == NOISE[offset : offset + size]
