"""Captions for the demo's pieces by rule, in the format of MidiCaps: everything they say is measured on the notes.

The features are key, meter, tempo, instruments, length, genre, a character (calm, flowing, playful, grand, dark or
driving) with its moods, and a rough harmony: the best triad of each bar.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, Literal

import numpy as np

from image2music.demo.pieces import DemoPiece, xml_text
from image2music.music.score import Score
from image2music.music.theory import key_name


def draw(text: str, sides: int) -> int:
    """Return a number from 0 to sides - 1 by a hash of the text: the same on every machine and in every run.

    It chooses wordings alone.
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % sides


_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

_TRIADS = np.array([[float((tone - root) % 12 in shape) for tone in range(12)] for shape in ((0, 4, 7), (0, 3, 7))
                    for root in range(12)])  # fmt: skip
_LABELS = [name + suffix for suffix in ("", "m") for name in _NAMES]
_PATTERN_LENGTHS = (4, 3, 5)


def chords_by_bar(score: Score) -> list[tuple[str, float]]:
    """Return chord names such as "Am" with the seconds at which they begin, one a bar with notes, repeats joined.

    Pitch classes weigh by how long they sound in the bar; those outside of the triad count against it by half.
    """
    bar = score.ticks_per_quarter * 4 * score.meters[0].numerator // score.meters[0].denominator
    seconds = 60 / score.tempos[0].qpm / score.ticks_per_quarter
    chords: list[tuple[str, float]] = []
    for number, weights in sorted(_weights_by_bar(score, bar).items()):
        label = _LABELS[int((_TRIADS @ weights - 0.5 * (1 - _TRIADS) @ weights).argmax())]
        if not chords or chords[-1][0] != label:
            chords.append((label, round(number * bar * seconds, 3)))
    return chords


def commonest_pattern(chords: list[str]) -> tuple[list[str], int]:
    """Return the most frequent succession of four (or three, or five) chords, and how often it occurs."""
    for length in _PATTERN_LENGTHS:
        runs = Counter(tuple(chords[start : start + length]) for start in range(len(chords) - length + 1))
        if runs and (best := max(runs.items(), key=lambda item: item[1]))[1] > 1:
            return list(best[0]), best[1]
    return chords[:4], 1


def _weights_by_bar(score: Score, bar: int) -> dict[int, np.ndarray]:
    weights: dict[int, np.ndarray] = {}
    for track in score.tracks:
        for onset, duration, pitch in zip(track.onsets, track.durations, track.pitches, strict=True):
            weights.setdefault(int(onset) // bar, np.zeros(12))[int(pitch) % 12] += float(duration)
    return weights


# Quarter notes a minute below which each word holds.
_TEMPO_WORDS = ((60, "Largo"), (76, "Adagio"), (96, "Andante"), (112, "Moderato"), (150, "Allegro"), (176, "Vivace"),
                (208, "Presto"), (10_000, "Prestissimo"))  # fmt: skip
_DURATION_WORDS = ((30, "Short fragment"), (120, "Short song"), (240, "Song"), (10**9, "Long piece"))

INSTRUMENTS = {
    0: "Piano", 6: "Harpsichord", 19: "Church Organ", 21: "Accordion", 24: "Acoustic Guitar", 40: "Violin",
    41: "Viola", 42: "Cello", 43: "Contrabass", 46: "Harp", 47: "Timpani", 52: "Choir", 53: "Voice", 56: "Trumpet",
    57: "Trombone", 58: "Tuba", 60: "French Horn", 68: "Oboe", 70: "Bassoon", 71: "Clarinet", 72: "Piccolo",
    73: "Flute", 74: "Recorder", 78: "Tin Whistle", 105: "Banjo", 109: "Bagpipe",
}  # fmt: skip

Nature = Literal["calm", "flowing", "playful", "grand", "dark", "driving"]

# Moods of each character in major and minor, strongest first, in the words that MidiCaps takes from MTG-Jamendo.
_MOODS = {
    ("calm", False): ("calm", "relaxing", "meditative", "soft", "hopeful"),
    ("calm", True): ("sad", "melancholic", "calm", "soft", "slow"),
    ("flowing", False): ("melodic", "romantic", "positive", "nature", "hopeful"),
    ("flowing", True): ("melancholic", "emotional", "melodic", "romantic", "deep"),
    ("playful", False): ("happy", "fun", "upbeat", "positive", "party"),
    ("playful", True): ("fun", "energetic", "upbeat", "funny", "adventure"),
    ("grand", False): ("epic", "powerful", "inspiring", "motivational", "uplifting"),
    ("grand", True): ("epic", "dramatic", "powerful", "dark", "film"),
    ("dark", False): ("dark", "deep", "dramatic", "slow", "emotional"),
    ("dark", True): ("dark", "dramatic", "deep", "sad", "emotional"),
    ("driving", False): ("energetic", "action", "uplifting", "fast", "sport"),
    ("driving", True): ("energetic", "dramatic", "action", "dark", "fast"),
}

_SLOW_A_SECOND, _FAST_A_SECOND = 2.4, 4.2
_TRUMPET = 56
_LOUD, _FULL_TRACKS, _LOW_PITCH = 94.0, 4, 63.0


def nature_of(score: Score, kind: str = "") -> Nature:
    """Return the character of a piece by its pace, mode, loudness, register and how many voices it has.

    The pace is onsets a second over all voices: slow below 2.4, fast from 4.2. Loud: a mean velocity of 94 or more
    (mezzo-forte is 90), or trumpets. Full: four voices, or two staves of a keyboard, or a march. Low: a mean pitch
    below Eb4.

    - Minor: fast is playful where a tune stands alone and is no reel, else driving; the rest is dark where it is low,
      or loud and full, calm where it is slow, else flowing.
    - Major: fast is driving where it is loud and full, else playful; loud, full and not fast is grand; the rest is calm
      where it is slow, else flowing.
    """
    tracks = [track for track in score.tracks if len(track)]
    pace, programs = pace_of(score), {track.program for track in tracks}
    loudness = round(float(np.mean(np.concatenate([track.velocities for track in tracks]))), 2)
    loud = loudness >= _LOUD or _TRUMPET in programs
    full = len(tracks) >= _FULL_TRACKS or (len(tracks) == 2 and programs == {0}) or kind == "march"
    low = round(float(np.mean(np.concatenate([track.pitches for track in tracks]))), 2) < _LOW_PITCH
    if score.keys[0].minor:
        if pace == "fast":
            return "playful" if len(tracks) == 1 and kind != "reel" else "driving"
        return "dark" if low or (loud and full) else "calm" if pace == "slow" else "flowing"
    if pace == "fast":
        return "driving" if loud and full else "playful"
    if loud and full:
        return "grand"
    return "calm" if pace == "slow" else "flowing"


def pace_of(score: Score) -> str:
    """Return "slow", "moderate" or "fast" by the onsets a second over all tracks, from the first to the last."""
    onsets = np.unique(np.concatenate([track.onsets for track in score.tracks]))
    seconds = float(onsets[-1] - onsets[0]) / score.ticks_per_quarter * 60 / score.tempos[0].qpm
    rate = round((len(onsets) - 1) / seconds, 3) if seconds else 0.0
    return "slow" if rate < _SLOW_A_SECOND else "fast" if rate >= _FAST_A_SECOND else "moderate"


_GENRES = {
    "chorale": ("classical", "choir"), "madrigal": ("classical", "choir"), "motet": ("medieval", "choir"),
    "rag": ("jazz", "swing"), "string quartet": ("classical", "orchestral"), "song": ("classical", "chanson"),
}  # fmt: skip
_CLASSICAL = ("sonata", "polonaise", "concertino", "trio sonata", "piano trio")


@dataclass(frozen=True)
class PieceFeatures:
    """The features of a piece; `tempo` in quarter notes a minute, `duration` in seconds."""

    key: str
    minor: bool
    time_signature: str
    tempo: int
    tempo_word: str
    duration: int
    duration_word: str
    pace: str
    nature: Nature
    moods: tuple[str, ...]
    genres: tuple[str, str]
    instruments: tuple[str, ...]
    programs: tuple[int, ...]
    chords: tuple[tuple[str, float], ...]
    pattern: tuple[str, ...]
    pattern_count: int


def features_of(piece: DemoPiece) -> PieceFeatures:
    """Measure a piece's features from its notes; genre and mood follow from kind, mode and pace by rule."""
    score = piece.score
    key, meter, tempo = score.keys[0], score.meters[0], round(score.tempos[0].qpm)
    chords = chords_by_bar(score)
    pattern, count = commonest_pattern([name for name, _ in chords])
    pace, nature = pace_of(score), nature_of(score, piece.kind)
    programs = tuple(sorted({track.program for track in score.tracks}))
    duration = round(_seconds(score))
    return PieceFeatures(
        key=f"{key_name(key.sharps, key.minor).removesuffix('m')} {'minor' if key.minor else 'major'}",
        minor=key.minor,
        time_signature=f"{meter.numerator}/{meter.denominator}",
        tempo=tempo,
        tempo_word=_word(tempo, _TEMPO_WORDS),
        duration=duration,
        duration_word=_word(duration, _DURATION_WORDS),
        pace=pace,
        nature=nature,
        moods=_MOODS[nature, key.minor],
        genres=_genres(piece),
        instruments=tuple(INSTRUMENTS[program] for program in programs),
        programs=programs,
        chords=tuple(chords),
        pattern=tuple(pattern),
        pattern_count=count,
    )


def _genres(piece: DemoPiece) -> tuple[str, str]:
    """Folk tunes are all that is neither in the table nor classical."""
    return _GENRES.get(piece.kind, ("classical", "orchestral") if piece.kind in _CLASSICAL else ("folk", "celtic"))


def _seconds(score: Score) -> float:
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks if len(track))
    return end / score.ticks_per_quarter * 60 / score.tempos[0].qpm


def _word(value: float, words: tuple[tuple[int, str], ...]) -> str:
    return next(word for below, word in words if value < below)


# What a character brings to mind on voices and organ, strings, plucked strings and keys, winds, brass.
_SCENES = {
    "calm": ("a quiet church", "still water in the evening light", "a sleeping cat", "snow on silent hills",
             "the last light on a mountain"),
    "flowing": ("a procession with candles", "a walk through green meadows", "rain on a window", "a valley in spring",
                "boats on a wide river"),
    "playful": ("children singing", "dancers in a village street", "a busy market", "children running on the grass",
                "a fair with red and yellow stalls"),
    "grand": ("a cathedral full of light", "a palace with golden rooms", "an old ballroom", "a parade with flags",
              "a great gate, towers and banners"),
    "dark": ("a dark and empty church", "fog over a harbour at night", "an empty street in autumn", "a lonely shore",
             "black clouds over a castle"),
    "driving": ("a crowd in a storm", "horses racing over a plain", "machines of iron and steam",
                "a wild dance around a fire", "a rocket on its way"),
}  # fmt: skip
_FAMILIES = (
    (19, 52, 53),
    (40, 41, 42, 43),
    (0, 6, 21, 24, 46, 105),
    (68, 70, 71, 72, 73, 74, 78, 109),
    (56, 57, 58, 60),
)

_ADJECTIVES = {
    "epic": "majestic", "funny": "witty", "adventure": "adventurous", "sport": "athletic", "film": "cinematic",
    "fun": "fun-loving", "party": "festive", "love": "loving", "dream": "dreamy",
    "nature": "pastoral", "action": "restless", "motivational": "rousing", "positive": "bright",
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


_GRANTS = re.compile(r"\bCC[ -]?(?:BY|SA|0)|creative commons|public domain", re.IGNORECASE)


def licence_of(corpus: Path, file: str) -> str:
    """Return the licence that a MusicXML file of the corpus names, in its words, else that of the whole corpus."""
    head = xml_text(corpus / file).split("<part id")[0] if file else ""
    said = (" ".join(unescape(text).split()) for text in re.findall(r"<(?:rights|credit-words)\b[^>]*>([^<]+)<", head))
    return next((text for text in said if _GRANTS.search(text)), "") or _terms_of(corpus)


def _terms_of(corpus: Path) -> str:
    """Return what license.txt of the corpus says of each piece in it, empty where there is no such sentence."""
    path = corpus / "license.txt"
    text = " ".join(path.read_text(encoding="utf-8").split()) if path.is_file() else ""
    found = re.search(r"each piece of music in the corpus is (?:either )?([^.]+)\.", text)
    return f"{found[1]} (license.txt of music21's corpus, to the best of its knowledge)" if found else ""


def caption_row(piece: DemoPiece, licence: str = "") -> dict[str, Any]:
    """Return a line of the captions file: MidiCaps' fields, in its order, `source`, and `licence` where known."""
    features = features_of(piece)
    row = {
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
        "source": f"corpus of music21, {piece.name}",
    }
    return row | ({"licence": licence} if licence else {})


def caption_of(piece: DemoPiece, features: PieceFeatures) -> str:
    """Return two or three English sentences in the manner of MidiCaps' captions."""
    names = _players(piece.score)
    one = names.startswith("a ") and " and " not in names
    template = _TEMPLATES[draw(piece.name + "caption", len(_TEMPLATES))]
    moods = _words(features)
    text = template.format(
        title=piece.title,
        kind=f"{piece.kind} by {piece.composer}" if piece.composer else piece.kind,
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


def _words(features: PieceFeatures) -> list[str]:
    """Return adjectives for the moods, the character first."""
    adjectives = [_ADJECTIVES.get(mood, mood) for mood in features.moods]
    return [features.nature, *(word for word in adjectives if word != features.nature)]


def _atmosphere(piece: DemoPiece, features: PieceFeatures) -> str:
    """What a piece brings to mind follows from its character and from the instrument of its melody."""
    melody = piece.score.tracks[0].program
    family = next(number for number, programs in enumerate(_FAMILIES) if melody in programs)
    moods = _words(features)
    return f"evoking a {moods[3]} and {moods[4]} atmosphere like {_SCENES[features.nature][family]}"


_NUMBERS = ("no", "a", "two", "three", "four", "five", "six")


def _players(score: Score) -> str:
    """Return who plays: "two violins, a viola and a cello"; staves of one keyboard, and voices, are one."""
    counts = Counter(INSTRUMENTS[track.program] for track in score.tracks)
    alone = len(score.tracks) == 1
    words = []
    for name, count in counts.items():
        together = name in ("Piano", "Harpsichord", "Church Organ", "Choir", "Acoustic Guitar")
        number = "a" if together or count == 1 else _NUMBERS[min(count, 6)]
        solo = "solo " if alone and not together else ""
        shown = f"{number} {solo}{name.lower()}" + ("s" if number != "a" else "")
        words.append("timpani" if name == "Timpani" else shown)
    return _listed(tuple(words))


def _listed(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _with_articles(text: str) -> str:
    # Capital A within the text is a chord or a key.
    return re.sub(r"\ba(?= [aeiouAEIOU])|^A(?= [aeiou])", lambda match: match.group() + "n", text)


def _falling(count: int) -> list[float]:
    """Return weights for a ranking that has none: they fall evenly and sum to one."""
    return [round(2 * (count - rank) / (count * (count + 1)), 4) for rank in range(count)]
