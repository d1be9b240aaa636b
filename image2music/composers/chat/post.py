"""Posts JSON to a server that may be busy: time-outs, retries with back-off, bounded answers, no redirects."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from image2music.errors import ConfigError, ModelError

MAX_ANSWER_BYTES = 8 * 2**20
_LONGEST_PAUSE_S = 60.0
_MAX_SHOWN = 200
_CHUNK = 2**16
_KNOCK_S = 30.0


@dataclass(frozen=True)
class Patience:
    """Seconds for one whole request, how often one is tried, and the pause before the second try (then doubled)."""

    timeout_s: float = 180.0
    tries: int = 5
    first_pause_s: float = 1.0

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.tries < 1 or self.first_pause_s < 0:
            raise ConfigError("a request needs a time-out above 0 and at least one try", reason="bad_patience")


class _Busy(Exception):  # noqa: N818 - a state of the server, and no error to anyone outside of this module
    """Worth another try; `wait_s` is what the server asks for, `reason` what it counts as if that is of no use."""

    def __init__(self, said: str, wait_s: float = 0.0, reason: str = "server_unavailable") -> None:
        super().__init__(said)
        self.wait_s, self.reason = wait_s, reason


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key and the picture to an address that nobody named."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none: the redirect comes back as an error."""


_opener = urllib.request.build_opener(_NoRedirects)


def post_json(
    url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    patience: Patience,
    pause: Callable[[float], None] = time.sleep,
) -> Any:
    """What the server answers, as JSON. Status 408, 429, 5xx, a lost connection and what is no JSON are tried again.

    Raises:
        ModelError: it refuses the request (`request_refused`), stays busy or out of reach (`server_unavailable`), or
            answers with something else than JSON (`unusable_answer`). No message holds a header's value.
    """
    data = json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **headers}
    said, reason = "", ""
    for attempt in range(patience.tries):
        try:
            return _decoded(_post(url, data, sent, patience.timeout_s))
        except _Busy as busy:
            said, reason = str(busy), busy.reason
            if attempt + 1 < patience.tries:
                pause(min(_LONGEST_PAUSE_S, max(busy.wait_s, patience.first_pause_s * 2**attempt)))
    message = f"{url} gave no answer in {patience.tries} tries, the last: {said}; check the address, or try again later"
    raise ModelError(message, reason=reason)


def refuse_silence(url: str) -> None:
    """Nothing, if anyone answers at an address, whatever the answer.

    Raises:
        ModelError: nobody does (`server_unavailable`).
    """
    try:
        _opener.open(urllib.request.Request(url), timeout=_KNOCK_S).close()
    except urllib.error.HTTPError as error:
        error.close()
    except urllib.error.URLError as error:
        message = f"nobody answers at {url}: {_told(error)}; start the server, or mend the address"
        raise ModelError(message, reason="server_unavailable") from error
    except (OSError, http.client.HTTPException):
        return  # whoever breaks off or is slow is there


def _post(url: str, data: bytes, headers: Mapping[str, str], timeout_s: float) -> bytes:
    request = urllib.request.Request(url, data, dict(headers), method="POST")
    deadline = time.monotonic() + timeout_s
    try:
        with _opener.open(request, timeout=timeout_s) as response:
            return _read(response, deadline)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(url, error, headers, deadline) from None
    except (OSError, http.client.HTTPException) as error:  # a lost or refused connection, or a time-out
        raise _Busy(_told(error)) from error


def _told(error: Exception) -> str:
    """What went wrong with a connection, without what only a program wants to know."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__


def _read(response: IO[bytes], deadline: float) -> bytes:
    """The whole answer; a server that drips bytes does not hold a worker for longer than the time-out."""
    parts, size = [], 0
    while part := response.read1(_CHUNK):  # type: ignore[attr-defined]
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise ModelError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes", reason="unusable_answer")
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


def _refusal(url: str, error: urllib.error.HTTPError, headers: Mapping[str, str], deadline: float) -> Exception:
    try:
        said = " ".join(_read(error, deadline).decode("utf-8", "replace").split())
    except (OSError, http.client.HTTPException, ModelError) as unread:
        said = type(unread).__name__
    for value in headers.values():
        said = said.replace(value, "***").replace(value.removeprefix("Bearer "), "***")
    shown = f"status {error.code}: {said[:_MAX_SHOWN]}"
    if error.code in (408, 429) or error.code >= 500:
        return _Busy(shown, _seconds(error.headers.get("Retry-After")))
    return ModelError(f"{url} refused the request, {shown}", reason="request_refused")


def _seconds(text: str | None) -> float:
    """Retry-After in seconds; a date, which it may be too, counts as nothing."""
    return float(text) if text is not None and text.strip().isdigit() else 0.0


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Busy(f"something that is no JSON: {data[:60]!r}", reason="unusable_answer") from error
