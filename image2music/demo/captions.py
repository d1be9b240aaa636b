"""Captions and rows with the fields of MidiCaps, written by rule from a piece's features. Generated, not MidiCaps."""

from __future__ import annotations

import re
from typing import Any

from image2music.demo.features import Features, features_of
from image2music.demo.piece import Piece, draw

_SCENES = {
    "sad": ("rain on a grey window", "a dark and empty church", "the last light of a winter day", "a lonely shore"),
    "calm": ("still water in the evening light", "snow on quiet hills", "the moon over a calm sea", "a sleeping cat"),
    "melancholic": ("an empty street in autumn", "fog over a harbour", "an old stone wall in the rain"),
    "melodic": ("a walk through green meadows", "a bright morning in the mountains", "a valley in spring"),
    "energetic": ("dark clouds driven by the wind", "horses racing at night", "a fire in the dark"),
    "happy": ("a sunny garden full of flowers", "children running on the grass", "a village feast in summer",
              "birds in a bright blue sky", "a busy market with red and yellow stalls"),
    "fun": ("sailors dancing on deck", "boats in a sunny harbour", "friends around a table with drinks"),
    "powerful": ("a parade with flags in the street", "soldiers passing a great gate", "machines of iron and steam"),
    "romantic": ("an old ballroom by candlelight", "roses in a vase", "a palace with golden rooms"),
    "dream": ("stars in a deep night sky", "mist over a lake", "dandelion seeds in the air"),
}  # fmt: skip
_ADJECTIVES = {
    "dramatic": "dramatic", "fun": "fun-loving", "party": "festive", "love": "loving", "dream": "dreamy",
    "nature": "pastoral", "action": "driving", "summer": "summery", "retro": "old-world", "epic": "epic",
    "motivational": "rousing", "positive": "bright",
}  # fmt: skip
# Each gives the same facts in another order, as people do.
_TEMPLATES = (
    'A {mood1} and {mood2} {genre} {kind} named "{title}", played by {instruments}. It is set in {key} with a {meter} '
    "time signature and a {tempo_word} tempo of {tempo} beats per minute, {atmosphere}.",
    "{Instruments} {plays} this {mood1} {kind} in {key}. The tempo is {pace} at {tempo} bpm, the time signature is "
    '{meter}, and the harmony often moves through {chords}. "{title}" has a {mood2} feel, {atmosphere}.',
    'This {length} {genre} piece, the {kind} "{title}", is {mood1}, {mood2} and {mood3}. Written in {key} and {meter}, '
    "it features {instruments} at a {tempo_word} pace of {tempo} bpm, {atmosphere}.",
    'Set in {key}, "{title}" is a {genre} {kind} with a {mood1} mood. {Instruments} {carries} the melody in {meter} '
    "time at {tempo} beats per minute, {atmosphere}. The main chords are {chords}.",
)


def caption_row(piece: Piece) -> dict[str, Any]:
    """One line of the captions file: MidiCaps' fields, in its order, for a piece below `midi/`."""
    features = features_of(piece)
    return {
        "location": f"{piece.name}.mid",
        "caption": caption_of(piece, features),
        "genre": list(features.genres),
        "genre_prob": _falling(len(features.genres)),
        "mood": list(features.moods),
        "mood_prob": _falling(len(features.moods)),
        "key": features.key,
        "time_signature": features.time_signature,
        "tempo": features.tempo,
        "tempo_word": features.tempo_word,
        "duration": features.duration,
        "duration_word": features.duration_word,
        "chord_summary": list(features.pattern),
        "chord_summary_occurence": features.pattern_count,
        "instrument_summary": list(features.instruments[:5]),
        "instrument_numbers_sorted": list(features.programs),
        "all_chords": [name for name, _ in features.chords],
        "all_chords_timestamps": [seconds for _, seconds in features.chords],
        "test_set": False,
    }


def caption_of(piece: Piece, features: Features) -> str:
    """Two or three English sentences in the manner of MidiCaps' captions."""
    one = len(features.instruments) == 1 and features.instruments[0] != "Recorder"
    names = _instruments(features)
    template = _TEMPLATES[draw(piece.name + "caption", len(_TEMPLATES))]
    moods = [_ADJECTIVES.get(mood, mood) for mood in features.moods]
    text = template.format(
        title=piece.title,
        kind=piece.kind,
        genre=features.genres[0],
        key=features.key,
        meter=features.time_signature,
        tempo=features.tempo,
        tempo_word=features.tempo_word,
        pace=features.pace,
        length="short" if "hort" in features.duration_word else "full-length",
        mood1=moods[0],
        mood2=moods[1],
        mood3=moods[2],
        instruments=names,
        Instruments=names[0].upper() + names[1:],
        plays="plays" if one else "play",
        carries="carries" if one else "carry",
        chords=_listed(features.pattern),
        atmosphere=_atmosphere(piece, features),
    )
    return _with_articles(text)


def _atmosphere(piece: Piece, features: Features) -> str:
    scenes = _SCENES[features.moods[0]]
    scene = scenes[draw(piece.name + "scene", len(scenes))]
    moods = [_ADJECTIVES.get(mood, mood) for mood in features.moods]
    return f"evoking a {moods[3]} and {moods[4]} atmosphere like {scene}"


def _instruments(features: Features) -> str:
    if features.instruments == ("Choir",):
        return "a choir in four parts"
    if len(features.instruments) == 1:
        name = features.instruments[0].lower()
        return f"four {name}s" if name == "recorder" else f"a solo {name}" if name != "church organ" else f"a {name}"
    return _listed(tuple(name.lower() for name in features.instruments))


def _listed(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _with_articles(text: str) -> str:
    # Capital A within the text is a chord or a key.
    return re.sub(r"\ba(?= [aeiouAEIOU])|^A(?= [aeiou])", lambda match: match.group() + "n", text)


def _falling(count: int) -> list[float]:
    """Weights for a ranking that has none: they fall evenly and sum to one."""
    return [round(2 * (count - rank) / (count * (count + 1)), 4) for rank in range(count)]
