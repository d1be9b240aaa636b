"""The demo's pieces, read from music21's corpus (Bach's chorales, dance tunes, airs), and captions for them by rule.

The features are key, meter, tempo, instruments, length, genre, mood, and a rough harmony: the best triad of each bar.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from string import capwords
from typing import Any

import numpy as np

from image2music.abc.playback import abc_to_score
from image2music.errors import AbcError
from image2music.music.grid import detect_key, pitch_class_weights
from image2music.music.score import KeyChange, MeterChange, Score, TempoChange, Track
from image2music.music.theory import key_name


@dataclass(frozen=True)
class DemoPiece:
    """A real piece with a setting chosen for the demo.

    name: path of its MIDI file below `midi/`, without ending.
    kind: what it is, in one word or two: "reel", "slow air", "chorale".
    score: its notes, with one tempo, meter and key at the start.
    """

    name: str
    title: str
    kind: str
    score: Score


def draw(text: str, sides: int) -> int:
    """Return a number from 0 to sides - 1 by a hash of the text: the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % sides


def sample(names: Iterable[str], count: int) -> list[str]:
    """Return `count` of the names, evenly spread over their sorted order."""
    ordered = sorted(names)
    if len(ordered) <= count:
        return ordered
    return [ordered[index * len(ordered) // count] for index in range(count)]


_TICKS = 480
_VOICES = 4

# General MIDI programs for soprano, alto, tenor and bass.
_SETTINGS = (
    (52, 52, 52, 52),  # choir
    (19, 19, 19, 19),  # church organ
    (40, 40, 41, 42),  # violins, viola, cello
    (74, 74, 74, 74),  # recorders
    (56, 60, 57, 58),  # trumpet, horn, trombone, tuba
)
_MINOR_QPM = (48, 54, 60, 66)

_MAJOR_QPM = (66, 76, 88, 100)
"""The sources give no tempo; these are usual ones, slower for chorales in minor."""


def chorales(corpus: Path, count: int) -> list[DemoPiece]:
    """Return `count` four-part chorales that have a title, evenly spread over the catalogue of works."""
    from music21.corpus.chorales import ChoraleList

    titles = {f"bwv{number}": entry["title"] for number, entry in ChoraleList().byBWV.items()}
    files = {stem: path for stem in titles if (path := corpus / "bach" / f"{stem}.mxl").is_file()}
    # More candidates than wanted: some of the files hold other than four voices.
    pieces = (_read(files[stem], titles[stem]) for stem in sample(files, 2 * count))
    return [piece for piece in pieces if piece is not None][:count]


def _read(path: Path, title: str) -> DemoPiece | None:
    from music21 import converter

    stem = path.stem
    stream = converter.parse(path, forceSource=True)
    meters = list(stream.parts[0].recurse().getElementsByClass("TimeSignature"))
    if len(stream.parts) != _VOICES or not meters:
        return None
    meter = MeterChange(0, meters[0].numerator, meters[0].denominator)
    lead_in = _lead_in(stream, meter)
    programs = _SETTINGS[draw(stem + "setting", len(_SETTINGS))]
    tracks = tuple(
        _track(part, program, channel, lead_in)
        for channel, (part, program) in enumerate(zip(stream.parts, programs, strict=True))
    )
    key = _key(tracks)
    choices = _MINOR_QPM if key.minor else _MAJOR_QPM
    tempo = TempoChange(0, float(choices[draw(stem + "tempo", len(choices))]))
    return DemoPiece(f"bach/{stem}", title, "chorale", Score(_TICKS, tracks, (tempo,), (meter,), (key,)))


def _lead_in(stream: Any, meter: MeterChange) -> int:
    """Return the ticks of rest before an upbeat, so that bar lines of the MIDI file are those of the chorale."""
    bar = _TICKS * 4 * meter.numerator // meter.denominator
    first = next(iter(stream.parts[0].getElementsByClass("Measure")), None)
    upbeat = round(float(first.duration.quarterLength) * _TICKS) if first is not None else bar
    return bar - upbeat if upbeat < bar else 0


def _track(part: Any, program: int, channel: int, lead_in: int) -> Track:
    notes = sorted(
        (lead_in + round(float(note.offset) * _TICKS), pitch.midi, max(1, round(float(note.quarterLength) * _TICKS)))
        for note in part.flatten().stripTies().notes
        for pitch in note.pitches
        if note.quarterLength > 0
    )
    table = np.array(notes, dtype=np.int64).reshape(-1, 3)
    loudness = np.full(len(table), 80, dtype=np.int64)
    return Track(table[:, 0], table[:, 2], table[:, 1], loudness, program, channel, name=part.partName or "")


def _key(tracks: tuple[Track, ...]) -> KeyChange:
    pitches = np.concatenate([track.pitches for track in tracks])
    quarters = np.concatenate([track.durations for track in tracks]) / _TICKS
    key = detect_key(pitch_class_weights(pitches, quarters))
    return KeyChange(0, key.sharps, key.minor)


_COLLECTIONS = {"oneills1850": "O'Neill", "ryansMammoth": "Ryan", "airdsAirs": "Aird"}


@dataclass(frozen=True)
class Dance:
    """How many tunes of a kind to take, at which quarter notes a minute, on which General MIDI programs."""

    count: int
    tempos_qpm: tuple[int, ...]
    programs: tuple[int, ...]


# Tempos as sessions and dancers take them today. Programs: 40 violin, 73 flute, 21 accordion, 78 whistle, 46 harp,
# 105 banjo, 109 bagpipe, 24 guitar, 72 piccolo, 68 oboe, 42 cello, 0 piano.
KINDS = {
    "reel": Dance(24, (184, 200, 216), (40, 73, 21, 78, 105)),
    "jig": Dance(24, (156, 168, 180), (40, 73, 21, 78)),
    "slip jig": Dance(12, (156, 174), (73, 78, 40)),
    "hornpipe": Dance(18, (132, 144, 156), (21, 40, 72)),
    "strathspey": Dance(12, (112, 124), (40, 109)),
    "clog": Dance(8, (120, 138), (105, 0)),
    "highland fling": Dance(8, (140, 152), (109, 40)),
    "waltz": Dance(4, (126, 138), (21, 24)),
    "march": Dance(14, (96, 104), (72, 109, 56)),
    "minuet": Dance(12, (92, 104), (68, 0, 24)),
    "slow air": Dance(26, (48, 56, 63), (46, 73, 42, 24)),
    "air": Dance(18, (76, 88), (46, 24, 68, 0)),
}

_SAME_KIND = {
    "slipjig": "slip jig",
    "double jig": "jig",
    "single jig": "jig",
    "slide": "jig",
    "fling": "highland fling",
    "walkaround": "clog",
}

# Words in a title that settle the kind where no R: field does, the first that fits.
_TITLE_WORDS = (
    (r"\b(lament|farewell|sorrow|dirge|grave|tears|weep|alas|lonel|banish|slow)", "slow air"),
    (r"\b(march|quick ?step|retreat|troop)\b", "march"),
    (r"\b(minuet|gavotte)\b", "minuet"),
    (r"\breel\b", "reel"),
    (r"\bhornpipe\b", "hornpipe"),
    (r"\bstrathspey\b", "strathspey"),
    (r"\bwaltz\b", "waltz"),
)


@dataclass(frozen=True)
class _Source:
    name: str
    title: str
    kind: str
    abc: str


def dances(corpus: Path) -> list[DemoPiece]:
    """Return tunes of each of `KINDS`, as many as it says or fewer, from the folder of music21's corpus."""
    sources = {source.name: source for source in _sources(corpus)}
    pieces: list[DemoPiece] = []
    for kind, dance in KINDS.items():
        names = [name for name, source in sources.items() if source.kind == kind]
        # More candidates than wanted: a few tunes have no notes that can be played.
        candidates = (_piece(sources[name], dance) for name in sample(names, dance.count + 2))
        pieces += [piece for piece in candidates if piece is not None][: dance.count]
    return pieces


def _sources(corpus: Path) -> Iterator[_Source]:
    for folder in _COLLECTIONS:
        for path in sorted((corpus / folder).glob("*.abc")):
            text = path.read_text(encoding="utf-8", errors="replace")
            for block in re.split(r"(?m)^(?=X:)", text):
                source = _source(folder, path.stem, block)
                if source is not None:
                    yield source


def _source(folder: str, stem: str, abc: str) -> _Source | None:
    number, title, key = (_field(abc, letter) for letter in "XTK")
    if not (number and title and key):
        return None
    # Corpus titles end in their kind ("42d Highland Regiment -- Strathspey") or begin with their article last.
    shown = re.sub(r"\s*--.*$", "", title).rstrip(". ")
    shown = re.sub(r"^(.*), (The|A|An)$", r"\2 \1", shown)
    shown = capwords(shown) if shown.isupper() else shown
    name = f"{folder}/{stem}" if folder == "ryansMammoth" else f"{folder}/{stem}-{number}"
    return _Source(re.sub(r"[^\w/.-]+", "_", name), shown, _kind(abc, title), abc)


def _kind(abc: str, title: str) -> str:
    rhythm = _field(abc, "R").lower()
    rhythm = _SAME_KIND.get(rhythm, rhythm)
    for pattern, kind in _TITLE_WORDS:
        if re.search(pattern, title, re.IGNORECASE) and rhythm in ("", "air"):
            return kind
    if rhythm == "air":
        # O'Neill's airs are songs; half of them are played slowly.
        return "slow air" if draw(title, 2) else "air"
    if rhythm:
        return rhythm
    return "jig" if _field(abc, "M") == "6/8" else "air"


def _field(abc: str, letter: str) -> str:
    match = re.search(rf"(?m)^{letter}:[ \t]*(.*?)[ \t]*$", abc)
    return match.group(1).strip().removesuffix("\r") if match else ""


def _piece(source: _Source, dance: Dance) -> DemoPiece | None:
    try:
        score = abc_to_score(source.abc)
    except AbcError:
        # Among thousands of tunes a few cannot be played; the next candidate takes the place.
        return None
    if not 40 <= score.n_notes <= 1500 or not score.meters:
        return None
    tempo = dance.tempos_qpm[draw(source.name + "tempo", len(dance.tempos_qpm))]
    program = dance.programs[draw(source.name + "program", len(dance.programs))]
    return DemoPiece(source.name, source.title, source.kind, _set(score, float(tempo), program))


def _set(score: Score, qpm: float, program: int) -> Score:
    tracks = tuple(replace(track, program=program) for track in score.tracks)
    return replace(score, tracks=tracks, tempos=(TempoChange(0, qpm),))


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
    0: "Piano", 19: "Church Organ", 21: "Accordion", 24: "Acoustic Guitar", 40: "Violin", 41: "Viola", 42: "Cello",
    46: "Harp", 52: "Choir", 56: "Trumpet", 57: "Trombone", 58: "Tuba", 60: "French Horn", 68: "Oboe", 72: "Piccolo",
    73: "Flute", 74: "Recorder", 78: "Tin Whistle", 105: "Banjo", 109: "Bagpipe",
}  # fmt: skip

# (pace, minor) to moods, strongest first, in the words that MidiCaps takes from MTG-Jamendo.
_MOODS = {
    ("slow", True): ("sad", "dark", "melancholic", "emotional", "slow"),
    ("slow", False): ("calm", "relaxing", "meditative", "soft", "hopeful"),
    ("moderate", True): ("melancholic", "emotional", "dramatic", "deep", "dark"),
    ("moderate", False): ("melodic", "romantic", "positive", "nature", "hopeful"),
    ("fast", True): ("energetic", "dramatic", "dark", "action", "fast"),
    ("fast", False): ("happy", "energetic", "upbeat", "fun", "party"),
}

_MOODS_OF_KIND = {
    "march": ("powerful", "epic", "motivational", "positive", "inspiring"),
    "minuet": ("romantic", "soft", "melodic", "retro", "relaxing"),
    "hornpipe": ("fun", "groovy", "positive", "upbeat", "happy"),
    "slip jig": ("dream", "melodic", "nature", "happy", "uplifting"),
    "waltz": ("romantic", "love", "dream", "melodic", "summer"),
}
_SLOW_SECONDS_A_NOTE, _FAST_SECONDS_A_NOTE = 0.45, 0.25


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
    pace = _pace(score)
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
        moods=_moods(piece, pace),
        genres=("classical", "choir") if piece.kind == "chorale" else ("folk", "celtic"),
        instruments=tuple(INSTRUMENTS[program] for program in programs),
        programs=programs,
        chords=tuple(chords),
        pattern=tuple(pattern),
        pattern_count=count,
    )


def _moods(piece: DemoPiece, pace: str) -> tuple[str, ...]:
    by_notes = _MOODS[pace, piece.score.keys[0].minor]
    of_kind = _MOODS_OF_KIND.get(piece.kind)
    if of_kind is None:
        return by_notes
    # Kind first, and one word of the notes themselves: a march in minor stays dark.
    return (*of_kind[:4], by_notes[draw(piece.name, 2)])


def _pace(score: Score) -> str:
    """Return "slow", "moderate" or "fast" by the mean time from one onset of the first track to the next."""
    onsets = score.tracks[0].onsets
    steps = max(1, len(set(onsets.tolist())) - 1)
    seconds = float(onsets[-1] - onsets[0]) / steps * 60 / score.tempos[0].qpm / score.ticks_per_quarter
    if seconds > _SLOW_SECONDS_A_NOTE:
        return "slow"
    return "fast" if seconds < _FAST_SECONDS_A_NOTE else "moderate"


def _seconds(score: Score) -> float:
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks if len(track))
    return end / score.ticks_per_quarter * 60 / score.tempos[0].qpm


def _word(value: float, words: tuple[tuple[int, str], ...]) -> str:
    return next(word for below, word in words if value < below)


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


def caption_row(piece: DemoPiece) -> dict[str, Any]:
    """Return one line of the captions file: MidiCaps' fields, in its order, for a piece below `midi/`."""
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


def caption_of(piece: DemoPiece, features: PieceFeatures) -> str:
    """Return two or three English sentences in the manner of MidiCaps' captions."""
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


def _atmosphere(piece: DemoPiece, features: PieceFeatures) -> str:
    scenes = _SCENES[features.moods[0]]
    scene = scenes[draw(piece.name + "scene", len(scenes))]
    moods = [_ADJECTIVES.get(mood, mood) for mood in features.moods]
    return f"evoking a {moods[3]} and {moods[4]} atmosphere like {scene}"


def _instruments(features: PieceFeatures) -> str:
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
    """Return weights for a ranking that has none: they fall evenly and sum to one."""
    return [round(2 * (count - rank) / (count * (count + 1)), 4) for rank in range(count)]
