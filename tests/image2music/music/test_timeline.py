from __future__ import annotations

import pytest

from image2music.errors import MidiError
from image2music.music.grid import QUARTER, bars_after_pickup, bars_of, beats_of, windows_of
from tests.image2music.music.midi_making import scale, score, track

TUNE = track(scale(n=16))


def test_a_score_without_meter_is_in_four_four() -> None:
    bars = bars_of(score(TUNE), 16 * QUARTER)
    assert bars.lines.tolist() == [0, 192, 384, 576, 768]
    assert set(bars.meters) == {(4, 4)}


def test_bars_follow_the_meter_changes() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 3, 4), (6, 6, 8)]), 12 * QUARTER)
    assert bars.meters == ((3, 4), (3, 4), (6, 8), (6, 8))


def test_a_bar_cut_short_says_how_long_it_is() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 4, 4), (5.5, 3, 4)]), 8 * QUARTER)
    assert bars.meters == ((4, 4), (3, 8), (3, 4))


def test_a_bar_cut_short_may_hold_an_odd_number_of_thirty_seconds() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 11, 32), (2, 4, 4)]), 6 * QUARTER)
    assert bars.meters == ((11, 32), (5, 32), (4, 4))


def test_a_short_first_bar_is_a_pickup_in_the_meter_that_follows() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 4, 4), (1, 4, 4)]), 9 * QUARTER)
    assert bars.lines.tolist() == [0, 48, 240, 432]
    assert set(bars.meters) == {(4, 4)}


def test_a_change_a_hair_off_the_bar_line_is_on_it() -> None:
    assert bars_of(score(TUNE, meters=[(0, 4, 4), (4.01, 3, 4)]), 7 * QUARTER).meters == ((4, 4), (3, 4))


@pytest.mark.parametrize("meter", [(0, 4), (4, 0), (255, 1), (3, 64)])
def test_a_meter_that_cannot_be_written_is_passed_over(meter: tuple[int, int]) -> None:
    assert set(bars_of(score(TUNE, meters=[(0, *meter)]), 8 * QUARTER).meters) == {(4, 4)}


def test_the_last_bar_completes_the_pickup() -> None:
    bars = bars_after_pickup(QUARTER, (3, 4), 8 * QUARTER)
    assert bars.lines.tolist() == [0, 48, 192, 336, 432]


def test_too_many_bars_are_refused() -> None:
    with pytest.raises(MidiError) as caught:
        bars_of(score(TUNE, meters=[(0, 1, 32)]), 50_000 * QUARTER)
    assert caught.value.reason == "too_large"


def test_compound_meters_beat_in_threes_and_are_quantised_by_eighths() -> None:
    bars = bars_of(score(TUNE, meters=[(0, 6, 8)]), 3 * QUARTER)
    assert beats_of(bars).tolist() == [0, 72, 144]
    assert windows_of(bars).tolist() == list(range(0, 145, 24))
