"""What a scene asks the search to build with: plain pictures have plain answers, and nothing has none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.composers.nano.gestures import DEVICES, THEME_SHAPES, gestures_of
from image2music.images.kinds import PLACES, all_kinds
from image2music.images.scene import Scene
from image2music.music.arrange.figures import library

words = st.sampled_from([kind.name for kind in all_kinds()] + ["a red boat", "women dancing", "qwrx", "no; snow", ""])
scenes = st.builds(
    Scene,
    subject=words,
    things=st.lists(st.tuples(words, st.floats(0, 1)), max_size=4).map(tuple),
    people=st.none() | st.integers(0, 30),
    place=st.lists(st.sampled_from(PLACES), max_size=3).map(", ".join) | st.text(max_size=20),
    motion=st.sampled_from(["", "still", "fast movement", "someone runs"]),
    eye_path=st.lists(words, max_size=6).map(tuple),
    valence=st.none() | st.floats(-1, 1),
    arousal=st.none() | st.floats(0, 1),
)


def device(scene: Scene) -> str:
    return gestures_of(scene).devices[0][0]


@pytest.mark.parametrize(
    ("scene", "wanted"),
    [
        (Scene("a mountain mirrored in a lake"), "inversion"),
        (Scene("sunset over the sea", place="sea"), "augmentation"),
        (Scene("a thunderstorm over fields"), "shrink"),
        (Scene("a couple dancing in a garden", people=2), "combine"),
        (Scene("bird", things=(("songbird", 0.9),)), "call"),
        (Scene("a lonely hut in the snow at night", place="snow, night"), "silence"),
        (Scene("a procession along a row of columns"), "canon"),
    ],
)
def test_a_device_is_what_the_picture_asks_for(scene, wanted):
    assert device(scene) == wanted
    assert gestures_of(scene).devices[0][2]


def test_a_single_figure_in_a_wide_place_calls_and_two_people_go_together():
    assert device(Scene("person", people=1, place="desert")) == "call"
    assert device(Scene("people", people=2)) == "combine"


def test_what_is_said_not_to_be_there_is_not_heard():
    assert gestures_of(Scene("a square without any birds")) == gestures_of(Scene("a square"))


@given(scenes)
@settings(max_examples=150, deadline=None)
def test_every_device_keeps_a_weight_and_weights_add_up(scene):
    found = gestures_of(scene)
    assert {name for name, _, _ in found.devices} == set(DEVICES)
    weights = [weight for _, weight, _ in found.devices]
    assert min(weights) > 0.02 and sum(weights) == pytest.approx(1, abs=0.001)
    assert weights == sorted(weights, reverse=True)
    assert found.shape in THEME_SHAPES and found.shape_reason
    assert 0 <= found.space <= 1
    assert all(figure.families and figure.reason for figure in found.figures)
    assert not any("{" in reason for _, _, reason in found.devices)
    assert found == gestures_of(scene)


@pytest.mark.parametrize(
    ("text", "name"),
    [("waves on a river", "ripple"), ("lightning", "tremolo"), ("rain on a window", "drops"), ("old church", "bells"),
     ("the wheels of a train", "clockwork"), ("a waterfall", "cascade")],
)  # fmt: skip
def test_a_figure_pictures_what_is_seen(text, name):
    figures = gestures_of(Scene(text, arousal=0.6)).figures
    assert figures[0].name == name
    assert figures[0].accents == (text == "lightning")


def test_figures_that_are_named_are_in_the_library():
    known = {figure.name: figure.family for figure in library()}
    told = [figure for kind in all_kinds() for figure in gestures_of(Scene(kind.name, arousal=0.6)).figures]
    assert all(figure.families == (known[figure.name],) for figure in told if figure.name)


def test_who_walks_has_a_pulse_and_who_dances_a_waltz():
    assert "pulse" in gestures_of(Scene("someone walking", arousal=0.5)).figures[0].families
    assert gestures_of(Scene("dancers")).figures[0].families == ("waltz",)


@pytest.mark.parametrize(
    ("text", "shape"),
    [("a rocket", "rise"), ("a sinking sun at sunset", "fall"), ("hills", "arch"), ("ocean waves", "wave"),
     ("a leaping dog", "leaping"), ("a still pond", "still"), ("qwrx", "arch")],
)  # fmt: skip
def test_the_theme_goes_as_what_is_seen(text, shape):
    assert gestures_of(Scene(text)).shape == shape


def test_what_rises_starts_low_and_what_falls_starts_high():
    assert gestures_of(Scene("a rocket")).start_low
    assert not gestures_of(Scene("sunset")).start_low
    assert not gestures_of(Scene("qwrx", eye_path=("the cloud at the top", "a house"))).start_low


def test_there_is_more_air_in_a_desert_than_in_a_market():
    desert, market = Scene("desert", place="desert", arousal=0.2), Scene("market", people=20, arousal=0.7)
    assert gestures_of(desert).space > 0.7 > 0.3 > gestures_of(market).space


def test_an_eye_with_many_stations_makes_a_form_of_stations():
    path = ("the bridge", "the river", "the town", "the sky")
    found = gestures_of(Scene("river", eye_path=(*path, path[0])))
    assert (found.form_hint, found.stations) == ("through-composed", 4)
    assert gestures_of(Scene("a mirror")).form_hint == "mirror"
