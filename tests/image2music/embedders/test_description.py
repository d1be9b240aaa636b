"""What the descriptions of real pictures say."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image
from skimage import data

from image2music.embedders.conse import load_conse
from image2music.images.features import class_names
from image2music.images.kinds import all_kinds
from image2music.images.words import describe_scene


@pytest.mark.parametrize(("colour", "word"), [("black", "black"), ("white", "white"), ((220, 0, 0), "red")])
def test_an_empty_picture_is_called_empty(colour: str | tuple[int, int, int], word: str) -> None:
    seen = load_conse().look([Image.new("RGB", (64, 48), colour)])[0]
    assert describe_scene(seen.scene).startswith(
        f"The picture is almost one even {word}, with nothing to make out in it."
    )


def test_a_photograph_of_a_cat_is_described_as_one() -> None:
    seen = load_conse().look([Image.fromarray(data.chelsea())])[0]
    text = describe_scene(seen.scene)
    assert "cat" in text.split(".")[0]
    assert describe_scene(load_conse().look([Image.fromarray(data.chelsea())])[0].scene) == text


def test_every_class_has_one_plain_name_and_one_kind() -> None:
    assert len(set(class_names())) == 1000
    kinds = [kind.name for index in range(1000) for kind in all_kinds() if index in kind.classes]
    assert len(kinds) == 1000
    assert kinds[class_names().index("robin")] == "songbird"


def test_the_names_of_classes_are_read_without_the_package_that_has_them() -> None:
    code = "import sys; from image2music.images.features import class_names; class_names(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torchvision" not in loaded
