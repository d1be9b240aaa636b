"""When a picture was taken: by its EXIF data, by the JSON file that an export lays beside it, by its name, by its file.

Where a picture was taken (GPS, `geoData`) is neither read nor kept; nor is any other tag than the three named here.

An export of a phone's pictures (Google Takeout) lays a JSON file beside each; `photoTakenTime.timestamp` in it counts
seconds since 1970 in UTC.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from PIL import Image

from image2music.images.decode import quiet
from image2music.images.files import is_heif

TakenBy = Literal["exif", "sidecar", "name", "file"]
_TEXT = re.compile(r"(?P<at>[\d-]{10}(T[\d:.]+)?)(?P<zone>Z|[+-]\d\d:\d\d)?")
_FIRST_YEAR, _LAST_YEAR = 1830, 2199


@dataclass(frozen=True)
class Taken:
    """When a picture was taken, as far as `by` says.

    at: what a clock there showed; with `is_utc` what one in Greenwich showed, where nobody says more. Where only the
    day is known (`whole_day`), its beginning. offset: minutes of that clock ahead of UTC, None where unknown.
    """

    at: datetime
    by: TakenBy
    offset: int | None = None
    is_utc: bool = False
    whole_day: bool = False

    @property
    def text(self) -> str:
        """As ISO 8601 writes it: `2024-01-31T14:22:33+01:00`, `2024-01-31T13:22:33Z`, `2024-01-31`."""
        if self.whole_day:
            return self.at.date().isoformat()
        text = self.at.isoformat(timespec="milliseconds" if self.at.microsecond else "seconds")
        if self.offset is None:
            return f"{text}Z" if self.is_utc else text
        hours, minutes = divmod(abs(self.offset), 60)
        return f"{text}{'-' if self.offset < 0 else '+'}{hours:02}:{minutes:02}"

    @classmethod
    def of_text(cls, text: str, by: TakenBy) -> Taken:
        """Return the inverse of `text`.

        Raises:
            ValueError: it is no such text.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"not a time: {text!r}")
        zone = found["zone"]
        offset = None
        if zone and zone != "Z":
            offset = (1 if zone[0] == "+" else -1) * (int(zone[1:3]) * 60 + int(zone[4:]))
        return cls(datetime.fromisoformat(found["at"]), by, offset, zone == "Z", "T" not in found["at"])


# ---------------------------------------------------------------- EXIF

_EXIF, _ORIGINAL, _OFFSET, _SUBSECOND = 0x8769, 0x9003, 0x9011, 0x9291
_EXIF_TIME = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_EXIF_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")
_MOST_OFFSET = 14 * 60
_PNG = b"\x89PNG\r\n\x1a\n"
_WITH_EXIF = ("JPEG", "WEBP", "AVIF")


def taken_by_exif(data: bytes) -> Taken | None:
    """Return what the EXIF data of a picture file say; None where it has none, or broken ones, which spoil nothing."""
    try:
        with quiet():
            return taken_of_tags(_exif_tags(data))
    except Exception:  # A reader of EXIF data may raise anything on hostile ones.
        return None


def _exif_tags(data: bytes) -> Mapping[int, Any]:
    if is_heif(data):
        import pi_heif

        found = pi_heif.open_heif(data, convert_hdr_to_8bit=False).info.get("exif")
        exif = Image.Exif()
        exif.load(found or b"")
    elif data.startswith(_PNG):  # Pillow would decode it, to look behind its pixels
        exif = Image.Exif()
        exif.load(_png_chunk(data, b"eXIf"))
    elif data[:4] in (b"II*\0", b"MM\0*"):  # TIFF, and camera RAW that is like it
        exif = Image.Exif()
        exif.load(data)
    else:
        with Image.open(io.BytesIO(data), formats=_WITH_EXIF) as image:
            exif = image.getexif()
    return exif.get_ifd(_EXIF)


def _png_chunk(data: bytes, kind: bytes) -> bytes:
    """Return the content of the first chunk of a kind; nothing where there is none."""
    at = len(_PNG)
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == kind:
            return data[at + 8 : at + 8 + size]
        at += size + 12
    return b""


def taken_of_tags(tags: Mapping[int, Any]) -> Taken | None:
    """Return what DateTimeOriginal says, with SubSecTimeOriginal and OffsetTimeOriginal where they are there."""
    found = _EXIF_TIME.match(_plain(tags.get(_ORIGINAL)))
    at = _moment([int(part) for part in found.groups()]) if found else None
    if at is None:
        return None
    digits = re.match(r"\d{1,3}", _plain(tags.get(_SUBSECOND)))
    milliseconds = int(digits[0].ljust(3, "0")) if digits else 0
    zone = _EXIF_OFFSET.fullmatch(_plain(tags.get(_OFFSET)))
    offset = None
    if zone and (minutes := int(zone[2]) * 60 + int(zone[3])) <= _MOST_OFFSET:
        offset = -minutes if zone[1] == "-" else minutes
    return Taken(at + timedelta(milliseconds=milliseconds), "exif", offset)


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip("\0 \t\r\n") if isinstance(value, str) else ""


def _moment(parts: Sequence[int]) -> datetime | None:
    if not _FIRST_YEAR <= parts[0] <= _LAST_YEAR:
        return None
    try:
        return datetime(*parts)  # type: ignore[arg-type]
    except ValueError:
        return None


# ---------------------------------------------------------------- the file that an export lays beside it

SIDECAR_BYTES = 1 << 20
"""A larger file is none."""


def taken_by_sidecar(data: bytes) -> Taken | None:
    """Return what the JSON file beside a picture says; None where it says nothing. No other field is read."""
    try:
        seconds = int(json.loads(data)["photoTakenTime"]["timestamp"])
        at = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    except (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
        return None
    return Taken(at, "sidecar", is_utc=True) if seconds else None


_QUARTER = 15
_NEARLY = 2 * 60


def with_offset(exif: Taken, sidecar: Taken | None) -> Taken:
    """Return what EXIF data say with the offset that follows from the file beside, which tells the moment in UTC."""
    if exif.offset is not None or sidecar is None:
        return exif
    seconds = (exif.at - sidecar.at).total_seconds()
    offset = round(seconds / 60 / _QUARTER) * _QUARTER
    fits = abs(seconds - 60 * offset) <= _NEARLY and abs(offset) <= _MOST_OFFSET
    return replace(exif, offset=offset) if fits else exif


# ---------------------------------------------------------------- its name

_DATE = r"(?<!\d)((?:19|20)\d\d)([-_.:]?)(\d\d)\2(\d\d)"
_CLOCK = r"(\d{1,2})([-_.:h]?)(\d\d)\6(\d\d)(?:[-_.]?(\d{3})(?!\d))?(?!\d)(?:[\s\u202f]*([AaPp])\.?[Mm]\b)?"
_DATE_AND_CLOCK = re.compile(_DATE + r"(?:[ _T-]|, ?| at | um | à )" + _CLOCK)
_DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.])(\d\d)\2(\d\d)(?!\d)")
_SENT = re.compile(r"(?:IMG|VID|PHOTO)-((?:19|20)\d\d)(\d\d)(\d\d)-WA\d+")
_IN_UTC = "PXL_"


def taken_by_name(name: str) -> Taken | None:
    """Return what a file's name says: `IMG_20240131_142233`, `2024-01-31 14.22.33`, `IMG-20240131-WA0007` (a day).

    Names with PXL_ count in UTC. A number of eight digits alone is none of a day.
    """
    if found := _DATE_AND_CLOCK.search(name):
        year, _, month, day, hour, _, minute, second, thousandths, half = found.groups()
        hours = int(hour) % 12 + 12 * (half in "Pp") if half else int(hour)
        at = _moment([int(year), int(month), int(day), hours, int(minute), int(second)])
        if at is not None:
            return Taken(at + timedelta(milliseconds=int(thousandths or 0)), "name", is_utc=name.startswith(_IN_UTC))
    if sent := _SENT.search(name):
        parts: Sequence[str] = sent.groups()
    elif day_alone := _DAY.search(name):
        parts = day_alone.group(1, 3, 4)
    else:
        return None
    at = _moment([int(part) for part in parts])
    return Taken(at, "name", whole_day=True) if at is not None else None


# ---------------------------------------------------------------- the times of an album

_COPIED_WITHIN = 3600
"""Seconds. Files that were written within them were copied, whatever they show."""


def taken_by_file(seconds: int) -> Taken:
    """Return the time of change of a file as the time at which its picture was taken."""
    return Taken(datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None), "file", is_utc=True)


def believed(told: Sequence[Taken | None], file_times: Sequence[int | None]) -> list[Taken | None]:
    """Return the times of an album's pictures: what was told of each, else that of its file.

    Those of files count only where they lie more than an hour apart, the first and the last of the album: else they
    are those of a copy.
    """
    known = [seconds for seconds in file_times if seconds is not None]
    if not known or max(known) - min(known) <= _COPIED_WITHIN:
        return list(told)
    pairs = zip(told, file_times, strict=True)
    return [taken if taken or seconds is None else taken_by_file(seconds) for taken, seconds in pairs]


@dataclass(frozen=True)
class Clock:
    """When a picture was taken, beside the others of its album.

    moment: milliseconds since 1970 in UTC. shown: what a clock there showed. Where nobody `told`, both are those of the
    picture before it.
    """

    moment: int
    shown: datetime
    whole_day: bool = False
    told: bool = True


def clocks_of(times: Sequence[Taken | None]) -> list[Clock] | None:
    """Return the clocks of pictures in the order of their names; None where no two of their times differ.

    Where the offset from UTC is unknown, it is taken for the commonest one of the album, or for none. A picture of
    which nobody says anything has the time of the one before it, the first ones that of the first one with a time.
    """
    offsets = Counter(taken.offset for taken in times if taken is not None and taken.offset is not None)
    usual = min(offsets, key=lambda offset: (-offsets[offset], abs(offset), offset)) if offsets else 0
    own = [None if taken is None else _clock(taken, usual) for taken in times]
    there = [clock for clock in own if clock is not None]
    if len({clock.moment for clock in there}) < 2:
        return None
    clocks, before = list[Clock](), there[0]
    for clock in own:
        before = clock or replace(before, told=False)
        clocks.append(before)
    return clocks


def _clock(taken: Taken, usual: int) -> Clock:
    ahead = timedelta(minutes=taken.offset if taken.offset is not None else usual)
    shown, greenwich = (taken.at + ahead, taken.at) if taken.is_utc else (taken.at, taken.at - ahead)
    moment = round((greenwich - _EPOCH) / timedelta(milliseconds=1))
    return Clock(moment, shown, taken.whole_day)


_EPOCH = datetime(1970, 1, 1)
