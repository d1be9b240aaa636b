"""The prompts, as text files beside this module. `config.prompts_version` names their wording in every row's hash."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template

from image2music.settings import LANGUAGE_NAMES


def fill(name: str, **values: str) -> str:
    """The prompt in `NAME.txt` with `$value` filled in; what is filled in is never read as a template itself.

    Raises:
        KeyError: the prompt has a place for which no value is given.
    """
    return _template(name).substitute(values).strip()


def in_language(language: str) -> str:
    """Return what is added to the first question where another language than English is asked for; else nothing."""
    return "" if language == "en" else f"\n\n{fill('language/answers', language=LANGUAGE_NAMES[language])}"


@cache
def _template(name: str) -> Template:
    return Template((files(__name__) / f"{name}.txt").read_text(encoding="utf-8"))
