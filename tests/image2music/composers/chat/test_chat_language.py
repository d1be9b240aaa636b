"""A language for what people read: what a chat model is told, and that English changes nothing."""

from dataclasses import replace

from chat_fakes import FakeBackend, request
from recorded_player import recorded

from image2music.composers.chat import steps
from image2music.composers.chat.composer import ChatComposer
from image2music.composers.chat.conversations import composing
from image2music.composers.prompts import fill, in_language
from image2music.settings import LANGUAGE_NAMES, language_version, prompts_version


def first_question(talk):
    return talk.messages[0].text


def test_english_is_asked_for_with_no_word_more():
    assert in_language("en") == ""
    assert first_question(steps.looking(request().image)) == fill("plan/look")
    assert language_version("en") is None


def test_another_language_is_asked_for_in_one_line_which_stays_in_the_conversation():
    asked = first_question(steps.looking(request().image, "de"))
    assert asked.startswith(fill("plan/look")) and "in German:" in asked
    assert asked.removeprefix(fill("plan/look")).strip().count("\n") == 0
    assert first_question(steps.seen_in(replace(request(), language="de"))) == asked


def test_the_papers_chain_is_told_too():
    def asked(language):
        return first_question(composing(replace(request(), language=language), 100_000, len))

    assert asked("fr").startswith(asked("en")) and "in French:" in asked("fr")


def test_a_description_in_another_language_has_no_english_words_of_ours():
    texts = []
    for language in ("en", "es"):
        (description,) = ChatComposer(FakeBackend(recorded("astronaut", "look"))).look([request().image], language)
        texts.append(description.text)
    assert "Far: " in texts[0] and "Near: " in texts[0]
    assert "Far: " not in texts[1] and "Near: " not in texts[1]


def test_each_language_is_a_setting_of_its_own():
    versions = [language_version(language) for language in LANGUAGE_NAMES]
    assert len(set(versions)) == 4
    assert versions[1].startswith("de@")
    assert len(prompts_version()) == 16
