"""Imagined pictures for training: what a tune's title and character would look like.

No tune of the training set comes with a picture. A tune's picture is imagined as cells: a rectangle somewhere shows
what the title names, the rest shows other things, and light, contrast and colour follow the tune's mode and tempo,
loosely, as they do in film (minor darker, slow softer). The links are this file's assumption, not a finding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from image2music.composers.nano.patches import Appearance, FloatArray, PoleVectors, patches, unit
from image2music.composers.nano.plan import Plan

NOISE = 0.5
BRIGHTNESS = {"major": 0.64, "mixolydian": 0.56, "dorian": 0.38, "minor": 0.30}
ENERGY = {"slow": 0.25, "moderate": 0.5, "fast": 0.72}


@dataclass(frozen=True)
class Imagination:
    """All that imagined pictures are made from. `distractors` float32[n, dim] shows what is in no title."""

    poles: PoleVectors
    distractors: FloatArray
    grid: int

    def picture(self, title: FloatArray, plan: Plan, rng: np.random.Generator) -> FloatArray:
        """Patches float32[grid², dim] for a tune whose title embeds to `title` float32[dim]."""
        cells = self.grid * self.grid
        others = self.distractors[rng.integers(len(self.distractors), size=3)]
        objects = others[rng.integers(3, size=cells)]
        objects[self._subject(rng)] = title
        noise = rng.standard_normal(objects.shape, dtype=np.float32) * (NOISE / objects.shape[1] ** 0.5)
        return patches(unit(objects + noise), self._appearance(plan, rng), self.poles)

    def _subject(self, rng: np.random.Generator) -> FloatArray:
        """bool[grid²]: a rectangle of two to five cells a side."""
        height, width = rng.integers(2, 6, size=2)
        top, left = rng.integers(self.grid - height + 1), rng.integers(self.grid - width + 1)
        mask = np.zeros((self.grid, self.grid), bool)
        mask[top : top + height, left : left + width] = True
        return mask.ravel()

    def _appearance(self, plan: Plan, rng: np.random.Generator) -> Appearance:
        level = rng.normal(BRIGHTNESS.get(plan.get("mode", ""), 0.5), 0.12)
        energy = ENERGY.get(plan.get("tempo", ""), 0.5)
        slope = rng.normal(0, 0.08, size=2)
        place = np.linspace(-1, 1, self.grid)
        brightness = (
            level + slope[0] * place[:, None] + slope[1] * place[None, :] + rng.normal(0, 0.05, (self.grid,) * 2)
        )
        return Appearance(
            np.clip(brightness, 0, 1).astype(np.float32),
            float(np.clip(rng.normal(energy, 0.13), 0, 1)),
            float(np.clip(rng.normal(0.2 + 0.6 * energy, 0.15), 0, 1)),
            float(np.clip(rng.normal(0.25 + 0.5 * level, 0.15), 0, 1)),
        )
