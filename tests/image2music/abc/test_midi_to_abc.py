from __future__ import annotations

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.roundtrip import abc2midi, compare
from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.writer.text import ConvertedTune, midi_to_abc, score_to_abc
from image2music.errors import MidiError
from image2music.music.midi import read_midi
from image2music.music.score import Score
from tests.image2music.music.midi_making import Note, midi, scale, score, track


def music(tune: ConvertedTune) -> str:
    """The lines of notes alone."""
    return "\n".join(line for line in tune.abc.splitlines() if line[1:2] != ":" and not line.startswith("%%"))


def wrong(abc: str) -> list[str]:
    """What abc2midi and our own checker complain of."""
    said = abc2midi(abc).said.splitlines()
    complaints = [line for line in said if "rror" in line or "arning" in line]
    ours = [str(found) for found in check(abc) if found.severity is Severity.ERROR]
    return [line for line in complaints if "Different length notes in tuple" not in line] + ours


def played_again(tune: ConvertedTune) -> Score:
    output = abc2midi(tune.abc).output
    assert output is not None
    return read_midi(output)


def test_a_scale_is_a_whole_tune() -> None:
    tune = midi_to_abc(midi(scale(step=0.5, n=8)), title="Up")
    assert tune.abc == ("X:1\nT:Up\nM:4/4\nL:1/8\nQ:1/4=120\nK:C\n%%MIDI channel 1\n%%MIDI program 0\nCD EF GA Bc |]\n")
    assert (tune.key, tune.meter, tune.tempo_qpm, tune.duration_s) == ("C", "4/4", 120.0, 2.0)
    assert (tune.bars, tune.voices, tune.n_notes) == (1, 1, 8)


def test_triplets_are_tuplets_and_not_thirds() -> None:
    third = 1 / 3
    notes = [(at * third, third, (60, 62, 64)[at]) for at in range(3)] + [
        (1, 1, 67),
        (2, 2 * third, 65),
        (2 + 2 * third, third, 64),
    ]
    text = music(score_to_abc(score(track(notes), keys=[(0, 0, False)])))
    assert text.startswith("(3CDE G2 (3:2:2F2E z2")
    assert "/3" not in text


def test_three_notes_on_two_beats_are_one_triplet() -> None:
    third = 2 / 3
    notes = [(at * third, third, (60, 62, 64)[at]) for at in range(3)] + [(2, 2, 67)]
    assert music(score_to_abc(score(track(notes), keys=[(0, 0, False)]))) == "(3C2D2E2 G4 |]"


def test_a_note_over_the_bar_line_is_tied() -> None:
    assert music(score_to_abc(score(track([(0, 3, 67), (3, 2, 69), (5, 3, 71)])))) == "G6 A2- | A2 B6 |]"


def test_a_note_tied_into_another_key_keeps_its_name() -> None:
    tune = score_to_abc(score(track([(0, 6, 63), (6, 2, 63)]), keys=[(0, 4, False), (4, -3, False)]))
    assert music(tune) == "D8- | [K:Eb]^D4 E4 |]"


def test_accidentals_hold_for_their_bar() -> None:
    notes = [(0, 1, 66), (1, 1, 66), (2, 1, 65), (3, 1, 66), (4, 4, 66)]
    tune = score_to_abc(score(track(notes), keys=[(0, -1, False)]))
    assert music(tune) == "^F2 F2 =F2 ^F2 | ^F8 |]"


def test_notes_that_overlap_get_a_voice_of_their_own_on_the_same_channel() -> None:
    tune = score_to_abc(score(track([(0, 4, 60), (1, 1, 72), (2, 1, 74)], program=19)))
    assert tune.abc.count("%%MIDI channel 1\n%%MIDI program 19\n") == 2
    assert music(tune) == "C8 |]\nz2 c2 d2 z2 |]"


def test_drums_come_last_on_their_channel() -> None:
    tune = score_to_abc(score(track([(0, 1, 36)], channel=9), track([(0, 1, 72)], program=73)))
    voices = tune.abc.split("V:")[1:]
    assert "%%MIDI program 73" in voices[0]
    assert voices[1].startswith("2 clef=perc\n%%MIDI channel 10\n")


def test_meter_key_and_tempo_changes_are_inline_fields() -> None:
    tune = score_to_abc(
        score(
            track(scale(n=10)),
            track(scale(n=10), channel=1),
            meters=[(0, 4, 4), (4, 3, 4)],
            keys=[(0, 0, False), (4, 2, False)],
            tempos=[(0, 120), (7, 80)],
        )
    )
    first, second = tune.abc.split("V:")[1:]
    assert "[M:3/4][K:D]" in first
    assert "[M:3/4][K:D]" in second
    assert "[Q:1/4=80]" in first
    assert "[Q:" not in second
    assert wrong(tune.abc) == []


def test_a_tempo_change_divides_a_rest_but_not_a_note() -> None:
    tune = score_to_abc(score(track([(0, 1, 60), (4, 4, 60)]), tempos=[(0, 120), (2, 90), (6, 60), (8, 50)]))
    assert music(tune) == "C2 z2 [Q:1/4=90]z4 | C8 |]"


def test_a_pickup_is_a_short_first_bar() -> None:
    bars = range(12)
    tune = [(0.0, 1.0, 67)] + [(1 + 4.0 * bar + at, 1.0 + (at == 0), 72) for bar in bars for at in (0, 2, 3)]
    bass = [(1 + 4.0 * bar, 4.0, 48) for bar in bars]
    converted = score_to_abc(score(track(tune), track(bass, channel=1)))
    assert music(converted).startswith("G2 | c4 c2 c2 |")
    assert wrong(converted.abc) == []


@pytest.mark.parametrize(("qpm", "written"), [(120.2, "1/4=120"), (28.5, "1/8=57"), (7.3, "1/16=29")])
def test_slow_tempos_count_shorter_notes(qpm: float, written: str) -> None:
    assert f"\nQ:{written}\n" in score_to_abc(score(track(scale()), tempos=[(0, qpm)])).abc


@pytest.mark.parametrize(
    ("title", "line"),
    [
        ("Two\nlines\r\nK:F", "T:Two lines K:F"),
        ("100% pure \\ \x00 x", "T:100 pure x"),
        ("海 song", "T:海 song"),
        ("x" * 300, "T:" + "x" * 100),
    ],
)
def test_a_title_is_one_safe_line(title: str, line: str) -> None:
    assert midi_to_abc(midi(scale()), title=title).abc.splitlines()[1] == line


def test_without_a_title_there_is_none() -> None:
    assert "T:" not in midi_to_abc(midi(scale()), title=" \n").abc


def test_a_stated_key_is_kept_and_an_unasked_c_major_is_not_believed() -> None:
    in_e = [(at / 2, 0.5, pitch) for at, pitch in enumerate((64, 66, 68, 69, 71, 73, 75, 76, 71, 68, 64, 71))]
    assert score_to_abc(score(track(in_e), keys=[(0, -3, True)])).key == "Cm"
    assert score_to_abc(score(track(in_e), keys=[(0, 0, False)])).key == "E"


def test_more_parts_than_channels_share_them() -> None:
    many = [track([(0, 1, 40 + at)], program=at, channel=0) for at in range(40)]
    tune = score_to_abc(score(*many, track([(0, 1, 36)], channel=9)))
    assert {line for line in tune.abc.splitlines() if "channel" in line} == {
        f"%%MIDI channel {n}" for n in range(1, 17)
    }
    assert tune.n_notes == 41
    assert wrong(tune.abc) == []


def test_a_file_without_notes_says_so() -> None:
    with pytest.raises(MidiError) as caught:
        midi_to_abc(midi([], meta=[mido.MetaMessage("track_name", name="x")]))
    assert caught.value.reason == "no_notes"


on_grid = st.lists(
    st.tuples(st.integers(0, 63), st.integers(1, 20), st.integers(36, 84)).map(lambda n: (n[0] / 4, n[1] / 4, n[2])),
    min_size=1,
    max_size=40,
    unique_by=lambda note: (note[0], note[2]),
)
meters = st.sampled_from([(4, 4), (3, 4), (6, 8), (5, 8), (2, 2), (7, 16)])


@settings(max_examples=40, deadline=None)
@given(on_grid, on_grid, meters, meters, st.integers(1, 30))
def test_written_music_comes_back_from_abc2midi(
    one: list[Note], two: list[Note], meter: tuple[int, int], later: tuple[int, int], at: int
) -> None:
    piece = score(track(one), track(two, channel=9), meters=[(0, *meter), (at / 2, *later)])
    tune = score_to_abc(piece)
    assert wrong(tune.abc) == []
    assert compare(piece, played_again(tune), drums=True).f1 == 1.0


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 12), st.floats(0, 4), st.integers(36, 84)), min_size=1, max_size=60),
    st.integers(0, 9),
)
def test_loosely_played_music_makes_bars_that_sum(notes: list[Note], channel: int) -> None:
    assert wrong(score_to_abc(score(track(notes, channel=channel))).abc) == []
