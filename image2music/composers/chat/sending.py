"""How requests reach a server: tries and pauses, rate limits by the server's own headers, and what a server refuses.

A request has a time-out for the whole of it, is tried again with growing pauses while the server is busy, and takes an
answer of bounded size. Where the server names a time to wait for its rate limits, all threads of the process wait until
then, and no try is used up. No redirect is followed, and no message or log holds the key.
"""

from __future__ import annotations

import json
import math
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from image2music.composers.constrained.forms import JsonForm, LinesForm, TuneForm, pattern_of
from image2music.errors import ConfigError, ModelError, PutOffError

MAX_ANSWER_BYTES = 8 * 2**20

LONGEST_WAIT_S = 3600.0
"""What a request waits for rate limits, all in all. Where a server asks for more, its picture is put off."""

_LONGEST_PAUSE_S = 60.0
_MAX_SHOWN = 200
_REACHABLE_S = 30.0
_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
_NO_QUOTA = "insufficient_quota"

Pause = Callable[[float], None]
"""Waits for so many seconds; raises where nobody waits for the answer any more."""


@dataclass(frozen=True)
class RetryPolicy:
    """When a request is given up, and when it is tried again.

    Attributes:
        timeout_s: seconds for one whole request.
        tries: how often one is sent, the first time included; waiting for rate limits does not count.
        first_pause_s: seconds before the second try; each further pause is twice as long.
    """

    timeout_s: float = 600.0
    tries: int = 5
    first_pause_s: float = 1.0

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.tries < 1 or self.first_pause_s < 0:
            raise ConfigError("a request needs a time-out above 0 and at least one try", reason="bad_retry_policy")

    def pause_after(self, failed: int, asked_for_s: float) -> float:
        """Return the seconds to wait after so many failed tries: what the server asks for, or what this policy does."""
        return min(_LONGEST_PAUSE_S, max(asked_for_s, self.first_pause_s * 2 ** (failed - 1)))


class RefusedError(ModelError):
    """A request that the server does not take, whoever asks how often; `parameter` is what it names as the cause."""

    def __init__(
        self, message: str, *, reason: str = "request_refused", status: int = 0, said: str = "", parameter: str = ""
    ) -> None:
        super().__init__(message, reason=reason)
        self.status, self.said, self.parameter = status, said, parameter


class _Busy(Exception):  # noqa: N818 - a state of the server, and no error to anyone outside of this module
    """Worth another try. `reason` is what it counts as if no try succeeds."""

    def __init__(self, message: str, retry_after_s: float = 0.0, reason: str = "server_unavailable") -> None:
        super().__init__(message)
        self.retry_after_s, self.reason = retry_after_s, reason


class _Limited(_Busy):
    """A rate limit, with the time that the server asks to wait."""


class Gate:
    """When the next request may be sent to a server, by what it said of its rate limits; one for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opens_at = -math.inf
        self._closed_s = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether requests wait now."""
        return time.monotonic() < self._opens_at

    @property
    def closed_s(self) -> float:
        """For how many seconds it has been closed so far."""
        with self._lock:
            return self._closed_s - max(0.0, self._opens_at - time.monotonic())

    def close(self, seconds: float) -> None:
        """Let nothing through for some seconds from now on, or for longer where that was said before."""
        with self._lock:
            now = time.monotonic()
            self._closed_s += max(0.0, now + seconds - max(now, self._opens_at))
            self._opens_at = max(self._opens_at, now + seconds)

    def wait(self, pause: Pause) -> float:
        """Wait until requests may be sent; return for how many seconds.

        Raises:
            PutOffError: that would be too long (`rate_limit`).
        """
        begun = time.monotonic()
        while (left := self._opens_at - time.monotonic()) > 0:
            if left > LONGEST_WAIT_S:
                raise _too_long(left)
            pause(left)
        return time.monotonic() - begun

    def heed(self, headers: Mapping[str, str], tokens: int) -> None:
        """Close where the server's headers say that nothing is left for a request of so many tokens."""
        for what, needed in (("requests", 1), ("tokens", tokens)):
            left, limit = (_whole(headers.get(f"x-ratelimit-{kind}-{what}")) for kind in ("remaining", "limit"))
            reset = duration_s(headers.get(f"x-ratelimit-reset-{what}"))
            if left is None or not reset or left >= min(needed, limit or needed):
                continue
            # The reset is when all is there again; what one request needs is there earlier.
            share = (needed - left) / (limit - left) if limit and needed < limit else 1.0
            self.close(reset * min(1.0, share if left else 1.0))


def _too_long(seconds: float) -> PutOffError:
    message = f"the server's rate limit asks for {seconds / 60:.0f} minutes: the same command goes on later"
    return PutOffError(message, reason="rate_limit")


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(text: str | None) -> float:
    """Read a header's time as seconds from now: `7`, `1.5`, `6m0s`, `20ms`, or a moment; 0 where it is none.

    A moment is a date of HTTP or ISO 8601, or seconds or milliseconds since 1970.
    """
    text = (text or "").strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        number = float(text)
        since_1970 = number / 1000 if number > 1e12 else number
        return number if number < 1e9 else max(0.0, since_1970 - time.time())
    if re.fullmatch(rf"(?:{_PARTS.pattern})+", text):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PARTS.findall(text))
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            then = read(text)
        except ValueError:
            continue
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max(0.0, (then - datetime.now(UTC)).total_seconds())
    return 0.0


def post_json(
    url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    retry_policy: RetryPolicy,
    pause: Pause = time.sleep,
    gate: Gate | None = None,
    tokens: int = 0,
) -> Any:
    """Return what the server answers, as JSON.

    Status 408, 429 and 5xx, a lost connection, and what is no JSON are tried again. No redirect is followed: it would
    carry the key and the picture to an address that nobody named. `gate` is shared by all who ask this server, and
    `tokens` is what the request counts for in its limits.

    Raises:
        RefusedError: it refuses the request (`request_refused`).
        ModelError: it stays busy or out of reach (`server_unavailable`), or answers with something else than JSON
            (`unusable_answer`). No message holds a header's value.
        PutOffError: its limits ask for more patience than a job has (`rate_limit`), or what was paid in advance is used
            up (`no_quota`).
    """
    sent = {"Content-Type": "application/json", **headers}
    return send("POST", url, sent, retry_policy, pause, gate, data=json.dumps(body).encode(), tokens=tokens)


def get_json(url: str, headers: Mapping[str, str], retry_policy: RetryPolicy, pause: Pause = time.sleep) -> Any:
    """Return what lies at an address, as JSON; raises as `post_json`."""
    return send("GET", url, headers, retry_policy, pause)


def send(
    method: str,
    url: str,
    headers: Mapping[str, str],
    retry_policy: RetryPolicy,
    pause: Pause = time.sleep,
    gate: Gate | None = None,
    *,
    data: bytes | None = None,
    tokens: int = 0,
    read: Callable[[bytes], Any] | None = None,
    at_most: int = MAX_ANSWER_BYTES,
) -> Any:
    """Send a request and return what `read` makes of the answer, by default its JSON; raises as `post_json`."""
    gate, failed, waited = gate or Gate(), 0, 0.0
    while True:
        waited += gate.wait(pause)
        try:
            return _send_once(
                method, url, data, headers, retry_policy.timeout_s, gate, tokens, read or _json_of, at_most
            )
        except _Limited as limited:
            if waited + limited.retry_after_s > LONGEST_WAIT_S:
                raise _too_long(limited.retry_after_s) from limited
            gate.close(limited.retry_after_s)
        except _Busy as busy:
            failed += 1
            if failed >= retry_policy.tries:
                message = f"{url} gave no answer in {failed} tries, the last: {busy}; check the address, or try later"
                raise ModelError(message, reason=busy.reason) from busy
            pause(retry_policy.pause_after(failed, busy.retry_after_s))


def check_reachable(url: str) -> None:
    """Return if anyone answers at an address, whatever the answer.

    Raises:
        ModelError: nobody does (`server_unavailable`).
    """
    try:
        with _client(url, _REACHABLE_S) as client, client.stream("GET", url):
            return
    except _NOT_CONNECTED as error:
        message = f"nobody answers at {url}: {_cause(error)}; start the server, or mend the address"
        raise ModelError(message, reason="server_unavailable") from error
    except httpx2.TransportError:
        return  # whoever breaks off or is slow is there


@contextmanager
def _client(url: str, timeout_s: float) -> Iterator[httpx2.Client]:
    """Open a client that takes the environment's proxies as urllib does, and nothing else from the environment."""
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    if proxy is not None and "://" not in proxy:
        proxy = f"http://{proxy}"
    try:
        client = httpx2.Client(
            proxy=proxy, timeout=timeout_s, verify=_certificates(), trust_env=False, follow_redirects=False
        )
    except (ValueError, ImportError) as error:
        raise ModelError(f"the environment's proxy cannot be used: {error}", reason="server_unavailable") from error
    with client:
        yield client


@cache
def _certificates() -> ssl.SSLContext:
    """Load the system's certificates, once: that takes longer than a request."""
    return ssl.create_default_context()


def _send_once(
    method: str,
    url: str,
    data: bytes | None,
    headers: Mapping[str, str],
    timeout_s: float,
    gate: Gate,
    tokens: int,
    read: Callable[[bytes], Any],
    at_most: int,
) -> Any:
    # Compressed answers could be larger than they look.
    sent = {"Accept-Encoding": "identity", **headers}
    deadline = time.monotonic() + timeout_s
    try:
        with _client(url, timeout_s) as client, client.stream(method, url, content=data, headers=sent) as response:
            if not response.is_success:
                raise _refusal(url, response, headers, deadline)
            gate.heed(response.headers, tokens)
            return read(_read(response, deadline, at_most))
    except httpx2.TransportError as error:  # a lost or refused connection, or a time-out
        raise _Busy(_cause(error)) from error


def _cause(error: BaseException) -> str:
    """Return what went wrong with a connection, in the operating system's words where it has some."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _read(response: httpx2.Response, deadline: float, at_most: int) -> bytes:
    """Read the whole answer; a server that drips bytes does not hold a worker for longer than the time-out."""
    parts, size = [], 0
    for part in response.iter_raw():
        parts.append(part)
        size += len(part)
        if size > at_most:
            raise ModelError(f"the answer is longer than {at_most} bytes", reason="unusable_answer")
        if time.monotonic() > deadline:
            raise httpx2.ReadTimeout("the answer took too long")
    return b"".join(parts)


def _refusal(url: str, response: httpx2.Response, headers: Mapping[str, str], deadline: float) -> Exception:
    try:
        text = _read(response, deadline, MAX_ANSWER_BYTES).decode("utf-8", "replace")
    except (httpx2.TransportError, ModelError) as unread:
        text = type(unread).__name__
    for value in (value for name, value in headers.items() if name != "Content-Type"):
        text = text.replace(value, "***").replace(value.removeprefix("Bearer "), "***")
    said = " ".join(text.split())
    shown = f"status {response.status_code}: {said[:_MAX_SHOWN]}"
    if response.status_code == 429 and _NO_QUOTA in said:
        message = f"{url}: what was paid in advance is used up; the same command goes on once it is not: {shown}"
        return PutOffError(message, reason="no_quota")
    if response.status_code == 429 and (seconds := _limit_s(response.headers)):
        return _Limited(shown, seconds)
    if response.status_code in (408, 429) or response.status_code >= 500:
        return _Busy(shown, duration_s(response.headers.get("Retry-After")))
    message = f"{url} refused the request, {shown}"
    return RefusedError(message, status=response.status_code, said=said, parameter=_parameter(text))


def _limit_s(headers: Mapping[str, str]) -> float:
    """Return how long a refused request is to wait, in seconds; 0 where the server does not say."""
    if asked_for := duration_s(headers.get("retry-after-ms")) / 1000 or duration_s(headers.get("retry-after")):
        return asked_for
    resets = {what: duration_s(headers.get(f"x-ratelimit-reset-{what}")) for what in ("requests", "tokens")}
    used_up = [resets[what] for what in resets if headers.get(f"x-ratelimit-remaining-{what}") == "0"]
    return max(used_up or resets.values())


def _parameter(text: str) -> str:
    """Return the parameter that an error names as its cause; empty where it names none."""
    try:
        error = json.loads(text)["error"]
        return str(error["param"] or "")
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _json_of(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Busy(f"something that is no JSON: {data[:60]!r}", reason="unusable_answer") from error


ROOM = 2
"""How many times an answer's tokens are asked for: what is not written is not paid, what is cut is paid twice."""

THINKING_ROOM = 8
"""The same for a model whose answers have hidden thoughts, which count as tokens of the answer."""

_FEWEST_TOKENS = 64
_LENGTHS = ("max_tokens", "max_completion_tokens")
_SAMPLING = ("temperature", "top_p", "seed")
_REFUSALS = (400, 422)
_MOST_OUT = re.compile(r"(?:at most|maximum of|up to|less than or equal to) [`'\"]?(\d+)")
_ABOUT_LENGTH = ("max_tokens", "max_completion_tokens", "completion tokens", "output tokens", "context")
_CONTEXT = re.compile(r"maximum (?:context|model) length (?:is|of) (\d+)")
_PROMPT = re.compile(r"(\d+) (?:input tokens|tokens? (?:from|in) the (?:input )?(?:messages|prompt)|in the messages)")
_TOO_LONG = ("too large", "too long", "context length", "context window", "at most", "maximum", "exceed")


@dataclass(frozen=True)
class Extra:
    """Fields of a request that some servers take, which help but are not needed; `name` tells them from others."""

    name: str
    fields: Mapping[str, Any]


def json_extras(form: JsonForm) -> list[Extra]:
    """Return what tells a server of a JSON form: the schema, kept strictly or not, or JSON alone."""
    schema = {"name": form.name, "schema": json.loads(form.schema)}
    formats: list[tuple[str, Mapping[str, Any]]] = [
        (f"strict schema {form.name}", {"type": "json_schema", "json_schema": {**schema, "strict": True}}),
        (f"schema {form.name}", {"type": "json_schema", "json_schema": schema}),
        ("json", {"type": "json_object"}),
    ]
    return [Extra(name, {"response_format": value}) for name, value in formats]


@dataclass(frozen=True)
class ServerKind:
    """What a server says that it is; only of vLLM is it known how it takes a grammar, and in which version."""

    is_vllm: bool = False
    version: tuple[int, ...] = ()

    @classmethod
    def ask(cls, base: str, model: str, headers: Mapping[str, str], pause: Pause = time.sleep) -> ServerKind:
        """Ask a server at its lists of models and, if it is vLLM, of its version; one that does not say is none."""
        once = RetryPolicy(timeout_s=_REACHABLE_S, tries=1)
        try:
            models = get_json(f"{base}/models", headers, once, pause)["data"]
            owners = [str(one.get("owned_by")) for one in models if one.get("id") == model]
            if "vllm" not in owners:
                return cls()
            said = str(get_json(f"{base.removesuffix('/v1')}/version", headers, once, pause)["version"])
        except (ModelError, KeyError, TypeError, AttributeError):
            return cls()
        return cls(True, tuple(int(part) for part in re.findall(r"\d+", said)[:2]))

    def music_extras(self, form: LinesForm | TuneForm) -> list[Extra]:
        """Return what has this server keep to a form of music: vLLM 0.12 knows one name, those before 0.11 the other.

        Source: docs.vllm.ai, Structured Outputs.
        """
        if not self.is_vllm:
            return []
        is_new, kind = self.version >= (0, 11), type(form).__name__
        patterns = {"whole": pattern_of(form), "loose": _loose_pattern(form)}
        return [
            Extra(
                f"{how} pattern of {kind}",
                {"structured_outputs": {"regex": pattern}} if is_new else {"guided_regex": pattern},
            )
            for how, pattern in patterns.items()
        ]


_BAR = r"[A-Ga-z0-9,/'^_=\[\]()!.<> -]+\|"
"""A bar as far as letters go, for engines that do not take the whole pattern."""


def _loose_pattern(form: LinesForm | TuneForm) -> str:
    if isinstance(form, TuneForm):
        return r"X:1\n(T:[^\n]+\n|[CMLQ]:[^\n]+\n)+K:[^\n]+\n((V:|%|\[V:|[A-Ga-gz(!\[^_=])[^\n]+\n?)+"
    return r"\n".join(f"{_quoted(line.prefix)} ?({_BAR}){{{line.bars}}}" for line in form.lines) + r"\n?"


def _quoted(text: str) -> str:
    return re.sub(r"[\\.^$*+?{}\[\]|()]", r"\\\g<0>", text).replace("\n", r"\n")


@dataclass(frozen=True)
class RequestShape:
    """What a server was found to take; learnt from refusals, which cost nothing, and kept as long as the process lives.

    Attributes:
        refused: parameters, and names of extras, that it does not take. most_tokens: the longest answer that may be
        asked for. most_here: the same for one request, whose prompt leaves no more room. thinks: whether its answers
        have hidden thoughts.
    """

    refused: frozenset[str] = frozenset()
    most_tokens: int | None = None
    most_here: int | None = None
    thinks: bool = False

    def body(self, wanted: Mapping[str, Any], extras: Sequence[Extra], room: int = 1) -> dict[str, Any]:
        """Return the request to send for the one that is wanted, with the first extra that was not refused."""
        body = {name: value for name, value in wanted.items() if name not in {*_LENGTHS, *self.refused}}
        length = next((name for name in _LENGTHS if name not in self.refused), None)
        if length is not None:
            body[length] = self.answer_tokens(wanted, room)
        extra = self._extra(extras)
        return body | dict(extra.fields) if extra is not None else body

    def answer_tokens(self, wanted: Mapping[str, Any], room: int = 1) -> int:
        """Return the most tokens that the answer to a request may have."""
        tokens = wanted["max_tokens"] * room * (THINKING_ROOM if self.thinks else ROOM)
        return min(most for most in (tokens, self.most_tokens, self.most_here) if most is not None)

    def _extra(self, extras: Sequence[Extra]) -> Extra | None:
        return next((one for one in extras if one.name not in self.refused), None)

    def after(self, refusal: RefusedError, sent: Mapping[str, Any], extras: Sequence[Extra]) -> RequestShape | None:
        """Return the shape to try after a refusal; None where the request itself is what the server does not take."""
        if refusal.status not in _REFUSALS:
            return None
        said, extra = refusal.said.lower(), self._extra(extras)
        length = next((name for name in _LENGTHS if name in sent), None)
        is_too_long = any(words in said for words in _TOO_LONG) and any(words in said for words in _ABOUT_LENGTH)
        if length is not None and is_too_long:
            return self._shorter(said, sent[length])
        named = refusal.parameter.partition(".")[0].partition("[")[0]
        may_go = [name for name in (*_LENGTHS, *_SAMPLING) if name in sent]
        if named not in may_go:
            places = {name: at for name in may_go if (at := _place(name, said)) >= 0}
            named = min(places, key=lambda name: places[name], default="")
        if named:
            return replace(self, refused=self.refused | {named})
        return replace(self, refused=self.refused | {extra.name}) if extra is not None else None

    def _shorter(self, said: str, tokens: int) -> RequestShape | None:
        """Ask for what the server says that there is room for, or else for half; None where there is none left."""
        context, prompt, most = (pattern.search(said) for pattern in (_CONTEXT, _PROMPT, _MOST_OUT))
        if most and not context and 0 < int(most[1]) < tokens:
            return replace(self, most_tokens=int(most[1]))
        left = int(context[1]) - int(prompt[1]) if context and prompt else tokens // 2
        left = left if left < tokens else tokens // 2
        return replace(self, most_here=left) if left >= _FEWEST_TOKENS else None

    def having_seen(self, answer: Any) -> RequestShape:
        """Return the shape after an answer, which may show that its model thinks."""
        return replace(self, thinks=True) if not self.thinks and _has_thoughts(answer) else self

    def to_json(self) -> str:
        """Return what holds for all requests, as JSON."""
        return json.dumps([sorted(self.refused), self.most_tokens, self.thinks])

    @classmethod
    def from_json(cls, text: str) -> RequestShape:
        """Read what `to_json` wrote."""
        refused, most_tokens, thinks = json.loads(text)
        return cls(frozenset(refused), most_tokens, thinks=thinks)

    def merged(self, other: RequestShape) -> RequestShape:
        """Return what both know of a server in general."""
        bounds = [shape.most_tokens for shape in (self, other) if shape.most_tokens is not None]
        return RequestShape(self.refused | other.refused, min(bounds, default=None), thinks=self.thinks or other.thinks)


def _place(name: str, said: str) -> int:
    found = re.search(rf"(?<![a-z_]){name}(?![a-z_])", said)
    return found.start() if found else -1


def _has_thoughts(answer: Any) -> bool:
    try:
        message, usage = answer["choices"][0]["message"], answer.get("usage") or {}
        details = usage.get("completion_tokens_details") or {}
        return bool(message.get("reasoning_content") or message.get("reasoning") or details.get("reasoning_tokens"))
    except (KeyError, IndexError, TypeError, AttributeError):
        return False
