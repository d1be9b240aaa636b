import sys
from pathlib import Path

from benchmarks.walk import Walk
from image2music.abc.playback import abc_to_midi


def test_files_are_named_in_the_order_in_which_they_are_entered_and_counted_once_a_visit():
    walk = Walk(Path(__file__).parents[2])
    sys.setprofile(walk)
    try:
        abc_to_midi("X:1\nM:4/4\nL:1/4\nK:C\nC D E F |]\n")
    finally:
        sys.setprofile(None)
    assert walk.order[:2] == ["image2music/abc/playback.py", "image2music/abc/parser.py"]
    assert walk.order.index("image2music/abc/parser.py") < walk.order.index("image2music/music/midi.py")
    assert walk.entries["image2music/abc/playback.py"] < walk.entries["image2music/abc/builder.py"]
