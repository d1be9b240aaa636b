"""`%%` lines: the few `%%MIDI` settings that are followed. All others are left out, whatever they say."""

from __future__ import annotations

from functools import lru_cache

from image2music.notation.abc_tree import Sound

FORBIDDEN = frozenset({"abc-include", "abc-macro", "include", "jsinclude", "postscript", "svg", "beginjs", "format"})
"""Directives that read files or define code. None is ever followed; these are told."""

_RANGES = {"program": (0, 127), "channel": (1, 16), "transpose": (-48, 48), "rtranspose": (-48, 48)}


@lru_cache(maxsize=1024)
def read_midi(text: str) -> tuple[Sound | None, str]:
    """Reads what follows `%%MIDI`: the setting (None where it is not followed) and a message ("" where it is fine).

    `program` may name a channel first, as in `program 1 73`; a channel is returned from 0.
    """
    words = text.split("%", 1)[0].split()
    if not words:
        return None, "%%MIDI says nothing: write %%MIDI program 0"
    what = words[0].lower()
    numbers = [int(word) for word in words[1:4] if _is_small_int(word)]
    if what == "ratio":
        return _ratio(numbers)
    if what not in _RANGES:
        return None, ""
    low, high = _RANGES[what]
    value = numbers[-1] if what == "program" and numbers[:2] else (numbers[0] if numbers else None)
    if value is None or not low <= value <= high:
        return None, f"%%MIDI {what} takes a number from {low} to {high}: it is left out"
    if what == "channel":
        value -= 1
    return Sound("transpose" if what == "rtranspose" else what, value), ""


def _ratio(numbers: list[int]) -> tuple[Sound | None, str]:
    if len(numbers) < 2 or not all(0 < number < 64 for number in numbers[:2]):
        return None, "%%MIDI ratio takes two numbers from 1 to 63: it is left out"
    return Sound("ratio", (numbers[0] << 8) | numbers[1]), ""


def _is_small_int(word: str) -> bool:
    return len(word) <= 4 and word.lstrip("+-").isdigit()
