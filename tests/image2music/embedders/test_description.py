"""What the descriptions of real pictures say."""

from __future__ import annotations

import pytest
from PIL import Image
from skimage import data

from image2music.embedders.conse import load_conse
from image2music.images.features import class_kinds, class_names
from image2music.images.scene import scene_of
from image2music.images.words import describe_scene


@pytest.mark.parametrize(("colour", "word"), [("black", "black"), ("white", "white"), ((220, 0, 0), "red")])
def test_an_empty_picture_is_called_empty(colour: str | tuple[int, int, int], word: str) -> None:
    seen = load_conse().look([Image.new("RGB", (64, 48), colour)])[0]
    assert describe_scene(scene_of(seen)).startswith(
        f"The picture is almost one even {word}, with nothing to make out in it."
    )


def test_a_photograph_of_a_cat_is_described_as_one() -> None:
    seen = load_conse().look([Image.fromarray(data.chelsea())])[0]
    text = describe_scene(scene_of(seen))
    assert "cat" in text.split(".")[0]
    assert describe_scene(scene_of(load_conse().look([Image.fromarray(data.chelsea())])[0])) == text


def test_every_class_has_one_plain_name_and_a_kind() -> None:
    assert len(set(class_names())) == len(class_kinds()) == 1000
    assert dict(zip(class_names(), class_kinds(), strict=True))["robin"] == "bird"
