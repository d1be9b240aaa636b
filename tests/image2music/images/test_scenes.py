"""What is seen in a picture: kinds, places, gaze, motion and feeling, on drawn pictures and real photographs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from image2music.embedders.conse import load_conse
from image2music.images.features import MOODS, Classified, load_efficientnet, middle_of, pixels_of
from image2music.images.kinds import CLASSES, MOTIONS, PLACES, all_kinds, groups, membership
from image2music.images.layout import PictureLayout, measure_layout
from image2music.images.people import People
from image2music.images.places import Gaze, find_places, load_probes, ramp
from image2music.images.scene import Reading, Scene, feeling_of, mood_word, motion_of, read_picture, see_scene

SIDE = 224
GENERATOR = np.random.Generator(np.random.Philox(5))


def plain(*colour: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), colour, np.uint8)


def noisy(pixels: np.ndarray, amount: int) -> np.ndarray:
    noise = GENERATOR.integers(-amount, amount + 1, (*pixels.shape[:2], 1))
    return np.clip(pixels.astype(int) + noise, 0, 255).astype(np.uint8)


def above(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Return the upper half of one picture over the lower half of another."""
    return np.concatenate([top[: SIDE // 2], bottom[SIDE // 2 :]])


def sky_over_sea() -> np.ndarray:
    sea = plain(30, 80, 140)
    ripples = (12 * np.sin(np.arange(SIDE) * 1.3)).astype(int)[:, None, None]
    return above(plain(120, 175, 235), noisy(np.clip(sea.astype(int) + ripples, 0, 255).astype(np.uint8), 8))


def starry(black: int, points: int) -> np.ndarray:
    pixels = plain(black, black, black + 6)
    for row, column in GENERATOR.integers(4, SIDE - 4, (points, 2)):
        pixels[row, column] = pixels[row, column + 1] = 255
    return pixels


def ball() -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    return np.where((np.hypot(rows, columns) < 60)[..., None], plain(190, 180, 160), plain(0, 0, 0))


def silhouette() -> np.ndarray:
    return np.where((np.arange(SIDE) < 80)[:, None, None], plain(0, 0, 0), plain(255, 255, 255))


OUTSIDE = {"outdoors": 0.95, "indoors": 0.02}


@pytest.mark.parametrize(
    ("pixels", "probed", "place"),
    [
        (sky_over_sea(), OUTSIDE, "sky"),
        (sky_over_sea(), OUTSIDE, "water"),
        (starry(2, 150), OUTSIDE, "outer space"),
        (ball(), {}, "outer space"),
        (starry(40, 25), OUTSIDE, "night"),
        (above(plain(120, 175, 235), noisy(plain(60, 140, 50), 30)), OUTSIDE, "meadow"),
        (above(plain(120, 175, 235), noisy(plain(225, 230, 235), 6)), OUTSIDE, "snow"),
        (above(plain(250, 170, 90), noisy(plain(30, 25, 25), 12)), OUTSIDE, "sunset"),
        (above(plain(85, 92, 105), noisy(plain(35, 40, 40), 12)), OUTSIDE, "storm"),
        (noisy(plain(40, 110, 45), 60), OUTSIDE, "forest"),
        (above(plain(120, 175, 235), plain(215, 180, 120)), OUTSIDE, "desert"),
        (noisy(plain(150, 120, 90), 25), {}, "texture"),
        (noisy(plain(120, 120, 120), 90), {}, "black and white"),
        (silhouette(), {}, "drawing"),
    ],
)
def test_a_place_is_known_by_its_layout(pixels: np.ndarray, probed: dict[str, float], place: str) -> None:
    assert find_places(measure_layout(pixels), {}, probed)[place] >= 0.5


@pytest.mark.parametrize(
    ("pixels", "probed", "other"),
    [
        (plain(120, 175, 235), {"indoors": 0.95}, "water"),
        (sky_over_sea(), OUTSIDE, "night"),
        (sky_over_sea(), OUTSIDE, "snow"),
        (sky_over_sea(), OUTSIDE, "storm"),
        (starry(2, 150), OUTSIDE, "night"),
        (starry(2, 150), OUTSIDE, "outdoors"),
        (plain(0, 0, 0), OUTSIDE, "outer space"),
        (plain(255, 255, 255), OUTSIDE, "snow"),
        (noisy(plain(60, 140, 50), 30), {"drawing": 1.0, **OUTSIDE}, "texture"),
        (noisy(plain(60, 140, 50), 30), OUTSIDE, "black and white"),
    ],
)
def test_a_place_is_not_taken_for_another(pixels: np.ndarray, probed: dict[str, float], other: str) -> None:
    assert find_places(measure_layout(pixels), {}, probed)[other] < 0.5


shares = st.dictionaries(st.sampled_from([kind.name for kind in all_kinds()] + list(groups())), st.floats(0, 1))
probes = st.dictionaries(st.sampled_from(["drawing", "indoors", "outdoors", "plant", "sky"]), st.floats(0, 1))


@given(shares, probes)
def test_every_place_has_a_confidence_between_0_and_1(seen: dict[str, float], probed: dict[str, float]) -> None:
    places = find_places(_sea(), seen, probed)
    assert tuple(places) == PLACES
    assert all(0 <= confidence <= 1 for confidence in places.values())
    assert motion_of(_sea(), seen, places, people=0) in MOTIONS


@cache
def _sea() -> PictureLayout:
    return measure_layout(sky_over_sea())


@given(st.floats(-3, 3), st.floats(-3, 3), st.sampled_from(MOTIONS), st.floats(0, 1))
def test_feelings_stay_within_their_scales(valence: float, arousal: float, motion: str, people: float) -> None:
    even = np.full(len(all_kinds()), 1 / len(all_kinds()), np.float32)
    mood = feeling_of(_sea(), even, {"valence": valence, "arousal": arousal}, {}, motion, people)
    assert -1 <= mood.valence <= 1
    assert 0 <= mood.arousal <= 1
    assert mood.word in MOODS
    more = feeling_of(_sea(), even, {"valence": valence, "arousal": arousal}, {}, MOTIONS[-1], people)
    assert more.arousal >= mood.arousal


def test_a_storm_is_sadder_and_wilder_than_the_same_picture_without() -> None:
    even = np.full(len(all_kinds()), 1 / len(all_kinds()), np.float32)
    calm, storm = (feeling_of(_sea(), even, {}, places, "still", 0) for places in ({}, {"storm": 1.0}))
    assert storm.valence < calm.valence
    assert storm.arousal > calm.arousal


def test_words_for_moods_are_the_nearest() -> None:
    assert [mood_word(*place) for place in MOODS.values()] == list(MOODS)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5))
def test_a_ramp_climbs_from_0_to_1(value: float, low: float, high: float) -> None:
    if abs(high - low) < 1e-3:
        return
    assert 0 <= ramp(value, low, high) <= 1
    assert ramp(low, low, high) == 0
    assert ramp(high, low, high) == 1
    assert ramp(value, low, high) == pytest.approx(1 - ramp(value, high, low))


def test_each_class_belongs_to_one_kind() -> None:
    assert membership().shape == (len(all_kinds()), CLASSES)
    assert (membership().sum(axis=0) == 1).all()
    names = [kind.name for kind in all_kinds()]
    assert len(set(names)) == len(names)
    assert all(-1 <= kind.valence <= 1 and 0 <= kind.arousal <= 1 for kind in all_kinds())


def test_probes_read_probable_things_from_their_own_direction() -> None:
    loaded = load_probes()
    for name, weights in zip(loaded.names, loaded.weights, strict=True):
        towards, away = (loaded.read(sign * 20 * weights)[name] for sign in (1, -1))
        assert towards > away


def classified(**probabilities: float) -> Classified:
    """Return what the classifier would say of a picture with these kinds, whole and in every cell."""
    rows = {kind.name: list(kind.classes) for kind in all_kinds()}
    whole = np.zeros(CLASSES, np.float32)
    for name, share in probabilities.items():
        whole[rows[name.replace("_", " ")]] = share / len(rows[name.replace("_", " ")])
    return Classified(whole, np.tile(whole, (7, 7, 1)), np.zeros(1280, np.float32))


PROBED = {"drawing": 0.0, "indoors": 0.0, "outdoors": 0.9, "plant": 0.0, "sky": 0.5, "people": 0.0} | {
    "valence": 0.0,
    "arousal": 0.0,
}


def reading(pixels: np.ndarray | None = None, probed: dict[str, float] | None = None, **kinds: float) -> Reading:
    seen = classified(**kinds)
    return read_picture(seen, seen, sky_over_sea() if pixels is None else pixels, PROBED | (probed or {}))


def names(scene: Scene) -> list[str]:
    return [name for name, _ in scene.things]


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        ({"dog": 0.8}, ["dog"]),
        ({"dog": 0.25, "cat": 0.2, "fox": 0.2}, ["animal"]),
        ({"dog": 0.35, "cat": 0.3}, ["animal"]),
        ({"duck": 0.3, "parrot": 0.25}, ["bird"]),
        ({"duck": 0.2, "parrot": 0.2, "dog": 0.2}, ["animal"]),
        ({"church": 0.4, "castle": 0.3}, ["building"]),
        ({"clothing": 0.4}, []),
        ({"dog": 0.1, "clock": 0.1}, []),
    ],
)
def test_a_thing_is_named_at_the_level_that_is_known(kinds: dict[str, float], named: list[str]) -> None:
    assert names(see_scene(reading(**kinds), None)) == named


def test_what_sits_on_plants_is_told_from_them_only_where_it_is_plain() -> None:
    assert names(see_scene(reading(probed={"plant": 0.9}, insect=0.4, flower=0.1), None)) == ["plant"]
    assert "insect" in names(see_scene(reading(probed={"plant": 0.9}, insect=0.9), None))


def test_a_drawing_is_no_lamp() -> None:
    flat = above(plain(200, 60, 90), plain(90, 30, 80))
    drawn = see_scene(reading(flat, {"drawing": 0.95, "outdoors": 0.1}, lamp=0.6), None)
    assert names(drawn) == []
    assert drawn.place == "drawing"


@pytest.mark.parametrize(("count", "word"), [(1, "person"), (3, "people")])
def test_people_are_things_too(count: int, word: str) -> None:
    people = People(count, 0.9, 0.5, 0, ((0.4, 0.2, 0.6, 1.0),) * count)
    scene = see_scene(reading(dog=0.8), people)
    assert (word, 0.9) in scene.things
    assert scene.people == count
    assert scene.focal_point == "the person in the middle"
    assert word in scene.near


def test_nobody_is_none_where_nobody_looked_and_0_where_nobody_was_found() -> None:
    assert see_scene(reading(), None).people is None
    assert see_scene(reading(), People(0, 0.1, 0.0, 0, ())).people == 0


def test_the_far_layer_has_the_sky_and_the_near_one_the_ground() -> None:
    meadow = above(plain(120, 175, 235), noisy(plain(60, 140, 50), 30))
    scene = see_scene(reading(meadow), None)
    assert scene.far.startswith("sky")
    assert scene.near.startswith("meadow")
    assert {"sky", "meadow", "outdoors"} <= set(scene.place.split(", "))


def test_the_eye_starts_where_something_stands_out() -> None:
    pixels = plain(90, 90, 90)
    pixels[128:160, 32:64] = (230, 30, 30)
    gaze = Gaze(measure_layout(pixels), classified(), (), None)
    row, column = divmod(int(gaze.salience().argmax()), 7)
    assert (row, column) == (4, 1)
    assert gaze.path()[0].startswith("the red patch")


def test_an_even_picture_has_nothing_to_look_at() -> None:
    scene = see_scene(reading(plain(200, 0, 0), dog=0.9), None)
    assert (scene.things, scene.place, scene.focal_point, scene.eye_path) == ((), "", "", ())
    assert scene.subject == "nothing to make out"


def test_people_move_the_feeling_but_not_the_reading() -> None:
    seen = reading(dog=0.8)
    crowd = People(9, 0.9, 0.3, 0, ())
    assert seen.feeling(crowd)[1].arousal > seen.feeling()[1].arousal
    assert seen.feeling() == seen.feeling(replace(crowd, count=0))


@pytest.mark.parametrize(
    ("kinds", "motion"),
    [
        ({}, "still"),
        ({"dog": 0.9}, "gentle movement"),
        ({"train": 0.9}, "plain movement"),
        ({"race_car": 1}, MOTIONS[3]),
    ],
)
def test_what_moves_follows_from_what_is_seen(kinds: dict[str, float], motion: str) -> None:
    assert see_scene(reading(plain(200, 190, 180), **kinds), None).motion == motion


@pytest.fixture(scope="module")
def photographs() -> dict[str, Scene]:
    arrays = {
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "astronaut": data.astronaut(),
        "galaxies": data.hubble_deep_field(),
        "motorbike": data.stereo_motorcycle()[0],
        "gravel": np.repeat(data.gravel()[..., None], 3, axis=2),
    }
    images = [Image.fromarray(array) for array in arrays.values()]
    return dict(zip(arrays, (look.scene for look in load_conse().look(images)), strict=True))


def test_photographs_show_what_they_show(photographs: dict[str, Scene]) -> None:
    for name in ("cat", "coffee", "motorbike"):
        assert photographs[name].things[0][0] == name
        assert "indoors" in photographs[name].place
    assert "outer space" in photographs["galaxies"].place
    assert {"black and white", "texture"} <= set(photographs["gravel"].place.split(", "))
    assert names(photographs["galaxies"]) == names(photographs["gravel"]) == []


def test_an_astronaut_is_a_person_wherever_somebody_looks(photographs: dict[str, Scene]) -> None:
    astronaut = photographs["astronaut"]
    assert astronaut.people in (None, 1)
    assert ("person" in names(astronaut)) == (astronaut.people == 1)


def test_a_motorbike_excites_more_than_a_galaxy_and_coffee_pleases_more_than_gravel(
    photographs: dict[str, Scene],
) -> None:
    felt = {name: (scene.valence or 0.0, scene.arousal or 0.0) for name, scene in photographs.items()}
    assert felt["motorbike"][1] > felt["galaxies"][1] + 0.3
    assert felt["coffee"][0] > felt["gravel"][0] + 0.3


def test_a_scene_does_not_depend_on_what_was_looked_at_before() -> None:
    cat, coffee = Image.fromarray(data.chelsea()), Image.fromarray(data.coffee())
    assert load_conse().look([coffee, cat])[1].scene == load_conse().look([cat])[0].scene


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3)])
def test_odd_sizes_have_a_middle(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (10, 200, 30))
    assert pixels_of(middle_of(image)).shape == (SIDE, SIDE, 3)
    seen = load_efficientnet().classify(pixels_of(image))
    assert see_scene(read_picture(seen, seen, pixels_of(image)), None).things == ()
