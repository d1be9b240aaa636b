"""Packets for judges tell nothing; runs that are shared with many pieces are found as those with one."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.human_excerpts import excerpt_of_score
from benchmarks.judging import QUESTIONS, Offered, blind, deranged, duels, means_table, read_answers, write_packet
from benchmarks.training_runs import TrainingLines
from benchmarks.worth_hearing import device_kind, tonic_of
from image2music.abc.checker import check
from image2music.abc.playback import abc_to_score
from image2music.music.score import Score, Track
from image2music.music.similarity import longest_shared_run, melody_steps

TELLING = """X:1
T:Waves
N:derived by rule: voices 2
M:3/4
L:1/8
P:AB
K:D
V:1 clef=treble name="Flute"
%%MIDI program 73
% A, bars 1-2
[P:A][V:1] "^the boat"!p!"Bm"d2 ef | [r:climax]a6 |]
"""


def test_a_blind_tune_keeps_notes_programs_dynamics_and_chords_and_nothing_that_tells() -> None:
    text = blind(TELLING)
    for word in ("Waves", "derived", "Flute", "boat", "climax", "bars 1-2", "P:"):
        assert word not in text
    assert all(kept in text for kept in ("%%MIDI program 73", "!p!", '"Bm"', "d2 ef", "M:3/4", "K:D"))


@given(st.integers(2, 30), st.integers(0, 2**31))
def test_no_picture_keeps_its_own_tune(count: int, seed: int) -> None:
    names = [f"picture {number}" for number in range(count)]
    other = deranged(names, seed)
    assert sorted(other) == sorted(names)
    assert all(one != two for one, two in zip(names, other, strict=True))


def test_a_packet_names_no_system_and_its_answers_are_read_by_the_key(tmp_path) -> None:
    paths = []
    for number in range(2):
        paths.append(tmp_path / f"boat{number}.jpg")
        Image.new("RGB", (900, 300), (number * 90, 0, 0)).save(paths[-1])
    offered = [Offered(system, path.name, TELLING, "secret") for system in ("ours", "human") for path in paths]
    key = write_packet(tmp_path / "judge_1", paths, offered, 7)
    shown = " ".join(path.name for path in (tmp_path / "judge_1").iterdir())
    shown += " ".join(path.read_text() for path in (tmp_path / "judge_1").glob("*.[am][bd]*"))
    assert not any(word in shown for word in ("ours", "boat", "secret"))
    assert {entry["system"] for entry in key.values()} == {"ours", "human"}
    with Image.open(next((tmp_path / "judge_1").glob("*.png"))) as picture:
        assert max(picture.size) == 640
    points = {"ours": 5, "human": 6}
    answers = {code: dict.fromkeys(QUESTIONS, points[entry["system"]]) for code, entry in key.items()}
    (tmp_path / "ANSWERS.json").write_text(json.dumps(answers))
    read = read_answers(tmp_path / "ANSWERS.json", key)
    assert "| judge_1 | ours | 5.00 |" in means_table({"judge_1": read})
    assert "| human |  | 2/0/0 |" in duels(read, "melody")
    answers.popitem()
    (tmp_path / "ANSWERS.json").write_text(json.dumps(answers))
    with pytest.raises(SystemExit, match="not a number from 1 to 7"):
        read_answers(tmp_path / "ANSWERS.json", key)


SONG = """X:1
M:4/4
L:1/8
K:G
V:1
{tune}
V:2 clef=bass
{bass}
"""


def _song(bars: int) -> Score:
    tune = "|".join(["G2 AB c2 BA"] * (bars - 1) + ["G8"])
    bass = "|".join(["G,,2 B,,2 D,2 ^F,,2"] * (bars - 1) + ["G,,8"])
    return abc_to_score(SONG.format(tune=tune, bass=bass))


def test_an_excerpt_is_the_whole_of_a_short_piece_and_checks() -> None:
    excerpt = excerpt_of_score(_song(20))
    assert excerpt is not None
    assert (excerpt.first_bar, excerpt.bars) == (1, 20)
    assert not check(excerpt.abc)
    again = abc_to_score(excerpt.abc)
    for one, two in zip(_song(20).tracks, again.tracks, strict=True):
        assert one.pitches.tolist() == two.pitches.tolist()
        assert one.onsets.tolist() == two.onsets.tolist()


def test_a_piece_with_an_empty_bar_or_too_short_is_passed_over() -> None:
    assert excerpt_of_score(_song(12)) is None
    rests = SONG.format(tune="|".join(["G8", "z8"] * 12), bass="|".join(["G,,8", "z8"] * 12))
    assert excerpt_of_score(abc_to_score(rests)) is None


LINES = st.lists(st.tuples(st.sampled_from([60, 62, 64]), st.sampled_from([1, 2])), min_size=5, max_size=40)


def _track(notes: list[tuple[int, int]]) -> Track:
    gaps = np.array([gap for _, gap in notes])
    onsets = np.concatenate([[0], np.cumsum(gaps)[:-1]]) * 240
    pitches = np.array([pitch for pitch, _ in notes])
    return Track(onsets, gaps * 240, pitches, np.full(len(notes), 90))


@given(LINES, st.lists(LINES, min_size=1, max_size=4))
def test_runs_shared_with_many_pieces_are_those_that_the_copy_guard_finds(own, others) -> None:
    scores = [Score(480, (_track(line),)) for line in others]
    steps = [melody_steps(_track(own), 480)]
    expected = longest_shared_run(steps, [melody_steps(score.tracks[0], 480) for score in scores])
    assert TrainingLines.of(scores).longest(steps) == expected


def test_words_of_the_table() -> None:
    assert device_kind("Inversion in bars 9-12, where the lake begins") == "inversion in bars"
    assert [tonic_of(key) for key in ("C", "Bbm", "F#m", "Ddor")] == [0, 10, 6, 2]
