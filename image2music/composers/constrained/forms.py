"""What an answer is to look like, and the grammars that hold a model to it while it decodes.

A form says nothing of what an answer is about; a server can be told it, too. Music is the part of ABC standard 2.1 in
which every bar's length can be counted as it is written. Patterns are in the syntax that `re` and llguidance share. A
tune has a header in fixed order, a given number of voices, notes, rests, chords, ties, slurs, triplets, grace notes,
dynamics, accents and swells, changes of tempo in the first voice, and comments between lines; every line ends with a
bar line. Lyrics, chord names and changes of key and meter inside the music are left out.

JSON documents are compact, and their texts and lists are bounded. llguidance holds a document to its schema. What it
doesn't know is how long the document may become: `DocumentWriter` follows a short way from where the document stands to
its end, on a copy of the grammar's state, and counts its tokens. While there are plenty left, everything may come; then
only letters inside of texts; in the end the short way itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from image2music.errors import ConfigError, ModelError
from image2music.music.planning.harmony import METERS

if TYPE_CHECKING:
    from llguidance import LLMatcher


@dataclass(frozen=True)
class ProseForm:
    """Plain words."""


@dataclass(frozen=True)
class TuneForm:
    """A whole tune in ABC whose header the model writes itself, with so many voices and as many bars as it likes."""

    voices: int = 2


@dataclass(frozen=True)
class JsonForm:
    """One JSON value that keeps to a JSON Schema, which is kept as canonical text; `name` is for servers that ask."""

    name: str
    schema: str

    @classmethod
    def of(cls, name: str, schema: Mapping[str, Any]) -> JsonForm:
        """Make the form of a schema."""
        return cls(name, json.dumps(schema, ensure_ascii=True, separators=(",", ":")))


@dataclass(frozen=True)
class BarsOfLine:
    """One line of music: `prefix` is given word for word (it may hold whole lines), then come so many bars."""

    prefix: str
    bars: int


@dataclass(frozen=True)
class LinesForm:
    """Lines of music at L:1/8 in one meter, each with its number of bars: `5-8 [V:2] ... | ... | ... | ... |`.

    Every bar is exactly full and closed by `|`, every line ends after its last bar. Bars may hold notes, chords, rests,
    ties, slurs, triplets, dynamics, accents, staccato and swells.
    """

    meter: str
    lines: tuple[BarsOfLine, ...]

    def __post_init__(self) -> None:
        if self.meter not in METERS:
            raise ConfigError(f"no line of music can be written in {self.meter!r}", reason="bad_meter")
        if not self.lines or min(line.bars for line in self.lines) < 1:
            raise ConfigError("a form of lines has at least one line with one bar", reason="bad_form")


Form = ProseForm | TuneForm | JsonForm | LinesForm
PROSE = ProseForm()
TUNE_OF_TWO = TuneForm(2)


Bools = NDArray[np.bool_]

_PITCH = r"[\^_=]?[A-Ga-g](?:,{1,3}|'{1,3})?"
_LENGTH = r"(?:[1-9][0-9]?(?:/[248])?|/[248]?)?"
_SIGN = r"!(?:pp?|m[pf]|ff?|sfz|>|[<>][()])!"
_GRACE = rf"(?:\{{(?:{_PITCH}){{1,3}}\}})?"
_NOTE = rf"(?:{_PITCH}|\[(?:{_PITCH}){{2,5}}\]){_LENGTH}-?"
_TRIPLET = rf"\(3 ?{_PITCH} ?{_PITCH} ?{_PITCH}"
_STRUCK = rf"(?:{_SIGN}){{0,2}}\.?{_GRACE}{_NOTE}"
_ITEM = rf"(?:(?:{_SIGN}){{0,3}}\(?(?:{_STRUCK}|{_TRIPLET})|z{_LENGTH})"
_CLOSED = r"(?: ?(?:![<>]\)!|\)))* ?"
"""What may stand behind a note: the ends of swells and slurs."""
_ITEMS = rf"{_ITEM}(?:{_CLOSED}{_ITEM})*"

# A title begins with a letter; what breaks lines in some reader or other is no part of it.
_TEXT = r"[A-Za-z\u00c0-\u1fff][^\x00-\x1f\x7f-\x9f\u2028\u2029%\\]{0,59}"
_METER = r"(?:[2-7]|9|12)/[248]"
_QPM = r"Q:1/4=[1-9][0-9]{1,2}"
_TEMPO = rf"(?:{_QPM}\n)?"

# At most seven sharps or flats each.
_MAJOR = r"[A-G]|[FC]#|[CDEGAB]b"
_MINOR = r"(?:[A-G]|[FCGDA]#|[EBA]b)(?:m|min)"
_KEY = rf"(?:{_MAJOR}|{_MINOR}|[A-G] ?(?:dor|mix|phr|lyd))"
_HEADER = rf"X:1\nT:{_TEXT}\nM:{_METER}\nL:1/(?:4|8|16)\n{_TEMPO}K:{_KEY}\n"
_DETAILS = r"(?: clef=(?:treble|bass))?\n(?:%%MIDI program [1-9]?[0-9]\n)?"
_COMMENT = r"(?:% [ -$&-~]{0,79}\n)?"

_NEW_TEMPO = rf"(?:\[{_QPM}\] ?)?"
_BAR_LINE = rf"{_CLOSED}\| ?"
_LINE_END = rf"{_CLOSED}(?:\|\||\|\]|:\||\|)\n"
_TUNE_END = rf"{_CLOSED}(?:\|\]|:\|)\n?"
MOST_VOICES = 4


def tune_pattern(voices: int) -> str:
    """Return a pattern for one whole tune of 1 to `MOST_VOICES` voices.

    Raises:
        ConfigError: for any other number (`bad_voices`).
    """
    if not 1 <= voices <= MOST_VOICES:
        raise ConfigError(f"a tune has 1 to {MOST_VOICES} voices, not {voices}", reason="bad_voices")
    if voices == 1:
        line = _bars(_NEW_TEMPO)
        return rf"{_HEADER}(?:{_COMMENT}{line}{_LINE_END})*{_COMMENT}{line}{_TUNE_END}"
    declared = "".join(rf"V:{number}{_DETAILS}" for number in range(1, voices + 1))
    line = rf"\[V:(?:1\] ?{_bars(_NEW_TEMPO)}|[2-{voices}]\] ?{_bars('')})"
    return rf"{_HEADER}{declared}(?:{_COMMENT}{line}{_LINE_END})*{_COMMENT}{line}{_TUNE_END}"


def _bars(opening: str) -> str:
    return rf"(?:\|: ?)?{opening}{_ITEMS}(?:{_BAR_LINE}{opening}{_ITEMS})*"


_LINE = rf"{_ITEMS}(?:{_BAR_LINE}{_ITEMS})*{_CLOSED}\|"


def lines_grammar(form: LinesForm) -> str:
    """Return the grammar of a form in llguidance's form of Lark, with as many bars in a line as one likes.

    All lines share one terminal, so that what was found out about it in one line serves for the next.
    """
    parts = []
    for number, line in enumerate(form.lines, 1):
        if line.prefix:
            parts.append(json.dumps(line.prefix, ensure_ascii=False))
        opening = "FIRST" if _begins_at_once(line.prefix) else "NEXT"
        parts.append(f"{opening}_{'END' if number == len(form.lines) else 'LINE'}")
    last = _LINE + r"\]?\n?"
    terminals = {
        "FIRST_LINE": _LINE + r"\n",
        "NEXT_LINE": rf" ?{_LINE}\n",
        "FIRST_END": last,
        "NEXT_END": rf" ?{last}",
    }
    used = (f"{name}: /{_in_slashes(pattern)}/" for name, pattern in terminals.items() if name in parts)
    return "\n".join((f"start: {' '.join(parts)}", *used))


def _begins_at_once(prefix: str) -> bool:
    return not prefix.endswith(("]", ":"))


def _in_slashes(pattern: str) -> str:
    return pattern.replace("/", r"\/")


def pattern_of(form: Form) -> str | None:
    """Return the regular expression of a form of music; of lines it counts the bars too. None for any other form."""
    if isinstance(form, TuneForm):
        return tune_pattern(form.voices)
    if not isinstance(form, LinesForm):
        return None
    lines = []
    for line in form.lines:
        first = "" if _begins_at_once(line.prefix) else " ?"
        more = rf"(?:{_BAR_LINE}{_ITEMS}){{{line.bars - 1}}}" if line.bars > 1 else ""
        lines.append(rf"{_quoted(line.prefix)}{first}{_ITEMS}{more}{_CLOSED}\|")
    return r"\n".join(lines) + r"\]?\n?"


def _quoted(text: str) -> str:
    """Quote a text for both; `re.escape` quotes letters that llguidance wants plain."""
    return "".join(
        r"\n" if letter == "\n" else "\\" + letter if letter in r".^$*+?{}[]\|()" else letter for letter in text
    )


LONGEST_TEXT, MOST_ITEMS, MOST_KEYS = 400, 16, 16
"""Letters, items and keys where a schema names no bound."""
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")


def decodable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that allows less: texts of one line, bounded and without escapes, and bounded lists.

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


def _document_grammar(form: JsonForm) -> str:
    """Return the grammar of a form, without white space between the parts of a document, as llguidance reads it."""
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_json_schema(
        decodable(json.loads(form.schema)), overrides={"whitespace_flexible": False}
    )


_COMPACT: Any = {"whitespace_flexible": False}


def grammar_of(form: Form) -> str:
    """Return the grammar of a form as llguidance reads it.

    Raises:
        ModelError: prose has none (`no_constraint`).
    """
    from llguidance import LLMatcher

    match form:
        case TuneForm():
            return LLMatcher.grammar_from_regex(tune_pattern(form.voices))
        case LinesForm():
            return LLMatcher.grammar_from_lark(lines_grammar(form))
        case JsonForm():
            return _document_grammar(form)
        case ProseForm():
            raise ModelError("prose has no grammar", reason="no_constraint")


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
        way: list[int] = []
        matcher = self._matcher.deep_copy()
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
