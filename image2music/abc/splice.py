"""One bar of one voice in the place of another, without touching anything else of the text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from image2music.abc.parser import parse
from image2music.errors import AbcError

_TOKEN = re.compile(
    r"""(?P<mark>![^!\n]*!)|(?P<field>\[[A-Za-z]:[^\]]*\])|(?P<text>"[^"]*")|(?P<tuplet>\(\d(?::\d?){0,2})"""
    r"""|(?P<slur>[()])|(?P<note>(?:\[[^\]:]*\]|[_^=]*[A-Ga-g][,']*|[zxy])[0-9/]*-?)|(?P<bar>[|:]+\]?)|(?P<other>.)""",
    re.DOTALL,
)
_DYNAMIC = re.compile(r"!(?:p{1,4}|m[pf]|f{1,4}|sfz)!")
_SWELLS = (("!crescendo(!", "!crescendo)!"), ("!diminuendo(!", "!diminuendo)!"), ("!<(!", "!<)!"), ("!>(!", "!>)!"))
_OLD_BAR = re.compile(r"(?s)(\s*(?:\[V:[^\]]*\]\s*)?)(.*?)(\s*(?:[|:][|:\]]*)?\s*)$")

_Token = tuple[str, str]
"""Kind and text."""


def splice_bar(abc: str, voice: str, bar: int, text: str) -> str:
    """Return a tune with the notes of one bar replaced.

    Fields and the dynamic that begin the old bar are kept where the new one has none. A swell or slur that only begins
    or only ends in the old bar keeps its end: it moves to the new bar's first or last note. Bar lines around `text` are
    taken off.

    Raises:
        AbcError: there is no such voice or bar (`no_such_bar`), or `text` is more than one bar (`more_than_a_bar`).
    """
    new = _tokens(text.strip().removesuffix("|]").strip("| \t\n"))
    if any(kind == "bar" or "\n" in said for kind, said in new):
        raise AbcError(f"an edit is one bar without bar lines, not {text!r}", reason="more_than_a_bar")
    new = [(kind, said) for kind, said in new if not said.startswith("[V:")]
    tune = next((tune for tune in parse(abc).tunes if tune.spans), None)
    spans = [span for span in tune.spans if (span.voice, span.bar) == (voice, bar)] if tune else []
    if not spans:
        raise AbcError(f"there is no bar {bar} in voice {voice}", reason="no_such_bar")
    start, end = spans[0].start, spans[-1].end
    found = _OLD_BAR.match(abc[start:end])
    assert found is not None
    before, old, after = found.groups()
    changed = "".join(said for _, said in _with_marks_of(_tokens(old), new)).strip()
    return abc[:start] + before + changed + after + abc[end:]


def _tokens(text: str) -> list[_Token]:
    return [(found.lastgroup or "other", found.group()) for found in _TOKEN.finditer(text)]


def _with_marks_of(old: Sequence[_Token], new: list[_Token]) -> list[_Token]:
    head = old[: _first_note(old)]
    fields = [token for token in head if token[0] == "field" and not any(t[1][:3] == token[1][:3] for t in new)]
    for opening, closing in _SWELLS:
        new = _balanced(old, new, "mark", opening, closing)
    new = _balanced(old, new, "slur", "(", ")")
    dynamics = [token for token in head if _DYNAMIC.fullmatch(token[1])]
    if dynamics and not any(_DYNAMIC.fullmatch(said) for _, said in new):
        at = _first_note(new)
        new = [*new[:at], dynamics[-1], *new[at:]] if at < len(new) else new
    return [*fields, *new]


def _balanced(old: Sequence[_Token], new: list[_Token], kind: str, opening: str, closing: str) -> list[_Token]:
    """Make the new bar open as many as the old one leaves open, or close as many as it closes."""
    wanted, has = (bar.count((kind, opening)) - bar.count((kind, closing)) for bar in (list(old), new))
    if wanted == has:
        return new
    new = [token for token in new if token not in ((kind, opening), (kind, closing))]
    first, last = _first_note(new), _last_note(new)
    if first == len(new):
        return new
    if wanted > 0:
        return [*new[:first], *[(kind, opening)] * wanted, *new[first:]]
    at = last + 1 if kind == "slur" else last
    return [*new[:at], *[(kind, closing)] * -wanted, *new[at:]]


def _first_note(tokens: Sequence[_Token]) -> int:
    return next((at for at, (kind, _) in enumerate(tokens) if kind == "note"), len(tokens))


def _last_note(tokens: Sequence[_Token]) -> int:
    return max((at for at, (kind, _) in enumerate(tokens) if kind == "note"), default=len(tokens))


def with_mark(bar: str, mark: str) -> str:
    """Return a bar with a mark such as `!mf!` before its first note; as it is where it has no note or a loudness."""
    tokens = _tokens(bar)
    at = next((at for at, (kind, said) in enumerate(tokens) if kind == "note" and said[0] not in "zxy"), len(tokens))
    if at == len(tokens) or any(_DYNAMIC.fullmatch(said) for _, said in tokens):
        return bar
    while at and (tokens[at - 1][0] in ("mark", "slur", "tuplet") or tokens[at - 1][1] in ".~uv"):
        at -= 1
    return "".join(said for _, said in [*tokens[:at], ("mark", mark), *tokens[at:]])
