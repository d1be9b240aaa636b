"""Which files of a folder are pictures, by their ending or their first bytes, and what kind the others are."""

from __future__ import annotations

import os
from functools import cache
from mimetypes import MimeTypes
from typing import Literal

PICTURE_ENDINGS = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif", ".ico",
    ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pfm",
    ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".rgb", ".rgba", ".sgi", ".tif", ".tiff", ".webp", ".xpm",
})  # fmt: skip
"""Of formats that are read, and of HEIC."""

# Camera raw: their first bytes are those of TIFF files, and nothing here develops them.
_RAW_ENDINGS = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos",
    ".mrw", ".nef", ".nrw", ".orf", ".pef", ".ptx", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
})  # fmt: skip
_OTHER_ENDINGS = _RAW_ENDINGS | frozenset({
    ".aae", ".abc", ".ai", ".cache", ".cls", ".cls2", ".db", ".eps", ".insv", ".ithmb", ".jsonl", ".lance", ".lrv",
    ".m2ts", ".mid", ".mts", ".npy", ".npz", ".pickle", ".psb", ".psd", ".pth", ".svg", ".tga", ".thm", ".xmp",
})  # fmt: skip
_ARCHIVE_ENDINGS = frozenset({".tar", ".parquet"})

_SERVICE_FOLDERS = frozenset({
    "@eaDir", "__MACOSX", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information", "lost+found",
})  # fmt: skip
_SERVICE_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})

HEAD_BYTES = 32
"""How many of a file's first bytes `is_picture_head` looks at."""

_HEADS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"II+\0",  # TIFF of more than 4 GiB
    b"MM\0+",
    b"\0\0\0\x0cjP  \r\n\x87\n",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"qoif",
    b"/* XPM */",
)
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})

FileKind = Literal["picture", "archive", "other", "unknown"]


def kind_by_name(name: str) -> FileKind:
    """Return what a file is by the ending of its name; `unknown` where the ending says nothing."""
    if is_service_name(name):
        return "other"
    ending = ending_of(name)
    if ending in PICTURE_ENDINGS:
        return "picture"
    if ending in _ARCHIVE_ENDINGS:
        return "archive"
    return "other" if ending in _OTHER_ENDINGS or ending in _types().types_map[True] else "unknown"


def is_picture_head(head: bytes) -> bool:
    """Return whether a file begins like a picture; `head` is its first `HEAD_BYTES`, or all of it."""
    if head.startswith(_HEADS) or is_heif(head):
        return True
    if head[4:8] == b"ftyp":
        return head[8:12] in _AVIF_BRANDS
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    return head.startswith(b"BM") and head[6:10] == bytes(4)


def is_heif(head: bytes) -> bool:
    """Return whether a file begins like HEIC or another HEIF picture that is not AVIF."""
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS


def is_service_name(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that systems leave among pictures: Thumbs.db, @eaDir."""
    return name.startswith(".") or name in _SERVICE_FOLDERS or name.lower() in _SERVICE_FILES


def skipped_kind(name: str) -> str:
    """Return what a file that is skipped is counted as: `.mov`, `.DS_Store`, `._*`, `Thumbs.db`, `no ending`."""
    if name.startswith("._"):
        return "._*"
    if is_service_name(name):
        return name
    return ending_of(name) or "no ending"


def ending_of(name: str) -> str:
    """Return the ending of a file name in small letters with its dot, or an empty text."""
    return os.path.splitext(name)[1].lower()


@cache
def _types() -> MimeTypes:
    """Return Python's own table of endings, not that of this machine."""
    return MimeTypes(filenames=())
