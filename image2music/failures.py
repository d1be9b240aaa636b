"""Failures that stay with the element that caused them: reasons, words, and batches that fall back to single calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from image2music.errors import Image2MusicError, ModelError
from image2music.types import Failure

_LONGEST_MESSAGE = 500
_TRACEBACK = "Traceback (most recent call last)"
_IN_RUST = re.compile(r",? /\S+\.rs:\d+:\d+")


def failure_from(error: Exception, *, stage: str, id: str, uri: str) -> Failure:
    """Return the failure of one element in one stage."""
    return Failure(stage=stage, id=id, uri=uri, reason=reason_of(error), message=one_line(error))


def reason_of(error: Exception) -> str:
    """Return the error's own word; for errors that are not this project's, one made of the name of their class."""
    if isinstance(error, Image2MusicError):
        return error.reason
    if isinstance(error, OSError):
        return "unreadable_file"
    return f"unexpected_{type(error).__name__}"


def one_line(error: Exception) -> str:
    """Return the message without line breaks, shortened to what a person reads; the class's name where it is empty.

    Where a worker process sends a whole traceback as its message, only its last line counts. Lance names places in its
    own source, which are left out.
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    if lines and lines[0].startswith(_TRACEBACK):
        lines = [lines[-1].removeprefix("RuntimeError: ")]
    text = _IN_RUST.sub("", " ".join(" ".join(lines).split())) or type(error).__name__
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 3]}..."


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with what it counts: `1 row`, `2,000 rows`; `several` are the words for other numbers than 1."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


Request = TypeVar("Request")
Answer = TypeVar("Answer")


def batch_with_fallback(
    call: Callable[[Sequence[Request]], Iterable[Answer]], requests: Sequence[Request]
) -> list[Answer | Exception]:
    """Return one answer or one exception for each request, in order.

    The batch goes first; only if it raises is each request asked alone, so that a bad element costs its neighbours
    time and no results.
    """
    if not requests:
        return []
    try:
        return [*_answers(call, requests)]
    except Exception as error:  # a model may raise anything; it comes back as this element's answer
        if len(requests) == 1:
            return [error]
    return map_catching(lambda request: _answers(call, [request])[0], requests)


def map_catching(call: Callable[[Request], Answer], requests: Sequence[Request]) -> list[Answer | Exception]:
    """Return one answer or one exception for each request, asked one by one."""
    return [_attempt(call, request) for request in requests]


def _attempt(call: Callable[[Request], Answer], request: Request) -> Answer | Exception:
    try:
        return call(request)
    except Exception as error:  # as above
        return error


def _answers(call: Callable[[Sequence[Request]], Iterable[Answer]], requests: Sequence[Request]) -> list[Answer]:
    answers = list(call(requests))
    if len(answers) != len(requests):
        message = f"the model gave {len(answers)} answers to {len(requests)} requests"
        raise ModelError(message, reason="wrong_number_of_answers")
    return answers
