import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from image2music.errors import PictureError
from image2music.images.sources import fetch, is_public


class Site(BaseHTTPRequestHandler):
    """Pictures, redirects, errors and a page that never ends."""

    def do_GET(self):
        if self.path.startswith("/to"):
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
            return
        self.send_response(200 if self.path in ("/picture", "/slow", "/endless", "/cut") else 404)
        if self.path == "/cut":
            self.send_header("Content-Length", "1000")
        self.end_headers()
        if self.path in ("/picture", "/cut"):
            self.wfile.write(b"pixels")
        while self.path in ("/slow", "/endless"):
            try:
                self.wfile.write(b"x" * (1 if self.path == "/slow" else 65536))
            except OSError:
                return
            time.sleep(0.05 if self.path == "/slow" else 0)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def reason(url, rule="any", **bounds):
    with pytest.raises(PictureError) as caught:
        fetch(url, rule, **bounds)
    return caught.value.reason


def test_a_picture_is_fetched_over_redirects(site):
    assert fetch(f"{site}/to?/to?{site}/picture", "any") == b"pixels"


def test_a_picture_that_breaks_off_is_not_taken_for_a_whole_one(site):
    assert reason(f"{site}/cut") == "web_unreachable"


def test_bounds(site):
    assert reason(f"{site}/endless", at_most=10**6) == "file_too_large"
    assert reason(f"{site}/slow", seconds=0.3) == "web_timeout"
    assert reason(f"{site}/to?/to?/to?/to?/to?/to?/to?/picture") == "web_redirects"


def test_what_the_server_refuses_has_a_reason(site):
    assert reason(f"{site}/nothing") == "web_status"
    assert reason("http://127.0.0.1:9/picture") == "web_unreachable"


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "http://user:word@example.org/", "http://", "http://a.org:99999/", "http://a b/"],
)
def test_other_addresses_are_refused(url):
    assert reason(url) == "bad_address"


def test_a_redirect_out_of_the_web_is_refused(site):
    assert reason(f"{site}/to?file:///etc/passwd") == "bad_address"


def test_private_hosts_are_opened_only_where_any_host_is(site):
    assert reason(f"{site}/picture", "public") == "private_address"
    assert reason("http://localhost/picture", "public") == "private_address"
    assert reason(f"{site}/picture", "none") == "web_not_allowed"


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "0.0.0.0", "::1", "fe80::1%eth0", "fd00::1",
     "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1"],
)  # fmt: skip
def test_addresses_inside_of_networks_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)
