"""Pictures from web addresses that a list names: bounded in size and time, and never from inside of a network.

Whoever wrote the list decides what this machine asks for, so an address must not reach what only this machine can
reach (server-side request forgery, CWE-918).
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from functools import cache
from typing import Literal
from urllib.parse import SplitResult, urljoin, urlsplit

from image2music.errors import PictureError
from image2music.images.decode import MAX_BYTES

WebRule = Literal["none", "public", "any"]
"""none: no web address is opened. public: hosts whose every address is public. any: private networks too."""
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
