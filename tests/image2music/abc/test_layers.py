from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.writer.layout import QuantisedNotes, layers_of


def written(*notes: tuple[int, int, int]) -> QuantisedNotes:
    starts, ends, pitches = np.array(sorted(notes), dtype=np.int64).T
    return QuantisedNotes(starts, ends, pitches)


def test_notes_that_begin_and_end_together_are_one_chord() -> None:
    (layer,) = layers_of(written((0, 48, 60), (0, 48, 64), (48, 96, 62)), most=4)
    assert layer.chords == [(60, 64), (62,)]


def test_a_melody_over_a_held_note_is_a_layer_of_its_own() -> None:
    held, melody = layers_of(written((0, 96, 48), (12, 48, 72), (48, 96, 74)), most=2)
    assert (held.chords, melody.chords) == ([(48,)], [(72,), (74,)])


def test_where_there_is_no_room_the_chord_that_ends_first_is_cut() -> None:
    (layer,) = layers_of(written((0, 96, 48), (48, 144, 50)), most=1)
    assert layer.ends.tolist() == [48, 144]


def test_a_chord_too_short_to_be_spread_is_divided() -> None:
    layers = layers_of(written(*((0, 3, pitch) for pitch in (36, 38, 42, 46))), most=3)
    assert [layer.chords for layer in layers] == [[(36, 38, 42)], [(46,)]]


notes = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 30), st.integers(40, 60)),
    min_size=1,
    max_size=40,
    unique_by=lambda n: (n[0], n[2]),
)


@given(notes, st.integers(1, 4))
def test_no_note_is_lost_and_no_layer_overlaps_itself(played: list[tuple[int, int, int]], most: int) -> None:
    layers = layers_of(written(*((6 * start, 6 * (start + length), pitch) for start, length, pitch in played)), most)
    assert len(layers) <= most
    for layer in layers:
        assert (layer.starts[1:] >= layer.ends[:-1]).all()
        assert (layer.ends > layer.starts).all()
    placed = {
        (int(s), p) for layer in layers for s, chord in zip(layer.starts, layer.chords, strict=True) for p in chord
    }
    assert placed == {(6 * start, pitch) for start, _, pitch in played}
