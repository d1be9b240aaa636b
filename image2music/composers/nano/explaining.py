"""Titles, motivations and attention maps for nano's tunes.

nano decodes no prose. Its motivation puts scene and plan into sentences; a sentence on what control tokens decided has
the map of their attention. The maps of the tune and its bars are those of the music's own tokens. Titles name what is
surely seen, and else the place, the colours and how the music goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from image2music.composers.attention import BARS_A_GROUP, Faithfulness, Floats, Masks, Segment, segment_map
from image2music.composers.base import ExplainRequest
from image2music.composers.nano.melody import key_words
from image2music.composers.nano.patches import SeenPicture
from image2music.composers.nano.reading import encode_references, nearest_note, read_controls_and_melody
from image2music.composers.nano.sampling import PREFIX, Sampler
from image2music.composers.nano.vocabulary import CONTROL_SLOTS, LEVELS, TONICS, Controls, Vocabulary, placed_positions
from image2music.composers.suiting import SuitingMusic, suiting_music
from image2music.images.scene import Scene
from image2music.images.words import (
    LANGUAGES,
    PERSONS,
    colour_in,
    describe_scene,
    listed,
    noun_of,
    people_in,
    place_at,
    places_of,
    with_article,
)
from image2music.music.planning.plan import Plan, pitch_name
from image2music.music.theory import read_tonality
from image2music.settings import picture_seed
from image2music.types import Explanation

SURE_IN_TITLE = 0.6
"""From this confidence on a title may name a thing."""

_FORMS = {
    "calm": ("Reverie|Träumerei|Rêverie|Ensueño", "Slow Air|Langsame Weise|Air lent|Aire lento",
             "Lullaby|Wiegenlied|Berceuse|Nana", "Quiet Prelude|Stilles Präludium|Prélude tranquille|Preludio quieto",
             "Evensong|Abendlied|Chant du soir|Canto de la tarde", "Meditation|Meditation|Méditation|Meditación"),
    "flowing": ("Romance|Romanze|Romance|Romanza",
                "Song without Words|Lied ohne Worte|Romance sans paroles|Canción sin palabras",
                "Intermezzo|Intermezzo|Intermezzo|Intermezzo", "Arabesque|Arabeske|Arabesque|Arabesco",
                "Serenade|Serenade|Sérénade|Serenata", "Impromptu|Impromptu|Impromptu|Impromptu"),
    "playful": ("Scherzo|Scherzo|Scherzo|Scherzo", "Small Dance|Kleiner Tanz|Petite danse|Pequeña danza",
                "Caprice|Caprice|Caprice|Capricho", "Bagatelle|Bagatelle|Bagatelle|Bagatela",
                "Humoresque|Humoreske|Humoresque|Humoresca", "Divertimento|Divertimento|Divertissement|Divertimento"),
    "grand": ("Hymn|Hymne|Hymne|Himno", "Overture|Ouvertüre|Ouverture|Obertura",
              "Rhapsody|Rhapsodie|Rhapsodie|Rapsodia",
              "Ballade|Ballade|Ballade|Balada", "Slow March|Langsamer Marsch|Marche lente|Marcha lenta"),
    "dark": ("Elegy|Elegie|Élégie|Elegía", "Lament|Klage|Lamento|Lamento", "Nocturne|Notturno|Nocturne|Nocturno",
             "Dark Prelude|Dunkles Präludium|Sombre prélude|Preludio oscuro",
             "Passacaglia|Passacaglia|Passacaille|Pasacalle"),
    "driving": ("Toccata|Toccata|Toccata|Tocata", "Etude|Etüde|Étude|Estudio", "Rondo|Rondo|Rondo|Rondó",
                "Perpetual Motion|Perpetuum mobile|Mouvement perpétuel|Movimiento perpetuo",
                "Galop|Galopp|Galop|Galop"),
}  # fmt: skip
"""Forms by the music's character, in the order of `LANGUAGES`."""
_WAYS = {
    "calm": ("Unhurried|Ohne Eile|Sans hâte|Sin prisa",
             "Almost Silent|Fast lautlos|Presque en silence|Casi en silencio",
             "A Long Breath|Ein langer Atem|Un long souffle|Un largo aliento"),
    "flowing": ("In Passing|Im Vorübergehen|En passant|De paso", "Little by Little|Nach und nach|Peu à peu|Poco a poco",
                "While It Lasts|Solange es währt|Tant que cela dure|Mientras dura"),
    "playful": ("In Good Spirits|Guter Dinge|De bonne humeur|De buen humor", "Just So|Einfach so|Comme ça|Porque sí",
                "On Tiptoe|Auf Zehenspitzen|Sur la pointe des pieds|De puntillas"),
    "grand": ("Standing Still to Look|Stillstehen und schauen|S'arrêter pour regarder|Pararse a mirar",
              "From Far Off|Von weit her|De très loin|Desde muy lejos"),
    "dark": ("What Was Not Said|Was ungesagt blieb|Ce qui ne fut pas dit|Lo que no se dijo",
             "After Everyone Left|Als alle fort waren|Quand tous sont partis|Cuando todos se fueron"),
    "driving": ("No Time to Lose|Keine Zeit zu verlieren|Sans perdre un instant|Sin perder un instante",
                "At Full Speed|In vollem Lauf|À toute allure|A toda marcha"),
}  # fmt: skip
_SEEN_FROM = {
    "mountains": "Toward the Mountains|Den Bergen entgegen|Vers les montagnes|Hacia las montañas",
    "sky": "Under a Wide Sky|Unter weitem Himmel|Sous un grand ciel|Bajo un ancho cielo",
    "water": "Water, Listening|Am Wasser, lauschend|L'eau, à l'écoute|Junto al agua, escuchando",
    "sea": "The Sea from Here|Das Meer von hier|La mer vue d'ici|El mar desde aquí",
    "sunset": "Last Sun|Letzte Sonne|Dernier soleil|Último sol",
    "night": "Night Hours|Nachtstunden|Heures de nuit|Horas de la noche",
    "storm": "Before the Storm|Vor dem Gewitter|Avant l'orage|Antes de la tormenta",
    "outer space": "Ten Thousand Stars|Zehntausend Sterne|Dix mille étoiles|Diez mil estrellas",
    "snow": "Over the Snow|Über den Schnee|Sur la neige|Sobre la nieve",
    "road": "Down the Road|Die Straße hinab|Au bout de la route|Camino abajo",
}
_FRAMES = {
    "en": ("{form} for {a}", "{way}: {one}", "{one}, {way}", "{one} {at}", "{one} against {c}",
           "{form} for {a} and {b}", "{form} {at}", "{form} in {c}", "{form} in {c} and {d}", "{c} over {d}",
           "Between {c} and {d}", "{way}, in {c}"),
    "de": ("{form} für {a}", "{way}: {one}", "{one}, {way}", "{one} {at}", "{one} vor {c}", "{form} für {a} und {b}",
           "{form} {at}", "{form} in {c}", "{form} in {c} und {d}", "{c} über {d}", "Zwischen {c} und {d}",
           "{way}, in {c}"),
    "fr": ("{form} pour {a}", "{way} : {one}", "{one}, {way}", "{one} {at}", "{one} sur fond {c}",
           "{form} pour {a} et {b}", "{form} {at}", "{form} en {c}", "{form} en {c} et {d}", "{c} sur {d}",
           "Entre {c} et {d}", "{way}, en {c}"),
    "es": ("{form} para {a}", "{way}: {one}", "{one}, {way}", "{one} {at}", "{one} sobre {c}", "{form} para {a} y {b}",
           "{form} {at}", "{form} en {c}", "{form} en {c} y {d}", "{c} sobre {d}", "Entre {c} y {d}", "{way}, en {c}"),
}  # fmt: skip
"""Titles in each language: of a thing (five), of two, of a place, of colours (five)."""
_SMALL_WORDS = frozenset(
    (
        "a",
        "an",
        "the",
        "for",
        "without",
        "of",
        "in",
        "on",
        "and",
        "by",
        "at",
        "under",
        "with",
        "to",
        "against",
        "from",
        "over",
    )
)
_NEVER_A_SEAT = ("indoors", "outdoors", "close-up", "texture", "drawing", "black and white", "night", "sunset", "storm")


def title_of(scene: Scene, music: SuitingMusic, seed: int, language: str = "en") -> str:
    """Return a title as a composer would give it, from what is surely seen, the place, the colours and the music.

    A thing is named from `SURE_IN_TITLE` on, a person only where persons were found. `language` is one of `LANGUAGES`.
    """
    rng = np.random.Generator(np.random.Philox([seed, 1]))

    def draw(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    def said(entry: str) -> str:
        return entry.split("|")[LANGUAGES.index(language)]

    frames = _FRAMES[language]
    form, way = said(draw(_FORMS[music.character])), said(draw(_WAYS[music.character]))
    things, ones = _sure_things(scene, language)
    places = places_of(scene)
    seat = next((place_at(name, language) for name in places if name not in _NEVER_A_SEAT), "")
    if seat and any(one.lower().split()[-1] in seat for one in ones):
        seat = ""
    colours = [word for name in scene.palette if (word := colour_in(name, language))]
    c, d = [*colours, "", ""][:2]
    fields = {"form": form, "way": way, "at": seat, "c": c, "d": d, "a": "", "one": "", "b": ""}
    if things:
        fields |= {"a": things[0], "one": ones[0], "b": things[1] if len(things) > 1 else ""}
    # What is surest comes first: things, then places, then colours; one title in six speaks of the place instead.
    of_things, of_places, of_colours = frames[:6], frames[6:7], frames[7:]
    special = [said(_SEEN_FROM[name]) for name in places if name in _SEEN_FROM][:1]
    colon = " : " if language == "fr" else ": "
    special += [f"{{form}}{colon}{one}" for one in special]
    groups = [of_things if things else (), (*of_places, *special), of_colours]
    if things and special and rng.random() < 1 / 6:
        groups = groups[1:]
    for group in groups:
        fitting = [frame for frame in group if all(fields[name] for name in fields if f"{{{name}}}" in frame)]
        if fitting:
            frame = draw(fitting)
            if language != "en" and not frame.startswith("{way}"):
                fields["way"] = way[:1].lower() + way[1:]
            return _headline(frame.format(**fields), language)
    return _headline(f"{form}: {way}", language)


def _sure_things(scene: Scene, language: str) -> tuple[list[str], list[str]]:
    """Return the sure things with their articles, as objects and as subjects, surest first."""
    objects, subjects = [], []
    for name, confidence in scene.things:
        noun = noun_of(name, language)
        if round(confidence, 3) < SURE_IN_TITLE or (name in PERSONS and not scene.people):
            continue
        if name in PERSONS:
            words = people_in(scene.people or 1, language)
            objects.append(words)
            subjects.append(words)
        elif noun is not None:
            words = with_article(noun, language)
            objects.append(words)
            subjects.append(f"ein {noun.singular}" if words.startswith("einen ") else words)
    return objects, subjects


def _headline(text: str, language: str) -> str:
    """Write a title as its language does: English has capitals, the others begin with one."""
    text = " ".join(text.split())
    if language != "en":
        return text[:1].upper() + text[1:]
    words, first = [], True
    for word in text.split(" "):
        words.append(word if word in _SMALL_WORDS and not first else word[:1].upper() + word[1:])
        first = word.endswith(":")
    return " ".join(words)


@dataclass(frozen=True)
class Sentence:
    """One sentence and the control slots that it puts into words."""

    text: str
    slots: tuple[str, ...]


def motivate(controls: Controls, request: ExplainRequest, n_references: int) -> tuple[Sentence, ...]:
    """Return sentences on what is seen, on pace and key, on the band, on the form, on the climax, and on the line.

    What is seen comes from the scene, what is heard from the plan; without one, key, meter and pace come from the
    controls. `n_references` is how many references the model attends to, the nearest first. Only a sentence on what
    control tokens decided has slots: attention to the picture had no part in the others.
    """
    scene = request.request.description.scene or Scene(subject="")
    plan = request.plan
    drawn = plan is None and request.request.album is None
    found = [
        Sentence(_seen(scene), ()),
        Sentence(_pace(scene, controls, request), ("tempo", "mode", "tonic", "meter") if drawn else ()),
    ]
    if plan is not None:
        found += [Sentence(text, ()) for text in (_band(plan), _form(plan), _peak(plan, scene)) if text]
    return (
        *found,
        Sentence(_movement(controls), ("kind", "density")),
        Sentence(_line(controls, request, n_references), ("range", "register", "leaps", "pitch_entropy")),
    )


def _seen(scene: Scene) -> str:
    """Say what there is, its colours, and where the eye goes."""
    first = describe_scene(scene).split(". ")[0].rstrip(".")
    colours = [word for name in scene.palette if (word := colour_in(name, "en"))]
    tones = f"its colours are {listed(colours, 'en')}" if colours else ""
    light = f"it is {scene.light.split(',')[0].strip()}" if scene.light else ""
    path = scene.eye_path[:3]
    eye = f"the eye goes from {path[0]} to {' and then to '.join(path[1:])}" if len(path) > 1 else ""
    return f"{'; '.join(one for one in (first, tones, light, eye) if one)}."


def _pace(scene: Scene, controls: Controls, request: ExplainRequest) -> str:
    plan, album = request.plan, request.request.album
    if plan is not None and (tonality := read_tonality(plan.key)) is not None:
        key, meter, pace = (
            f"{tonality.tonic} {tonality.mode}",
            plan.meter,
            f"at {round(plan.qpm)} quarter notes a minute",
        )
    else:
        key = key_words(TONICS.index(controls["tonic"]), controls["mode"])
        meter, pace = controls["meter"], f"at a {controls['tempo']} pace"
    if album is not None:
        return f"Its album asks for {key}, {meter}, and the motif it opens with; it goes {pace}."
    motion = {"still": "everything keeps still", "gentle movement": "it moves a little",
              "plain movement": "it plainly moves", "fast movement": "it moves fast"}.get(scene.motion, "")  # fmt: skip
    why = " and ".join(one for one in (motion, f"the mood is {scene.mood}" if scene.mood else "") if one)
    reasons = suiting_music(scene).reasons
    because = f"As {why}, the" if why else "The"
    more = f" ({reasons[0].rstrip('.')})" if reasons else ""
    return f"{because} tune goes {pace} in {key} and {meter}{more}."


_DOES = {
    "melody": "has the tune", "bass": "has the bass", "figure": "plays broken chords", "counter": "sings against it",
    "bass+figure": "has bass and figures", "answer": "answers", "parallel": "goes along in thirds and sixths",
    "double": "doubles it", "hold": "holds long notes", "drums": "keeps the beat", "rest": "waits",
}  # fmt: skip


def _band(plan: Plan) -> str:
    parts = [f"the {voice.name.lower()} {_DOES[voice.role]}" for voice in plan.voices]
    text = listed(list(dict.fromkeys(parts)), "en")
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _form(plan: Plan) -> str:
    """Say what each section stands for, and how loud it is."""
    loud = {"pp": "very soft", "p": "soft", "mp": "rather soft", "mf": "rather loud", "f": "loud", "ff": "very loud"}
    said = []
    for part, alike in groupby(plan.sections, key=lambda section: section.picture_part):
        sections = tuple(alike)
        how = " and then ".join(dict.fromkeys(loud[section.dynamic] for section in sections))
        if part:
            said.append(f"bars {sections[0].first} to {sections[-1].last} ({how}) stand for {part}")
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _peak(plan: Plan, scene: Scene) -> str:
    if plan.climax is None:
        return ""
    focus = f", in answer to {scene.focal_point}" if scene.focal_point else ""
    return f"Its highest note, {pitch_name(plan.climax.pitch)}, comes in bar {plan.climax.bar}{focus}."


def _movement(controls: Controls) -> str:
    kind = noun_of(controls.get("kind", ""), "en")
    manner = f"like {with_article(kind, 'en')}" if kind is not None else "freely"
    notes = ("very few", "few", "a fair number of", "many", "very many")[LEVELS.index(controls["density"])]
    return f"It moves {manner}, with {notes} notes to a bar."


def _line(controls: Controls, request: ExplainRequest, n_references: int) -> str:
    span = ("narrow", "modest", "medium", "wide", "very wide")[LEVELS.index(controls["range"])]
    motion = "by steps" if LEVELS.index(controls["leaps"]) < 2 else "by leaps as well as steps"
    line = f"The melody keeps to a {span} range and goes {motion}"
    references = request.request.references[:n_references]
    if not references:
        return line + "."
    names = "one tune" if len(references) == 1 else f"{len(references)} tunes"
    verb = "was" if len(references) == 1 else "were"
    nearest = f", the nearest of them {_quoted(references[0].caption)}" if references[0].caption else ""
    lent = f" (for its {references[0].contributes})" if nearest and references[0].contributes else ""
    return f"{line}; {names} from the index {verb} in its ear{nearest}{lent}."


def _quoted(caption: str) -> str:
    first = caption.split(". ")[0].rstrip(".")
    return f"“{first if len(first) <= 120 else first[:117].rsplit(' ', 1)[0] + ' …'}”"


def explain(sampler: Sampler, requests: Sequence[ExplainRequest]) -> list[Explanation]:
    """Return one explanation a request; each is replayed alone, so the batch changes nothing."""
    return [_explain(sampler, request) for request in requests]


def _explain(sampler: Sampler, request: ExplainRequest) -> Explanation:
    picture = request.request.description.features
    if not isinstance(picture, SeenPicture):
        raise TypeError("nano explains from its own description of a picture: call look first")
    controls, _ = read_controls_and_melody(request.abc, request.plan)
    vocabulary = sampler.vocabulary
    tokens = control_and_music_tokens(request.abc, request.plan)
    references = encode_references(request.request.references, sampler.model.config)
    row = torch.tensor([tokens])
    by_layer = sampler.attention_by_layer(row, np.stack([picture.patches, sampler.blank]), references)
    by_layer = by_layer.reshape(*by_layer.shape[:3], picture.rows, picture.cols)
    weights, blank = by_layer.mean(0)
    layers = by_layer[:, 0] if request.attention_options.layers else None
    sentences = motivate(controls, request, sampler.model.config.reference_slots)
    placed = placed_positions(request.request.album, tokens, PREFIX)
    plan = request.plan

    def owner_of(bar: int) -> int:
        return 1 if plan is None else plan.place_of(plan.melody_at(bar))

    melody = melody_segments(tokens, vocabulary.bar, vocabulary.section, placed, owner_of)
    segments = [*melody, *motivation_segments(sentences)]
    measure = (
        _faithfulness(sampler, request, row, picture, references) if request.attention_options.faithfulness else None
    )
    maps = tuple(segment_map(segment, weights, blank, layers, measure) for segment in segments)
    return Explanation(" ".join(sentence.text for sentence in sentences), maps)


def control_and_music_tokens(abc: str, plan: Plan | None = None) -> list[int]:
    """Return the sequence that would have decoded a tune of nano's: `begin`, its controls, its melody, `end`.

    A note that nano has no token for (in another octave, of another length) becomes the nearest one.
    """
    controls, melody = read_controls_and_melody(abc, plan)
    vocabulary = Vocabulary()
    known = replace(melody, bars=tuple(tuple(nearest_note(note) for note in bar) for bar in melody.bars))
    return [vocabulary.begin, *vocabulary.encode_controls(controls), *vocabulary.encode_melody(known)]


def melody_segments(
    tokens: Sequence[int],
    bar: int,
    section: int,
    placed: frozenset[int] = frozenset(),
    owner_of: Callable[[int], int] = lambda bar: 1,
) -> list[Segment]:
    """Return the whole melody, its part in each voice, and its bars in groups of four.

    `placed` positions were not decoded. `owner_of` names the voice that has the tune in a bar (from 1; 0 for none).
    """
    number, groups, voices = 1, dict[int, list[int]](), dict[int, list[int]]()
    for position in range(PREFIX, len(tokens)):
        if position not in placed:
            groups.setdefault((number - 1) // BARS_A_GROUP, []).append(position)
            voices.setdefault(owner_of(number), []).append(position)
        number += tokens[position] in (bar, section)
    decoded = tuple(position for positions in groups.values() for position in positions)
    segments = [Segment("all", "all", "the whole tune", decoded)]
    segments += [
        Segment(f"voice {id}", "voice", str(id), tuple(positions)) for id, positions in sorted(voices.items()) if id
    ]
    for group, positions in groups.items():
        first = group * BARS_A_GROUP + 1
        last = min(first + BARS_A_GROUP - 1, number)
        segments.append(Segment(f"bars {first}-{last}", "bars", f"bars {first} to {last}", tuple(positions)))
    return segments


def motivation_segments(sentences: Sequence[Sentence]) -> list[Segment]:
    """Return one segment for each sentence that speaks of control tokens: their positions."""
    places = {slot.name: 1 + i for i, slot in enumerate(CONTROL_SLOTS)}
    return [
        Segment(f"sentence {i}", "motivation", sentence.text, tuple(places[slot] for slot in sentence.slots))
        for i, sentence in enumerate(sentences, 1)
        if sentence.slots
    ]


def _faithfulness(
    sampler: Sampler, request: ExplainRequest, tokens: torch.Tensor, picture: SeenPicture, references: NDArray[np.int64]
) -> Faithfulness:
    """Measure maps by the likelihood of controls and music beside pictures with blank cells.

    Which stand for blur here.
    """

    def nats(masks: Masks) -> Floats:
        hidden = masks.reshape(len(masks), -1, 1)
        found = sampler.log_likelihood(tokens, np.where(hidden, sampler.blank, picture.patches), references)
        return np.concatenate([np.zeros((len(masks), 1)), found], axis=1)

    return Faithfulness(nats, picture.rows, picture.cols, picture_seed(request.request.seed, "faithfulness"))
