import pytest

from image2music.abc.playback import abc_to_score
from image2music.music.score import count_bars


@pytest.mark.parametrize(
    ("music", "bars"),
    [
        ("M:4/4\nL:1/4\nK:C\nCDEF|CDEF|]", 2),
        ("M:3/4\nL:1/4\nK:C\nCDE|CDE|CDE|]", 3),
        ("M:4/4\nL:1/4\nK:C\nCDEF|[M:3/4]CDE|CDE|]", 3),
    ],
)
def test_bars_are_counted_by_the_meter(music, bars):
    assert count_bars(abc_to_score(f"X:1\nT:T\n{music}\n")) == bars
