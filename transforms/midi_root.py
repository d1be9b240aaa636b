"""Files under --midi_root: in a folder, local or remote, or in a tar archive."""

from __future__ import annotations

import errno
import os
import stat

from image2music.index_manifest import Stamp, stamp_of
from image2music.tar_members import is_archive, open_archive
from transforms.files import LARGEST_FILE, inside, is_remote, read_bytes


def read_under(root: str, location: str) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: there is no such file, it cannot be read, is none (a pipe would never end), or is too large.
        ValueError: a NUL in the name.
        CaptionError: a link leads out of `root` (`outside_midi_root`), or lies in an archive (`link_in_archive`).
    """
    if is_archive(root):
        return open_archive(root).read(location, at_most=LARGEST_FILE)
    path = inside(root, location)
    if not is_remote(root) and not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return read_bytes(path)


def stamp_under(root: str, location: str, started_ns: int) -> Stamp | None:
    """Size and time of change of a file, as `stamp_of`; of a member of an archive as the archive says."""
    if is_remote(root):
        return None
    if not is_archive(root):
        return stamp_of(f"{root.rstrip('/')}/{location}", started_ns)
    member = open_archive(root).members.get(os.path.normpath(location))
    return None if member is None else Stamp(member.size, int(member.mtime * 1e9))
