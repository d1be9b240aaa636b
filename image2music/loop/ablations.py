"""The paper's ablations: the same composer with a part of the method taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL.Image import Image

from image2music.composers.base import Composer, ComposeRequest, ExplainRequest, RefineRequest, RepairRequest
from image2music.settings import AcceptRule
from image2music.types import Description, Explanation


class WithoutRetrieval:
    """Keep the protocol `Composer`; the composer inside never sees a reference.

    The loop still holds them: refinement aims at the range of their metrics, for there is nothing else to aim at, and
    what is copied from them is counted all the same.
    """

    def __init__(self, inner: Composer) -> None:
        self._inner = inner

    @property
    def id(self) -> str:
        """The composer's, and what it lacks."""
        return f"{self._inner.id}+no_retrieval"

    def describe(self, images: Sequence[Image]) -> list[Description]:
        """As the composer does."""
        return self._inner.describe(images)

    def compose(self, requests: Sequence[ComposeRequest]) -> list[str]:
        """From picture and description alone."""
        return self._inner.compose([_bare(request) for request in requests])

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """As the composer does, without references."""
        return self._inner.repair([replace(asked, request=_bare(asked.request)) for asked in requests])

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """As the composer does, with the references' ranges and without their tunes."""
        return self._inner.refine([replace(asked, request=_bare(asked.request)) for asked in requests])

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """As the composer does, without references."""
        return self._inner.explain([replace(asked, request=_bare(asked.request)) for asked in requests])


class WithoutRefinement:
    """Keep the protocol `Composer`; asked to refine, it hands the tune back as it is. Repairs stay."""

    def __init__(self, inner: Composer) -> None:
        self._inner = inner

    @property
    def id(self) -> str:
        """The composer's, and what it lacks."""
        return f"{self._inner.id}+no_refinement"

    def describe(self, images: Sequence[Image]) -> list[Description]:
        """As the composer does."""
        return self._inner.describe(images)

    def compose(self, requests: Sequence[ComposeRequest]) -> list[str]:
        """As the composer does."""
        return self._inner.compose(requests)

    def repair(self, requests: Sequence[RepairRequest]) -> list[str]:
        """As the composer does."""
        return self._inner.repair(requests)

    def refine(self, requests: Sequence[RefineRequest]) -> list[str]:
        """The tunes that stand."""
        return [asked.abc for asked in requests]

    def explain(self, requests: Sequence[ExplainRequest]) -> list[Explanation]:
        """As the composer does."""
        return self._inner.explain(requests)


@dataclass(frozen=True)
class Variant:
    """One way to run the loop: what becomes of the composer, and when a refinement is taken."""

    name: str
    alter: Callable[[Composer], Composer]
    accept: AcceptRule = "better"


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
    Variant("always_accepted", _full, accept="always"),
)
"""The paper's four, and its own rule of taking every refinement."""


def _bare(request: ComposeRequest) -> ComposeRequest:
    return replace(request, references=())
