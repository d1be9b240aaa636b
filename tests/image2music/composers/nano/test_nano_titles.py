"""Titles name only what is sure, and differ from picture to picture."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.composers.nano.explaining import SURE_IN_TITLE, title_of
from image2music.composers.suiting import suiting_music
from image2music.images.kinds import all_kinds
from image2music.images.scene import Scene
from image2music.images.words import LANGUAGES, noun_of

KINDS = [kind.name for kind in all_kinds() if kind.name != "other thing"]
PLACES = ("sea, sky", "", "drawing", "mountains, outdoors", "night", "indoors", "black and white")


def scene(*things, place="", palette=("blue", "grey"), people=0, valence=0.1, arousal=0.4):
    return Scene("", things=things, people=people, place=place, palette=palette, valence=valence, arousal=arousal)


def title(seen, seed, language="en"):
    return title_of(seen, suiting_music(seen), seed, language)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.floats(0, SURE_IN_TITLE - 0.001),
    st.sampled_from(PLACES),
    st.integers(0, 2**60),
    st.sampled_from(LANGUAGES),
)
def test_no_title_names_a_thing_below_the_bound(name, confidence, place, seed, language):
    unsure, empty = scene((name, confidence), place=place), scene(place=place)
    music = suiting_music(empty)
    assert title_of(unsure, music, seed, language) == title_of(empty, music, seed, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_sure_is_named(language):
    noun = noun_of("cat", language)
    named = [noun.singular.lower() in title(scene(("cat", 0.9)), seed, language).lower() for seed in range(40)]
    assert all(named)


@pytest.mark.parametrize("language", LANGUAGES)
def test_people_are_named_only_where_they_were_found(language):
    music = suiting_music(scene())
    without = title_of(scene(), music, 5, language)
    assert title_of(scene(("person", 0.9), people=0), music, 5, language) == without
    assert title_of(scene(("person", 0.9), people=1), music, 5, language) != without


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_hundred_pictures_hardly_repeat_a_title(language):
    titles = []
    for number in range(100):
        things = ((KINDS[number * 7 % len(KINDS)], 0.8),) if number % 2 else ()
        place = PLACES[number % len(PLACES)]
        palette = (("blue", "grey"), ("green", "brown"), ("red", "black"))[number % 3]
        titles.append(title(scene(*things, place=place, palette=palette, arousal=number / 100), number, language))
    assert len(set(titles)) >= 80
    assert all(one[0].isupper() and one == " ".join(one.split()) for one in titles)
    assert not any(mark in one for one in titles for mark in "{}|")


def test_the_german_title_has_its_cases():
    found = {title(scene(("dog", 0.9)), seed, "de") for seed in range(60)}
    assert any("für einen Hund" in one for one in found)
    assert any(one.endswith("Ein Hund") for one in found)
    assert any(one.startswith("Der Hund") for one in found)
    assert not any(one.startswith("Einen") or ": Einen" in one for one in found)


def test_what_stands_beside_is_named_unless_it_is_rather_where_it_is():
    beside = {title(scene(("plant", 0.9), ("insect", 0.7)), seed) for seed in range(20)}
    assert all("Plant" in one and "Insect" in one for one in beside)
    around = {title(scene(("plant", 0.9), ("field", 0.7)), seed) for seed in range(20)}
    assert not any("Field" in one for one in around)


@pytest.mark.parametrize(("count", "never"), [(1, ("People", "Crowd")), (4, ("Someone", "Crowd")), (12, ("Someone",))])
def test_persons_are_as_many_as_were_found(count, never):
    found = {title(scene(("people", 0.9), people=count), seed) for seed in range(40)}
    assert len(found) > 3
    assert not any(word in one for word in never for one in found)


def test_a_drawing_without_things_names_shapes_and_colours_alone():
    for seed in range(40):
        assert "Blue" in title(scene(place="drawing"), seed)


def test_the_sky_is_named_where_nothing_tells_more():
    assert any("Sky" in title(scene(place="sky"), seed) for seed in range(20))
    assert not any("Sky" in title(scene(place="sky, sea"), seed) for seed in range(20))


def test_a_title_depends_on_nothing_but_what_it_is_given():
    assert title(scene(("dog", 0.9)), 3) == title(scene(("dog", 0.9)), 3)
