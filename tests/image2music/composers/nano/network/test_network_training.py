"""What the network learns from: melodies out of scores, windows with pictures, and a training run of a few steps."""

import json

import numpy as np
import pytest
import torch

from image2music.abc.playback import abc_to_score
from image2music.composers.nano.network import train
from image2music.composers.nano.network.dataset import (
    NOT_HIDDEN,
    BatchesBySeed,
    Hiding,
    PictureMaker,
    Prepared,
    encode_line,
    line_window,
    load_prepared,
    save_prepared,
    spoiled_pairs,
)
from image2music.composers.nano.network.repertoire import (
    lines_of,
    read_rank_file,
    sections_of,
    sketch_of_json,
    sketch_to_json,
    spoiled,
)
from image2music.composers.nano.network.tokens import CHORD_ROW, FIRST, HEADS, KIND, NOTE_ROW
from image2music.music.critic.training import HumanPiece

HYMN = """X:1
M:3/4
L:1/4
K:G
V:1
V:2
V:3
[V:1] G2 G|A2 F|G3|B2 B|c2 A|B3|d2 d|c2 B|A3|G2 A|B2 A|G3|]
[V:2] D2 D|D2 D|D3|G2 G|G2 F|G3|G2 G|E2 G|F3|E2 E|D2 D|D3|]
[V:3] B,2 B,|C2 A,|B,3|D2 D|E2 D|D3|B,2 B,|C2 D|D3|C2 C|G,2 C|B,3|]
"""
JIG = """X:1
M:6/8
L:1/8
K:Edor
|:B|EFE GAB|dBA FAD|EFE GAB|AFD E2:|
|:F|GFG BAB|dBA FAD|GFG BAB|AFD E2:|
"""


def line_of(abc, kind="hymn", group="g", name="n"):
    return next(iter(lines_of(HumanPiece(name, kind, group, abc_to_score(abc)), "A Morning Hymn")))


@pytest.fixture(scope="module")
def hymn():
    return line_of(HYMN)


@pytest.fixture(scope="module")
def prepared(hymn):
    dice = np.random.Generator(np.random.Philox(0))
    things = dice.normal(0, 0.25, (30, 16)).astype(np.float32)
    kinds = dice.normal(0, 1, (20, 2)).astype(np.float32)
    lines = [encode_line(hymn, 21), encode_line(line_of(JIG, "solo"), -1)]
    poles = dice.normal(0, 0.25, (4, 2, 16)).astype(np.float32)
    pairs = spoiled_pairs([hymn], [hymn], 0)
    return Prepared(lines, lines, things, kinds, poles, things[0], pairs)


def test_a_hymn_is_its_soprano_with_chords_from_all_voices(hymn):
    sketch = hymn.sketch
    assert (sketch.key, sketch.meter, len(sketch.bars)) == ("G", "3/4", 12)
    assert sketch.bars[3].notes == ((0, 24, 71), (24, 12, 71))
    assert [bar.chords for bar in sketch.bars[:1]] == [("G/B",)]
    assert sketch.bars[1].chords[0].startswith(("D", "F#"))
    assert {"tempo", "dynamic", "character"} <= hymn.unknown


def test_a_pickup_that_completes_the_last_bar_makes_one_bar_of_both():
    sketch = line_of(JIG, "solo").sketch
    assert sketch.key == "Edor" and sketch.meter == "6/8"
    assert len(sketch.bars) == 16
    assert all(sum(length for _, length, _ in bar.notes) == 36 for bar in sketch.bars[:-1])
    assert all(not bar.chords for bar in sketch.bars)


def test_a_theme_that_comes_back_is_told_from_another():
    theme = [((0, 12, 60), (12, 12, 64), (24, 24, 67))] * 3 + [((0, 48, 60),)]
    other = [((0, 6, 62), (6, 6, 65), (12, 6, 69), (18, 6, 65), (24, 24, 57))] * 3 + [((0, 48, 62),)]
    bars = theme * 2 + other * 2 + theme * 2
    sections, purposes = sections_of(bars, 48, 12)
    assert sections == [0] * 8 + [1] * 8 + [2] * 8
    assert purposes == ["statement", "contrast", "return"]


def test_a_sketch_goes_through_json(hymn, tmp_path):
    assert sketch_of_json(json.loads(json.dumps(sketch_to_json(hymn.sketch)))) == hymn.sketch
    file = tmp_path / "rank.jsonl"
    file.write_text(json.dumps({"sketch": sketch_to_json(hymn.sketch), "rank": 2, "group": "a"}) + "\n")
    assert read_rank_file(file) == [(hymn.sketch, 2.0, "a")]


def test_spoiled_lines_keep_their_bars_and_differ(hymn):
    dice = np.random.Generator(np.random.Philox(0))
    made = [spoiled(hymn.sketch, dice) for _ in range(40)]
    assert all(len(sketch.bars) == 12 for sketch in made)
    assert sum(sketch != hymn.sketch for sketch in made) > 35


def test_the_regions_of_a_picture_share_out_the_grid_and_sections_get_theirs(prepared):
    maker = PictureMaker(prepared.kinds)
    dice = np.random.Generator(np.random.Philox(2))
    for n in (2, 3, 5, 7):
        regions = maker.regions(n, dice)
        assert (regions.sum(0) == 1).all() and (regions.sum(1) > 0).all()
    window = line_window(prepared.training[0], maker, dice, NOT_HIDDEN, from_start=True)
    n_sections = len(set(prepared.training[0].sections))
    assert window.regions.shape == (n_sections, 49) and window.looks.shape == (49, 4)
    assert 21 in window.things[window.regions[0]], "what the title names lies where the tune begins"


def test_hidden_conditions_never_hide_the_notes(prepared):
    dice = np.random.Generator(np.random.Philox(3))
    every = Hiding(1, 1, 1, 1, 1, 1)
    window = line_window(prepared.training[0], PictureMaker(prepared.kinds), dice, every, from_start=True)
    notes = window.rows[:, KIND] == NOTE_ROW
    chords = window.rows[:, KIND] == CHORD_ROW
    assert (window.rows[notes, FIRST] == window.shown[notes, FIRST]).all()
    assert (window.rows[chords, FIRST] != window.shown[chords, FIRST]).all()
    assert not window.shown[:, HEADS:].any() and window.rows[:, HEADS:].any()
    assert not window.is_pictured and window.n_bars == 0


def test_batches_depend_on_seed_and_number_alone(prepared):
    batches = BatchesBySeed(prepared, 3, 0)
    first, again = batches[5], BatchesBySeed(prepared, 3, 0)[5]
    assert all(
        torch.equal(a.shown, b.shown) and torch.equal(a.things, b.things) for a, b in zip(first, again, strict=True)
    )


def test_what_was_prepared_is_read_back(prepared, tmp_path):
    save_prepared(prepared, tmp_path / "lines.npz")
    again = load_prepared(tmp_path / "lines.npz")
    assert again.training[1].bar_rows == prepared.training[1].bar_rows
    assert (again.training[1].rows == prepared.training[1].rows).all()
    assert (again.pairs[0][1] == prepared.pairs[0][1]).all() and len(again.held_out) == 2


def test_training_goes_on_where_it_stopped_and_writes_weights(prepared, tmp_path, monkeypatch, hymn):
    save_prepared(prepared, tmp_path / "lines.npz")
    sizes = ["--out", str(tmp_path), "--batch", "2", "--width", "32", "--layers", "1", "--lively_steps", "10"]
    train.main([*sizes, "--steps", "4"])
    train.main([*sizes, "--steps", "8"])
    steps = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 8
    assert all("nats_a_note.all" in entry for entry in steps if entry.get("step") == "end")
    before = (tmp_path / "model.safetensors").read_bytes()
    entries = [{"sketch": sketch_to_json(hymn.sketch), "rank": rank, "group": "g"} for rank in (0, 1)]
    (tmp_path / "rank.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    train.main([*sizes, "--rank", str(tmp_path / "rank.jsonl")])
    assert (tmp_path / "model.safetensors").read_bytes() != before
