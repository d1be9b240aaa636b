"""What a caption can tell of a piece: key, meter, tempo, instruments, length, genre and mood."""

from __future__ import annotations

from dataclasses import dataclass

from image2music.demo.chords import chords_by_bar, commonest_pattern
from image2music.demo.piece import Piece, draw
from image2music.notation.score import Score

_MAJOR = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
_MINOR = ("Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#", "G#", "D#", "A#")

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
class Features:
    """Everything measured or derived; `tempo` in quarter notes a minute, `duration` in seconds."""

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


def features_of(piece: Piece) -> Features:
    """Measured from the notes, but for genre and mood, which follow from kind, mode and pace by a rule."""
    score = piece.score
    key, meter, tempo = score.keys[0], score.meters[0], round(score.tempos[0].qpm)
    chords = chords_by_bar(score)
    pattern, count = commonest_pattern([name for name, _ in chords])
    pace = _pace(score)
    programs = tuple(sorted({track.program for track in score.tracks}))
    duration = round(_seconds(score))
    return Features(
        key=f"{(_MINOR if key.minor else _MAJOR)[key.sharps + 7]} {'minor' if key.minor else 'major'}",
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


def _moods(piece: Piece, pace: str) -> tuple[str, ...]:
    by_notes = _MOODS[pace, piece.score.keys[0].minor]
    of_kind = _MOODS_OF_KIND.get(piece.kind)
    if of_kind is None:
        return by_notes
    # Kind first, and one word of the notes themselves: a march in minor stays dark.
    return (*of_kind[:4], by_notes[draw(piece.name, 2)])


def _pace(score: Score) -> str:
    """Slow, moderate or fast by the mean time from one onset of the first track to the next."""
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
