"""An HTTP proxy in front of an S3 server that does what networks and busy stores do, by a plan that a seed makes.

`busy` answers 503 without asking the server, `slow` answers late, `cut` closes the connection before the request is
passed on, `cut_body` closes it in the middle of the answer's body, and `lost` lets the server do the work and closes
the connection without an answer. `refuse` answers every write with 403 AccessDenied, as for a bucket that is read only.
"""

import http.client
import random
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("busy", "slow", "cut", "cut_body", "lost")
_BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_REFUSED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_HOP = {"connection", "transfer-encoding", "keep-alive"}


class FaultProxy:
    """Passes requests on to `server` (host:port), but for the faults of `kinds`, which strike a share of them.

    No two requests in a row fail, so that a client which asks again gets its answer. `struck` counts the faults.
    """

    def __init__(self, server, kinds=(), share=0.3, seed=0, slow=1.0):
        self.server, self.kinds, self.share, self.slow = server, tuple(kinds), share, slow
        self.struck, self.requests, self.refuse = Counter(), 0, False
        self._dice, self._lock, self._last = random.Random(seed), threading.Lock(), False

    def fault(self):
        with self._lock:
            self.requests += 1
            strikes = bool(self.kinds) and not self._last and self._dice.random() < self.share
            self._last = strikes
            kind = self._dice.choice(self.kinds) if strikes else ""
            self.struck[kind] += bool(kind)
            return kind

    @contextmanager
    def running(self):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kind = proxy.fault()
                if proxy.refuse and self.command in ("PUT", "DELETE"):
                    return self.say(403, _REFUSED)
                if kind == "busy":
                    return self.say(503, _BUSY)
                if kind == "cut":
                    return self.cut()
                status, headers, data = self.passed_on(body)
                if kind == "slow":
                    time.sleep(proxy.slow)
                if kind == "lost":
                    return self.cut()
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in {*_HOP, "content-length"}:
                        self.send_header(name, value)
                length = next((value for name, value in headers if name.lower() == "content-length"), str(len(data)))
                self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
                self.end_headers()
                if kind == "cut_body":
                    self.wfile.write(data[: len(data) // 2])
                    return self.cut()
                self.wfile.write(data)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

            def passed_on(self, body):
                line = http.client.HTTPConnection(proxy.server, timeout=30)
                try:
                    headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                    line.request(self.command, self.path, body=body, headers=headers)
                    answer = line.getresponse()
                    return answer.status, answer.getheaders(), answer.read()
                finally:
                    line.close()

            def say(self, status, text):
                self.send_response(status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            def cut(self):
                self.close_connection = True
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):
                pass

        with Server(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_address[1]}"
            try:
                yield self
            finally:
                server.shutdown()
