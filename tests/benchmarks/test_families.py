from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.families import PLACES, TOLERANCE, Checked, checked, table
from tests.tiny_vlms import FAMILIES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_answers_alike_attends_exactly_finds_every_dot_and_maps_its_tunes(family: str, tmp_path: Path) -> None:
    row = checked(family, tmp_path / family)
    assert row.parted == 0
    assert row.difference < TOLERANCE
    assert row.hits == len(PLACES) == 12
    assert row.faults_of_maps == ()
    assert row.maps == (7, 8), (
        "the whole tune, its voices (one is by rule with a plan), two groups of bars, two sentences"
    )


def test_the_table_says_what_does_not_hold() -> None:
    row = Checked("llava", 1000, answers=8, parted=1, difference=1e-7, hits=12, maps=(7, 8))
    assert not row.holds
    assert table([row]).splitlines()[-1] == "| llava | yes, 1,000 weights | 7 of 8 | 1.0e-07 | 12 of 12 | 7 and 8 |"
    row = Checked("llava", 1000, 8, 0, 1e-7, 12, (0, 8), ("by plan: longer_than_context",))
    assert not row.holds
    assert table([row]).endswith("| 0 and 8; by plan: longer_than_context |")
