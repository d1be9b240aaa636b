"""The rehearsal: an arrangement is listened to, and single derived notes change where a fault would be heard.

The listener's own ear finds the places (rubs, parallels, leaps, another chord than planned); each is tried with the
notes nearby, heard in its bar and the two beside it, and the best one stays. Notes that somebody wrote never change.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from image2music.music.arrange.stage import ArrangingStage
from image2music.music.arrange.timeline import EIGHTH, ChordSpan, PlacedNote, notes_of_bars
from image2music.music.listen.form import leap_faults
from image2music.music.listen.harmony import agrees, parallel_faults, rub_faults
from image2music.music.listen.hearing import HeardBar, HeardNote, HeardTune, HeardVoice, Planned, window_of
from image2music.music.listen.sheet import Fault
from image2music.music.score import Score
from image2music.music.theory import TICKS_PER_QUARTER

_HEARD_FROM = 0.25
"""Faults that weigh less are left as they are."""
_MOST_TRIALS = 260
_ROUNDS = 3
_LOUDNESS = 80

Change = dict[int, list[PlacedNote]]
"""By voice, its derived notes in the order of time."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """One way to mend a place: a voice's notes `first` to before `last` become `notes`; what it costs by itself."""

    voice: int
    first: int
    last: int
    notes: tuple[PlacedNote, ...]
    cost: int


def rehearse(stage: ArrangingStage) -> None:
    """Change derived notes of a stage where the listener would stumble; nothing gets worse by it."""
    _Rehearsal(stage).run()


class _Rehearsal:
    def __init__(self, stage: ArrangingStage) -> None:
        self.stage = stage
        plan = stage.plan
        drums = {voice for (voice, _), role in stage.roles.items() if role == "drums"}
        self.voices = [voice for voice in stage.voices if voice not in drums]
        self.places = {voice.id: place for place, voice in enumerate(plan.voices, 1)}
        self.ids = {place: id for id, place in self.places.items()}
        unit = {"C": "4/4", "C|": "2/2"}.get(plan.meter, plan.meter).partition("/")[2]
        self.pulse = max(1, 4 * TICKS_PER_QUARTER // int(unit))
        self.bars = tuple(
            HeardBar(at * stage.length, (at + 1) * stage.length, at + 1, self.pulse, 0, False)
            for at in range(stage.bars)
        )
        self.score = Score(TICKS_PER_QUARTER, ())
        self.fixed = {
            voice: tuple(
                HeardNote(note.on, note.end, pitch, _LOUDNESS, stage.instruments[voice].program)
                for note in notes_of_bars(stage.written.get(voice, ()), stage.length)
                for pitch in note.pitches
            )
            for voice in self.voices
        }
        self.trials = 0
        self._given_up: set[tuple[str, int, float, tuple[int, ...]]] = set()
        self._found: list[Fault] = []
        self._window = (0, 0)
        self._parts: dict[int, HeardVoice] = {}
        self._chords: dict[int, Fault | None] = {}
        self.whole: dict[int, HeardVoice] = {}

    def run(self) -> None:
        stage = self.stage
        for _ in range(_ROUNDS):
            self.whole = {voice: self._heard(voice, stage.out[voice], (0, stage.end)) for voice in self.voices}
            tune = HeardTune(self.score, tuple(self.whole.values()), self.bars, stage.end)
            self._chords = {span.on: self._other_chord(tune, span) for span in stage.planned_spans}
            found = self._faults(tune, range(stage.bars), (0, 0))
            mended = 0
            for fault in sorted(found, key=lambda one: (-round(one.weight, 3), one.bar, one.beat, one.voices)):
                if self.trials >= _MOST_TRIALS:
                    return
                key = (fault.kind, fault.bar, fault.beat, fault.voices)
                if key in self._given_up:
                    continue
                if self._mend(fault):
                    mended += 1
                else:
                    self._given_up.add(key)
            if not mended:
                return

    # what is heard

    def _heard(self, voice: int, notes: Sequence[PlacedNote], ticks: tuple[int, int]) -> HeardVoice:
        """Return a voice from derived notes and the written ones that begin from one tick to before another."""
        program = self.stage.instruments[voice].program
        tones = [HeardNote(n.on, n.end, pitch, _LOUDNESS, program) for n in notes for pitch in n.pitches]
        fixed = self.fixed[voice]
        if fixed:
            first, last = (bisect_left(fixed, tick, key=lambda tone: tone.start) for tick in ticks)
            tones += fixed[first:last]
        tones.sort()
        return HeardVoice(self.places[voice], "", program, False, tuple(tones))

    def _around(self, bars: range, changed: Change) -> HeardTune:
        """Return what sounds in bars and the two beside them; what a voice is like is taken from the whole of it."""
        start, end = (bars.start - 1) * self.stage.length, (bars.stop + 1) * self.stage.length
        if self._window != (start, end):
            self._window, self._parts = (start, end), {}
        voices = []
        for voice in self.voices:
            if voice not in changed and voice in self._parts:
                voices.append(self._parts[voice])
                continue
            notes = changed.get(voice, self.stage.out[voice])
            first, last = (bisect_left(notes, tick, key=lambda note: note.on) for tick in (start, end))
            part = self._heard(voice, notes[first:last], (start, end))
            whole = self.whole[voice]
            vars(part).update(mean_pitch=whole.mean_pitch, is_figure=whole.is_figure)
            if voice not in changed:
                self._parts[voice] = part
            voices.append(part)
        return HeardTune(self.score, tuple(voices), self.bars, self.stage.end)

    def _faults(self, tune: HeardTune, bars: range, ticks: tuple[int, int]) -> list[Fault]:
        """Return the faults of bars; chords are heard anew only where something sounds differently."""
        planned = Planned(self.stage.plan, tune, 0, {self.ids[voice.place]: voice for voice in tune.voices})
        found = [*rub_faults(tune, planned), *parallel_faults(tune, planned), *leap_faults(tune, planned)]
        for span in self.stage.planned_spans:
            if span.bar in bars and span.bar + 1 not in self.stage.plan.free_bars:
                is_same = span.end <= ticks[0] or span.on >= ticks[1]
                fault = self._chords.get(span.on) if is_same else self._other_chord(tune, span)
                found += [fault] if fault is not None else []
        return [one for one in found if one.weight >= _HEARD_FROM and one.bar - 1 in bars and self._is_ours(one)]

    def _other_chord(self, tune: HeardTune, span: ChordSpan) -> Fault | None:
        window = window_of(tune, span.on, span.end)
        if not window.n_notes:
            return None
        is_right, heard = agrees(span.chord, window)
        is_bass = window.bass is None or window.bass % 12 == span.chord.bass or not self.stage.bass_voice[span.bar]
        if (is_right or heard is None) and is_bass:
            return None
        voices = tuple(sorted({voice.place for voice, _ in tune.sounding(span.on)}))
        beat = 1 + (span.on % self.stage.length) / self.pulse
        if not is_right and heard is not None:
            return Fault("chord", span.bar + 1, beat, voices, "", 0.75)
        return Fault("bass", span.bar + 1, beat, voices, "", 0.6)

    def _is_ours(self, fault: Fault) -> bool:
        return any(not self.stage.is_written(self.ids[place], fault.bar - 1) for place in fault.voices)

    # what is done about it

    def _mend(self, fault: Fault) -> bool:
        """Try what can be changed at a place; return whether something was."""
        tick = (fault.bar - 1) * self.stage.length + round((fault.beat - 1) * self.pulse)
        bars = range(max(0, fault.bar - 2), min(self.stage.bars, fault.bar + 1))
        now = self._weight(bars, {}, (0, 0))
        if not any(self._is_there(fault, one) for one in self._found):
            return False
        best: tuple[int, int, _Trial] | None = None
        for number, trial in enumerate(self._trials_for(fault, tick)):
            if self.trials >= _MOST_TRIALS:
                break
            old = self.stage.out[trial.voice][trial.first : trial.last]
            notes = list(self.stage.out[trial.voice])
            notes[trial.first : trial.last] = trial.notes
            ticks = old[0].on, max(note.end for note in (*old, *trial.notes))
            total = self._weight(bars, {trial.voice: notes}, ticks) + trial.cost
            if total < now - 60 and (best is None or (total, number) < best[:2]):
                best = total, number, trial
                if total <= trial.cost and trial.cost <= 30:
                    break
        if best is None:
            return False
        trial = best[2]
        notes = self.stage.out[trial.voice]
        changed = (*notes[trial.first : trial.last], *trial.notes)
        notes[trial.first : trial.last] = trial.notes
        self.whole[trial.voice] = self._kept(trial.voice)
        self._parts.pop(trial.voice, None)
        tune = self._around(bars, {})
        start, end = changed[0].on, max(note.end for note in changed)
        for span in self.stage.planned_spans:
            if span.on < end and span.end > start:
                self._chords[span.on] = self._other_chord(tune, span)
        return True

    def _kept(self, voice: int) -> HeardVoice:
        before = self.whole[voice]
        after = self._heard(voice, self.stage.out[voice], (0, self.stage.end))
        vars(after).update(mean_pitch=before.mean_pitch, is_figure=before.is_figure)
        return after

    def _weight(self, bars: range, changed: Change, ticks: tuple[int, int]) -> int:
        """Return how much is wrong in bars, in thousandths of a whole fault; what was found stays in `_found`."""
        self.trials += 1
        self._found = self._faults(self._around(bars, changed), bars, ticks)
        return sum(200 + round(1000 * one.weight) for one in self._found)

    @staticmethod
    def _is_there(fault: Fault, other: Fault) -> bool:
        return (fault.kind, fault.bar, fault.beat, fault.voices) == (other.kind, other.bar, other.beat, other.voices)

    def _trials_for(self, fault: Fault, tick: int) -> Iterator[_Trial]:
        """Yield changes of the notes that take part, the nearest first."""
        found: list[_Trial] = []
        for place in fault.voices:
            voice = self.ids[place]
            notes = self.stage.out[voice]
            at = bisect_right(notes, tick, key=lambda note: note.on) - 1
            if at >= 0 and notes[at].end > tick:
                found += self._of_note(voice, at, tick)
                if fault.kind != "rub" and at and notes[at - 1].end > tick - EIGHTH:
                    found += [replace(one, cost=one.cost + 10) for one in self._of_note(voice, at - 1, tick)]
            elif fault.kind in ("parallel_octaves", "parallel_fifths", "leap") and at >= 0:
                found += self._of_note(voice, at, tick)
        if fault.kind == "chord":
            found += self._fuller(tick)
        found.sort(key=lambda one: (one.cost, one.voice, one.first))
        yield from found[:14]

    def _of_note(self, voice: int, at: int, tick: int) -> Iterator[_Trial]:
        stage = self.stage
        notes = stage.out[voice]
        note = notes[at]
        bar = note.on // stage.length
        if stage.is_written(voice, bar):
            return
        before, after = (notes[at - 1] if at else None), (notes[at + 1] if at + 1 < len(notes) else None)
        span = stage.span_at(note.on)
        is_root = stage.bass_voice[bar] == voice and note.on == span.on
        line = stage.roles[voice, bar] not in ("figure", "bass+figure")
        low, high = stage.range_of(voice, bar)
        third = span.third if self._is_only_third(span, note) else None
        scale = span.scale if note.dur <= EIGHTH * 2 and not stage.is_strong(note.on) else frozenset(span.own)

        def priced(pitches: tuple[int, ...], extra: int = 0) -> _Trial:
            cost = extra + 3 * abs(pitches[-1] - note.pitches[-1]) + 15 * note.bound
            cost += 4 * sum(stage.clash(p, note.on, note.dur) for p in pitches)
            for other in (before, after):
                if other is not None and abs(other.on - note.on) < stage.length:
                    cost += 25 * (other.pitches == pitches) + (6 if line else 2) * max(
                        0, abs(other.pitches[-1] - pitches[-1]) - 7
                    )
            cost += 250 * (third is not None and all(p % 12 != third for p in pitches))
            cost += 15 * any(p % 12 not in span.classes for p in pitches)
            return _Trial(voice, at, at + 1, (replace(note, pitches=pitches),), cost)

        lowest_stays = is_root
        for place, old in enumerate(note.pitches):
            others = note.pitches[:place] + note.pitches[place + 1 :]
            if lowest_stays and place == 0:
                wanted = [p for p in (old - 12, old + 12) if p % 12 == span.chord.bass or p % 12 == old % 12]
            else:
                wanted = [p for p in range(old - 9, old + 10) if p % 12 in (span.own if others else scale)]
            near = [p for p in wanted if low <= p <= high and p != old and all(abs(p - q) > 2 for q in others)]
            if lowest_stays and place == 0:
                near = [p for p in near if all(p < q for q in others)]
            for pitch in sorted(near, key=lambda p: (abs(p - old), p))[: 6 if not others else 2]:
                yield priced(tuple(sorted((*others, pitch))), 6 if others else 0)
            if others and not (lowest_stays and place == 0):
                yield priced(others, 12)
        if bar == stage.final:
            return
        if is_root:
            yield from self._led_on(voice, at, tick)
            yield from self._moved_on(voice, at, tick)
            return
        if third is not None:
            return
        if before is not None and before.end == note.on and before.on // stage.length == bar and not note.bound:
            joined = replace(before, dur=note.end - before.on)
            yield _Trial(voice, at - 1, at + 1, (joined,), 45 + 4 * self._clash_of(joined))
        if not line and not note.bound and note.dur <= 2 * EIGHTH:
            yield _Trial(voice, at, at + 1, (), 70)
        if note.on + EIGHTH <= tick < note.end:
            yield _Trial(voice, at, at + 1, (replace(note, dur=tick - note.on),), 50)

    def _is_only_third(self, span: ChordSpan, note: PlacedNote) -> bool:
        """Whether nobody else has the third of a chord."""
        if span.third is None or all(pitch % 12 != span.third for pitch in note.pitches):
            return False
        heard = (
            tone
            for voice in self.whole.values()
            for tone in (*voice.between(span.on, span.end), *voice.sounding(span.on))
            if tone.pitch % 12 == span.third
        )
        return all(tone.start == note.on and tone.pitch in note.pitches for tone in heard)

    def _fuller(self, tick: int) -> Iterator[_Trial]:
        """Yield notes of a chord's stretch with one more tone of the chord above them."""
        stage = self.stage
        span = stage.span_at(tick)
        for voice in self.voices:
            notes = stage.out[voice]
            most = min(stage.instruments[voice].chords, 4)
            first = bisect_left(notes, span.on, key=lambda note: note.on)
            for at in range(first, min(first + 2, len(notes))):
                note = notes[at]
                if note.on >= span.end or len(note.pitches) >= most or stage.is_written(voice, span.bar):
                    continue
                top = note.pitches[-1]
                low = max(top + (7 if top < 48 else 3), 48)
                for pitch in range(low, min(top + 17, stage.range_of(voice, span.bar)[1] + 1)):
                    if pitch % 12 in span.own and pitch % 12 not in {p % 12 for p in note.pitches}:
                        cost = 12 + 4 * stage.clash(pitch, note.on, note.dur) + pitch - top
                        yield _Trial(voice, at, at + 1, (replace(note, pitches=(*note.pitches, pitch)),), cost)

    def _led_on(self, voice: int, at: int, tick: int) -> Iterator[_Trial]:
        """Yield a bass note that leads on to the move that is heard by another tone or a step, or leaves a rest."""
        note = self.stage.out[voice][at]
        if not tick - EIGHTH <= note.end <= tick or note.dur < 3 * EIGHTH or note.bound:
            return
        start = tick - 2 * EIGHTH
        span, old = self.stage.span_at(start), note.pitches[0]
        low, high = self.stage.range_of(voice, start // self.stage.length)
        early = replace(note, dur=start - note.on)
        tones = {*span.own, span.step(old, 1) % 12, span.step(old, -1) % 12}
        for pitch in sorted(range(old - 7, old + 8), key=lambda p: (abs(p - old), p)):
            if pitch != old and pitch % 12 in tones and low <= pitch <= high:
                way = PlacedNote(start, 2 * EIGHTH, (pitch,), light=note.light)
                yield _Trial(voice, at, at + 1, (early, way), 30 + 3 * abs(pitch - old) + 4 * self._clash_of(way))
        yield _Trial(voice, at, at + 1, (early,), 60)

    def _moved_on(self, voice: int, at: int, tick: int) -> Iterator[_Trial]:
        """Yield a bass note that goes to another tone of its chord where it would rub if it stayed."""
        note = self.stage.out[voice][at]
        if not note.on + EIGHTH <= tick <= note.end - EIGHTH or len(note.pitches) > 2:
            return
        span, old = self.stage.span_at(tick), note.pitches[0]
        low, high = self.stage.range_of(voice, tick // self.stage.length)
        for pitch in sorted(range(max(low, old - 8), min(high, old + 12) + 1), key=lambda p: (abs(p - old), p)):
            if pitch % 12 in span.own and pitch % 12 != old % 12:
                way = PlacedNote(tick, note.end - tick, (pitch,), light=note.light)
                early = replace(note, dur=tick - note.on)
                yield _Trial(voice, at, at + 1, (early, way), 25 + 3 * abs(pitch - old) + 4 * self._clash_of(way))

    def _clash_of(self, note: PlacedNote) -> int:
        return sum(self.stage.clash(pitch, note.on, note.dur) for pitch in note.pitches)
