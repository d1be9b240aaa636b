"""Which answers passed the checker, and which of their bars were full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from image2music.notation.abc_checker import check_parsed
from image2music.notation.abc_codes import CODES
from image2music.notation.abc_parser import parse
from image2music.notation.diagnostic import Severity
from image2music.scoring.pieces import Piece

_WRONG_BAR = ("bar-too-short", "bar-too-long", "overlay-length", "mended-bar")


@dataclass(frozen=True)
class Validity:
    """As columns of schemas/score.py; shares are 0-1, None where there is nothing to take a share of."""

    valid_as_written: float
    valid_first: float
    valid_repaired: float
    bars: int
    bars_right_first: float | None
    bars_right: float | None


def validity(piece: Piece) -> Validity:
    """How right a piece was at first, and is now.

    The first answer is the first of the loop's rounds, with what was mended in it by rule. A piece without one is
    an answer by itself. A picture without a tune has no bars, and is not valid at any time.
    """
    errors, bars, right = checked(piece.abc)
    sound = float(not errors and bars > 0)
    if piece.draft is None:
        return Validity(sound, sound, sound, bars, right, right)
    codes = [finding["code"] for finding in piece.draft["diagnostics"]]
    first = not any(CODES.get(code, (Severity.ERROR, ""))[0] is Severity.ERROR for code in codes)
    return Validity(float(not codes), float(first), sound, bars, _right_at_first(piece.draft), right)


def checked(abc: str) -> tuple[int, int, float | None]:
    """(errors, bars over all voices, share of them that are full); (0, 0, None) for an empty text."""
    if not abc:
        return 0, 0, None
    parsed = parse(abc)
    findings = check_parsed(parsed)
    bars = sum(len(voice.bars) for tune in parsed.tunes for voice in tune.voices.values())
    wrong = {(finding.voice, finding.bar) for finding in findings if finding.code in _WRONG_BAR}
    return sum(finding.severity is Severity.ERROR for finding in findings), bars, _share(bars, len(wrong))


def _right_at_first(draft: Mapping[str, Any]) -> float | None:
    bars = sum(len(voice.bars) for tune in parse(draft["abc"]).tunes for voice in tune.voices.values())
    return _share(bars, len(_wrong(draft["diagnostics"])))


def _wrong(findings: Iterable[Mapping[str, Any]]) -> set[tuple[str, int]]:
    return {(finding["voice"], finding["bar"]) for finding in findings if finding["code"] in _WRONG_BAR}


def _share(bars: int, wrong: int) -> float | None:
    return max(0.0, 1 - wrong / bars) if bars else None
