"""Prompt lookup: what it proposes, and that it changes how fast an answer is written and nothing else."""

import pytest
import tiny_vlms
import torch
from chat_fakes import TUNE, picture
from hypothesis import given
from hypothesis import strategies as st

from image2music.composers.chat.conversations import Conversation, Message, questions_of
from image2music.composers.chat.engine.decode import MOST, PromptLookup, worth_verifying
from image2music.composers.chat.engine.loading import ChatModel, ModelName, load_model
from image2music.composers.chat.engine.transformers_backend import PrefixCachedGenerator
from image2music.composers.constrained.forms import TUNE_OF_TWO

PROMPT = [9, 1, 2, 3, 4, 5, 6, 7, 8]
MENDED = TUNE.replace("c B A G", "c B A2")


def test_what_followed_in_the_prompt_is_proposed():
    assert PromptLookup(PROMPT).draft([0, 2, 3, 4], 10) == [5, 6, 7, 8]
    assert PromptLookup(PROMPT).draft([2, 3, 4], 2) == [5, 6]


def test_nothing_is_proposed_after_what_the_prompt_does_not_hold():
    assert PromptLookup(PROMPT).draft([4, 3, 2], 10) == []
    assert PromptLookup(PROMPT).draft([3, 4], 10) == []


def test_proposals_grow_as_they_come_true_and_pause_when_none_does():
    lookup = PromptLookup(list(range(100)))
    lookup.update(4, 4, 10)
    assert len(lookup.draft([1, 2, 3], 50)) == 8
    lookup.update(8, 0, 20)
    assert lookup.draft([*range(24), 1, 2, 3], 50) == []
    assert lookup.draft([*range(25), 1, 2, 3], 50) == [4, 5, 6, 7]


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=9), st.integers(0, 30))
def test_proposals_stand_in_the_prompt_and_keep_to_their_room(prompt, written, most):
    draft = PromptLookup(prompt).draft(written, most)
    assert len(draft) <= min(most, MOST)
    text, there = ",".join(map(str, draft)), ",".join(map(str, prompt))
    assert text in there


def test_a_batch_reads_drafts_where_a_quarter_of_its_answers_have_one():
    assert worth_verifying([[1], [], [], []]) == [[1], [], [], []]
    assert worth_verifying([[1], [], [], [], []]) == [[], [], [], [], []]


class Insists:
    """Stands in for the grammar and makes a model write a given text, as a trained one would that mends a single bar.

    What comes after that text is the model's own.
    """

    has_ended = True  # the grammar is not asked

    def __init__(self, chat, tokens):
        self.vocabulary, self._left = chat._vocabulary, list(tokens)

    def take(self, token):
        self._left = self._left[1:]

    def forced(self):
        return []

    def narrow(self, allowed):
        allowed[:] = not self._left
        allowed[self._left[:1]] = True


@pytest.fixture
def generator(tmp_path):
    chat = ChatModel(load_model(ModelName(str(tiny_vlms.save("qwen2_5_vl", tmp_path / "tiny")))))
    return PrefixCachedGenerator(chat)


def asked(number):
    image = picture(60 + 20 * number, 40)
    return Conversation(image, (Message("user", "Write a tune." * (1 + number)),)).then(TUNE, "Mend bar 3.")


def test_a_repair_that_changes_one_bar_takes_a_few_passes_and_comes_out_as_without_lookup(generator, monkeypatch):
    chat = generator._chat
    mended = [*chat.tokenizer(MENDED)["input_ids"], chat.ends[0]]
    monkeypatch.setattr(chat, "state", lambda form, tokens: Insists(chat, mended))
    with torch.inference_mode():
        (written,) = generator.generate(questions_of([asked(0)], [1], 400, TUNE_OF_TWO))
    assert written == mended
    assert generator.passes < len(mended) / 3


def test_rows_that_take_different_numbers_of_tokens_are_written_as_each_alone(generator, monkeypatch):
    chat = generator._chat
    mended = [*chat.tokenizer(MENDED)["input_ids"], chat.ends[0]]
    tunes = iter([])
    monkeypatch.setattr(chat, "state", lambda form, tokens: next(tunes))
    talks, seeds = [asked(number) for number in range(3)], [1, 2, None]

    def written(rows, lookup):
        nonlocal tunes
        tunes = iter([Insists(chat, [mended, mended[:30], []][row]) for row in rows])
        monkeypatch.setattr(generator, "_uses_lookup", lambda question: lookup)
        with torch.inference_mode():
            return generator.generate(
                questions_of([talks[row] for row in rows], [seeds[row] for row in rows], 120, TUNE_OF_TWO)
            )

    together = written([0, 1, 2], lookup=True)
    alone = [written([row], lookup=False)[0] for row in range(3)]
    assert together == alone
