import gzip
import hashlib

import pytest

from image2music.errors import CaptionError
from transforms.files import content_id, inside, read_bytes


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
