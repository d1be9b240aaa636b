"""Answers with everything that is reused, against the library's own decoding of whole prompts."""

from functools import wraps

import numpy as np
import pytest
import tiny_vlms
from chat_fakes import TUNE, picture

from image2music.composers.chat.conversations import Conversation, Message, questions_of
from image2music.composers.chat.engine import transformers_backend
from image2music.composers.chat.engine.cache import Prefiller
from image2music.composers.chat.engine.loading import ChatModel, ModelName, load_model
from image2music.composers.chat.engine.transformers_backend import (
    PlainGenerator,
    TransformersBackend,
    load_transformers_backend,
)
from image2music.composers.constrained.forms import TUNE_OF_TWO

QUESTION = "Write a tune about the lake, calm and slow, in two voices."


@pytest.fixture(scope="module", params=tiny_vlms.FAMILIES)
def folder(request, tmp_path_factory):
    return str(tiny_vlms.save(request.param, tmp_path_factory.mktemp("vlm") / request.param))


def from_scratch(folder):
    loaded = load_model(ModelName(folder))
    chat = ChatModel(loaded)
    return TransformersBackend(loaded.id, chat, PlainGenerator(chat))


@pytest.fixture
def tower(monkeypatch):
    """Counts the pictures that pass through a backend's vision tower."""

    def counted(backend):
        seen = []
        model = backend.chat.model.model
        plain = model.get_image_features
        counting = wraps(plain)(lambda *args, **more: seen.append(1) or plain(*args, **more))
        monkeypatch.setattr(model, "get_image_features", counting)
        return seen

    return counted


def generator(backend):
    """What is written in a conversation of four rounds about two pictures, greedily and with dice."""
    images, seeds = [picture(60, 40), picture(120, 200)], [None, 5]
    first = [Conversation(image, (Message("user", QUESTION + " Please." * at),)) for at, image in enumerate(images)]
    described = [Conversation(image, (Message("user", "What is this?"),)) for image in images]
    said = [backend.generate(questions_of(described, seeds, 10))]
    said.append(backend.generate(questions_of(first, seeds, 30, TUNE_OF_TWO)))
    mended = [talk.then(answer, "Mend bar 2.") for talk, answer in zip(first, said[-1], strict=True)]
    said.append(backend.generate(questions_of(mended, seeds, 30, TUNE_OF_TWO)))
    why = [talk.then(answer, "Why?") for talk, answer in zip(first, said[-1], strict=True)]
    return [*said, backend.generate(questions_of(why, seeds, 10))]


def test_reuse_changes_no_answer_and_every_picture_is_looked_at_once(folder, tower):
    reusing, plain = load_transformers_backend(folder), from_scratch(folder)
    seen = tower(reusing)
    assert generator(reusing) == generator(plain)
    assert len(seen) == 2


def test_what_is_forgotten_is_read_again_to_the_same_end(tmp_path, tower):
    folder = str(tiny_vlms.save("qwen2_5_vl", tmp_path / "qwen"))
    forgetful = load_transformers_backend(folder)
    forgetful.generator._prefiller = Prefiller(forgetful.chat.model, forgetful.chat.image_token, prefix_bytes=0)
    seen = tower(forgetful)
    assert generator(forgetful) == generator(load_transformers_backend(folder))
    assert len(seen) == 2


def test_reuse_changes_no_attention(folder):
    reusing, plain = load_transformers_backend(folder), from_scratch(folder)
    asked = Conversation(picture(60, 40), (Message("user", QUESTION),)).then(TUNE, "Why?")
    reusing.generate(questions_of([asked], [3], 12))
    for ours, theirs in zip(
        *(backend.attention(asked.answered("It is calm.")) for backend in (reusing, plain)), strict=True
    ):
        np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-5)
        np.testing.assert_allclose(ours.baseline, theirs.baseline, atol=1e-5)


def test_a_model_of_another_family_is_given_whole_prompts(tmp_path, monkeypatch, tower):
    folder = str(tiny_vlms.save("llava", tmp_path / "llava"))
    expected = generator(load_transformers_backend(folder))
    monkeypatch.setattr(transformers_backend, "FAMILIES", frozenset())
    other = load_transformers_backend(folder)
    seen = tower(other)
    assert generator(other) == expected
    assert len(seen) == 4  # once a round for the batch
