"""What a tune takes over from its references: groove, accompaniment, instruments and rhythm, never a melody.

`borrowed_from` reads a reference as it plays; `lend` decides what of it suits the picture and says so for citing. What
is lent reaches the music through the plan: instruments and drums by the request that it is made from, the rest as
words that fill a bar (`VoicePart.degrees`), read by `music.arrange`: figures are rungs of a chord's ladder (`0 1 2`,
`(012)`), basses `R - 5 -`, beats `36+42 . 38 .`; `-` holds on, `.` rests, `|` parts bars that take turns. The rhythm of
one or two bars is nobody's melody, and no pitch of a tune is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from image2music.abc.playback import abc_to_score
from image2music.composers.nano.band import (
    BASS_PROGRAMS,
    BorrowedFigure,
    HeardBand,
    HeardBars,
    HeardNote,
    HeardPart,
    Rhythm,
    grid_places,
    hear_band,
    in_meter,
    pulse_of,
    repeated_figures,
    softened_beat,
    spelt_bar,
    spelt_rhythm,
)
from image2music.composers.nano.sketch import TICKS, bar_ticks
from image2music.composers.suiting import SuitingMusic, accompanies_alone, blends, instrument_called, suits_like
from image2music.errors import AbcError
from image2music.music.instruments import instrument_of
from image2music.music.planning.checks import families_for
from image2music.music.planning.plan import FIGURE_ROLES, Family, Plan, Section
from image2music.music.planning.planner import PlanRequest
from image2music.music.planning.vocabulary import DRUM_KIT
from image2music.music.score import Score
from image2music.music.theory import DEFAULT_QPM, DRUM_NAMES, LOWEST_DRUM
from image2music.types import Reference


@dataclass(frozen=True, slots=True)
class BorrowedBass:
    """A bar of a bass line: when it plays, and in `text` where bass (R), fifth (5), octave (8) and others (3) lie."""

    text: str
    rhythm: Rhythm
    program: int
    times: int


@dataclass(frozen=True, slots=True)
class BorrowedBeat:
    """One bar of drums, or two that take turns (`|` in `text`): hits are (onset in ticks, General MIDI drum).

    `density` counts the onsets in a quarter note.
    """

    text: str
    hits: tuple[tuple[int, int], ...]
    bars: int
    density: float


@dataclass(frozen=True, slots=True)
class Borrowed:
    """What a reference has to lend. `mode` is None where it names no key.

    `programs` are General MIDI: melody first, `DRUM_KIT` (if it has drums) before the last one, the bass last.
    `rhythms` are two bars of the melody each, most frequent first.
    """

    meter: str
    qpm: float
    mode: Literal["major", "minor"] | None
    figures: tuple[BorrowedFigure, ...] = ()
    bass: BorrowedBass | None = None
    rhythms: tuple[Rhythm, ...] = ()
    drums: BorrowedBeat | None = None
    programs: tuple[int, ...] = ()


NOTHING_BORROWED = Borrowed("4/4", DEFAULT_QPM, None)
_MOST_RHYTHMS, _MOST_INNER = 4, 2


@lru_cache(maxsize=64)
def played_reference(abc: str) -> Score | None:
    """Return a reference as it plays; None for one that cannot be played. Cached, for several readers ask for it."""
    try:
        return abc_to_score(abc)
    except AbcError:
        return None


def borrowed_from(reference: Reference) -> Borrowed:
    """Return what a reference has to lend; `NOTHING_BORROWED` for one that cannot be played."""
    return borrowed_from_abc(reference.abc)


@lru_cache(maxsize=1024)
def borrowed_from_abc(abc: str) -> Borrowed:
    """Return what a tune has to lend. Cached: one tune is a reference of many pictures."""
    score = played_reference(abc)
    if score is None or not score.n_notes:
        return NOTHING_BORROWED
    band = hear_band(score)
    key, tempo = score.keys[:1], score.tempos[:1]
    beat = _beat_of(band.drums, band.length)
    return Borrowed(
        meter=band.meter,
        qpm=tempo[0].qpm if tempo else DEFAULT_QPM,
        mode=("minor" if key[0].minor else "major") if key else None,
        figures=repeated_figures(band),
        bass=None if band.bass is None else _bass_of(band.bass, band.length),
        rhythms=() if band.tune is None else _rhythms_of(band.tune.bars, band.length, band.beat),
        drums=beat,
        programs=_programs_of(band, drums=beat is not None),
    )


def _programs_of(band: HeardBand, *, drums: bool) -> tuple[int, ...]:
    first = [] if band.tune is None else [band.tune.program]
    last = [] if band.bass is None else [band.bass.program]
    inner = [part.program for part in band.others[:_MOST_INNER]]
    programs = [program for program in dict.fromkeys([*first, *inner]) if program not in last] + last
    return tuple([*programs[:-1], DRUM_KIT, *programs[-1:]] if drums else programs)


# ---------------------------------------------------------------- bass, rhythms, drums


def _bass_of(part: HeardPart, length: int) -> BorrowedBass | None:
    """Return the bar of a bass that comes most often, if it comes twice; of its rhythm the most frequent words."""
    bars = part.bars
    found: Counter[tuple[Rhythm, str]] = Counter()
    for number, bar in enumerate(bars):
        tops = {onset: (lasts, pitch) for onset, lasts, pitch, begins in bar if begins}
        placed = grid_places(tops, length)
        if not tops or placed is None or any(not note[3] for note in bar):
            continue
        grain, places = placed
        bass = tops[min(tops)][1]
        after = next((note[2] for note in bars[number + 1] if note[3]), None) if number + 1 < len(bars) else None
        words: dict[int, tuple[str, int]] = {}
        for onset, (lasts, pitch) in sorted(tops.items()):
            words[places[onset]] = _bass_word(pitch - bass, onset == max(tops), pitch, after), lasts
        spelt = spelt_bar(words, grain, length)
        found[spelt_rhythm(spelt, grain), spelt] += 1
    if not found:
        return None
    rhythms: Counter[Rhythm] = Counter()
    for (rhythm, _), times in found.items():
        rhythms[rhythm] += times
    rhythm, times = min(rhythms.items(), key=lambda one: (-one[1], -len(one[0]), one[0]))
    text = min(((-n, text) for (one, text), n in found.items() if one == rhythm))[1]
    return BorrowedBass(text, rhythm, part.program, times) if times > 1 else None


def _bass_word(steps: int, is_last: bool, pitch: int, after: int | None) -> str:
    if steps == 0:
        return "R"
    if steps % 12 == 0:
        return "8" if steps > 0 else "v"
    if steps % 12 == 7:
        return "5"
    return "A" if is_last and after is not None and 0 < abs(after - pitch) < 3 else "3"


_FEWEST_ONSETS, _FEWEST_BEATS = 4, 2


def _rhythms_of(bars: HeardBars, length: int, beat: int) -> tuple[Rhythm, ...]:
    """Return the rhythms of the tune's pairs of bars from where it begins; those that come back first."""
    found: Counter[Rhythm] = Counter()
    first = next((number for number, bar in enumerate(bars) if bar), 0)
    for number in range(first, len(bars) - 1, 2):
        spelt = [_line_rhythm(bar, length) for bar in bars[number : number + 2]]
        if None in spelt:
            continue
        cell = tuple((onset + length * at, lasts) for at, one in enumerate(spelt) for onset, lasts in one or ())
        on_beats = sum(onset % beat == 0 for onset, _ in cell)
        if len(cell) >= _FEWEST_ONSETS and on_beats >= _FEWEST_BEATS and len({lasts for _, lasts in cell}) > 1:
            found[cell] += 1
    return tuple(cell for cell, _ in found.most_common(_MOST_RHYTHMS))


def _line_rhythm(bar: Sequence[HeardNote], length: int) -> Rhythm | None:
    """Return a bar's rhythm; None where its onsets lie on no simple grid."""
    tops = {onset: (lasts, begins) for onset, lasts, _, begins in bar}
    if not tops:
        return ()
    placed = grid_places(tops, length)
    if placed is None:
        return None
    words = {placed[1][onset]: ("x" if begins else "h", lasts) for onset, (lasts, begins) in tops.items()}
    spelt = spelt_bar(words, placed[0], length)
    held = spelt.startswith("h")
    rhythm = spelt_rhythm(spelt, placed[0])
    return rhythm[1:] if held else rhythm


_KEPT_DRUMS = (36, 35, 38, 40, 37, 39, 42, 46, 44, 51, 59, 53)
"""Drums that make a beat, the most telling first; others come after them."""
_AT_ONCE = 3
_NO_BEAT = frozenset({49, 52, 55, 57})
"""Cymbals that mark a place and no beat."""


def _beat_of(bars: HeardBars, length: int) -> BorrowedBeat | None:
    """Return the bar of drums that is most like all others, or the two bars where these are clearly more alike."""
    played = [_strokes(bar, length) for bar in bars]
    number, likeness = _most_typical([(one,) for one in played])
    if number is None:
        return None
    chosen = [number]
    pairs = [(a, b) for a, b in zip(played[::2], played[1::2], strict=False)]
    pair, together = _most_typical(pairs)
    if pair is not None and together > likeness + _CLEARLY_BETTER and pairs[pair][0] != pairs[pair][1]:
        chosen = [2 * pair, 2 * pair + 1]
    texts, hits = [], []
    for at, one in enumerate(chosen):
        onsets = sorted({onset for onset, _ in played[one]})
        placed = grid_places(onsets, length)
        if placed is None:
            return None
        struck = {o: _telling([drum for onset, drum in played[one] if onset == o]) for o in onsets}
        hits += [(o + at * length, drum) for o, drums in struck.items() for drum in drums]
        words = {placed[1][o]: ("+".join(map(str, drums)), 1) for o, drums in struck.items()}
        texts.append(spelt_bar(words, placed[0], length))
    density = len({onset for onset, _ in hits}) * TICKS / (length * len(chosen))
    return BorrowedBeat(" | ".join(texts), tuple(hits), len(chosen), round(density, 3))


_CLEARLY_BETTER, _FEWEST_STROKES = 0.1, 3


def _strokes(bar: Sequence[HeardNote], length: int) -> frozenset[tuple[int, int]]:
    """Return a bar's (onset, drum), on the grid that it lies on."""
    known = [
        (onset, drum) for onset, _, drum, _ in bar
        if 0 <= drum - LOWEST_DRUM < len(DRUM_NAMES) and drum not in _NO_BEAT
    ]  # fmt: skip
    rests = {onset % TICKS for onset, _ in known}
    grain = TICKS // 3 if rests & {4, 8} and not rests & {3, 9} and length % (TICKS // 3) == 0 else TICKS // 4
    return frozenset((at, drum) for onset, drum in known if (at := round(onset / grain) * grain) < length)


def _telling(drums: Sequence[int]) -> list[int]:
    ranked = sorted(
        drums, key=lambda drum: (_KEPT_DRUMS.index(drum) if drum in _KEPT_DRUMS else len(_KEPT_DRUMS), drum)
    )
    return sorted(ranked[:_AT_ONCE])


def _most_typical(groups: Sequence[tuple[frozenset[tuple[int, int]], ...]]) -> tuple[int | None, float]:
    """Return which group of bars is most like the others that have strokes, and how much (shared by all strokes)."""
    full = [at for at, group in enumerate(groups) if all(len(bar) >= _FEWEST_STROKES for bar in group)]
    if len(full) < 2:
        return None, 0.0
    names = {
        stroke: n for n, stroke in enumerate(sorted({(k, *s) for g in groups for k, b in enumerate(g) for s in b}))
    }
    rows = np.zeros((len(full), len(names)))
    for row, at in enumerate(full):
        rows[row, [names[k, *stroke] for k, bar in enumerate(groups[at]) for stroke in bar]] = 1.0
    common = rows @ rows.T
    sizes = rows.sum(axis=1)
    likeness = (common / (sizes[:, None] + sizes[None, :] - common)).sum(axis=1) - 1
    best = int(likeness.round(6).argmax())
    return full[best], float(likeness[best]) / (len(full) - 1)


# ---------------------------------------------------------------- lending

Lendable = Literal["drums", "bass", "figure", "instruments", "rhythm", "meter"]
LENDABLE: frozenset[Lendable] = frozenset(get_args(Lendable))


@dataclass(frozen=True, slots=True)
class Lent:
    """Something taken from a reference, or left with it, and a clause that says so."""

    what: Lendable
    tune_id: str
    says: str


@dataclass(frozen=True, slots=True)
class Loan:
    """What a plan takes over. Words are for bars of `meter`.

    `programs` stand in the place of the request's (none: they stay). `drums` may play without a `beat`: the arranger's
    own then. `rhythm` is of two bars. `lent` is to be cited; `left` is what suited the scene too little.
    """

    meter: str
    programs: tuple[int, ...] = ()
    drums: bool = False
    beat: str = ""
    bass: str = ""
    figures: tuple[BorrowedFigure, ...] = ()
    rhythm: Rhythm = ()
    lent: tuple[Lent, ...] = ()
    left: tuple[Lent, ...] = ()


_WIDEST = 4 / 3
"""How much quicker or slower than the plan a reference may go."""
_FASTEST_NOTES = {"calm": 3.2, "dark": 4.5, "flowing": 5.0}
_FASTEST = 6.6
"""Notes a second of a figure or a rhythm, by character; a bass has a share of it."""
_BASS_SHARE = 0.65
_RESTLESS = frozenset({"tremolo", "offbeat", "pulse"})
_INSTRUMENTS_SHARE, _RHYTHM_SHARE = 0.45, 0.6


def lend(
    request: PlanRequest,
    music: SuitingMusic,
    references: Sequence[Reference],
    seed: int,
    may: frozenset[Lendable] = LENDABLE,
) -> Loan:
    """Decide what a plan takes from which reference: groove, instruments and a rhythm from one each, figures from two.

    Only what suits: a meter that is the plan's or goes into it, a tempo within a third, instruments that the scene
    bears. A picture whose reference has drums gets drums: with a beat of the arranger's own at another tempo or in
    another meter, with a soft one where the scene has no place for a drum kit; where it is calm besides, they stay
    away. `may` is what nobody has decided yet: with `meter` the plan takes a groove's meter if that suits the scene.
    """
    rng = np.random.Generator(np.random.Philox([seed, 5]))
    read = [(one, borrowed_from(one)) for one in references]
    loan = _groove(Loan(request.meter), request, music, read, may)
    near = [pair for pair in read if _in_time(request, pair[1])]
    if "figure" in may:
        loan = _figures(loan, request, music, near, rng)
    if "instruments" in may and (loan.drums or rng.random() < _INSTRUMENTS_SHARE):
        loan = _band(loan, request, music, read)
    if "rhythm" in may and rng.random() < _RHYTHM_SHARE:
        loan = _rhythm(loan, request, music, near, rng)
    return loan


_Read = tuple[Reference, Borrowed]


def _in_time(request: PlanRequest, borrowed: Borrowed) -> bool:
    return max(request.qpm, borrowed.qpm) <= round(_WIDEST * min(request.qpm, borrowed.qpm), 6)


def _with(loan: Loan, what: Lendable, reference: Reference, says: str, **changes: object) -> Loan:
    lent = Lent(what, reference.tune_id, f"{says} «{_name_of(reference)}»")
    return replace(loan, lent=(*loan.lent, lent), **changes)  # type: ignore[arg-type]


_LONGEST_NAME = 90


def _name_of(reference: Reference) -> str:
    """Return what a reference is called: the title that its caption quotes, its first sentence, or its place."""
    title = reference.caption.split('"')[1:2] if reference.caption.count('"') > 1 else []
    name = " ".join((title or [reference.caption.split(". ")[0]])[0].split()).rstrip(".")
    name = name or reference.location
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME].rsplit(" ", 1)[0] + " …"


def _groove(
    loan: Loan, request: PlanRequest, music: SuitingMusic, read: Sequence[_Read], may: frozenset[Lendable]
) -> Loan:
    """Take drums and bass from the first reference that has both, else from one that has either."""
    silent = DRUM_KIT in music.unsuitable and music.character == "calm"

    def rank(pair: _Read) -> tuple[bool, bool, bool]:
        drums, bass = pair[1].drums is not None and not silent, pair[1].bass is not None
        return not drums, not _in_time(request, pair[1]), not bass

    for reference, borrowed in read:
        if borrowed.drums is not None and silent and "drums" in may:
            says = f"the drums of «{_name_of(reference)}» stay away, for the picture is calm"
            loan = replace(loan, left=(*loan.left, Lent("drums", reference.tune_id, says)))
    for reference, borrowed in sorted(read, key=rank)[:1]:
        in_time, meter = _in_time(request, borrowed), loan.meter
        beat = bass = ""
        drums = borrowed.drums is not None and not silent and "drums" in may
        if drums and borrowed.drums is not None and in_time:
            beat = in_meter(borrowed.drums.text, borrowed.meter, meter)
            if not beat and "meter" in may and borrowed.meter in music.meters:
                beat, meter = borrowed.drums.text, borrowed.meter
            beat = softened_beat(beat, meter) if DRUM_KIT in music.unsuitable else beat
        if borrowed.bass is not None and in_time and "bass" in may:
            bass = in_meter(borrowed.bass.text, borrowed.meter, meter).partition(" | ")[0]
            fastest = _BASS_SHARE * _FASTEST_NOTES.get(music.character, _FASTEST)
            bass = bass if _notes_a_second(bass, meter, request.qpm) <= fastest else ""
        taken = {
            (True, True): "the groove of its drums and bass is taken from",
            (True, False): "the beat of its drums is taken from",
            (False, True): "the rhythm of its bass is taken from",
        }.get((bool(beat), bool(bass)))
        if drums and not beat:
            loan = _with(loan, "drums", reference, "drums play along, as they do in", drums=True)
        if taken:
            loan = _with(loan, "drums" if beat else "bass", reference, taken, meter=meter, beat=beat, bass=bass,
                         drums=drums)  # fmt: skip
    return loan


def _figures(
    loan: Loan, request: PlanRequest, music: SuitingMusic, near: Sequence[_Read], rng: np.random.Generator
) -> Loan:
    """Take a figure from one reference, another of another family from the next; a like one varies it behind `|`."""
    restless = _RESTLESS if music.character == "calm" else frozenset()
    for reference, borrowed in near:
        able = []
        for figure in borrowed.figures:
            text = in_meter(figure.text, borrowed.meter, loan.meter).partition(" | ")[0]
            known = restless.union(*({one.family, one.text} for one in loan.figures))
            slow = _notes_a_second(text, loan.meter, request.qpm) <= _FASTEST_NOTES.get(music.character, _FASTEST)
            fits = pulse_of(loan.meter) != TICKS or figure.grain % (TICKS // 4) == 0  # no triplets beside quarters
            if text and fits and slow and not known & {text, figure.family}:
                able.append(replace(figure, text=text))
        able.sort(key=lambda one: one.family not in music.families)
        if able and len(loan.figures) < 2:
            taken = able[int(rng.integers(min(3, len(able))))]
            like = [one.text for one in able if one.program == taken.program and one.grain == taken.grain]
            taken = replace(taken, text=" | ".join((taken.text, *[text for text in like if text != taken.text][:1])))
            sound = instrument_called(taken.program, instrument_of(taken.program).name)
            loan = _with(loan, "figure", reference, f"a figure of its accompaniment is the {sound}'s in",
                         figures=(*loan.figures, taken))  # fmt: skip
    return loan


def _band(loan: Loan, request: PlanRequest, music: SuitingMusic, read: Sequence[_Read]) -> Loan:
    """Take the instruments of the groove's reference, else of the first: of a kind that the scene asks for.

    The lead's comes only if the scene asks for the very same; what doesn't blend with the others stays away, and
    somebody always accompanies.
    """
    cited = {one.tune_id for one in loan.lent if one.what in ("drums", "bass")}
    asked = {program for ensemble in music.ensembles for program in ensemble.programs} - music.tuneless
    for reference, borrowed in sorted(read, key=lambda pair: pair[0].tune_id not in cited):
        band = [p for p in borrowed.programs if p != DRUM_KIT and suits_like(p, music)]
        lead = borrowed.programs[:1] if set(borrowed.programs[:1]) & asked & set(band) else request.programs[:1]
        line = () if borrowed.bass is None else (borrowed.bass.program,)
        bass = [p for p in (*line, *band) if p in band and (p in line or p in BASS_PROGRAMS)][:1]
        low = bass or list(request.programs[-1:])
        inner = [p for p in band if p not in (*lead, *bass, *borrowed.programs[:1], *BASS_PROGRAMS)]
        inner = [p for p in inner if blends((*lead, p, *low))]
        if not any(map(accompanies_alone, (*lead, *inner, *low))):  # who accompanies the scene goes on
            inner = [*inner[:1], *[p for p in request.programs[1:] if accompanies_alone(p)][:1]]
        programs = tuple(dict.fromkeys((*lead, *inner, *low)))
        known = [instrument_called(p, instrument_of(p).name) for p in request.programs]
        called = dict.fromkeys(instrument_called(p, instrument_of(p).name) for p in programs if p in band)
        names = [name for name in called if name not in known]
        if names and len(programs) > 1 and blends(programs):
            listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
            says = f"{listed} {'are' if len(names) > 1 else 'is'} taken from"
            return _with(loan, "instruments", reference, says, programs=programs)
    return loan


def _rhythm(
    loan: Loan, request: PlanRequest, music: SuitingMusic, near: Sequence[_Read], rng: np.random.Generator
) -> Loan:
    """Take the rhythm of two bars from the first reference in the plan's meter that has one at a suiting pace."""
    for reference, borrowed in near:
        if bar_ticks(borrowed.meter) != bar_ticks(loan.meter) or pulse_of(borrowed.meter) != pulse_of(loan.meter):
            continue
        seconds = 2 * bar_ticks(loan.meter) / TICKS * 60 / request.qpm
        fastest = _FASTEST_NOTES.get(music.character, _FASTEST)
        able = [cell for cell in borrowed.rhythms if round(len(cell) / seconds, 6) <= fastest]
        if able:
            says = "the rhythm of the melody's first bars is taken from"
            return _with(loan, "rhythm", reference, says, rhythm=able[int(rng.integers(min(2, len(able))))])
    return loan


def _notes_a_second(text: str, meter: str, qpm: float) -> float:
    onsets = sum(word not in "-.|" for word in text.split())
    return round(onsets * TICKS / bar_ticks(meter) * qpm / 60, 6)


def request_with_loan(request: PlanRequest, loan: Loan) -> PlanRequest:
    """Return a request for a plan with the loan's meter, instruments and drums."""
    return replace(
        request, meter=loan.meter, programs=loan.programs or request.programs, drums=request.drums or loan.drums
    )


def plan_with_loan(plan: Plan, loan: Loan) -> Plan:
    """Write what is lent into a plan's parts, and cite it where it is heard first; call it before the plan is checked.

    Drums have the beat wherever they play, the bass its rhythm there, or in the sections named as the first where there
    are none. Figures stand in those sections too, the second one in others, and never in two neighbouring ones.
    """
    if plan.meter != loan.meter:
        return plan
    sections: list[Section] = []
    taken, unsaid = -2, list(loan.lent)
    of_figures = [one for one in loan.lent if one.what == "figure"]
    home = next((s.name[:1] for s in plan.sections if any(p.role in FIGURE_ROLES for p in s.parts)), "")
    for number, section in enumerate(plan.sections):
        beaten = any(part.role == "drums" for part in section.parts)
        grooves = beaten if loan.drums else section.name[:1] == home
        which = int(section.name[:1] != home)
        figures = loan.figures[which : which + 1]
        heard: set[Lendable] = {"instruments", "rhythm"}
        parts = []
        for part in section.parts:
            if part.role == "drums" and loan.drums:
                part = replace(part, family="drums", degrees=loan.beat)
                heard.add("drums")
            elif part.role == "bass" and loan.bass and grooves:
                part = replace(part, degrees=loan.bass)
                heard.add("bass")
            elif part.role in FIGURE_ROLES and figures and taken < number - 1:
                other = _neighbours(plan, number, part.voice, sections)
                family = _played_as(figures[0], plan.voice(part.voice).program, plan.meter, other)
                if family is not None:
                    part, taken = replace(part, family=family, degrees=figures[0].text), number
                    heard.add("figure")
            parts.append(part)
        said = [one for one in unsaid if one.what in heard]
        said = [one for one in said if one.what != "figure" or one == of_figures[which]]
        unsaid = [one for one in unsaid if one not in said]
        new = "; ".join(filter(None, (section.new, *(one.says for one in said))))
        sections.append(replace(section, parts=tuple(parts), new=new))
    return replace(plan, sections=tuple(sections))


def _neighbours(plan: Plan, number: int, voice: int, done: Sequence[Section]) -> set[Family | None]:
    after = plan.sections[number + 1 : number + 2]
    return {section.part_of(voice).family for section in (*done[-1:], *after)}


def _played_as(figure: BorrowedFigure, program: int, meter: str, taken: set[Family | None]) -> Family | None:
    """Return the family under which an instrument plays a figure; None where it has too few notes at once for it."""
    at_once = max(len(word.strip("()^v")) for word in figure.text.split())
    able = [family for family in families_for(program, meter) if family not in taken]
    if at_once > instrument_of(program).chords or not able:
        return None
    near: tuple[Family, ...] = (figure.family, "broken", "ostinato", "pulse")
    return next((family for family in near if family in able), able[0])
