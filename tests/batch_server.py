"""A small server on this machine with OpenAI's endpoints for files, batches and chat completions, and counted money.

It does the work of a batch when it is made, and says so after as many looks as a test wants. Tests choose faults, and
may kill the job that asks, in the middle of an answer.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from chat_server import on_a_free_port

BEFORE, AFTER = "before", "after"
"""Where an endpoint fails: before it does anything, or when all is done and only its answer is lost."""

Verdict = tuple[str, list[dict[str, Any]]]
"""The state that a batch ends in, and its errors."""


@dataclass
class BatchService:
    """What a test sets, and what it counts.

    Attributes:
        answer: what the model says to a request. fault: says of each call (`POST /batches`) by its number, counted by
        that name, whether and where it fails. line_fault: says of each line, by its number, the status that it fails
        with. looks: how often a batch is looked at before it has ended. verdict: of a batch with so many lines, how it
        ends; of one that is `expired` every second line was not answered. upset: called when an endpoint has done its
        work and has not said so. paid: by request, how often it was answered. calls: by name. live: requests for one
        answer at once.
    """

    answer: Callable[[dict[str, Any]], str] = lambda body: "A lake."
    fault: Callable[[str, int], str] = lambda name, number: ""
    line_fault: Callable[[int], int] = lambda number: 0
    looks: int = 0
    verdict: Callable[[int], Verdict] = lambda lines: ("completed", [])
    upset: Callable[[str, int], None] = lambda name, number: None
    url: str = ""
    paid: Counter[str] = field(default_factory=Counter)
    live: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: int = 0

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a request, and have it paid."""
        self.paid[hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()] += 1
        message = {"role": "assistant", "content": self.answer(body)}
        usage = {"prompt_tokens": 1000, "completion_tokens": 100}
        return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}

    def add_file(self, data: bytes) -> str:
        id = f"file-{len(self.files)}"
        self.files[id] = data
        return id

    def make_batch(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Do the work of a batch, and put its results into files."""
        assert (wanted["endpoint"], wanted["completion_window"]) == ("/v1/chat/completions", "24h")
        good, bad = [], []
        lines = [json.loads(line) for line in self.files[wanted["input_file_id"]].splitlines()]
        status, errors = self.verdict(len(lines))
        for number, line in enumerate(lines if status != "failed" else ()):
            assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
            if status == "expired" and number % 2:
                bad.append({"custom_id": line["custom_id"], "response": None, "error": {"code": "batch_expired"}})
                continue
            self.lines += 1
            if code := self.line_fault(self.lines):
                response = {"status_code": code, "body": {"error": {"message": "no"}}}
                bad.append({"custom_id": line["custom_id"], "response": response, "error": None})
                continue
            response = {"status_code": 200, "body": self.complete(line["body"])}
            good.append({"custom_id": line["custom_id"], "response": response, "error": None})
        names = {"output_file_id": good, "error_file_id": bad}
        files = {
            name: self.add_file("\n".join(map(json.dumps, results)).encode()) if results else None
            for name, results in names.items()
        }
        id = f"batch-{len(self.batches)}"
        self.batches[id] = {"id": id, "looked": 0, **wanted, **files, "status": status, "errors": {"data": errors}}
        return self.batches[id]

    def shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        """How a batch looks from outside."""
        if batch["looked"] > self.looks:
            return batch
        return batch | {"output_file_id": None, "error_file_id": None, "status": "in_progress", "errors": None}

    def get(self, path: str) -> Any:
        if path == "/models":
            return {"data": []}
        if path.startswith("/batches?"):
            return self.listed(dict(part.split("=") for part in path.partition("?")[2].split("&")))
        if path.startswith("/batches/"):
            batch = self.batches[path.removeprefix("/batches/")]
            batch["looked"] += 1
            return self.shown(batch)
        return self.files[path.removeprefix("/files/").removesuffix("/content")]

    def listed(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of two batches at most, the newest first."""
        ids = list(reversed(self.batches))
        ids = ids[ids.index(query["after"]) + 1 :] if "after" in query else ids
        return {"data": [self.shown(self.batches[id]) for id in ids[:2]], "has_more": len(ids) > 2}

    def post(self, path: str, data: bytes) -> Any:
        if path == "/files":
            return {"id": self.add_file(file_in(data)), "purpose": "batch"}
        if path == "/batches":
            return self.shown(self.make_batch(json.loads(data)))
        self.live += 1
        return self.complete(json.loads(data))


def file_in(form: bytes) -> bytes:
    """The file of a form that says that it is for a batch."""
    mark = form.partition(b"\r\n")[0]
    fields = {}
    for part in form.split(mark)[1:-1]:
        head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
        fields[head.partition(b'name="')[2].partition(b'"')[0]] = content
    assert fields[b"purpose"] == b"batch"
    return fields[b"file"]


def name_of(method: str, path: str) -> str:
    """A call without the ids and questions in it: `GET /files/content`."""
    kind = path.partition("?")[0].strip("/").split("/")
    return f"{method} /{'/'.join(part for part in kind if not part.startswith(('file-', 'batch-')))}"


@contextmanager
def serving_batches() -> Iterator[BatchService]:
    """A server on a free port, until the block ends."""
    service, lock = BatchService(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.serve("GET", lambda path: service.get(path))

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            self.serve("POST", lambda path: service.post(path, data))

        def serve(self, method: str, work: Callable[[str], Any]) -> None:
            path = self.path.removeprefix("/v1")
            name = name_of(method, path)
            with lock:
                service.calls[name] += 1
                number = service.calls[name]
                fault = service.fault(name, number)
                try:
                    answer = work(path) if fault != BEFORE else None
                    status = 503 if fault else 200
                except KeyError:
                    status, answer = 404, {"error": {"message": "there is no such thing"}}
            service.upset(name, number)
            answer = {"error": {"message": "busy"}} if fault else answer
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            with suppress(ConnectionError):  # whoever asked may be gone
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with on_a_free_port(Handler) as service.url:
        yield service
