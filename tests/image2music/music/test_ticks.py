"""numpy's set functions are the oracle."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from image2music.music.grid import among, distinct

TICKS = st.lists(st.integers(-20, 20), max_size=30).map(lambda ticks: np.array(ticks, dtype=np.int64))


@given(TICKS)
def test_each_tick_once_in_order(ticks: np.ndarray) -> None:
    assert distinct(ticks).tolist() == np.unique(ticks).tolist()


@given(TICKS, TICKS)
def test_which_ticks_are_known(ticks: np.ndarray, known: np.ndarray) -> None:
    assert among(ticks, np.sort(known)).tolist() == np.isin(ticks, known).tolist()
