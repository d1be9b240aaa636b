"""The table of measures, and the rows of schemas/score.py computed from pieces.

The table says what each measure means, which direction is better, and how much worse it may become before
a comparison of two outputs calls it a regression.

The eight metrics can be computed by MusPy itself and compared with ours. MusPy (Dong et al., ISMIR 2020; package
`muspy`) computes them from a piano roll; `image2music/music/metrics.py` gets the same figures from note arrays.
A score shows the largest difference where it is asked for.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from PIL.Image import Image

from image2music.abc.checker import check_parsed
from image2music.abc.diagnostics import CODES, Severity
from image2music.abc.parser import parse
from image2music.embedders.base import Embedder, Vectors
from image2music.errors import ConfigError
from image2music.evaluation.pieces import Piece, hear
from image2music.evaluation.votes import PREFERRED
from image2music.images.features import MOODS
from image2music.music.critic.model import criticise
from image2music.music.grid import detect_key, pitch_class_weights
from image2music.music.listen.listener import listen
from image2music.music.metrics import EXPLANATIONS, METRIC_NAMES, Metrics, groove_consistency, metrics_of_score
from image2music.music.score import Score
from image2music.music.similarity import longest_shared_run, longest_shared_with_others, melody, sung_steps
from image2music.music.theory import DEFAULT_QPM, FAST_FROM_QPM, SLOW_BELOW_QPM, Key, fifths_of, key_name, tempo_word

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Measure:
    """A figure of one picture's tune.

    `bound` is how much worse the mean over the pictures may become before it is a regression, in the figure's own unit;
    None where neither direction is worse. `complaint` says what a regression means.
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
    Measure("critic", "musicality of the notes, learned from human pieces", "higher", 0.3, "tunes are less musical"),
    Measure("faults_per_bar", "places that a listener would point at, a bar", "lower", 0.1, "more faults are heard"),
    Measure(
        "plan_adherence", "how far the tune keeps its plan, 0-1", "higher", 0.05, "tunes do not keep their plans"
    ),
    Measure("metrics_distance", "how far the eight metrics lie outside of the references' range"),
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

VOTE_BOUND = 0.25
"""By how much the share of votes for a run's tunes may be below that for the other's."""
ANSWER_BOUND = 0.5
"""Points of the scale from 1 to 7 by which a mean answer may fall."""


def measure_of(name: str) -> Measure:
    """Return the measure of a column or of a field in one: `bars_right`, `metrics.polyphony`, `judge.melody`."""
    if name in MEASURES:
        return MEASURES[name]
    if name.startswith(METRICS_PREFIX):
        return Measure(name, EXPLANATIONS[name.removeprefix(METRICS_PREFIX)])
    if name.startswith(FAITHFULNESS_PREFIX):
        return Measure(name, "attention's faithfulness as it was stored, for the whole tune")
    who, _, question = name.partition(".")
    if question.startswith(PREFERRED):
        other = {"run": "another run's"}.get(question.removeprefix(PREFERRED), "another candidate")
        meaning = f"share of blind votes for the tune beside {other}; half a vote where both are as good"
        return Measure(name, meaning, "higher", VOTE_BOUND, f"the {who} prefer the other")
    return Measure(name, f"mean answer to {question!r}", "higher", ANSWER_BOUND, f"the {who} finds it worse")


def place_in_table(name: str) -> tuple[int, str]:
    """Return a sort key for names of measures: the order of the table, then the alphabet."""
    order = [*MEASURES, *(METRICS_PREFIX + metric for metric in METRIC_NAMES)]
    return (order.index(name), "") if name in order else (len(order), name)


def bounds_of(texts: list[str]) -> dict[str, float]:
    """Parse `NAME=VALUE` texts into bounds by name, which replace those of the table.

    Raises:
        ConfigError: a text of another form, a bound below 0, or a measure without a better direction (`bad_bound`).
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
        raise ConfigError(f"a bound is NAME=VALUE with a NAME of {bounded}, not {text!r}", reason="bad_bound")
    return name, number


_WRONG_BAR = ("bar-too-short", "bar-too-long", "overlay-length", "mended-bar")


@dataclass(frozen=True)
class Validity:
    """Validity of a tune, as columns of schemas/score.py. Shares are 0-1, None where there are no bars."""

    valid_as_written: float
    valid_first: float
    valid_repaired: float
    bars: int
    bars_right_first: float | None
    bars_right: float | None


def validity(piece: Piece) -> Validity:
    """Return the validity of a piece's first answer and of its final tune.

    The first answer is the first of the loop's rounds, after correction by rule. A piece without rounds is its own
    first answer. A picture without a tune has no bars and is never valid.
    """
    errors, bars, right = checked(piece.abc)
    sound = float(not errors and bars > 0)
    if piece.draft is None:
        return Validity(sound, sound, sound, bars, right, right)
    codes = [finding["code"] for finding in piece.draft["diagnostics"]]
    first = not any(CODES.get(code, (Severity.ERROR, ""))[0] is Severity.ERROR for code in codes)
    return Validity(float(not codes), float(first), sound, bars, _right_at_first(piece.draft), right)


def checked(abc: str) -> tuple[int, int, float | None]:
    """Return (errors, bars over all voices, share of full bars); (0, 0, None) for an empty text."""
    if not abc:
        return 0, 0, None
    parsed = parse(abc)
    findings = check_parsed(parsed, repairs=False)
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


Row = dict[str, Any]


def score_rows(system: str, pieces: Sequence[Piece]) -> list[Row]:
    """Return a row for each piece of one system, in order. Answers and `picture_music` are filled in later."""
    similar = self_similarity(pieces)
    return [_row(system, piece, alike) for piece, alike in zip(pieces, similar, strict=True)]


def self_similarity(pieces: Sequence[Piece]) -> list[float | None]:
    """Return each melody's longest run shared with any other piece, as a share of its notes, 0-1.

    None for a piece without a melody, and for all where fewer than two have one.
    """
    lines = [melody(piece.score) if piece.score else [] for piece in pieces]
    if sum(map(bool, lines)) < 2:
        return [None] * len(pieces)
    runs = longest_shared_with_others(lines)
    return [run / (len(line) + 1) if line else None for run, line in zip(runs, lines, strict=True)]


def _row(system: str, piece: Piece, alike: float | None) -> Row:
    row: Row = {
        "system": system,
        "image_id": piece.image_id,
        "image_uri": piece.image_uri,
        **asdict(validity(piece)),
        "metrics": None,
        "self_similarity": alike,
        "faithfulness": [{"measure": name, "value": value} for name, value in piece.faithfulness] or None,
        "answers": [],
    }
    return row | _of_score(piece.score, piece) if piece.score else row


def _of_score(score: Score, piece: Piece) -> Row:
    metrics = metrics_of_score(score)
    references = [heard for heard in map(hear, piece.references) if heard]
    asked = asked_by(piece.description)
    voices = sung_steps(score, piece.plan)
    notes = max((len(voice) + 1 for voice in voices), default=0)
    copied = max((longest_shared_run(voices, heard.voices) for heard in references), default=None)
    judgement, sheet = criticise(score), listen(score, piece.plan)
    return {
        "metrics": asdict(metrics),
        "critic": judgement.score if judgement else None,
        "faults_per_bar": len(sheet.faults) / max(1, sheet.bars),
        "plan_adherence": sheet.adherence,
        "metrics_distance": metrics_distance(metrics, targets_over([h.metrics for h in references]))
        if references
        else None,
        "groove_consistency": groove_consistency(score),
        "key_agreement": key_match(score, asked),
        "tempo_agreement": tempo_match(score, asked),
        "longest_copy": copied,
        "copied_share": copied / notes if copied is not None and notes else None,
    }


Targets = dict[str, tuple[float, float] | None]
"""(low, high) of each metric; None where no reference defines it."""

_MARGIN = 0.1
"""Share of the larger bound that is let through beyond the references' range: few references span little."""
_SHARES = ("scale_consistency", "empty_beat_rate")
_SHARE_MARGIN = 0.05


def targets_over(metrics: Sequence[Metrics]) -> Targets:
    """Return the range of each metric over the references, widened by a tenth."""
    rows = [asdict(one) for one in metrics]
    names = Metrics.__dataclass_fields__
    return {name: _interval(name, [row[name] for row in rows if row[name] is not None]) for name in names}


def _interval(name: str, values: Sequence[float]) -> tuple[float, float] | None:
    if not values:
        return None
    if name in _SHARES:
        return max(0.0, min(values) - _SHARE_MARGIN), min(1.0, max(values) + _SHARE_MARGIN)
    margin = _MARGIN * max(values)
    return max(0.0, min(values) - margin), max(values) + margin


def metrics_distance(metrics: Metrics, targets: Targets) -> float:
    """Return how far the metrics lie outside their targets: the sum of the gaps, each as a share of the high end.

    0 means that every metric lies within. A metric that is undefined on either side adds nothing. Shown, and never
    aimed at: a scale with a silent second voice fulfils it perfectly.
    """
    return sum(_gap(value, targets.get(name)) for name, value in asdict(metrics).items())


def _gap(value: float | None, target: tuple[float, float] | None) -> float:
    if value is None or target is None:
        return 0.0
    low, high = target
    return max(low - value, value - high, 0.0) / max(high, 1e-9)


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row by the names that `measure_of` takes; unknown ones are left out."""
    found = {name: row.get(name) for name in MEASURES}
    found |= {f"{METRICS_PREFIX}{name}": value for name, value in (row["metrics"] or {}).items()}
    found |= {f"{FAITHFULNESS_PREFIX}{entry['measure']}": entry["value"] for entry in row["faithfulness"] or []}
    found |= {f"{answer['who']}.{answer['question']}": answer["mean"] for answer in row["answers"]}
    return {name: float(value) for name, value in found.items() if value is not None}


_VELOCITY = 90
"""No metric depends on the loudness of a note, but MusPy's notes must have one."""


@dataclass(frozen=True)
class MetricDifference:
    """One metric over `tunes` tunes: the largest absolute difference between MusPy's value and ours.

    `undefined` counts the tunes for which only one of the two has a value; they are no part of `largest`, which is None
    where no tune has both values.
    """

    name: str
    tunes: int
    largest: float | None
    undefined: int


def muspy_metrics(score: Score) -> dict[str, float | None]:
    """Return MusPy's metrics of a score by name; None where MusPy gives NaN or raises.

    As in `metrics_of_score`, the range is None where no pitched note sounds; MusPy gives 0 or -127 there.
    """
    import muspy  # takes seconds to import, and only this check needs it

    music = _as_muspy(score)
    values = {name: _value(getattr(muspy, name), music) for name in METRIC_NAMES}
    if not any(len(track) and not track.is_drum for track in score.tracks):
        values["pitch_range"] = None
    return values


def muspy_differences(pieces: Iterable[Piece]) -> list[MetricDifference]:
    """Return the largest difference of each metric over the pieces that can be played, in the order of the metrics."""
    scores = [piece.score for piece in pieces if piece.score]
    pairs = [(metrics_of_score(score).as_dict(), muspy_metrics(score)) for score in scores]
    return [_difference(name, [(ours[name], theirs[name]) for ours, theirs in pairs]) for name in METRIC_NAMES]


def _difference(name: str, pairs: Sequence[tuple[float | None, float | None]]) -> MetricDifference:
    gaps = [abs(ours - theirs) for ours, theirs in pairs if ours is not None and theirs is not None]
    undefined = sum((ours is None) != (theirs is None) for ours, theirs in pairs)
    return MetricDifference(name, len(pairs), max(gaps, default=None), undefined)


def _as_muspy(score: Score) -> Any:
    import muspy

    tracks = [
        muspy.Track(
            is_drum=track.is_drum,
            notes=[
                muspy.Note(int(onset), int(pitch), int(duration), _VELOCITY)
                for onset, duration, pitch in zip(track.onsets, track.durations, track.pitches, strict=True)
            ],
        )
        for track in score.tracks
    ]
    return muspy.Music(resolution=score.ticks_per_quarter, tracks=tracks)


def _value(metric: Any, music: Any) -> float | None:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            value = float(metric(music))
    except Exception:  # MusPy raises what it likes where a metric is undefined
        return None
    return None if math.isnan(value) else value


_LEAN = 0.25
_QUIET, _EXCITED = 0.4, 0.6
_NAMED_TEMPO_TOLERANCE = 0.1

# (valence -1 to 1, arousal 0 to 1)
_WORDS: dict[str, tuple[float, float]] = {
    **MOODS,
    "happy": (0.7, 0.6), "sad": (-0.6, 0.3), "dark": (-0.5, 0.45), "gloomy": (-0.6, 0.3), "tender": (0.4, 0.3),
    "peaceful": (0.6, 0.2), "tranquil": (0.6, 0.2), "quiet": (0.1, 0.2), "still": (0.05, 0.2), "playful": (0.6, 0.7),
    "mysterious": (-0.3, 0.45), "nostalgic": (-0.1, 0.3), "tense": (-0.5, 0.75), "romantic": (0.5, 0.4),
    "energetic": (0.4, 0.85), "vibrant": (0.5, 0.75), "hopeful": (0.5, 0.5), "dramatic": (-0.3, 0.75),
    "wistful": (-0.3, 0.3), "solemn": (-0.4, 0.3), "joyous": (0.7, 0.7), "exciting": (0.5, 0.85), "angry": (-0.7, 0.85),
    "lonely": (-0.6, 0.3), "dreamy": (0.2, 0.25), "relaxing": (0.5, 0.2), "frightening": (-0.7, 0.8),
    "bright": (0.4, 0.55), "festive": (0.6, 0.8), "bleak": (-0.6, 0.35), "eerie": (-0.5, 0.5), "warm": (0.3, 0.4),
}  # fmt: skip
_WORD = re.compile(r"\b(" + "|".join(_WORDS) + r")\b", re.IGNORECASE)
_MOOD_SENTENCE = re.compile(r"[^.]*\bmood\b[^.]*", re.IGNORECASE)
_KEY = re.compile(r"\bin (?:the key of )?([A-G])(?:[ -]?(sharp|flat)|([#♯b♭]))? (major|minor)\b")
_TEMPO = re.compile(r"\b(\d{2,3})\s*(?:bpm|beats per minute|quarter notes)", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """What a description asks of a tune; None where it asks nothing.

    `minor` and `fast` follow from a named key or tempo, or from mood words; `sharps` (of the key signature, flats
    negative) and `qpm` (quarter notes a minute) are set only where a key or a tempo is named.
    """

    minor: bool | None = None
    sharps: int | None = None
    fast: bool | None = None
    qpm: float | None = None


def asked_by(description: str) -> Asked:
    """Return the key and tempo that a description names or that its mood words ask for.

    A sentence with the word "mood" counts alone where it holds a mood word.
    """
    valence, arousal = _mood(description)
    minor = None if abs(valence) < _LEAN else valence < 0
    fast = None if _QUIET < arousal < _EXCITED else arousal >= _EXCITED
    key, tempo = _KEY.search(description), _TEMPO.search(description)
    sharps = None
    if key:
        minor = key[4] == "minor"
        shift = {"sharp": 7, "#": 7, "♯": 7, "flat": -7, "b": -7, "♭": -7}.get(key[2] or key[3], 0)
        sharps = fifths_of(key[1]) + shift - (3 if minor else 0)
    return Asked(minor, sharps, fast, float(tempo[1]) if tempo else None)


def _mood(text: str) -> tuple[float, float]:
    """Return the mean (valence -1 to 1, arousal 0 to 1) of the mood words; (0, 0.5) where there is none."""
    sentence = _MOOD_SENTENCE.search(text)
    found = (_WORD.findall(sentence[0]) if sentence else []) or _WORD.findall(text)
    places = [_WORDS[word.lower()] for word in found]
    if not places:
        return 0.0, 0.5
    valence, arousal = np.mean(places, axis=0).tolist()
    return valence, arousal


def key_match(score: Score, asked: Asked) -> float | None:
    """Return 1 where the heard key has the mode (and the signature, where named) that was asked for, else 0."""
    if asked.minor is None:
        return None
    heard = heard_key(score)
    same_signature = asked.sharps is None or (heard.sharps - asked.sharps) % 12 == 0
    return float(heard.minor == asked.minor and same_signature)


def tempo_match(score: Score, asked: Asked) -> float | None:
    """Return 1 for the tempo that was asked for, 0.5 for a medium one (80 to 120), 0 for its opposite.

    A named tempo gives 1 within a tenth of it, else 0.
    """
    qpm = score.tempos[0].qpm if score.tempos else DEFAULT_QPM
    if asked.qpm is not None:
        return float(abs(qpm / asked.qpm - 1) <= _NAMED_TEMPO_TOLERANCE)
    if asked.fast is None:
        return None
    if SLOW_BELOW_QPM <= qpm < FAST_FROM_QPM:
        return 0.5
    return float((qpm >= FAST_FROM_QPM) == asked.fast)


def heard_key(score: Score) -> Key:
    """The key as the notes say, whatever K: says."""
    pitched = [track for track in score.tracks if len(track) and not track.is_drum]
    weights = np.zeros(12)
    for track in pitched:
        weights += pitch_class_weights(track.pitches, track.durations / score.ticks_per_quarter)
    return detect_key(weights)


_MOODS = {
    (False, "slow"): "calm, warm and peaceful",
    (False, "moderate"): "gentle and cheerful",
    (False, "fast"): "happy, bright and lively",
    (True, "slow"): "sad, dark and melancholic",
    (True, "moderate"): "serious and wistful",
    (True, "fast"): "dramatic, tense and stormy",
}


def words_of(score: Score) -> str:
    """A tune in one sentence of a caption's kind, from what is heard: tempo, key, mood, texture."""
    qpm = score.tempos[0].qpm if score.tempos else DEFAULT_QPM
    tempo, key = tempo_word(qpm), heard_key(score)
    meter = f"{score.meters[0].numerator}/{score.meters[0].denominator}" if score.meters else "4/4"
    voices = sum(1 for track in score.tracks if len(track))
    texture = "a single melody" if voices == 1 else f"{voices} voices"
    name = key_name(key.sharps, key.minor).removesuffix("m")
    return (
        f"A {tempo} instrumental piece with a {_MOODS[key.minor, tempo]} mood, in {name} "
        f"{'minor' if key.minor else 'major'} and {meter} time at {round(qpm)} beats per minute, for {texture}."
    )


def image_tune_similarity(embedder: Embedder, images: Sequence[Image], scores: Sequence[Score]) -> list[float | None]:
    """Return the cosine of each tune's sentence with its own picture, less its mean cosine with all pictures.

    A tune that fits every picture equally gets 0. None for fewer than two pictures.
    """
    if len(images) < 2:
        return [None] * len(images)
    seen = embedder.embed_images(images)
    heard = embedder.embed_texts([words_of(score) for score in scores])
    return own_minus_mean(seen, heard)


def own_minus_mean(seen: Vectors, heard: Vectors) -> list[float | None]:
    """Return the cosine of each row with its own picture less its mean over all pictures; float32[n, dim] each."""
    own = np.einsum("nd,nd->n", seen, heard, dtype=np.float64)
    everywhere = heard.astype(np.float64) @ seen.mean(axis=0, dtype=np.float64)
    return [float(value) for value in own - everywhere]
