import pytest
from fakes import two_voice_tune

from image2music.errors import ConfigError
from image2music.evaluation.pieces import Piece
from image2music.evaluation.questions import (
    ANSWER_COLUMNS,
    STUDY,
    Shown,
    answer_key_csv,
    choose_items,
    read_answer_key,
    read_answers,
    render_form,
    wording,
)


def pieces(start, ids=range(5)):
    return [Piece(f"id{n}", f"{n}.png", two_voice_tune(start + n)) for n in ids]


SYSTEMS = {"ours": pieces(0), "theirs": pieces(50, range(1, 6))}


def test_every_picture_on_the_form_has_a_tune_by_every_system():
    items = choose_items(SYSTEMS, pictures=3, seed=0)
    by_picture = {}
    for item in items:
        by_picture.setdefault(item.piece.image_id, set()).add(item.system)
    assert list(by_picture.values()) == [{"ours", "theirs"}] * 3
    assert "id0" not in by_picture


def test_codes_and_order_come_from_the_seed():
    first, again, other = (choose_items(SYSTEMS, 3, seed) for seed in (1, 1, 2))
    assert [item.code for item in first] == [item.code for item in again]
    assert [item.code for item in first] != [item.code for item in other]


def test_the_key_tells_who_wrote_what():
    items = choose_items(SYSTEMS, 2, 0)
    assert read_answer_key(answer_key_csv(items)) == {item.code: (item.system, item.piece.image_id) for item in items}


def test_without_a_common_picture_there_is_nothing_to_hear():
    with pytest.raises(ConfigError, match="no picture has a tune by every system"):
        choose_items({"ours": pieces(0, [1]), "theirs": pieces(0, [2])}, 1, 0)


def answers(*cells, item="code"):
    return ",".join(ANSWER_COLUMNS) + "\n" + ",".join(["Ann", item, *cells]) + "\n"


def test_answers_are_read_and_empty_cells_are_no_answers():
    heard = read_answers(answers("7", "", *["4"] * 7), ["code"], "a.csv")
    assert len(heard) == 8
    assert (heard[0].question, heard[0].points, heard[0].listener) == ("music_overall", 7, "Ann")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (answers(*["8"] * 9), "line 2: music_overall must be a whole number from 1 to 7"),
        (answers(*["1"] * 9, item="x"), "no item 'x' on the form"),
        ("listener,item\na,b\n", "lacks the columns music_overall"),
    ],
)
def test_answers_that_make_no_sense_are_refused(text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        read_answers(text, ["code"], "a.csv")


def test_the_form_asks_nine_questions_and_names_no_system():
    page = render_form([Shown("c0de", "data:image/jpeg;base64,AA==", "<b>Because.</b>")])
    assert page.count("<legend>") == len(STUDY) == 9
    assert page.count('type="radio"') == 9 * 7
    assert all(words.partition(":")[0] in page for words in wording().values())
    assert "&lt;b&gt;Because." in page
    assert "http" not in page.replace("data:", "")
