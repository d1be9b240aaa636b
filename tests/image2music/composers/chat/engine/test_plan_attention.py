"""Attention under the plan protocol: over the tune that stands, whoever wrote it, and without harm where it fails."""

from dataclasses import replace

import pytest
import tiny_vlms
from chat_fakes import FakeBackend, request
from chat_server import says, serving
from recorded_player import recorded, stand_in

from benchmarks.families import WHY, asked_to_explain, mapped, same_maps
from image2music.composers import registry
from image2music.composers.base import AttentionOptions
from image2music.composers.chat.composer import ChatComposer
from image2music.composers.chat.engine.transformers_backend import load_transformers_backend
from image2music.composers.chat.server import RemoteWithLocalAttention
from image2music.errors import ModelError
from image2music.loop.chain import compose_batch
from image2music.settings import LoopSettings

pytestmark = pytest.mark.slow

PROTOCOLS = pytest.mark.parametrize("by_plan", [True, False], ids=["plan", "paper"])


class Recorded(FakeBackend):
    """A strong model, which answers each step as it was recorded."""

    def generate(self, questions):
        return [recorded("astronaut", one.step) for one in questions]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    text = "".join(recorded("astronaut", step) for step in ("look", "plan", "write", "motivation"))
    home = tmp_path_factory.mktemp("vlm") / "tiny-qwen"
    return str(tiny_vlms.save("qwen2_5_vl", home, text=text, tokens=1500))


@pytest.fixture(scope="module")
def loaded(folder):
    return load_transformers_backend(folder)


@pytest.fixture
def replays(loaded, monkeypatch):
    """The conversations that are replayed, beside what is measured in them."""
    kept, measure = [], loaded.attention

    def attention(conversation, *, layers=False):
        found = measure(conversation, layers=layers)
        kept.append((conversation, found))
        return found

    monkeypatch.setattr(loaded, "attention", attention)
    return kept


def composed(backend):
    composer = ChatComposer(backend)
    image = stand_in("astronaut")
    (description,) = composer.look([image])
    (tune,) = compose_batch(composer, [replace(request(), image=image, description=description)], LoopSettings())
    return tune


def test_what_is_replayed_is_the_tune_that_stands_after_all_edits(loaded, replays):
    tune = composed(RemoteWithLocalAttention(Recorded(""), loaded))
    stands = tune.draft.abc
    assert any(step.accepted for step in tune.rounds[1:])
    ((conversation, turns),) = replays
    look, abc, motivation = [turn.text for turn in conversation.messages if turn.role == "assistant"]
    assert look == recorded("astronaut", "look").strip()
    assert abc == stands.strip() != tune.rounds[0].draft.abc.strip()
    assert motivation == tune.explanation.motivation
    assert [turn.text for turn in turns] == [look, abc, motivation]
    found = {one.segment: one for one in tune.explanation.attention}
    assert [name for name in found if name.startswith("voice")] == [f"voice {at}" for at in range(1, 6)]
    assert [name for name in found if name.startswith("bars")] == [f"bars {at}-{at + 3}" for at in range(1, 33, 4)]
    assert found["all"].weights.shape == found["sentence 1"].weights.shape


def test_a_tune_that_the_model_cannot_read_whole_has_no_maps_says_why_and_stays(loaded, monkeypatch):
    monkeypatch.setattr(loaded.chat, "context", 1000)
    tune = composed(RemoteWithLocalAttention(Recorded(""), loaded))
    assert (tune.bars, tune.title) == (32, "The Ring and the Helmet")
    assert tune.explanation.motivation
    assert (tune.explanation.attention, tune.explanation.attention_missing) == ((), "longer_than_context")


@PROTOCOLS
def test_a_context_that_is_too_short_is_said_under_both_protocols(loaded, monkeypatch, by_plan):
    monkeypatch.setattr(loaded.chat, "context", 100)
    monkeypatch.setattr(loaded, "generate", lambda questions: [WHY] * len(questions))
    (reason,) = mapped(loaded, loaded, by_plan=by_plan).faults
    assert reason.endswith("longer_than_context")


def test_a_question_that_is_longer_than_the_model_can_read_is_refused_with_what_to_do(loaded, monkeypatch):
    monkeypatch.setattr(loaded.chat, "context", 100)
    with pytest.raises(ModelError, match="more than the model can read, 100: take smaller steps"):
        ChatComposer(loaded).explain([asked_to_explain(by_plan=True)])


@PROTOCOLS
def test_a_served_model_and_one_beside_it_give_the_maps_of_one_that_runs_here(folder, loaded, monkeypatch, by_plan):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    options = AttentionOptions(layers=True)
    asked = replace(asked_to_explain(by_plan=by_plan), attention_options=options)
    monkeypatch.setattr(loaded, "generate", lambda questions: [WHY] * len(questions))
    (here,) = ChatComposer(loaded).explain([asked])
    with serving() as server:
        server.replies = [says(WHY)]
        served = registry.load_chat_backend(f"openai:{server.url}#m+attention=transformers:{folder}")
        (beside,) = ChatComposer(served).explain([asked])
    assert beside.motivation == here.motivation == WHY
    assert same_maps(beside.attention, here.attention)
    assert {one.kind for one in beside.attention} == {"all", "voice", "bars", "motivation"}
    for ours in beside.attention:
        assert ours.layers.mean(0) == pytest.approx(ours.weights, abs=1e-6)


def test_a_voice_by_rule_has_no_map_of_its_own_and_counts_for_no_other(loaded):
    by_plan, by_chain = (mapped(loaded, loaded, by_plan=which) for which in (True, False))
    assert by_plan.faults == by_chain.faults == ()
    assert [one.segment for one in by_plan.maps if one.kind == "voice"] == ["voice 1", "voice 3"]
    assert [one.segment for one in by_chain.maps if one.kind == "voice"] == ["voice 1", "voice 2", "voice 3"]
    whole, first, third = by_plan.maps[:3]
    low, high = sorted((first.weights.sum(), third.weights.sum()))
    assert low < whole.weights.sum() < high, "a mean over tokens of these two voices alone"
