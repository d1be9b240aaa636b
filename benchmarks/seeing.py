"""Fits the probes of `image2music/images/places.py` on labelled pictures, and says how well they carry over.

Usage: python -m benchmarks.seeing --data DIR [--out image2music/images/probes.npz]. DIR holds `labels/*.csv` with the
columns file, subjects, description, setting (indoor, outdoor, studio, abstract), people (0 or 1), valence and arousal,
and folders of the pictures. Each probe is a ridge regression on the classifier's pooled features of the whole picture
and its middle; every figure is from pictures that were left out of its fit, one at a time.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.images.decode import open_picture
from image2music.images.features import Classified, load_efficientnet, middle_of, pixels_of
from image2music.images.people import find_people
from image2music.images.scene import Scene, read_picture, see_scene

Array = NDArray[np.float64]

SETTINGS = {"indoors": ("indoor", "studio"), "outdoors": ("outdoor",)}
WORDS = {
    "plant": r"plant|flower|grass|lea(f|ves)|tree|petal|meadow|forest",
    "sky": r"sky|cloud",
    "drawing": r"illustration|drawing|painting",
}
STRENGTH = 0.5
"""Of the ridge, in units of the kernel's mean diagonal; set before, not searched for."""


def main() -> None:
    """Fit, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = labelled(arguments.data)
    seen = [Seen.of(path) for path, _ in rows]
    pooled = np.stack([(one.whole.pooled + one.middle.pooled) / 2 for one in seen]).astype(np.float64)
    weights, offsets, slopes = [], [], []
    readings: dict[str, Array] = {}
    for name, target in targets([row for _, row in rows]).items():
        feeling = name in ("valence", "arousal")
        left_out = leave_one_out(pooled, target)
        slope, offset = _standard(left_out) if feeling else _odds(left_out, target)
        readings[name] = left_out * slope + offset
        if not feeling:
            readings[name] = 1 / (1 + np.exp(-readings[name]))
        own, bias = fit_ridge(pooled, target)
        weights.append(own)
        slopes.append(slope)
        offsets.append(bias * slope + offset)
        figure = f"Spearman {_spearman(left_out, target):.2f}" if feeling else f"AUC {_area(left_out, target):.2f}"
        print(f"{name}: {figure}, {int(target.sum()) if not feeling else len(target)} pictures")
    scenes = [
        one.scene({name: round(float(values[index]), 3) for name, values in readings.items()})
        for index, one in enumerate(seen)
    ]
    for line in judged(scenes, [row for _, row in rows]):
        print(line)
    if arguments.out:
        np.savez_compressed(
            arguments.out,
            names=np.array(list(targets([row for _, row in rows]))),
            weights=np.array(weights, np.float16),
            offsets=np.array(offsets, np.float32),
            slopes=np.array(slopes, np.float32),
        )


@dataclass(frozen=True)
class Seen:
    """A picture, and what the classifier makes of it and of its middle."""

    image: Image.Image
    whole: Classified
    middle: Classified

    @classmethod
    def of(cls, path: Path) -> Seen:
        """Look at the picture of a file."""
        image = open_picture(path.read_bytes()).image.convert("RGB")
        network = load_efficientnet()
        return cls(image, network.classify(pixels_of(image)), network.classify(pixels_of(middle_of(image))))

    def scene(self, probed: dict[str, float]) -> Scene:
        """Return the scene with given readings of the probes, so that none is of a fit to this picture."""
        reading = read_picture(self.whole, self.middle, pixels_of(self.image), probed)
        return see_scene(reading, find_people(self.image, reading.hints()))


def judged(scenes: list[Scene], rows: list[dict[str, str]]) -> Iterator[str]:
    """Say how well scenes agree with labels; the words are those of things and places alone."""
    for name in ("arousal", "valence"):
        felt = np.array([getattr(scene, name) for scene in scenes])
        labels = np.array([float(row[name]) for row in rows])
        yield f"the scene's {name}: Spearman {_spearman(felt, labels):.2f}, mean {felt.mean():.2f}"
    named = [_stems(", ".join([*(name for name, _ in scene.things), scene.place])) for scene in scenes]
    subjects = [[_stems(subject) for subject in row["subjects"].split(";")] for row in rows]
    right = [any(one <= have for one in mine) for have, mine in zip(named, subjects, strict=True)]
    single = [set().union(*mine) for mine in subjects]
    nouns = [have & set().union(*single) for have in named]
    own = sum(len(have & mine) for have, mine in zip(nouns, single, strict=True)) / max(1, sum(map(len, nouns)))
    yield f"a right subject {np.mean(right):.2f}; of the labels' nouns that are named, those of the picture {own:.2f}"
    people = [(bool(scene.people), row["people"] == "1") for scene, row in zip(scenes, rows, strict=True)]
    hits = sum(found and there for found, there in people)
    recall, precision = hits / sum(there for _, there in people), hits / max(1, sum(found for found, _ in people))
    looked = "" if all(scene.people is not None for scene in scenes) else " (nobody looked: their networks are missing)"
    yield f"people: recall {recall:.2f}, precision {precision:.2f}{looked}"


def _stems(text: str) -> set[str]:
    words = re.findall(r"[a-z]+", text.lower())
    return {word[:-1] if word.endswith("s") and len(word) > 3 else word for word in words}


def labelled(data: Path) -> list[tuple[Path, dict[str, str]]]:
    """Return each labelled picture's file with its label."""
    places = {path.name: path for path in sorted(data.rglob("*.jpg"))}
    rows = [
        row for file in sorted((data / "labels").glob("*.csv")) for row in csv.DictReader(file.open(encoding="utf-8"))
    ]
    return [(places[row["file"]], row) for row in rows]


def targets(rows: list[dict[str, str]]) -> dict[str, Array]:
    """Return what each probe is to tell: 0 or 1 for places, standard scores for feelings."""
    told = {name: [row["setting"] in settings for row in rows] for name, settings in SETTINGS.items()}
    texts = [f"{row['subjects']} {row['description']}".lower() for row in rows]
    for name, words in WORDS.items():
        told[name] = [bool(re.search(rf"\b({words})s?\b", text)) for text in texts]
    told["drawing"] = [a or row["setting"] == "abstract" for a, row in zip(told["drawing"], rows, strict=True)]
    told["people"] = [row["people"] == "1" for row in rows]
    felt = {name: np.array([float(row[name]) for row in rows]) for name in ("valence", "arousal")}
    scores = {name: (values - values.mean()) / values.std() for name, values in felt.items()}
    return {**{name: np.array(values, np.float64) for name, values in told.items()}, **scores}


def fit_ridge(pooled: Array, target: Array) -> tuple[Array, float]:
    """Return weights and bias of a ridge regression, in its dual form."""
    centre = pooled.mean(axis=0)
    apart = pooled - centre
    kernel = apart @ apart.T
    strength = STRENGTH * np.trace(kernel) / len(kernel)
    dual = np.linalg.solve(kernel + strength * np.eye(len(kernel)), target - target.mean())
    weights: Array = apart.T @ dual
    return weights, float(target.mean() - centre @ weights)


def leave_one_out(pooled: Array, target: Array) -> Array:
    """Return what each picture gets from a fit to all others."""
    readings = np.zeros(len(target))
    for index in range(len(target)):
        others = np.arange(len(target)) != index
        weights, bias = fit_ridge(pooled[others], target[others])
        readings[index] = pooled[index] @ weights + bias
    return readings


def _standard(readings: Array) -> tuple[float, float]:
    return 1 / readings.std(), -readings.mean() / readings.std()


def _odds(readings: Array, target: Array) -> tuple[float, float]:
    """Return slope and offset that turn readings into log odds (Platt 1999), by Newton's method with a weak prior."""
    scale = readings.std()
    columns = np.stack([readings / scale, np.ones(len(readings))], axis=1)
    prior = np.diag([0.5, 0.0])
    found = np.zeros(2)
    for _ in range(30):
        chance = 1 / (1 + np.exp(-columns @ found))
        curvature = columns.T @ (columns * (chance * (1 - chance))[:, None]) + prior
        found -= np.linalg.solve(curvature, columns.T @ (chance - target) + prior @ found)
    return float(found[0] / scale), float(found[1])


def _area(readings: Array, target: Array) -> float:
    ranks = np.argsort(np.argsort(readings))
    hits, size = target > 0.5, int(target.sum())
    return float((ranks[hits].sum() - size * (size - 1) / 2) / (size * (len(target) - size)))


def _spearman(first: Array, second: Array) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


if __name__ == "__main__":
    main()
