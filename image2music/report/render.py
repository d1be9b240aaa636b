"""Pages as HTML. Jinja2 escapes whatever it fills in; nothing here marks text as safe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from image2music.report.cards import Card, choices
from image2music.report.page import PicturePage

if TYPE_CHECKING:
    from jinja2 import Environment

ASSETS = ("report.css", "list.js", "synth.js", "heat.js", "picture.js")


@dataclass(frozen=True)
class Site:
    """What all pages share: the name of the run, how many failures there are, whether abcjs lies in `assets/`.

    `albums` has a short name for each album.
    """

    name: str
    failures: int
    has_abcjs: bool
    include_references: bool
    albums: Mapping[str, str]


@dataclass(frozen=True)
class Neighbours:
    """The cards before and after a picture."""

    before: Card | None
    after: Card | None


def asset(name: str) -> str:
    """A style sheet or script that pages load from `assets/`."""
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def render_list(site: Site, cards: Sequence[Card], *, album: str | None = None) -> str:
    """The page of all pictures, or of one album's where `album` is named."""
    values = choices(cards)
    return _render(
        "list.html",
        site=site,
        cards=cards,
        album=album,
        choices=values,
        root="" if album is None else "../",
        here="list",
    )


def render_picture(site: Site, card: Card, page: PicturePage, image: str, neighbours: Neighbours) -> str:
    """A picture's own page. `image` is a `data:` address, "" where the picture could not be opened."""
    return _render(
        "picture.html", site=site, card=card, page=page, image=image, near=neighbours, root="../", here="picture"
    )


def render_failures(site: Site, failures: Sequence[Mapping[str, Any]]) -> str:
    """The page of pictures that have no tune, and why."""
    return _render("failures.html", site=site, failures=failures, root="", here="failures")


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = files(__package__) / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def number(value: float | None) -> str:
    """A figure for a person: at most three digits after the point, a hyphen where there is none."""
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
