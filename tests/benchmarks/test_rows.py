from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.roundtrip import compare
from benchmarks.row import BenchRow, markdown, write_json
from benchmarks.samples import midi_files
from tests.image2music.music.midi_making import midi, scale, score, track


@pytest.mark.parametrize(("better", "ratio"), [("higher", 2.0), ("lower", 0.5)])
def test_a_ratio_above_one_means_that_ours_is_better(better: str, ratio: float) -> None:
    assert BenchRow("speed", 4.0, 2.0, "peer", "files a second", better).ratio == ratio  # type: ignore[arg-type]


def test_rows_are_written_with_their_ratio(tmp_path: Path) -> None:
    row = BenchRow("speed", 4.0, 2.0, "peer", "s", "lower")
    write_json([row], tmp_path / "bench" / "bench.json")
    (written,) = json.loads((tmp_path / "bench" / "bench.json").read_text())
    assert written == {
        "name": "speed",
        "ours": 4.0,
        "peer": 2.0,
        "peer_name": "peer",
        "unit": "s",
        "better": "lower",
        "ratio": 0.5,
    }
    assert markdown([row]).splitlines()[-1] == "| speed | 4 | 2 | peer | s | lower | 0.5 |"


def test_a_copy_is_matched_whole_and_a_moved_note_is_missed_twice() -> None:
    original = score(track(scale()), track([(0, 1, 36)], channel=9))
    assert compare(original, original, drums=True).f1 == 1.0
    moved = score(track([*scale(n=7), (7.2, 1, 72)]))
    match = compare(original, moved, drums=False)
    assert (match.original, match.copy, match.matched, match.f1) == (8, 8, 7, 7 / 8)


def test_a_duration_counts_as_kept_within_its_tolerance() -> None:
    longer = score(track([(0, 1.1, 60), (4, 2.0, 62)]))
    match = compare(score(track([(0, 1, 60), (4, 1, 62)])), longer, drums=True)
    assert (match.matched, match.right_duration) == (2, 1)


def test_the_sample_is_the_same_every_time_and_holds_midi_files_only(tmp_path: Path) -> None:
    for name in ("a.mid", "b.MID", "c"):
        (tmp_path / name).write_bytes(midi(scale()))
    (tmp_path / "notes.txt").write_text("no music")
    assert len(midi_files(tmp_path, 10)) == 3
    assert midi_files(tmp_path, 2) == midi_files(tmp_path, 2)
