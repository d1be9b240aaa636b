"""A server writes, and a tiny random model that runs here says where it looks in what was written."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_vlms
from chat_fakes import METRICS, TUNE, FakeBackend, reference, request
from chat_server import says, serving

from image2music.composers import registry
from image2music.composers.base import AttentionOptions, ExplainRequest
from image2music.composers.chat.composer import ChatComposer
from image2music.composers.chat.engine import loading, transformers_backend
from image2music.composers.chat.server import RemoteWithLocalAttention, ServedSpec, load_served
from image2music.errors import ConfigError, ModelError

WHY = "It is calm. So it is slow."
ASKED = ExplainRequest(request(references=[reference()]), TUNE, "Morning", METRICS)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        server.replies = [says(WHY)]
        yield server


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return str(tiny_vlms.save("qwen2_5_vl", tmp_path_factory.mktemp("vlm") / "tiny-qwen"))


@pytest.fixture(scope="module")
def loaded(qwen):
    return transformers_backend.load_transformers_backend(qwen)


def explained(backend, attention_options=AttentionOptions()):  # noqa: B008 - frozen
    return ChatComposer(backend).explain([replace(ASKED, attention_options=attention_options)])[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "attention_options", [AttentionOptions(), AttentionOptions(layers=True, faithfulness=True)], ids=["maps", "all"]
)
def test_maps_are_those_of_a_composer_that_runs_here_and_says_the_same(
    qwen, loaded, server, monkeypatch, attention_options
):
    found = explained(
        registry.load_chat_backend(f"openai:{server.url}#m+attention=transformers:{qwen}"), attention_options
    )
    monkeypatch.setattr(loaded, "generate", lambda questions: [WHY] * len(questions))
    wanted = explained(loaded, attention_options)
    assert found.motivation == wanted.motivation == WHY
    assert {one.kind for one in found.attention} == {"all", "voice", "bars", "motivation"}
    for ours, theirs in zip(found.attention, wanted.attention, strict=True):
        assert (ours.segment, ours.kind, ours.text) == (theirs.segment, theirs.kind, theirs.text)
        assert np.array_equal(ours.weights, theirs.weights)
        assert np.array_equal(ours.baseline, theirs.baseline)
        assert ours.faithfulness == theirs.faithfulness
        assert (ours.layers is None) == (not attention_options.layers)
        assert not attention_options.layers or np.array_equal(ours.layers, theirs.layers)


def test_the_conversation_that_is_replayed_is_the_one_that_the_server_had():
    remote, attention_model = FakeBackend(WHY), FakeBackend("never asked")
    explained(RemoteWithLocalAttention(remote, attention_model))
    ((asked, *_),), (replayed,) = remote.requests, attention_model.replayed
    assert replayed.messages[:-1] == asked.messages
    assert (replayed.messages[-1].role, replayed.messages[-1].text) == ("assistant", WHY)


def test_a_prompt_finds_room_in_both_models():
    small, large = FakeBackend("", prompt_tokens=500), FakeBackend("", prompt_tokens=6000)
    large.count_tokens = len
    for both in (RemoteWithLocalAttention(small, large), RemoteWithLocalAttention(large, small)):
        assert both.prompt_tokens == 500
        assert both.count_tokens("two words") == len("two words")


def test_a_text_that_the_model_cannot_read_has_no_maps_and_says_why(loaded, monkeypatch):
    monkeypatch.setattr(loaded.chat, "context", 100)
    found = explained(RemoteWithLocalAttention(FakeBackend(WHY), loaded))
    assert (found.attention, found.attention_missing) == ((), "longer_than_context")


def test_the_id_names_both_models_with_the_revision_of_the_one_that_runs_here(qwen, server, capsys):
    spec = f"openai:{server.url}#m+attention=transformers:{qwen}"
    composer = registry.load_composer(spec)
    assert composer.id == registry.composer_id(spec)
    assert composer.id.startswith(f"openai:{server.url}#m+attention=transformers:tiny-qwen@")
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "image2music:" in line]
    assert f"pictures are sent to {server.url}/chat/completions" in said
    assert "tiny-qwen says here where it looks" in said


def test_the_model_is_loaded_once_a_process_and_not_at_all_to_name_it(qwen, server, monkeypatch):
    loads = []
    monkeypatch.setattr(
        transformers_backend, "load_transformers_backend", lambda name: loads.append(name) or FakeBackend("never asked")
    )
    spec = f"openai:{server.url}#once+attention=transformers:{qwen}"
    registry.composer_id(spec)
    assert loads == []
    assert registry.load_composer(spec) is registry.load_composer(spec)
    assert loads == [qwen]


def test_a_plan_counts_the_memory_of_the_model_that_runs_here(qwen):
    assert registry.composer_memory_report("openai:http://h/v1#m", 16) == {"memory": "that of the server"}
    lines = registry.composer_memory_report(f"openai:http://h/v1#m+attention=transformers:{qwen}", 16)
    assert lines["memory"].startswith("that of the server, and 2.7 GiB here in bfloat16 for attention: weights")
    assert "T4 (16 GiB)" in lines["fits"]


@pytest.mark.parametrize("attention_model", ["", "org/model", "nano", "transformers:", "transformers:@abc"])
def test_what_names_no_model_that_runs_here_is_refused(attention_model):
    with pytest.raises(ConfigError) as caught:
        registry.load_composer(f"openai:http://h/v1#m+attention={attention_model}")
    assert caught.value.reason == "bad_composer_spec"


def test_revision_and_flag_of_the_model_are_its_own():
    parsed = ServedSpec.parse("http://h/v1#org/model@2+attention=transformers:org/other@abc+remote_code")
    assert (parsed.endpoint.model, parsed.attention_model) == ("org/model@2", "org/other@abc+remote_code")


def test_a_model_that_is_not_there_is_one_line_before_any_picture_is_sent(tmp_path, server, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for named in (registry.load_composer, registry.composer_id):
        with pytest.raises(ModelError, match="check the id or folder") as caught:
            named(f"openai:{server.url}#m+attention=transformers:{tmp_path / 'nothing'}")
        assert caught.value.reason == "model_not_loaded"
        assert "\n" not in str(caught.value)
    assert server.seen == []


def test_a_family_whose_image_tokens_have_no_known_place_is_refused_before_it_is_loaded(server, monkeypatch):
    monkeypatch.setattr(loading, "read_config", lambda wanted: {"model_type": "Keye"})
    with pytest.raises(ModelError, match="image tokens of Keye") as caught:
        load_served(f"{server.url}#m+attention=transformers:org/keye")
    assert caught.value.reason == "unknown_boxes"
