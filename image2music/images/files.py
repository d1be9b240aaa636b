"""Which files of a folder are pictures, what the others are, and which belong together as one picture."""

from __future__ import annotations

import os
import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from mimetypes import MimeTypes
from typing import Literal

RAW_ENDINGS = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos",
    ".mrw", ".nef", ".nrw", ".orf", ".pef", ".ptx", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
})  # fmt: skip
"""Of camera RAW, whose preview is what is looked at."""

PICTURE_ENDINGS = RAW_ENDINGS | frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif", ".ico",
    ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pfm",
    ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".rgb", ".rgba", ".sgi", ".tif", ".tiff", ".webp", ".xpm",
})  # fmt: skip
"""Of formats that are read."""

_OTHER_ENDINGS = frozenset({
    ".aae", ".abc", ".ai", ".cache", ".cls", ".cls2", ".db", ".eps", ".insv", ".ithmb", ".jsonl", ".lance", ".lrv",
    ".m2ts", ".mid", ".mts", ".npy", ".npz", ".pickle", ".psb", ".psd", ".pth", ".svg", ".tga", ".thm", ".xmp",
})  # fmt: skip
_ARCHIVE_ENDINGS = frozenset({".tar", ".parquet"})

_SHOWN_ENDINGS = frozenset({".heic", ".heif", ".hif", ".jfif", ".jpe", ".jpeg", ".jpg"})
"""Of what cameras write beside a RAW, and telephones beside a film."""

_FILM_ENDINGS = frozenset({".mov", ".mp", ".mp4"})

_MORE_FILM_ENDINGS = frozenset({
    ".3g2", ".3gp", ".flv", ".insv", ".lrv", ".m2ts", ".m4v", ".mkv", ".mpg", ".mts", ".wmv",
})  # fmt: skip
_NOTES_ENDINGS = frozenset({".aae", ".dop", ".pp3", ".thm", ".xmp"})
"""Of what is noted beside a picture by and for other programs."""

_FILM_WORD = "_hevc"
"""What some exports of a telephone's library add to the name of a film."""

_SERVICE_FOLDERS = frozenset({
    "@eadir", "__macosx", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "lost+found",
    "system volume information",
})  # fmt: skip
_SERVICE_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"})

HEAD_BYTES = 64
"""How many of a file's first bytes tell what it is."""

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
RAW_HEADS = (
    b"FUJIFILMCCD-RAW",
    b"FOVb",
    b"\0MRM",
    b"II\x1a\0\0\0HEAPCCDR",
    b"IIRO",
    b"IIRS",
    b"MMOR",
    b"IIU\0",
)
"""Of camera RAW that does not begin like TIFF. Most does, and Canon's newest like a film (`is_raw_film`)."""

_HEIF_BRANDS = frozenset({
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1", b"miaf",
})  # fmt: skip
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
    if head.startswith((*_HEADS, *RAW_HEADS)) or is_heif(head) or is_raw_film(head) or _brands(head) & _AVIF_BRANDS:
        return True
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    return head.startswith(b"BM") and head[6:10] == bytes(4)


def is_heif(head: bytes) -> bool:
    """Return whether a file begins like HEIC or another HEIF picture that is not AVIF."""
    major, brands = head[8:12], _brands(head)
    return major in _HEIF_BRANDS and not (major in (b"mif1", b"mif2", b"msf1", b"miaf") and brands & _AVIF_BRANDS)


def is_raw_film(head: bytes) -> bool:
    """Return whether a file begins like Canon's CR3, whose boxes are those of a film."""
    return head[4:12] == b"ftypcrx "


def _brands(head: bytes) -> frozenset[bytes]:
    """Return what a file of boxes (ISO 14496-12) says it is, as far as its head goes."""
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(head[:4], "big"), len(head), HEAD_BYTES)
    return frozenset({head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))})


def is_service_name(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that systems leave among pictures: Thumbs.db, @eaDir."""
    return name.startswith(".") or name.lower() in _SERVICE_FOLDERS | _SERVICE_FILES


def skipped_kind(name: str) -> str:
    """Return what a file that is skipped is counted as: `.mov`, `.DS_Store`, `._*`, `Thumbs.db`, `no ending`."""
    if name.startswith("._"):
        return "._*"
    if is_service_name(name):
        return name
    return ending_of(name) or "no ending"


SkippedFor = Literal["times", "live", "notes", "film", "other", "system", "own"]
"""What a file that is no picture is: JSON that tells when a picture was taken, the film of a Live Photo, what other
programs note beside a picture, another film, anything else, a system's own, or one that image2music wrote."""


def skipped_for(name: str) -> SkippedFor:
    """Return what a file that is skipped is, by its name alone: no film is known as that of a Live Photo."""
    if is_service_name(name):
        return "system"
    if is_sidecar_name(name):
        return "times"
    ending = ending_of(name)
    if ending in _NOTES_ENDINGS:
        return "notes"
    is_video = _types().types_map[True].get(ending, "").startswith("video/")
    return "film" if is_video or ending in _FILM_ENDINGS | _MORE_FILM_ENDINGS else "other"


def ending_of(name: str) -> str:
    """Return the ending of a file name in small letters with its dot, or an empty text."""
    return os.path.splitext(name)[1].lower()


@cache
def _types() -> MimeTypes:
    """Return Python's own table of endings, not that of this machine."""
    return MimeTypes(filenames=())


@dataclass(frozen=True)
class Paired:
    """Pictures, each once: `places` without RAW files that have the camera's own picture beside them.

    raw_pairs: how many were left out for that. live_photos: how many pictures have their film beside them. films: those
    films.
    """

    places: tuple[str, ...]
    raw_pairs: int
    live_photos: int
    films: tuple[str, ...]


def pair(places: Iterable[str], films: Iterable[str]) -> Paired:
    """Bring together files of one name in one folder: IMG_1.CR2 with IMG_1.JPG, and IMG_1.HEIC with IMG_1.MOV.

    The camera's own JPEG or HEIC stands for a RAW. Names are compared without regard to case and Unicode form.
    """
    places = list(places)
    raws = {place for place in places if ending_of(place) in RAW_ENDINGS}
    shown = {_stem(place) for place in places if ending_of(place) in _SHOWN_ENDINGS} if raws else set()
    kept = [place for place in places if not (place in raws and _stem(place) in shown)]
    stems = {film: _stem(film).removesuffix(_FILM_WORD) for film in films}
    with_film = {_stem(place) for place in kept} & set(stems.values()) if stems else set()
    own = tuple(film for film, stem in stems.items() if stem in with_film)
    return Paired(tuple(kept), len(places) - len(kept), len(with_film), own)


def is_film(name: str) -> bool:
    """Return whether a file may be the film of a Live Photo."""
    return ending_of(name) in _FILM_ENDINGS


def _stem(place: str) -> str:
    folder, name = os.path.split(place)
    return f"{folder}/{unicodedata.normalize('NFC', os.path.splitext(name)[0]).casefold()}"


def kinds_of_pictures(places: Iterable[str]) -> dict[str, int]:
    """Return how many pictures there are of each ending, most of them first."""
    kinds = Counter(ending_of(place.rpartition("#")[2]) or "no ending" for place in places)
    return dict(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0])))


# ---------------------------------------------------------------- JSON files beside pictures

# An export (Google Takeout) has `IMG.jpg.supplemental-metadata.json` beside `IMG.jpg`, earlier `IMG.jpg.json`. No
# documentation says how they are named; these are the forms that ente, immich-go and gphotos-321sync (GitHub) met.

_WORD = ".supplemental-metadata"
_MOST, _MOST_OF_PICTURE = 46, 51
"""Units of UTF-16 that an export leaves of the name of a JSON file, number and `.json` aside, and of a picture's."""
_NAME = re.compile(r"(?P<stem>.*?)(?P<number>\(\d+\))?(?P<ending>\.[^.]*)?", re.DOTALL)
_EDITED = (
    "edited", "effects", "smile", "mix", "bearbeitet", "bewerkt", "editado", "editat", "edytowane", "ha editado",
    "modificato", "modifié", "muokattu", "redigerad", "redigeret", "redigert", "upravené",
    "编辑", "編集済み", "편집됨",
)  # fmt: skip
"""What an export adds to the name of an edited copy, in the language of its owner."""
_FEWEST_OF_EDITED = 3
_ENDINGS = frozenset(written for ending in PICTURE_ENDINGS for written in (ending, ending.upper()))
_NAMED_ANEW = (".jpg", ".JPG", ".heic", ".HEIC", ".jpeg", ".JPEG", ".heif", ".HEIF", ".png", ".PNG", ".webp", ".gif")
"""Endings that a title may have whose picture was exported with another one."""


def sidecar_names(name: str) -> Iterator[str]:
    """Yield what the file beside a picture may be called with its whole name; of an edited copy that of the original.

    The second of two pictures of one name is `IMG(1).jpg`, and its file `IMG.jpg.supplemental-metadata(1).json` or
    `IMG.jpg(1).json`. The word may be cut anywhere.
    """
    for picture in _originals(name):
        stem, number, ending = _parts(picture)
        yield from _with_word(picture)
        if number:
            yield from _with_word(f"{stem}{ending}", number)


def sidecar_of(name: str, beside: Sequence[str]) -> str | None:
    """Return which file of a picture's folder tells of it; None where there is none, or where it may be another's.

    One with the picture's whole name is its own. One whose name was cut, or has another ending
    (`IMG_1.JPG.supplemental-metadata.json` of `IMG_1.HEIC`) or none is taken only where it can mean nothing else there.
    beside: all names of the folder, sorted.
    """

    def there(other: str) -> bool:
        at = bisect_left(beside, other)
        return at < len(beside) and beside[at] == other

    found = next(filter(there, sidecar_names(name)), None)
    if found is not None:
        return found
    for picture in _originals(name):
        stem, number, ending = _parts(picture)
        alike = {other for other in (f"{stem}{number}{one}" for one in _ENDINGS) if there(other)}
        if len(alike | ({picture} if picture == name else set())) > 1:
            continue
        for start, behind in dict.fromkeys([(stem, number), (stem + number, "")]):
            for title in (f"{start}{one}" for one in (ending, *_NAMED_ANEW, "")):
                if title == start and title + behind != picture and there(title + behind):
                    continue
                was_cut = [f"{_cut(title)}{behind}.json"] if behind == number else []
                for other in (*was_cut, *_with_word(title, behind)):
                    if there(other) and not _may_mean_others(other, behind, picture, beside):
                        return other
    return None


def is_sidecar_name(name: str) -> bool:
    """Return whether a file is called as an export calls the JSON files that it lays beside pictures and films."""
    if not name.endswith(".json"):
        return False
    left = re.sub(r"\(\d+\)$", "", name.removesuffix(".json"))
    before, _, word = left.rpartition(".")
    title = before if before and _WORD.startswith(f".{word}") else left
    was_cut = _units(left) in (_MOST - 1, _MOST)
    return was_cut or left.endswith(_WORD) or ending_of(title) in PICTURE_ENDINGS | _FILM_ENDINGS


def _with_word(title: str, number: str = "") -> Iterator[str]:
    """Yield `title.supplemental-metadata(1).json` and what is left of it where the word was cut."""
    return (f"{title}{_WORD[:end]}{number}.json" for end in range(len(_WORD), -1, -1))


def _parts(name: str) -> tuple[str, str, str]:
    """Part `IMG(1).jpg` into `IMG`, `(1)` and `.jpg`; the latter two may be empty."""
    found = _NAME.fullmatch(name)
    assert found is not None  # any text matches
    return found["stem"], found["number"] or "", found["ending"] or ""


def _originals(name: str) -> list[str]:
    """Return the name itself, that of the original where it is an edited copy's, that of its original, ..."""
    names = [name]
    while (original := _original(names[-1])) is not None:
        names.append(original)
    return names


def _original(name: str) -> str | None:
    stem, number, ending = _parts(name)
    before, _, last = stem.rpartition("-")
    word = unicodedata.normalize("NFC", last).casefold()
    was_cut = _units(f"{stem}{ending}") >= _MOST_OF_PICTURE and len(word) >= _FEWEST_OF_EDITED
    edited = word in _EDITED or (was_cut and any(one.startswith(word) for one in _EDITED))
    return f"{before}{number}{ending}" if before and edited else None


def _may_mean_others(sidecar: str, number: str, picture: str, beside: Sequence[str]) -> bool:
    """Return whether the names of other files too would have been cut to this one.

    Edited copies of the picture are no others, nor is its film, whose name may have been cut elsewhere.
    """
    left = sidecar.removesuffix(".json").removesuffix(number)
    if _units(left) < _MOST - 1:  # a character of two units is left out as a whole
        return False
    stem = _parts(picture)[0]
    start = _cut(stem)[: len(left)]
    for at in range(bisect_left(beside, start), len(beside)):
        other = beside[at]
        if not other.startswith(start):
            break
        its_stem, its_number, ending = _parts(other)
        if its_number != number or ending == ".json" or _cut(f"{its_stem}{ending}") != left:
            continue
        if picture in _originals(other):
            continue
        if ending.lower() in PICTURE_ENDINGS or not (stem.startswith(its_stem) or its_stem.startswith(stem)):
            return True
    return False


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _cut(title: str) -> str:
    """Return what an export leaves of a title."""
    return title.encode("utf-16-le", "surrogatepass")[: 2 * _MOST].decode("utf-16-le", "ignore")
