"""The music that suits a scene: tempo, mode, meter, mood, instruments and figures, each with its reason.

The planner writes to it, recall looks for tunes that agree with it, and albums are planned from it. It depends on the
scene alone, whoever saw it, so what it says can be found again from a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from image2music.images.scene import Scene
from image2music.music.planning.plan import Family

Character = Literal["calm", "flowing", "playful", "grand", "dark", "driving"]
SuitingMode = Literal["major", "minor", "either"]


@dataclass(frozen=True)
class Ensemble:
    """Instruments that suit together: General MIDI programs from 0, melody first, bass last; and why they do."""

    programs: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class SuitingMusic:
    """What music suits a scene, widest choice first.

    `slowest` to `fastest` with `qpm` between them are quarter notes a minute. `moods` are words that captions of music
    use, strongest first. `ensembles` stand best first; `unsuitable` programs (128: a drum kit) never come.
    `reasons` are plain English clauses that say why, for people.
    """

    character: Character
    qpm: float
    slowest: float
    fastest: float
    mode: SuitingMode
    meters: tuple[str, ...]
    moods: tuple[str, ...]
    ensembles: tuple[Ensemble, ...]
    unsuitable: frozenset[int]
    families: tuple[Family, ...]
    reasons: tuple[str, ...]


_CALM_QPM, _SLOPE = 84.0, 40.0
_WIDTH = 1.25


def suiting_music(scene: Scene) -> SuitingMusic:
    """Return the music that suits a scene; what the scene leaves open is neither glad nor sad, neither still nor wild."""
    valence = 0.0 if scene.valence is None else round(scene.valence, 3)
    arousal = 0.4 if scene.arousal is None else round(scene.arousal, 3)
    qpm = _CALM_QPM + _SLOPE * (arousal - 0.4)
    lively: Character = "driving" if arousal > 0.7 else "calm" if arousal < 0.35 else "flowing"
    character: Character = "dark" if valence < -0.3 else lively
    return SuitingMusic(
        character=character,
        qpm=qpm,
        slowest=qpm / _WIDTH,
        fastest=qpm * _WIDTH,
        mode="minor" if valence < -0.2 else "major" if valence > 0.2 else "either",
        meters=("4/4", "3/4", "6/8"),
        moods=("calm", "relaxing") if arousal < 0.5 else ("energetic", "happy"),
        ensembles=(Ensemble((73, 46, 42), "a flute, a harp and a cello suit most pictures"),),
        unsuitable=frozenset(),
        families=("broken", "wave", "arpeggio"),
        reasons=(),
    )
