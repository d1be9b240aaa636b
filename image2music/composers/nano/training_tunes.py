"""The tunes that nano learns from: O'Neill, Aird and Ryan, as they come with music21.

All three collections are in the public domain (1778-1903) and were typed in by volunteers whom the Z: fields name.
The Essen collection also comes with music21 and is left out on purpose: its terms are non-commercial.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from image2music.composers.nano.melody import Melody
from image2music.composers.nano.plan import MAX_BARS, Plan, plan_of, tempo_word
from image2music.composers.nano.reading import read_melody
from image2music.composers.nano.vocabulary import Vocabulary
from image2music.notation.abc_parser import parse
from image2music.notation.abc_tree import Tune

COLLECTIONS = ("airdsAirs", "oneills1850", "ryansMammoth")

_KIND_WORDS = (
    ("slip jig", r"slip[ -]?jig|hop jig"),
    ("strathspey", r"strathspey|highland|fling|schottische"),
    ("hornpipe", r"hornpipe|clog"),
    ("reel", r"\breel"),
    ("jig", r"\bjig|quickstep|quick step"),
    ("waltz", r"waltz|walse|minuet"),
    ("march", r"march|troop"),
    ("polka", r"polka|walk ?around|country dance"),
    ("air", r"\bair\b|lament|lullaby|slow"),
    ("song", r"song|glee"),
)
_KIND_TEMPO = {"reel": "fast", "jig": "fast", "slip jig": "fast", "polka": "fast", "hornpipe": "fast"}
_KIND_TEMPO |= {"strathspey": "moderate", "march": "moderate", "waltz": "moderate", "air": "slow", "song": "moderate"}
_SLOW_WORDS = re.compile(
    r"slow|plaintive|tender|grave|mournful|sorrow|lament|largo|adagio|with feeling|expression", re.I
)
_FAST_WORDS = re.compile(r"lively|animated|spirited|allegro|cheerful|quick|brisk|gay|presto", re.I)
_MODERATE_WORDS = re.compile(r"moderate|andante|boldly|martial|graceful", re.I)


@dataclass(frozen=True)
class TrainingTune:
    """One tune. `source` is the file's path inside music21's corpus and the tune's number there."""

    source: str
    title: str
    transcriber: str
    melody: Melody
    plan: Plan


def read_training_tunes() -> list[TrainingTune]:
    """All tunes that can be read whole, in a fixed order. Needs music21 for its corpus folder."""
    import music21

    corpus = Path(music21.__file__).parent / "corpus"
    paths = [path for name in COLLECTIONS for path in sorted((corpus / name).glob("*.abc"))]
    return [tune for path in paths for tune in _tunes(path, corpus)]


def _tunes(path: Path, corpus: Path) -> Iterator[TrainingTune]:
    # A line that ends in a backslash goes on in the next one: joined here, since bars are counted across it.
    text = path.read_text("utf-8", errors="replace")
    for tune in parse(text).tunes:
        found = _training_tune(tune, path.relative_to(corpus).as_posix())
        if found is not None:
            yield found


def _training_tune(tune: Tune, source: str) -> TrainingTune | None:
    if len(tune.voices) != 1:
        return None
    melody = read_melody(tune, next(iter(tune.voices.values())))
    if melody is None or not is_regular(melody):
        return None
    words = " ".join(text for letter in "RTNBP" for text in tune.fields.get(letter, []))
    kind = _kind(words, melody.meter)
    plan = plan_of(melody, kind=kind, tempo=_tempo(tune, words, kind))
    transcriber = " ".join(tune.fields.get("Z", []))
    return TrainingTune(f"{source}#{tune.reference.strip()}", _title(tune), transcriber, melody, plan)


def is_regular(melody: Melody) -> bool:
    """Whether every note is in the vocabulary and only bars beside a section's end differ from the meter."""
    known = Vocabulary().note_ids
    if not 4 <= len(melody.bars) <= MAX_BARS or any(note not in known for bar in melody.bars for note in bar):
        return False
    if any(not _triplets_whole(bar) for bar in melody.bars):
        return False
    for i, bar in enumerate(melody.bars):
        length = sum((note.length for note in bar), Fraction())
        beside_end = i == 0 or i in melody.section_ends or i - 1 in melody.section_ends
        if length != melody.bar_capacity and not (beside_end and length < melody.bar_capacity):
            return False
    return True


def _triplets_whole(bar: tuple[object, ...]) -> bool:
    lengths = [note.length for note in bar]  # type: ignore[attr-defined]
    i = 0
    while i < len(lengths):
        if lengths[i].denominator != 3:
            i += 1
        elif lengths[i : i + 3] == [lengths[i]] * 3:
            i += 3
        else:
            return False
    return True


def _title(tune: Tune) -> str:
    title = re.sub(r"\s+--.*|[*\"]", "", tune.title).strip(" .")
    moved = re.fullmatch(r"(.*), (The|A|An)\b(.*)", title, re.I)
    return (f"{moved[2]} {moved[1]}{moved[3]}" if moved else title).strip().capitalize()


def _kind(words: str, meter: str) -> str | None:
    for kind, pattern in _KIND_WORDS:
        if re.search(pattern, words, re.I):
            return kind
    return {"9/8": "slip jig", "6/8": "jig"}.get(meter)


def _tempo(tune: Tune, words: str, kind: str | None) -> str | None:
    if tune.tempo is not None and tune.tempo.qpm:
        return tempo_word(tune.tempo.qpm)
    for tempo, pattern in (("slow", _SLOW_WORDS), ("fast", _FAST_WORDS), ("moderate", _MODERATE_WORDS)):
        if pattern.search(words):
            return tempo
    return _KIND_TEMPO.get(kind or "")
