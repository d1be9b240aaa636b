import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.abc.playback import abc_to_score
from image2music.music.similarity import METERS, Sung, count_motif, make_answer, make_motif, opening_of
from image2music.types import AlbumPart, line_text, part_of_row, part_row, read_line

MOTIF = read_line("0:2 5:1 2:1 0:2 2:2 7:2")
seeds = st.integers(0, 2**63 - 1)


def tune(key: str, music: str) -> str:
    return f"X:1\nT:t\nM:4/4\nL:1/8\nQ:1/4=100\nK:{key}\n{music}\n"


@pytest.mark.parametrize(
    ("key", "music"),
    [
        ("C", "C2FD C2D2 | G8 |]"),
        ("Em", "z8 | E2AF E2F2 | B8 |]"),
        ("C", "[CG,]2[FC][DA,] [CG,]2[DA,]2|G8|]"),
    ],
    ids=["at the start", "in E minor, later", "on top of chords"],
)
def test_the_motif_is_found_in_any_key(key, music):
    assert count_motif(abc_to_score(tune(key, music)), MOTIF) == 1


@pytest.mark.parametrize(
    "music", ["C2FD C2D2 | A8 |]", "C2F2 D2C2 | D4 G4 |]"], ids=["another last note", "another rhythm"]
)
def test_what_only_resembles_the_motif_is_not_the_motif(music):
    assert count_motif(abc_to_score(tune("C", music)), MOTIF) == 0


@given(st.sampled_from(METERS), st.booleans(), seeds)
def test_a_motif_fills_one_bar_in_degrees_that_major_and_minor_share(meter, rising, seed):
    motif = make_motif(meter, rising=rising, seed=seed)
    assert sum(note.eighths for note in motif[:-1]) == {"3/4": 6, "4/4": 8, "6/8": 6}[meter]
    assert {note.pitch % 12 for note in motif} <= {0, 2, 5, 7}
    assert (motif[-1].pitch > motif[0].pitch) == rising


@given(st.sampled_from(METERS), st.sampled_from(["major", "minor"]), seeds, seeds)
def test_an_answer_goes_on_from_where_the_motif_lands(meter, mode, seed, other):
    motif = make_motif(meter, rising=True, seed=seed)
    answer = make_answer(motif, meter, mode, seed=other)
    assert answer[0].pitch == motif[-1].pitch
    assert sum(note.eighths for note in answer) == sum(note.eighths for note in motif[:-1])
    assert opening_of(motif, answer) == (motif[:-1], answer)


def test_a_part_survives_its_row():
    part = AlbumPart(11, "minor", "6/8", 96, (40, 42), "abc", MOTIF, opening_of(MOTIF, None))
    assert part_row(part)["key"] == "Bm"
    assert part_of_row(part_row(part)) == part
    assert read_line(line_text((Sung(-5, 3),))) == (Sung(-5, 3),)
