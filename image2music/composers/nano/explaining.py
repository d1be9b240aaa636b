"""Titles, motivations and attention maps for nano's tunes.

nano decodes no prose. Its motivation puts scene and plan into sentences; a sentence on what control tokens decided has
the map of their attention. The maps of the tune and its bars are those of the music's own tokens. Titles name what is
surely seen, and else the place, the colours and how the music goes.
"""

from __future__ import annotations

from collections import Counter
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
from image2music.composers.suiting import SuitingMusic, instrument_called, suiting_music
from image2music.images.kinds import all_kinds
from image2music.images.scene import Scene
from image2music.images.words import (
    A_FEW,
    PERSONS,
    Noun,
    colour_in,
    describe_scene,
    listed,
    noun_of,
    place_at,
    places_of,
    title_phrases,
    with_article,
    with_the,
)
from image2music.music.planning.plan import FIGURE_ROLES, Family, Plan, pitch_name
from image2music.music.theory import read_tonality
from image2music.settings import picture_seed
from image2music.types import Explanation

SURE_IN_TITLE = 0.6
"""From this confidence on a title may name a thing."""

_SMALL_WORDS = frozenset((
    "a", "an", "the", "for", "without", "of", "in", "on", "and", "by", "at", "under", "with", "to", "against", "from",
    "over", "beside", "among", "but",
))  # fmt: skip
_AROUND = ("landscape", "place", "structure", "building")
"""Groups that no title names beside something else: they are rather where it is."""
_NEVER_A_SEAT = ("indoors", "outdoors", "close-up", "texture", "drawing", "black and white", "night", "sunset", "storm")


def title_of(scene: Scene, music: SuitingMusic, seed: int, language: str = "en") -> str:
    """Return a title as a composer would give it, from what is surely seen, the place, the colours and the music.

    A thing is named from `SURE_IN_TITLE` on, a person only where persons were found; then comes the surest place, then
    the colours. `language` is one of `LANGUAGES`.
    """
    rng = np.random.Generator(np.random.Philox([seed, 1]))

    def draw(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    things = _sure_things(scene, language)
    places = places_of(scene)
    colours = [word for name in scene.palette if (word := colour_in(name, language))]
    c, d = [*colours, "", ""][:2]
    fields = {
        "form": draw(title_phrases(f"form {music.character}", language)),
        "way": draw(title_phrases(f"way {music.character}", language)),
        "c": c, "d": d, "at": _seat(places, things, language), **_as_said(things, language),
    }  # fmt: skip
    key, heads = _spoken_of(things, places, language)
    if key in ("drawing", "colour") and len(colours) == 1:
        key = "one colour"
    fields["head"] = draw(heads) if heads else ""
    for frames in (title_phrases(f"frame {one}", language) for one in (key, "colour")):
        fitting = [frame for frame in frames if all(fields[name] for name in fields if f"{{{name}}}" in frame)]
        if fitting:
            return _headline(draw(fitting).format(**fields), language)
    return _headline(f"{fields['form']}{' : ' if language == 'fr' else ': '}{fields['way']}", language)


def _spoken_of(things: Sequence[_Sure], places: Sequence[str], language: str) -> tuple[str, tuple[str, ...]]:
    """Return which frames a title has, and phrases that stand for what it names."""
    if things:
        first, others = things[0], things[1:]
        sports = [thing for thing in (first, *others) if thing.group == "sport"]
        if sports and (heads := title_phrases(sports[0].name, language)):
            return "head", heads
        if first.count:
            beside = " with" if others else ""
            whom = {1: "one", 2: "people" if beside else "two people"}.get(first.count, "people")
            return ("crowd" if first.count > A_FEW else f"{whom}{beside}"), ()
        if others:
            return "two", ()
        if heads := title_phrases(first.name, language):
            return "head", heads
        return ("animal" if first.group in ("animal", "bird") else "thing"), ()
    telling = [heads for name in places if (heads := title_phrases(f"@{name}", language))]
    if telling:
        vague = title_phrases("@sky", language)
        return "place", next((heads for heads in telling if heads != vague), vague)
    return ("drawing" if "drawing" in places else "colour"), ()


@dataclass(frozen=True)
class _Sure:
    """A thing that a title may name: `count` persons, or 0 and a noun."""

    name: str
    group: str
    count: int
    noun: Noun


def _sure_things(scene: Scene, language: str) -> list[_Sure]:
    """Return the sure things, persons first, then the surest."""
    groups = {kind.name: kind.group for kind in all_kinds()}
    found: list[_Sure] = []
    for name, confidence in scene.things:
        sure, person = round(confidence, 3), name in PERSONS
        noun = Noun(name, "", "n", name) if person else noun_of(name, language)
        if sure < SURE_IN_TITLE or noun is None or (person and (not scene.people or any(one.count for one in found))):
            continue
        found.append(_Sure(name, groups.get(name, name), (scene.people or 0) if person else 0, noun))
    found.sort(key=lambda one: not one.count)
    return [*found[:1], *(one for one in found[1:] if one.group not in _AROUND)]


def _seat(places: Sequence[str], things: Sequence[_Sure], language: str) -> str:
    """Return where it is (`on a beach`), unless a thing has said so already."""
    seat = next((at for name in places if name not in _NEVER_A_SEAT and (at := place_at(name, language))), "")
    named = [thing.noun.singular.lower().split()[-1] for thing in things if not thing.count]
    return "" if any(word in seat.lower() for word in named) else seat.removesuffix(" of a forest")


def _as_said(things: Sequence[_Sure], language: str) -> dict[str, str]:
    """Return the first two things that are no persons with their articles; what cannot be counted is no object."""
    said = dict.fromkeys(("a", "one", "the", "b", "theb"), "")
    mute = [thing.noun for thing in things if not thing.count]
    if len(mute) < len(things):
        mute = [mute[0], mute[0]] if mute else []
    if mute:
        whole = with_article(mute[0], language)
        subject = f"ein {mute[0].singular}" if whole.startswith("einen ") else whole
        said |= {"one": subject, "the": with_the(mute[0], language)}
        said["a"] = whole if mute[0].plural and mute[0].gender != "p" else ""
    if len(mute) > 1:
        whole = with_article(mute[1], language)
        said["b"] = f"ein {mute[1].singular}" if whole.startswith("einen ") else whole
        said["theb"] = with_the(mute[1], language)
    return said


def _headline(text: str, language: str) -> str:
    """Write a title as its language does: English has capitals, the others begin with one."""
    text = " ".join(text.split())
    if language == "de":
        return ": ".join(part[:1].upper() + part[1:] for part in text.split(": "))
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
        Sentence(_seen(scene, plan), ()),
        Sentence(_pace(scene, controls, request), ("tempo", "mode", "tonic", "meter") if drawn else ()),
    ]
    if plan is not None:
        found += [Sentence(text, ()) for text in (_band(plan, scene), _form(plan, scene), _peak(plan)) if text]
    return (
        *found,
        Sentence(_movement(controls), ("kind", "density")),
        Sentence(_line(controls, request, n_references), ("range", "register", "leaps", "pitch_entropy")),
    )


def _seen(scene: Scene, plan: Plan | None) -> str:
    """Say what there is, its colours, and where the eye goes; its path is left to the form that follows it."""
    first = describe_scene(scene).split(". ")[0].rstrip(".")
    colours = [word for name in scene.palette if (word := colour_in(name, "en"))]
    tones = f"the colours are {listed(colours, 'en')}" if len(colours) > 1 else ""
    tones = tones or (f"nearly everything is {colours[0]}" if colours else "")
    light = f"it is {scene.light.split(',')[0].strip()}" if scene.light else ""
    path = () if plan is not None and _follows_the_eye(plan, scene) else scene.eye_path[:3]
    eye = f"the eye goes from {path[0]} to {' and then to '.join(path[1:])}" if len(path) > 1 else ""
    told = (f"{first}; {tones}" if tones else first, ", and ".join(one for one in (light, eye) if one))
    return " ".join(f"{one[0].upper()}{one[1:]}." for one in told if one)


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
    manner = _MANNERS[suiting_music(scene).character]
    because = f"As {why}, the" if why else "The"
    return f"{because} music {manner}, {pace} in {key} and {meter}."


_MANNERS = {
    "calm": "takes its time", "flowing": "flows", "playful": "is playful", "grand": "has a broad stride",
    "dark": "keeps to the shadows", "driving": "drives on",
}  # fmt: skip
_DOES = {
    "melody": "has the tune", "bass": "has the bass", "counter": "sings against it", "answer": "answers",
    "hold": "holds long notes", "parallel": "goes along in thirds and sixths", "double": "doubles it",
    "drums": "keeps the beat", "rest": "waits",
}  # fmt: skip
_FIGURES = {
    "wave": "rising and falling waves", "broken": "broken chords", "alberti": "Alberti figures",
    "waltz": "waltz steps", "offbeat": "chords off the beat", "pulse": "repeated chords", "pad": "held chords",
    "ostinato": "an ostinato", "tremolo": "tremolo", "chorale": "chorale chords", "arpeggio": "arpeggios",
    "pizzicato": "plucked notes", "drums": "drum strokes",
}  # fmt: skip


def _band(plan: Plan, scene: Scene) -> str:
    """Say what each instrument does and what it was chosen for; one that has figure and bass is said once."""
    reasons = _reasons_of(suiting_music(scene))
    told: dict[str, list[tuple[str, str, str]]] = {}
    for voice in plan.voices:
        figures = _figures(plan, voice.id) if voice.role in FIGURE_ROLES else ("", "")
        told.setdefault(instrument_called(voice.program, voice.name), []).append((voice.role, *figures))
    said: list[str] = []
    for number, (name, parts) in enumerate(told.items()):
        own_bass = {role for role, *_ in parts} >= {"figure", "bass"}
        verbs = []
        for role, most, contrast in parts:
            under = " over its own bass" if role == "bass+figure" or (role == "figure" and own_bass) else ""
            if role in FIGURE_ROLES:
                verbs.append(f"accompanies{most}{under}{contrast}")
            elif role != "bass" or not own_bass:
                verbs.append(_DOES[role])
        does = listed(list(dict.fromkeys(verbs)), "en")
        if _is_many(name):
            for one, many in _MANY.items():
                does = does.replace(one, many)
        why = f", {'' if number else 'chosen '}for {reasons[name]}," if name in reasons else ""
        said.append(f"{'The' if not number else 'the'} {name}{why} {does}")
    return f"{'; '.join(said)}." if said else ""


_MANY = {"has the": "have the", "accompanies": "accompany", "sings": "sing", "answers": "answer", "goes": "go",
         "holds": "hold", "doubles": "double", "keeps": "keep", "waits": "wait",
         "its own bass": "their own bass"}  # fmt: skip


def _is_many(name: str) -> bool:
    return name.endswith(("strings", "drums", "bells"))


def _reasons_of(music: SuitingMusic) -> dict[str, str]:
    """Return what each instrument of the suitable ensembles is there for."""
    clauses = [clause for one in music.ensembles for clause in one.reason.split("; ") if " for " in clause]
    found: dict[str, str] = {}
    for clause in clauses:
        name, _, why = clause.partition(" for ")
        found.setdefault(name.removeprefix("a ").removeprefix("an "), why)
    return found


def _figures(plan: Plan, voice: int) -> tuple[str, str]:
    """Say in what figures a voice accompanies most of the time, and where it first has the next commonest."""
    parts = [
        (part.family, section)
        for section in plan.sections
        for part in section.parts
        if part.voice == voice and part.family is not None
    ]
    bars: Counter[Family] = Counter()
    for family, section in parts:
        bars[family] += section.last - section.first + 1
    if not bars:
        return "", ""
    (most, _), *others = bars.most_common(2)
    if not others:
        return f" in {_FIGURES[most]}", ""
    place = next(section for family, section in parts if family == others[0][0])
    return f" in {_FIGURES[most]}", f", with {_FIGURES[others[0][0]]} in bars {place.first} to {place.last}"


def _follows_the_eye(plan: Plan, scene: Scene) -> bool:
    parts = tuple(dict.fromkeys(section.picture_part for section in plan.sections if section.picture_part))
    return len(parts) > 1 and parts[:3] == tuple(dict.fromkeys(scene.eye_path))[: len(parts[:3])]


def _form(plan: Plan, scene: Scene) -> str:
    """Say what each section stands for, and how loud it is."""
    loud = {"pp": "very soft", "p": "soft", "mp": "rather soft", "mf": "rather loud", "f": "loud", "ff": "very loud"}
    said: list[str] = []
    for part, alike in groupby(plan.sections, key=lambda section: section.picture_part):
        sections = tuple(alike)
        how = " and then ".join(dict.fromkeys(loud[section.dynamic] for section in sections))
        verb = "" if said else "stand "
        if part:
            said.append(f"bars {sections[0].first} to {sections[-1].last}, {how}, {verb}for {part}")
    text = "; ".join(said)
    if text and _follows_the_eye(plan, scene):
        return f"The form goes where the eye goes: {text}."
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _peak(plan: Plan) -> str:
    if plan.climax is None:
        return ""
    return f"Its highest note, {pitch_name(plan.climax.pitch)}, comes in bar {plan.climax.bar}."


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
    lends = [part.partition(":")[0].strip() for part in references[0].contributes.split(";") if part.strip()]
    lent = f", for its {listed(lends, 'en')}" if nearest and lends else ""
    return f"{line}; {names} from the index {verb} in its ear{nearest}{lent}."


def _quoted(caption: str) -> str:
    """Return the tune's name, if its caption tells it, or else the caption's first sentence."""
    _, _, name = caption.partition('"')
    name, closed, _ = name.partition('"')
    first = name if closed and name else caption.split(". ")[0].rstrip(".")
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
