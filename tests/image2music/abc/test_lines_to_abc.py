"""Lines as ABC: what is written plays what stands in the lines."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.checker import check
from image2music.abc.playback import abc_to_score
from image2music.abc.writer.parts import lines_to_abc
from image2music.errors import AbcError
from image2music.music.lines import Bar, Line, LineEvent, bars_of_notes, bars_of_score
from image2music.music.score import MeterChange, Score, Track

METERS = {"4/4": 4, "3/4": 3, "6/8": 3, "7/8": 3.5, "2/2": 4, "5/4": 5}
TICKS = 480


def played(lines: list[Line]) -> list[set[tuple[int, int, int]]]:
    """(onset, duration, pitch) in ticks of every voice, ties joined: read from the lines, without ABC."""
    voices = []
    for line in lines:
        notes: list[list[int]] = []
        at, tied = Fraction(0), False
        for bar in line.bars:
            for event in bar:
                start, at = at, at + event.length
                if tied:
                    for note in notes[-len(event.pitches) :]:
                        note[1] = round(at * TICKS) - note[0]
                else:
                    notes += [
                        [round(start * TICKS), round(at * TICKS) - round(start * TICKS), p] for p in event.pitches
                    ]
                tied = event.tied
        voices.append({(on, dur, pitch) for on, dur, pitch in notes})
    return voices


def notes_of(score: Score) -> list[set[tuple[int, int, int]]]:
    return [
        set(zip(track.onsets.tolist(), track.durations.tolist(), track.pitches.tolist(), strict=True))
        for track in score.tracks
    ]


@st.composite
def tunes(draw: st.DrawFn) -> tuple[str, list[Line]]:
    meter = draw(st.sampled_from(sorted(METERS)))
    quarter, bars = 5040, 3
    lines = []
    for voice in (1, 2):
        at, notes = 0, []
        while at < bars * METERS[meter] * quarter:
            beat = draw(
                st.sampled_from(
                    ((1,), (2,), (1, 1), (1, 2), (1, 1, 1), (2, 1), (1, 1, 1, 1), (1, 1, 1, 1, 1), (3, 1), (6,))
                )
            )
            length = quarter * draw(st.sampled_from((1, 2))) if len(beat) > 1 else quarter
            unit = length // sum(beat) if len(beat) > 1 else quarter // 2
            for part in beat:
                lowest, size = draw(st.integers(48, 72)), draw(st.integers(0, 3))
                if size:
                    notes.append((at, part * unit, tuple(lowest + 4 * n for n in range(size)), ()))
                at += part * unit
        notes = [note for note in notes if note[0] < bars * METERS[meter] * quarter] or [(0, quarter, (60,), ())]
        made = bars_of_notes(notes, quarter, int(METERS[meter] * quarter), bars)
        lines.append(Line(voice, f"V{voice}", 0, made))
    return meter, lines


@settings(max_examples=80, deadline=None)
@given(tunes(), st.sampled_from(("C", "F#m", "Eb", "Ddor")))
def test_what_is_written_is_what_plays(tune, key):
    meter, lines = tune
    abc = lines_to_abc("Round trip", key, meter, lines)
    assert check(abc) == []
    expected = [voice for voice in played(lines) if voice]
    heard = [voice for voice in notes_of(abc_to_score(abc)) if voice]
    assert len(heard) == len(expected)
    for one, other in zip(expected, heard, strict=True):
        assert len(one) == len(other)
        assert all(
            a[2] == b[2] and abs(a[0] - b[0]) <= 1 and abs(a[1] - b[1]) <= 1
            for a, b in zip(sorted(one), sorted(other), strict=True)
        )


@settings(max_examples=60, deadline=None)
@given(tunes())
def test_a_played_voice_comes_back_as_the_bars_it_was_written_in(tune):
    meter, lines = tune
    score = abc_to_score(lines_to_abc("", "C", meter, lines))
    sounding = [voice for voice in played(lines) if voice]
    for number, voice in enumerate(sounding):
        bars = bars_of_score(score, number, meter, 3)
        assert {sum(event.length for event in bar) for bar in bars} == {Fraction(METERS[meter])}
        back = played([Line(1, "", 0, bars)])[0]
        assert {(on // 4, pitch) for on, _, pitch in back} == {(on // 4, pitch) for on, _, pitch in voice}


def bar(*events: LineEvent) -> Bar:
    return events


def note(pitch: int, length: Fraction | int = 1, **more: object) -> LineEvent:
    return LineEvent((pitch,), Fraction(length), **more)


def music(abc: str) -> list[str]:
    return [line for line in abc.splitlines() if line.startswith("[V:")]


def test_a_whole_tune():
    first = bar(note(74, 2, marks=("mf", "crescendo(")), note(76, 2, marks=("crescendo)",), slur_starts=1))
    flute_bars = (first, bar(note(72, 4, slur_ends=1, tied=True)), bar(note(72, 4)), bar(LineEvent((), Fraction(4))))
    flute = Line(1, 'The "Flute"', 73, (*flute_bars, bar(note(74, 4))), qpm_at=((1, 80.0), (3, 60.0)))
    harp = Line(5, "Harp", 46, (bar(LineEvent((48, 52, 55), Fraction(4))),) * 5, derived=True)
    sections = [("A", 1, 2), ("B", 3, 5)]
    abc = lines_to_abc("A % title", "D", "4/4", [flute, harp], sections=sections, remarks=["by hand"])
    assert abc.splitlines() == [
        "X:1",
        "T:A title",
        "N:by hand",
        "N:derived by rule: voices 2 (Harp)",
        "M:4/4",
        "L:1/8",
        "Q:1/4=80",
        "K:D",
        'V:1 clef=treble name="The Flute"',
        "%%MIDI program 73",
        'V:2 clef=bass name="Harp"',
        "%%MIDI program 46",
        "% A, bars 1-2",
        "[V:1] !mf!!crescendo(!d4 (!crescendo)!e4 | =c8-) |",
        "[V:2] [=C,E,G,]8 | [=C,E,G,]8 |",
        "% B, bars 3-5",
        "[V:1] [Q:1/4=60]=c8 | z8 | d8 |]",
        "[V:2] [=C,E,G,]8 | [=C,E,G,]8 | [=C,E,G,]8 |]",
    ]
    assert check(abc) == []


def test_marks_stand_in_order_what_ends_first():
    event = note(72, 4, marks=("staccato", "accent", "crescendo(", "p", "diminuendo)"))
    assert "!diminuendo)!!p!!crescendo(!!accent!.c8" in lines_to_abc("", "C", "4/4", [Line(1, "", 0, (bar(event),))])


def test_lengths_that_no_note_has_are_tied():
    line = Line(1, "", 0, (bar(note(72, Fraction(5, 2)), note(74, Fraction(3, 2))),))
    assert music(lines_to_abc("", "C", "4/4", [line])) == ["[V:1] c4-cd3 |]"]


def test_triplets_quarter_triplets_and_quintuplets():
    third, fifth = Fraction(1, 3), Fraction(1, 5)
    line = Line(1, "", 0, (
        bar(note(72, third, tuplet=3), note(74, third), note(76, third), note(72, 3)),
        bar(note(72, 2 * third, tuplet=2), note(74, third), note(76, 3)),
        bar(*[note(72, fifth, tuplet=5 if n == 0 else 0) for n in range(5)], note(74, 3)),
    ))  # fmt: skip
    abc = lines_to_abc("", "C", "4/4", [line])
    assert music(abc) == ["[V:1] (3cde c6 | (3:2:2c2d e6 | (5:4:5c/c/c/c/c/ d6 |]"]
    assert check(abc) == []


def test_changes_of_tempo_stand_in_the_first_voice_only():
    bars = (bar(note(72, 4)),) * 2
    lines = [Line(1, "", 0, bars), Line(2, "", 0, bars, qpm_at=((1, 100.0), (2, 90.0)))]
    abc = lines_to_abc("", "C", "4/4", lines)
    assert "Q:1/4=100" in abc and abc.count("[Q:") == 1
    assert music(abc)[0].endswith("| [Q:1/4=90]c8 |]")


@pytest.mark.parametrize(("key", "meter", "lines"), [
    ("H", "4/4", [Line(1, "", 0, (bar(note(72, 4)),))]),
    ("C", "free", [Line(1, "", 0, (bar(note(72, 4)),))]),
    ("C", "4/4", []),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(key, meter, lines):
    with pytest.raises(AbcError):
        lines_to_abc("", key, meter, lines)


def test_played_times_are_taken_as_the_simplest_near_them():
    onsets = np.array([0, 160, 321, 480, 1200])
    durations = np.array([159, 160, 158, 700, 719])
    track = Track(onsets, durations, np.array([60, 62, 64, 65, 67]), np.full(5, 90))
    bars = bars_of_score(Score(480, (track,), meters=(MeterChange(0, 4, 4),)), 0, "4/4", 1)
    third = Fraction(1, 3)
    assert [event.length for event in bars[0]] == [third, third, third, Fraction(3, 2), Fraction(3, 2)]
    assert bars[0][0].tuplet == 3


def test_notes_over_bar_lines_are_tied_and_gaps_are_rests():
    made = bars_of_notes([(480, 2 * 480, (60,), ("f",))], 480, 960, 2)
    assert [(e.pitches, e.length, e.tied, e.marks) for e in made[0]] == [((), 1, False, ()), ((60,), 1, True, ("f",))]
    assert [(e.pitches, e.length, e.tied, e.marks) for e in made[1]] == [((60,), 1, False, ()), ((), 1, False, ())]
