from __future__ import annotations

import pytest

from image2music.errors import MidiError
from image2music.music.grid import Bars, bars_after_pickup, bars_of, beats_of, windows_of
from image2music.music.theory import GRID_QUARTER, Meter
from tests.image2music.music.midi_making import scale, score, track

TUNE = track(scale(n=16))


def meters(bars: Bars) -> str:
    return " ".join(map(str, bars.meters))


def test_a_score_without_meter_is_in_four_four() -> None:
    bars = bars_of(score(TUNE), 16 * GRID_QUARTER)
    assert bars.lines.tolist() == [0, 192, 384, 576, 768]
    assert meters(bars) == "4/4 4/4 4/4 4/4"


def test_bars_follow_the_meter_changes() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 3, 4), (6, 6, 8)]), 12 * GRID_QUARTER)
    assert meters(bars) == "3/4 3/4 6/8 6/8"


def test_a_bar_cut_short_says_how_long_it_is() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 4, 4), (5.5, 3, 4)]), 8 * GRID_QUARTER)
    assert meters(bars) == "4/4 3/8 3/4"


def test_a_bar_cut_short_may_hold_an_odd_number_of_thirty_seconds() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 11, 32), (2, 4, 4)]), 6 * GRID_QUARTER)
    assert meters(bars) == "11/32 5/32 4/4"


def test_a_short_first_bar_is_a_pickup_in_the_meter_that_follows() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 4, 4), (1, 4, 4)]), 9 * GRID_QUARTER)
    assert bars.lines.tolist() == [0, 48, 240, 432]
    assert meters(bars) == "4/4 4/4 4/4"


def test_a_change_a_hair_off_the_bar_line_is_on_it() -> None:
    assert meters(bars_of(score(TUNE, meters=[(0, 4, 4), (4.01, 3, 4)]), 7 * GRID_QUARTER)) == "4/4 3/4"


@pytest.mark.parametrize("meter", [(0, 4), (4, 0), (255, 1), (3, 64)])
def test_a_meter_that_cannot_be_written_is_passed_over(meter: tuple[int, int]) -> None:
    assert meters(bars_of(score(TUNE, meters=[(0, *meter)]), 8 * GRID_QUARTER)) == "4/4 4/4"


def test_the_last_bar_completes_the_pickup() -> None:
    bars = bars_after_pickup(GRID_QUARTER, Meter.of(3, 4), 8 * GRID_QUARTER)
    assert bars.lines.tolist() == [0, 48, 192, 336, 432]


def test_too_many_bars_are_refused() -> None:
    with pytest.raises(MidiError) as caught:
        bars_of(score(TUNE, meters=[(0, 1, 32)]), 50_000 * GRID_QUARTER)
    assert caught.value.reason == "too_large"


def test_compound_meters_beat_in_threes_and_are_quantised_by_eighths() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 6, 8)]), 3 * GRID_QUARTER)
    assert beats_of(bars).tolist() == [0, 72, 144]
    assert windows_of(bars).tolist() == list(range(0, 145, 24))
