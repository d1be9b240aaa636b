"""Descriptions of hand-made scenes, and what holds for any scene."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.images.features import COLOUR_NAMES, MOODS
from image2music.images.kinds import MOTIONS, PLACES, all_kinds, groups
from image2music.images.scene import Scene
from image2music.images.words import (
    LANGUAGES,
    MOST_NAMED_THINGS,
    _title_phrases,
    describe_scene,
    noun_of,
    people_in,
    place_at,
    with_article,
    with_the,
)
from image2music.settings import LANGUAGE_NAMES

BEACH = Scene(
    subject="dog", things=(("person", 0.9), ("dog", 0.8), ("boat", 0.5), ("car", 0.1)), people=1,
    place="beach, sea, sky, sunset", motion="gentle movement", light="softly lit, lighter towards the top",
    palette=("orange", "blue"), mood="serene",
)  # fmt: skip
BLANK = Scene(subject="nothing to make out", palette=("blue",), mood="calm", motion="still")
UNCLEAR = Scene(subject="hard to tell", things=(("elephant", 0.5),), people=0, palette=("green",), mood="melancholy")
TEXTURE = Scene(subject="texture", place="texture", palette=("grey", "white"), light="bright and full of light")

# ruff: noqa: E501 - whole sentences
GOLDEN = {
    ("beach", "en"): "a person and a dog on a beach at sunset, and perhaps a boat. Above it is the sky. The picture is "
    "softly lit, brighter towards the top; its main colours are orange and blue. The mood is serene and there is a "
    "little movement.",
    ("beach", "de"): "eine Person und einen Hund am Strand bei Sonnenuntergang, vielleicht auch ein Boot. Darüber ist "
    "der Himmel. Das Bild ist weich beleuchtet, nach oben hin heller; die wichtigsten Farben sind Orange und Blau. Die "
    "Stimmung ist heiter und etwas ist in leichter Bewegung.",
    ("beach", "fr"): "une personne et un chien sur la plage au coucher du soleil, peut-être aussi un bateau. Au-dessus, "
    "il y a le ciel. L'image est doucement éclairée, plus claire vers le haut ; ses couleurs principales sont l'orange "
    "et le bleu. L'ambiance est sereine et l'on y sent un léger mouvement.",
    ("beach", "es"): "a una persona y un perro en la playa al atardecer, quizá también una barca. Arriba está el cielo. "
    "La imagen es de luz suave, más clara hacia arriba; sus colores principales son el naranja y el azul. El ambiente "
    "es sereno y hay un leve movimiento.",
    ("blank", "en"): "The picture is almost one even blue, with nothing to make out in it. The mood is calm and "
    "everything keeps still.",
    ("blank", "de"): "Das Bild ist fast ein einziges gleichmäßiges Blau, in dem nichts zu erkennen ist. Die Stimmung "
    "ist ruhig und alles steht still.",
    ("blank", "fr"): "L'image est presque d'un seul bleu uniforme, où l'on ne distingue rien. L'ambiance est calme et "
    "tout est immobile.",
    ("blank", "es"): "La imagen es casi toda de un mismo azul uniforme, en el que no se distingue nada. El ambiente es "
    "tranquilo y todo está quieto.",
    ("unclear", "en"): "The picture perhaps shows an elephant. Nearly everything is green. The mood is melancholy.",
    ("unclear", "de"): "Das Bild zeigt vielleicht einen Elefanten. Fast alles ist grün. Die Stimmung ist melancholisch.",
    ("unclear", "fr"): "L'image montre peut-être un éléphant. Presque tout y est vert. L'ambiance est mélancolique.",
    ("unclear", "es"): "La imagen muestra quizá un elefante. Casi todo es verde. El ambiente es melancólico.",
    ("texture", "en"): "Nothing stands out in the picture: it is an even texture that fills the whole surface. The "
    "picture is bright; its main colours are grey and white.",
    ("texture", "de"): "Nichts hebt sich im Bild ab: Es ist eine gleichmäßige Struktur, die die ganze Fläche füllt. Das "
    "Bild ist hell; die wichtigsten Farben sind Grau und Weiß.",
    ("texture", "fr"): "Rien ne se détache dans l'image : c'est une texture régulière qui remplit toute la surface. "
    "L'image est claire ; ses couleurs principales sont le gris et le blanc.",
    ("texture", "es"): "Nada destaca en la imagen: es una textura uniforme que llena toda la superficie. La imagen es "
    "luminosa; sus colores principales son el gris y el blanco.",
}  # fmt: skip
SCENES = {"beach": BEACH, "blank": BLANK, "unclear": UNCLEAR, "texture": TEXTURE}

NAMES = [*(kind.name for kind in all_kinds()), *groups(), "person", "people", "lighthouse keeper"]
LIGHTS = ("softly lit", "dark and shadowy, soft and hazy", "bright and full of light, lighter towards the left", "dim")
ANY_SCENE = st.builds(
    Scene,
    subject=st.sampled_from(("", "hard to tell", "nothing to make out")),
    things=st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 1)), max_size=9).map(tuple),
    people=st.none() | st.integers(0, 300),
    place=st.lists(st.sampled_from([*PLACES, "a harbour town"]), max_size=4, unique=True).map(", ".join),
    motion=st.sampled_from([*MOTIONS, "", "a train rushes by"]),
    light=st.sampled_from([*LIGHTS, ""]),
    palette=st.lists(st.sampled_from([*COLOUR_NAMES, "mauve"]), max_size=3).map(tuple),
    mood=st.sampled_from([*MOODS, "", "eerie"]),
)


@pytest.mark.parametrize(("name", "language"), GOLDEN)
def test_hand_made_scenes_are_described_in_whole_sentences(name, language):
    text, wanted = describe_scene(SCENES[name], language), GOLDEN[name, language]
    assert text.endswith(wanted)
    assert name == "beach" or text == wanted


@settings(max_examples=300, deadline=None)
@given(ANY_SCENE, st.sampled_from(LANGUAGES))
def test_any_scene_gives_plain_text(scene, language):
    text = describe_scene(scene, language)
    assert text == " ".join(text.split())
    assert text[0].isupper() and text.endswith(".")
    assert not re.search(r"\.\.|,,| ,|\{|\}|\( |, \.", text)
    assert "car" not in text.split() or any(name in ("car", "race car") for name, _ in scene.things) or language != "en"


@settings(max_examples=200, deadline=None)
@given(ANY_SCENE)
def test_at_most_six_things_are_named_and_people_only_where_they_were_found(scene):
    first = describe_scene(scene).split(".")[0]
    named = {with_article(noun, "en") for name, _ in scene.things if (noun := noun_of(name, "en"))}
    assert (
        sum(re.search(rf"\b{re.escape(one)}(?=[ ,.]|$)", first) is not None for one in named) <= 2 * MOST_NAMED_THINGS
    )
    assert first.count(" and ") + first.count(",") <= MOST_NAMED_THINGS + 2
    if not scene.people:
        assert not re.search(r"\b(person|people|crowd)\b", describe_scene(scene))


def test_every_kind_group_and_place_has_a_name_in_every_language():
    unnamed = {"other thing", "object", "structure", "place"}
    for language in LANGUAGES:
        assert [name for name in NAMES[:-3] if name not in unnamed and noun_of(name, language) is None] == []
        words = {name: place_at(name, language) for name in PLACES}
        assert {name for name, at in words.items() if not at} == {"close-up", "texture", "drawing", "black and white"}
    assert tuple(LANGUAGE_NAMES) == LANGUAGES


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("dog", ("a dog", "einen Hund", "un chien", "un perro")),
        ("elephant", ("an elephant", "einen Elefanten", "un éléphant", "un elefante")),
        ("cat", ("a cat", "eine Katze", "un chat", "un gato")),
        ("bird of prey", ("a bird of prey", "einen Greifvogel", "un rapace", "un ave rapaz")),
        ("vegetable", ("vegetables", "Gemüse", "des légumes", "verduras")),
        ("food", ("food", "Essen", "de la nourriture", "comida")),
        ("coffee", ("a cup of coffee", "eine Tasse Kaffee", "une tasse de café", "una taza de café")),
        ("small mammal", ("a small animal", "ein kleines Tier", "un petit animal", "un animal pequeño")),
    ],
)
def test_nouns_have_the_articles_of_their_language(name, wanted):
    nouns = [(noun_of(name, language), language) for language in LANGUAGES]
    assert tuple(with_article(noun, language) for noun, language in nouns if noun) == wanted


def test_people_are_counted_roughly():
    assert [people_in(count, "en") for count in (1, 2, 5, 40)] == [
        "a person", "two people", "several people", "a crowd of people",
    ]  # fmt: skip


def test_title_phrases_are_the_same_in_all_languages():
    known = {kind.name for kind in all_kinds()} | {*groups()} | {f"@{name}" for name in PLACES}
    for key, entries in _title_phrases().items():
        assert len(entries) == len(LANGUAGES) and len({len(one) for one in entries}) == 1, key
        assert key.split()[0] in ("frame", "form", "way") or key in known, key
        for alternatives in zip(*entries, strict=True):
            fields = {frozenset(re.findall(r"{(\w+)}", one)) for one in alternatives}
            assert len(fields) == 1 or fields <= {frozenset(("a",)), frozenset(("one",))}, alternatives
            assert all(one and one == " ".join(one.split()) for one in alternatives)


@pytest.mark.parametrize(
    ("name", "language", "expected"),
    [
        ("cat", "en", "the cat"),
        ("dog", "de", "der Hund"),
        ("cat", "de", "die Katze"),
        ("small mammal", "de", "ein kleines Tier"),
        ("clock", "fr", "l'horloge"),
        ("clothing", "fr", "les vêtements"),
        ("weapon", "es", "el arma"),
        ("vegetable", "es", "las verduras"),
        ("cosmetics", "es", "los cosméticos"),
    ],
)
def test_a_noun_has_its_definite_article(name, language, expected):
    assert with_the(noun_of(name, language), language) == expected
