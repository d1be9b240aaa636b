"""The demo's pieces, read from music21's corpus: chorales, tunes, and excerpts of quartets, songs and much else.

Nothing is drawn by lot. The tempo is the source's where it has one, else it follows from how fast the notes move in
such pieces (`tempo_of`); the instruments are those that the parts name, else a rule by kind and range
(`chorale_programs`, `solo_program`). Left out: what the files say may not be passed on (Palestrina), what is free for
some uses alone (the Essen collection), a publisher's edition (Monteverdi's fifth book), composers who died after 1953.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import capwords
from typing import Literal

import numpy as np

from image2music.abc.playback import abc_to_score
from image2music.errors import AbcError, NotationError
from image2music.music.grid import bars_of, detect_key, pitch_class_weights
from image2music.music.instruments import instrument_of
from image2music.music.musicxml import read_musicxml
from image2music.music.score import KeyChange, MeterChange, Score, TempoChange
from image2music.music.theory import GRID_QUARTER, Key

TempoSource = Literal["mark", "word", "notes"]
"""mark: a number in the source. word: its heading, such as "Allegro". notes: how fast notes move in such pieces."""


@dataclass(frozen=True)
class DemoPiece:
    """A real piece, or an excerpt of one.

    name: path of its MIDI file below `midi/`, without ending.
    kind: what it is, in a word or two: "reel", "slow air", "chorale", "string quartet".
    score: its notes, with one tempo, meter and key at the start.
    tempo_from: where the tempo comes from.
    composer: empty where nobody is known.
    file: that of the corpus that it is from, empty where that holds many.
    """

    name: str
    title: str
    kind: str
    score: Score
    tempo_from: TempoSource = "notes"
    composer: str = ""
    file: str = ""


def sample(names: Iterable[str], count: int) -> list[str]:
    """Return `count` of the names, evenly spread over their sorted order."""
    ordered = sorted(names)
    count = min(count, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]


# ---- Tempo

SLOWEST_QPM, FASTEST_QPM = 36.0, 240.0
"""What a source says outside of these is left out: the reader took it for something else, or nobody could follow."""

_UNSET_QPM = 120.0
"""Notation programs write it where nobody set a tempo, so that it counts only if nothing better is known."""


@dataclass(frozen=True)
class Motion:
    """How fast notes move in a kind of piece: onsets a second, and the quarters a minute between which it is played."""

    notes_a_second: float
    slowest: int
    fastest: int


# Onsets a second at which such pieces are commonly played; tunes as sessions and dancers take them today.
MOTIONS = {
    "chorale": Motion(2.2, 48, 104), "string quartet": Motion(4.4, 44, 168), "minuet": Motion(3.4, 84, 152),
    "polonaise": Motion(4.6, 72, 108), "song": Motion(3.2, 48, 132), "sonata": Motion(5.0, 60, 160),
    "madrigal": Motion(2.4, 54, 144), "motet": Motion(3.4, 54, 152), "trio sonata": Motion(2.6, 48, 120),
    "piano trio": Motion(3.2, 48, 132), "concertino": Motion(5.0, 60, 160),
    "reel": Motion(6.4, 168, 216), "jig": Motion(5.4, 144, 186), "slip jig": Motion(5.0, 138, 180),
    "hornpipe": Motion(4.7, 120, 160), "strathspey": Motion(3.8, 104, 132), "clog": Motion(4.4, 112, 144),
    "highland fling": Motion(4.4, 126, 156), "waltz": Motion(3.0, 108, 156), "march": Motion(3.4, 84, 120),
    "slow air": Motion(1.5, 46, 72), "air": Motion(2.5, 72, 112), "rag": Motion(5.0, 80, 112),
}  # fmt: skip

# Words of headings, the first that occurs; quarters a minute.
_HEADINGS = {
    "prestissimo": 200, "presto": 176, "vivace": 152, "lebhaft": 132, "allegretto": 112, "allegro": 132,
    "moderato": 104, "mässig": 88, "massig": 88, "andantino": 88, "andante": 80, "larghetto": 62, "adagio": 60,
    "tranquillo": 60, "largo": 50, "lento": 54, "grave": 44, "slowly": 60, "langsam": 56, "lively": 132,
}  # fmt: skip


def tempo_of(score: Score, kind: str, heading: str = "") -> tuple[float, TempoSource]:
    """Return quarter notes a minute and where they come from.

    In this order: the first tempo mark that is not the 120 of notation programs; a word of the heading; else as many
    quarters a minute as make the onsets of the whole texture follow each other as fast as is usual in such pieces,
    within what is usual. The last is rounded to even numbers.
    """
    marks = [change.qpm for change in score.tempos if _is_set(change)]
    if marks:
        return round(marks[0], 2), "mark"
    found = [qpm for word, qpm in _HEADINGS.items() if re.search(rf"\b{word}\b", heading.lower())]
    if found:
        return float(found[0]), "word"
    motion = MOTIONS[kind]
    wanted = 60 * motion.notes_a_second / onsets_a_quarter(score)
    return float(round(min(max(wanted, motion.slowest), motion.fastest) / 2) * 2), "notes"


def _is_set(mark: TempoChange) -> bool:
    return round(mark.qpm, 2) != _UNSET_QPM


def onsets_a_quarter(score: Score) -> float:
    """Return how many moments of a quarter note have a note that begins, over all tracks, from first to last onset."""
    onsets = np.unique(np.concatenate([track.onsets for track in score.tracks]))
    quarters = (int(onsets[-1]) - int(onsets[0])) / score.ticks_per_quarter
    return round((len(onsets) - 1) / quarters, 6) if quarters else 1.0


# ---- Instruments

# Words in the names of parts and the General MIDI programs that they mean, the first that fits.
_PART_NAMES = (
    (r"violin|violino", 40), (r"viola", 41), (r"violoncell|cello", 42), (r"violone e org|organ|continuo", 19),
    (r"violone", 43), (r"clarinet|klarinette", 71), (r"trumpet", 56), (r"timpani", 47), (r"horn", 60), (r"oboe", 68),
    (r"bassoon|fagott", 70), (r"flute|flauto", 73), (r"piano", 0),
    (r"^(solo )?(voice|gesang|voix|singstimme)$", 53),
    (r"soprano|alto|altus|tenor|bass|canto|cantus|quint|triplum|contratenor|motetus", 52),
)  # fmt: skip


def named_program(part: str) -> int | None:
    """Return the General MIDI program that the name of a part means; None where it means none."""
    return next((program for words, program in _PART_NAMES if re.search(words, part.lower())), None)


_BRASS, _ORGAN, _STRINGS, _CHOIR = (56, 60, 57, 58), (19,) * 4, (40, 40, 41, 42), (52,) * 4
_WINDS = (73, 68, 71, 70)


def chorale_programs(score: Score) -> tuple[int, ...]:
    """Return programs for soprano, alto, tenor and bass, of the sets on which chorales are played, by mode and range.

    Minor: the organ where the bass goes below F2, else strings where the soprano reaches E5, else a choir. Major: a
    choir where the soprano reaches F5, else woodwinds where the bass stays above F#2, else brass where the voices move
    on (1.7 onsets a quarter), else the organ where the bass goes below F2, else a choir.
    """
    lowest, highest = int(score.tracks[-1].pitches.min()), int(score.tracks[0].pitches.max())
    if score.keys[0].minor:
        return _ORGAN if lowest < 41 else _STRINGS if highest >= 76 else _CHOIR
    if highest >= 77:
        return _CHOIR
    if lowest >= 43:
        return _WINDS
    return _BRASS if onsets_a_quarter(score) >= 1.7 else _ORGAN if lowest < 41 else _CHOIR


def solo_program(score: Score, programs: Sequence[int]) -> int:
    """Return one of the programs for a melody: the more it leaps, the later, of those that reach all its notes.

    Programs stand from those that like steps to those that like leaps. A leap is more than a major third; a tune of
    which a twentieth are leaps gets the first, one of which a fifth are the last.
    """
    pitches = score.tracks[0].pitches
    low, high = int(pitches.min()), int(pitches.max())
    reach = [p for p in programs if instrument_of(p).lowest <= low and high <= instrument_of(p).highest] or programs
    leaps = float((np.abs(np.diff(pitches)) > 4).mean())
    place = int(round((leaps - 0.05) / 0.17, 6) * len(reach))
    return reach[min(max(place, 0), len(reach) - 1)]


# ---- Excerpts

FEWEST_BARS, MOST_BARS = 16, 32
_SHORT_BARS = 8
_LONGEST_SECONDS, _SHORTEST_SECONDS = 75.0, 12.0
_FEWEST_NOTES = 40


@dataclass(frozen=True)
class CutPiece:
    """`score` begins with the bar that holds the first note; `first` and `last` are bars of the piece, from 1."""

    score: Score
    tempo_from: TempoSource
    first: int
    last: int


@dataclass(frozen=True)
class _Span:
    """Bars `first` to before `last`; ticks `start` to before `end`, bar lines counted from `origin`."""

    first: int
    last: int
    start: int
    end: int
    origin: int
    qpm: float
    tempo_from: TempoSource
    run: int
    worth: float


def excerpts(score: Score, most: int, kind: str, heading: str = "") -> list[CutPiece]:
    """Cut at most `most` excerpts out of a piece, in its order, that do not overlap: whole phrases of 16 to 32 bars.

    A phrase ends where the voices hold or rest and none sounds over the cut, at a bar line or before a pick-up; lengths
    of four and eight bars count for a little. Meter, key signature and tempo are the same throughout. Where 16 bars
    would last longer than 75 seconds, or the piece is shorter, 8 bars are enough.
    """
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks if len(track))
    bars = bars_of(score, -(-end * GRID_QUARTER // score.ticks_per_quarter))
    lines = np.rint(bars.lines * (score.ticks_per_quarter / GRID_QUARTER)).astype(np.int64)
    found: list[_Span] = []
    for first, last in _runs(score, lines, [str(meter) for meter in bars.meters]):
        found += _spans(score, lines, first, last, tempo_of(_told(score, lines, first, last), kind, heading))
    chosen: list[_Span] = []
    while found and len(chosen) < most:
        runs = [span.run for span in chosen]
        best = max(found, key=lambda span: (round(span.worth - 0.3 * runs.count(span.run), 6), -span.first))
        chosen.append(best)
        found = [span for span in found if span.last <= best.first or span.first >= best.last]
    pieces = []
    for span in sorted(chosen, key=lambda span: span.first):
        cut = _cut(score, span.start, span.end, span.origin)
        if cut is not None and cut.n_notes >= _FEWEST_NOTES:
            cut = replace(cut, tempos=(TempoChange(0, span.qpm),), keys=(_heard_key(cut),))
            pieces.append(CutPiece(cut, span.tempo_from, span.first + 1, span.last))
    return pieces


def _runs(score: Score, lines: np.ndarray, meters: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the first bar and the bar after the last of each stretch without change of meter, key or tempo."""
    changes = {*(change.tick for change in score.keys), *(change.tick for change in score.tempos)}
    begun = 0
    for bar in range(1, len(meters) + 1):
        same = bar < len(meters) and meters[bar] == meters[begun]
        same = same and lines[bar + 1] - lines[bar] == lines[begun + 1] - lines[begun]
        if not same or any(lines[bar - 1] < tick <= lines[bar] for tick in changes):
            yield begun, bar
            begun = bar


def _told(score: Score, lines: np.ndarray, first: int, last: int) -> Score:
    """Return the notes by which to tell the tempo of a stretch: all, or its own below the mark before it."""
    if not any(_is_set(change) for change in score.tempos):
        return score
    cut = _cut(score, int(lines[first]), int(lines[last]), int(lines[first])) or score
    before = [change for change in score.tempos if change.tick <= lines[first]][-1:]
    return replace(cut, tempos=tuple(before) or (score.tempos if len(score.tempos) == 1 else ()))


def _spans(score: Score, lines: np.ndarray, first: int, last: int, tempo: tuple[float, TempoSource]) -> Iterator[_Span]:
    qpm, tempo_from = tempo
    if not SLOWEST_QPM <= qpm <= FASTEST_QPM:
        return
    length = int(lines[first + 1] - lines[first])
    seconds = length / score.ticks_per_quarter * 60 / qpm
    shortest = FEWEST_BARS if last - first >= FEWEST_BARS and FEWEST_BARS * seconds <= _LONGEST_SECONDS else _SHORT_BARS
    longest = min(MOST_BARS, max(shortest, int(_LONGEST_SECONDS / seconds)))
    cuts = {bar: _phrase_cut(score, int(lines[bar]), length) for bar in range(first + 1, last)}
    has_pickup = first == 1 and lines[1] < length
    cuts[first] = (0 if has_pickup else int(lines[first]), 1.0)
    cuts[last] = (int(lines[last]), 0.9)
    for begin in range(first, last):
        start, opening = cuts[begin]
        origin = int(lines[begin]) - (length if start < lines[begin] else 0)
        for stop in range(begin + shortest, min(begin + longest, last) + 1):
            if (stop - begin) * seconds >= _SHORTEST_SECONDS:
                end, closing = cuts[stop]
                square = 0.1 * ((stop - begin) % 4 == 0) + 0.1 * ((stop - begin) % 8 == 0)
                worth = round(opening + closing + square, 6)
                yield _Span(begin, stop, start, end, origin, qpm, tempo_from, first, worth)


def _phrase_cut(score: Score, line: int, length: int) -> tuple[int, float]:
    """Return the best place for a cut within half a bar before a bar line, and how well a phrase ends there, 0 to 2."""
    lead = next(track for track in score.tracks if len(track))
    pickups = lead.onsets[(lead.onsets > line - length // 2) & (lead.onsets < line)]
    places = [line, *sorted({int(tick) for tick in pickups}, reverse=True)]
    return max(((tick, _closure(score, tick, length)) for tick in places), key=lambda pair: pair[1])


def _closure(score: Score, tick: int, length: int) -> float:
    """Return how many bars the voices hold or rest before a tick, on average, less the share that sounds over it."""
    worths = []
    for track in (track for track in score.tracks if len(track)):
        index = int(np.searchsorted(track.onsets, tick))
        before = int(track.onsets[index - 1]) if index else tick - length
        after = int(track.onsets[index]) if index < len(track) else tick + length
        recent = slice(max(0, index - 12), index)
        over = (track.onsets[recent] + track.durations[recent] > tick + length // 32).any()
        worths.append(min(1.0, (min(after, tick + length // 4) - before) / length) - float(over))
    return round(float(np.average(worths, weights=[2.0] + [1.0] * (len(worths) - 1))), 6)


def _cut(score: Score, start: int, end: int, origin: int) -> Score | None:
    """Return the notes that begin from `start` until before `end`, none longer than that, with `origin` at tick 0."""
    tracks = []
    for track in score.tracks:
        kept = (track.onsets >= start) & (track.onsets < end)
        if not kept.any():
            continue
        onsets = track.onsets[kept]
        durations = np.minimum(track.durations[kept], end - onsets)
        bare = replace(track, onsets=onsets - origin, durations=durations)
        tracks.append(replace(bare, pitches=track.pitches[kept], velocities=track.velocities[kept]))
    if not tracks:
        return None
    meter = [change for change in score.meters if change.tick <= max(start, origin)][-1:] or [MeterChange(0, 4, 4)]
    return Score(score.ticks_per_quarter, tuple(tracks), (), (replace(meter[0], tick=0),), ())


def _heard_key(score: Score) -> KeyChange:
    """Return the key that the notes are in, by their pitch classes and how long they sound."""
    pitched = [track for track in score.tracks if not track.is_drum and track.program != 47]
    pitches = np.concatenate([track.pitches for track in pitched])
    quarters = np.concatenate([track.durations for track in pitched]) / score.ticks_per_quarter
    key: Key = detect_key(pitch_class_weights(pitches, quarters))
    return KeyChange(0, key.sharps, key.minor)


# ---- Notated pieces


@dataclass(frozen=True)
class Shelf:
    """Files of the corpus that belong together.

    pattern: below the corpus folder. most: excerpts of each file. title: what they are called, "" for
    what the path tells.
    programs: for parts whose names mean nothing, in turn; those of the file where there are none.
    """

    pattern: str
    composer: str
    kind: str
    most: int
    title: str = ""
    programs: tuple[int, ...] = ()


SHELVES = (
    Shelf("haydn/*/*.mxl", "Haydn", "string quartet", 2),
    Shelf("mozart/k[148]*/*.mxl", "Mozart", "string quartet", 1),
    Shelf("beethoven/opus*/*.mxl", "Beethoven", "string quartet", 1),
    Shelf("beethoven/opus*.mxl", "Beethoven", "string quartet", 3),
    Shelf("schumann_robert/opus41no1/*.mxl", "Robert Schumann", "string quartet", 2),
    Shelf("schumann_robert/opus48no2.mxl", "Robert Schumann", "song", 1, "Aus meinen Tränen sprießen"),
    Shelf("schubert/Lindenbaum.xml", "Schubert", "song", 3, "Der Lindenbaum"),
    Shelf("schumann_clara/polonaise*.mxl", "Clara Schumann", "polonaise", 3),
    Shelf("schumann_clara/opus17/*.xml", "Clara Schumann", "piano trio", 3, "Piano Trio op. 17, Andante"),
    Shelf("mozart/k545/*.mxl", "Mozart", "sonata", 1, "Sonata K. 545"),
    Shelf("cpebach/h186.mxl", "C. P. E. Bach", "sonata", 3, "Sonata H. 186", (6,)),
    Shelf("joplin/maple_leaf_rag.mxl", "Joplin", "rag", 4, "Maple Leaf Rag"),
    Shelf("weber/concertino_clarinet.mxl", "Weber", "concertino", 6, "Concertino for clarinet"),
    Shelf("corelli/*/*.xml", "Corelli", "trio sonata", 1, "Trio Sonata op. 3 no. 1, Grave"),
    Shelf("handel/rinaldo/*.mxl", "Handel", "song", 2, "Lascia ch'io pianga"),
    Shelf("verdi/laDonnaEMobile.mxl", "Verdi", "song", 1, "La donna è mobile"),
    Shelf("liliuokalani/aloha_oe.mxl", "Liliuokalani", "song", 1, "Aloha Oe"),
    Shelf("leadSheet/fosterBrownHair.mxl", "Foster", "song", 1, "Jeanie with the Light Brown Hair", (24,)),
    Shelf("beach/*.musicxml", "Amy Beach", "song", 1, "Prayer of a Tired Child"),
    Shelf("monteverdi/madrigal.[34].1[0-6].mxl", "Monteverdi", "madrigal", 1),
    Shelf("lusitano/*.mxl", "Lusitano", "madrigal", 1, "Allor che ignuda"),
    Shelf("trecento/PMFC_06-*.xml", "Jacopo da Bologna", "motet", 1, "", (52,)),
    Shelf("trecento/PMFC_23_2?-Kyrie*.xml", "", "motet", 1, "", (52,)),
    Shelf("trecento/PMFC_24_1?-O *.xml", "Ciconia", "motet", 1, "", (52,)),
)


def notated(corpus: Path, shelf: Shelf) -> list[DemoPiece]:
    """Return the excerpts of a shelf; files that cannot be read, or without whole phrases, give none."""
    pieces: list[DemoPiece] = []
    for path in sorted(corpus.glob(shelf.pattern)):
        try:
            score = read_musicxml(path.read_bytes(), by="staff")
        except NotationError:
            # What other programs wrote is not always what the standard allows; other files take the place.
            continue
        title, file = shelf.title or _title(path), path.relative_to(corpus)
        for one in excerpts(_played_on(score, shelf.programs), shelf.most, shelf.kind, heading_of(path)):
            name = re.sub(r"[^\w/.-]+", "_", f"{file.with_suffix('')}-{one.first}")
            shown = f"{title}, bars {one.first} to {one.last}"
            pieces.append(DemoPiece(name, shown, shelf.kind, one.score, one.tempo_from, shelf.composer, str(file)))
    return pieces


def heading_of(path: Path) -> str:
    """Return the words above the first bar of a MusicXML file, else the heading in a Humdrum file of the same name."""
    words = re.findall(r"<words[^>]*>([^<]+)</words>", xml_text(path).split("</measure>")[0])
    humdrum = path.with_suffix(".krn")
    if humdrum.is_file():
        words += re.findall(r"(?m)^!!!OMD:(.*)$", humdrum.read_text(encoding="utf-8", errors="replace"))
    return " ".join(words)


def xml_text(path: Path) -> str:
    """Return the text of a MusicXML file, packed or not."""
    data = path.read_bytes()
    if path.suffix == ".mxl":
        with zipfile.ZipFile(path) as archive:
            data = archive.read(next(name for name in archive.namelist() if not name.startswith("META-INF")))
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", errors="replace")


def _played_on(score: Score, programs: tuple[int, ...]) -> Score:
    """Return the score with the instruments that its parts name; those of `programs`, in turn, where they name none."""
    tracks = []
    for number, track in enumerate(score.tracks):
        named = named_program(track.name)
        unnamed = programs[number % len(programs)] if programs else track.program
        program = unnamed if named is None else named
        tracks.append(replace(track, program=program))
    return replace(score, tracks=tuple(tracks))


_PATH_WORDS = (
    (r"PMFC[\d_]+-(?:Jacopo-\d+\w?-)?(.*)", "{}"), (r"madrigal\.(\d)\.(\d+)", "Madrigal, book {}, no. {}"),
    (r"k(\d+)/movement(\d)", "Quartet K. {}, movement {}"), (r"opus(\d+)no(\d)", "Quartet op. {} no. {}"),
    (r"opus(\d+)", "Quartet op. {}"), (r"op(\d+)n(\d+)", "Polonaise op. {} no. {}"),
)  # fmt: skip


def _title(path: Path) -> str:
    text = str(path.with_suffix(""))
    named = (form.format(*found.groups()) for words, form in _PATH_WORDS if (found := re.search(words, text)))
    return re.sub(r"[-_]+", " ", next(named, path.stem))


# ---- Chorales


def chorales(corpus: Path, count: int) -> list[DemoPiece]:
    """Return the chorales of Bach with an orchestra, and `count` in four parts, evenly spread over the catalogue."""
    from music21.corpus.chorales import ChoraleList

    titles = {f"bwv{number}": entry["title"] for number, entry in ChoraleList().byBWV.items()}
    files = {stem: path for stem in titles if (path := corpus / "bach" / f"{stem}.mxl").is_file()}
    # More candidates than wanted: some of the files hold other than four voices.
    found = [_chorale(files[stem], titles[stem]) for stem in sample(files, 3 * count)]
    plain = [piece for piece in found if piece is not None and len(piece.score.tracks) == 4]
    large = (_chorale(path, "") for path in sorted((corpus / "bach").glob("bwv248.*-?.mxl")))
    return [
        *_both_modes(plain, count),
        *(piece for piece in large if piece is not None and len(piece.score.tracks) > 5),
    ]


def _both_modes(pieces: Sequence[DemoPiece], count: int) -> list[DemoPiece]:
    """Return `count` of the pieces, evenly spread: two fifths of them in minor, where there are as many."""
    by_name = {piece.name: piece for piece in pieces}
    minor = sample((name for name, piece in by_name.items() if piece.score.keys[0].minor), round(0.4 * count))
    major = sample((name for name, piece in by_name.items() if not piece.score.keys[0].minor), count - len(minor))
    return [by_name[name] for name in sorted({*minor, *major})]


def _chorale(path: Path, title: str) -> DemoPiece | None:
    score = read_musicxml(path.read_bytes(), by="staff")
    score = replace(score, tracks=tuple(track for track in score.tracks if len(track)))
    if not score.meters:
        return None
    end = max(int((track.onsets + track.durations).max()) for track in score.tracks)
    bar = score.ticks_per_quarter * 4 * score.meters[0].numerator // score.meters[0].denominator
    again = [change.tick for change in score.meters[1:2]]
    upbeat = again[0] if again and again[0] < bar else 0
    cut = _cut(score, 0, end, upbeat - bar if upbeat else 0)
    if cut is None:
        return None
    cut = replace(cut, keys=(_heard_key(cut),))
    if len(cut.tracks) == 4:
        programs: tuple[int, ...] = chorale_programs(cut)
        cut = replace(cut, tracks=tuple(replace(t, program=p) for t, p in zip(cut.tracks, programs, strict=True)))
    else:
        cut = _played_on(cut, _CHOIR)
    qpm, source = tempo_of(cut, "chorale")
    title = title or f"Chorale of the Christmas Oratorio, no. {path.stem.split('.')[1].split('-')[0]}"
    cut = replace(cut, tempos=(TempoChange(0, qpm),))
    return DemoPiece(f"bach/{path.stem}", title, "chorale", cut, source, "Bach", f"bach/{path.name}")


# ---- Tunes

_COLLECTIONS = {"oneills1850": "O'Neill", "ryansMammoth": "Ryan", "airdsAirs": "Aird", "miscFolk": ""}


@dataclass(frozen=True)
class Dance:
    """How many tunes of a kind to take, and on which General MIDI programs, from those that like steps to leaps."""

    count: int
    programs: tuple[int, ...]


# Programs: 40 violin, 73 flute, 21 accordion, 78 whistle, 46 harp, 105 banjo, 109 bagpipe, 24 guitar, 72 piccolo,
# 68 oboe, 71 clarinet, 42 cello, 0 piano.
KINDS = {
    "reel": Dance(14, (78, 73, 40, 21, 105)), "jig": Dance(14, (78, 73, 40, 21)), "slip jig": Dance(8, (73, 78, 40)),
    "hornpipe": Dance(10, (72, 40, 21)), "strathspey": Dance(8, (109, 40)), "clog": Dance(5, (0, 105)),
    "highland fling": Dance(5, (109, 40)), "waltz": Dance(4, (21, 24)), "march": Dance(14, (109, 72, 56)),
    "minuet": Dance(8, (68, 24, 0)), "slow air": Dance(22, (46, 73, 42, 24, 68)), "air": Dance(16, (46, 71, 24, 68)),
}  # fmt: skip

_SAME_KIND = {
    "slipjig": "slip jig", "double jig": "jig", "single jig": "jig", "slide": "jig", "fling": "highland fling",
    "walkaround": "clog",
}  # fmt: skip

# Words in a title that settle the kind where no R: field does, the first that fits.
_TITLE_WORDS = (
    (r"\b(lament|farewell|sorrow|dirge|grave|tears|weep|alas|lonel|banish|slow)", "slow air"),
    (r"\b(march|quick ?step|retreat|troop)\b", "march"), (r"\b(minuet|gavotte)\b", "minuet"),
    (r"\breel\b", "reel"), (r"\bhornpipe\b", "hornpipe"), (r"\bstrathspey\b", "strathspey"),
    (r"\bwaltz\b", "waltz"),
)  # fmt: skip


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
        names = sample((name for name, source in sources.items() if source.kind == kind), 4 * dance.count)
        pieces += _both_modes([one for name in names if (one := _piece(sources[name], dance))], dance.count)
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
    if re.search(r"slow", _field(abc, "Q"), re.IGNORECASE):
        return "slow air"
    if rhythm and rhythm != "air":
        return rhythm
    return "jig" if _field(abc, "M") == "6/8" and not rhythm else "air"


def _field(abc: str, letter: str) -> str:
    match = re.search(rf"(?m)^{letter}:[ \t]*(.*?)[ \t]*$", abc)
    return match.group(1).strip().removesuffix("\r") if match else ""


def _piece(source: _Source, dance: Dance) -> DemoPiece | None:
    try:
        score = abc_to_score(source.abc)
    except AbcError:
        # Among thousands of tunes a few cannot be played; the next candidate takes the place.
        return None
    if not 40 <= score.n_notes <= 1500 or not score.meters or not score.keys:
        return None
    qpm, tempo_from = tempo_of(score, source.kind, _field(source.abc, "Q"))
    if not SLOWEST_QPM <= qpm <= FASTEST_QPM:
        return None
    program = solo_program(score, dance.programs)
    tracks = tuple(replace(track, program=program) for track in score.tracks)
    score = replace(score, tracks=tracks, tempos=(TempoChange(0, qpm),))
    return DemoPiece(source.name, source.title, source.kind, score, tempo_from)
