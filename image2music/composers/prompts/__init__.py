"""The prompts, as text files beside this module. `config.prompts_version` names their wording in every row's hash."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from string import Template


def fill(name: str, **values: str) -> str:
    """The prompt in `NAME.txt` with `$value` filled in; what is filled in is never read as a template itself.

    Raises:
        KeyError: the prompt has a place for which no value is given.
    """
    return _template(name).substitute(values).strip()


@cache
def _template(name: str) -> Template:
    return Template((files(__name__) / f"{name}.txt").read_text(encoding="utf-8"))
