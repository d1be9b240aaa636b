import json

import pytest

from image2music.errors import CaptionError
from image2music.index.maintenance import parse_caption_line
from image2music.types import CaptionedMidi


def test_a_line_of_midicaps():
    line = json.dumps({"location": "lmd/1.mid", "caption": "A waltz.", "genre": ["pop"], "mood": ["calm"], "key": None})
    assert parse_caption_line(line) == CaptionedMidi("lmd/1.mid", "A waltz.", genre=("pop",), mood=("calm",))


def test_a_picture_may_stand_instead_of_the_caption():
    parsed = parse_caption_line('{"location": "a.mid", "image": "covers/a.png"}')
    assert (parsed.caption, parsed.image) == ("", "covers/a.png")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "bad_json"),
        ("[1]", "bad_caption_line"),
        ('{"location": "a.mid"}', "bad_caption_line"),
        ('{"location": "", "caption": "x"}', "bad_caption_line"),
        ('{"location": 7, "caption": "x"}', "bad_caption_line"),
        ('{"location": "a.mid", "caption": null}', "bad_caption_line"),
        ('{"location": "a.mid", "image": ["b.png"]}', "bad_caption_line"),
        ('{"location": "a.mid", "caption": 7, "image": "b.png"}', "bad_caption_line"),
        ('{"location": "a\\u0000.mid", "caption": "x"}', "bad_caption_line"),
        ('{"location": "a.mid", "image": "/b.png"}', "outside_midi_root"),
        ('{"location": "../a.mid", "caption": "x"}', "outside_midi_root"),
        ('{"location": "a/../../b.mid", "caption": "x"}', "outside_midi_root"),
        ('{"location": "/etc/passwd", "caption": "x"}', "outside_midi_root"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(line, reason):
    with pytest.raises(CaptionError) as caught:
        parse_caption_line(line)
    assert caught.value.reason == reason


def test_half_a_surrogate_pair_becomes_something_that_files_can_hold():
    parsed = parse_caption_line('{"location": "a.mid", "caption": "sad \\ud83d face"}')
    assert parsed.caption.encode() == b"sad ? face"
