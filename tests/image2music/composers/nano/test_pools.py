"""What the pools hold: chords that can be read, endings that are what their role says, rhythms that fill their bars."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.composers.nano.mining.figures import tokens_of
from image2music.composers.nano.mining.harmony import HeardChord, explain_chords, interest, roles_of, spelled
from image2music.composers.nano.mining.melodies import MinedLine, kinds_of, run_hashes, scale_steps
from image2music.composers.nano.pools import (
    CHARACTERS,
    HARMONIC_ROLES,
    POOL_METERS,
    TABLES,
    cadence_rhythms,
    contour_bars,
    contour_pairs,
    hashes_of_runs,
    longest_training_run,
    progressions,
    rhythm_pairs,
    surprise_table,
    training_runs,
)
from image2music.composers.nano.sketch import bar_ticks
from image2music.music.theory import Chord, read_chord

EVERY = [(mode, role, n) for mode in ("major", "minor") for role in HARMONIC_ROLES for n in (2, 3, 4, 5, 6)]
C, G = 0, 7


def chords(bars: tuple[str, ...]) -> list[list[Chord]]:
    return [[read_chord(symbol) for symbol in bar.split()] for bar in bars]


@pytest.mark.parametrize(("mode", "role", "n"), EVERY)
def test_progressions_have_their_length_and_chords_that_can_be_read(mode, role, n):
    found = progressions(mode, role, n)
    assert found or (role == "intro" and n > 4)
    assert len({one.bars for one in found}) == len(found)
    for one in found:
        assert len(one.bars) == n and one.weight > 0 and one.source
        assert all(1 <= len(bar) <= 2 for bar in chords(one.bars)), one


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_progressions_of_four_bars_are_many(mode):
    counts = {role: len(progressions(mode, role, 4)) for role in HARMONIC_ROLES}
    assert {role for role, count in counts.items() if count < 60} <= {"intro", "coda", "climax"}
    assert min(counts.values()) >= 9


@pytest.mark.parametrize("mode", ["major", "minor", "dorian", "mixolydian"])
@pytest.mark.parametrize("style", ["classic", "jazz"])
@pytest.mark.parametrize("n", [2, 4])
def test_progressions_end_as_their_role_says(mode, style, n):
    modal = mode in ("dorian", "mixolydian")
    for one in progressions(mode, "close", n, style):
        last, before = chords(one.bars)[-1], chords(one.bars)[-2][-1]
        assert [(chord.root, chord.bass) for chord in last] == [(C, C)], one
        assert modal or before.root in (G, 1), one
    for role in ("open", "retransition"):
        for one in progressions(mode, role, n, style):
            assert chords(one.bars)[-1][-1].root in ((G, 10) if modal else (G,)), one
    for one in progressions(mode, "coda", n, style)[:40]:
        assert chords(one.bars)[-1][-1].root == C, one
    for one in progressions(mode, "deceptive", n, style):
        assert chords(one.bars)[-1][-1].root != C, one


def test_heavier_progressions_come_first_and_hand_written_ones_say_so():
    found = progressions("major", "close", 4)
    assert [one.weight for one in found] == sorted((one.weight for one in found), reverse=True)
    assert any(one.source == "hand" for one in found)
    assert any(one.source.startswith("songs") for one in found)


@pytest.mark.parametrize("meter", POOL_METERS)
def test_rhythms_stay_in_their_bars_and_notes_follow_each_other(meter):
    length = bar_ticks(meter)
    bars = [bar for pair in rhythm_pairs(meter) for bar in pair.bars]
    bars += [ending.bar for closing in (True, False) for ending in cadence_rhythms(meter, closing)]
    bars += [bar for one in (*contour_pairs(meter), *contour_bars(meter)) for bar in one.bars]
    assert len(rhythm_pairs(meter)) >= 150 and cadence_rhythms(meter, True) and cadence_rhythms(meter, False)
    for bar in bars:
        assert bar
        ends = [at + duration for at, duration in bar]
        assert all(end <= at for end, (at, _) in zip(ends, bar[1:], strict=False))
        assert bar[0][0] >= 0 and ends[-1] <= length and all(duration > 0 for _, duration in bar)


def test_rhythms_know_their_kinds_and_suit_characters():
    pairs = rhythm_pairs("4/4")
    kinds = frozenset.union(*(pair.kinds for pair in pairs))
    assert kinds >= {"syncopation", "dotted", "upbeat-rest", "long-end", "even", "triplet"}
    assert all(len(pair.characters) == len(CHARACTERS) and min(pair.characters) > 0 for pair in pairs)

    def notes(character):
        return sum(p.density * p.weight_in(character) for p in pairs) / sum(p.weight_in(character) for p in pairs)

    assert notes("calm") < notes("playful")


def test_kinds_of_a_pair():
    even = ((0, 12), (12, 12), (24, 12), (36, 12))
    assert kinds_of(even, even, "4/4") == ["even"]
    assert kinds_of(((12, 18), (30, 6)), ((0, 48),), "4/4") == ["dotted", "long-end", "upbeat-rest"]
    assert "syncopation" in kinds_of(((0, 6), (6, 12), (18, 30)), even, "4/4")
    assert "syncopation" in kinds_of(((0, 12), (12, 24), (36, 12)), even, "4/4")
    assert "triplet" in kinds_of(((0, 4), (4, 4), (8, 4), (12, 36)), even, "4/4")
    assert "syncopation" not in kinds_of(((0, 18), (18, 12), (30, 6)), ((0, 36),), "6/8")


def test_contours_begin_on_their_first_note_and_have_a_step_a_note():
    for one in (*contour_pairs("4/4"), *contour_bars("6/8")):
        assert one.steps[0] == 0 and len(one.steps) == sum(map(len, one.bars)) and len(set(one.steps)) > 1
    assert {len(one.bars) for one in contour_pairs("3/4")} == {2}
    assert scale_steps((60, 62, 66, 67), (0, 2, 4, 5, 7, 9, 11)) == (35, 36, 38, 39)


def test_surprise_is_least_for_steps_and_most_for_wild_leaps():
    table = surprise_table()
    assert table.shape == (2, 12, 27, 27) and table.dtype == np.float32
    assert (np.exp2(-table).sum(axis=3) > 0.8).all() and (np.exp2(-table).sum(axis=3) < 1.25).all()
    after_a_step_up = table[0, 2, 13 + 2]
    assert after_a_step_up[13 + 2] < 3 < after_a_step_up[13 - 11]


PITCH_LINES = st.lists(st.integers(55, 79), min_size=17, max_size=60)


@given(PITCH_LINES, st.integers(-5, 5))
def test_hashes_of_runs_hear_intervals_alone(pitches, shift):
    once, moved = hashes_of_runs(pitches), hashes_of_runs([pitch + shift for pitch in pitches])
    assert len(once) == len(pitches) - 15
    assert (once == moved).all()


@given(PITCH_LINES, st.integers(0, 30))
def test_every_shared_run_of_more_than_sixteen_notes_is_found(pitches, start):
    with pytest.MonkeyPatch.context() as patch:
        line = MinedLine.__new__(MinedLine)
        object.__setattr__(line, "notes", tuple((12 * n, 12, pitch) for n, pitch in enumerate(pitches)))
        patch.setattr("image2music.composers.nano.pools.training_runs", lambda: run_hashes([line]))
        piece = [pitch + 3 for pitch in pitches[start:]]
        found = longest_training_run([40, *piece, 90])
        intervals = {b - a for a, b in pairwise(piece)}
        if len(piece) < 16:
            assert found == 0
        elif len(piece) >= 17 and len(intervals) > 8:
            assert found >= len(piece) - 1


def test_training_runs_are_sorted_and_a_drone_is_nobodys():
    runs = training_runs()
    assert runs.dtype == np.uint64 and len(runs) > 300_000 and (runs[1:] > runs[:-1]).all()
    assert longest_training_run([60] * 40) == 0 and longest_training_run(range(30, 90)) == 0
    assert longest_training_run([60, 64]) == 0


def test_a_random_line_is_nobodys_tune():
    dice = np.random.Generator(np.random.Philox(7))
    lines = 60 + np.cumsum(dice.integers(-5, 6, (200, 80)), axis=1)
    assert sum(longest_training_run(line.tolist()) > 0 for line in lines) <= 2


def test_tables_are_small():
    assert sum(path.stat().st_size for path in TABLES.iterdir()) < 4 << 20


# how they are mined


def weights_of(*pitches: int) -> np.ndarray:
    return np.bincount(np.array(pitches) % 12, minlength=12).astype(float)


def test_a_chord_must_explain_what_sounds():
    rows = np.array([weights_of(60, 64, 67, 72), weights_of(55, 59, 62, 65), weights_of(60, 62, 65, 71)])
    found = [chord for chord, _ in explain_chords(rows, [0, 7, 0])]
    assert found == [HeardChord(0, "", 0), HeardChord(7, "7", 7), None]
    assert explain_chords(weights_of(60, 64, 67)[None], [4])[0][0] == HeardChord(0, "", 4)
    assert explain_chords(weights_of(60, 67, 72)[None], [0])[0][0] is None, "no third"


def bars_in(key: int, text: str) -> list[tuple[HeardChord, ...]]:
    def heard(symbol):
        chord = read_chord(symbol)
        quality = symbol.partition("/")[0].lstrip("ABCDEFG#b") if symbol[1:2] != "b" else symbol.partition("/")[0][2:]
        return HeardChord((chord.root + key) % 12, quality, (chord.bass + key) % 12)

    return [tuple(heard(symbol) for symbol in bar.split()) for bar in text.split("|")]


@pytest.mark.parametrize(
    ("text", "role", "minor"),
    [
        ("C|F|G7|C", "close", False), ("Cm|Ab|G7|Cm", "close", True), ("C|Am|Dm|G", "open", False),
        ("Cm|Fm|Ab|G", "open", True), ("C|F|G7|Am", "deceptive", False), ("Cm|Fm|G|Ab", "deceptive", True),
        ("Am|Dm|G7|C", "sequence", False), ("C|F|G7/B|C", "imperfect", False), ("F|Dm|G|G7", "retransition", False),
        ("C|Am|F|Dm", "middle", False), ("C|Fm|C|Ab", "climax", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", [0, 5, 9])
def test_roles_follow_from_the_chords_in_any_key(text, role, minor, key):
    window = bars_in(key, text)
    found = [(one, is_minor, tonic) for one, is_minor, tonic in roles_of(window, (key, minor))]
    assert (role, minor, key) in found
    assert "|".join(" ".join(spelled(chord, key) for chord in bar) for bar in window) == text


def test_one_chord_all_through_is_no_progression():
    assert list(roles_of(bars_in(0, "C|C|C|C"), (0, False))) == []
    assert interest(["C", "F", "G7", "C"], "close") == 1
    assert interest(["C", "C", "G7", "C"], "close") < 1
    assert interest(["F/C", "Dm", "G7", "C"], "close") < 1


def test_a_hand_becomes_tokens_of_a_figure():
    c_major = HeardChord(0, "", 0)
    alberti = [(n * 6, 6, pitch) for n, pitch in enumerate([48, 55, 52, 55] * 2)]
    assert tokens_of(alberti, c_major, 48) == (6, "0 2 1 2 0 2 1 2")
    waltz = [(0, 12, 36), *((at, 12, pitch) for at in (12, 24) for pitch in (52, 55, 60))]
    assert tokens_of(waltz, c_major, 36) == (6, "0 - (123) - (123) -")
    sigh = [(0, 6, 48), (6, 6, 52), (12, 6, 53), (18, 6, 52), (24, 24, 55)]
    assert tokens_of(sigh, c_major, 48) == (6, "0 1 ^1 1 2 - - -")
    assert tokens_of([(0, 24, 48), (24, 24, 55)], c_major, 48) is None, "two tones are no figure"
