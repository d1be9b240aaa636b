"""Names of the 1000 ImageNet classes, made plain, and the kind of thing each one is."""

from __future__ import annotations

from functools import cache

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
    """The 1000 classes in the order of the network's outputs, from torchvision's metadata, ambiguous ones reworded."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    return tuple(_PLAIN.get(name, name) for name in _IMAGENET_CATEGORIES)


@cache
def class_kinds() -> tuple[str, ...]:
    """For each of the 1000 classes the kind of thing it is, such as "bird", "dog", "vehicle" or "object"."""
    kinds = ["object"] * 1000
    for members, kind in ((_VEHICLES, "vehicle"), (_BUILDINGS, "building"), (_INSTRUMENTS, "musical instrument")):
        for index in members:
            kinds[index] = kind
    for first, last, kind in _KINDS:
        kinds[first : last + 1] = [kind] * (last + 1 - first)
    return tuple(kinds)


@cache
def kind_of() -> dict[str, str]:
    """From the name of a class to its kind."""
    return dict(zip(class_names(), class_kinds(), strict=True))
