"""How the lines go and how the whole is built: ranges, leaps, ends, peaks, repetition, silence, the motif."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from image2music.music.instruments import instrument_of
from image2music.music.listen.harmony import agrees, planned_windows
from image2music.music.listen.hearing import HeardBar, HeardNote, HeardTune, HeardVoice, Planned, motif_steps
from image2music.music.listen.sheet import Fault
from image2music.music.planning.plan import FIGURE_ROLES, pitch_name
from image2music.music.theory import (
    TICKS_PER_QUARTER,
)

_MOST_A_VOICE = 3


def range_faults(hearing: HeardTune, planned: Planned | None) -> Iterator[Fault]:
    """Yield notes that an instrument cannot play, or that lie outside the plan's range; the worst of each voice."""
    for voice in hearing.pitched:
        found = []
        asked = (
            next((one for one in planned.plan.voices if planned.voices.get(one.id) is voice), None) if planned else None
        )
        for tone in voice.tones:
            instrument = instrument_of(tone.program)
            if instrument.kind != "effect" and not instrument.lowest <= tone.pitch <= instrument.highest:
                far = max(instrument.lowest - tone.pitch, tone.pitch - instrument.highest)
                limits = f"{pitch_name(instrument.lowest)} to {pitch_name(instrument.highest)}"
                found.append(
                    (0.8 + min(far, 12) / 80, tone, f"is outside of what a {instrument.name} plays ({limits})")
                )
            elif asked is not None and not asked.low <= tone.pitch <= asked.high:
                far = max(asked.low - tone.pitch, tone.pitch - asked.high)
                limits = f"{pitch_name(asked.low)} to {pitch_name(asked.high)}"
                found.append((0.6 + min(far, 12) / 80, tone, f"is outside of the plan's {limits}"))
        found.sort(key=lambda one: (-one[0], one[1].start))
        for nth, (weight, tone, why) in enumerate(found[:_MOST_A_VOICE]):
            more = f", and {len(found) - 1} more notes of this voice are" if nth == 0 and len(found) > 1 else ""
            message = f"{hearing.tone(voice, tone)} {why}{more}"
            yield Fault("range", *hearing.place(tone.start), (voice.place,), message, weight)


_OCTAVE = 12
_LARGEST_LEAP_BACK = 7


def leap_faults(hearing: HeardTune, planned: Planned | None) -> Iterator[Fault]:
    """Yield leaps of a seventh or more than an octave, in a line, that neither step nor turning back makes good."""
    for voice in hearing.pitched:
        if voice.is_figure:
            continue
        last_fault = -2
        for at in range(1, len(voice.top)):
            before, tone = voice.top[at - 1], voice.top[at]
            size = abs(tone.pitch - before.pitch)
            if size < 10 or size == _OCTAVE or tone.start - before.end > TICKS_PER_QUARTER or at == last_fault + 1:
                continue
            if planned and planned.role(voice, planned.number(tone.start)) in FIGURE_ROLES:
                continue
            if _recovers(voice.top, at):
                continue
            last_fault = at
            name = "a seventh" if size < _OCTAVE else f"{size} semitones"
            way = "up" if tone.pitch > before.pitch else "down"
            message = (
                f"{hearing.name(voice)} leaps {way} {name} from {pitch_name(before.pitch)} to {pitch_name(tone.pitch)} "
                "and does not step back"
            )
            weight = 0.55 if size < _OCTAVE else min(0.85, 0.6 + 0.02 * (size - _OCTAVE))
            yield Fault("leap", *hearing.place(tone.start), (voice.place,), message, weight)


def _recovers(line: Sequence[HeardNote], at: int) -> bool:
    before, tone = line[at - 1], line[at]
    size = abs(tone.pitch - before.pitch)
    after = next((one for one in line[at + 1 : at + 6] if one.pitch != tone.pitch), None)
    if after is None or after.start - tone.end > 2 * TICKS_PER_QUARTER:
        return size < _OCTAVE
    move = after.pitch - tone.pitch
    if abs(move) <= 2:
        return True
    turns_back = (move > 0) != (tone.pitch > before.pitch)
    return turns_back and (size < _OCTAVE or abs(move) <= _LARGEST_LEAP_BACK)


_DEGREES = (0, 3, 4, 7)


def ending_faults(hearing: HeardTune) -> Iterator[Fault]:
    """Yield the end where it does not close: the tune on 1, 3 or 5 of the tonic chord over the tonic."""
    if not hearing.pitched:
        return
    ends = {voice.place: max(tone.end for tone in voice.tones) for voice in hearing.pitched}
    end = max(ends.values())
    bar = hearing.bar_at(end - 1)
    chord = [
        (voice, tone)
        for voice in hearing.pitched
        if ends[voice.place] > bar.start
        for tone in voice.sounding(ends[voice.place] - 1)
    ]
    low_voice, low = min(chord, key=lambda one: one[1].pitch)
    if low.end - low.start < TICKS_PER_QUARTER and len(chord) < 3:
        tones = [tone for voice in hearing.pitched for tone in voice.between(bar.start, end)]
        low = min(tones, key=lambda tone: tone.pitch, default=low)
    high_voice, high = max(chord, key=lambda one: one[1].pitch)
    first = hearing.pitched[0]
    tune = next((tone for voice, tone in chord[::-1] if voice is first), high)
    for tonic in hearing.tonics:
        foreign = sum((tone.pitch - tonic) % 12 not in _DEGREES for _, tone in chord)
        over = any((tone.pitch - tonic) % 12 in _DEGREES for tone in (tune, high))
        if low.pitch % 12 == tonic and over and foreign * 3 <= len(chord):
            return
    tonic_name = pitch_name(hearing.tonics[0]).rstrip("-0123456789")
    weight = 0.8
    if len(chord) == 1:
        message = f"the end does not come home: {hearing.tone(high_voice, high)}, home is {tonic_name}"
        weight = 0.45 if any((high.pitch - tonic) % 12 in _DEGREES for tonic in hearing.tonics) else 0.8
    elif low.pitch % 12 not in hearing.tonics:
        message = f"the end does not come home: {hearing.tone(low_voice, low)} in the bass, home is {tonic_name}"
    else:
        message = f"the end does not close: {hearing.tone(high_voice, high)} over {tonic_name} in the bass"
    places = tuple(sorted({voice.place for voice, _ in chord}))
    start = max(bar.start, *(tone.start for _, tone in chord))
    yield Fault("ending", *hearing.place(start), places, message, weight)


_CLOSES = ("full", "plagal", "deceptive", "half")


def cadence_faults(planned: Planned) -> Iterator[Fault]:
    """Yield sections whose last chord is not the plan's, or whose tune ends outside of it; the last one is the end."""
    lasts = {number: (chord, window) for number, chord, window in planned_windows(planned)}
    hearing = planned.hearing
    for section in planned.plan.sections[:-1]:
        found = lasts.get(section.last)
        if section.cadence not in _CLOSES or found is None or section.last in planned.plan.free_bars:
            continue
        chord, window = found
        if not window.n_notes:
            continue
        is_right, heard = agrees(chord, window)
        bass = window.bass is None or window.bass % 12 == chord.bass
        place = hearing.place(window.start)
        if not is_right or not bass:
            what = heard.symbol if heard is not None and not is_right else f"{chord.symbol} over another bass"
            message = (
                f"section {section.name} has no {section.cadence} cadence: {what} is heard, {chord.symbol} planned"
            )
            yield Fault("cadence", *place, (), message, 0.6)
            continue
        voice = planned.voices.get(planned.plan.melody_at(section.last))
        tones = [tone for tone in voice.top if window.start <= tone.start < window.end] if voice else []
        if voice is None or not any(tone.start < (window.start + window.end) // 2 for tone in tones):
            continue  # nothing, or a pick-up alone
        # Short notes after the one that rests lead on into what follows; a longer one before it may lean on it.
        rests = max(tones, key=lambda tone: (tone.end - tone.start, tone.start))
        if not {rests.pitch % 12, tones[-1].pitch % 12} & chord.classes:
            message = f"section {section.name} ends with {hearing.tone(voice, rests)} outside of {chord.symbol}"
            yield Fault("cadence", *hearing.place(rests.start), (voice.place,), message, 0.45)


def climax_faults(planned: Planned) -> Iterator[Fault]:
    """Yield a peak that is missing, and notes elsewhere that reach it."""
    climax, hearing = planned.plan.climax, planned.hearing
    voice = planned.voices.get(climax.voice) if climax is not None else None
    bar = planned.bar(climax.bar) if climax is not None else None
    if climax is None or voice is None or bar is None or voice.is_drum:
        return
    here = [tone for tone in voice.sounding(bar.start) if tone.start < bar.start]
    here += voice.between(bar.start, bar.end)
    peak = max((tone.pitch for tone in here), default=None)
    if peak is None or peak < climax.pitch:
        reached = "it rests there" if peak is None else f"it reaches {pitch_name(peak)} there"
        message = f"the climax is missing: {hearing.name(voice)} should have {pitch_name(climax.pitch)}, {reached}"
        yield Fault("climax", bar.number, 1.0, (voice.place,), message, 0.8)
    ceiling = max(climax.pitch, peak or 0)
    above: dict[int, tuple[HeardNote, HeardVoice, int]] = {}
    for other in hearing.pitched:
        for tone in other.tones:
            start = hearing.bar_at(tone.start).start
            inside = other is voice and bar.start <= tone.start < bar.end
            if tone.pitch < ceiling or inside:
                continue
            if start not in above or tone.pitch > above[start][0].pitch:
                above[start] = (tone, other, len(above))
    worst = sorted(above.values(), key=lambda one: (-one[0].pitch, one[0].start))
    for tone, other, _ in worst[:_MOST_A_VOICE]:
        reaches = "goes above" if tone.pitch > ceiling else "is as high as"
        message = f"{hearing.tone(other, tone)} {reaches} the climax, {pitch_name(ceiling)} in bar {bar.number}"
        weight = 0.65 if tone.pitch > ceiling else 0.5
        yield Fault("ceiling", *hearing.place(tone.start), (other.place,), message, weight)


Signature = tuple[tuple[int, int, int, int], ...]


def _signature(voices: Sequence[HeardVoice], bar: HeardBar) -> Signature:
    """What sounds in a bar as seen from its start: (voice, start, end, pitch) of its notes, held ones included."""
    found = []
    for voice in voices:
        held = [tone for tone in voice.sounding(bar.start) if tone.start < bar.start]
        for tone in (*held, *voice.between(bar.start, bar.end)):
            found.append((voice.place, max(tone.start - bar.start, -1), min(tone.end, bar.end) - bar.start, tone.pitch))
    return tuple(found)


_SAME_IN_A_ROW = 3
_LOOP_FROM_BARS = 12
_LOOP_SHARE = 0.34


def repeat_faults(hearing: HeardTune, planned: Planned | None) -> Iterator[Fault]:
    """Yield bars that come three times or more in a row, a tune made of few bars, and a voice that copies another."""
    bars = [bar for bar in hearing.bars if not bar.again]
    whole = [_signature(hearing.pitched, bar) for bar in bars]
    told: set[int] = set()
    for first, last in _same_runs(bars, whole):
        if last - first + 1 < _SAME_IN_A_ROW or len(whole[first]) < 2:
            continue
        times = last - first + 1
        told.update(range(first, last + 1))
        message = f"the same bar as bar {bars[first].number}, {times} times in a row"
        places = tuple(sorted({place for place, *_ in whole[first]}))
        weight = min(0.95, 0.45 + 0.1 * times)
        yield Fault("repeat", bars[first + 1].number, 1.0, places, message, weight, bars[last].number)
    sounding = [signature for signature in whole if signature]
    if len(sounding) >= _LOOP_FROM_BARS and len(set(sounding)) <= _LOOP_SHARE * len(sounding) and not told:
        seen: set[Signature] = set()
        again = next(at for at, one in enumerate(whole) if one and (one in seen or seen.add(one)))  # type: ignore[func-returns-value]
        message = f"{len(sounding)} bars are made of {len(set(sounding))} different ones, which come again literally"
        places = tuple(voice.place for voice in hearing.pitched)
        yield Fault("repeat", bars[again].number, 1.0, places, message, 0.8, bars[-1].number)
    yield from _tune_again(hearing, planned, bars, told)
    yield from _copied_voices(hearing, planned)


def _same_runs(bars: Sequence[HeardBar], signatures: Sequence[Signature]) -> Iterator[tuple[int, int]]:
    first = 0
    for at in range(1, len(bars) + 1):
        if at < len(bars) and signatures[at] == signatures[first] and bars[at].number == bars[at - 1].number + 1:
            continue
        yield first, at - 1
        first = at


def _tune_again(
    hearing: HeardTune, planned: Planned | None, bars: Sequence[HeardBar], told: set[int]
) -> Iterator[Fault]:
    """Yield bars of one voice that come again in a row: three times in the tune, eight times in an accompaniment."""
    for voice in hearing.pitched:
        line = [_signature([voice], bar) for bar in bars]
        for first, last in _same_runs(bars, line):
            times = last - first + 1
            if times < _SAME_IN_A_ROW or len(line[first]) < 2 or told & set(range(first, last + 1)):
                continue
            if planned is not None:
                has_tune = planned.role(voice, planned.number(bars[first].start)) == "melody"
            else:
                has_tune = not voice.is_figure and voice is hearing.by_height[0]
            if not has_tune and times < 8:
                continue
            message = f"{hearing.name(voice)} plays the same bar as bar {bars[first].number} {times} times in a row"
            weight = min(0.7, 0.3 + 0.07 * times) if has_tune else 0.3
            yield Fault("repeat", bars[first + 1].number, 1.0, (voice.place,), message, weight, bars[last].number)


def _copied_voices(hearing: HeardTune, planned: Planned | None) -> Iterator[Fault]:
    lines = {
        voice.place: {(tone.start, tone.pitch % 12) for tone in voice.tones}
        for voice in hearing.pitched
        if len(voice.tones) >= 16
    }
    for voice in hearing.pitched:
        for other in hearing.pitched:
            if other.place >= voice.place or not {voice.place, other.place} <= lines.keys():
                continue
            mine, others = lines[voice.place], lines[other.place]
            if len(mine & others) < 0.9 * max(len(mine), len(others)):
                continue
            if planned is not None and _doubles(planned, voice, other):
                continue
            message = f"{hearing.name(voice)} only doubles {hearing.name(other)}, note for note"
            places = (other.place, voice.place)
            yield Fault("repeat", *hearing.place(voice.tones[0].start), places, message, 0.6, hearing.bars[-1].number)
            break


def _doubles(planned: Planned, voice: HeardVoice, other: HeardVoice) -> bool:
    bars = range(1, planned.plan.bars + 1)
    roles = [{planned.role(voice, bar), planned.role(other, bar)} & {"double", "rest", "parallel"} for bar in bars]
    return sum(map(bool, roles)) * 2 >= len(roles)


_LONG_SILENCE = 8


def silence_faults(hearing: HeardTune, planned: Planned | None) -> Iterator[Fault]:
    """Yield voices that never sound, that rest where they should play, and that hold one note too long."""
    bars = hearing.bars
    for voice in hearing.voices:
        if not voice.tones:
            if (
                planned
                and planned.voices
                and all(planned.role(voice, n) == "rest" for n in range(1, planned.n_bars + 1))
            ):
                continue
            message = f"{hearing.name(voice)} is declared and never plays"
            yield Fault("empty_voice", bars[0].number, 1.0, (voice.place,), message, 0.9, bars[-1].number)
            continue
        yield from _holds(hearing, planned, voice)
        if planned is None:
            yield from _rests(hearing, voice)
    if planned is not None:
        yield from _silent_sections(planned)


def _rests(hearing: HeardTune, voice: HeardVoice) -> Iterator[Fault]:
    filled: set[int] = set()
    for tone in voice.tones:
        filled.update(range(hearing.index_at(tone.start), hearing.index_at(tone.end - 1) + 1))
    edges = [-1, *sorted(filled), len(hearing.bars)]
    for before, after in pairwise(edges):
        if after - before - 1 > _LONG_SILENCE:
            first, last = hearing.bars[before + 1], hearing.bars[after - 1]
            message = f"{hearing.name(voice)} rests for {after - before - 1} bars"
            yield Fault("empty_voice", first.number, 1.0, (voice.place,), message, 0.25, last.number)


def _silent_sections(planned: Planned) -> Iterator[Fault]:
    hearing = planned.hearing
    for id, voice in planned.voices.items():
        if not voice.tones:
            continue
        for section in planned.plan.sections:
            if section.last > planned.n_bars or all(planned.plan.role_at(id, bar) == "rest" for bar in section.bars):
                continue
            start, end = planned.span(section.first, section.last)
            if not voice.between(start, end) and not voice.sounding(start):
                role = section.role_of(id)
                message = f"{hearing.name(voice)} is silent in section {section.name}, where the plan has {role}"
                last = hearing.bar_at(end - 1).number
                yield Fault("empty_voice", hearing.bar_at(start).number, 1.0, (voice.place,), message, 0.75, last)


def _holds(hearing: HeardTune, planned: Planned | None, voice: HeardVoice) -> Iterator[Fault]:
    for tone in voice.tones:
        if tone.end - tone.start < _LONG_SILENCE * TICKS_PER_QUARTER // 2:
            continue
        first, last = hearing.bar_at(tone.start), hearing.bar_at(tone.end - 1)
        n_bars = round((tone.end - tone.start) / max(1, first.end - first.start))
        most = _LONG_SILENCE
        if planned is not None:
            number = planned.number(tone.start)
            if number < 1 or planned.role(voice, number) == "hold":
                continue
            most = len(planned.plan.section_at(number).bars)
        if n_bars > most:
            message = f"{hearing.tone(voice, tone)} is held for {n_bars} bars"
            yield Fault("long_hold", *hearing.place(tone.start), (voice.place,), message, 0.45, last.number)


class MotifHeard(NamedTuple):
    """Where a motif sounds: the tick, the voice, and how (`as it is`, `moved`, `inverted`, `augmented`, ...)."""

    tick: int
    voice: HeardVoice
    how: str


_TELLING_STEPS = 3
"""Of a motif this long, upside down or slower is heard as the same; shorter ones are everywhere."""


def motif_heard(planned: Planned) -> list[MotifHeard]:
    """Return where the plan's motif sounds in the top line of a voice: in any key, upside down, twice as slow or fast.

    Intervals may differ by a semitone, as they do on other degrees of a scale. Motifs of less than three notes are not
    looked for.
    """
    wanted = motif_steps(planned.plan)
    if len(wanted) < 2:
        return []
    ways = {"": (1, 1.0)}
    if len(wanted) >= _TELLING_STEPS:
        ways |= {"inverted": (-1, 1.0), "augmented": (1, 2.0), "diminished": (1, 0.5)}
    found: dict[tuple[int, int], MotifHeard] = {}
    for voice in planned.hearing.pitched:
        line = voice.top
        steps = [(b.pitch - a.pitch, b.start - a.start) for a, b in pairwise(line)]
        for how, (sign, speed) in ways.items():
            asked = [(sign * interval, round(ticks * speed)) for interval, ticks in wanted]
            for at in range(len(steps) - len(asked) + 1):
                if steps[at][1] == asked[0][1] and _sings(steps, at, asked):
                    key = (voice.place, line[at].start)
                    found.setdefault(key, MotifHeard(line[at].start, voice, how))
    return sorted(found.values(), key=lambda one: (one.tick, one.voice.place))


def _sings(steps: Sequence[tuple[int, int]], at: int, asked: Sequence[tuple[int, int]]) -> bool:
    for (interval, ticks), (wanted, length) in zip(steps[at : at + len(asked)], asked, strict=True):
        if ticks != length or abs(interval - wanted) > (1 if wanted else 0) or interval * wanted < 0:
            return False
    return True


def missing_motif_faults(planned: Planned, heard: Sequence[MotifHeard]) -> Iterator[Fault]:
    """Yield a motif that never comes, or comes once and never again."""
    if planned.plan.motif is None or len(motif_steps(planned.plan)) < 2:
        return
    first = next((bar for bar in range(1, planned.n_bars + 1) if planned.plan.melody_at(bar)), 1)
    voice = planned.voices.get(planned.plan.melody_at(first))
    places = (voice.place,) if voice else ()
    bar = planned.bar(first) or planned.hearing.bars[0]
    if not heard:
        message = f"the plan's motif {planned.plan.motif.abc} never comes"
        yield Fault("motif", bar.number, 1.0, places, message, 0.7)
    elif len(heard) == 1 and planned.plan.bars >= 12:
        message = "the motif comes once and never again"
        yield Fault("motif", *planned.hearing.place(heard[0].tick), (heard[0].voice.place,), message, 0.3)
