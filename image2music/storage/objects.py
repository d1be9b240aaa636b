"""Places in object stores: S3 and what speaks like it (`s3://`), Google's (`gs://`) and Azure's (`az://`), by obstore.

An object is written whole or not at all, and nothing is renamed. What a store needs to know comes from the environment,
by the names that its own tools have (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_SERVICE_ACCOUNT,
AZURE_STORAGE_ACCOUNT_NAME and so on), or from the file that IMAGE2MUSIC_STORAGE names.

Requests are repeated, and that harms nothing: a write is of a whole object, and a conditional one knows its own object
again where the answer was lost after it took place.
"""

from __future__ import annotations

import configparser
import errno
import hashlib
import io
import json
import os
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from image2music.errors import ConfigError, OutputError

SCHEMES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
"""What an address in a store begins with, and what the names of its store's settings begin with."""

_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT, a file of an account's keys",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
OPTIONS_FILE = "IMAGE2MUSIC_STORAGE"
"""Environment variable that names a file of settings, which come before those of the environment."""

_SETTINGS = {
    "s3": """access_key_id secret_access_key session_token region default_region endpoint endpoint_url endpoint_url_s3
        allow_http skip_signature virtual_hosted_style_request request_payer unsigned_payload server_side_encryption
        sse_kms_key_id role_arn role_session_name web_identity_token_file container_credentials_relative_uri
        container_credentials_full_uri container_authorization_token_file conditional_put disable_bulk_delete""",
    "gs": """service_account service_account_path service_account_key application_credentials base_url bearer_token
        skip_signature allow_http""",
    "az": """storage_account_name storage_account_key storage_access_key storage_sas_token storage_sas_key storage_token
        storage_client_id storage_client_secret storage_tenant_id client_id client_secret tenant_id storage_endpoint
        endpoint msi_endpoint federated_token_file use_azure_cli storage_use_emulator skip_signature allow_http""",
}

PATIENCE = 120.0
"""Seconds for which a request is repeated that no answer came to: a store may be away for a while."""

_PATIENT = {"retries": 8, "within": 60.0, "connect": 5.0, "request": 60.0, "pause": 0.1}
_QUICK = {"retries": 2, "within": 5.0, "connect": 3.0, "request": 6.0, "pause": 0.1}
"""For the first look, before a job begins: whoever mistyped an address waits a few seconds, not minutes."""

_A_PAGE, _AT_ONCE = 1000, 16
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class FileInfo:
    """A file that was found. `name` is its own, or relative to the folder that was listed.

    `version` changes with the content: a store's etag, a disk's time of change in nanoseconds. `modified` is in seconds
    since 1970, by the clock of the disk or the store.
    """

    name: str
    size: int
    version: str
    modified: float
    generation: str = ""
    """What a store calls this version itself, where it tells versions by more than the etag."""


def too_large(at_most: int, uri: str) -> OSError:
    """Return the error for a file of more than `at_most` bytes."""
    return OSError(errno.EFBIG, f"larger than {at_most >> 20} MiB, which no picture and no tune is", uri)


def is_store(uri: str) -> bool:
    """Return whether an address lies in an object store that is known here."""
    return uri.partition("://")[0] in SCHEMES and "://" in uri


def storage_options(uri: str) -> dict[str, str]:
    """Return the settings of the store that an address lies in, as obstore and LanceDB take them; none for a disk.

    Raises:
        ConfigError: the file that IMAGE2MUSIC_STORAGE names cannot be read (`bad_storage_settings`).
    """
    if not is_store(uri):
        return {}
    scheme = uri.partition("://")[0]
    prefix, known = SCHEMES[scheme], _SETTINGS[scheme].split()
    given = {**os.environ} | _of_file(os.environ.get(OPTIONS_FILE, ""))
    names = [f"{prefix}{name.upper()}" for name in known]
    found = {name.lower(): given[name] for name in names if given.get(name)}
    is_plain = any(url.startswith("http://") for url in found.values())
    plain = found.pop(f"{prefix}ALLOW_HTTP".lower(), str(is_plain)).lower()
    if scheme == "s3":
        endpoint = found.pop("aws_endpoint_url_s3", "") or found.pop("aws_endpoint_url", "")
        found |= {"aws_endpoint": endpoint} if endpoint else {}
        found["aws_region"] = found.get("aws_region") or found.pop("aws_default_region", "") or "us-east-1"
        found.pop("aws_endpoint_url", None)
    return found | ({"allow_http": "true"} if plain in ("true", "1", "yes") else {})


def _of_file(path: str) -> dict[str, str]:
    if not path:
        return {}
    try:
        text = Path(path).read_text(encoding="utf-8")
        if path.endswith(".json"):
            found = json.loads(text)
        elif path.endswith(".toml"):
            found = tomllib.loads(text)
        else:  # lines, with or without [sections], as the AWS tools have them
            parser = configparser.ConfigParser(interpolation=None, default_section="\0")
            parser.read_string(f"[\1]\n{text}")
            found = {name: value for section in parser.sections() for name, value in parser[section].items()}
        return {name.upper(): str(value) for name, value in found.items() if not isinstance(value, dict | list)}
    except (OSError, ValueError, AttributeError, configparser.Error):
        # The parser's own words would show what stands in the file.
        message = f"{OPTIONS_FILE} names {path}, which is no readable file of settings: JSON, TOML or NAME = VALUE"
        raise ConfigError(message, reason="bad_storage_settings") from None


@lru_cache(maxsize=64)
def _store(scheme: str, bucket: str, quick: bool, settings: tuple[tuple[str, str], ...], process: int) -> Any:
    """Return obstore's object for a bucket; `process` is in the key, for connections do not survive a fork."""
    from obstore.store import AzureStore, GCSStore, S3Store

    options: Any = dict(settings)
    waits = _QUICK if quick else _PATIENT
    more: dict[str, Any] = {
        "client_options": {
            "allow_http": options.pop("allow_http", "") == "true",
            "connect_timeout": timedelta(seconds=waits["connect"]),
            "timeout": timedelta(seconds=waits["request"]),
        },
        "retry_config": {
            "max_retries": int(waits["retries"]),
            "retry_timeout": timedelta(seconds=waits["within"]),
            "backoff": {
                "init_backoff": timedelta(seconds=waits["pause"]),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    }
    try:
        if scheme == "s3":
            return S3Store(bucket, config=options, **more)
        return (GCSStore if scheme == "gs" else AzureStore)(bucket, config=options, **more)
    except Exception as error:  # obstore has no common class for what its builders refuse
        why = _QUOTED.sub("…", str(error).split("\n")[0])
        message = f"{scheme}://{bucket}: the store's settings do not work: {why}; see Object stores in docs/runbook.md"
        raise ConfigError(message, reason="bad_storage_settings") from None


_QUOTED = re.compile(r'"[^"]*"')
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"}
_REFUSED = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "AuthenticationFailed",
    "InvalidSecurity",
    "NoAuthenticationInformation",
    "XAdminUserNotFound",  # versitygw
}
_FOR_GOOD = {"400", "401", "403", "405", "411", "413"}
_ASKED_MACHINE = ("169.254.169.254", "metadata.google.internal", "MissingCredentials", "no credentials")
"""Without credentials of their own, stores' libraries ask the machine that they run on."""


class _ConflictError(Exception):
    """A conditional write that did not find what it was to find."""


@dataclass(frozen=True)
class ObjectPlace:
    """A place in a bucket: an object, or all objects whose keys begin with it. `uri` has no slash at its end.

    Its methods raise OSError, FileNotFoundError and PermissionError as files do, and ConfigError for what makes the
    bucket unusable as a whole: `bucket_missing`, `credentials_missing`, `credentials_refused`, `bad_storage_settings`.
    """

    uri: str

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> ObjectPlace:
        return ObjectPlace(f"{self.uri}/{name}")

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.uri.rpartition("/")[2]

    @property
    def parent(self) -> ObjectPlace:
        """The place above; a bucket lies in itself."""
        return ObjectPlace(self.uri.rpartition("/")[0]) if self._key else self

    @property
    def _key(self) -> str:
        return self.uri.partition("://")[2].partition("/")[2]

    @property
    def _bucket(self) -> str:
        return self.uri.partition("://")[2].partition("/")[0]

    def _open_store(self, *, quick: bool = False) -> Any:
        settings = tuple(sorted(storage_options(self.uri).items()))
        return _store(self.uri.partition("://")[0], self._bucket, quick, settings, os.getpid())

    def check(self) -> None:
        """Look whether the bucket can be reached, within seconds; a process looks once.

        Raises:
            ConfigError: as the class says, or `store_unreachable`.
        """
        settings = tuple(sorted(storage_options(self.uri).items()))
        _reached(self.uri.partition("://")[0], self._bucket, settings)

    def read(self, at_most: int | None = None) -> bytes:
        """Return the content of an object.

        Raises:
            OSError: there is none, it cannot be read, or it holds more than `at_most` bytes.
        """
        import obstore

        def read(store: Any) -> bytes:
            answer = obstore.get(store, self._key)
            if at_most is not None and answer.meta["size"] > at_most:
                raise too_large(at_most, self.uri)
            return bytes(answer.bytes())

        return self._patiently(read)

    def open(self, buffer: int = 0) -> BinaryIO:
        """Open an object to read from any place, `buffer` bytes or more at once.

        Raises:
            OSError: there is none, or it cannot be read.
        """
        found = self.info()
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.uri)
        raw = RemoteFile(self, found)
        return cast(BinaryIO, io.BufferedReader(raw, buffer) if buffer else raw)

    def read_range(self, start: int, end: int, version: str) -> bytes:
        """Return bytes of that version of an object.

        Raises:
            OSError: it changed, or cannot be read.
        """
        import obstore

        options: Any = {"range": (start, end)} | ({"if_match": version} if version else {})
        try:
            return self._patiently(lambda store: bytes(obstore.get(store, self._key, options=options).bytes()))
        except _ConflictError:
            raise OSError(errno.ESTALE, "it changed while it was read", self.uri) from None

    def write(self, data: bytes) -> None:
        """Write an object, or replace it.

        Raises:
            OutputError: it cannot be written (`output_not_written`).
        """
        import obstore

        self._written(lambda store: obstore.put(store, self._key, data))

    def create(self, data: bytes) -> bool:
        """Write an object where none is, and return whether these bytes stand there now.

        A store without conditional writes is asked first whether something is there: then two writers in the same
        moment may both think that they were first.

        Raises:
            OutputError: it cannot be written (`output_not_written`).
        """
        import obstore

        if self.info() is not None:
            return self.read() == data
        try:
            self._written(lambda store: obstore.put(store, self._key, data, mode="create"))
        except _ConflictError:
            return self.read() == data
        except NotImplementedError:
            self.write(data)
        return True

    def update(self, data: bytes, found: FileInfo) -> bool:
        """Replace an object that still is as it was found, and return whether these bytes stand there now.

        Raises:
            OutputError: it cannot be written (`output_not_written`).
        """
        import obstore

        mode: Any = {"e_tag": found.version} | ({"version": found.generation} if found.generation else {})
        try:
            self._written(lambda store: obstore.put(store, self._key, data, mode=mode))
        except (_ConflictError, FileNotFoundError):
            now = self.info()
            return now is not None and self.read() == data
        except NotImplementedError:
            if self.info() != found:
                return False
            self.write(data)
        return True

    def _written(self, put: Callable[[Any], Any]) -> None:
        try:
            self._patiently(put, repeat_missing=True)
        except PermissionError as error:
            message = f"cannot write {self.uri}: the store refuses it ({error.strerror}); name another place, or "
            message += "credentials that may write there"
            raise OutputError(message, reason="output_not_written") from None
        except OSError as error:
            message = f"cannot write {self.uri}: {error.strerror or error}; mend that, and run the same command again"
            raise OutputError(message, reason="output_not_written") from None

    def info(self) -> FileInfo | None:
        """Return what is known of an object, None where there is none."""
        import obstore

        try:
            return _info(self._patiently(lambda store: obstore.head(store, self._key)), self.name)
        except FileNotFoundError:
            return None

    def is_file(self) -> bool:
        """Return whether it is an object."""
        return bool(self._key) and self.info() is not None

    def exists(self) -> bool:
        """Return whether it is an object, or something lies under it."""
        return self.is_file() or next(self.files(deep=True), None) is not None

    def files(self, deep: bool = False, start: str = "") -> Iterator[FileInfo]:
        """Yield the objects under this place whose names begin with `start`, in the order of their keys, by pages.

        Names are relative to it. Without `deep`, those with a slash are left out, and not asked for.
        """
        import obstore

        if not (deep or start):
            yield from (_info(meta, meta["path"].rpartition("/")[2]) for meta in self._listed()["objects"])
            return
        before = len(self._key) + 1 if self._key else 0
        last: str | None = f"{self._key}/{start}".lstrip("/") if start else None
        pages: Iterator[Sequence[Any]] | None = None

        def next_page(store: Any) -> Sequence[Any] | None:
            nonlocal pages
            if pages is None:
                pages = iter(obstore.list(store, self._key or None, offset=last, chunk_size=_A_PAGE))
            try:
                return next(pages, None)
            except Exception:
                pages = None  # the next try begins behind the last key that was seen
                raise

        while (metas := self._patiently(next_page)) is not None:
            for meta in metas:
                last = meta["path"]
                name = last[before:]
                if name.startswith(start):
                    if deep or "/" not in name:
                        yield _info(meta, name)
                elif start and name > start:
                    return

    def folders(self) -> list[str]:
        """Return the names of what lies under this place and holds objects itself."""
        return sorted(name.rstrip("/").rpartition("/")[2] for name in self._listed()["common_prefixes"])

    def _listed(self) -> Any:
        import obstore

        return self._patiently(lambda store: obstore.list_with_delimiter(store, self._key or None))

    def remove(self) -> None:
        """Remove an object, where there is one."""
        self._remove([self._key])

    def remove_all(self) -> None:
        """Remove every object under this place."""
        self.remove_files(found.name for found in self.files(deep=True))

    def remove_files(self, names: Iterable[str]) -> None:
        """Remove some objects under this place, by their names: a thousand with each request. What is gone is gone."""
        keys = (f"{self._key}/{name}" for name in names)
        while some := list(islice(keys, _A_PAGE)):
            self._remove(some)

    def _remove(self, keys: list[str]) -> None:
        import obstore

        try:
            self._patiently(lambda store: obstore.delete(store, keys if len(keys) > 1 else keys[0]))
        except FileNotFoundError:
            if len(keys) > 1:  # a store that minds when one of them is gone
                for key in keys:
                    self._remove([key])

    def copy_to(self, target: ObjectPlace) -> None:
        """Copy an object to another place of the same bucket, in place of what is there.

        Raises:
            OSError: there is none, or it cannot be copied.
        """
        import obstore

        self._patiently(lambda store: obstore.copy(store, self._key, target._key))

    def move_to(self, target: ObjectPlace) -> None:
        """Move an object, or all that lies under this place. Can be repeated: what is gone was moved."""
        if self.is_file():
            self.copy_to(target)
            self.remove()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            found = self.files(deep=True)
            while names := [one.name for one in islice(found, _A_PAGE)]:
                list(threads.map(lambda name: (self / name).copy_to(target / name), names))
                self.remove_files(names)

    def prepare(self) -> None:
        """See that the bucket is there and can be written.

        Raises:
            ConfigError: as `check`.
            OutputError: it cannot be written (`output_not_writable`).
        """
        self.check()
        probe = self / ".writable"
        try:
            probe.write(b"")
            probe.remove()
        except (OutputError, PermissionError) as error:
            raise OutputError(str(error), reason="output_not_writable") from None

    def free_bytes(self) -> float:
        """Return infinity: no store says."""
        return float("inf")

    def _patiently(self, request: Callable[[Any], Returned], *, repeat_missing: bool = False) -> Returned:
        """Make a request. One that failed by no fault of ours is made again, until `PATIENCE` is over.

        `repeat_missing`: an upload in parts whose end was answered and not heard is not found any more.
        """
        return _asked(lambda: request(self._open_store()), self.uri, PATIENCE, repeat_missing=repeat_missing)


def _asked(request: Callable[[], Returned], uri: str, patience: float, *, repeat_missing: bool = False) -> Returned:
    until, pause = time.monotonic() + patience, 2 * _PATIENT["pause"]
    while True:
        try:
            return request()
        except Exception as error:  # obstore raises its own classes, OSError and ValueError
            found = _translated(error, uri)
            passing = isinstance(found, ConnectionError | TimeoutError)
            passing |= repeat_missing and isinstance(found, FileNotFoundError)
            if not passing or time.monotonic() + pause > until:
                raise found from None
        time.sleep(pause)
        pause = min(2 * pause, 10.0)


_ON_THE_WAY = re.compile(
    r"HTTP error|error sending request|response body|timed out|status code: 5\d\d|SlowDown|after \d+ retries"
)


def with_patience(uri: str, call: Callable[[], Returned]) -> Returned:
    """Return what a call answers that asks a store by LanceDB, and make it again where the network was at fault.

    It must be one that can be repeated. LanceDB itself repeats what a server refuses, and not an answer cut short.
    """
    until, pause = time.monotonic() + PATIENCE, 2 * _PATIENT["pause"]
    while True:
        try:
            return call()
        except (OSError, ValueError, RuntimeError) as error:
            if not is_store(uri) or not _ON_THE_WAY.search(str(error)) or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 10.0)


@lru_cache(maxsize=64)
def _reached(scheme: str, bucket: str, settings: tuple[tuple[str, str], ...]) -> None:
    import obstore

    uri = f"{scheme}://{bucket}"
    store = _store(scheme, bucket, True, settings, os.getpid())
    try:
        _asked(lambda: next(iter(obstore.list(store, "image2music-is-it-there", chunk_size=1)), None), uri, 2.0)
    except PermissionError:  # who may not list may still read and write
        return
    except OSError as error:
        where = dict(settings).get("aws_endpoint") or dict(settings).get("azure_storage_endpoint") or "its store"
        message = f"{uri}: no answer from {where} ({error.strerror}); is the address right (AWS_ENDPOINT_URL and its "
        message += "like), and the network there?"
        raise ConfigError(message, reason="store_unreachable") from None


def _translated(error: Exception, uri: str) -> Exception:
    """Return an error of ours for one of obstore's; its text may hold signatures, so none of it is passed on."""
    from obstore import exceptions

    if isinstance(error, ConfigError) or (isinstance(error, OSError) and not isinstance(error, FileNotFoundError)):
        return error
    text, bucket = str(error), "/".join(uri.split("/")[:3])
    code = _CODE.search(text)
    status = _STATUS.search(text)
    said = code[1] if code else f"status {status[1]}" if status else ""
    if said in _NO_BUCKET:
        return ConfigError(f"there is no bucket {bucket}: make it, or name another place", reason="bucket_missing")
    if said in _REFUSED or isinstance(error, exceptions.UnauthenticatedError):
        message = f"{bucket}: the store refuses the credentials ({said or 'not known'}); mend "
        message += f"{_KEYS[bucket.partition(':')[0]]}, in the environment or in the file that {OPTIONS_FILE} names"
        return ConfigError(message, reason="credentials_refused")
    if any(word in text for word in _ASKED_MACHINE):
        message = f"{bucket}: there are no credentials; set {_KEYS[bucket.partition(':')[0]]}, in the environment or "
        message += f"in the file that {OPTIONS_FILE} names"
        return ConfigError(message, reason="credentials_missing")
    if isinstance(error, exceptions.AlreadyExistsError | exceptions.PreconditionError):
        return _ConflictError()
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "no such object", uri)
    if isinstance(error, exceptions.InvalidPathError | ValueError):
        why = "a name with an empty part, a dot for a part or a control character; rename that object"
        return OSError(errno.EINVAL, why, uri)
    if isinstance(error, exceptions.NotSupportedError) or said == "NotImplemented" or "NotImplemented" in text:
        return NotImplementedError()
    if isinstance(error, exceptions.PermissionDeniedError) or said == "AccessDenied":
        return PermissionError(errno.EACCES, said or "not allowed", uri)
    if status is not None and status[1] in _FOR_GOOD:
        return PermissionError(errno.EACCES, said, uri)
    if isinstance(error, exceptions.BaseError):
        return ConnectionError(errno.EIO, said or "it does not answer", uri)
    return error


def _info(meta: Any, name: str) -> FileInfo:
    modified = meta["last_modified"].timestamp()
    version, generation = meta["e_tag"] or "", meta["version"] or ""
    return FileInfo(name, meta["size"], version or generation or str(modified), modified, generation)


def stamp_number(version: str) -> int:
    """Return a number of 63 bits that stands for a version of an object."""
    return int.from_bytes(hashlib.blake2b(version.encode(), digest_size=8).digest(), "big") >> 1


class RemoteFile(io.RawIOBase):
    """An object as it was when it was found, read by ranges of bytes. Threads may call `read_at` at the same time."""

    def __init__(self, place: ObjectPlace, found: FileInfo) -> None:
        self._file, self._found, self._at = place, found, 0

    def read_at(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on; fewer at the end.

        Raises:
            OSError: it changed, or cannot be read.
        """
        end = min(offset + size, self._found.size)
        return self._file.read_range(offset, end, self._found.version) if offset < end else b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place counted from the beginning, from here or from the end."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._found.size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the place in bytes from the beginning."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with as many bytes as there are, and return their number."""
        data = self.read_at(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        """Return what is left, in one request."""
        data = self.read_at(self._at, self._found.size)
        self._at += len(data)
        return data
