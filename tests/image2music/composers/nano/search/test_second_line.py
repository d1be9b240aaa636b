"""Voices beside a tune, judged by ear-like rules that are written here anew, and by the listener."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.composers.nano.search.ground import Ground, scale_under
from image2music.composers.nano.search.paired import canon_line, combined_line
from image2music.composers.nano.search.second import answer_line
from image2music.composers.nano.sketch import bar_ticks
from image2music.errors import PlanError
from image2music.music.listen.harmony import parallel_faults, rub_faults
from image2music.music.listen.hearing import hearing_of
from image2music.music.score import MeterChange, Score, Track
from image2music.music.theory import read_chord

BEATS = {
    "4/4": (0, 12, 24, 36), "3/4": (0, 12, 24), "6/8": (0, 18), "12/8": (0, 18, 36, 54), "5/4": (0, 12, 24, 36, 48),
    "2/4": (0, 12), "7/8": (0, 12, 24), "2/2": (0, 12, 24, 36),
}  # fmt: skip
CHORDS = {
    "C": ("C", "Am", "Dm7", "G7", "F", "Fm6", "E7", "C/E", "Gsus4", "Ab", "D7/F#", "Cmaj7", "F#dim7"),
    "Em": ("Em", "B7", "Am", "C", "F#m7b5", "G", "D7", "F/A", "Em/D", "Bsus4"),
    "Ddor": ("Dm", "G", "C", "Am7"),
}

# A song of eight bars, made for these tests: long notes at the ends of its lines.
SONG = Ground("4/4", "G", (("G",), ("G/B",), ("C",), ("D7",), ("Em",), ("Am", "D7"), ("G",), ("G",)))
TUNE = (
    ((0, 12, 67), (12, 6, 69), (18, 6, 71), (24, 24, 74)),
    ((0, 18, 71), (18, 6, 69), (24, 24, 67)),
    ((0, 12, 76), (12, 12, 74), (24, 12, 72), (36, 12, 76)),
    ((0, 36, 74),),
    ((0, 12, 79), (12, 6, 78), (18, 6, 76), (24, 24, 71)),
    ((0, 18, 72), (18, 6, 71), (24, 12, 69), (36, 12, 66)),
    ((0, 12, 67), (12, 12, 71), (24, 24, 74)),
    ((0, 48, 67),),
)
CELLS = TUNE[:2]


@st.composite
def songs(draw):
    """A meter, chords of one key, and a tune that walks and leaps through their scales."""
    meter, key = draw(st.sampled_from(sorted(BEATS))), draw(st.sampled_from(sorted(CHORDS)))
    length = bar_ticks(meter)
    chords, melody = [], []
    pitch = draw(st.integers(62, 76))
    for _ in range(draw(st.integers(2, 6))):
        chords.append(tuple(draw(st.lists(st.sampled_from(CHORDS[key]), min_size=1, max_size=2))))
        bar, at = [], draw(st.sampled_from((0, 0, 0, 6, 12)))
        while at < length:
            dur = min(draw(st.sampled_from((3, 6, 6, 12, 12, 18, 24, 36))), length - at)
            scale = scale_under(chords[-1][0], key)
            pitch += draw(st.integers(-5, 5))
            pitch = min((p for p in range(55, 85) if p % 12 in scale), key=lambda p: abs(p - pitch))
            if draw(st.integers(0, 7)):
                bar.append((at, dur, pitch))
            at += dur
        melody.append(tuple(bar))
    return Ground(meter, key, tuple(chords)), tuple(melody)


def timed(lines, length):
    return [
        (bar * length + on, bar * length + on + dur, pitch) for bar in sorted(lines) for on, dur, pitch in lines[bar]
    ]


def by_tick(notes, ticks):
    sounding = [0] * ticks
    for start, end, pitch in notes:
        sounding[start:end] = [pitch] * (end - start)
    return sounding


def chord_at(ground, tick):
    """The chord at a tick: of two in a bar the second comes with the first beat of the bar's second half."""
    length = bar_ticks(ground.meter)
    bar, at = divmod(tick, length)
    chords = ground.chords[bar]
    middle = {"3/4": 24, "5/4": 36, "7/8": 24, "9/8": 36}.get(ground.meter, length // 2)
    return chords[len(chords) > 1 and at >= middle]


def rubs(ground, line, tune):
    """Beats on which line and tune stand a semitone apart for an eighth; a major seventh of the chord is none."""
    found = []
    for bar in range(len(ground.chords)):
        for beat in BEATS[ground.meter]:
            start = bar * bar_ticks(ground.meter) + beat
            pairs = list(zip(line[start : start + 6], tune[start : start + 6], strict=True))
            classes = read_chord(chord_at(ground, start)).classes
            if all(
                one and two and (abs(one - two) % 12 == 1
                or (abs(one - two) % 12 == 11 and not {one % 12, two % 12} <= classes))
                for one, two in pairs
            ):  # fmt: skip
                found.append(start)
    return found


def parallels(notes, tune):
    """Where the line goes from note to note as the tune does, a fifth or octave (or two octaves, ...) from it."""
    return [
        after[0]
        for one, after in pairwise(notes)
        if one[1] == after[0] and one[2] != after[2]
        and tune[after[0] - 1] and tune[after[0]] and tune[after[0] - 1] != tune[after[0]]
        and abs(one[2] - tune[after[0] - 1]) % 12 == abs(after[2] - tune[after[0]]) % 12
        and abs(after[2] - tune[after[0]]) % 12 in (0, 7)
    ]  # fmt: skip


def check(ground, melody, lines, bars, low, high, side):
    length = bar_ticks(ground.meter)
    assert list(lines) == list(bars)
    notes = timed(lines, length)
    assert all(0 <= on < length and dur > 0 for bar in lines.values() for on, dur, _ in bar)
    assert all(one[1] <= after[0] for one, after in pairwise(notes))
    assert all(end <= bars.stop * length for _, end, _ in notes)
    assert all(low <= pitch <= high for _, _, pitch in notes)
    assert all(pitch % 12 in scale_under(chord_at(ground, start), ground.key) for start, _, pitch in notes)
    tune = by_tick(timed(dict(enumerate(melody)), length), length * len(melody))
    line = by_tick(notes, length * len(melody))
    assert rubs(ground, line, tune) == []
    assert parallels(notes, tune) == []
    if side:
        assert all(side * (one - two) >= 0 for one, two in zip(line, tune, strict=True) if one and two)


@settings(max_examples=60, deadline=None)
@given(songs(), st.booleans(), st.integers(0, 100), st.integers(0, 3), st.data())
def test_an_answer_keeps_the_rules(song, under, busy, seed, data):
    ground, melody = song
    low = data.draw(st.integers(45, 65))
    high = low + data.draw(st.integers(5, 20))
    first = data.draw(st.integers(0, len(melody) - 1))
    bars = range(first, data.draw(st.integers(first + 1, len(melody))))
    cells = [bar for bar in melody if bar][:2]
    lines, cost = answer_line(ground, melody, bars, cells, low, high, under, busy / 100, seed)
    check(ground, melody, lines, bars, low, high, -1 if under else 0)
    assert isinstance(cost, int)
    if bars.stop == len(melody):
        assert len(lines[bars.stop - 1]) <= 1


@settings(max_examples=25, deadline=None)
@given(songs())
def test_pairs_of_tunes_keep_the_rules(song):
    ground, melody = song
    bars = range(len(melody))
    check(ground, melody, combined_line(ground, melody, melody, 3, bars, 48, 72)[0], bars, 48, 72, 0)
    canon = canon_line(ground, melody, bars, 48, 72)
    if canon:
        check(ground, melody, canon[0], bars, 48, 72, 0)


def score_of(meter, *lines):
    """Two voices and their meter as a score."""
    tracks = []
    for notes in lines:
        starts, ends, pitches = (np.array(column, np.int64) for column in zip(*notes, strict=True))
        tracks.append(Track(starts, ends - starts, pitches, np.full(len(notes), 80), 40, name=f"voice {len(tracks)}"))
    number, _, unit = meter.partition("/")
    return Score(12, tuple(tracks), meters=(MeterChange(0, int(number), int(unit)),))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("busy", [0.2, 0.8])
def test_the_listener_finds_no_fault_in_an_answer(seed, busy):
    lines, _ = answer_line(SONG, TUNE, range(8), CELLS, 50, 69, True, busy, seed)
    hearing = hearing_of(score_of("4/4", timed(dict(enumerate(TUNE)), 48), timed(lines, 48)))
    assert [str(fault) for fault in rub_faults(hearing, None) + parallel_faults(hearing, None)] == []


def test_an_answer_has_a_rhythm_of_its_own_and_breathes():
    for seed in range(6):
        lines, _ = answer_line(SONG, TUNE, range(8), CELLS, 50, 69, True, 0.6, seed)
        rhythms = [tuple((on, dur) for on, dur, _ in lines[bar]) for bar in range(8)]
        assert all(one != after or not one for one, after in pairwise(rhythms))
        assert sum(tuple(on for on, _ in rhythm) == tuple(on for on, _, _ in TUNE[bar])
                   for bar, rhythm in enumerate(rhythms[:-1]) if len(rhythm) > 1) == 0  # fmt: skip
        sung = by_tick(timed(lines, 48), 8 * 48)
        assert any(not any(sung[at : at + 12]) for at in range(0, 3 * 48))
        steps = [abs(two[2] - one[2]) for one, two in pairwise(timed(lines, 48))]
        assert sum(step <= 4 for step in steps) >= 0.75 * len(steps)


def test_the_motif_answers_where_the_tune_stands_still():
    cell = ((0, 6, 60), (6, 6, 62), (12, 12, 64), (24, 24, 60))
    tune = (((0, 12, 76), (12, 12, 79), (24, 12, 77), (36, 12, 76)), ((0, 48, 74),), (), ((0, 48, 72),))
    ground = Ground("4/4", "C", (("C",), ("G",), ("Am",), ("C",)))
    lines, _ = answer_line(ground, tune, range(4), [cell], 55, 72, True, 0.8, 0)
    heads = [
        [dur for _, dur, _ in lines[bar]][:2] == [6, 6] and 0 < abs(lines[bar][1][2] - lines[bar][0][2]) <= 2
        for bar in (1, 2)
    ]
    assert any(heads)


def test_a_suspension_is_held_over_and_falls():
    tune = (((0, 24, 76), (24, 24, 79)), ((0, 24, 77), (24, 24, 74)), ((0, 24, 76), (24, 24, 72)), ((0, 48, 71),))
    ground = Ground("4/4", "C", (("C",), ("G7",), ("C",), ("G",)))
    found = 0
    for seed in range(12):
        lines, _ = answer_line(ground, tune, range(4), (), 55, 72, True, 0.5, seed)
        notes = timed(lines, 48)
        for (start, end, pitch), (after, _, onward) in pairwise(notes):
            if start // 48 < (end - 1) // 48 and pitch % 12 not in read_chord(chord_at(ground, end - 1)).classes:
                assert after == end
                assert 0 < pitch - onward <= 2
                found += 1
    assert found


def test_seeds_differ_and_the_same_seed_does_not():
    lines = [answer_line(SONG, TUNE, range(8), CELLS, 50, 69, True, 0.5, seed) for seed in (1, 1, 2, 3)]
    assert lines[0] == lines[1]
    assert len({str(line) for line, _ in lines}) > 1


def test_a_round_is_heard_as_a_canon_in_which_nothing_is_mended():
    bars = [
        ((0, 12, 72), (12, 12, 74), (24, 12, 76), (36, 12, 72)),
        ((0, 12, 76), (12, 12, 77), (24, 24, 79)),
        ((0, 12, 84), (12, 12, 83), (24, 24, 84)),
        ((0, 24, 79), (24, 24, 76)),
    ]
    ground = Ground("4/4", "C", (("C",),) * 4)
    found = canon_line(ground, bars, range(4), 55, 79)
    assert found is not None
    lines, delay, interval, _ = found
    assert (delay, interval) == (48, -12)
    assert lines[0] == ()
    for bar in (1, 2, 3):
        assert [note[:2] for note in lines[bar]] == [note[:2] for note in bars[bar - 1]]
        assert sum(one[2] == two[2] - 12 for one, two in zip(lines[bar], bars[bar - 1], strict=True)) >= 2


def test_no_canon_where_it_would_clash():
    tune = (((0, 24, 72), (24, 24, 71)), ((0, 24, 66), (24, 24, 73)), ((0, 24, 65), (24, 24, 70)), ((0, 48, 68),))
    ground = Ground("4/4", "C", (("C",), ("F#7",), ("Bb7",), ("E7",)))
    assert canon_line(ground, tune, range(4), 50, 70) is None


def test_a_theme_in_thirds_fits_over_the_first_untouched():
    first = (((0, 24, 76), (24, 24, 79)), ((0, 24, 77), (24, 24, 74)))
    second = (((0, 24, 74), (24, 24, 78)), ((0, 24, 76), (24, 24, 73)))
    ground = Ground("4/4", "C", (("C",), ("Dm",)))
    lines, mended = combined_line(ground, first, second, -2, range(2), 60, 79)
    assert [pitch for bar in lines.values() for _, _, pitch in bar] == [72, 76, 74, 71]
    assert mended == 0
    rubbing, mended = combined_line(ground, first, (((0, 48, 77),), ((0, 48, 77),)), 0, range(2), 60, 79)
    assert mended >= 1
    assert rubbing[0][0][2] % 12 in (0, 4, 7)


@pytest.mark.parametrize(
    ("chord", "key", "scale"),
    [
        ("C", "C", {0, 2, 4, 5, 7, 9, 11}),
        ("E7", "Am", {9, 11, 0, 2, 4, 5, 8}),
        ("Esus4", "Am", {9, 11, 0, 2, 4, 5, 8}),
        ("D7", "C", {0, 2, 4, 6, 7, 9, 11}),
        ("C7", "C", {0, 2, 4, 5, 7, 9, 10}),
        ("Ab", "C", {0, 2, 3, 5, 7, 8, 10}),
        ("Fm6", "C", {0, 2, 3, 5, 7, 8, 10}),
        ("Db", "C", {0, 1, 3, 5, 7, 8, 10}),
        ("Em7", "Em", {4, 6, 7, 9, 11, 0, 2}),
        ("G", "Ddor", {2, 4, 5, 7, 9, 11, 0}),
    ],
)
def test_the_scale_under_a_chord(chord, key, scale):
    assert scale_under(chord, key) == scale


def test_what_cannot_be_read_is_said():
    with pytest.raises(PlanError):
        answer_line(Ground("4/4", "X", (("C",),)), TUNE[:1], range(1), (), 50, 60)
    with pytest.raises(PlanError):
        answer_line(Ground("4/4", "C", (("H",),)), TUNE[:1], range(1), (), 50, 60)
    with pytest.raises(PlanError):
        answer_line(Ground("4", "C", (("C",),)), TUNE[:1], range(1), (), 50, 60)


def test_no_bars_no_line():
    assert answer_line(SONG, TUNE, range(0), CELLS, 50, 60) == ({}, 0)
    assert canon_line(SONG, ((),) * 8, range(2), 50, 60) is None
    assert combined_line(SONG, TUNE, ((),), 0, range(2), 50, 60) == ({0: (), 1: ()}, 0)
