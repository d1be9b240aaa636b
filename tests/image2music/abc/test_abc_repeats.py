from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.ast import Event
from image2music.abc.parser import parse
from image2music.abc.playback import abc_to_score
from image2music.abc.reading_order import MAX_PARTS, part_order, play_order


def played(music: str) -> str:
    """The letters of the notes in the order they are played."""
    voice = parse("X:1\nM:none\nL:1/4\nK:C\n" + music + "\n").tunes[0].voices["1"]
    letters = []
    for start, end in play_order(voice.elements):
        letters += ["CDEFGAB"[e.heads[0].step] for e in voice.elements[start:end] if isinstance(e, Event)]
    return "".join(letters)


@pytest.mark.parametrize(
    ("music", "order"),
    [
        ("C | D |]", "CD"),
        ("C | D :| E |]", "CDCDE"),
        ("C |: D :| E |]", "CDDE"),
        ("|: C :: D :| E |]", "CCDDE"),
        ("|:: C ::|", "CCC"),
        ("|: C |1 D :|2 E |]", "CDCE"),
        ("C |1 D :|2 E || F |1 G :|2 A |]", "CDCEFGFA"),
        ("|: C |1 D :|2 E :|", "CDCE"),
        ("|: C |1 D :|2 E |: F :|", "CDCEFF"),
        ("|: C |1,3 D :|2 E :|4 F |]", "CDCECDCF"),
        ("|: C |1-3 D :|4 E |]", "CDCDCDCE"),
        ("|: C | [1 D :| [2 E |] F |]", "CDCEF"),
        ("|: C |1 D |2 E |]", "CDCE"),
        ("|: C | D |]", "CD"),
        ("|: C :| D :| E |]", "CCDDE"),
        ("|: C |1 D :|2 E || F | G :|", "CDCEFGFG"),
        ("|: C |1 D :|2 E |] F :|", "CDCEFF"),
        ("C || D | E :|", "CDECDE"),
        ("|: C |1 D :| E |]", "CDCE"),
        ("|: C | [1 D :| E |]", "CDCE"),
        ("C |1 D :|]", "CDC"),
        ("|: C |1 D :: E :|", "CDCEE"),
        ("|: C |1 D :| E |: F |1 G :| A |]", "CDCEFGFA"),
        ("|: C |1,2 D :| E |]", "CDCDCE"),
    ],
)
def test_repeats_and_endings(music: str, order: str) -> None:
    assert played(music) == order


@pytest.mark.parametrize(
    ("text", "order"), [("AAB", "AAB"), ("A2B", "AAB"), ("A(BC)2", "ABCBC"), ("(A(B)2)2", "ABBABB"), ("A)B(", "AB")]
)
def test_part_orders(text: str, order: str) -> None:
    assert part_order(text).startswith(order)


@given(st.text(alphabet="AB()29", max_size=60))
def test_part_orders_are_bounded(text: str) -> None:
    assert len(part_order(text)) <= MAX_PARTS


@given(
    st.lists(st.sampled_from(["C", "|", "|:", ":|", "::", "|1", "|2", ":|2", ":|3", "||", "[1", "::|"]), max_size=80)
)
def test_any_heap_of_repeat_signs_ends_and_plays_each_note_at_most_sixteen_times(tokens: list[str]) -> None:
    assert played("C " + " ".join(tokens)).count("C") <= 16 * (tokens.count("C") + 1)


@pytest.mark.parametrize(
    ("order", "music", "letters"),
    [
        ("AABB", "P:A\nC | D |]", "CDCD"),
        ("A2", "P:A\nC |]", "CC"),
        ("AA", "P:A\n|: C :|", "CCCC"),
        ("AAB", "E |\nP:A\nC |]", "ECC"),
        ("AB", "P:A\nC |]", "C"),
        ("BB", "P:A\nC |]", "C"),
    ],
)
def test_a_part_plays_as_often_as_the_header_names_it_though_others_are_not_written(
    order: str, music: str, letters: str
) -> None:
    score = abc_to_score(f"X:1\nM:none\nL:1/4\nP:{order}\nK:C\n{music}\n")
    assert "".join("CDE"[(pitch - 60) // 2] for pitch in score.tracks[0].pitches.tolist()) == letters
