from dataclasses import replace

import pytest

from image2music.composers.base import AttentionOptions
from image2music.errors import ConfigError
from image2music.settings import ComposeSettings, LoopSettings, prompts_version
from pipelines.runtime.options import FailureBound

SETTINGS = ComposeSettings("composer@1", "embedder@1", "prompts", top_k=3, loop=LoopSettings(), seed=0)


def test_hash_is_the_same_on_every_machine():
    assert SETTINGS.hash[:16] == "c0695db7f4170722"


@pytest.mark.parametrize(
    "other",
    [
        {"composer_id": "composer@2"},
        {"embedder_id": "embedder@2"},
        {"prompts_version": "others"},
        {"top_k": 4},
        {"loop": LoopSettings(rounds=3)},
        {"loop": LoopSettings(protocol="paper")},
        {"loop": LoopSettings(candidates=4)},
        {"seed": 1},
        {"looking": AttentionOptions(layers=True).name},
        {"length": 30.0},
        {"seamless": True},
    ],
)
def test_whatever_changes_rows_changes_the_hash(other):
    assert replace(SETTINGS, **other).hash != SETTINGS.hash


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: LoopSettings(rounds=-1), "bad_rounds"),
        (lambda: LoopSettings(protocol="ours"), "bad_protocol"),
        (lambda: LoopSettings(candidates=0), "bad_candidates"),
        (lambda: LoopSettings(protocol="paper", candidates=2), "bad_candidates"),
        (lambda: replace(SETTINGS, top_k=0), "bad_top_k"),
        (lambda: replace(SETTINGS, seed=-1), "bad_seed"),
        (lambda: FailureBound.parse("many"), "bad_max_failures"),
        (lambda: FailureBound.parse("-1"), "bad_max_failures"),
        (lambda: FailureBound.parse("101%"), "bad_max_failures"),
    ],
)
def test_what_cannot_work_is_refused_on_creation(make, reason):
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "failed", "allowed"),
    [("5%", 5, True), ("5%", 6, False), ("0.05", 5, True), ("2", 2, True), ("2", 3, False), ("0", 0, True)],
)
def test_a_bound_is_a_number_or_a_share_of_a_hundred_pictures(text, failed, allowed):
    assert FailureBound.parse(text).allows(failed, total=100) is allowed


def test_prompts_have_a_version():
    assert len(prompts_version()) == 16
