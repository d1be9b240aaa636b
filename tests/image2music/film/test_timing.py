"""Pictures change on bar lines: bars in seconds, and the frames of shots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.expression import perform_abc
from image2music.abc.playback import abc_to_midi
from image2music.film.timing import bars_in_time, shots

WALTZ = "X:1\nT:Waltz\nM:3/4\nL:1/4\nQ:1/4=60\nK:C\nCDE|FGA|BAG|C3|]\n"
JIG = "X:1\nT:Jig\nM:6/8\nL:1/8\nQ:3/8=60\nK:C\nCDE FGA|BAG FED|C6|]\n"


def test_bar_lines_follow_the_meter_and_the_tempo():
    bars = bars_in_time(WALTZ, abc_to_midi(WALTZ))
    assert bars.numbers == (1, 2, 3, 4)
    assert bars.seconds == pytest.approx([0, 3, 6, 9])
    assert bars.beats == pytest.approx([0, 1, 1, 1])


def test_an_upbeat_in_compound_time_is_three_eighths():
    bars = bars_in_time(JIG, abc_to_midi(JIG))
    assert bars.seconds == pytest.approx([0, 2, 4], abs=1e-4)
    assert bars.beats == pytest.approx([0, 1, 1], abs=1e-4)


def test_a_change_of_tempo_moves_the_bar_lines_behind_it():
    abc = WALTZ.replace("BAG", "[Q:1/4=30]BAG")
    assert bars_in_time(abc, abc_to_midi(abc)).seconds == pytest.approx([0, 3, 6, 12])


def test_bars_of_a_repeat_come_twice_and_a_bar_is_found_where_it_is_played_first():
    abc = WALTZ.replace("K:C\n", "K:C\n|:").replace("FGA|", "FGA:|")
    bars = bars_in_time(abc, abc_to_midi(abc))
    assert bars.numbers == (1, 2, 1, 2, 3, 4)
    assert [bars.place_of(number) for number in (1, 2, 3, 4, 99)] == [0, 1, 4, 5, 5]


def test_a_performance_slows_down_but_keeps_the_bars():
    bars = bars_in_time(WALTZ * 1, perform_abc(WALTZ))
    assert len(bars.seconds) == 4
    assert list(bars.seconds) == sorted(bars.seconds)


seconds = st.floats(0.0, 60.0)
parts = st.lists(st.tuples(seconds, st.floats(0.0, 3.0)), min_size=1, max_size=12).map(sorted)


@given(parts, st.floats(0.1, 60.0), st.sampled_from([25, 30]))
def test_shots_follow_each_other_without_a_gap_and_last_as_long_as_the_film(found, length, fps):
    made = shots([start for start, _ in found], [upbeat for _, upbeat in found], length, fps)
    assert len(made) == len(found)
    assert made[0].first == 0
    assert made[-1].last == round(length * fps)
    assert [shot.last for shot in made[:-1]] == [shot.first for shot in made[1:]]


@given(parts, st.floats(0.1, 60.0), st.sampled_from([25, 30]))
def test_every_part_begins_within_half_a_frame_of_its_bar_line(found, length, fps):
    made = shots([start for start, _ in found], [upbeat for _, upbeat in found], length, fps)
    for (start, _), shot in zip(found[1:], made[1:], strict=True):
        if start <= length:
            assert abs(shot.first - start * fps) <= 0.5 + 1e-6


@given(parts, st.floats(0.1, 60.0))
def test_a_fade_rises_to_the_bar_line_and_ends_there(found, length):
    made = shots([start for start, _ in found], [upbeat for _, upbeat in found], length, 30)
    assert made[-1].fade == 0
    for shot in made:
        shares = [shot.share_of_next(frame) for frame in range(shot.first, shot.last)]
        assert shares == sorted(shares)
        assert sum(share > 0 for share in shares) == shot.fade <= shot.frames / 2
        assert all(share < 1 for share in shares)
        if shot.frames:
            assert shot.share_of_next(shot.last) == 1.0
