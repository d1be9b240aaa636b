from fakes import two_voice_tune

from image2music.abc.playback import abc_to_score
from image2music.composers.base import ComposeRequest, missing_constraints, opening_abc
from image2music.composers.chat.conversations import composing
from image2music.loop.choose import examine, order_of, why_not
from image2music.music.similarity import opening_of
from image2music.types import AlbumPart, Description, read_line

MOTIF = read_line("0:2 5:1 2:1 0:2 2:2 7:2")
PART = AlbumPart(9, "minor", "4/4", 96, (40, 42), "t", MOTIF, opening_of(MOTIF, None))
KEPT = "X:1\nT:t\nM:4/4\nL:1/8\nQ:1/4=96\nK:Am\nA2 dB A2 B2 | e8 |]\n"


def test_the_motif_is_written_in_the_key_of_the_part():
    assert opening_abc(PART) == "A2 d B A2 B2 | e2"


def test_a_tune_that_keeps_to_its_part():
    assert missing_constraints(abc_to_score(KEPT), PART) == ()


def test_what_is_left_out_is_said():
    other = two_voice_tune(1).replace("1/4=96", "1/4=120").replace("K:C", "K:G")
    found = missing_constraints(abc_to_score(other), PART)
    assert [complaint.partition(":")[0] for complaint in found] == [
        "the album asks for the key K",
        "the album asks for the tempo Q",
        "the album's motif is missing",
    ]


def test_of_two_candidates_the_one_that_keeps_to_its_album_is_better():
    kept, other = examine(KEPT, []), examine(two_voice_tune(1), [])
    better, worse = order_of(kept, PART), order_of(other, PART)
    assert better < worse
    assert why_not(worse, better) == "keeps_less_of_the_album"
    assert order_of(kept, PART, worth=1.0) < order_of(other, PART, worth=9.0)


def test_a_chat_model_is_told_in_its_prompt():
    request = ComposeRequest("a", None, Description("A lake."), (), 1, PART)
    (message,) = composing(request, 10_000, len).messages
    assert "K:Am and M:4/4 with L:1/8 and Q:1/4=96" in message.text
    assert "these very notes: A2 d B A2 B2 | e2" in message.text
