"""The replay against the library's own eager attention, on tiny random models of every family."""

import math

import numpy as np
import pytest
import tiny_vlms
from chat_fakes import TUNE, picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from image2music.composers.attention import Tokenised, grid_of, image_token_boxes, paint
from image2music.composers.chat.conversations import Conversation, Message
from image2music.composers.chat.engine.loading import ModelName, Renderer, image_token_of, load_model
from image2music.composers.chat.engine.replay import full_attention_layers, replay
from image2music.errors import ModelError


@pytest.fixture(scope="module", params=tiny_vlms.FAMILIES)
def loaded(request, tmp_path_factory):
    return load_model(ModelName(str(tiny_vlms.save(request.param, tmp_path_factory.mktemp("vlm") / request.param))))


def talk_about(image):
    return Conversation(image, (Message("user", "Write a tune."), Message("assistant", TUNE)))


def eager(model, inputs, rows, columns):
    import torch

    before = model.config.get_text_config()._attn_implementation
    model.set_attn_implementation({"text_config": "eager"})
    with torch.inference_mode():
        layers = model(**inputs, output_attentions=True).attentions
    model.set_attn_implementation({"text_config": before})
    full = [layers[i].mean(1) for i in sorted(full_attention_layers(model))]
    return torch.stack(full).mean(0)[:, rows][:, :, columns]


def test_a_replay_equals_eager_attention(loaded):
    renderer, token = Renderer(loaded.processor), image_token_of(loaded.model.config)
    inputs = renderer.tokenise([talk_about(picture(90, 60)), talk_about(picture(90, 60).rotate(180))], asking=False)
    tokens = inputs["input_ids"][0].tolist()
    (turn,) = renderer.turns(talk_about(picture(90, 60)), tokens)
    rows = [at - 1 for at in turn.positions]
    columns = [at for at, one in enumerate(tokens) if one == token]
    ours = replay(loaded.model, inputs, rows, columns)
    assert float((ours - eager(loaded.model, inputs, rows, columns)).abs().max()) < 1e-4
    assert float(ours.max()) > 1e-3


def test_turns_cover_the_answer_token_by_token(loaded):
    renderer = Renderer(loaded.processor)
    talk = talk_about(picture()).then(TUNE, "Why?").answered("It is calm.")
    tokens = renderer.tokenise([talk], asking=False)["input_ids"][0].tolist()
    turn = renderer.turns(talk, tokens)[-1]
    assert "".join(turn.text[a:b] for a, b in turn.spans) == "It is calm."
    assert loaded.processor.tokenizer.decode([tokens[at] for at in turn.positions]) == "It is calm."


def features(loaded, pixels):
    """What the language model is given for each image token, and the picture as it was tokenised."""
    import torch

    given = {}
    hook = loaded.model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: given.update(kwargs), with_kwargs=True
    )
    image = Image.fromarray(pixels)
    talk = Conversation(image, (Message("user", "x"),))
    inputs = Renderer(loaded.processor).tokenise([talk], asking=True)
    with torch.inference_mode():
        loaded.model.model(**inputs)
    hook.remove()
    places = inputs["input_ids"][0] == image_token_of(loaded.model.config)
    seen = Tokenised(loaded.model.config, loaded.processor, inputs, *image.size, int(places.sum()))
    return given["inputs_embeds"][0][places].numpy(), seen


def test_boxes_that_do_not_match_the_tokens_are_refused(loaded):
    _, seen = features(loaded, np.zeros((60, 60, 3), np.uint8))
    with pytest.raises(ModelError) as caught:
        image_token_boxes(Tokenised(seen.config, seen.processor, seen.inputs, 60, 60, seen.image_tokens + 1_000_003))
    assert caught.value.reason == "unknown_boxes"


QUARTERS = np.array([(0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0, 0.5, 0.5, 1), (0.5, 0.5, 1, 1)])


def test_boxes_on_a_grid_of_their_own_are_painted_as_they_are():
    weights = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    assert grid_of(QUARTERS) == (2, 2)
    np.testing.assert_allclose(paint(weights, QUARTERS, 2, 2), [[[0.1, 0.2], [0.3, 0.4]]], atol=1e-7)


def test_a_view_of_the_whole_is_spread_over_all_cells_and_a_token_without_a_place_over_none():
    boxes = np.vstack([QUARTERS, (0, 0, 1, 1), (math.nan,) * 4])
    weights = np.array([0, 0, 0, 0, 1, 7], np.float32)
    np.testing.assert_allclose(paint(weights, boxes, 2, 4), np.full((2, 4), 1 / 8), atol=1e-7)


SHARES = st.floats(0, 1)


@given(st.lists(st.tuples(SHARES, SHARES, st.floats(0.05, 1), st.floats(0.05, 1)), min_size=1, max_size=9))
def test_painting_keeps_the_sum_of_the_weights(corners):
    boxes = np.array([(x * (1 - w), y * (1 - h), x * (1 - w) + w, y * (1 - h) + h) for x, y, w, h in corners])
    weights = np.linspace(0.1, 1, len(boxes)).astype(np.float32)
    assert paint(weights, boxes, 5, 7).sum() == pytest.approx(weights.sum(), rel=1e-4)
