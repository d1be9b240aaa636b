"""Descriptions of a scene in plain sentences, in four languages, and the names of everything that scenes name.

What is sure is stated, what is less sure is hedged, and what is hardly likely is left out. The names stand in
`nouns.txt`, with gender and plural, beside what titles say; whole phrases stand for whatever would need declension.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from image2music.images.features import COLOUR_NAMES
from image2music.images.scene import Scene

LANGUAGES = ("en", "de", "fr", "es")
MOST_NAMED_THINGS = 6
STATED, HEDGED = 0.6, 0.45
"""From these confidences on a thing is stated as a fact, and named with a "perhaps"."""
PERSONS = frozenset({"person", "people"})
_TIMES = ("night", "sunset", "storm")
_MANNERS = ("close-up", "texture", "drawing", "black and white")
_VAGUE_PLACES = ("indoors", "outdoors")
A_FEW = 9
"""The most persons that are several; more are a crowd."""
_MOST_COLOURS = 2
_WIDE = frozenset({"mountain", "cliff", "lake", "valley", "volcano", "geyser", "landscape"})
_BLANK = "nothing to make out"


@dataclass(frozen=True)
class Noun:
    """A name in one language: `gender` is m, f, n, x (feminine with a masculine article), p (plural only).

    `plural` is empty where the thing cannot be counted; `accusative` is the German one.
    """

    singular: str
    plural: str
    gender: str
    accusative: str


@dataclass(frozen=True)
class _Place:
    seen: str
    at: str


def _lines() -> list[list[str]]:
    lines = (files("image2music.images") / "nouns.txt").read_text(encoding="utf-8").splitlines()
    return [[part.strip() for part in line.split(";")] for line in lines if line and not line.startswith("#")]


@cache
def _tables() -> tuple[dict[str, dict[str, Noun]], dict[str, dict[str, _Place]]]:
    """Read `nouns.txt`: nouns, then places, by language and name."""
    nouns: dict[str, dict[str, Noun]] = {language: {} for language in LANGUAGES}
    places: dict[str, dict[str, _Place]] = {language: {} for language in LANGUAGES}
    for key, *entries in _lines():
        if key.startswith("%"):
            continue
        for language, entry in zip(LANGUAGES, entries, strict=True):
            if key.startswith("@"):
                seen, _, at = entry.partition("|")
                places[language][key[1:]] = _Place(seen, at)
            else:
                nouns[language][key] = _read_noun(entry, language, key)
    return nouns, places


def _read_noun(entry: str, language: str, key: str) -> Noun:
    gender, text = ("n", entry) if language == "en" else (entry[0], entry[2:])
    singular, _, plural = text.partition(",")
    singular, _, accusative = singular.partition("/")
    if language == "en" and key in ("vegetable", "clothing", "cosmetics"):
        gender = "p"
    return Noun(singular, plural, gender, accusative or singular)


def noun_of(name: str, language: str) -> Noun | None:
    """Return the noun for a name of a kind or group; None where there is none in this language."""
    known = _tables()[0][language].get(name)
    if known is None and language == "en" and name.strip():
        return Noun(name.strip(), name.strip() + "s", "n", name.strip())
    return known


def place_seen(name: str, language: str) -> str:
    """Return a place as what is seen (`a beach`, in German in the accusative); empty where it has no such name."""
    place = _tables()[1][language].get(name)
    return place.seen if place else ""


def place_at(name: str, language: str) -> str:
    """Return a place as where something is (`on a beach`); empty where there are no words for it."""
    place = _tables()[1][language].get(name)
    return place.at if place else ""


@cache
def _title_phrases() -> dict[str, tuple[tuple[str, ...], ...]]:
    return {
        key[1:]: tuple(tuple(one.split("|")) for one in entries) for key, *entries in _lines() if key.startswith("%")
    }


def title_phrases(key: str, language: str) -> tuple[str, ...]:
    """Return what titles can say of a key (`frame thing`, `form calm`, a kind's name, `@` and a place's); often none.

    Every language has the same alternatives in the same order.
    """
    found = _title_phrases().get(key)
    return found[LANGUAGES.index(language)] if found else ()


def with_the(noun: Noun, language: str) -> str:
    """Return the noun as a subject with its definite article: `the dog`, `der Hund`, `l'eau`, `el ave`.

    A German name that begins with an adjective, which would be declined, has the indefinite one.
    """
    word, many = noun.singular, noun.gender == "p"
    if language == "en":
        return f"the {word}"
    if language == "de":
        if word[0].islower():
            return f"ein {word}"
        return f"{'die' if many else {'m': 'der', 'f': 'die'}.get(noun.gender, 'das')} {word}"
    if language == "fr":
        if many:
            return f"les {word}"
        return f"l'{word}" if word[0].lower() in "aeiouéêh" else f"{'le' if noun.gender == 'm' else 'la'} {word}"
    feminine = noun.gender in ("f", "p") and not (many and word.endswith("os"))
    if many:
        return f"{'las' if feminine else 'los'} {word}"
    return f"{'la' if feminine else 'el'} {word}"


def with_article(noun: Noun, language: str) -> str:
    """Return the noun with its indefinite article, in German in the accusative: `a dog`, `einen Hund`, `de l'eau`."""
    word, countable = noun.accusative, bool(noun.plural) and noun.gender != "p"
    if language == "en":
        if not countable:
            return word
        return f"{'an' if word[0].lower() in 'aeio' or word.startswith('um') else 'a'} {word}"
    if language == "de":
        if not countable:
            return word
        articles = {"m": "einen", "f": "eine"}
        return f"{articles.get(noun.gender, 'ein')} {word}"
    if language == "fr":
        if noun.gender == "p":
            return f"des {word}"
        if countable:
            return f"{'un' if noun.gender == 'm' else 'une'} {word}"
        if word[0].lower() in "aeiouéêh":
            return f"de l'{word}"
        return f"{'du' if noun.gender == 'm' else 'de la'} {word}"
    return f"{'una' if noun.gender == 'f' else 'un'} {word}" if countable else word


@dataclass(frozen=True)
class _Phrases:
    """What one language says. `{}` stands for what is filled in; lists of three vary by picture."""

    shows: tuple[str, ...]
    maybe: str
    perhaps: str
    above: str
    and_: str
    one: str
    two: str
    few: str
    crowd: str
    unclear: str
    texture: str
    drawing: str
    drawn: str
    near: str
    colourless: str
    blank: str
    light: str
    colours: tuple[str, str]
    mood: str
    moving: dict[str, str]
    moods: dict[str, str]
    lights: dict[str, str]
    colour_names: tuple[str, ...]


_LIGHT_KEYS = (
    "dark and shadowy", "softly lit", "bright and full of light", "soft and hazy",
    "with strong contrasts of light and dark", "lighter towards the top", "lighter towards the bottom",
    "lighter towards the left", "lighter towards the right", "lighter towards the middle", "a low warm sun",
)  # fmt: skip
_MOOD_KEYS = ("joyful", "cheerful", "serene", "lively", "gentle", "calm", "stormy", "sombre", "melancholy")
_MOTION_KEYS = ("still", "gentle movement", "plain movement", "fast movement")


def _keyed(keys: Sequence[str], text: str) -> dict[str, str]:
    return dict(zip(keys, (part.strip() for part in text.split("|")), strict=True))


@cache
def _phrases(language: str) -> _Phrases:
    return {"en": _english, "de": _german, "fr": _french, "es": _spanish}[language]()


def _english() -> _Phrases:
    return _Phrases(
        ("The picture shows {}", "Here we see {}", "This is a picture of {}"),
        "The picture perhaps shows {}", ", and perhaps {}", "Above it is the sky.", "and",
        "a person", "two people", "several people", "a crowd of people",
        "It is hard to say what the picture shows, and nothing in it can be named for sure.",
        "Nothing stands out in the picture: it is an even texture that fills the whole surface.",
        "The picture shows no things that can be named, but abstract shapes of even colour.",
        "Everything looks like an illustration rather than a photograph.", "Everything is seen from very near.",
        "Everything is in black and white.", "The picture is almost one even {}, with nothing to make out in it.",
        "The picture is {}", ("its main colours are {}", "nearly everything is {}"), "The mood is {}",
        _keyed(_MOTION_KEYS, "and everything keeps still | and there is a little movement |"
                             "and there is plain movement | and there is fast movement"),
        _keyed(_MOOD_KEYS, "joyful|cheerful|serene|lively|gentle|calm|stormy|sombre|melancholy"),
        _keyed(_LIGHT_KEYS, "dark and shadowy|softly lit|bright|soft and hazy|full of contrast|brighter towards the top"
                            "|brighter towards the bottom|brighter towards the left|brighter towards the right"
                            "|brighter in the middle|with a low, warm sun"),
        COLOUR_NAMES,
    )  # fmt: skip


def _german() -> _Phrases:
    return _Phrases(
        ("Das Bild zeigt {}", "Hier sieht man {}", "Auf dem Bild sieht man {}"),
        "Das Bild zeigt vielleicht {}", ", vielleicht auch {}", "Darüber ist der Himmel.", "und",
        "eine Person", "zwei Personen", "mehrere Personen", "eine Menschenmenge",
        "Was das Bild zeigt, ist schwer zu sagen; nichts darin lässt sich sicher benennen.",
        "Nichts hebt sich im Bild ab: Es ist eine gleichmäßige Struktur, die die ganze Fläche füllt.",
        "Das Bild zeigt nichts, was sich benennen ließe, sondern abstrakte Formen in gleichmäßigen Farben.",
        "Alles wirkt eher gezeichnet oder gemalt als fotografiert.", "Alles ist aus großer Nähe gesehen.",
        "Alles ist in Schwarz-Weiß gehalten.",
        "Das Bild ist fast ein einziges gleichmäßiges {}, in dem nichts zu erkennen ist.",
        "Das Bild ist {}", ("die wichtigsten Farben sind {}", "fast alles ist {}"), "Die Stimmung ist {}",
        _keyed(_MOTION_KEYS, "und alles steht still | und etwas ist in leichter Bewegung |"
                             "und es ist deutliche Bewegung zu sehen | und es ist schnelle Bewegung zu sehen"),
        _keyed(_MOOD_KEYS, "ausgelassen|fröhlich|heiter|lebhaft|sanft|ruhig|stürmisch|düster|melancholisch"),
        _keyed(_LIGHT_KEYS, "dunkel und schattig|weich beleuchtet|hell|sanft und dunstig|reich an Kontrasten"
                            "|nach oben hin heller|nach unten hin heller|nach links hin heller|nach rechts hin heller"
                            "|in der Mitte heller|von einer tiefen, warmen Sonne beschienen"),
        ("Schwarz", "Grau", "Weiß", "Braun", "Rot", "Orange", "Gelb", "Grün", "Türkis", "Blau", "Violett", "Rosa"),
    )  # fmt: skip


def _french() -> _Phrases:
    return _Phrases(
        ("L'image montre {}", "On voit ici {}", "Sur l'image, on voit {}"),
        "L'image montre peut-être {}", ", peut-être aussi {}", "Au-dessus, il y a le ciel.", "et",
        "une personne", "deux personnes", "plusieurs personnes", "une foule",
        "Il est difficile de dire ce que montre l'image ; rien ne peut y être nommé avec certitude.",
        "Rien ne se détache dans l'image : c'est une texture régulière qui remplit toute la surface.",
        "L'image ne montre rien que l'on puisse nommer, mais des formes abstraites aux couleurs unies.",
        "Tout semble dessiné ou peint plutôt que photographié.", "Tout est vu de très près.",
        "Tout est en noir et blanc.", "L'image est presque d'un seul {} uniforme, où l'on ne distingue rien.",
        "L'image est {}", ("ses couleurs principales sont {}", "presque tout y est {}"), "L'ambiance est {}",
        _keyed(_MOTION_KEYS, "et tout est immobile | et l'on y sent un léger mouvement |"
                             "et l'on y voit un net mouvement | et l'on y voit un mouvement rapide"),
        _keyed(_MOOD_KEYS, "joyeuse|gaie|sereine|animée|douce|calme|orageuse|sombre|mélancolique"),
        _keyed(_LIGHT_KEYS, "sombre et ombragée|doucement éclairée|claire|douce et brumeuse|très contrastée"
                            "|plus claire vers le haut|plus claire vers le bas|plus claire vers la gauche"
                            "|plus claire vers la droite|plus claire au milieu|éclairée par un soleil bas et chaud"),
        ("le noir", "le gris", "le blanc", "le brun", "le rouge", "l'orange", "le jaune", "le vert", "le turquoise",
         "le bleu", "le violet", "le rose"),
    )  # fmt: skip


def _spanish() -> _Phrases:
    return _Phrases(
        ("La imagen muestra {}", "Aquí vemos {}", "En la imagen vemos {}"),
        "La imagen muestra quizá {}", ", quizá también {}", "Arriba está el cielo.", "y",
        "una persona", "dos personas", "varias personas", "una multitud",
        "Es difícil decir qué muestra la imagen; no hay en ella nada que se pueda nombrar con seguridad.",
        "Nada destaca en la imagen: es una textura uniforme que llena toda la superficie.",
        "La imagen no muestra nada que se pueda nombrar, sino formas abstractas de colores uniformes.",
        "Todo parece dibujado o pintado más que fotografiado.", "Todo se ve desde muy cerca.",
        "Todo está en blanco y negro.",
        "La imagen es casi toda de un mismo {} uniforme, en el que no se distingue nada.",
        "La imagen es {}", ("sus colores principales son {}", "casi todo es {}"), "El ambiente es {}",
        _keyed(_MOTION_KEYS, "y todo está quieto | y hay un leve movimiento |"
                             "y hay un movimiento claro | y hay un movimiento rápido"),
        _keyed(_MOOD_KEYS, "jubiloso|alegre|sereno|animado|apacible|tranquilo|tempestuoso|sombrío|melancólico"),
        _keyed(_LIGHT_KEYS, "oscura y sombría|de luz suave|luminosa|suave y brumosa|de fuertes contrastes"
                            "|más clara hacia arriba|más clara hacia abajo|más clara hacia la izquierda"
                            "|más clara hacia la derecha|más clara en el centro|de sol bajo y cálido"),
        ("el negro", "el gris", "el blanco", "el marrón", "el rojo", "el naranja", "el amarillo", "el verde",
         "el turquesa", "el azul", "el violeta", "el rosa"),
    )  # fmt: skip


def colour_in(name: str, language: str, article: bool = False) -> str:
    """Return a colour's name (`Grün`, `vert`), with `article` as a sentence has it (`le vert`); as it is if unknown."""
    if name not in COLOUR_NAMES:
        return name if language == "en" else ""
    word = _phrases(language).colour_names[COLOUR_NAMES.index(name)]
    return word if article else word.removeprefix("le ").removeprefix("l'").removeprefix("el ")


def people_in(count: int, language: str) -> str:
    """Return how many persons there are, in words; a number of more than two is rarely sure."""
    said = _phrases(language)
    return {1: said.one, 2: said.two}.get(count, said.few if count <= A_FEW else said.crowd)


def listed(words: Sequence[str], language: str) -> str:
    """Return `a, b and c`."""
    return " ".join(words) if len(words) < 2 else f"{', '.join(words[:-1])} {_phrases(language).and_} {words[-1]}"


def places_of(scene: Scene) -> tuple[str, ...]:
    """Return the names in `Scene.place`, surest first; free words stay one name."""
    return tuple(part.strip() for part in scene.place.split(",") if part.strip())


def describe_scene(scene: Scene, language: str = "en") -> str:
    """Return two to four sentences on what is seen, on light and colours, and on the mood.

    The same scene gives the same words. `language` is one of `LANGUAGES`; names that it has no word for are left out.
    """
    said = _phrases(language)
    places = places_of(scene)
    if _BLANK in scene.subject:
        colour = colour_in(scene.palette[0], language) if scene.palette else ""
        even = colour.lower() if language != "de" else colour
        first = said.blank.format(even) if even else said.unclear
        return _sentences(first, _mood(scene, said, language))
    return _sentences(
        _main(scene, places, said, language),
        _manner(scene, places, said),
        _light(scene, said, language),
        _mood(scene, said, language),
    )


def _sentences(*texts: str) -> str:
    return " ".join(text[0].upper() + text[1:] for text in (" ".join(text.split()) for text in texts) if text)


def _main(scene: Scene, places: tuple[str, ...], said: _Phrases, language: str) -> str:
    """Say what is there: things by how sure they are, then where."""
    stated, hedged = _things(scene, said, language)
    seats = tuple(name for name in places if name not in (*_TIMES, *_MANNERS, *_VAGUE_PLACES))
    seen = tuple(text for name in (*seats, *(n for n in _TIMES if n in places)) if (text := place_seen(name, language)))
    opening = said.shows[_pick(scene, len(said.shows))]
    if not stated and not hedged:
        if "drawing" in places and not seen:
            return said.drawing
        if seen:
            return opening.format(listed(seen[:3], language)) + "."
        return said.texture if "texture" in places else said.unclear
    room = MOST_NAMED_THINGS - len(stated) - len(hedged)
    wide = any(name in _WIDE for name, _ in scene.things)  # a mountain stands on no grass
    around = tuple(name for name in seats if name not in ("meadow", "mountains")) if wide else seats
    at = _where(places, around, stated or hedged, language) if room > 0 else ""
    if stated:
        text = opening.format(listed(stated, language)) + at
        text += said.perhaps.format(listed(hedged, language)) if hedged else ""
    else:
        text = said.maybe.format(listed(hedged, language)) + at
    above = f" {said.above}" if "sky" in seats and around[:1] != ("sky",) and room > 1 else ""
    return f"{text}.{above}"


def _where(places: tuple[str, ...], seats: tuple[str, ...], named: Sequence[str], language: str) -> str:
    """Return ` on a beach at sunset`: the surest place, or whether it is indoors, and the time."""
    text = " ".join(named).lower()
    times = [name for name in _TIMES if name in places][:1]
    vague = [] if times or "close-up" in places else [name for name in _VAGUE_PLACES if name in places]
    told = (name for name in (*seats, *vague) if not _is_told(name, text, language))
    return "".join(f" {at}" for name in (*list(told)[:1], *times) if (at := place_at(name, language)))


def _is_told(place: str, text: str, language: str) -> bool:
    """Whether a thing has already said the place, as a mountain does with mountains."""
    own = {"mountains": "mountain", "beach": "sea coast", "sea": "sea coast", "meadow": "field"}.get(place, place)
    noun = _tables()[0][language].get(own)
    return noun is not None and noun.singular.lower() in text


def _things(scene: Scene, said: _Phrases, language: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is stated and what is hedged, each with its article; people are counted, and only if found."""
    stated: list[str] = []
    hedged: list[str] = []
    for name, confidence in scene.things[:MOST_NAMED_THINGS]:
        sure = round(confidence, 3)
        if name in PERSONS:
            if not scene.people:
                continue
            words = _whom(scene.people, language)
        elif noun := noun_of(name, language):
            words = with_article(noun, language)
        else:
            continue
        if sure >= STATED:
            stated.append(words)
        elif sure >= HEDGED:
            hedged.append(words)
    if scene.people and not PERSONS & {name for name, _ in scene.things}:
        stated.insert(0, _whom(scene.people, language))
    kept = tuple(dict.fromkeys(stated))[:MOST_NAMED_THINGS]
    rest = tuple(word for word in dict.fromkeys(hedged) if word not in kept)
    return kept, rest[: MOST_NAMED_THINGS - len(kept)]


def _whom(count: int, language: str) -> str:
    """Return persons as the object of a verb: Spanish says `vemos a una persona`."""
    return f"{'a ' if language == 'es' else ''}{people_in(count, language)}"


def _manner(scene: Scene, places: tuple[str, ...], said: _Phrases) -> str:
    if "black and white" in places:
        return said.colourless
    if "drawing" in places and (scene.things or len(places) > 1):
        return said.drawn
    return said.near if "close-up" in places else ""


def _light(scene: Scene, said: _Phrases, language: str) -> str:
    parts = [part.strip() for part in scene.light.split(",") if part.strip()]
    known = [said.lights[part] for part in parts if part in said.lights]
    colours = [word for name in scene.palette if (word := colour_in(name, language, article=True))][:_MOST_COLOURS]
    if len(colours) == 1:
        plain = colour_in(scene.palette[0], language)
        said_of = said.colours[1].format(plain.lower() if language == "de" else plain)
    else:
        said_of = said.colours[0].format(listed(colours, language)) if colours else ""
    semicolon = " ; " if language == "fr" else "; "
    text = semicolon.join(one for one in (said.light.format(", ".join(known)) if known else "", said_of) if one)
    return f"{text}." if text else ""


def _mood(scene: Scene, said: _Phrases, language: str) -> str:
    mood = said.moods.get(scene.mood) or (" ".join(scene.mood.split()).rstrip(".") if language == "en" else "")
    if not mood:
        return ""
    return f"{said.mood.format(mood)} {said.moving.get(scene.motion, '')}".strip() + "."


def _pick(scene: Scene, choices: int) -> int:
    """Choose by what is seen, never by the bits of a number."""
    text = "|".join((*(name for name, _ in scene.things), scene.place, *scene.palette))
    return hashlib.sha256(text.encode()).digest()[0] % choices
