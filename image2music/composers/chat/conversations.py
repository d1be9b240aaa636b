"""The paper's steps as conversations about one picture, with references shortened by whole bars to fit a prompt.

Repair, refinement and motivation go on from the first request and the accepted tune, so that every conversation about a
picture begins with the same tokens and finds them cached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from PIL.Image import Image

from image2music.abc.ast import Tune
from image2music.abc.diagnostics import Diagnostic, Severity
from image2music.abc.parser import parse
from image2music.composers.album_part import opening_abc
from image2music.composers.base import ComposeRequest, ExplainRequest, RefineRequest, RepairRequest
from image2music.composers.chat.backend import Conversation, Message
from image2music.composers.prompts import fill
from image2music.music.metrics import EXPLANATIONS
from image2music.types import AlbumPart, Reference

FEWEST_BARS, MOST_BARS = 2, 32

_REMEMBERED = 1024
"""Answers about references that are kept: all rounds about a picture ask again, each with the same references."""


@lru_cache(_REMEMBERED)
def first_bars(abc: str, bars: int) -> str:
    """Return the first `bars` bars of every voice of a tune, header and voices' heads included."""
    tune = _tune(abc)
    if tune is None:
        return abc
    kept, at = [], tune.start
    for span in sorted(span for span in tune.spans if span.bar > bars):
        kept.append(abc[at : span.start])
        at = span.end
    kept.append(abc[at : tune.end])
    return "\n".join(line.rstrip() for line in "".join(kept).split("\n") if line.strip()) + "\n"


@lru_cache(_REMEMBERED)
def longest_voice_bars(abc: str) -> int:
    """Count the bars of the longest voice; 0 where nothing can be read."""
    tune = _tune(abc)
    return tune.last_bar if tune else 0


def shortened(tunes: Sequence[str], fits: Callable[[Sequence[str]], bool]) -> list[str]:
    """Return as many first bars of each tune as fit: the longest text loses a bar until all do.

    Tunes have at most `MOST_BARS` bars, and keep at least `FEWEST_BARS`; where even that is too much, the last tunes,
    which match least, are left out. `fits` says whether a list of tunes is short enough.
    """
    bars = [min(MOST_BARS, longest_voice_bars(abc)) for abc in tunes]
    texts = [first_bars(abc, n) for abc, n in zip(tunes, bars, strict=True)]
    while not fits(texts):
        longest = max((i for i, n in enumerate(bars) if n > FEWEST_BARS), key=lambda i: len(texts[i]), default=None)
        if longest is None:
            return _fewest(texts, fits)
        bars[longest] -= 1
        texts[longest] = first_bars(tunes[longest], bars[longest])
    return texts


def _fewest(texts: list[str], fits: Callable[[Sequence[str]], bool]) -> list[str]:
    while texts and not fits(texts):
        texts = texts[:-1]
    return texts


def _tune(abc: str) -> Tune | None:
    return next((tune for tune in parse(abc).tunes if tune.spans), None)


MAX_DIAGNOSTICS = 20
_MAX_CAPTION = 600
CountTokens = Callable[[str], int]


def describing(image: Image) -> Conversation:
    """Ask what the picture shows."""
    return Conversation(image, (Message("user", fill("describe")),))


def composing(request: ComposeRequest, prompt_tokens: int, count: CountTokens) -> Conversation:
    """Ask for a tune, with the references shortened until the prompt has at most `prompt_tokens` tokens."""

    def fits(tunes: Sequence[str]) -> bool:
        return count(_prompt(request, tunes)) <= prompt_tokens

    tunes = shortened([reference.abc.strip() for reference in request.references], fits)
    return Conversation(request.image, (Message("user", _prompt(request, tunes)),))


def _prompt(request: ComposeRequest, tunes: Sequence[str]) -> str:
    description = request.description.text
    if request.album is not None:
        description = f"{description}\n\n{_album(request.album)}"
    return fill("compose", description=description, references=_references(request.references, tunes))


def _album(part: AlbumPart) -> str:
    return fill("album", key=part.key, meter=part.meter, tempo=str(part.tempo_qpm), opening=opening_abc(part))


def _references(references: Sequence[Reference], tunes: Sequence[str]) -> str:
    if not tunes:
        return ""
    texts = [
        fill("reference", number=str(number), caption=_caption(reference), abc=abc)
        for number, (reference, abc) in enumerate(zip(references, tunes, strict=False), 1)
    ]
    return fill("references", references="\n\n".join(texts)) + "\n"


def _caption(reference: Reference) -> str:
    """Return the caption in one line; a tune may be in the index by its picture alone."""
    return " ".join(reference.caption.split())[:_MAX_CAPTION] or "a picture alike"


def repairing(request: RepairRequest, so_far: Conversation) -> Conversation:
    """Ask for the tune again, given its diagnostics."""
    errors = [finding for finding in request.diagnostics if finding.severity is Severity.ERROR]
    said = [_finding(finding, request.abc) for finding in errors[:MAX_DIAGNOSTICS]]
    if len(errors) > len(said):
        said.append(f"- and {len(errors) - len(said)} more of these kinds")
    question = fill("repair", diagnostics="\n".join(said), bar_rule=_bar_rule(request.abc))
    return so_far.then(request.abc.strip(), question)


def _finding(finding: Diagnostic, abc: str) -> str:
    lines = abc.splitlines()
    shown = lines[finding.line - 1].strip()[:120] if 0 < finding.line <= len(lines) else ""
    quoted = f"\n  the line is: {shown}" if shown else ""
    return f"- line {finding.line}, column {finding.column}: {finding.message}{quoted}"


def _bar_rule(abc: str) -> str:
    fields = next((tune.fields for tune in parse(abc).tunes), {})
    meter, unit = fields.get("M", [""])[0], fields.get("L", [""])[0]
    if not meter:
        return "it must be what the meter in M: says."
    return f"the meter is {meter}" + (f", and a note without a number lasts {unit}." if unit else ".")


def refining(request: RefineRequest, so_far: Conversation) -> Conversation:
    """Ask for a better version, given the metrics, what they mean, and the references' ranges."""
    metrics = "\n".join(
        f"- {name} ({EXPLANATIONS[name]}): {_number(value)}; {_aim(request, name)}"
        for name, value in request.metrics.as_dict().items()
    )
    complaints = "\n".join(f"- {complaint}" for complaint in request.complaints)
    return so_far.then(request.abc.strip(), fill("refine", metrics=metrics, complaints=complaints))


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"


def _aim(request: RefineRequest, name: str) -> str:
    target = request.targets.get(name)
    if target is None:
        return "no reference defines it"
    values = ", ".join(_number(reference.metrics.as_dict()[name]) for reference in request.request.references)
    return f"references: {values}; aim for {target[0]:.3g} to {target[1]:.3g}"


def motivating(request: ExplainRequest, so_far: Conversation) -> Conversation:
    """Ask why the accepted tune suits the picture."""
    return so_far.then(request.abc.strip(), fill("motivation"))
