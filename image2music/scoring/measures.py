"""The one table of what is measured of a tune: what it means, which way is better, and how much worse may pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from image2music.errors import ConfigError
from image2music.notation.metrics import EXPLANATIONS, METRIC_NAMES

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Measure:
    """A figure of one picture's tune.

    `bound` is how much worse the mean over the pictures may become before `score --against` calls it a regression, in
    the figure's own unit; None where neither way is worse. `complaint` says what a regression means.
    """

    name: str
    meaning: str
    better: Better | None = None
    bound: float | None = None
    complaint: str = ""


_OWN = (
    Measure(
        "valid_as_written", "share of first answers that needed no mending", "higher", 0.1, "more answers need mending"
    ),
    Measure(
        "valid_first", "share of first answers without an error, mended by rule", "higher", 0.05,
        "more first answers do not pass the checker",
    ),
    Measure("valid_repaired", "share of pictures with a valid tune", "higher", 0.02, "more tunes are broken"),
    Measure("bars_right_first", "share of full bars in the first answer", "higher", 0.02, "more bars are broken"),
    Measure("bars_right", "share of the tune's bars that are full", "higher", 0.01, "more bars are broken"),
    Measure(
        "metrics_distance", "how far the eight metrics lie outside of the references' range", "lower", 0.5,
        "the metrics left the references' range",
    ),
    Measure("groove_consistency", "how alike neighbouring bars' rhythms are, 0-1"),
    Measure(
        "key_agreement", "whether the key's mode suits the description", "higher", 0.15,
        "keys do not follow the descriptions",
    ),
    Measure(
        "tempo_agreement", "whether the tempo suits the description", "higher", 0.15,
        "tempi do not follow the descriptions",
    ),
    Measure(
        "longest_copy", "notes in the longest run shared with a reference, transposed or not", "lower", 4.0,
        "tunes copy their references",
    ),
    Measure(
        "copied_share", "that run as a share of the tune's longest voice", "lower", 0.1, "tunes copy their references"
    ),
    Measure(
        "self_similarity", "longest run shared with another picture's tune, as a share of the melody", "lower", 0.1,
        "tunes of different pictures are alike, as if the picture were ignored",
    ),
    Measure(
        "picture_music", "cosine of picture and the tune in words, above the tune's mean over all pictures", "higher",
        0.02, "tunes do not follow their pictures",
    ),
)  # fmt: skip

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _OWN}
"""Figures with a column of their own in schemas/score.py, by name, in the order of the table."""

METRICS_PREFIX, FAITHFULNESS_PREFIX = "metrics.", "faithfulness."
ANSWER_BOUND = 0.5
"""Points of the scale from 1 to 7 by which a mean answer may fall."""


def measure_of(name: str) -> Measure:
    """The measure behind a column or a field of one: `bars_right`, `metrics.polyphony`, `judge.melody`."""
    if name in MEASURES:
        return MEASURES[name]
    if name.startswith(METRICS_PREFIX):
        return Measure(name, EXPLANATIONS[name.removeprefix(METRICS_PREFIX)])
    if name.startswith(FAITHFULNESS_PREFIX):
        return Measure(name, "attention's faithfulness as it was stored, for the whole tune")
    who, _, question = name.partition(".")
    return Measure(name, f"mean answer to {question!r}", "higher", ANSWER_BOUND, f"the {who} finds it worse")


def place_in_table(name: str) -> tuple[int, str]:
    """What measures are sorted by: the order of the table, then the alphabet."""
    order = [*MEASURES, *(METRICS_PREFIX + metric for metric in METRIC_NAMES)]
    return (order.index(name), "") if name in order else (len(order), name)


def bounds_of(texts: list[str]) -> dict[str, float]:
    """`NAME=VALUE` texts to bounds by name, to be used instead of the table's.

    Raises:
        ConfigError: a text of another form, a bound below 0, or a measure that has no better way (`bad_bound`).
    """
    return dict(_bound(text) for text in texts)


def _bound(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    known = name in MEASURES or name.partition(".")[0] in ("judge", "listeners", "songeval")
    if not number >= 0 or not known or measure_of(name).better is None:
        bounded = ", ".join(measure.name for measure in _OWN if measure.better)
        raise ConfigError(f"--bound takes NAME=VALUE with a NAME of {bounded}, not {text!r}", reason="bad_bound")
    return name, number
