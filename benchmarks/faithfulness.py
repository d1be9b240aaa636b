"""Do nano's maps mean anything? Deletion curves: replace cells by blank ones and see how the tune's likelihood falls.

Petsiuk, Das and Saenko 2018 (RISE), with likelihood of the fixed tune in place of a class score. A map is faithful if
the most-attended cells, replaced first, lower the likelihood sooner than cells in random or centre-first order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from image2music.composers.attention import first_cells, from_centre
from image2music.composers.base import ComposeRequest, WriteRequest
from image2music.composers.nano.composer import NanoComposer
from image2music.composers.nano.explaining import control_and_music_tokens
from image2music.composers.nano.patches import SeenPicture
from image2music.composers.nano.sampling import PREFIX, Sampler
from image2music.images.decode import open_picture

STEPS = (0, 5, 10, 15, 20, 30, 40, 49)
RANDOM_ORDERS = 5


def deletion_curves(composer: NanoComposer, pictures: Sequence[Path], most: int = 40) -> list[dict[str, Any]]:
    """One row an order: mean fall of log likelihood (nats a tune, its plan included) after each number of cells.

    `area` is the mean over the curve: larger means that the order finds what matters sooner. `music alone` is the
    area for the tokens of the music only, whose plan is told to the model already.
    """
    curves: dict[str, list[NDArray[np.float64]]] = {}
    for number, path in enumerate(pictures[:most]):
        for name, curve in _curves(composer, path, number).items():
            curves.setdefault(name, []).append(curve)
    rows = []
    for name, found in curves.items():
        mean = np.mean(found, axis=0)
        whole, music = mean.sum(1), mean[:, 1]
        row: dict[str, Any] = {"order": name, "pictures": len(found), "area": float(whole.mean())}
        row["music alone"] = float(music.mean())
        rows.append(row | {f"{k} cells": float(value) for k, value in zip(STEPS, whole, strict=True)})
    return rows


def _curves(composer: NanoComposer, path: Path, number: int) -> dict[str, NDArray[np.float64]]:
    image = open_picture(path.read_bytes()).image
    description = composer.look([image])[0]
    request = ComposeRequest(path.name, image, description, (), number)
    tokens = torch.tensor([control_and_music_tokens(composer.write([WriteRequest(request)])[0])])
    seen = description.features
    assert isinstance(seen, SeenPicture)
    sampler = composer.sampler
    config = sampler.model.config
    references = np.zeros((config.reference_slots, config.reference_tokens), np.int64)
    blank = sampler.blank
    attention, baseline = sampler.attention(tokens, np.stack([seen.patches, blank]), references)
    rng = np.random.default_rng(number)
    weights, plan = attention[PREFIX:].mean(0), attention[1:PREFIX].mean(0)
    orders = {
        "most attended by the music": [np.argsort(-weights)],
        "most attended, over a blank picture's": [np.argsort(-weights / baseline[PREFIX:].mean(0))],
        "most attended by the plan": [np.argsort(-plan)],
        "least attended by the music": [np.argsort(weights)],
        "random": [rng.permutation(len(weights)) for _ in range(RANDOM_ORDERS)],
        "centre first": [from_centre(seen.rows, seen.cols)],
    }
    return {
        name: np.mean([_curve(sampler, tokens, seen.patches, blank, order, references) for order in found], axis=0)
        for name, found in orders.items()
    }


def _curve(
    sampler: Sampler,
    tokens: torch.Tensor,
    patches: NDArray[np.float32],
    blank: NDArray[np.float32],
    order: NDArray[np.int64],
    references: NDArray[np.int64],
) -> NDArray[np.float64]:
    """float64[steps, 2]: fall of the plan's and of the music's log likelihood."""
    versions = np.where(first_cells(order, STEPS)[:, :, None], blank, patches)
    nats = sampler.log_likelihood(tokens, versions, references)
    parts = np.stack([nats[:, : PREFIX - 1].sum(1), nats[:, PREFIX - 1 :].sum(1)], axis=1)
    fall: NDArray[np.float64] = parts[0] - parts
    return fall
