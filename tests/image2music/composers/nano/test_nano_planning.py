"""From scenes to requests: what is decided before the search begins, varied by seed and the same for the same one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.composers.nano.planning import plan_request
from image2music.composers.nano.sketch import TICKS, bar_ticks
from image2music.composers.suiting import suiting_music
from image2music.images.kinds import PLACES, all_kinds
from image2music.images.scene import Scene
from image2music.music.planning.constraints import PlanConstraints
from image2music.music.planning.vocabulary import DRUM_KIT
from image2music.music.theory import read_tonality

LAKE = Scene(
    "lake",
    things=(("lake", 0.9),),
    far="sky",
    near="water",
    eye_path=("the boat in the middle", "the shore on the left", "the sky at the top"),
    valence=0.5,
    arousal=0.3,
)
names = st.sampled_from([kind.name for kind in all_kinds()])
scenes = st.builds(
    Scene,
    subject=names | st.text(max_size=12),
    things=st.lists(st.tuples(names, st.floats(0.3, 1)), max_size=3).map(tuple),
    people=st.none() | st.integers(0, 9),
    place=st.lists(st.sampled_from(PLACES), max_size=2).map(", ".join),
    eye_path=st.lists(st.text(max_size=8), max_size=5).map(tuple),
    valence=st.none() | st.floats(-1, 1),
    arousal=st.none() | st.floats(0, 1),
)


@given(scenes, st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_any_scene_gives_a_request_that_keeps_to_what_suits(scene: Scene, seed: int) -> None:
    request, music = plan_request(scene, seed)
    assert music == suiting_music(scene)
    assert not set(request.programs) & (music.unsuitable | {DRUM_KIT})
    assert music.slowest <= request.qpm <= music.fastest
    assert request.meter in {meter for meter, _ in music.meter_chances}
    assert read_tonality(request.key) is not None
    assert 14 <= request.bars <= 32
    assert len(set(request.programs)) == len(request.programs)
    assert (request, music) == plan_request(scene, seed)


def test_a_tune_lasts_about_as_long_at_any_tempo_and_meter() -> None:
    seconds = []
    for seed in range(40):
        request, _ = plan_request(LAKE, seed)
        seconds.append(request.bars * bar_ticks(request.meter) / TICKS * 60 / request.qpm)
    assert min(seconds) > 35 and max(seconds) < 90


def test_seeds_vary_key_meter_length_and_instruments() -> None:
    requests = [plan_request(LAKE, seed)[0] for seed in range(40)]
    assert len({one.key for one in requests}) >= 5
    assert len({one.meter for one in requests}) >= 2
    assert len({one.bars for one in requests}) >= 5
    assert len({one.programs for one in requests}) >= 6


def test_sections_will_stand_for_the_places_that_the_eye_visits() -> None:
    assert plan_request(LAKE, 3)[0].picture_parts[:3] == LAKE.eye_path


def test_what_is_wished_for_wins_over_the_scene_and_the_first_wish_over_later_ones() -> None:
    first = PlanConstraints(key="Em", qpm=(120.0, 120.0), meters=("3/4",), bars=(8, 8))
    request, _ = plan_request(LAKE, 1, (first, PlanConstraints(key="C", qpm=(60.0, 60.0), players=((0,),))))
    assert (request.key, request.meter, request.bars, request.programs) == ("Em", "3/4", 8, (0,))
    assert (request.qpm, request.tempo_moves) == (120.0, False)


def test_where_instruments_are_asked_for_no_drums_join_that_the_scene_alone_suggests() -> None:
    race = Scene("race", (("race", 0.9),), valence=0.3, arousal=0.9)
    assert any(plan_request(race, seed)[0].drums for seed in range(20))
    asked = PlanConstraints(players=((40,), (42,)))
    assert not any(plan_request(race, seed, (asked,))[0].drums for seed in range(20))


@pytest.mark.parametrize(("valence", "minor"), [((-1.0, -0.5), True), ((0.5, 1.0), False)])
def test_a_wished_mood_is_heard_as_if_the_scene_felt_so(valence: tuple[float, float], minor: bool) -> None:
    keys = {plan_request(LAKE, seed, (PlanConstraints(valence=valence),))[0].key for seed in range(8)}
    assert {key.endswith(("m", "dor")) for key in keys} == {minor}
