"""A small server on this machine that speaks OpenAI's chat completions, with answers that a test chooses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LATE = "X-Late"
Reply = tuple[int, Any, dict[str, str]]
"""Status, body (bytes as they are, anything else as JSON) and headers."""


def says(text: str) -> Reply:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}, {}


def late(reply: Reply, seconds: float) -> Reply:
    """The same, but it comes later."""
    return *reply[:2], {**reply[2], LATE: str(seconds)}


@dataclass
class Server:
    """`replies` are given one by one, the last again and again, unless `answer` says otherwise; `seen` keeps all.

    With `drip_s` an answer comes byte by byte, with so many seconds between them.
    """

    url: str = ""
    replies: list[Reply] = field(default_factory=lambda: [says("A lake.")])
    answer: Callable[[dict[str, Any]], Reply] | None = None
    seen: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    barrier: threading.Barrier | None = None
    drip_s: float = 0.0

    def reply(self, body: dict[str, Any]) -> Reply:
        if self.answer is not None:
            return self.answer(body)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port, until the block ends."""
    served, lock = Server(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                served.seen.append((self.path, dict(self.headers), body))
                status, answer, headers = served.reply(body)
            time.sleep(float(headers.get(LATE, 0)))
            if served.barrier is not None:
                served.barrier.wait(timeout=10)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked may not have waited
                for part in (data,) if not served.drip_s else (data[at : at + 1] for at in range(len(data))):
                    time.sleep(served.drip_s)
                    self.wfile.write(part)

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{http.server_port}/v1"
    yield served
    http.shutdown()
    http.server_close()
    thread.join(timeout=10)
