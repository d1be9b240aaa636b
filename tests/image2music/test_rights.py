"""Passports, tags of files, and where a copied run lies: told by hand-made tunes."""

from datetime import UTC, datetime

import pytest
from fakes import two_voice_plan, two_voice_tune

from image2music.composers.registry import KINDS
from image2music.embedders.base import KINDS as EMBEDDERS
from image2music.loop.choose import examine, voices_of_abc
from image2music.plugins import card_licence
from image2music.rights import (
    CopiedRun,
    ModelLicences,
    file_tags,
    longest_copied_run,
    model_name,
    passport,
    rights_row,
)

HEAD = "X:1\nT:T\nM:4/4\nL:1/4\nQ:1/4=96\nK:C\n"
MELODY = HEAD + "C D E F | G A B c | B G E C | D2 z2 |]\n"
TRANSPOSED = HEAD + "z4 | D,3 D, | D E F G | A B c d | c A F D | E2 z2 |]\n"
ROW = {
    "image_id": "ab" * 32,
    "image_uri": "beach.jpg",
    "title": "Low Tide",
    "composer_id": "nano-6@da740b96f939+conse-3:packages",
    "embedder_id": "conse-3:packages",
    "index_uri": "tunes.lance",
    "index_version": 7,
    "settings_hash": "cd" * 32,
    "seed": 5,
    "composed_at": datetime(2026, 3, 4, 5, 6, tzinfo=UTC),
    "references": [],
}


def reference(abc, name="a.mid", **more):
    return {"tune_id": name[0] * 64, "location": name, "abc": abc, **more}


def test_a_copied_run_is_found_in_another_key_with_its_bars_on_both_sides():
    shifted = TRANSPOSED.replace("D E F G | A B c d | c A F D | E2", "D E ^F G | A B ^c d | ^c A ^F D | E2")
    run = longest_copied_run(MELODY, None, [reference(HEAD + "C4 | C4 |]\n", "b.mid"), reference(shifted)])
    assert run == CopiedRun(13, "a" * 64, "a.mid", voice=1, bar=1, last_bar=4, reference_bar=3)


def test_of_equal_runs_the_first_reference_is_named_and_nothing_shared_is_no_run():
    run = longest_copied_run(MELODY, None, [reference(MELODY, "b.mid"), reference(MELODY)])
    assert run.location == "b.mid"
    assert longest_copied_run(MELODY, None, []) is None
    assert longest_copied_run(MELODY, None, [reference("no tune at all")]) is None
    assert longest_copied_run("no tune at all", None, [reference(MELODY)]) is None


@pytest.mark.parametrize("seed", range(4))
def test_the_run_is_as_long_as_the_one_that_bounds_copies_while_a_tune_is_composed(seed):
    abc, others = two_voice_tune(seed), [two_voice_tune(seed + 1), two_voice_tune(seed + 2)]
    draft = examine(abc, [voices_of_abc(other) for other in others], two_voice_plan()).draft
    run = longest_copied_run(abc, two_voice_plan(), [reference(other) for other in others])
    assert (run.notes if run else 0) == draft.longest_copy


def test_every_file_says_for_machines_that_ai_made_it_whether_its_row_has_rights_or_not():
    tags = file_tags(ROW)
    assert tags["title"] == "Low Tide"
    assert tags["artist"] == "nano-6 (AI)"
    assert "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia" in tags["comment"]
    assert tags["copyright"].endswith("licence of the composing model: not known")
    rights = rights_row(ROW["composer_id"], ModelLicences("Apache-2.0"), [], None)
    assert file_tags(ROW | {"rights": rights})["copyright"].endswith("model: Apache-2.0")
    assert all(file_tags(ROW | {"rights": None}).values())


def test_a_passport_names_licences_that_are_known_and_says_which_are_not():
    cited = [reference(MELODY, licence="CC0", source="https://example.org/a"), reference(MELODY, "b.mid")]
    run = longest_copied_run(MELODY, None, cited)
    rights = rights_row(ROW["composer_id"], ModelLicences("Apache-2.0"), cited, run)
    text = passport(ROW | {"rights": rights}, again="image2music compose")
    assert text.splitlines()[0] == "Low Tide"
    assert "trainedAlgorithmicMedia" in text
    assert "licence: CC0; source: https://example.org/a" in text
    assert "b.mid (bbbbbbbbbbbbbbbb); licence: not known; source: not known" in text
    assert (
        "13 notes in a row at most, in bars 1 to 4 of voice 1, as from bar 1 of a.mid; within the bound of 16 notes"
        in text
    )
    assert "again       image2music compose" in text
    assert "there were no references" in passport(ROW)


@pytest.mark.parametrize(
    ("model_id", "words"),
    [
        ("nano-6@da740b96f939+conse-3:packages", "nano, which is image2music's own search and no language model"),
        ("transformers:Qwen/X@1", "Qwen/X, a model that ran where the pictures were composed"),
        ("openai:https://h/v1#big+attention=transformers:Qwen/X@1", "big, a model behind the server https://h/v1"),
        ("somebody-s@1", "somebody-s"),
    ],
)
def test_a_passport_says_in_plain_words_who_composed_and_the_exact_id_on_a_line_of_its_own(model_id, words):
    lines = dict(line.split(maxsplit=1) for line in passport(ROW | {"composer_id": model_id}).splitlines()[1:])
    assert lines["composer"] == f"{words}; licence: not known"
    assert lines["composer_id"] == model_id


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("nano-6@da740b96f939+conse-3:packages", "nano-6"),
        ("transformers:Qwen/Qwen3-VL-8B@abc", "Qwen/Qwen3-VL-8B"),
        ("openai:https://host/v1#big-model+attention=transformers:Qwen/X@1", "big-model"),
    ],
)
def test_models_have_short_names(model_id, name):
    assert model_name(model_id) == name


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\ntags:\n- music\n---\n# Model\nlicense: not this one\n", "apache-2.0"),
        ('---\nlicense: "mit"  # by its authors\n---\n', "mit"),
        ("---\nlicense: other\nlicense_name: house-rules\n---\n", "house-rules"),
        ("---\ntags: [a]\n---\nlicense: mit\n", None),
        ("# Model\nlicense: mit\n", None),
        ("", None),
    ],
)
def test_the_licence_of_a_local_model_is_what_the_front_of_its_card_names(tmp_path, card, licence):
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert card_licence(tmp_path) == licence
    assert KINDS.licence(f"transformers:{tmp_path}") == licence
    assert EMBEDDERS.licence(f"transformers:{tmp_path}") == licence
    assert EMBEDDERS.licence(f"open_clip:local-dir:{tmp_path}") == licence


def test_models_of_a_server_or_a_hub_have_no_licence_that_is_known_here_and_our_own_have():
    assert KINDS.licence("openai:http://localhost:1/v1#model") is None
    assert KINDS.licence("transformers:Qwen/Qwen3-VL-8B") is None
    assert EMBEDDERS.licence("open_clip:ViT-B-32/openai") is None
    assert KINDS.licence("nano").startswith("Apache-2.0")
    assert EMBEDDERS.licence("conse").startswith("Apache-2.0")
