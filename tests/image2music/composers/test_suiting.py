"""What music suits a scene: the table knows everything that a scene may name, and nothing plainly wrong comes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.composers.suiting import SuitingMusic, blends, suiting_music, suits_like
from image2music.images.kinds import PLACES, all_kinds
from image2music.images.scene import Scene
from image2music.music.planning.vocabulary import DRUM_KIT

NOTHING = suiting_music(Scene(""))

words = st.sampled_from([kind.name for kind in all_kinds()] + ["a red boat", "women dancing", "qwrx", ""])
scenes = st.builds(
    Scene,
    subject=words,
    things=st.lists(st.tuples(words, st.floats(0, 1)), max_size=4).map(tuple),
    people=st.none() | st.integers(0, 30),
    place=st.lists(st.sampled_from(PLACES), max_size=3).map(", ".join) | st.text(max_size=20),
    motion=st.sampled_from(["", "still", "fast movement", "someone runs"]),
    valence=st.none() | st.floats(-1, 1),
    arousal=st.none() | st.floats(0, 1),
)


def programs(music: SuitingMusic) -> set[int]:
    return {program for ensemble in music.ensembles for program in ensemble.programs}


@pytest.mark.parametrize("kind", [kind.name for kind in all_kinds()])
def test_every_kind_of_thing_has_instruments_with_a_reason(kind):
    music = suiting_music(Scene(kind, things=((kind, 0.9),)))
    assert " for " in music.ensembles[0].reason


@pytest.mark.parametrize("place", [place for place in PLACES if place != "outdoors"])
def test_every_place_says_something(place):
    assert " for " in suiting_music(Scene("", place=place)).ensembles[0].reason


def test_classes_of_a_classifier_count_as_their_kind():
    named, kind = (suiting_music(Scene("", things=((name, 0.9),))) for name in ("golden retriever", "dog"))
    assert named.ensembles[0].programs == kind.ensembles[0].programs


def test_free_words_are_understood_by_their_stems():
    plain, free = suiting_music(Scene("lake")), suiting_music(Scene("two mirror-like LAKES"))
    assert free.ensembles == plain.ensembles != NOTHING.ensembles


def test_words_in_a_longer_name_are_not_heard():
    assert "birds of prey" in suiting_music(Scene("bird of prey")).reasons[0]


@given(scenes)
@settings(max_examples=150, deadline=None)
def test_any_scene_has_music_that_holds_together(scene):
    music = suiting_music(scene)
    assert music == suiting_music(scene)
    assert 50 <= music.slowest <= music.qpm <= music.fastest <= 170
    assert music.ensembles and music.meters and music.moods and music.families
    assert not programs(music) & music.unsuitable
    assert sum(len(ensemble.programs) >= 3 for ensemble in music.ensembles) >= min(6, len(music.ensembles) - 1)
    assert sum(chance for _, chance in music.meter_chances) == pytest.approx(1, abs=0.01)
    for ensemble in music.ensembles:
        assert 2 <= len(ensemble.programs) <= 6 and ensemble.reason
        assert len(ensemble.jobs) == len(ensemble.programs)
        assert ensemble.jobs[0] == "lead" and ensemble.jobs[-1] in ("bass", "ground")
        assert DRUM_KIT not in (ensemble.programs[0], ensemble.programs[-1])
        assert len(set(ensemble.programs)) == len(ensemble.programs)


def test_tempo_rises_gently_with_arousal_and_stays_near_a_calm_centre():
    tempi = [suiting_music(Scene("", arousal=arousal / 10)).qpm for arousal in range(11)]
    assert tempi == sorted(tempi)
    assert tempi[4] == pytest.approx(88, abs=6)
    assert tempi[7] < 110


def test_what_moves_is_quicker_than_what_lies_still():
    still, moving = (suiting_music(Scene(name, arousal=0.6)).qpm for name in ("vase", "motorbike race"))
    assert moving > still + 12


def test_a_drum_kit_comes_to_races_and_not_to_gardens():
    garden, race = (suiting_music(Scene(name, arousal=0.75, valence=0.4)) for name in ("garden", "stadium"))
    assert DRUM_KIT in suiting_music(Scene("flower", arousal=0.2)).unsuitable
    assert DRUM_KIT not in programs(garden)
    assert DRUM_KIT not in race.unsuitable


@pytest.mark.parametrize(("valence", "mode"), [(-0.6, "minor"), (0.0, "either"), (None, "either"), (0.6, "major")])
def test_the_mode_follows_plain_feelings_alone(valence, mode):
    assert suiting_music(Scene("tree", valence=valence)).mode == mode


def test_ruin_and_war_are_minor_unless_they_look_glad():
    assert suiting_music(Scene("tank", things=(("tank", 0.9),), valence=0.1)).mode == "minor"
    assert suiting_music(Scene("tank", things=(("tank", 0.9),), valence=0.5)).mode == "major"


def test_bands_are_of_instruments_that_blend():
    for kind in all_kinds():
        for ensemble in suiting_music(Scene(kind.name, things=((kind.name, 0.9),), arousal=0.6)).ensembles:
            assert not {114, 52} <= set(ensemble.programs), "steel drums with a choir"
            assert not {29, 46} <= set(ensemble.programs), "an overdriven guitar with a harp"


def test_an_instrument_suits_where_it_or_its_kind_is_asked_for():
    still = suiting_music(Scene("the moon", valence=-0.5, arousal=0.1))
    assert suits_like(0, still) and suits_like(41, still)
    assert not suits_like(19, still), "a church organ is of no kind that a grey sky asks for"


def test_bands_blend_as_people_hear_them():
    assert blends((40, 41, 42)) and blends((0, 50)) and blends((27, DRUM_KIT, 35))
    assert not blends((41, 27, DRUM_KIT)), "a viola beside an electric guitar and drums"


def test_drums_go_with_no_tune_on_strings():
    for kind in all_kinds():
        for band in suiting_music(Scene(kind.name, things=((kind.name, 0.9),), valence=0.3, arousal=0.8)).ensembles:
            assert DRUM_KIT not in band.programs or not {band.programs[0], band.programs[-1]} & set(range(40, 49))


def test_most_bands_have_two_who_sing_and_some_have_a_bass_of_its_own():
    bands = [one for kind in all_kinds() for one in suiting_music(Scene(kind.name, arousal=0.4)).ensembles]
    assert sum("second" in band.jobs for band in bands) > 0.6 * len(bands)
    assert sum("bass" in band.jobs for band in bands) > 0.1 * len(bands)


def test_rare_meters_have_their_chance_and_water_goes_in_threes():
    chances = dict(suiting_music(Scene("", arousal=0.4)).meter_chances)
    assert {"5/4", "12/8", "9/8", "6/8", "3/4", "4/4"} <= chances.keys()
    assert 0.04 < chances["5/4"] < 0.2
    assert dict(suiting_music(Scene("sea", place="sea", arousal=0.4)).meter_chances)["12/8"] > chances["12/8"]
