import gzip
import hashlib
import os
import socket
from pathlib import Path

import pytest

from image2music.errors import CaptionError
from image2music.images.sources import is_there
from image2music.rows import printable
from transforms.pictures import PictureReader, content_id, inside, read_bytes, read_under


def test_a_file_is_read_as_it_is(tmp_path):
    path = tmp_path / "tune.mid.gz"
    path.write_bytes(gzip.compress(b"MThd"))
    assert read_bytes(str(path)) == gzip.compress(b"MThd")


def test_an_id_is_the_sha256_of_the_content():
    assert content_id(b"MThd") == hashlib.sha256(b"MThd").hexdigest()


def test_a_location_inside_the_folder(tmp_path):
    assert inside(f"{tmp_path}/", "a/b.mid") == f"{tmp_path}/a/b.mid"


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.mid").write_bytes(b"")
    (root / "link.mid").symlink_to(tmp_path / "secret.mid")
    with pytest.raises(CaptionError, match="leads out of --midi_root"):
        inside(str(root), "link.mid")


def test_a_folder_that_is_itself_a_link_is_fine(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(str(tmp_path / "link"), "a.mid") == f"{tmp_path}/link/a.mid"


def test_a_file_that_is_far_too_large_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "video.mp4"
    path.write_bytes(b"x" * 11)
    with pytest.raises(OSError, match="larger than"):
        read_bytes(str(path), at_most=10)


@pytest.fixture
def no_files(tmp_path):
    """What lies in folders and is no regular file: a pipe that nobody writes to, a device without end, a socket."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zeros.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
    os.mkfifo(tmp_path / "pipe.tar")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pipe.jpg", "a named pipe"), ("zeros.jpg", "a device"), ("socket.jpg", "a socket"), ("pipe.tar#a", "a named")],
)
@pytest.mark.timeout(10)
def test_what_is_no_regular_file_is_refused_unopened(no_files, name, kind):
    with pytest.raises(OSError, match=f"{kind}.*, not a regular file"):
        PictureReader()(str(no_files / name))


@pytest.mark.timeout(10)
def test_a_pipe_under_midi_root_is_refused(no_files):
    with pytest.raises(OSError, match="a named pipe, not a regular file"):
        read_under(str(no_files), "pipe.jpg")


def test_a_folder_is_not_read_as_a_file(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_bytes(str(tmp_path))


def test_a_picture_is_read_by_its_name_and_by_how_its_row_spells_it(tmp_path):
    for name in (b"caf\xe9.jpg", b"plain \\xe9.jpg", "caf\u00e9.jpg".encode()):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(name)
        uri = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
        assert PictureReader()(uri) == PictureReader()(printable(uri)) == name
        assert is_there(printable(uri))
