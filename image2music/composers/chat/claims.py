"""Holds what a motivation says of key, tempo, bars and register against the tune that it speaks of.

Models describe the tune that they meant to write. What they say in words that can be checked (`in D minor`, `at 92`,
`bar 27`, `the highest note, in bar 20`) is checked here; all else is theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from image2music.composers.chat.answers import sentences
from image2music.errors import PlanError
from image2music.music.planning.plan import Plan
from image2music.music.score import Score, count_bars
from image2music.music.theory import Chord, read_chord, read_tonality

_KEY = re.compile(
    r"\b([A-G])[ -]?(sharp|flat|#|b|♯|♭)?[ -](major|minor|dorian|mixolydian|phrygian|lydian)\b"
    r"(?!\s+(?:seventh|chord|third|sixth|ninth))"
)
_TEMPO = re.compile(
    r"\b(?:(\d{2,3})\s*(?:quarter[ -]notes?|beats|bpm|quarters)\b"
    r"|(?:tempo|pace|pulse|quarter)\s*(?:of|=|is|at)\s*(\d{2,3})\b)",
    re.I,
)
_BARS = re.compile(r"\bbars?\s+((?:\d+(?:\s*(?:-|\u2013|to|and|,|or)\s*)?)+)", re.I)
_PEAK = re.compile(r"\b(?:climax|peak|highest\s+(?:note|point|pitch|tone)|summit)\b[^.;:]{0,60}?\bbar\s+(\d+)", re.I)
_SIGNS = {"sharp": "#", "#": "#", "♯": "#", "flat": "b", "b": "b", "♭": "b", "": ""}
_MINOR_MODES = ("minor", "dorian", "phrygian")
_QPM_TOLERANCE = 1.5
_BARS_TOLERANCE = 1


@dataclass(frozen=True)
class FalseClaim:
    """A sentence of the motivation (its place, from 0), and what is not true in it, in plain English."""

    sentence: int
    why: str


def false_claims(text: str, score: Score, plan: Plan | None = None) -> tuple[FalseClaim, ...]:
    """Return what a motivation says that the tune does not bear out."""
    found = []
    for place, (start, end) in enumerate(sentences(text)):
        said = text[start:end]
        found += [FalseClaim(place, why) for why in (*_keys(said, score, plan), *_tempos(said, score),
                                                     *_bars(said, score), *_peaks(said, score))]  # fmt: skip
    return tuple(found)


def without(text: str, claims: tuple[FalseClaim, ...]) -> str:
    """Return a motivation without the sentences that hold false claims; the text itself where none would be left."""
    wrong = {claim.sentence for claim in claims}
    kept = [text[start:end] for place, (start, end) in enumerate(sentences(text)) if place not in wrong]
    return " ".join(kept) or text


def _keys(said: str, score: Score, plan: Plan | None) -> list[str]:
    own = [read_tonality(plan.key)] if plan is not None else []
    allowed = {(key.tonic, key.minor) for key in score.keys} | {(one.pitch_class, one.is_minor) for one in own if one}
    if plan is not None:  # a passage may stand in the key of one of its chords
        allowed |= {(chord.root, chord.is_minor) for symbol in " ".join(plan.harmony).split()
                    if (chord := _chord(symbol)) is not None}  # fmt: skip
    found = []
    for letter, sign, mode in _KEY.findall(said):
        name = f"{letter}{_SIGNS[sign.lower()]}"
        claimed = read_tonality(name + ("m" if mode.lower() in _MINOR_MODES else ""))
        if claimed is not None and (claimed.pitch_class, claimed.is_minor) not in allowed:
            found.append(f"it names {name} {mode.lower()}, a key that the tune has nowhere")
    return found


def _chord(symbol: str) -> Chord | None:
    try:
        return read_chord(symbol)
    except PlanError:
        return None


def _tempos(said: str, score: Score) -> list[str]:
    tempos = [tempo.qpm for tempo in score.tempos]
    if not tempos:
        return []
    return [
        f"it names a tempo of {number}; the tune goes at {', '.join(f'{qpm:g}' for qpm in tempos)}"
        for pair in _TEMPO.findall(said)
        if (number := next(filter(None, pair)))
        and not any(abs(float(number) - qpm) <= _QPM_TOLERANCE for qpm in tempos)
    ]


def _bars(said: str, score: Score) -> list[str]:
    last = count_bars(score)
    numbers = [int(number) for run in _BARS.findall(said) for number in re.findall(r"\d+", run)]
    return [
        f"it names bar {number}; the tune has {last}" for number in dict.fromkeys(numbers) if not 1 <= number <= last
    ]


def _peaks(said: str, score: Score) -> list[str]:
    claimed = [int(number) for number in _PEAK.findall(said)]
    if not claimed:
        return []
    peaks = highest_bars(score)
    return [
        f"it sets the peak in bar {bar}; the highest note stands in bar {', '.join(map(str, peaks))}"
        for bar in claimed
        if peaks and min(abs(bar - peak) for peak in peaks) > _BARS_TOLERANCE
    ]


def highest_bars(score: Score) -> list[int]:
    """Return the bars, from 1, in which the highest note of all pitched tracks begins."""
    tracks = [track for track in score.tracks if len(track) and not track.is_drum]
    if not tracks:
        return []
    top = max(int(track.pitches.max()) for track in tracks)
    onsets = sorted({int(onset) for track in tracks for onset in track.onsets[track.pitches == top]})
    starts = [start.tick for start in score.bar_starts]
    return sorted({sum(start <= onset for start in starts) for onset in onsets})
