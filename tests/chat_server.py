"""A small server on this machine that speaks OpenAI's chat completions, with answers that a test chooses.

What it is asked and what it is paid for is counted, and it can be as particular as real servers are.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LATE = "X-Late"
Reply = tuple[int, Any, dict[str, str]]
"""Status, body (bytes as they are, anything else as JSON) and headers."""


def says(text: str, usage: tuple[int, int, int] | None = None, end: str = "stop", **headers: str) -> Reply:
    """An answer; `usage` are tokens of the prompt, of these cached, and of the answer. Headers are named with `_`."""
    message = {"role": "assistant", "content": text}
    answer: dict[str, Any] = {"choices": [{"message": message, "finish_reason": end}]}
    if usage is not None:
        prompt, cached, completion = usage
        answer["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
    return 200, answer, {name.replace("_", "-"): value for name, value in headers.items()}


def late(reply: Reply, seconds: float) -> Reply:
    """The same, but it comes later."""
    return *reply[:2], {**reply[2], LATE: str(seconds)}


def refuses(message: str, parameter: str | None = None, status: int = 400) -> Reply:
    """A refusal in OpenAI's words."""
    return status, {"error": {"message": message, "type": "invalid_request_error", "param": parameter}}, {}


def particular(answer: Callable[[dict[str, Any]], Reply], *refused: str) -> Callable[[dict[str, Any]], Reply]:
    """Answer only requests that have none of the parameters."""

    def reply(body: dict[str, Any]) -> Reply:
        named = next((name for name in refused if name in body), None)
        if named is None:
            return answer(body)
        return refuses(f"Unsupported parameter: '{named}' is not supported with this model.", named)

    return reply


def unreliable(answer: Callable[[dict[str, Any]], Reply], share: float, seed: int) -> Callable[[dict[str, Any]], Reply]:
    """Fail a share of all requests, by chance: busy, broken, garbage or a rate limit."""
    chance = random.Random(seed)
    failures: list[Reply] = [
        (503, {"error": "busy"}, {}),
        (500, {"error": "broken"}, {}),
        (200, b"<html>busy</html>", {}),
        (429, {"error": "slower"}, {"Retry-After": "0.01"}),
    ]

    def reply(body: dict[str, Any]) -> Reply:
        return chance.choice(failures) if chance.random() < share else answer(body)

    return reply


@dataclass
class Server:
    """`replies` are given one by one, the last again and again, unless `answer` says otherwise; `seen` keeps all.

    With `drip_s` an answer comes byte by byte, with so many seconds between them. `pages` are what GET finds by its
    path. `paid` counts the answers by their request: what was asked for is what is paid, whoever waits for it.
    """

    url: str = ""
    replies: list[Reply] = field(default_factory=lambda: [says("A lake.")])
    answer: Callable[[dict[str, Any]], Reply] | None = None
    seen: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    pages: dict[str, Any] = field(default_factory=dict)
    paid: Counter[str] = field(default_factory=Counter)
    barrier: threading.Barrier | None = None
    drip_s: float = 0.0

    def reply(self, body: dict[str, Any]) -> Reply:
        if self.answer is not None:
            return self.answer(body)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    @property
    def paid_twice(self) -> int:
        return sum(number - 1 for number in self.paid.values())

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, _, body in self.seen]


def digest(body: dict[str, Any]) -> str:
    """Tell a request from others by what is asked, however it is shaped."""
    asked = {name: body.get(name) for name in ("model", "messages", "seed")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@contextmanager
def on_a_free_port(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve with a handler on this machine until the block ends; its address, with /v1 behind."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/v1"
    http.shutdown()
    http.server_close()
    thread.join(timeout=10)


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port, until the block ends."""
    served, lock = Server(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = served.pages.get(self.path)
            self.give(404 if found is None else 200, json.dumps(found).encode(), {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                served.seen.append((self.path, dict(self.headers), body))
                status, answer, headers = served.reply(body)
                if status == 200 and isinstance(answer, dict) and answer.get("choices"):
                    served.paid[digest(body)] += 1
            time.sleep(float(headers.get(LATE, 0)))
            if served.barrier is not None:
                served.barrier.wait(timeout=10)
            self.give(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode(), headers)

        def give(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            with suppress(ConnectionError):  # whoever asked may not have waited
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for part in (data,) if not served.drip_s else (data[at : at + 1] for at in range(len(data))):
                    time.sleep(served.drip_s)
                    self.wfile.write(part)

        def log_message(self, *args: object) -> None:
            pass

    with on_a_free_port(Handler) as served.url:
        yield served
