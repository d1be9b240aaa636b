from chat_fakes import TUNE

from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.composers.chat.conversations import FEWEST_BARS, first_bars, longest_voice_bars, shortened


def test_the_first_bars_of_every_voice_are_a_valid_tune():
    short = first_bars(TUNE, 3)
    assert "[V:1] C D E F | G A B c | c B A G |\n[V:2] C,4 | C,4 | C,4 |\n" in short
    assert [finding for finding in check(short) if finding.severity is Severity.ERROR] == []


def test_a_text_that_is_no_tune_stays_as_it_is():
    assert first_bars("no music", 2) == "no music"


def test_the_longest_tune_gives_up_bars_until_all_fit():
    long, short = TUNE, first_bars(TUNE, 3)
    room = len(long) + len(short) - 30
    texts = shortened([long, short], lambda texts: sum(map(len, texts)) <= room)
    assert sum(map(len, texts)) <= room
    assert longest_voice_bars(texts[0]) < 6
    assert texts[1] == short


def test_tunes_that_cannot_fit_are_left_out_from_the_last():
    texts = shortened([TUNE, TUNE, TUNE], lambda texts: len(texts) <= 1)
    assert [longest_voice_bars(text) for text in texts] == [FEWEST_BARS]
