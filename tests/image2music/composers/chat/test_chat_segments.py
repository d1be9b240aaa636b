import numpy as np
from chat_fakes import TUNE

from image2music.composers.chat.conversations import answer_segments, sentence_segments

WORDS = np.array([(i, i + 1) for i in range(len(TUNE))])


def letters(segment):
    return "".join(TUNE[token] for token in segment.tokens)


def test_tokens_go_to_the_voice_and_bar_of_their_first_letter():
    segments = {segment.name: segment for segment in answer_segments(TUNE, WORDS)}
    assert "T" not in letters(segments["all"])
    assert letters(segments["bars 5-6"]) == "[V:1]CDEF|G4|][V:2]C,4|C,4|]"
    assert letters(segments["voice 2"]).count("C,4") == 6
    assert segments["voice 2"].text == "2"


def test_a_sentence_has_its_own_tokens():
    text = "It rains. So it is slow."
    first, second = sentence_segments(text, np.array([(0, 2), (2, 8), (8, 9), (9, 12), (12, 24)]))
    assert (first.tokens, second.tokens) == ((0, 1, 2), (3, 4))
    assert second.text == "So it is slow."


def test_a_text_without_music_has_no_segments():
    assert answer_segments("no tune here", np.array([(0, 2)])) == []
