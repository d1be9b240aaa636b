"""How the place of a picture is spelt, and what it says about its company.

A place is a file (local or `gs://...`), `shard.tar#member`, `file.parquet#row` (rows count from 0) or a web address.
"""

from __future__ import annotations

import os
import re
from typing import Literal, NamedTuple

WEB_SCHEMES = ("http://", "https://")

_MEMBER = re.compile(r"(?P<archive>.*\.(?P<kind>tar|parquet))#(?P<name>.*)", re.DOTALL)


class Member(NamedTuple):
    """A picture inside of another file; `name` is empty for what could not be read of it."""

    archive: str
    kind: Literal["tar", "parquet"]
    name: str


def member_of(uri: str) -> Member | None:
    """The archive and the member that a place names, None for a place of its own.

    A file on this machine whose own name looks like that is a file.
    """
    found = None if is_web(uri) else _MEMBER.fullmatch(uri)
    if found is None or os.path.isfile(uri):
        return None
    return Member(found["archive"], "tar" if found["kind"] == "tar" else "parquet", found["name"])


def is_web(uri: str) -> bool:
    """Whether a place is a web address."""
    return uri.lower().startswith(WEB_SCHEMES)


def is_archive(uri: str) -> bool:
    """Whether a file holds pictures as members."""
    return uri.endswith((".tar", ".parquet")) and not is_web(uri)


def album_of(uri: str) -> str:
    """The folder that a picture lies in: of its file, within its tar file, or the archive itself."""
    member = member_of(uri)
    if member is None:
        return os.path.dirname(uri.partition("?")[0] if is_web(uri) else uri)
    folder = os.path.dirname(member.name)
    return f"{member.archive}#{folder}" if folder else member.archive


def is_there(uri: str) -> bool:
    """Whether a local place's file exists; what is remote is believed."""
    member = member_of(uri)
    return "://" in uri or os.path.isfile(member.archive if member is not None else uri)
