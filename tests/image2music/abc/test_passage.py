from __future__ import annotations

from image2music.abc.writer.excerpt import choose_passage
from image2music.music.grid import bars_of, parts_of
from image2music.music.theory import GRID_QUARTER
from tests.image2music.music.midi_making import Note, score, track


def bar_of_notes(bar: int, pitches: tuple[int, ...]) -> list[Note]:
    return [(4.0 * bar + at, 1.0, pitch) for at, pitch in enumerate(pitches)]


def chosen(notes: list[Note], bars: int, length: int) -> tuple[int, int]:
    piece = score(track(notes))
    return choose_passage(parts_of(piece), bars_of(piece, 4 * bars * GRID_QUARTER), length)


def test_the_refrain_is_chosen_over_verse_and_bridge() -> None:
    refrain, verse, bridge = (60, 64, 67, 72), (62, 65, 69, 60), (61, 66, 68, 70)
    plan = [verse] * 4 + [refrain] * 8 + [bridge] * 4 + [refrain] * 8
    notes = [note for bar, pitches in enumerate(plan) for note in bar_of_notes(bar, pitches)]
    start, stop = chosen(notes, len(plan), 8)
    assert plan[start:stop] == [refrain] * 8


def test_an_even_piece_is_taken_from_its_first_note() -> None:
    notes = [note for bar in range(3, 30) for note in bar_of_notes(bar, (60, 64, 67, 64))]
    assert chosen(notes, 30, 8) == (3, 11)


def test_a_short_piece_is_taken_whole_but_for_the_silence() -> None:
    notes = [note for bar in (2, 3) for note in bar_of_notes(bar, (60, 64, 67, 64))]
    assert chosen(notes, 8, 16) == (2, 4)


def test_a_passage_of_drums_alone_can_be_chosen() -> None:
    piece = score(track(bar_of_notes(1, (36, 42, 38, 42)), channel=9))
    assert choose_passage(parts_of(piece), bars_of(piece, 8 * GRID_QUARTER), 4) == (1, 2)
