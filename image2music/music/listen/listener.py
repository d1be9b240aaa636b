"""Listen to a tune: all that an attentive listener would notice, sorted and filtered, and how far a plan is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

from image2music.music.listen.form import (
    MotifHeard,
    cadence_faults,
    climax_faults,
    ending_faults,
    leap_faults,
    missing_motif_faults,
    motif_heard,
    range_faults,
    repeat_faults,
    silence_faults,
)
from image2music.music.listen.harmony import chord_faults, parallel_faults, rub_faults
from image2music.music.listen.hearing import HeardNote, HeardTune, HeardVoice, Planned, beside, hearing_of, signature_of
from image2music.music.listen.sheet import Fault, FaultKind, Sheet
from image2music.music.metrics import EXPLANATIONS, Metrics, metrics_of_score
from image2music.music.planning.plan import DYNAMICS, Plan, Section, pitch_name
from image2music.music.score import Score
from image2music.music.theory import DEFAULT_QPM, TICKS_PER_QUARTER

MOST_SHOWN = 8
"""A composer mends a few places at a time; more are not read."""
LEAST_SHOWN = 0.3
"""What weighs less is what good pieces have too."""
_MOST_OF_A_KIND = 4


def listen(score: Score, plan: Plan | None = None) -> Sheet:
    """Return what is noticed in a tune, with or without its plan.

    Bars are numbered as the score's `bar_starts` say (ABC: as `check` numbers them), else as its meters, with a
    pick-up counted as bar 1. A score without notes has one fault for every voice.
    """
    if not score.n_notes:
        return _silence(score)
    hearing = hearing_of(score)
    planned = beside(plan, hearing) if plan is not None else None
    found: list[Fault] = []
    found += rub_faults(hearing, planned)
    found += parallel_faults(hearing, planned)
    found += range_faults(hearing, planned)
    found += leap_faults(hearing, planned)
    if plan is None or not plan.loop:
        found += ending_faults(hearing)
    found += repeat_faults(hearing, planned)
    found += silence_faults(hearing, planned)
    motif: list[MotifHeard] = []
    chords_kept = 1.0
    if planned is not None:
        faults, chords_kept = chord_faults(planned)
        found += faults
        found += cadence_faults(planned)
        found += climax_faults(planned)
        motif = motif_heard(planned)
        found += missing_motif_faults(planned, motif)
    faults_heard = _sorted(_once(found))
    adherence, missed = _adherence(planned, faults_heard, motif, chords_kept) if planned is not None else (None, ())
    return Sheet(
        faults=faults_heard,
        shown=worst(faults_heard),
        features=_features(hearing, faults_heard),
        remarks=tuple(_remarks(hearing, planned, motif)),
        metrics=metrics_of_score(score),
        bars=len(hearing.bars),
        adherence=adherence,
        missed=missed,
    )


def _silence(score: Score) -> Sheet:
    names = [
        f"voice {place}" if not track.name or track.name.isdigit() else track.name
        for place, track in enumerate(score.tracks, 1)
    ]
    faults = tuple(
        Fault("empty_voice", 1, 1.0, (place,), f"{name} is declared and never plays", 0.9)
        for place, name in enumerate(names, 1)
    )
    return Sheet(faults, faults[:MOST_SHOWN], {}, (), metrics_of_score(score), 0)


def _once(faults: Iterable[Fault]) -> list[Fault]:
    """Keep the heaviest of those that name the same place; a place that a repeat plays again is one place."""
    best: dict[tuple[str, int, float, tuple[int, ...]], Fault] = {}
    for fault in faults:
        key = (fault.kind, fault.bar, fault.beat, fault.voices)
        if key not in best or best[key].weight < fault.weight:
            best[key] = fault
    return list(best.values())


def _sorted(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda one: (-round(one.weight, 3), one.bar, one.beat, one.kind, one.voices)))


def worst(faults: Sequence[Fault], most: int = MOST_SHOWN) -> tuple[Fault, ...]:
    """Return the at most `most` places that are worth a composer's time, worst first.

    Left out are what is light, more than four of a kind, and more than one of a kind on the same beat. What comes again
    in the same way at other places is told once and counts for less: it may be meant.
    """
    shown: list[Fault] = []
    faults = _sorted(_told_once(faults))
    kinds: Counter[FaultKind] = Counter()
    places: set[tuple[str, int, float]] = set()
    for fault in faults:
        place = (fault.kind, fault.bar, fault.beat)
        if fault.weight < LEAST_SHOWN or kinds[fault.kind] >= _MOST_OF_A_KIND or place in places:
            continue
        kinds[fault.kind] += 1
        places.add(place)
        shown.append(fault)
        if len(shown) == most:
            break
    return tuple(shown)


_MEANT = 0.6


def _told_once(faults: Sequence[Fault]) -> list[Fault]:
    alike: dict[tuple[str, float, tuple[int, ...], str], list[Fault]] = {}
    for fault in sorted(faults, key=lambda one: (one.bar, one.beat)):
        alike.setdefault((fault.kind, fault.beat, fault.voices, fault.message), []).append(fault)
    told = []
    for first, *others in alike.values():
        if others and first.kind in _MAY_BE_MEANT:
            bars = _few([other.bar for other in others])
            message = f"{first.message} (again in bar {bars})"
            first = replace(first, message=message, weight=round(_MEANT * first.weight, 4))
            others = []
        told += [first, *others]
    return told


_MAY_BE_MEANT: frozenset[FaultKind] = frozenset({"rub", "parallel_octaves", "parallel_fifths", "leap"})


def _features(hearing: HeardTune, faults: Sequence[Fault]) -> dict[str, float]:
    """Numbers for programs, rounded so that they are the same everywhere."""
    n_bars = len(hearing.bars)
    beats = max(1, len(hearing.beats))
    notes = [tone for voice in hearing.pitched for tone in voice.tones]
    kinds = Counter(fault.kind for fault in faults)
    shown = worst(faults)
    found: dict[str, float] = {
        "bars": n_bars,
        "voices": len(hearing.voices),
        "silent_voices": sum(not voice.tones for voice in hearing.voices),
        "faults_per_bar": sum(fault.weight >= LEAST_SHOWN for fault in faults) / n_bars,
        "shown_per_bar": len(shown) / n_bars,
        "fault_weight_per_bar": sum(fault.weight for fault in faults) / n_bars,
        "density": sum(len(voice.tones) for voice in hearing.voices) / beats,
        "loudness": sum(tone.velocity for tone in notes) / max(1, len(notes)),
    }
    found |= {f"{kind}_per_bar": kinds[kind] / n_bars for kind in _COUNTED}
    for voice in hearing.pitched:
        found[f"highest_{voice.place}"] = max(tone.pitch for tone in voice.tones)
        found[f"lowest_{voice.place}"] = min(tone.pitch for tone in voice.tones)
        found[f"density_{voice.place}"] = len(voice.tones) / beats
    return {name: round(float(value), 4) for name, value in found.items()}


_COUNTED: tuple[FaultKind, ...] = ("rub", "parallel_octaves", "parallel_fifths", "range", "leap", "repeat")


def _sections_of(hearing: HeardTune, planned: Planned | None) -> list[tuple[str, int, int, Section | None]]:
    """Return (name, start, end, section) of the plan's sections, or of each eight bars where there is no plan."""
    if planned is not None:
        spans = [(one, *planned.span(one.first, one.last)) for one in planned.plan.sections]
        return [(one.name, start, end, one) for one, start, end in spans if end > start]
    parts: list[tuple[str, int, int, Section | None]] = []
    for first in range(0, len(hearing.bars), 8):
        last = min(first + 8, len(hearing.bars)) - 1
        name = f"bars {hearing.bars[first].number}-{hearing.bars[last].number}"
        parts.append((name, hearing.bars[first].start, hearing.bars[last].end, None))
    return parts


def _remarks(hearing: HeardTune, planned: Planned | None, motif: Sequence[MotifHeard]) -> Iterable[str]:
    """Lines on what is no fault, the most useful one first."""
    peaks = []
    for voice in hearing.pitched:
        high = max(tone.pitch for tone in voice.tones)
        bars = dict.fromkeys(hearing.bar_at(tone.start).number for tone in voice.tones if tone.pitch == high)
        peaks.append(f"{hearing.name(voice)} {pitch_name(high)} in bar {_few(list(bars))}")
    if peaks:
        yield "highest notes: " + "; ".join(peaks)
    parts = [_part(hearing, name, start, end) for name, start, end, _ in _sections_of(hearing, planned)]
    yield "notes a beat and loudness: " + "; ".join(parts)
    rhythms = _rhythms(hearing, planned)
    if rhythms:
        yield rhythms
    if planned is not None and planned.plan.motif is not None:
        places = [f"{hearing.bar_at(one.tick).number}{f' ({one.how})' if one.how else ''}" for one in motif]
        yield f"the motif comes in bar {_few(list(dict.fromkeys(places)), 12)}" if places else "the motif never comes"


def _few(bars: Sequence[object], most: int = 4) -> str:
    return ", ".join(map(str, bars[:most])) + (f" and {len(bars) - most} more" if len(bars) > most else "")


def _part(hearing: HeardTune, name: str, start: int, end: int) -> str:
    tones = [tone for voice in hearing.voices for tone in voice.between(start, end)]
    beats = sum(start <= beat < end for beat in hearing.beats)
    if not tones:
        return f"{name} silent"
    loud = sum(tone.velocity for tone in tones) / len(tones)
    return f"{name} {len(tones) / max(1, beats):.1f}, {_dynamic(loud)}"


_LOUDNESS = {"pp": 45, "p": 60, "mp": 75, "mf": 90, "f": 105, "ff": 115}


def _dynamic(velocity: float) -> str:
    return min(DYNAMICS, key=lambda name: abs(_LOUDNESS[name] - velocity))


def _rhythms(hearing: HeardTune, planned: Planned | None) -> str:
    """Name the tune's most frequent rhythm where more than three bars have it."""
    found: dict[tuple[int, ...], list[int]] = {}
    first = (
        next((voice for voice in hearing.pitched if not voice.is_figure), hearing.pitched[0])
        if hearing.pitched
        else None
    )
    for index, bar in enumerate(hearing.bars):
        voice = first
        if planned is not None:
            voice = (
                planned.voices.get(planned.plan.melody_at(index - planned.lead + 1)) if index >= planned.lead else None
            )
        if voice is None or bar.again:
            continue
        tones = [tone for tone in voice.top if bar.start <= tone.start < bar.end]
        rhythm = tuple(x for tone in tones for x in (tone.start - bar.start, min(tone.end, bar.end) - tone.start))
        if len(tones) > 1:
            found.setdefault(rhythm, []).append(bar.number)
    if not found:
        return ""
    rhythm, bars = max(found.items(), key=lambda item: (len(item[1]), -item[1][0]))
    if len(bars) < 4:
        return ""
    lengths = " ".join(f"{length / (TICKS_PER_QUARTER / 2):g}" for length in rhythm[1::2])
    return f"the tune's rhythm {lengths} (eighths) comes in bars {_few(bars, 12)}"


def _adherence(
    planned: Planned, faults: Sequence[Fault], motif: Sequence[MotifHeard], chords_kept: float
) -> tuple[float, tuple[str, ...]]:
    """Return the mean over what the plan asks for, each 0 to 1, and what is not kept."""
    checks = [
        *_frame(planned),
        *_voices_kept(planned),
        *_melody_kept(planned),
        *_silences_kept(planned),
        *_dynamics_kept(planned),
    ]
    chords = [fault for fault in faults if fault.kind == "chord"]
    places = _few([f"{fault.bar} ({fault.message})" for fault in chords], 3)
    checks.append((chords_kept, f"other chords sound than planned in bar {places}" if chords else ""))
    plan = planned.plan
    if plan.climax is not None:
        peaks = [fault.message for fault in faults if fault.kind in ("climax", "ceiling")]
        kept = 1.0 - 0.5 * any(f.kind == "ceiling" for f in faults) - 0.5 * any(f.kind == "climax" for f in faults)
        checks.append((kept, peaks[0] if peaks else ""))
    if plan.motif is not None:
        missing = [fault.message for fault in faults if fault.kind == "motif"]
        checks.append((0.0 if not motif else 0.5 if missing else 1.0, missing[0] if missing else ""))
    mean = sum(kept for kept, _ in checks) / len(checks)
    return round(mean, 4), tuple(told for kept, told in checks if kept < 1 and told)


Kept = tuple[float, str]


def _frame(planned: Planned) -> Iterable[Kept]:
    """Bars, meter, key, tempo."""
    plan, hearing = planned.plan, planned.hearing
    missing = abs(planned.n_bars - plan.bars)
    yield max(0.0, 1 - missing / plan.bars), f"the tune has {planned.n_bars} bars, the plan {plan.bars}"
    meters = hearing.score.meters
    meter = f"{meters[0].numerator}/{meters[0].denominator}" if meters else "4/4"
    yield (
        float(meter == {"C": "4/4", "C|": "2/2"}.get(plan.meter, plan.meter)),
        f"the meter is {meter}, not {plan.meter}",
    )
    yield _key_kept(planned)
    tempos = hearing.score.tempos
    off = []
    for section in plan.sections:
        bar = planned.bar(section.first)
        if bar is None:
            continue
        scale = hearing.score.ticks_per_quarter / TICKS_PER_QUARTER
        qpm = next((t.qpm for t in reversed(tempos) if t.tick <= bar.start * scale + 1), DEFAULT_QPM)
        if abs(qpm - section.qpm) > 1:
            off.append(f"section {section.name} (bar {bar.number}) goes at {qpm:g}, not {section.qpm:g}")
    yield 1 - len(off) / len(plan.sections), "; ".join(off[:3])


def _key_kept(planned: Planned) -> Kept:
    sharps = signature_of(planned.plan.key)
    keys = planned.hearing.score.keys
    heard = keys[0].sharps if keys else 0
    return float(heard == sharps), f"the key signature has {heard:+d} sharps, {planned.plan.key} has {sharps:+d}"


def _voices_kept(planned: Planned) -> Iterable[Kept]:
    bad = []
    for voice in planned.plan.voices:
        heard = planned.voices.get(voice.id)
        if heard is None:
            bad.append(f"voice {voice.id} ({voice.name}) is missing")
        elif not heard.tones:
            bad.append(f"voice {voice.id} ({voice.name}) never plays")
        elif not heard.is_drum and voice.program not in {tone.program for tone in heard.tones}:
            bad.append(f"voice {voice.id} ({voice.name}) has program {heard.program}, not {voice.program}")
    more = len(planned.hearing.voices) - len(planned.plan.voices)
    if more > 0:
        bad.append(f"{more} voice{'s' if more > 1 else ''} more than planned")
    yield max(0.0, 1 - len(bad) / len(planned.plan.voices)), "; ".join(bad[:4])


def _sounds(voice: HeardVoice, start: int, end: int) -> bool:
    return bool(voice.between(start, end)) or bool(voice.sounding(start))


def _melody_kept(planned: Planned) -> Iterable[Kept]:
    asked, empty = 0, []
    for number in range(1, planned.plan.bars + 1):
        id = planned.plan.melody_at(number)
        if not id or planned.plan.role_at(id, number) == "rest":
            continue
        asked += 1
        voice, bar = planned.voices.get(id), planned.bar(number)
        if voice is None or bar is None or not _sounds(voice, bar.start, bar.end):
            empty.append(number if bar is None else bar.number)
    if asked:
        yield 1 - len(empty) / asked, f"the tune is silent in bar {_few(empty)}"


def _silences_kept(planned: Planned) -> Iterable[Kept]:
    broken, asked = [], 0
    for silence in planned.plan.silences:
        voice = planned.voices.get(silence.voice)
        for number in range(silence.first, silence.last + 1):
            bar = planned.bar(number)
            if voice is None or bar is None:
                continue
            asked += 1
            if voice.between(bar.start, bar.end):
                broken.append(f"{planned.hearing.name(voice)} plays in bar {bar.number}, where it should be silent")
    if asked:
        yield 1 - len(broken) / asked, "; ".join(broken[:2])


def _dynamics_kept(planned: Planned) -> Iterable[Kept]:
    """Compare every two sections: the one that is planned louder must be louder."""
    heard: list[tuple[Section, float]] = []
    for _, start, end, section in _sections_of(planned.hearing, planned):
        tones: list[HeardNote] = [tone for voice in planned.hearing.voices for tone in voice.between(start, end)]
        if tones and section is not None:
            heard.append((section, sum(tone.velocity for tone in tones) / len(tones)))
    pairs = [
        (a, b, x, y)
        for (a, x), (b, y) in combinations(heard, 2)
        if DYNAMICS.index(a.dynamic) != DYNAMICS.index(b.dynamic)
    ]
    if not pairs:
        return
    wrong = []
    for a, b, x, y in pairs:
        louder = a if DYNAMICS.index(a.dynamic) > DYNAMICS.index(b.dynamic) else b
        if (x - y if louder is a else y - x) <= 1:
            softer = b if louder is a else a
            wrong.append(
                f"section {louder.name} ({louder.dynamic}) is not louder than {softer.name} ({softer.dynamic})"
            )
    yield 1 - len(wrong) / len(pairs), "; ".join(wrong[:2])


def fault_line(fault: Fault) -> str:
    """Write a fault for people and models: `bar 5 beat 1: ...`."""
    span = f"bars {fault.bar}-{fault.last_bar}" if fault.last_bar is not None and fault.last_bar > fault.bar else None
    return f"{span or f'bar {fault.bar} beat {fault.beat:g}'}: {fault.message}"


def sheet_text(sheet: Sheet, *, with_metrics: bool = False) -> str:
    """Return the sheet as lines for a model: at most eight places, worst first, then what is no fault.

    `with_metrics` adds MusPy's eight metrics with what each means.
    """
    lines = [f"- {fault_line(fault)}" for fault in sheet.shown]
    lines += [f"- not as planned: {one}" for one in sheet.missed]
    lines += [f"- {remark}" for remark in sheet.remarks]
    if with_metrics:
        lines += metric_lines(sheet.metrics)
    return "\n".join(lines)


def metric_lines(metrics: Metrics) -> list[str]:
    """Return one line a metric: name, value and what it means; undefined ones say so."""
    return [
        f"{name} {'undefined' if value is None else f'{value:.4g}'} ({EXPLANATIONS[name]})"
        for name, value in metrics.as_dict().items()
    ]
