"""Memory by calculation, against the library's own count of a model's numbers and against real sizes.

The two configurations hold only what the calculation reads. Qwen2.5-VL-7B: its published config.json. Keye-VL-8B: its
technical report (arXiv 2507.01949) names Qwen3-8B and SigLIP-400M-384-14, whose published configurations these are.
"""

import json

import pytest
import tiny_vlms
import torch
from safetensors.torch import load_file

from image2music.composers.chat.engine import loading
from image2music.composers.chat.engine.cache import FEATURES_BYTES, MOST_PREFIX_BYTES, ROOM, room_for_prefixes
from image2music.composers.chat.engine.loading import (
    GIB,
    ModelName,
    largest_batch,
    load_model,
    memory_need,
    model_id,
    read_config,
    shape_of,
)
from image2music.composers.chat.engine.transformers_backend import memory_report
from image2music.errors import ModelError

QWEN = {
    "model_type": "qwen2_5_vl",
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "max_position_embeddings": 128000,
    "tie_word_embeddings": False,
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}
KEYE = {
    "model_type": "Keye",
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
    "vision_config": {
        "num_hidden_layers": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
        "spatial_merge_size": 2,
    },
}


def saved(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(("config", "billions"), [(QWEN, 8.292), (KEYE, 8.7)])
def test_real_models_have_as_many_numbers_as_their_makers_say(config, billions):
    assert shape_of(config).parameters / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "llava", "gemma3"])
def test_numbers_are_those_of_the_saved_model(family, tmp_path):
    config = read_config(ModelName(str(tiny_vlms.save(family, tmp_path, layers=4, width=256))))
    saved = load_file(tmp_path / "model.safetensors")
    assert shape_of(config).parameters == pytest.approx(sum(numbers.numel() for numbers in saved.values()), rel=0.02)


def test_keys_and_values_grow_with_the_batch_and_weights_and_replays_do_not():
    one, two, eight = (memory_need(shape_of(QWEN), batch, 10_000, 2500) for batch in (1, 2, 8))
    assert (eight.weights, eight.attention, eight.tokens) == (one.weights, one.attention, one.tokens)
    a_conversation = (one.tokens + ROOM) * 2 * 28 * 4 * 128 * 2
    of_a_layer = a_conversation // 28
    assert two.key_values - one.key_values == a_conversation + of_a_layer
    assert eight.key_values == (8 + 1) * a_conversation + 8 * of_a_layer


def test_what_is_kept_for_later_rounds_is_what_the_reader_has_room_for(monkeypatch):
    taken = memory_need(shape_of(QWEN), 4, 10_000, 2500)
    free = taken.total - taken.weights
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    room = room_for_prefixes(torch.device("cuda"))
    assert taken.cached == pytest.approx(room + FEATURES_BYTES, rel=1e-6)
    large = memory_need(shape_of(QWEN), 64, 10_000, 2500)
    assert large.cached == MOST_PREFIX_BYTES + FEATURES_BYTES


@pytest.mark.parametrize("gib", [16, 24, 48, 80])
def test_the_largest_batch_of_a_card_fits_and_the_next_one_does_not(gib):
    shape = shape_of(QWEN)
    most = largest_batch(shape, gib, 10_000, 2500)
    if most:
        assert memory_need(shape, most, 10_000, 2500).key_values <= 0.9 * gib * GIB
        assert memory_need(shape, most, 10_000, 2500).total <= 0.9 * gib * GIB
    assert memory_need(shape, most + 1, 10_000, 2500).total > 0.9 * gib * GIB


def test_a_folder_with_nothing_but_a_configuration_is_enough(tmp_path):
    said = memory_report(read_config(ModelName(str(saved(tmp_path, QWEN)))), 16)
    assert said["memory"].startswith("33.6 GiB in bfloat16: weights (8.29 billion) 15.4")
    assert "RTX 4090, L4, A10 (24 GiB) 2" in said["fits"]
    assert "T4 (16 GiB)" in said["fits not"]
    assert "family" not in said


def test_a_family_that_does_not_run_here_is_sized_too(tmp_path):
    said = memory_report(read_config(ModelName(str(saved(tmp_path, KEYE)))), 16)
    assert "weights (8.64 billion) 16.1" in said["memory"]
    assert "serve it" in said["family"]


def test_a_configuration_of_something_else_has_no_size():
    with pytest.raises(ModelError, match="does not say how large"):
        shape_of({"model_type": "bert", "hidden_size": 8})


def test_a_model_is_named_without_loading_it_as_it_is_when_loaded(tmp_path):
    folder = tiny_vlms.save("qwen2_5_vl", tmp_path / "tiny")
    assert model_id(ModelName(str(folder))) == load_model(ModelName(str(folder))).id


def test_a_model_that_does_not_fit_is_refused_with_what_it_takes_and_what_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "free_memory", lambda device: 10 * GIB)
    with pytest.raises(ModelError, match=r"takes \d+\.\d GiB .* and 10\.0 GiB") as caught:
        load_model(ModelName(str(saved(tmp_path, QWEN))))
    assert caught.value.reason == "does_not_fit"


def test_this_machine_says_how_much_memory_is_free():
    assert loading.free_memory("cpu") > GIB / 4
