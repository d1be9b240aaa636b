"""From scenes to plans: any scene gives a plan that can be played, varied by seed and the same for the same one."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.composers.nano.planning import plan_request, plan_scene, with_melody
from image2music.composers.nano.vocabulary import DANCED_IN, METERS, suiting_words
from image2music.composers.suiting import suiting_music
from image2music.images.kinds import PLACES, all_kinds
from image2music.images.scene import Scene
from image2music.music.lines import LineEvent
from image2music.music.planning.checks import check_plan
from image2music.music.planning.constraints import PlanConstraints, played_programs
from image2music.music.planning.plan import Plan

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


def planned(scene: Scene, seed: int, *constraints: PlanConstraints) -> Plan:
    return plan_scene(plan_request(scene, seed, constraints)[0])


@given(scenes, st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_scene_gives_a_plan_without_fault_that_keeps_to_what_suits(scene, seed):
    plan, music = planned(scene, seed), suiting_music(scene)
    checked = check_plan(plan)
    assert (checked.faults, checked.mended) == ((), ())
    assert not set(played_programs(plan)) & music.unsuitable
    assert music.slowest <= plan.qpm <= music.fastest
    assert plan.meter in music.meters
    assert plan == planned(scene, seed)


@given(scenes, st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_no_voice_but_the_drums_has_the_same_figure_in_two_sections_running(scene, seed):
    sections = planned(scene, seed).sections
    for earlier, later in pairwise(sections):
        for part in later.parts:
            assert part.family in (None, "drums") or part.family != earlier.part_of(part.voice).family


def test_seeds_vary_key_meter_form_and_instruments():
    plans = [planned(LAKE, seed) for seed in range(40)]
    assert len({plan.key for plan in plans}) >= 5
    assert len({plan.meter for plan in plans}) >= 2
    assert len({tuple(section.last for section in plan.sections) for plan in plans}) >= 3
    assert len({tuple(played_programs(plan)) for plan in plans}) >= 6


def test_sections_name_the_places_that_the_eye_visits_in_order():
    plan = planned(LAKE, 3)
    assert plan.sections[0].picture_part == LAKE.eye_path[0]
    assert plan.sections[-1].picture_part == LAKE.eye_path[-1]


def test_what_is_wished_for_wins_over_the_scene_and_the_first_wish_over_later_ones():
    first = PlanConstraints(key="Em", qpm=(120.0, 120.0), meters=("3/4",), bars=(8, 8))
    plan = planned(LAKE, 1, first, PlanConstraints(key="C", qpm=(60.0, 60.0), players=((0,),)))
    assert (plan.key, plan.meter, plan.bars, set(played_programs(plan))) == ("Em", "3/4", 8, {0})
    assert {section.qpm for section in plan.sections} == {120.0}


@pytest.mark.parametrize(("valence", "mode"), [((-1.0, -0.5), True), ((0.5, 1.0), False)])
def test_a_wished_mood_is_heard_as_if_the_scene_felt_so(valence, mode):
    keys = {planned(LAKE, seed, PlanConstraints(valence=valence)).key for seed in range(8)}
    assert {key.endswith(("m", "dor")) for key in keys} == {mode}


def test_a_melody_brings_its_key_chords_and_peak():
    bar = (LineEvent((67,), Fraction(4)),)
    peak = (LineEvent((79,), Fraction(4)),)
    bars = (bar, bar, bar, bar, bar, peak, bar, bar)
    request = with_melody(plan_request(LAKE, 2)[0], "G", "4/4", bars, ("G",) * 8, 77.0)
    plan = plan_scene(request)
    assert (plan.key, plan.meter, plan.bars, plan.qpm, plan.harmony) == ("G", "4/4", 8, 77.0, ("G",) * 8)
    assert plan.climax is not None and (plan.climax.bar, plan.climax.pitch) == (6, 79)
    early = plan_scene(with_melody(request, "G", "4/4", (peak, *bars[:5], bar, bar), ("G",) * 8, 77.0))
    assert early.climax is None


def test_a_device_names_voices_that_the_plan_has():
    for seed in range(12):
        plan = planned(LAKE, seed)
        if plan.device is not None:
            assert 1 <= plan.device.payoff_bar <= plan.bars
            assert set(plan.device.voices) <= {voice.id for voice in plan.voices}


@pytest.mark.parametrize("meter", METERS)
def test_still_pictures_get_airs_and_songs_and_dances_their_own_meter(meter):
    assert suiting_words("calm", meter)["kind"] == ("air", "song")
    for character in ("playful", "driving", "grand"):
        kinds = suiting_words(character, meter)["kind"]
        assert kinds and all(meter in DANCED_IN.get(kind, METERS) for kind in kinds)
