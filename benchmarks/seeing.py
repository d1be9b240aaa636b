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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from image2music.images.decode import open_picture
from image2music.images.features import load_efficientnet, middle_of, pixels_of

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
    pooled = np.stack([_pooled(path) for path, _ in rows]).astype(np.float64)
    weights, offsets, slopes = [], [], []
    for name, target in targets([row for _, row in rows]).items():
        feeling = name in ("valence", "arousal")
        left_out = leave_one_out(pooled, target)
        slope, offset = _standard(left_out) if feeling else _odds(left_out, target)
        own, bias = fit_ridge(pooled, target)
        weights.append(own)
        slopes.append(slope)
        offsets.append(bias * slope + offset)
        figure = f"Spearman {_spearman(left_out, target):.2f}" if feeling else f"AUC {_area(left_out, target):.2f}"
        print(f"{name}: {figure}, {int(target.sum()) if not feeling else len(target)} pictures")
    if arguments.out:
        np.savez_compressed(
            arguments.out,
            names=np.array(list(targets([row for _, row in rows]))),
            weights=np.array(weights, np.float16),
            offsets=np.array(offsets, np.float32),
            slopes=np.array(slopes, np.float32),
        )


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


def _pooled(path: Path) -> NDArray[np.float32]:
    image = open_picture(path.read_bytes()).image
    network = load_efficientnet()
    views = [network.classify(pixels_of(view)).pooled for view in (image, middle_of(image))]
    pooled: NDArray[np.float32] = np.mean(views, axis=0)
    return pooled


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
