import pytest
from fakes import two_voice_tune

from image2music.abc.playback import abc_to_midi
from image2music.errors import ConfigError
from image2music.evaluation.pieces import read_import

FILES = {"a.abc": two_voice_tune(1).encode(), "b.mid": abc_to_midi(two_voice_tune(2)), "bad.mid": b"MThd"}


def read(name):
    if name not in FILES:
        raise FileNotFoundError(f"no {name}")
    return FILES[name]


def test_abc_and_midi_files_are_read_and_blank_cells_are_failures():
    lines = read_import("Picture,tune,system\np.png,a.abc,x\np.png,b.mid,y\nq.png,,x\n", read)
    assert [(line.system, line.picture) for line in lines] == [("x", "p.png"), ("y", "p.png"), ("x", "q.png")]
    assert lines[0].abc == two_voice_tune(1)
    assert lines[1].abc.startswith("X:1")
    assert lines[2].abc == ""


def test_a_cell_may_hold_the_tune_itself():
    line = read_import('picture,abc\np.png,"X:1\nK:C\nCDEF|\n"\n', read)[0]
    assert (line.system, line.abc) == ("imported", "X:1\nK:C\nCDEF|")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("picture\np.png\n", "wants the columns picture and tune"),
        ("", "wants the columns"),
        ("picture,tune\n", "a header and no lines"),
        ("picture,tune\np.png,none.abc\n", "line 2: none.abc: no none.abc"),
        ("picture,tune\np.png,bad.mid\n", "line 2: bad.mid"),
    ],
)
def test_files_that_cannot_be_used_are_named(text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        read_import(text, read)
