"""Titles, motivations and attention maps for nano's tunes.

nano decodes no prose. Its motivation puts the controls into sentences, and a sentence's map is the attention of the
control tokens that it speaks of; the maps of the tune and its bars are those of the music's own tokens. Titles are in
the manner of the collections that nano learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
from image2music.composers.suiting import SuitingMusic
from image2music.images.scene import Scene
from image2music.music.planning.plan import Plan
from image2music.settings import picture_seed
from image2music.types import Explanation

_KIND_NAMES = {"slip jig": "Slip Jig", "air": "Air", "song": "Song"}
_NO_SUBJECT = ("Light", "Morning", "Evening", "Road", "Stranger", "Window")


def title(picture: SeenPicture, controls: Controls, seed: int) -> str:
    """Return a title from what the picture shows and how the tune goes.

    `The Calm Lakeside`, `Air of the Old Castle`.
    """
    rng = np.random.Generator(np.random.Philox([seed, 1]))
    colour = picture.colours[0] if picture.colours else picture.mood
    thing = picture.subject if picture.subject is not None else f"{_NO_SUBJECT[int(rng.integers(len(_NO_SUBJECT)))]}"
    thing = " ".join(word.capitalize() for word in thing.split())
    kind = controls.get("kind")
    dance = _KIND_NAMES.get(kind or "", (kind or "tune").capitalize())
    forms = (
        f"The {picture.mood.capitalize()} {thing}",
        f"{dance} of the {thing}",
        f"The {thing}'s {dance}",
        f"The {colour.capitalize()} {thing}",
        f"{thing} in {'Minor' if controls['mode'] in ('minor', 'dorian') else 'Major'} Light",
    )
    return forms[int(rng.integers(len(forms)))]


def title_of(scene: Scene, music: SuitingMusic, seed: int, language: str = "en") -> str:
    """Return a title from what is surely seen, the light, the colours and the music's character."""
    rng = np.random.Generator(np.random.Philox([seed, 1]))
    colour = scene.palette[int(rng.integers(len(scene.palette)))].capitalize() if scene.palette else "Light"
    forms = {"calm": "Reverie", "flowing": "Romance", "playful": "Caprice", "grand": "Hymn", "dark": "Elegy"}
    form = forms.get(music.character, "Toccata")
    name, share = scene.things[0] if scene.things else ("", 0.0)
    if round(share, 3) >= SURE_IN_TITLE:
        return f"{form} for {_article(name).title()}"
    return f"{form} in {colour}"


SURE_IN_TITLE = 0.6
"""From this confidence on a title may name a thing."""


@dataclass(frozen=True)
class Sentence:
    """One sentence and the control slots that it puts into words."""

    text: str
    slots: tuple[str, ...]


def motivate(
    picture: SeenPicture, controls: Controls, request: ExplainRequest, n_references: int
) -> tuple[Sentence, ...]:
    """Return a sentence each on mood and mode, on movement, and on the line and its references; in an album one more.

    `n_references` is how many references the model attends to, the nearest first. A sentence names no slot that the
    album filled: attention to the picture had no part in it.
    """
    if request.request.album is not None:
        key = key_words(TONICS.index(controls["tonic"]), controls["mode"])
        return (
            Sentence(_impression(picture) + ".", ()),
            Sentence(
                f"Its album asks for {key}, {controls['meter']}, {controls['tempo']}, and the motif it opens with.", ()
            ),
            Sentence(_movement(controls), ("kind", "density")),
            Sentence(_line(controls, request, n_references), ("range", "register", "leaps", "pitch_entropy")),
        )
    return (
        Sentence(_mood_and_key(picture, controls), ("tempo", "mode", "tonic")),
        Sentence(_movement(controls), ("kind", "meter", "density")),
        Sentence(_line(controls, request, n_references), ("range", "register", "leaps", "pitch_entropy")),
    )


def _impression(picture: SeenPicture) -> str:
    light = "dark" if picture.brightness < 0.3 else "bright" if picture.brightness > 0.65 else "evenly lit"
    edge = "soft" if picture.contrast < 0.35 else "strong" if picture.contrast > 0.65 else "moderate"
    shows = f"{_article(picture.subject)} in a picture" if picture.subject else "a picture"
    return f"I saw {shows} that is {light}, of {edge} contrast and {picture.mood} in mood"


def _mood_and_key(picture: SeenPicture, controls: Controls) -> str:
    key = key_words(TONICS.index(controls["tonic"]), controls["mode"])
    return f"{_impression(picture)}, so the tune is {controls['tempo']} and in {key}."


def _movement(controls: Controls) -> str:
    manner = f"like {_article(controls['kind'])}" if "kind" in controls else "freely"
    pace = ("very few", "few", "a fair number of", "many", "very many")[LEVELS.index(controls["density"])]
    return f"It moves {manner} in {controls['meter']}, with {pace} notes to a bar."


def _line(controls: Controls, request: ExplainRequest, n_references: int) -> str:
    span = ("narrow", "modest", "medium", "wide", "very wide")[LEVELS.index(controls["range"])]
    motion = "by steps" if LEVELS.index(controls["leaps"]) < 2 else "by leaps as well as steps"
    line = f"The melody keeps to a {span} range and goes {motion}"
    references = request.request.references[:n_references]
    if not references:
        return line + "."
    names = "one tune" if len(references) == 1 else f"{len(references)} tunes"
    nearest = f", the nearest of them {_quoted(references[0].caption)}" if references[0].caption else ""
    return f"{line}; {names} from the index were in its ear{nearest}."


def _quoted(caption: str) -> str:
    first = caption.split(". ")[0].rstrip(".")
    return f"“{first if len(first) <= 120 else first[:117].rsplit(' ', 1)[0] + ' …'}”"


def _article(noun: str | None) -> str:
    noun = noun or ""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


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
    sentences = motivate(picture, controls, request, sampler.model.config.reference_slots)
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
