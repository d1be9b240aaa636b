"""What in the picture decided the plan: the map of a decision lies where what it hangs on is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image2music.composers.base import ComposeRequest
from image2music.composers.nano.explaining import DECISIONS, decided_by_picture, decision_maps
from image2music.composers.nano.gestures import DEVICE_WORDS
from image2music.composers.suiting import suiting_music
from image2music.embedders import conse
from image2music.images.leaving_out import block_masks, cell_means
from image2music.images.scene import Scene
from image2music.music.planning.constraints import PlanConstraints
from image2music.music.planning.plan import Device
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.types import Description

CAT = Path(__file__).parents[3] / "fixtures" / "release_1" / "pictures" / "cat.jpg"
DOG = Scene("dog", things=(("dog", 0.9),), place="outdoors", eye_path=("the dog at the top",), valence=0.4, arousal=0.4)
NO_DOG = Scene("outdoors", place="outdoors", eye_path=("the grass",), valence=0.1, arousal=0.2)


def plan_for(scene: Scene):
    programs = suiting_music(scene).ensembles[0].programs
    plan = plan_tune(PlanRequest(programs=programs[:3], picture_parts=scene.eye_path, seed=1))
    return replace(plan, device=Device(DEVICE_WORDS["call"], 9, (1,)))


def without_in(corner: tuple[int, int]) -> list[Scene]:
    """The dog stands in one cell."""
    return [NO_DOG if mask[corner] else DOG for mask in block_masks()]


def test_blocks_cover_the_picture_and_means_come_back_to_it():
    masks = block_masks()
    assert masks.shape == (36, 7, 7) and masks.any(axis=0).all() and (masks.sum(axis=(1, 2)) == 4).all()
    assert np.allclose(cell_means([2.0] * 36), 2.0)


@pytest.mark.parametrize("corner", [(0, 0), (6, 6), (3, 2)])
def test_every_decision_hangs_on_where_the_dog_is(corner):
    maps = decision_maps(DOG, without_in(corner), plan_for(DOG))
    assert [one.text for one in maps] == list(DECISIONS)
    for one in maps:
        assert one.kind == "plan" and one.segment == f"plan: {one.text}"
        assert one.weights.sum() == pytest.approx(1, abs=1e-5) and one.weights.min() >= 0
        assert np.unravel_index(one.weights.argmax(), (7, 7)) == corner
        assert np.allclose(one.baseline, 1 / 49)


def test_what_hangs_on_nothing_has_no_map():
    assert decision_maps(DOG, [DOG] * 36, plan_for(DOG)) == ()
    assert decision_maps(DOG, (), plan_for(DOG)) == ()


def test_only_what_the_picture_decided_is_explained():
    request = ComposeRequest("1", Image.new("RGB", (8, 8)), Description("", scene=DOG), (), 0)
    assert decided_by_picture(request) == set(DECISIONS)
    assert decided_by_picture(replace(request, plan=plan_for(DOG))) == set()
    slow = replace(request, constraints=(PlanConstraints(qpm=(50, 60)),))
    assert decided_by_picture(slow) == set(DECISIONS) - {"tempo"}


@pytest.mark.parametrize("corner", [(0, 0), (1, 1)])
def test_the_map_of_the_instruments_lies_on_a_cat_in_a_corner(corner, monkeypatch):
    monkeypatch.setattr(conse, "find_people", lambda image, hints: None)
    picture = Image.new("RGB", (448, 448), (120, 150, 110))
    cat = Image.open(CAT).convert("RGB").resize((192, 192))
    picture.paste(cat, tuple(256 * side for side in reversed(corner)))
    (look,) = conse.load_conse().look([picture])
    assert len(look.without) == 36
    maps = {one.text: one.weights for one in decision_maps(look.scene, look.without, plan_for(look.scene))}
    weights = maps["instruments"]
    there = weights[slice(0, 4) if corner[0] == 0 else slice(3, 7), slice(0, 4) if corner[1] == 0 else slice(3, 7)]
    assert there.sum() > 0.6, look.scene
