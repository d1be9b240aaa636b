"""Turns controls and melody into a whole ABC tune with two voices."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from image2music.composers.nano import accompaniment
from image2music.composers.nano.accompaniment import FIGURES, Figure
from image2music.composers.nano.controls import TONICS, Controls
from image2music.composers.nano.melody import Melody, Note, melody_bars, melody_key, wrap_bars
from image2music.composers.nano.reading import MANNER

QPM = {"slow": (58, 84), "moderate": (92, 126), "fast": (134, 168)}
DERIVED_NOTE = "Voice 2 is derived from voice 1 by rule (functional harmony), not decoded by the model."

# General MIDI programs (from 0) that suit a mood: melody, accompaniment.
_PROGRAMS = {"minor": ((40, 42), (68, 46), (71, 48)), "major": ((73, 24), (40, 0), (21, 24), (0, 0))}


@dataclass(frozen=True)
class Setting:
    """What the model does not decide: tempo in quarter notes a minute, figure of the second voice, programs."""

    qpm: int
    figure: Figure
    programs: tuple[int, int]


def setting(controls: Controls, energy: float, seed: int) -> Setting:
    """Choose tempo, figure and programs by the controls, the picture's energy (0 to 1) and the seed."""
    rng = np.random.Generator(np.random.Philox([seed, 2]))
    low, high = QPM[controls["tempo"]]
    qpm = round(low + (high - low) * float(np.clip(0.7 * energy + 0.3 * rng.random(), 0, 1)))
    figures = FIGURES[:2] + FIGURES[3:] if controls["tempo"] == "slow" else FIGURES[2:]
    family = "minor" if controls["mode"] in ("minor", "dorian") else "major"
    programs = _PROGRAMS[family]
    return Setting(qpm, figures[int(rng.integers(len(figures)))], programs[int(rng.integers(len(programs)))])


def melody_of(controls: Controls, bars: tuple[tuple[Note, ...], ...], section_ends: frozenset[int]) -> Melody:
    """Return decoded bars in the key and meter of their controls."""
    unit = Fraction(controls["unit"])
    return Melody(controls["meter"], unit, TONICS.index(controls["tonic"]), controls["mode"], bars, section_ends)


def arrange(melody: Melody, setting: Setting, title: str, kind: str, remarks: tuple[str, ...] = ()) -> str:
    """Return the whole tune as ABC: melody in voice 1, derived accompaniment in voice 2, every bar full.

    `kind` and `remarks` go to N: lines.
    """
    second = accompaniment.accompany(melody, setting.figure)
    header = [
        "X:1",
        f"T:{title}",
        f"N:{MANNER}{kind}",
        f"N:{DERIVED_NOTE}",
        *(f"N:{remark}" for remark in remarks),
        f"M:{melody.meter}",
        f"L:{melody.unit}",
        f"Q:1/4={setting.qpm}",
        f"K:{melody_key(melody.tonic, melody.mode)}",
    ]
    voices = [
        ("V:1", setting.programs[0], melody_bars(melody)),
        ('V:2 clef=bass name="Accompaniment"', setting.programs[1], accompaniment.accompaniment_bars(second, melody)),
    ]
    for field, program, bars in voices:
        header += [field, f"%%MIDI program {program}", wrap_bars(bars, melody.section_ends)]
    return "\n".join(header) + "\n"
