import pickle
from dataclasses import replace

import numpy as np
import pytest
import tiny_vlms
from chat_fakes import METRICS, TUNE, picture, reference, request
from PIL import Image

from image2music.composers import attention
from image2music.composers.base import AttentionOptions, ExplainRequest
from image2music.composers.chat.composer import ChatComposer
from image2music.composers.chat.conversations import AnswerLengths, Conversation, Message, questions_of
from image2music.composers.chat.engine.loading import ModelName
from image2music.composers.chat.engine.transformers_backend import load_transformers_backend
from image2music.composers.constrained.forms import PROSE, TUNE_OF_TWO
from image2music.composers.registry import load_composer
from image2music.errors import ConfigError, ModelError
from image2music.loop.chain import compose_batch
from image2music.settings import LoopSettings

TALKS = [
    Conversation(picture(60, 40), (Message("user", "Hello."),)),
    Conversation(picture(120, 200), (Message("user", "A longer question about <image> this."),)),
    Conversation(picture(90, 90), (Message("user", "And <|im_end|> this one?"),)),
]


@pytest.fixture(scope="module", params=tiny_vlms.FAMILIES)
def backend(request, tmp_path_factory):
    return load_transformers_backend(str(tiny_vlms.save(request.param, tmp_path_factory.mktemp("vlm") / request.param)))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return str(tiny_vlms.save("qwen2_5_vl", tmp_path_factory.mktemp("vlm") / "tiny-qwen"))


def test_answers_do_not_depend_on_the_batch(backend):
    seeds = [1, None, 3]
    together = backend.generate(questions_of(TALKS, seeds, 12))
    alone = [backend.generate(questions_of([talk], [seed], 12))[0] for talk, seed in zip(TALKS, seeds, strict=True)]
    assert together == alone
    assert any(together)


def test_another_seed_gives_another_answer(qwen):
    answers = load_transformers_backend(qwen).generate(questions_of([TALKS[0]] * 3, [1, 2, 1], 12))
    assert answers[0] == answers[2] != answers[1]


def test_looks_are_shares_on_a_grid_with_a_baseline(backend):
    talk = TALKS[1].then(TUNE, "Why?").answered("It is calm. So it is slow.")
    tune, motivation = backend.attention(talk)
    assert tune.weights.shape == tune.baseline.shape == (len(tune.spans), *motivation.weights.shape[1:])
    assert np.isfinite(tune.weights).all()
    assert 0 < tune.weights.sum((1, 2)).max() < 1
    assert not np.allclose(tune.weights, tune.baseline)


def test_a_composer_explains_with_a_tiny_model(qwen):
    composer = ChatComposer(load_transformers_backend(qwen), AnswerLengths(description=5, tune=5, motivation=5))
    asked = ExplainRequest(request(references=[reference()]), TUNE, "Morning", METRICS)
    (explanation,) = composer.explain([asked])
    assert [found.segment for found in explanation.attention][:4] == ["all", "voice 1", "voice 2", "bars 1-4"]


def test_the_spec_loads_a_folder_and_the_id_names_its_content_not_its_place(qwen):
    composer = load_composer(f"transformers:{qwen}")
    assert composer.id.startswith("transformers:tiny-qwen@")
    assert len(composer.id.rpartition("@")[2]) == 12


def test_a_missing_model_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="check the id or folder") as caught:
        load_transformers_backend(str(tmp_path / "nothing"))
    assert caught.value.reason == "model_not_loaded"
    assert "\n" not in str(caught.value)


def test_a_name_may_pin_a_revision_and_only_a_flag_lets_a_models_own_code_run():
    assert ModelName.parse("org/model") == ModelName("org/model", None, False)
    assert ModelName.parse("org/model@abc+remote_code") == ModelName("org/model", "abc", True)
    with pytest.raises(ConfigError):
        ModelName.parse("@abc")


def test_a_loaded_model_is_not_pickled(qwen):
    with pytest.raises(TypeError, match="load it where it is needed"):
        pickle.dumps(load_transformers_backend(qwen))


def test_a_tune_keeps_to_the_grammar_and_prose_does_not_have_to(qwen):
    tune, prose = (
        load_transformers_backend(qwen).generate(questions_of(TALKS[:1], [4], 60, form))[0]
        for form in (TUNE_OF_TWO, PROSE)
    )
    assert tune.startswith("X:1\nT:")
    assert not prose.startswith("X:1")


def test_where_an_unknown_family_looks_is_left_out_with_the_reason(qwen, monkeypatch):
    monkeypatch.delitem(attention._FAMILIES, "qwen2_5_vl")
    with pytest.raises(ModelError, match="where the image tokens of qwen2_5_vl lie is not known"):
        load_transformers_backend(qwen).attention(TALKS[0].answered("It is calm."))


def test_a_whole_loop_with_a_random_model_ends_with_a_valid_tune(qwen):
    composer = ChatComposer(load_transformers_backend(qwen), AnswerLengths(description=10, tune=150, motivation=20))
    (tune,) = compose_batch(
        composer, [request(seed=1, references=[reference()])], LoopSettings(rounds=1, protocol="paper")
    )
    assert not isinstance(tune, Exception), tune
    assert tune.draft.errors == 0
    assert tune.explanation.attention[0].weights.sum() > 0


def test_layers_and_faithfulness_are_there_when_asked_for(qwen):
    asked = ExplainRequest(request(), TUNE, "Morning", METRICS, AttentionOptions(layers=True, faithfulness=True))
    composer = ChatComposer(load_transformers_backend(qwen), AnswerLengths(motivation=12))
    (explanation,), (plain,) = (
        composer.explain([one]) for one in (asked, replace(asked, attention_options=AttentionOptions()))
    )
    for found, without in zip(explanation.attention, plain.attention, strict=True):
        assert found.layers.shape == (2, *found.weights.shape)
        assert np.allclose(found.layers.mean(0), found.weights, atol=1e-6)
        assert np.allclose(found.weights, without.weights, atol=1e-6)
        assert (without.layers, without.faithfulness) == (None, None)
        assert np.isfinite(list(found.faithfulness.values())).all()
        assert found.faithfulness["deletion"] != found.faithfulness["deletion_centre"]


def test_likelihood_is_that_of_the_whole_text_and_hangs_on_the_picture(qwen):
    talk, other = TALKS[0].answered("It is calm."), Image.new("RGB", TALKS[0].image.size, (200, 30, 30))
    same, again, different = load_transformers_backend(qwen).log_likelihood(talk, [talk.image, talk.image, other])
    assert (same <= 0).all()
    assert (same == again).all()
    assert not np.allclose(same, different)
