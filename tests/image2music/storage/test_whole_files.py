import errno
import os

import pytest

from image2music.errors import OutputError
from image2music.storage.files import atomic_path, atomic_write


def broken_off(place):
    """Half of a file, or of a folder, and then the disk is full."""
    with atomic_path(place) as hidden:
        hidden.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced_in_one_step(tmp_path):
    atomic_write(tmp_path / "a.txt", b"first")
    with atomic_path(tmp_path / "a.txt") as hidden:
        hidden.write_bytes(b"second")
        assert (tmp_path / "a.txt").read_bytes() == b"first"
    assert (tmp_path / "a.txt").read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_cannot_be_written_whole_leaves_nothing_and_says_where(tmp_path):
    atomic_write(tmp_path / "a.txt", b"first")
    with pytest.raises(OutputError, match=r"cannot write .*a.txt: No space left on device; ") as caught:
        broken_off(tmp_path / "a.txt")
    assert caught.value.reason == "output_not_written"
    assert (tmp_path / "a.txt").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_of_a_folder_is_not_taken_over(tmp_path):
    (tmp_path / ".page.part").mkdir()
    (tmp_path / ".page.part" / "old.html").touch()
    with atomic_path(tmp_path / "page") as hidden:
        hidden.mkdir()
        (hidden / "new.html").touch()
    assert os.listdir(tmp_path / "page") == ["new.html"]
