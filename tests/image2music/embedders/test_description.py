"""What the descriptions say, and how sure they sound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage import data

from image2music.embedders.conse import load_conse
from image2music.images.features import Mood, Palette, class_kinds, class_names
from image2music.images.scene import Look, Named, describe


def look(*objects: Named, kinds: tuple[Named, ...] = (("object", 1.0),), contrast: float = 0.4) -> Look:
    """A look at a picture that only its things and its contrast set apart."""
    return Look(
        vector=np.zeros(384, np.float32),
        grid=np.zeros((7, 7, 384), np.float32),
        objects=objects,
        kinds=kinds,
        cell_objects=(),
        palette=Palette(0.5, contrast, 0.3, 0.1, ("blue", "white", "grey")),
        mood=Mood(0.1, 0.5, "gentle"),
        cell_brightness=np.full((7, 7), 0.5, np.float32),
    )


@pytest.mark.parametrize(
    ("probability", "opening"),
    [
        (0.9, "The picture shows a violin."),
        (0.4, "The picture probably shows a violin."),
        (0.2, "The picture may show a violin or an ant; it is hard to tell."),
        (0.1, "It is hard to say what the picture shows: parts of it recall a violin or an ant."),
    ],
)
def test_the_words_are_as_sure_as_the_network(probability: float, opening: str) -> None:
    assert describe(look(("violin", probability), ("ant", 0.01))).startswith(opening)


def test_a_kind_is_named_where_its_members_share_the_probability() -> None:
    kinds = (("dog", 0.7), ("object", 0.3))
    seen = look(("crate", 0.25), ("cocker spaniel", 0.2), kinds=kinds)
    assert describe(seen).startswith("The picture seems to show a dog, perhaps a cocker spaniel.")


def test_colours_and_mood_are_said() -> None:
    text = describe(look(("violin", 0.9), ("ant", 0.01)))
    assert "its colours are blue, white and grey" in text
    assert text.endswith("The mood is gentle: neither glad nor sad.")


def test_the_lighter_side_is_said() -> None:
    cells = np.full((7, 7), 0.3, np.float32)
    cells[:3] = 0.8
    seen = replace(look(("violin", 0.9), ("ant", 0.01)), cell_brightness=cells)
    assert "lighter towards the top" in describe(seen)


@pytest.mark.parametrize(("colour", "word"), [("black", "black"), ("white", "white"), ((220, 0, 0), "red")])
def test_an_empty_picture_is_called_empty(colour: str | tuple[int, int, int], word: str) -> None:
    seen = load_conse().look([Image.new("RGB", (64, 48), colour)])[0]
    assert describe(seen).startswith(f"The picture is almost one even {word}, with nothing to make out in it.")


def test_a_photograph_of_a_cat_is_described_as_one() -> None:
    seen = load_conse().look([Image.fromarray(data.chelsea())])[0]
    text = describe(seen)
    assert "cat" in text.split(".")[0]
    assert describe(load_conse().look([Image.fromarray(data.chelsea())])[0]) == text


def test_every_class_has_one_plain_name_and_a_kind() -> None:
    assert len(set(class_names())) == len(class_kinds()) == 1000
    assert dict(zip(class_names(), class_kinds(), strict=True))["robin"] == "bird"
