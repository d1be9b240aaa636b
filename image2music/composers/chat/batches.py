"""Requests that go out together and are answered later, at a lower price, by OpenAI's endpoints for files and batches.

Where a composer puts its requests off, they lie in the ledger's outbox. The desk sends them as files of many lines,
looks after the batches that the server makes of them, and takes answers into the ledger, where the composer finds them
when it asks again. All that is known lies in the ledger, so whoever is killed goes on where it was: a batch is noted
under a name of its own before the server hears of it, and carries that name, so that one whose id nobody got to write
down is found among the server's batches and not sent a second time.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from sqlite3 import Connection
from typing import Any

from image2music.composers.chat.ledger import SPENT, Ledger, Usage
from image2music.composers.chat.sending import RefusedError, RetryPolicy, get_json, post_json, send
from image2music.composers.chat.server import (
    CUT,
    MOST_PICTURE_TOKENS,
    Endpoint,
    answer_text,
    answer_usage,
    request_headers,
    text_of_request,
    was_cut,
)
from image2music.errors import ModelError
from image2music.failures import counted

SHARE_OF_PRICE = 0.5
"""What a batch's answers cost of the usual price."""

MOST_REQUESTS, MOST_BYTES = 50_000, 100_000_000
"""What one file holds. The service takes as many requests, and twice the bytes; those are held in memory here."""

TRIES = 3
"""How often a request is sent that fails inside its batch, or is not answered in time."""

_COMPLETIONS, _WINDOW = "/v1/chat/completions", "24h"
_NAME = "image2music"
_FILE_TIMEOUT_S = 1800.0
_MOST_ANSWERS_BYTES = 2 << 30
_PAGE, _MOST_PAGES = 100, 20
_FIRST_LOOK_S, _LONGEST_LOOK_S = 1.0, 60.0
_CROWDED = "token_limit_exceeded"
_ENDED = ("completed", "failed", "expired", "cancelled")
_PASSING = (408, 429)
_MOST_SHOWN = 300


@dataclass(frozen=True)
class Underway:
    """Requests in batches that have not ended, and how many batches those are; what waits in the outbox beside them."""

    requests: int = 0
    batches: int = 0
    held_back: int = 0

    def __str__(self) -> str:
        return f"{counted(self.requests, 'request')} in {counted(self.batches, 'batch', 'batches')}"


class BatchDesk:
    """Sends what a ledger's outbox holds, and takes in what comes back; for the one process that leads a job.

    Its methods raise ModelError where the server stays out of reach (`server_unavailable`), knows no batches or takes
    none of this account (`request_refused`); what was done so far is in the ledger, and the next call goes on with it.
    `pause` waits; `most_requests` and `most_bytes` bound a file.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        retry_policy: RetryPolicy | None = None,
        pause: Callable[[float], None] = time.sleep,
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._base, self._ledger, self._pause = endpoint.base, ledger, pause
        self._policy = retry_policy or RetryPolicy()
        self._most_requests, self._most_bytes = most_requests, most_bytes

    def underway(self) -> Underway:
        """Return what was sent and has not come back, as the ledger has it."""
        (batches,) = self._rows("select count(*) from submissions where state = 'open' and server = ?", self._base)[0]
        inside = "batch in (select name from submissions where server = ?)"
        (requests,) = self._rows(f"select count(*) from sent where {inside}", self._base)[0]
        (held_back,) = self._rows(
            "select count(*) from outbox where key not in (select key from sent where batch != '')"
        )[0]
        return Underway(requests, batches, held_back)

    def clear(self) -> None:
        """Empty the outbox of what nobody may want any more: a pass fills it with what is wanted now."""
        with self._ledger.connect() as db:
            db.execute("delete from outbox where key not in (select key from sent where batch != '')")

    def submit(self) -> int:
        """Send what lies in the outbox, as far as money and the server's bounds allow; return how many requests.

        What an earlier call began comes first.
        """
        self._finish_begun()
        sent = 0
        while keys := self._next_batch():
            name = self._begin(keys)
            self._send(name)
            sent += len(keys)
        return sent

    def collect(self) -> int:
        """Take in what has come back; return for how many requests: answers, failures, and those to be sent again."""
        self._finish_begun()
        opened = self._rows("select name, id from submissions where state = 'open' and server = ?", self._base)
        return sum(self._take(name, id) for name, id in opened)

    def wait(self, seconds: float) -> int:
        """Collect until every batch has ended, for at most some seconds, with growing pauses; return as `collect`.

        A server that is out of reach meanwhile is waited for.
        """
        end, pause, settled = time.monotonic() + seconds, _FIRST_LOOK_S, 0
        while self.underway().batches and (left := end - time.monotonic()) > 0:
            try:
                settled += self.collect()
            except ModelError as error:
                if error.reason != "server_unavailable":
                    raise
            if self.underway().batches:
                self._pause(min(pause, left))
                pause = min(2 * pause, _LONGEST_LOOK_S)
        return settled

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._ledger.connect() as db:
            return db.execute(query, values).fetchall()

    # Sending: noted, uploaded, made a batch of, noted again.

    def _next_batch(self) -> list[tuple[str, str, float]]:
        """Return key, step and price of the requests that fit into the next file and what may be spent."""
        with self._ledger.connect() as db:
            of_state = "from submissions where state = ? and server = ?"
            crowded = db.execute(f"select min(requests) {of_state}", ("crowded", self._base)).fetchone()[0]
            if crowded and db.execute(f"select 1 {of_state}", ("open", self._base)).fetchone():
                return []  # the server takes more only when some of what it has is done
            most = min(self._most_requests, max(1, crowded // 2)) if crowded else self._most_requests
            room = self._room(db)
            dearest = dict(db.execute("select step, dearest from spent").fetchall())
            found: list[tuple[str, str, float]] = []
            size = 0
            for key, step, body in db.execute("select key, step, body from outbox order by rowid"):
                size += len(_line(key, body))
                if found and (len(found) >= most or size > self._most_bytes):
                    break
                if room <= 0:
                    break
                price = self._price(step, body, dearest)
                found.append((key, step, price))
                room -= price
        return found

    def _room(self, db: Connection) -> float:
        """Return what may still be spent, in the unit of the price."""
        most = self._ledger.max_cost
        return math.inf if most is None else most - float(db.execute(SPENT).fetchone()[0])

    def _begin(self, chosen: Sequence[tuple[str, str, float]]) -> str:
        """Note a batch before the server hears of it; return its name."""
        name = uuid.uuid4().hex
        with self._ledger.connect() as db:
            submission = (name, self._base, len(chosen))
            db.execute("insert into submissions (name, server, requests) values (?, ?, ?)", submission)
            db.executemany(
                "insert into sent (key, step, batch, line, cost) values (?, ?, ?, ?, ?) on conflict (key) do update"
                " set batch = excluded.batch, line = excluded.line, cost = excluded.cost",
                [(key, step, name, line, price) for line, (key, step, price) in enumerate(chosen, 1)],
            )
        return name

    def _finish_begun(self) -> None:
        """Send what was noted and not sent, and find what was sent and not noted."""
        begun = self._rows("select name, file from submissions where state = 'begun' and server = ?", self._base)
        for name, file in begun:
            # Without a file, which is noted first, nobody can have made a batch of it.
            id = self._find(name, file) if file else None
            if id is None:
                self._send(name)
            else:
                self._note(name, id)

    def _send(self, name: str) -> None:
        bodies = self._rows("select key, body from sent join outbox using (key) where batch = ? order by line", name)
        try:
            file = self._upload(name, (_line(key, body) for key, body in bodies))
            with self._ledger.connect() as db:
                db.execute("update submissions set file = ? where name = ?", (file, name))
            self._note(name, self._create(name, file))
        except RefusedError as error:
            self._end(name)
            raise ModelError(f"the server takes no batches: {error}", reason=error.reason) from error

    def _upload(self, name: str, lines: Iterable[bytes]) -> str:
        mark = f"{_NAME}-{name}"
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}.jsonl"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        form = b"".join([head.encode(), *lines, f"\r\n--{mark}--\r\n".encode()])
        headers = request_headers() | {"Content-Type": f"multipart/form-data; boundary={mark}"}
        return _id_of(send("POST", f"{self._base}/files", headers, self._patient, self._pause, data=form))

    def _create(self, name: str, file: str) -> str:
        """Have the server make a batch; return its id. Where its answer is lost, look whether it made one."""
        body = {
            "input_file_id": file,
            "endpoint": _COMPLETIONS,
            "completion_window": _WINDOW,
            "metadata": {_NAME: name},
        }
        once = replace(self._policy, tries=1)
        for failed in count(1):
            try:
                return _id_of(post_json(f"{self._base}/batches", body, request_headers(), once, self._pause))
            except RefusedError:
                raise
            except ModelError:
                if failed >= self._policy.tries:
                    raise
            self._pause(self._policy.pause_after(failed, 0.0))
            if (id := self._find(name, file)) is not None:
                return id
        raise AssertionError

    def _find(self, name: str, file: str) -> str | None:
        """Return the id of the server's batch of this name, or of this file; None where it has none.

        Raises:
            ModelError: also where the server does not list its batches: nobody knows then whether this one is paid.
        """
        address, after = f"{self._base}/batches?limit={_PAGE}", ""
        for _ in range(_MOST_PAGES):
            page = self._get(f"{address}{after}", "its batches cannot be listed")
            for batch in page.get("data") or ():
                if (batch.get("metadata") or {}).get(_NAME) == name or (file and batch.get("input_file_id") == file):
                    return _id_of(batch)
            if not page.get("has_more") or not page["data"]:
                break
            after = f"&after={_id_of(page['data'][-1])}"
        return None

    def _note(self, name: str, id: str) -> None:
        with self._ledger.connect() as db:
            db.execute("update submissions set id = ?, state = 'open' where name = ?", (id, name))
            db.execute("delete from outbox where key in (select key from sent where batch = ?)", (name,))

    # Receiving: answers kept one by one, failures noted, the rest left to be sent again.

    def _take(self, name: str, id: str) -> int:
        """Take in a batch that has ended; return how many of its requests came to anything."""
        batch = self._get(f"{self._base}/batches/{id}", "with another key it may belong to another account")
        if batch.get("status") not in _ENDED:
            return 0
        if batch["status"] == "failed":
            return self._take_refusal(name, batch)
        settled = 0
        for file in filter(None, (batch.get("output_file_id"), batch.get("error_file_id"))):
            content = send(
                "GET", f"{self._base}/files/{file}/content", request_headers(), self._patient, self._pause,
                read=bytes, at_most=_MOST_ANSWERS_BYTES,
            )  # fmt: skip
            settled += self._take_lines(name, content)
        left = self._rows("select key from sent where batch = ?", name)
        for (key,) in left:
            self._fail(key, name, "server_unavailable", "the server did not answer in the time that it gives itself")
        self._end(name)
        return settled + len(left)

    def _take_lines(self, name: str, content: bytes) -> int:
        steps = dict(self._rows("select key, step from sent where batch = ?", name))
        settled = 0
        for result in _results(content):
            key = str(result.get("custom_id"))
            if key in steps:
                self._take_result(key, steps.pop(key), name, result)
                settled += 1
        return settled

    def _take_result(self, key: str, step: str, name: str, result: dict[str, Any]) -> None:
        """Keep an answer, or note why there is none."""
        response = result.get("response") or {}
        status, answer = response.get("status_code"), response.get("body")
        if status != 200:
            said = " ".join(json.dumps(result.get("error") or answer).split())[:_MOST_SHOWN]
            is_final = isinstance(status, int) and 400 <= status < 500 and status not in _PASSING
            reason = "request_refused" if is_final else "server_unavailable"
            return self._fail(key, name, reason, f"inside a batch, status {status}: {said}", final=is_final)
        usage = answer_usage(answer, "")
        try:
            text = answer_text(answer)
        except ModelError as error:
            self._fail(key, name, error.reason, str(error))
            return self._ledger.charge(step, usage, share=SHARE_OF_PRICE)
        is_cut = was_cut(answer) and not self._rows("select 1 from answers where key = ?", key + CUT)
        kept = key + CUT if is_cut else key
        if not self._rows("select 1 from answers where key = ?", kept):  # a killed process may have got so far
            self._ledger.keep(kept, step, text, usage, share=SHARE_OF_PRICE, cut=is_cut)
        with self._ledger.connect() as db:
            db.execute("delete from sent where key = ? and batch = ?", (key, name))
        return None

    def _fail(self, key: str, name: str, reason: str, message: str, *, final: bool = False) -> None:
        """Note that a request came to nothing: to be sent again, or, for the last time, to be its picture's failure."""
        with self._ledger.connect() as db:
            db.execute(
                "update sent set batch = '', tries = tries + 1, message = ?,"
                " reason = case when ? or tries + 1 >= ? then ? else '' end where key = ? and batch = ?",
                (message, final, TRIES, reason, key, name),
            )

    def _take_refusal(self, name: str, batch: dict[str, Any]) -> int:
        """Take in a batch that the server did not begin with: for some lines of it, for its size, or altogether."""
        errors = [error for error in (batch.get("errors") or {}).get("data") or () if isinstance(error, dict)]
        requests = len(self._rows("select key from sent where batch = ?", name))
        if any(error.get("code") == _CROWDED for error in errors) and requests > 1:
            self._end(name, "crowded")
            return requests
        faulty = {error["line"]: str(error.get("message")) for error in errors if error.get("line")}
        for line, message in faulty.items():
            for (key,) in self._rows("select key from sent where batch = ? and line = ?", name, line):
                self._fail(key, name, "request_refused", f"the server refused it in a batch: {message}", final=True)
        self._end(name)
        if not faulty:
            said = "; ".join(str(error.get("message")) for error in errors)[:_MOST_SHOWN]
            raise ModelError(f"the server refused a batch: {said or 'it does not say why'}", reason="request_refused")
        return requests

    def _end(self, name: str, state: str = "") -> None:
        """Forget a batch, and let what it still holds be sent again."""
        with self._ledger.connect() as db:
            db.execute("update sent set batch = '' where batch = ?", (name,))
            if state:
                db.execute("update submissions set state = ? where name = ?", (state, name))
            else:
                db.execute("delete from submissions where name = ?", (name,))

    def _get(self, url: str, remark: str) -> Any:
        try:
            page = get_json(url, request_headers(), self._policy, self._pause)
        except RefusedError as error:
            raise ModelError(
                f"a batch was sent and cannot be found: {error} ({remark})", reason=error.reason
            ) from error
        if not isinstance(page, dict):
            raise ModelError(f"{url} answers with no object: {str(page)[:100]!r}", reason="unusable_answer")
        return page

    @property
    def _patient(self) -> RetryPolicy:
        return replace(self._policy, timeout_s=max(self._policy.timeout_s, _FILE_TIMEOUT_S))

    def _price(self, step: str, body: str, dearest: dict[str, float]) -> float:
        """Return what an answer is thought to cost: like the dearest to its step, else what its request allows."""
        if not (usual := dearest.get(step)):
            request = json.loads(body)
            longest = request.get("max_tokens") or request.get("max_completion_tokens") or 0
            words = len(text_of_request(request)) // 2
            usual = Usage(words + MOST_PICTURE_TOKENS, 0, longest).cost(self._ledger.price)
        return SHARE_OF_PRICE * usual


def _line(key: str, body: str) -> bytes:
    """Return a request as a line of a file; its body is JSON already."""
    head = json.dumps({"custom_id": key, "method": "POST", "url": _COMPLETIONS})
    return f'{head[:-1]}, "body": {body}}}\n'.encode()


def _results(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the results in a file; a line that is none is left out, and its request counts as not answered."""
    for line in content.splitlines():
        try:
            result = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(result, dict):
            yield result


def _id_of(answer: Any) -> str:
    id = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(id, str) or not id:
        raise ModelError(
            f"the server gave no id but {str(answer)[:100]!r}; check the address", reason="unusable_answer"
        )
    return id
