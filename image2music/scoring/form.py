"""The listening form as one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from image2music.scoring.questions import STUDY, wording


@dataclass(frozen=True)
class Shown:
    """An item as the page needs it; `picture` is a `data:` address, "" where the picture could not be opened."""

    code: str
    picture: str
    motivation: str


def render_form(items: Sequence[Shown]) -> str:
    """A page that needs no server and sends nothing; sounds lie beside it as sounds/CODE.wav."""
    return _template().render(items=items, questions={name: wording()[name] for name in STUDY})


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("image2music.scoring"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    return environment.get_template("study.html")
