"""The view stays on the canvas, moves slowly, and goes where the composer looked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.film.camera import (
    CLOSEST,
    FASTEST,
    WHOLE,
    Fit,
    Stop,
    attention_point,
    fit_of,
    path_over,
    section_point,
)

share = st.floats(0.0, 1.0)
points = st.one_of(st.none(), st.tuples(share, share))
stops = st.lists(st.tuples(st.floats(0.0, 60.0), points), max_size=8).map(
    lambda found: [Stop(*one) for one in sorted(found, key=lambda one: one[0])]
)
sides = st.integers(20, 5000)
fits = st.builds(fit_of, st.tuples(sides, sides), st.tuples(sides, sides))


@given(stops, st.floats(0.1, 90.0), fits, st.booleans())
def test_every_view_lies_on_the_canvas(found, seconds, fit, outward):
    path = path_over(found, seconds, fit, outward=outward)
    for at in np.linspace(-1, seconds + 1, 60):
        view = path.at(float(at))
        assert CLOSEST - 1e-9 <= view.width <= 1 + 1e-9
        for middle in (view.x, view.y):
            assert view.width / 2 - 1e-9 <= middle <= 1 - view.width / 2 + 1e-9


@given(stops, st.floats(0.1, 90.0), fits, st.booleans())
def test_no_point_of_the_frame_moves_faster_than_it_may(found, seconds, fit, outward):
    path = path_over(found, seconds, fit, outward=outward)
    step = 1 / 30
    for at in np.arange(0, seconds, max(step, seconds / 80)):
        one, other = path.at(float(at)), path.at(float(at) + step)
        for corner in ((-0.5, -0.5), (0.5, 0.5), (0.5, -0.5)):
            # A point of the picture that is in this corner now, and where it is in the frame a moment later.
            x, y = one.x + corner[0] * one.width, one.y + corner[1] * one.width
            moved = np.hypot((x - other.x) / other.width - corner[0], (y - other.y) / other.width - corner[1])
            assert moved <= FASTEST * step * 1.02 + 1e-9


@given(stops, st.floats(0.1, 90.0), fits)
def test_what_lies_beside_a_picture_is_seen_on_both_sides_alike_or_not_at_all(found, seconds, fit):
    path = path_over(found, seconds, fit)
    for at in np.linspace(0, seconds, 20):
        view = path.at(float(at))
        for middle, side in ((view.x, fit.width), (view.y, fit.height)):
            if view.width >= side:
                assert middle == pytest.approx(0.5)
            else:
                assert abs(middle - 0.5) + view.width / 2 <= side / 2 + 1e-9


@given(stops, st.floats(0.1, 90.0), fits)
def test_a_picture_is_seen_whole_when_it_comes(found, seconds, fit):
    assert path_over(found, seconds, fit).at(0.0) == WHOLE


def test_with_time_enough_the_view_reaches_the_point_of_a_section_and_ends_with_the_whole():
    path = path_over([Stop(0, (0.5, 0.5)), Stop(20, (0.9, 0.2)), Stop(40, (0.1, 0.1))], 70, Fit(1, 1))
    there = path.at(40 - 1e-6)
    assert there.x + there.width / 2 == pytest.approx(1)
    assert there.y - there.width / 2 == pytest.approx(0)
    assert path.at(70) == WHOLE


@given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_a_picture_is_never_stretched_and_hardly_cut(picture, canvas):
    fit = fit_of(picture, canvas)
    drawn = fit.width * canvas[0] / (fit.height * canvas[1])
    assert drawn == pytest.approx(picture[0] / picture[1])
    assert max(fit.width, fit.height) <= 1 / 0.95 + 1e-9
    assert max(fit.width, fit.height) >= 1 - 1e-9


def attention(kind, segment, grid, baseline=None):
    grid = np.asarray(grid, dtype=np.float16)
    blank = np.full_like(grid, 1 / grid.size) if baseline is None else np.asarray(baseline, np.float16)
    return {
        "kind": kind,
        "segment": segment,
        "rows": grid.shape[0],
        "cols": grid.shape[1],
        "weights": grid.ravel().tolist(),
        "baseline": blank.ravel().tolist(),
    }


@given(st.integers(0, 6), st.integers(0, 6))
def test_the_point_of_a_map_is_its_one_bright_cell(row, col):
    grid = np.full((7, 7), 0.01)
    grid[row, col] = 0.5
    x, y = attention_point([attention("all", "all", grid)])
    assert (x, y) == pytest.approx(((col + 0.5) / 7, (row + 0.5) / 7), abs=0.02)


def test_what_a_blank_picture_draws_as_well_does_not_count():
    sink = np.full((4, 4), 0.02)
    sink[0, 0] = 0.7
    seen = sink.copy()
    seen[3, 3] = 0.2
    x, y = attention_point([attention("all", "all", seen, sink)])
    assert min(x, y) > 0.7


def test_a_section_is_looked_up_in_the_maps_of_its_bars_and_else_in_its_words():
    left, right = np.full((5, 5), 0.01), np.full((5, 5), 0.01)
    left[2, 0], right[2, 4] = 0.5, 0.5
    maps = [attention("bars", "bars 1-4", left), attention("bars", "bars 5-8", right)]
    section = {"first": 5, "last": 8, "picture_part": "the tree at the lower left"}
    assert section_point(section, maps)[0] > 0.8
    assert section_point(section, []) == (0.2, 0.8)
    assert section_point({**section, "picture_part": "hope"}, []) is None


def test_maps_that_tell_nothing_have_no_point():
    assert attention_point([]) is None
    assert attention_point([attention("all", "all", np.full((3, 3), 0.1))]) is None
