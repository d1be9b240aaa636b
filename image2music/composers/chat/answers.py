"""Reads what was asked for out of what a chat model says around it."""

from __future__ import annotations

import re

from image2music.notation.mend_wrapping import choose_tune, unwrap
from image2music.notation.mending import Mending

_THINKING = re.compile(
    r"<(think|thinking|thought|reasoning|analysis)\b[^>]*>.*?(?:</\1>|\Z)|◁think▷.*?(?:◁/think▷|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_END_OF_THINKING = re.compile(r"</(?:think|thinking|thought|reasoning|analysis)>|◁/think▷", re.IGNORECASE)
_ANSWER_TAG = re.compile(r"</?(?:answer|final|response|abc|music|tune)>|<\|(?:begin|end)_of_box\|>", re.IGNORECASE)
_FENCED = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n.*?(?:^[ \t]*\1[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_LABEL = re.compile(r"\A[\s#*_>]*(?:motivation|description|answer|explanation|rationale)[\s*_]*(?::[\s*_]*|\n)", re.I)
_MARKDOWN = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]*|[-*•][ \t]+|\d{1,2}[.)][ \t]+)", re.MULTILINE)
_ABC_LINE = re.compile(r"^(?:[XTCMLQKV]:.*|\[V:.*|%%.*|[^\n]*\|[\]:|]?[ \t]*)$\n?", re.MULTILINE)
_EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.+?)(?<=\S)\1")
_SENTENCE = re.compile(r"\S.*?(?:[.!?…]+[\"'”\u2019)\]]*(?=\s+[\"'“\u2018(\[]?[A-Z])|\Z)", re.DOTALL)


def without_thinking(answer: str) -> str:
    """The answer without its thoughts, closed or broken off; a tag that only closes ends thoughts begun earlier."""
    rest = _THINKING.sub("", answer)
    ends = list(_END_OF_THINKING.finditer(rest))
    return _ANSWER_TAG.sub("", rest[ends[-1].end() :] if ends else rest).strip()


def tune_in(answer: str) -> str:
    """The tune in an answer: of several the longest, without fences, JSON or prose around it.

    What holds no tune comes back as it is, without its thoughts, for the checker to say so.
    """
    said = without_thinking(answer)
    mending = Mending(said)
    unwrap(mending)
    choose_tune(mending)
    return mending.text or said


def prose_in(answer: str) -> str:
    """The prose in an answer, in one paragraph: no thoughts, fences, ABC, headings, list marks or emphasis."""
    said = _FENCED.sub("\n", without_thinking(answer))
    said = _ABC_LINE.sub("", _LABEL.sub("", said))
    said = _EMPHASIS.sub(r"\2", _MARKDOWN.sub("", said))
    return " ".join(said.split())


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence of a paragraph starts and ends, in characters."""
    return [match.span() for match in _SENTENCE.finditer(text)]
