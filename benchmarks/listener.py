"""Is what is wrong heard, and what is right left alone? `python -m benchmarks.listener --data DIR [--each 50]`.

One fault at a time is planted in human pieces (chorales of music21's corpus; hymns and songs with piano of `DIR`, a
folder with `hymns/*.abc` and `lieder/*.mxl`) and must be shown at its bar and beat. Then the same chorales untouched:
how many faults are shown in 16 bars. Printed as Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from image2music.abc.playback import abc_to_score
from image2music.errors import Image2MusicError
from image2music.music.listen.harmony import harmony_heard
from image2music.music.listen.hearing import HeardNote, HeardTune, HeardVoice, hearing_of
from image2music.music.listen.listener import listen
from image2music.music.musicxml import read_musicxml
from image2music.music.planning.plan import Climax, Motif, Plan, PlannedVoice, Section, VoicePart
from image2music.music.score import Score, Track
from image2music.music.theory import TICKS_PER_QUARTER, key_name, read_chord

Generator = np.random.Generator


@dataclass(frozen=True)
class Planted:
    """A piece with one fault: any of `kinds` at bar and beat (any beat where None) must be shown."""

    score: Score
    kinds: tuple[str, ...]
    bar: int
    beat: float | None
    plan: Plan | None = None


Planter = Callable[[Score, HeardTune, Generator], Planted | None]


def _edited(score: Score, hearing: HeardTune, changes: dict[tuple[int, HeardNote], HeardNote | None]) -> Score:
    """Return the score with some notes replaced, or taken out (None), by (place of the voice, note)."""
    tracks = []
    for voice, track in zip(hearing.voices, score.tracks, strict=True):
        tones = [changes.get((voice.place, tone), tone) for tone in voice.tones]
        tracks.append(_track(track, [tone for tone in tones if tone is not None]))
    # Notes are in ticks of 1/480 now; so must the changes be.
    scale = TICKS_PER_QUARTER / score.ticks_per_quarter
    return Score(
        TICKS_PER_QUARTER,
        tuple(tracks),
        tuple(replace(change, tick=round(change.tick * scale)) for change in score.tempos),
        tuple(replace(change, tick=round(change.tick * scale)) for change in score.meters),
        tuple(replace(change, tick=round(change.tick * scale)) for change in score.keys),
        tuple(replace(bar, tick=round(bar.tick * scale)) for bar in score.bar_starts),
    )


def _track(track: Track, tones: Sequence[HeardNote]) -> Track:
    rows = np.array([(tone.start, tone.end - tone.start, tone.pitch, tone.velocity) for tone in sorted(tones)])
    onsets, durations, pitches, velocities = rows.reshape(-1, 4).astype(np.int64).T
    return replace(track, onsets=onsets, durations=durations, pitches=pitches, velocities=velocities)


def _at_beats(hearing: HeardTune, rng: Generator, voice: HeardVoice, least: int = TICKS_PER_QUARTER) -> list[HeardNote]:
    """Notes of a voice that begin on a beat inside the piece and last a while, in random order."""
    inside = (hearing.bars[1].start, hearing.bars[-2].start)
    tones = [
        tone
        for tone in voice.tones
        if tone.start in hearing.strengths and tone.end - tone.start >= least and inside[0] <= tone.start < inside[1]
    ]
    return [tones[index] for index in rng.permutation(len(tones))]


def plant_rub(distance: int) -> Planter:
    """Return a planter that moves a note to `distance` semitones from another voice's."""

    def plant(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
        voice = hearing.pitched[int(rng.integers(len(hearing.pitched)))]
        for tone in _at_beats(hearing, rng, voice):
            others = [(other, one) for other, one in hearing.sounding(tone.start) if other is not voice]
            for _, one in others:
                if min(one.end, tone.end) - tone.start < TICKS_PER_QUARTER // 2:
                    continue
                pitch = one.pitch + (distance if tone.pitch >= one.pitch else -distance)
                if 0 < abs(pitch - tone.pitch) <= 2 and not _is_led(voice, tone, pitch):
                    changed = _edited(score, hearing, {(voice.place, tone): tone._replace(pitch=pitch)})
                    return Planted(changed, ("rub",), *hearing.place(tone.start))
        return None

    return plant


def _is_led(voice: HeardVoice, tone: HeardNote, pitch: int) -> bool:
    """Whether a note would by chance go on by step, and so be a passing note or a suspension rather than a fault."""
    after = [one.pitch for one in voice.tones if 0 <= one.start - tone.end <= TICKS_PER_QUARTER]
    return any(abs(one - pitch) <= 2 for one in after)


def plant_parallel(interval: int) -> Planter:
    """Return a planter that lets the lowest voice follow the highest one for two notes in octaves (0) or fifths (7)."""

    def plant(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
        high, low = hearing.by_height[0], hearing.by_height[-1]
        lows = {tone.start: tone for tone in low.bottom}
        line = [(a, b) for a, b in zip(high.top, high.top[1:], strict=False) if b.start in hearing.strengths]
        for index in rng.permutation(len(line)):
            a, b = line[index]
            c, d = lows.get(a.start), lows.get(b.start)
            if c is None or d is None or a.pitch == b.pitch or a.end != b.start or c.end != d.start:
                continue
            if len(low.sounding(a.start)) > 1 or len(low.sounding(b.start)) > 1:  # inside a chord it is no bass
                continue
            if a.start not in hearing.strengths or not hearing.bars[1].start <= a.start < hearing.bars[-2].start:
                continue
            shift = round((c.pitch - (a.pitch - interval)) / 12) * 12 - interval
            if a.pitch + shift >= a.pitch or min(a.pitch, b.pitch) + shift < 28:
                continue
            changes: dict[tuple[int, HeardNote], HeardNote | None] = {
                (low.place, one): one._replace(pitch=over.pitch + shift) for one, over in ((c, a), (d, b))
            }
            kind = "parallel_fifths" if interval else "parallel_octaves"
            return Planted(_edited(score, hearing, changes), (kind,), *hearing.place(b.start))
        return None

    return plant


def plant_range(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Move a note out of its instrument's range."""
    from image2music.music.instruments import instrument_of

    voice = hearing.pitched[int(rng.integers(len(hearing.pitched)))]
    for tone in _at_beats(hearing, rng, voice):
        far = int(rng.integers(1, 6))
        highest = instrument_of(tone.program).highest
        pitch = highest + far if highest + far <= 127 else instrument_of(tone.program).lowest - far
        changed = _edited(score, hearing, {(voice.place, tone): tone._replace(pitch=pitch)})
        return Planted(changed, ("range",), *hearing.place(tone.start))
    return None


def plant_leap(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Let the tune leap a seventh or a ninth and go on the same way."""
    voice = next((one for one in hearing.by_height if not one.is_figure), None)
    for tone in _at_beats(hearing, rng, voice) if voice is not None else ():
        assert voice is not None
        at = voice.tones.index(tone)
        if not 0 < at < len(voice.tones) - 1 or voice.tones[at - 1].end != tone.start:
            continue
        before, after = voice.tones[at - 1], voice.tones[at + 1]
        if after.start != tone.end:
            continue
        size = int(rng.choice([10, 11, 13, 14, 15])) * (1 if before.pitch < 67 else -1)
        pitch = before.pitch + size
        changes: dict[tuple[int, HeardNote], HeardNote | None] = {
            (voice.place, tone): tone._replace(pitch=pitch),
            (voice.place, after): after._replace(pitch=pitch + (4 if size > 0 else -4)),
        }
        return Planted(_edited(score, hearing, changes), ("leap",), *hearing.place(tone.start))
    return None


def plant_lost_note(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Put one note of the tune two octaves away, so that it leaps there and back."""
    voice = next((one for one in hearing.by_height if not one.is_figure), None)
    for tone in _at_beats(hearing, rng, voice) if voice is not None else ():
        assert voice is not None
        at = voice.tones.index(tone)
        if at and voice.tones[at - 1].end == tone.start:
            pitch = tone.pitch + (24 if tone.pitch < 66 else -24)
            changed = _edited(score, hearing, {(voice.place, tone): tone._replace(pitch=pitch)})
            return Planted(changed, ("leap", "range"), *hearing.place(tone.start))
    return None


def plant_ending(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Move the last chord by a second, a fourth or a fifth; pieces that do not end at home are left out."""
    if any(fault.kind == "ending" for fault in listen(score).faults):
        return None
    end = max(tone.end for voice in hearing.pitched for tone in voice.tones)
    last = list(hearing.sounding(end - 1))
    step = int(rng.choice([2, 5, -5, -2]))
    changes: dict[tuple[int, HeardNote], HeardNote | None] = {
        (voice.place, tone): tone._replace(pitch=tone.pitch + step) for voice, tone in last
    }
    return Planted(_edited(score, hearing, changes), ("ending",), hearing.bar_at(end - 1).number, None)


def plant_repeat(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Write a bar over the three that follow it."""
    if len(hearing.bars) < 8:
        return None
    first = int(rng.integers(1, len(hearing.bars) - 5))
    bars = hearing.bars[first : first + 4]
    if len({bar.end - bar.start for bar in bars}) > 1 or any(
        tone.start < bars[0].start for _, tone in hearing.sounding(bars[0].start)
    ):
        return None
    source = bars[0]
    changes: dict[tuple[int, HeardNote], HeardNote | None] = {}
    added: dict[int, list[HeardNote]] = {}
    for voice in hearing.voices:
        for tone in voice.between(bars[1].start, bars[3].end):
            changes[voice.place, tone] = None
        for tone in (one for one in voice.tones if one.start < bars[1].start < one.end):
            changes[voice.place, tone] = tone._replace(end=bars[1].start)
        for bar in bars[1:]:
            for tone in voice.between(source.start, source.end):
                shift = bar.start - source.start
                copy = tone._replace(start=tone.start + shift, end=min(tone.end, source.end) + shift)
                added.setdefault(voice.place, []).append(copy)
    changed = _edited(score, hearing, changes)
    tracks = tuple(
        _track(track, [*tones_of(track), *added.get(voice.place, [])])
        for voice, track in zip(hearing.voices, changed.tracks, strict=True)
    )
    if len(added.get(hearing.by_height[0].place, [])) < 6:
        return None
    return Planted(replace(changed, tracks=tracks), ("repeat",), bars[1].number, None)


def tones_of(track: Track) -> list[HeardNote]:
    """Return the notes of a track in ticks of 1/480."""
    columns = (track.onsets, track.onsets + track.durations, track.pitches, track.velocities)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [HeardNote(start, end, pitch, loud, track.program) for start, end, pitch, loud in rows]


def plant_empty_voice(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Take all notes of a voice away."""
    voice = hearing.voices[int(rng.integers(len(hearing.voices)))]
    changed = _edited(score, hearing, {(voice.place, tone): None for tone in voice.tones})
    return Planted(changed, ("empty_voice",), hearing.bars[0].number, None)


def plan_of(hearing: HeardTune, harmony: Sequence[str]) -> Plan:
    """Return a plan that asks for what is there: one section, the tune in the highest voice, a chord a bar."""
    voices = tuple(PlannedVoice(v.place, v.name, v.program, 0, 127) for v in hearing.voices)
    highest, lowest = hearing.by_height[0].place, hearing.by_height[-1].place
    parts = tuple(
        VoicePart(v.id, "melody" if v.id == highest else "bass" if v.id == lowest else "counter") for v in voices
    )
    lead = int(bool(hearing.bars[0].lead) and len(hearing.bars) > 1)
    n_bars = len(hearing.bars) - lead
    meters, keys = hearing.score.meters, hearing.score.keys
    meter = f"{meters[0].numerator}/{meters[0].denominator}" if meters else "4/4"
    key = key_name(keys[0].sharps, keys[0].minor) if keys else "C"
    section = Section("all", 1, n_bars, "", 100.0, "mf", "none", "open", parts)
    return Plan("", "", key, meter, n_bars, voices, (section,), tuple(harmony[lead:]))


def plant_chord(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Plan another chord for a bar, with at most one tone of the one that is heard."""
    harmony = harmony_heard(hearing)
    lead = int(bool(hearing.bars[0].lead))
    index = int(rng.integers(lead + 1, len(harmony) - 1))
    if not harmony[index]:
        return None
    heard = read_chord(harmony[index])
    others = [
        symbol
        for symbol in ("C", "D", "E", "F", "G", "A", "B", "Am", "Dm", "Em", "Gm", "Cm", "Fm", "Bm", "Bb", "Eb", "Ab")
        if len(read_chord(symbol).classes & heard.classes) <= 1
    ]
    harmony[index] = others[int(rng.integers(len(others)))]
    plan = plan_of(hearing, harmony)
    return Planted(score, ("chord",), hearing.bars[index].number, 1.0, plan)


def plant_bass(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Let the lowest voice begin a bar on the third or fifth of the chord instead of its bass."""
    harmony = harmony_heard(hearing)
    low = hearing.by_height[-1]
    for tone in _at_beats(hearing, rng, low):
        index = hearing.index_at(tone.start)
        if tone.start != hearing.bars[index].start or not harmony[index]:
            continue
        chord = read_chord(harmony[index])
        if tone.pitch % 12 != chord.bass or tone.pitch > min(t.pitch for _, t in hearing.sounding(tone.start)):
            continue
        classes = sorted(chord.classes - {chord.bass})
        wanted = classes[int(rng.integers(len(classes)))]
        pitch = tone.pitch - (tone.pitch - wanted) % 12
        changed = _edited(score, hearing, {(low.place, tone): tone._replace(pitch=pitch)})
        place = hearing.place(tone.start)
        return Planted(changed, ("bass", "chord"), *place, plan_of(hearing, harmony))
    return None


def plant_ceiling(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Plan the highest note as the climax, then put a higher one elsewhere."""
    high = max(hearing.pitched, key=lambda voice: max(tone.pitch for tone in voice.tones))
    peak = max(high.tones, key=lambda tone: tone.pitch)
    lead = int(bool(hearing.bars[0].lead))
    climax = Climax(hearing.index_at(peak.start) - lead + 1, high.place, peak.pitch)
    if climax.bar < 1:
        return None
    for tone in _at_beats(hearing, rng, high):
        if hearing.index_at(tone.start) == hearing.index_at(peak.start):
            continue
        changed = _edited(score, hearing, {(high.place, tone): tone._replace(pitch=peak.pitch + 2)})
        plan = replace(plan_of(hearing, harmony_heard(hearing)), climax=climax)
        return Planted(changed, ("ceiling",), *hearing.place(tone.start), plan)
    return None


def plant_climax(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Plan a climax one step above what the bar has."""
    high = hearing.by_height[0]
    peak = max(high.tones, key=lambda tone: tone.pitch)
    lead = int(bool(hearing.bars[0].lead))
    bar = hearing.index_at(peak.start) - lead + 1
    if bar < 1:
        return None
    plan = replace(plan_of(hearing, harmony_heard(hearing)), climax=Climax(bar, high.place, peak.pitch + 2))
    return Planted(score, ("climax",), hearing.bar_at(peak.start).number, None, plan)


def plant_motif(score: Score, hearing: HeardTune, rng: Generator) -> Planted | None:
    """Plan a motif that the piece does not have."""
    abc = ("c'3/2 E/2 g B, f' | ", "G,/2 e'/2 A5 ^F/2 b | ")[int(rng.integers(2))]
    plan = replace(plan_of(hearing, harmony_heard(hearing)), motif=Motif(abc, "C"))
    return Planted(score, ("motif",), hearing.bars[int(bool(hearing.bars[0].lead))].number, None, plan)


PLANTERS: dict[str, Planter] = {
    "rub, a semitone": plant_rub(1),
    "rub, a major seventh": plant_rub(11),
    "rub, a minor ninth": plant_rub(13),
    "parallel octaves": plant_parallel(0),
    "parallel fifths": plant_parallel(7),
    "range": plant_range,
    "leap": plant_leap,
    "a note lost in another octave": plant_lost_note,
    "ending": plant_ending,
    "a bar four times": plant_repeat,
    "empty voice": plant_empty_voice,
    "chord": plant_chord,
    "bass": plant_bass,
    "ceiling": plant_ceiling,
    "climax": plant_climax,
    "motif": plant_motif,
}


def chorales() -> Iterator[tuple[str, Score]]:
    """Yield the four-part chorales of music21's corpus that our reader reads."""
    import music21

    folder = Path(music21.__file__).parent / "corpus" / "bach"
    yield from _scores(sorted(folder.glob("bwv*.mxl")), voices=4)


def _scores(paths: Sequence[Path], voices: int | None = None) -> Iterator[tuple[str, Score]]:
    for path in paths:
        try:
            data = path.read_bytes()
            score = abc_to_score(data.decode("utf-8-sig")) if path.suffix == ".abc" else read_musicxml(data, by="staff")
        except (Image2MusicError, UnicodeDecodeError) as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        sounding = [track for track in score.tracks if len(track)]
        if len(sounding) == len(score.tracks) and (voices is None or len(sounding) == voices) and len(sounding) > 1:
            yield path.stem, score


def measure(pieces: Sequence[tuple[str, Score]], each: int, seed: int, tell: bool) -> dict[str, tuple[int, int]]:
    """Return (found, planted) by kind; `tell` names what was not found on stderr."""
    found: dict[str, tuple[int, int]] = {}
    for number, (name, plant) in enumerate(PLANTERS.items()):
        rng = np.random.Generator(np.random.Philox([seed, number]))
        heard, planted_in_all = 0, 0
        for tries in range(each * 8):
            if planted_in_all == each:
                break
            title, score = pieces[(tries * 7 + number) % len(pieces)]
            hearing = hearing_of(score)
            if len(hearing.bars) < 8:
                continue
            planted = plant(score, hearing, rng)
            if planted is None:
                continue
            planted_in_all += 1
            shown = listen(planted.score, planted.plan).shown
            right = any(
                fault.kind in planted.kinds
                and fault.bar <= planted.bar <= (fault.last_bar or fault.bar)
                and (planted.beat is None or abs(fault.beat - planted.beat) < 0.01)
                for fault in shown
            )
            heard += right
            if tell and not right:
                told = [f"{fault.kind} {fault.bar}:{fault.beat:g} {fault.weight:.2f}" for fault in shown]
                print(f"{name} in {title}: {planted.bar}:{planted.beat} not among {told}", file=sys.stderr)
        found[name] = (heard, planted_in_all)
    return found


def untouched(pieces: Sequence[tuple[str, Score]]) -> tuple[float, float, Counter[str], float]:
    """Return faults shown in 16 bars over all pieces, the share of pieces above one, counts by kind, ms a piece."""
    bars, kinds, above, seconds = 0, Counter[str](), 0, []
    for _, score in pieces:
        start = time.perf_counter()
        sheet = listen(score)
        seconds.append(time.perf_counter() - start)
        bars += sheet.bars
        kinds.update(fault.kind for fault in sheet.shown)
        above += len(sheet.shown) * 16 > sheet.bars
    return kinds.total() * 16 / bars, above / len(pieces), kinds, 1000 * statistics.median(seconds)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder with hymns/ and lieder/")
    parser.add_argument("--each", type=int, default=50, help="faults of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tell", action="store_true", help="name what was not found")
    args = parser.parse_args()
    corpora = {"chorales": list(chorales())}
    if args.data is not None:
        corpora["hymns"] = list(_scores(sorted((args.data / "hymns").glob("*.abc"))[::4]))
        corpora["songs"] = list(islice(_scores(sorted((args.data / "lieder").glob("*.mxl"))[::15]), 90))
    results = {name: measure(pieces, args.each, args.seed, args.tell) for name, pieces in corpora.items()}
    print("| planted | " + " | ".join(corpora) + " |\n|---|" + "---|" * len(corpora))
    for kind in PLANTERS:
        cells = [f"{results[name][kind][0]} of {results[name][kind][1]}" for name in corpora]
        print(f"| {kind} | {' | '.join(cells)} |")
    print("\n| untouched | pieces | shown in 16 bars | pieces with more than one | ms a piece | kinds |")
    print("|---|---|---|---|---|---|")
    for name, pieces in corpora.items():
        rate, above, kinds, ms = untouched(pieces)
        told = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
        print(f"| {name} | {len(pieces)} | {rate:.2f} | {above:.0%} | {ms:.1f} | {told} |")


if __name__ == "__main__":
    main()
