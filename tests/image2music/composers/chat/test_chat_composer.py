from dataclasses import replace

import numpy as np
import pytest
from chat_fakes import METRICS, TUNE, FakeBackend, reference, request

from image2music.abc.checker import check
from image2music.composers.base import ExplainRequest, RefineRequest, RepairRequest, WriteRequest
from image2music.composers.chat.composer import ChatComposer
from image2music.composers.chat.conversations import AnswerLengths, TokenAttention
from image2music.errors import ConfigError, ModelError
from image2music.loop.chain import compose_batch
from image2music.settings import LoopSettings

BROKEN = TUNE.replace("C D E F | G A B c", "C D E F | G A B", 1)


def said_to(backend):
    return backend.requests[-1][0].messages[-1].text


def test_a_description_is_the_prose_of_the_likeliest_answer():
    backend = FakeBackend("**Description:** A lake.")
    (description,) = ChatComposer(backend).look([request().image])
    assert description.text == "A lake."
    assert backend.requests[0][1] is None


def test_a_draft_is_asked_for_with_captions_and_tunes_of_the_references_and_the_order_not_to_copy():
    backend = FakeBackend(f"Here:\n```\n{TUNE}```")
    (draft,) = ChatComposer(backend).write([WriteRequest(request(references=[reference(1), reference(2)]))])
    assert draft == TUNE
    prompt = said_to(backend)
    assert "A lake at dawn." in prompt
    assert "Reference 2, described as: A calm tune 2." in prompt
    assert prompt.count("[V:1] C D E F | G A B c") == 2
    assert "Do not copy" in prompt


def test_a_reference_without_a_caption_is_said_to_be_one_of_a_picture():
    backend = FakeBackend(TUNE)
    ChatComposer(backend).write([WriteRequest(request(references=[replace(reference(1), caption="")]))])
    assert "Reference 1, described as: a picture alike" in said_to(backend)


def test_a_prompt_keeps_to_its_budget_by_whole_bars():
    backend = FakeBackend(TUNE, prompt_tokens=330)
    ChatComposer(backend).write([WriteRequest(request(references=[reference(n) for n in range(1, 5)]))])
    assert backend.count_tokens(said_to(backend)) <= 330
    assert "Reference 1" in said_to(backend)


def test_without_references_none_are_spoken_of():
    backend = FakeBackend(TUNE)
    ChatComposer(backend).write([WriteRequest(request())])
    assert "library" not in said_to(backend)


def test_a_repair_shows_place_message_and_line_of_each_error():
    backend = FakeBackend(TUNE)
    asked = RepairRequest(request(), BROKEN, tuple(check(BROKEN)), attempt=1)
    ChatComposer(backend).repair([asked])
    conversation = backend.requests[0][0]
    assert [message.role for message in conversation.messages] == ["user", "assistant", "user"]
    assert "- line 9, column" in said_to(backend)
    assert "the line is: [V:1] C D E F | G A B |" in said_to(backend)
    assert "the meter is 4/4, and a note without a number lasts 1/4." in said_to(backend)


def test_a_refinement_shows_the_metrics_and_their_meaning_and_leaves_the_judgment_to_the_model():
    backend = FakeBackend(TUNE)
    ChatComposer(backend).refine([RefineRequest(request(references=[reference()]), TUNE, METRICS)])
    line = next(line for line in said_to(backend).splitlines() if line.startswith("- polyphony ("))
    assert line.endswith("): 2")
    assert "Judge for yourself" in said_to(backend)


def test_every_step_and_attempt_throws_dice_of_its_own():
    backend = FakeBackend(TUNE)
    composer = ChatComposer(backend)
    composer.write([WriteRequest(request())])
    for attempt in (1, 2):
        composer.repair([RepairRequest(request(), TUNE, (), attempt)])
    composer.refine([RefineRequest(request(), TUNE, METRICS)])
    backend.answers = ["It is calm."]
    composer.explain([ExplainRequest(request(), TUNE, "Morning", METRICS)])
    seeds = [seed for _, seed, _, _ in backend.requests]
    assert len(set(seeds)) == 5


def test_an_explanation_has_the_motivation_and_the_maps_of_every_segment():
    motivation = "The lake is still. So the tune is slow."

    def attention_of(text):
        spans = np.array([(i, i + 1) for i in range(len(text))])
        return TokenAttention(
            text, spans, np.ones((len(text), 2, 3), np.float32), np.zeros((len(text), 2, 3), np.float32)
        )

    backend = FakeBackend(motivation, token_attention=[attention_of(TUNE), attention_of(motivation)])
    (explanation,) = ChatComposer(backend).explain([ExplainRequest(request(), TUNE, "Morning", METRICS)])
    assert explanation.motivation == motivation
    assert [found.segment for found in explanation.attention] == [
        "all", "voice 1", "voice 2", "bars 1-4", "bars 5-6", "sentence 1", "sentence 2",
    ]  # fmt: skip
    assert backend.replayed[0].messages[-1].text == motivation


def test_an_empty_motivation_is_a_model_error():
    with pytest.raises(ModelError, match="no motivation") as caught:
        ChatComposer(FakeBackend("<think>hm")).explain([ExplainRequest(request(), TUNE, "Morning", METRICS)])
    assert caught.value.reason == "no_motivation"


def test_the_loop_repairs_a_broken_draft():
    backend = FakeBackend(BROKEN.replace("G A B |", "x y |"), TUNE, "It is calm.")
    (tune,) = compose_batch(ChatComposer(backend), [request()], LoopSettings(rounds=1, protocol="paper"))
    assert not isinstance(tune, Exception), tune
    assert tune.explanation.motivation == "It is calm."


def test_an_answer_needs_room():
    with pytest.raises(ConfigError):
        AnswerLengths(tune=0)
