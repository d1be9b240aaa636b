"""Captions and rows in the manner of MidiCaps, drawn from one seed. Generated: nobody listened to the music.

The fields, their types and nulls are those of MidiCaps' train.json, and genres and moods words of MTG-Jamendo.
Instruments, key, meter, tempo and length are those of the MIDI file; genre, mood and chords are drawn.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

GENRES = (
    "alternative", "ambient", "blues", "bossanova", "celtic", "chillout", "choir", "classical", "country", "dance",
    "disco", "easylistening", "electronic", "ethno", "folk", "funk", "fusion", "hardrock", "hiphop", "house",
    "indie", "jazz", "latin", "lounge", "medieval", "metal", "newage", "orchestral", "pop", "poprock",
    "progressive", "punkrock", "reggae", "rock", "rocknroll", "soul", "soundtrack", "swing", "symphonic",
    "synthpop", "techno", "trance", "world",
)  # fmt: skip
MOODS = (
    "action", "adventure", "ballad", "calm", "children", "christmas", "cool", "corporate", "dark", "deep",
    "documentary", "dramatic", "dream", "emotional", "energetic", "epic", "film", "fun", "funny", "game", "groovy",
    "happy", "heavy", "hopeful", "inspiring", "love", "meditative", "melancholic", "melodic", "motivational",
    "nature", "party", "positive", "powerful", "relaxing", "retro", "romantic", "sad", "soft", "space", "sport",
    "summer", "travel", "upbeat", "uplifting",
)  # fmt: skip
_ROOTS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_SUFFIXES = ("", "m", "7", "m7", "maj7", "sus4", "6", "dim")
_TEMPO_WORDS = ((60, "Largo"), (76, "Adagio"), (96, "Andante"), (112, "Moderato"), (150, "Allegro"), (190, "Presto"))
_OPENINGS = (
    "A {mood1} and {mood2} {genre1} {kind} featuring {instruments}.",
    "This {length} {genre1} {kind} with elements of {genre2} is {mood1} and {mood2}, played by {instruments}.",
    "{Instruments} make up this {mood1} {genre1} {kind}.",
    "A {mood1} {kind} that blends {genre1} and {genre2}, led by {instruments}.",
    "An instrumental {genre1} {kind}, {mood1} throughout, in which {instruments} take turns with the melody.",
)
_FACTS = (
    "Set in {key} with a {meter} time signature, it moves at {tempo} beats per minute.",
    "The tempo is {tempo_word} at {tempo} bpm, the time signature is {meter} and the key is {key}.",
    "Written in {key} and {meter}, it is played at a {tempo_word} pace.",
    "It keeps a {meter} pulse at {tempo} bpm.",
)
_CHORDS = (
    "The chord progression of {chords} returns throughout the {kind}.",
    "The harmony revolves around {chords}.",
    "Its most frequent chords are {chords}, which add to the {mood3} feel.",
)
_ENDINGS = (
    "The overall mood is {mood3}, with hints of {mood4} and {mood5}.",
    "It could be heard in a {mood4} scene and evokes a {mood5} atmosphere like {scene}.",
    "One may think of {scene}, {mood3} and {mood4}.",
    "The atmosphere is {mood4}, like {scene}.",
)
_KINDS = ("song", "piece", "track", "composition", "tune")
_SCENES = (
    "rain on a grey window", "still water in the evening", "snow on quiet hills", "an empty street at night",
    "a walk through green meadows", "dark clouds over the sea", "children running on a beach", "a crowded market",
    "friends around a table", "a parade with flags", "machines of iron and steam", "an old ballroom by candlelight",
    "stars in a deep sky", "a drive along the coast", "a fire in a dark forest", "a city waking up", "a lonely station",
    "horses crossing a plain", "boats in a sunny harbour", "a garden full of flowers", "a cathedral at dusk",
)  # fmt: skip


@dataclass(frozen=True)
class Music:
    """What a MIDI file says of itself. `key` is a pitch class and whether it is minor; None where no key is known."""

    programs: tuple[int, ...]
    instruments: tuple[str, ...]
    key: tuple[int, bool] | None
    meter: str
    qpm: float
    seconds: float


def midicaps_row(location: str, music: Music, rng: random.Random) -> dict[str, Any]:
    """One row with every field of MidiCaps. A key is null where the file has none, a meter in one row of a hundred."""
    genres, moods = rng.sample(GENRES, 2), rng.sample(MOODS, 5)
    progression = _progression(music, rng)
    chords = progression * max(1, round(music.seconds / 2 / len(progression)))
    facts = {
        "key": _key_name(music.key) if music.key else None,
        "time_signature": music.meter if rng.random() > 0.01 else None,
        "tempo": round(music.qpm),
        "tempo_word": next((word for below, word in _TEMPO_WORDS if music.qpm < below), "Prestissimo"),
        "duration": round(music.seconds),
        "duration_word": "Short song" if music.seconds < 120 else "Song",
        "chord_summary": progression,
        "chord_summary_occurence": len(chords) // len(progression),
        "instrument_summary": list(music.instruments[:5]),
    }
    return {
        "location": location,
        "caption": _caption(facts, genres, moods, rng),
        "genre": genres,
        "genre_prob": _falling(rng, 2),
        "mood": moods,
        "mood_prob": _falling(rng, 5),
        **facts,
        "instrument_numbers_sorted": list(music.programs),
        "all_chords": chords,
        "all_chords_timestamps": [round(2 * number + 0.464399, 6) for number in range(len(chords))],
        "test_set": rng.random() < 0.1,
    }


def _caption(facts: dict[str, Any], genres: list[str], moods: list[str], rng: random.Random) -> str:
    sentences = [rng.choice(_OPENINGS)]
    if facts["key"] and facts["time_signature"]:
        sentences.append(rng.choice(_FACTS))
    sentences += [rng.choice(group) for group in (_CHORDS, _ENDINGS) if rng.random() < 0.75]
    names = [name.lower() for name in facts["instrument_summary"]] or ["drums"]
    instruments = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    words = {f"mood{place}": mood for place, mood in enumerate(moods, 1)}
    return " ".join(sentences).format(
        **words,
        genre1=genres[0],
        genre2=genres[1],
        kind=rng.choice(_KINDS),
        length="short" if facts["duration"] < 120 else "full-length",
        instruments=instruments,
        Instruments=instruments.capitalize(),
        key=facts["key"],
        meter=facts["time_signature"],
        tempo=facts["tempo"],
        tempo_word=facts["tempo_word"],
        chords=", ".join(facts["chord_summary"]),
        scene=rng.choice(_SCENES),
    )


def _progression(music: Music, rng: random.Random) -> list[str]:
    root = music.key[0] if music.key else rng.randrange(12)
    steps = rng.sample((0, 2, 4, 5, 7, 9, 10), rng.randint(2, 5))
    return [_ROOTS[(root + step) % 12] + rng.choice(_SUFFIXES) for step in steps]


def _key_name(key: tuple[int, bool]) -> str:
    return f"{_ROOTS[key[0]]} {'minor' if key[1] else 'major'}"


def _falling(rng: random.Random, count: int) -> list[float]:
    return sorted((round(rng.uniform(0.05, 0.4), 4) for _ in range(count)), reverse=True)
