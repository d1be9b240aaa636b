"""Where pictures lie: files, the pictures inside of tar and Parquet files, and web addresses that a list names.

The URI of a picture is a file (local or `s3://...`), `shard.tar#member`, `file.parquet#row` (rows count from 0) or a
web address.

Whoever wrote a list decides what this machine asks for, so an address must not reach what only this machine can reach
(server-side request forgery, CWE-918): requests are bounded in size and time, and never go inside of a network.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import ipaddress
import os
import re
import socket
import ssl
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from functools import cache, lru_cache
from typing import BinaryIO, Literal, NamedTuple, cast
from urllib.parse import SplitResult, urljoin, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from image2music.errors import PictureError
from image2music.images.decode import MAX_BYTES
from image2music.images.files import SkippedFor, is_film, is_service_name, kind_by_name, skipped_for, skipped_kind
from image2music.settings import WebRule
from image2music.storage.files import open_place
from image2music.storage.objects import is_store

WEB_SCHEMES = ("http://", "https://")
_MEMBER = re.compile(r"(?P<archive>.*\.(?P<kind>tar|parquet))#(?P<name>.*)", re.DOTALL)


class ArchiveMember(NamedTuple):
    """A picture inside of another file; `name` is empty for what could not be read of it."""

    archive: str
    kind: Literal["tar", "parquet"]
    name: str


def member_of(uri: str) -> ArchiveMember | None:
    """Return the archive and the member that a URI names, None for a file of its own.

    A file on this machine whose own name looks like that is a file. In a store it is a member: nobody asks.
    """
    found = None if is_web(uri) else _MEMBER.fullmatch(uri)
    if found is None or os.path.isfile(uri):
        return None
    return ArchiveMember(found["archive"], "tar" if found["kind"] == "tar" else "parquet", found["name"])


def is_web(uri: str) -> bool:
    """Return whether a URI is a web address."""
    return uri.lower().startswith(WEB_SCHEMES)


def is_picture_archive(uri: str) -> bool:
    """Return whether a file holds pictures as members."""
    return uri.endswith((".tar", ".parquet")) and not is_web(uri)


def in_one_line(uri: str) -> str:
    """Return a name as it can be shown: line breaks and other controls, and bytes that are not UTF-8, are spelt."""
    text = os.fsencode(uri).decode("utf-8", errors="backslashreplace")
    return "".join(c if c.isprintable() or not c.isascii() else c.encode("unicode_escape").decode() for c in text)


_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")


def as_on_disk(uri: str) -> str:
    """Return the place that a row names: where nothing is called so, bytes that it spells in hex are bytes again."""
    if "\\x" not in uri or "://" in uri or os.path.lexists(uri):
        return uri
    return os.fsdecode(_BYTE.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(uri)))


def album_of(uri: str) -> str:
    """Return the folder that a picture lies in: of its file, within its tar file, or the archive itself."""
    member = member_of(uri)
    if member is None:
        return os.path.dirname(uri.partition("?")[0] if is_web(uri) else uri)
    folder = os.path.dirname(member.name)
    return f"{member.archive}#{folder}" if folder else member.archive


def is_there(uri: str) -> bool:
    """Return whether the file of a URI exists; an address that is in no store is believed."""
    uri = as_on_disk(uri)
    member = member_of(uri)
    return ("://" in uri and not is_store(uri)) or open_place(member.archive if member is not None else uri).is_file()


IntArray = NDArray[np.int64]
Opener = Callable[[str], BinaryIO]

_NAMES = ("image", "picture", "img", "jpg", "png", "bytes", "data", "content")
_CACHED_BYTES = 256 << 20
_FEW_ROWS = 16


class _Stamp(NamedTuple):
    """A file as it was when it was looked into; another version or size makes the caches below look again."""

    path: str
    version: str
    size: int


class Members(NamedTuple):
    """URIs of the pictures in an archive, how many members of each kind are none, and URIs of films among those."""

    places: list[str]
    skipped: Counter[tuple[SkippedFor, str]]
    films: list[str]


def list_members(path: str, open_file: Opener) -> Members:
    """Return the URIs of all pictures in a tar or Parquet file, in its order.

    Of a tar file every regular member counts but those that are hidden or whose ending is not a picture's, such as
    WebDataset's sidecars (.json, .txt, .cls ...); an unknown ending counts. Of a Parquet file every row counts. A file
    that is damaged, or that holds no pictures, has one more URI, with nothing behind the #: reading it says what is
    wrong, so that it is accounted for.
    """
    try:
        if path.endswith(".tar"):
            members, whole = _scan_tar(path, open_file)
            names = [name for name in members if _is_picture_name(name)]
            others = members.keys() - set(names)
            skipped = Counter(_use_and_kind(name) for name in others)
            films = [f"{path}#{name}" for name in others if _use_and_kind(name)[0] == "film" and is_film(name)]
            places = [f"{path}#{name}" for name in names] + ([] if whole and names else [f"{path}#"])
            return Members(places, skipped, films)
        return Members([f"{path}#{row}" for row in range(_parquet(_stamp(path), open_file).rows)], Counter(), [])
    except (OSError, PictureError, pa.ArrowException):
        return Members([f"{path}#"], Counter(), [])


def _is_picture_name(member: str) -> bool:
    return not _is_in_service_folder(member) and kind_by_name(os.path.basename(member)) in ("picture", "unknown")


def _is_in_service_folder(member: str) -> bool:
    return any(is_service_name(folder) for folder in member.split("/")[:-1] if folder not in ("", ".", ".."))


def _use_and_kind(member: str) -> tuple[SkippedFor, str]:
    name = os.path.basename(member)
    return "system" if _is_in_service_folder(member) else skipped_for(name), skipped_kind(name)


def read_member(member: ArchiveMember, open_file: Opener) -> bytes:
    """Return the bytes of one picture.

    Raises:
        PictureError: `broken_archive`, `no_pictures` (no column of bytes), `member_missing`, `file_too_large`.
        OSError: the archive cannot be read.
    """
    if member.kind == "tar":
        return _read_from_tar(member, open_file)
    return _read_from_parquet(member, open_file)


_LOOKED_AT_EVERY = 60.0
"""Seconds between two looks at an archive in a store: each is a request."""


def _stamp(path: str) -> _Stamp:
    return _looked_at(path, int(time.monotonic() / _LOOKED_AT_EVERY)) if is_store(path) else _look_at(path)


@lru_cache(maxsize=512)
def _looked_at(path: str, when: int) -> _Stamp:
    return _look_at(path)


def _look_at(path: str) -> _Stamp:
    found = open_place(path).info()
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return _Stamp(path, found.version, found.size)


class _TarIndex(NamedTuple):
    """For each member a hash of its name (int64[n], sorted), the place of its first byte and its size.

    24 bytes a member: a worker keeps many shards, for their members come in any order. `whole` is false where the
    file breaks off.
    """

    names: IntArray
    starts: IntArray
    sizes: IntArray
    whole: bool


@lru_cache(maxsize=512)
def _tar_index(stamp: _Stamp, open_file: Opener) -> _TarIndex:
    members, whole = _scan_tar(stamp.path, open_file)
    rows = np.array([(_name_hash(name), *place) for name, place in members.items()], np.int64).reshape(-1, 3)
    names, starts, sizes = rows[np.argsort(rows[:, 0])].T
    return _TarIndex(names, starts, sizes, whole)


def _name_hash(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _scan_tar(path: str, open_file: Opener) -> tuple[dict[str, tuple[int, int]], bool]:
    """Return (place of the first byte, size) of every regular member by name, and whether the file is whole."""
    members: dict[str, tuple[int, int]] = {}
    with open_file(path) as opened:
        # Each header of a tar file in a store would be a request.
        file = cast(BinaryIO, io.BufferedReader(opened, 1 << 20)) if isinstance(opened, io.RawIOBase) else opened
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (info := tar.next()) is not None:
                    if info.isreg() and not info.issparse():
                        members[info.name] = info.offset_data, info.size
                    tar.members = []  # type: ignore[attr-defined]  # else every header is kept twice
                file.seek(tar.offset)
                # tarfile takes a header that it cannot read for the end; a true end is a block of zeros, or of nothing.
                return members, not any(file.read(tarfile.BLOCKSIZE))
        except (tarfile.TarError, EOFError, ValueError):
            return members, False


def member_time(member: ArchiveMember, open_file: Opener) -> int | None:
    """Return the time of change that a tar file names for a member, in seconds since 1970; None where it names none.

    Raises:
        OSError: the archive cannot be read.
    """
    index = _tar_index(_stamp(member.archive), open_file)
    at = int(np.searchsorted(index.names, _name_hash(member.name)))
    if at == len(index.names) or index.names[at] != _name_hash(member.name):
        return None
    with open_file(member.archive) as file:
        file.seek(int(index.starts[at]) - tarfile.BLOCKSIZE)
        header = file.read(tarfile.BLOCKSIZE)
    try:
        return int(tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").mtime) or None
    except tarfile.TarError:
        return None


def _read_from_tar(member: ArchiveMember, open_file: Opener) -> bytes:
    index = _tar_index(_stamp(member.archive), open_file)
    if not member.name:
        if index.whole:
            raise PictureError("the tar file holds no pictures", reason="no_pictures")
        raise PictureError(f"the tar file breaks off after {len(index.names)} members", reason="broken_archive")
    wanted = _name_hash(member.name)
    at = int(np.searchsorted(index.names, wanted))
    if at == len(index.names) or index.names[at] != wanted:
        raise _missing(member)
    start, size = int(index.starts[at]), int(index.sizes[at])
    if size > MAX_BYTES:
        raise PictureError(f"the member has {size} bytes; {MAX_BYTES} is the most", reason="file_too_large")
    with open_file(member.archive) as file:
        file.seek(start)
        data = file.read(size)
    if len(data) < size:
        raise PictureError(f"the tar file breaks off within this member, {size - len(data)} bytes short",
                           reason="broken_archive")  # fmt: skip
    return data


class _Rows(NamedTuple):
    """Where the pictures of a Parquet file are: the column, and the number of rows up to each row group's end."""

    column: str
    ends: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def rows(self) -> int:
        return self.ends[-1] if self.ends else 0


@lru_cache(maxsize=512)
def _parquet(stamp: _Stamp, open_file: Opener) -> _Rows:
    with open_file(stamp.path) as file:
        opened = pq.ParquetFile(file)
        column = _picture_column(opened.schema_arrow)
        metadata = opened.metadata
        ends, sizes, rows = [], [], 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            rows += group.num_rows
            ends.append(rows)
            chunks = (group.column(at) for at in range(group.num_columns))
            sizes.append(sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] == column))
    return _Rows(column, tuple(ends), tuple(sizes))


def _picture_column(schema: pa.Schema) -> str:
    """Return the column of pictures: bytes, or a struct with bytes as Hugging Face's `datasets` writes its `Image`."""
    found = [field.name for field in schema if _holds_bytes(field.type)]
    if not found:
        message = f"no column of bytes in {', '.join(schema.names) or 'an empty schema'}"
        raise PictureError(message, reason="no_pictures")
    return next((name for name in _NAMES if name in found), found[0])


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _read_from_parquet(member: ArchiveMember, open_file: Opener) -> bytes:
    try:
        stamp = _stamp(member.archive)
        rows = _parquet(stamp, open_file)
        if not member.name.isdecimal() or int(member.name) >= rows.rows:
            raise _missing(member)
        row = int(member.name)
        group = next(at for at, end in enumerate(rows.ends) if row < end)
        within = row - (rows.ends[group - 1] if group else 0)
        small = rows.sizes[group] <= _CACHED_BYTES
        value = (_cell if small else _streamed_cell)(stamp, open_file, rows.column, group, within)
    except pa.ArrowException as error:
        text = " ".join(str(error).split())
        raise PictureError(f"the Parquet file cannot be read: {text}", reason="broken_archive") from error
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else b""


@lru_cache(maxsize=2)
def _group(stamp: _Stamp, open_file: Opener, column: str, group: int) -> pa.ChunkedArray:
    with open_file(stamp.path) as file:
        return pq.ParquetFile(file).read_row_group(group, columns=[column])[column]


def _cell(stamp: _Stamp, open_file: Opener, column: str, group: int, row: int) -> object:
    value: object = _group(stamp, open_file, column, group)[row].as_py()
    return value


def _streamed_cell(stamp: _Stamp, open_file: Opener, column: str, group: int, row: int) -> object:
    """Return a cell of a row group that is too large to be kept: slow, but never more than a few pictures in memory."""
    with open_file(stamp.path) as file:
        for batch in pq.ParquetFile(file).iter_batches(_FEW_ROWS, row_groups=[group], columns=[column]):
            if row < len(batch):
                value: object = batch.column(0)[row].as_py()
                return value
            row -= len(batch)
    return None


def _missing(member: ArchiveMember) -> PictureError:
    return PictureError(f"there is no {member.name or 'picture'} in {member.archive}", reason="member_missing")


MOST_SECONDS = 30.0
MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 64 << 10
_AGENT = "image2music"

# Addresses of IPv6 that stand for one of IPv4: 6to4, NAT64, Teredo.
_WRAPPERS = tuple(ipaddress.ip_network(text) for text in ("2002::/16", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32"))


def fetch(url: str, rule: WebRule, *, at_most: int = MAX_BYTES, seconds: float = MOST_SECONDS) -> bytes:
    """Return the body behind an http or https address, over at most five redirects.

    Each host is looked up once and that address connected to, so that a name cannot change in between. Proxies of
    the environment are not used.

    Raises:
        PictureError: `web_not_allowed`, `bad_address`, `private_address`, `web_status`, `web_redirects`,
            `file_too_large`, `web_timeout`, `web_unreachable`.
    """
    if rule == "none":
        message = "web addresses are not opened unless the run allows them (see: image2music compose --help)"
        raise PictureError(message, reason="web_not_allowed")
    deadline = time.monotonic() + seconds
    try:
        for _ in range(MOST_REDIRECTS + 1):
            answer = _ask(url, rule, at_most, deadline)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
    except TimeoutError as error:
        raise PictureError(f"no answer within {seconds:g} seconds", reason="web_timeout") from error
    except (OSError, http.client.HTTPException) as error:
        raise PictureError(f"cannot be fetched: {error or type(error).__name__}", reason="web_unreachable") from error
    raise PictureError(f"more than {MOST_REDIRECTS} redirects", reason="web_redirects")


def _ask(url: str, rule: WebRule, at_most: int, deadline: float) -> bytes | str:
    """Return the body, or where a redirect leads."""
    parts = _checked(url)
    connection = _connection(parts, _address(parts, rule), deadline)
    line = connection.sock  # the connection lets go of it when the server will close it
    try:
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        connection.request("GET", target, headers={"User-Agent": _AGENT, "Accept": "image/*,*/*;q=0.5"})
        with connection.getresponse() as response:
            if response.status in _REDIRECTS and (place := response.getheader("Location")):
                return place
            if response.status != 200:
                raise PictureError(f"the server answers {response.status} {response.reason}", reason="web_status")
            return _body(response, line, at_most, deadline)
    finally:
        connection.close()


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError as error:
        raise PictureError(f"not a web address: {error}", reason="bad_address") from error
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or not (port_is_number and plain):
        message = "not an http or https address in plain ASCII and without a password"
        raise PictureError(message, reason="bad_address")
    return parts


def _address(parts: SplitResult, rule: WebRule) -> str:
    """Return the first address of the host, after all of them were checked."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = [entry[4][0] for entry in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)]
    if rule == "public" and not all(is_public(str(address)) for address in found):
        message = (
            f"{parts.hostname} is not on the public internet, and is not opened unless the run allows any address "
            "(see: image2music compose --help)"
        )
        raise PictureError(message, reason="private_address")
    return str(found[0])


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet.

    Not private, local, multicast, reserved or wrapped.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _WRAPPERS):
            return False
    return ip.is_global and not ip.is_multicast


def _connection(parts: SplitResult, address: str, deadline: float) -> http.client.HTTPConnection:
    """Return a connection to this very address, under the host's name."""
    assert parts.hostname is not None
    left = _left(deadline)
    plain = socket.create_connection((address, parts.port or (443 if parts.scheme == "https" else 80)), left)
    if parts.scheme == "http":
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=left)
        connection.sock = plain
        return connection
    secure = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=left)
    try:
        secure.sock = _trust().wrap_socket(plain, server_hostname=parts.hostname)
    except OSError:
        plain.close()
        raise
    return secure


@cache
def _trust() -> ssl.SSLContext:
    """Return the certificates of this machine, read once a process."""
    return ssl.create_default_context()


def _body(response: http.client.HTTPResponse, line: socket.socket, at_most: int, deadline: float) -> bytes:
    data = bytearray()
    while True:
        line.settimeout(_left(deadline))
        chunk = response.read1(_CHUNK)
        if not chunk:
            if response.length:  # the connection ended before all that was announced had come
                raise http.client.IncompleteRead(bytes(data), response.length)
            return bytes(data)
        data += chunk
        if len(data) > at_most:
            raise PictureError(f"more than {at_most} bytes", reason="file_too_large")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
