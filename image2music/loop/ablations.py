"""The paper's ablations: the same composer with a part of the method taken away; and the paper's own chain beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL.Image import Image

from image2music.composers.base import (
    Composer,
    ComposeRequest,
    EditRequest,
    ExplainRequest,
    PlanningRequest,
    RefineRequest,
    RepairRequest,
    WriteRequest,
)
from image2music.music.planning.plan import Plan
from image2music.settings import LoopSettings
from image2music.types import Description, Edit, Explanation


class Altered:
    """Keep the protocol `Composer`, and hand every call on to the composer inside. `lacks` names what is missing."""

    lacks = ""

    def __init__(self, inner: Composer) -> None:
        self._inner = inner

    @property
    def id(self) -> str:
        """The composer's, and what it lacks."""
        return f"{self._inner.id}+{self.lacks}"

    def look(self, images: Sequence[Image], language: str = "en") -> list[Description]:
        """As the composer does."""
        return self._inner.look(images, language)

    def plan(self, requests: Sequence[PlanningRequest]) -> list[Plan]:
        """As the composer does."""
        return self._inner.plan(self._seen(requests))

    def write(self, requests: Sequence[WriteRequest]) -> list[str]:
        """As the composer does."""
        return self._inner.write(self._seen(requests))

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """As the composer does."""
        return self._inner.repair(self._seen(requests))

    def edit(self, requests: Sequence[EditRequest]) -> list[tuple[Edit, ...]]:
        """As the composer does."""
        return self._inner.edit(self._seen(requests))

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """As the composer does."""
        return self._inner.refine(self._seen(requests))

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """As the composer does."""
        return self._inner.explain(self._seen(requests))

    def _seen(self, requests: Sequence[Any]) -> Sequence[Any]:
        return requests


class WithoutRetrieval(Altered):
    """A composer that never sees a reference. The loop still holds them, and counts what is copied from them."""

    lacks = "no_retrieval"

    def _seen(self, requests: Sequence[Any]) -> Sequence[Any]:
        return [replace(asked, request=_bare(asked.request)) for asked in requests]


class WithoutRefinement(Altered):
    """A composer that leaves a valid tune as it is: no edits, no refinement. Repairs stay."""

    lacks = "no_refinement"

    def edit(self, requests: Sequence[EditRequest]) -> list[tuple[Edit, ...]]:
        """None."""
        return [() for _ in requests]

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """The tunes that stand."""
        return [asked.abc for asked in requests]


def _same(loop: LoopSettings) -> LoopSettings:
    return loop


def _papers(loop: LoopSettings) -> LoopSettings:
    return replace(loop, protocol="paper", candidates=1)


@dataclass(frozen=True)
class Variant:
    """One way to run the loop: what becomes of the composer, and of the settings."""

    name: str
    alter: Callable[[Composer], Composer]
    loop: Callable[[LoopSettings], LoopSettings] = _same


def _full(composer: Composer) -> Composer:
    return composer


def _neither(composer: Composer) -> Composer:
    return WithoutRefinement(WithoutRetrieval(composer))


FULL = "full"

VARIANTS = (
    Variant(FULL, _full),
    Variant("no_retrieval", WithoutRetrieval),
    Variant("no_refinement", WithoutRefinement),
    Variant("neither", _neither),
    Variant("paper", _full, _papers),
)
"""The paper's four, and the paper's own chain."""


def variants_of(loop: LoopSettings) -> tuple[Variant, ...]:
    """Return the variants that differ: where the full method is the paper's chain already, that one is left out."""
    return tuple(one for one in VARIANTS if one.name == FULL or one.loop is _same or one.loop(loop) != loop)


def _bare(request: ComposeRequest) -> ComposeRequest:
    return replace(request, references=())
