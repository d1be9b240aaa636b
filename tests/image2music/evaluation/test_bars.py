from fakes import two_voice_tune

from image2music.evaluation.measures import checked, validity
from image2music.evaluation.pieces import Piece
from image2music.loop.choose import examine
from image2music.rows import _diagnostics

TUNE = two_voice_tune(1, bars=5)


def broken(abc):
    """The first bar of the upper voice loses its last note."""
    head, bar = abc.split("[V:1] ", 1)
    return f"{head}[V:1] {bar[:5]}{bar[7:]}"


def draft_of(raw):
    draft = examine(raw, []).draft
    return {"abc": draft.abc, "diagnostics": _diagnostics([*draft.mends, *draft.diagnostics])}


def test_one_bar_of_ten_is_short():
    assert checked(TUNE) == (0, 10, 1.0)
    errors, bars, right = checked(broken(TUNE))
    assert (errors > 0, bars, right) == (True, 10, 0.9)


def test_a_bar_that_was_mended_was_not_right_at_first():
    found = validity(Piece("id", "a.png", examine(broken(TUNE), []).draft.abc, draft=draft_of(broken(TUNE))))
    assert (found.valid_as_written, found.valid_first, found.valid_repaired) == (0.0, 1.0, 1.0)
    assert (found.bars_right_first, found.bars_right) == (0.9, 1.0)


def test_a_draft_with_an_error_was_invalid_at_first():
    draft = {"abc": "X:1\nK:C\nCDE[\n", "diagnostics": [{"code": "unclosed-chord", "voice": "1", "bar": 1}]}
    found = validity(Piece("id", "a.png", TUNE, draft=draft))
    assert (found.valid_first, found.valid_repaired) == (0.0, 1.0)


def test_a_picture_without_a_tune_is_never_valid():
    found = validity(Piece("id", "a.png", ""))
    assert (found.valid_first, found.valid_repaired, found.bars, found.bars_right) == (0.0, 0.0, 0, None)
