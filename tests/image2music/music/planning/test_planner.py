"""The plain planner: whole plans in which the checks find nothing, the same for the same request."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.errors import PlanError
from image2music.music.instruments import instrument_of
from image2music.music.planning.checks import check_plan
from image2music.music.planning.harmony import METERS
from image2music.music.planning.plan import DYNAMICS, FAMILIES
from image2music.music.planning.planner import STILL_FAMILIES, PlanRequest, plan_tune
from image2music.music.theory import read_chord, read_tonality

KEYS = ["", "C", "G", "F#", "Eb", "Am", "F#m", "Ebm", "Abm", "Ddor", "Gmix", "Flyd", "Ephr"]
REQUESTS = st.builds(
    PlanRequest,
    key=st.sampled_from(KEYS),
    meter=st.sampled_from(METERS),
    qpm=st.floats(30, 220),
    bars=st.integers(1, 90),
    programs=st.lists(st.integers(0, 127), min_size=1, max_size=5).map(tuple),
    sections=st.lists(st.integers(0, 100), max_size=6).map(tuple),
    valence=st.floats(-1, 1),
    arousal=st.floats(0, 1),
    dynamic=st.none() | st.sampled_from(DYNAMICS),
    families=st.lists(st.sampled_from(FAMILIES), max_size=2).map(tuple),
    seed=st.integers(0, 2**40),
    tune_moves=st.booleans(),
    drums=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(REQUESTS)
def test_the_checks_find_nothing(request):
    plan = plan_tune(request)
    checked = check_plan(plan)
    assert (checked.faults, checked.mended) == ((), ())
    assert plan == plan_tune(request)
    assert plan.bars == request.bars
    assert {voice.program for voice in plan.voices if voice.name != "Drums"} <= set(request.programs)
    assert all(voice.derived == (voice.role != "melody") for voice in plan.voices)
    for voice in plan.voices:
        if voice.name != "Drums":
            assert instrument_of(voice.program).lowest <= voice.low < voice.high <= instrument_of(voice.program).highest


@settings(max_examples=60, deadline=None)
@given(REQUESTS.map(lambda request: replace(request, bars=max(request.bars, 4))))
def test_harmony_begins_somewhere_and_ends_at_home(request):
    plan = plan_tune(request)
    tonality = read_tonality(plan.key)
    chords = [[read_chord(symbol) for symbol in text.split()] for text in plan.harmony]
    assert all(1 <= len(bar) <= 2 for bar in chords)
    assert chords[-1][-1].root == tonality.pitch_class
    assert len({chord.root for bar in chords for chord in bar}) >= 3
    assert plan.sections[-1].cadence in ("full", "plagal")


@settings(max_examples=60, deadline=None)
@given(REQUESTS.map(lambda request: replace(request, bars=max(request.bars, 12))))
def test_the_climax_is_the_loudest_place_and_late(request):
    plan = plan_tune(request)
    assert plan.climax.bar * 3 >= plan.bars * 2 - 2
    loudest = max(DYNAMICS.index(section.dynamic) for section in plan.sections)
    assert DYNAMICS.index(plan.section_at(plan.climax.bar).dynamic) == loudest
    assert plan.role_at(plan.climax.voice, plan.climax.bar) == "melody"
    classes = read_chord(plan.harmony[plan.climax.bar - 1].split()[0]).classes
    assert plan.climax.pitch % 12 in classes


def test_seeds_differ():
    request = PlanRequest(bars=24, key="D", programs=(73, 40, 0, 42))
    plans = {repr(plan_tune(replace(request, seed=seed))) for seed in range(20)}
    assert len(plans) >= 18


def test_sections_are_those_that_are_asked_for():
    plan = plan_tune(PlanRequest(bars=20, sections=(6, 12, 20), picture_parts=("sky", "sea", "shore")))
    assert [(section.first, section.last) for section in plan.sections] == [(1, 6), (7, 12), (13, 20)]
    assert [section.picture_part for section in plan.sections] == ["sky", "sea", "shore"]


def test_a_harmonised_melody_keeps_its_chords_its_range_and_its_peak():
    harmony = ("C", "F", "G7", "C", "Am", "Dm G", "C/G G7", "C")
    request = PlanRequest(
        key="C", bars=8, harmony=harmony, melody_range=(58, 84), climax=(6, 84), programs=(40, 0), seed=3
    )
    plan = plan_tune(request)
    assert plan.harmony == harmony
    assert (plan.climax.bar, plan.climax.pitch) == (6, 84)
    assert plan.voices[0].low <= 58 and plan.voices[0].high >= 84
    assert [section.cadence for section in plan.sections] == ["full", "full"]


def test_still_pictures_get_slow_figures_and_lively_ones_quick_ones():
    def families(arousal):
        plans = [plan_tune(PlanRequest(bars=24, arousal=arousal, seed=seed)) for seed in range(30)]
        return {part.family for plan in plans for section in plan.sections for part in section.parts} - {None}

    assert families(0.1) <= set(STILL_FAMILIES)
    assert {"pulse", "ostinato", "offbeat"} & families(0.9)
    assert not {"pad", "chorale", "wave"} & families(1.0)


def test_wished_figures_are_taken_where_the_instrument_can():
    plan = plan_tune(PlanRequest(bars=24, meter="3/4", families=("waltz",)))
    assert "waltz" in {section.part_of(2).family for section in plan.sections}
    lone = plan_tune(PlanRequest(bars=24, meter="3/4", families=("waltz",), programs=(73, 71)))
    assert "waltz" not in {part.family for section in lone.sections for part in section.parts}


@pytest.mark.parametrize(
    ("programs", "voices"),
    [((73,), 1), ((0,), 3), ((73, 42), 2), ((73, 0), 3), ((73, 0, 42), 3), ((40, 42, 0), 4), ((40, 40, 41, 42), 4),
     ((40, 40, 41, 42, 0), 6)],
)  # fmt: skip
def test_instruments_that_accompany_themselves_have_two_staves(programs, voices):
    plan = plan_tune(PlanRequest(programs=programs, bars=16))
    assert len(plan.voices) == voices
    assert [voice.program for voice in plan.voices][: len(programs)] == list(programs)


def test_drums_play_but_are_never_last():
    plan = plan_tune(PlanRequest(bars=24, drums=True))
    assert [voice.name for voice in plan.voices][-2] == "Drums"
    drums = plan.voices[-2].id
    assert {section.role_of(drums) for section in plan.sections} == {"rest", "drums"}


def test_the_tune_moves_to_the_second_voice_and_back():
    plan = plan_tune(PlanRequest(bars=32, programs=(73, 60, 0, 42), tune_moves=True))
    assert set(plan.melody) == {1, 2}
    assert plan.melody[0] == 1 == plan.melody_at(plan.climax.bar)
    assert [voice.role for voice in plan.voices[:2]] == ["melody", "melody"]


def test_the_accompaniment_breathes_before_the_peak():
    plan = plan_tune(PlanRequest(bars=24))
    (silence,) = plan.silences
    assert plan.section_at(silence.last + 1) is plan.section_at(plan.climax.bar)
    assert plan.role_at(silence.voice, silence.first) == "rest"


@pytest.mark.parametrize(
    "wrong", [{"key": "H"}, {"bars": 0}, {"programs": ()}, {"programs": (200,)}, {"harmony": ("C",)}]
)
def test_what_cannot_be_planned_is_refused(wrong):
    with pytest.raises(PlanError) as caught:
        plan_tune(PlanRequest(**wrong))
    assert caught.value.reason == "bad_request"
