from __future__ import annotations

import pytest

from image2music.music.grid import parts_of, pickup_of
from image2music.music.theory import GRID_QUARTER, Meter
from tests.image2music.music.midi_making import Note, score, track

BARS = 12


def waltz(pickup: float) -> tuple[list[Note], list[Note]]:
    """A waltz of long notes on the first beat, chords on the others, after `pickup` quarters of upbeat."""
    tune = [(0.0, pickup, 67)] if pickup else []
    tune += [(pickup + 3 * bar + at, length, 72 - bar % 3) for bar in range(BARS) for at, length in ((0, 2), (2, 1))]
    bass = [(pickup + 3 * bar, 3.0, 48) for bar in range(BARS)]
    return tune, bass


def found(tune: list[Note], bass: list[Note]) -> int:
    return pickup_of(parts_of(score(track(tune), track(bass, channel=1))), Meter.of(3, 4))


@pytest.mark.parametrize("pickup", [0.5, 1.0, 2.0])
def test_an_upbeat_is_found(pickup: float) -> None:
    assert found(*waltz(pickup)) == pickup * GRID_QUARTER


def test_a_tune_that_begins_on_the_beat_has_none() -> None:
    assert found(*waltz(0)) == 0


def test_a_tune_after_a_rest_has_its_pickup_in_its_first_bar() -> None:
    tune, bass = waltz(1.0)
    late = [[(onset + 2, length, pitch) for onset, length, pitch in part] for part in (tune, bass)]
    assert found(*late) == 0


def test_even_notes_show_nothing() -> None:
    even = [(float(at), 1.0, 60 + at % 5) for at in range(40)]
    assert found(even, [(40.0, 1.0, 48)]) == 0
