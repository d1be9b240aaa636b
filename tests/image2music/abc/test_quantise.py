from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.writer.layout import FAITHFUL, PLAIN, QuantiseConfig, QuantisedNotes, quantise
from image2music.music.theory import GRID_QUARTER

WINDOWS = np.arange(0, 9 * GRID_QUARTER, GRID_QUARTER)


def quantised(notes: list[tuple[float, float, int]], config: QuantiseConfig = FAITHFUL) -> QuantisedNotes:
    onsets, lengths, pitches = np.array(sorted(notes)).T
    return quantise(onsets * GRID_QUARTER, lengths * GRID_QUARTER, pitches.astype(np.int64), WINDOWS, config)


def test_played_sixteenths_fall_on_sixteenths() -> None:
    played = [(0.02, 0.24, 60), (0.27, 0.2, 62), (0.49, 0.26, 64), (0.74, 0.25, 65)]
    written = quantised(played)
    assert written.starts.tolist() == [0, 12, 24, 36]
    assert written.ends.tolist() == [12, 24, 36, 48]


def test_a_triplet_is_seen_between_straight_beats() -> None:
    third = 1 / 3
    played = [(0, 0.5, 60), (0.5, 0.5, 62), (1, third, 64), (1 + third, third, 65), (1 + 2 * third, third, 67)]
    assert quantised(played).starts.tolist() == [0, 24, 48, 64, 80]


def test_thirty_seconds_are_written_where_the_passage_needs_them() -> None:
    played = [(0, 0.5, 60), (0.5, 0.5, 62), *((1 + at / 8, 1 / 8, 64 + at % 2) for at in range(8))]
    assert quantised(played).starts.tolist() == [0, 24, *range(48, 96, 6)]


def test_a_repeated_pitch_is_never_merged_with_itself() -> None:
    assert len(quantised([(0.0, 0.1, 60), (0.1, 0.1, 60), (0.2, 0.1, 60)])) == 3


def test_a_strummed_chord_is_one_chord() -> None:
    assert quantised([(0.0, 1, 60), (0.03, 1, 64), (0.06, 1, 67)]).starts.tolist() == [0, 0, 0]


def test_a_short_gap_is_closed_and_a_long_one_kept() -> None:
    written = quantised([(0, 0.93, 60), (1, 0.5, 62), (2, 1, 64)])
    assert written.ends.tolist() == [48, 72, 144]


def test_a_note_held_long_under_its_repetition_is_kept_only_when_faithful() -> None:
    played = [(0.0, 4.0, 60), (1.0, 0.5, 60)]
    assert quantised(played, FAITHFUL).ends.tolist() == [192, 72]
    assert quantised(played, PLAIN).ends.tolist() == [48, 72]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 7.8), st.floats(0, 3), st.integers(40, 80)),
        min_size=1,
        max_size=40,
        unique_by=lambda n: n[0],
    )
)
def test_whatever_is_played_is_written_near_and_in_order(played: list[tuple[float, float, int]]) -> None:
    written = quantised(played)
    assert (written.ends > written.starts).all()
    assert (written.ends <= WINDOWS[-1]).all()
    assert (np.diff(written.starts) >= 0).all()
    onsets = np.array([note[0] for note in played]) * GRID_QUARTER
    for start in written.starts:
        assert np.abs(onsets - start).min() <= GRID_QUARTER / 6 + 1e-9


def test_a_config_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match="divide 48"):
        QuantiseConfig(divisions=(5,), penalties=(0.0,))
    with pytest.raises(ValueError, match="one penalty"):
        QuantiseConfig(divisions=(4, 3), penalties=(0.0,))
