"""A batched call to a model whose failure stays with the element that caused it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from image2music.errors import ModelError

Request = TypeVar("Request")
Answer = TypeVar("Answer")


def ask(call: Callable[[Sequence[Request]], Iterable[Answer]], requests: Sequence[Request]) -> list[Answer | Exception]:
    """One answer or one exception for each request, in order.

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
    return each(lambda request: _answers(call, [request])[0], requests)


def each(call: Callable[[Request], Answer], requests: Sequence[Request]) -> list[Answer | Exception]:
    """One answer or one exception for each request, asked one by one."""
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
