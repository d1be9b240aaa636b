"""JSON documents while they are decoded: compact, of bounded texts, and closed before their tokens run out.

llguidance holds a document to its schema. What it doesn't know is how long the document may become: `DocumentWriter`
follows a short way from where the document stands to its end, on a copy of the grammar's state, and counts its tokens.
While there are plenty left, everything may come; then only letters inside of texts; in the end the short way itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from image2music.composers.forms import JsonForm
from image2music.errors import ModelError

if TYPE_CHECKING:
    from llguidance import LLMatcher

Bools = NDArray[np.bool_]

LONGEST_TEXT, MOST_ITEMS, MOST_KEYS = 400, 16, 16
"""Letters, items and keys where a schema names no bound."""
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")


def decodable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that allows less: texts of one line with a bounded length and no escapes, lists of bounded length.

    What keeps to it keeps to the schema that was given.
    """
    bounded: dict[str, Any] = {}
    for name, value in schema.items():
        if name in ("properties", "patternProperties", "$defs", "definitions"):
            bounded[name] = {key: decodable(inner) for key, inner in value.items()}
        elif name in _SCHEMA_LISTS:
            bounded[name] = [decodable(inner) for inner in value]
        elif isinstance(value, Mapping) and name in ("items", "additionalProperties"):
            bounded[name] = decodable(value)
        else:
            bounded[name] = value
    kinds = schema.get("type", ())
    if "string" in (kinds if isinstance(kinds, list) else [kinds]) and not {"pattern", "enum", "format"} & set(schema):
        least, most = bounded.pop("minLength", 0), bounded.pop("maxLength", LONGEST_TEXT)
        bounded["pattern"] = r'^[^"\\\x00-\x1f\x7f-\x9f\u2028\u2029]{' + f"{least},{most}}}$"
    if kinds == "array":
        bounded.setdefault("maxItems", max(MOST_ITEMS, bounded.get("minItems", 0)))
    if "patternProperties" in bounded:
        bounded.setdefault("maxProperties", max(MOST_KEYS, bounded.get("minProperties", 0)))
    return bounded


def document_grammar(form: JsonForm) -> str:
    """Return the grammar of a form, without white space between the parts of a document, as llguidance reads it."""
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_json_schema(decodable(json.loads(form.schema)), overrides={"whitespace_flexible": False})


_LONGEST_WORD = 24
"""Letters of a number, or of a text that has a pattern."""
_LONGEST_KEY = 12


@dataclass(frozen=True)
class _Lengths:
    """Measures the parts of a schema in letters. `definitions` are what its `$ref` name; they may not be recursive."""

    definitions: Mapping[str, Any]

    def size(self, schema: Mapping[str, Any]) -> int:
        """Letters of a short value, at most."""
        if "$ref" in schema:
            return self.size(self._named(schema))
        if "const" in schema or "enum" in schema:
            return max(len(json.dumps(value)) for value in schema.get("enum", [schema.get("const")]))
        properties, required = schema.get("properties", {}), schema.get("required", ())
        last = max((at for at, name in enumerate(properties) if name in required), default=-1)
        parts = [len(name) + 4 + self.size(one) for name, one in list(properties.items())[: last + 1]]
        items = [1 + self.size(one) for one in _items(schema)[: schema.get("minItems", 0)]]
        items += [items[-1]] * (schema.get("minItems", 0) - len(items)) if items else []
        word = 0 if schema.get("type") in ("object", "array") else _LONGEST_WORD
        options = [self.size(one) for one in _options(schema)]
        return 2 + sum(parts) + sum(items) + schema.get("minLength", 0) + max([word, *options])

    def growth(self, schema: Mapping[str, Any]) -> int:
        """Letters by which the short way to the end can become longer with one token, at most."""
        if "$ref" in schema:
            return self.growth(self._named(schema))
        required = schema.get("required", ())
        found = [_LONGEST_WORD, *map(self.growth, _options(schema))]
        for name, one in schema.get("properties", {}).items():
            found.append(self.growth(one) + (0 if name in required else len(name) + 4 + self.size(one)))
        for one in (*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")):
            if isinstance(one, Mapping):
                found.append(self.growth(one) + _LONGEST_KEY + 4 + self.size(one))
        return max(found + [self.growth(one) + 1 + self.size(one) for one in _items(schema)])

    def _named(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        named: Mapping[str, Any] = self.definitions[schema["$ref"].rpartition("/")[2]]
        return named


def _items(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in (*schema.get("prefixItems", ()), schema.get("items")) if isinstance(one, Mapping)]


def _options(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for name in ("anyOf", "oneOf", "allOf") for one in schema.get(name, ())]


@lru_cache(maxsize=256)
def _growth_of(form: JsonForm) -> int:
    schema = decodable(json.loads(form.schema))
    return _Lengths({**schema.get("$defs", {}), **schema.get("definitions", {})}).growth(schema)


_CLOSING = '}]",:{[10C2345678ABDEFGabcdefghijklmnopqrstuvwxyz-. '
"""Letters in the order in which they lead to the end of a document."""
_BRACKETS = 2
"""How many of them close a list or an object."""
_LONGEST_WAY = 20_000


class DocumentWriter:
    """Keeps one document short enough. `matcher` is its state of the grammar, which its owner feeds."""

    def __init__(self, matcher: LLMatcher, form: JsonForm, letters: Mapping[str, int], is_plain: Bools) -> None:
        self._matcher, self._is_plain, self._growth = matcher, is_plain, _growth_of(form)
        self._space = letters.get(" ")
        self._closing = [letters[letter] for letter in _CLOSING if letter in letters]
        self._unchecked = 0
        self._way: list[int] = []

    def took(self, token: int) -> None:
        """Note that a token was taken."""
        self._unchecked -= 1
        if self._way[:1] == [token]:
            del self._way[0]

    def narrow(self, allowed: Bools, left: int) -> None:
        """Clear what must not come with so many tokens left beside the end of the answer."""
        if self._unchecked > 0 or self._matcher.is_accepting():
            return
        # While a text goes on, the way that was found before stays one.
        if not self._way or self._matcher.validate_tokens(self._way) < len(self._way) or not allowed[self._way[0]]:
            self._way = self._way_out()
        spare = left - len(self._way)
        if spare > self._growth + _LONGEST_WORD:
            self._unchecked = max(1, (spare - _LONGEST_WORD) // (self._growth + 1))
            return
        first = self._way[0]
        may_go_on = spare > _LONGEST_WORD and first in self._closing[:4]
        kept = allowed & self._is_plain if may_go_on else np.zeros_like(allowed)
        kept[first] = allowed[first]
        allowed[:] = kept

    def _way_out(self) -> list[int]:
        matcher, way = self._matcher.deep_copy(), []
        while not matcher.is_accepting():
            tokens = matcher.compute_ff_tokens() or [self._next(matcher)]
            if not matcher.consume_tokens(tokens) or len(way) > _LONGEST_WAY:
                raise ModelError("a document finds no end with the tokens of this model", reason="no_constraint")
            way += tokens
        return way

    def _next(self, matcher: LLMatcher) -> int:
        # White space is allowed nowhere but in texts, and there a bracket ends nothing.
        is_text = self._space is not None and matcher.validate_tokens([self._space]) == 1
        for token in self._closing[_BRACKETS if is_text else 0 :]:
            if matcher.validate_tokens([token]) == 1:
                return token
        words = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        return int(np.flatnonzero(np.unpackbits(words, bitorder="little"))[0])
