"""What is read from references written by hand, and what a plan takes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image2music.composers.nano.band import figure_family, in_meter, softened_beat
from image2music.composers.nano.borrowing import (
    LENDABLE,
    NOTHING_BORROWED,
    Loan,
    borrowed_from,
    lend,
    plan_with_loan,
    request_with_loan,
)
from image2music.composers.nano.planning import plan_request
from image2music.composers.nano.sketch import bar_ticks
from image2music.composers.suiting import suiting_music
from image2music.images.scene import Scene
from image2music.music.arrange.arranger import arrange_plan
from image2music.music.arrange.drumming import read_beat
from image2music.music.planning.checks import check_plan
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.vocabulary import DRUM_KIT
from image2music.types import Reference

ALBERTI = {"C": "CGEG CGEG", "Am": "A,ECE A,ECE", "F": "F,CA,C F,CA,C", "G": "G,DB,D G,DB,D"}
ROCK = "[C,,^F,,]^F,,[D,,F,,]F,, [C,,F,,][C,,F,,][D,,F,,]F,,"
BAND = f"""X:1
M:4/4
L:1/8
Q:1/4=112
K:C
V:1
%%MIDI program 73
e3 f g2 c'2 | a2 e'2 c'4 | e3 f g2 c'2 | d'2 b2 g4 |
V:2
%%MIDI program 24
{" | ".join(ALBERTI.values())} |
V:3
%%MIDI program 33
C,,3 C,, G,,,2 C,,2 | A,,,3 A,,, E,,,2 A,,,2 | F,,,3 F,,, C,,2 F,,,2 | G,,,3 G,,, D,,2 G,,,2 |
V:4
%%MIDI channel 10
{" | ".join([ROCK] * 4)} |
"""
WALTZ = """X:1
M:3/4
L:1/4
Q:1/4=84
K:Am
V:1
%%MIDI program 40
e3/ f/ e | d c2 | e3/ f/ e | c B2 |
V:2
%%MIDI program 0
z [A,CE] [A,CE] | z [A,DF] [A,DF] | z [A,CE] [A,CE] | z [G,B,D] [G,B,D] |
V:3
%%MIDI program 42
A,,3 | D,3 | A,,3 | G,,3 |
"""
ALONE = "X:1\nM:6/8\nL:1/8\nQ:3/8=100\nK:G\nGAB d2B | GAB A2G | GAB d2B | AFD G3 |\n"


def reference(abc: str, name: str = "a", caption: str = 'The tune "Old Road" plays. It is bright.') -> Reference:
    return Reference(name, f"hash {name}", f"{name}.mid", caption, abc, None, 0.5, 0.5, "text")


def music_of(feeling: str):
    scenes = {
        "driving": Scene("a race", (("race", 0.9),), valence=0.3, arousal=0.8),
        "flowing": Scene("a river", (("river", 0.9),), valence=0.3, arousal=0.45),
        "calm": Scene("a lake", (("lake", 0.9),), valence=0.3, arousal=0.2),
    }
    music = suiting_music(scenes[feeling])
    assert music.character == feeling
    return music


def a_request(**changes: object) -> PlanRequest:
    return replace(PlanRequest(meter="4/4", qpm=112.0, bars=16, programs=(71, 0, 42), arousal=0.8), **changes)


def test_a_band_lends_what_each_of_it_repeats():
    borrowed = borrowed_from(reference(BAND))
    assert (borrowed.meter, borrowed.qpm, borrowed.mode) == ("4/4", 112.0, "major")
    assert borrowed.programs == (73, 24, DRUM_KIT, 33)
    (figure,) = borrowed.figures
    assert (figure.text, figure.family, figure.program) == ("0 2 1 2 0 2 1 2", "alberti", 24)
    assert (figure.grain, figure.density, figure.times, figure.chords) == (6, 2.0, 4, 4)
    assert borrowed.bass.text == "R - - R 5 - R -"
    assert borrowed.bass.rhythm == ((0, 18), (18, 6), (24, 12), (36, 12))
    assert borrowed.drums.text == "36+42 42 38+42 42 36+42 36+42 38+42 42"
    assert borrowed.drums.density == 2.0
    assert borrowed.rhythms[0] == ((0, 18), (18, 6), (24, 12), (36, 12), (48, 12), (60, 12), (72, 24))


def test_a_waltz_lends_its_chords_behind_the_beat():
    borrowed = borrowed_from(reference(WALTZ))
    assert [(one.text, one.family) for one in borrowed.figures] == [(". . (012) - (012) -", "waltz")]
    assert borrowed.mode == "minor"
    assert borrowed.drums is None
    assert borrowed.programs == (40, 0, 42)
    assert borrowed.bass.text == "R - - - - -"


def test_a_tune_alone_lends_rhythm_and_instrument():
    borrowed = borrowed_from(reference(ALONE))
    assert (borrowed.figures, borrowed.bass, borrowed.drums) == ((), None, None)
    assert borrowed.programs == (0,)
    assert borrowed.rhythms[0][:4] == ((0, 6), (6, 6), (12, 6), (18, 12))


def test_what_cannot_be_played_lends_nothing():
    assert borrowed_from(reference("no tune at all")) == NOTHING_BORROWED


ODD = ("X:1\nM:none\nK:C\nCDE", "X:1\nK:C\nC", "X:1\nM:3/16\nL:1/16\nK:C\nCDE|CDE|CDE|", "X:1\nM:5/4\nK:C\nc|C10|D10|",
       "X:1\nM:4/4\nL:1/4\nK:C\nV:1\n(5CDEFG (5CDEFG|(7CDEFGAB c2|\nV:2\n%%MIDI channel 10\nz4|z4|",
       "X:1\nM:4/4\nL:1/8\nK:C\n|:CDEF GABc|M:7/8\nCDEFGAB:|z8|[CEG]8-|[CEG]8|")  # fmt: skip


@pytest.mark.parametrize("abc", ODD)
def test_odd_tunes_are_read_as_far_as_that_goes(abc):
    borrowed = borrowed_from(reference(abc))
    assert borrowed.drums is None
    assert all(onset + lasts <= 2 * bar_ticks(borrowed.meter) for cell in borrowed.rhythms for onset, lasts in cell)
    assert not lend(a_request(), music_of("driving"), [reference(abc)], 1).drums


def test_what_comes_once_or_goes_with_the_tune_is_no_figure():
    once = "X:1\nM:4/4\nL:1/8\nK:C\nV:1\nc2d2e2f2|g2f2e2d2|c8|\nV:2\nCEGE CEGE|G,B,DB, DB,G,B,|CGEG CGEG|\n"
    along = "X:1\nM:4/4\nL:1/8\nK:C\nV:1\nceg2 ceg2|dfa2 dfa2|egb2 egb2|\nV:2\nCEG2 CEG2|DFA2 DFA2|EGB2 EGB2|\n"
    assert borrowed_from(reference(once)).figures == ()
    assert borrowed_from(reference(along)).figures == ()


def test_a_chord_for_each_half_of_a_bar_is_heard():
    tune = "c'4 c'4 | d'4 c'4 | c'4 d'4 |"
    halves = "CGEG F,CA,C | G,DB,D CGEG | F,CA,C G,DB,D |"
    borrowed = borrowed_from(reference(f"X:1\nM:4/4\nL:1/8\nK:C\nV:1\n{tune}\nV:2\n{halves}\n"))
    assert [one.text for one in borrowed.figures] == ["0 2 1 2 0 2 1 2"]


def test_a_figure_may_have_steps_beside_the_chord():
    turns = "CEGE ^FGEG | FAcA =BcAc | GBdB ^cdBd | CEGE ^FGEG |"
    borrowed = borrowed_from(reference(f"X:1\nM:4/4\nL:1/8\nK:C\nV:1\nc'8|c'8|d'8|c'8|\nV:2\n{turns}\n"))
    assert borrowed.figures[0].text == "0 1 2 1 v2 2 1 2"


def test_two_bars_of_drums_take_turns_where_they_differ():
    a, b = "C,,^F,,D,,F,,C,,F,,D,,F,,", "C,,C,,D,,^F,,F,,C,,D,,D,,"
    score = f"X:1\nM:4/4\nL:1/8\nK:C\nV:1\nc8|d8|e8|c8|c8|d8|\nV:2\n%%MIDI channel 10\n{'|'.join([a, b] * 3)}|\n"
    assert borrowed_from(reference(score)).drums.text == "36 42 38 42 36 42 38 42 | 36 36 38 42 42 36 38 38"


def test_a_driving_picture_takes_groove_figure_and_instruments_and_cites_them():
    loan = lend(a_request(), music_of("driving"), [reference(BAND)], 1)
    assert (loan.drums, loan.beat) == (True, borrowed_from(reference(BAND)).drums.text)
    assert loan.bass == "R - - R 5 - R -"
    assert [one.text for one in loan.figures] == ["0 2 1 2 0 2 1 2"]
    assert loan.programs[-1] == 33
    assert 24 in loan.programs
    assert loan.lent[0].says == "the groove of its drums and bass is taken from «Old Road»"
    assert {one.tune_id for one in loan.lent} == {"a"}
    assert {one.what for one in loan.lent} >= {"drums", "figure", "instruments"}


def test_a_flowing_picture_takes_a_softer_beat_and_a_calm_one_none():
    assert lend(a_request(), music_of("flowing"), [reference(BAND)], 1).beat == "36+42 42 37+42 42 36+42 36+42 37+42 42"
    calm = lend(a_request(), music_of("calm"), [reference(BAND)], 1)
    assert not calm.drums
    assert not calm.beat
    assert calm.left[0].says == "the drums of «Old Road» stay away, for the picture is calm"


@pytest.mark.parametrize("changes", [{"qpm": 60.0}, {"meter": "6/8"}])
def test_at_another_tempo_or_meter_drums_play_a_beat_of_their_own(changes):
    loan = lend(a_request(**changes), music_of("driving"), [reference(BAND)], 1, LENDABLE - {"meter"})
    assert (loan.drums, loan.beat, loan.bass, loan.figures) == (True, "", "", ())
    assert loan.lent[0].says == "drums play along, as they do in «Old Road»"


def test_a_plan_takes_the_meter_of_its_groove_where_nobody_has_decided_it():
    request = a_request(meter="6/8")
    loan = lend(request, music_of("driving"), [reference(BAND)], 1)
    assert request_with_loan(request, loan).meter == "4/4"
    assert loan.beat


def test_only_what_may_be_lent_is():
    loan = lend(a_request(), music_of("driving"), [reference(BAND)], 1, frozenset({"rhythm", "instruments"}))
    assert (loan.drums, loan.bass, loan.figures, loan.meter) == (False, "", (), "4/4")


def test_without_references_nothing_changes():
    request = a_request()
    loan = lend(request, music_of("driving"), [], 1)
    assert loan == Loan("4/4")
    assert request_with_loan(request, loan) == request
    plan = plan_tune(request)
    assert plan_with_loan(plan, loan) == plan


def test_unsuitable_instruments_stay_away():
    harsh = BAND.replace("%%MIDI program 24", "%%MIDI program 30")
    for seed in range(6):
        loan = lend(a_request(), music_of("flowing"), [reference(harsh)], seed)
        assert not set(loan.programs) & music_of("flowing").unsuitable


def test_what_is_of_no_kind_that_the_scene_asks_for_is_not_lent():
    organ = BAND.replace("%%MIDI program 24", "%%MIDI program 19")
    for feeling in ("driving", "flowing", "calm"):
        for seed in range(6):
            assert 19 not in lend(a_request(), music_of(feeling), [reference(organ)], seed).programs


def test_a_plan_plays_what_is_lent():
    request, music = plan_request(Scene("a race", (("race", 0.9),), valence=0.3, arousal=0.8), 4)
    request = replace(request, meter="4/4", qpm=112.0)
    loan = lend(request, music, [reference(BAND)], 4)
    plan = check_plan(plan_with_loan(plan_tune(request_with_loan(request, loan)), loan)).plan
    parts = [part for section in plan.sections for part in section.parts]
    assert {part.degrees for part in parts if part.role == "drums"} == {loan.beat}
    assert any(part.degrees == loan.figures[0].text for part in parts if part.role in ("figure", "bass+figure"))
    cited = [says for section in plan.sections for says in section.new.split("; ") if says]
    assert sorted(cited) == sorted(one.says for one in loan.lent)
    lines = arrange_plan(plan, {}, 4)
    (beat,) = read_beat(loan.beat, 1920)
    drums = next(line for line in lines if line.is_drums)
    played = [bar for bar in drums.bars if any(event.pitches for event in bar)]
    assert sum({drum for e in bar for drum in e.pitches} == set().union(*beat.values()) for bar in played) * 2 > len(
        played
    )


def test_the_same_seed_lends_the_same():
    two = [reference(WALTZ, "w"), reference(BAND, "b")]
    assert lend(a_request(), music_of("driving"), two, 7) == lend(a_request(), music_of("driving"), two, 7)


def test_a_reference_is_named_by_its_title_its_caption_or_its_place():
    def cited(caption: str) -> str:
        return lend(a_request(), music_of("driving"), [reference(BAND, "x", caption)], 1).lent[0].says

    assert cited('A song, "Home", for guitar.').endswith("«Home»")
    assert cited("A slow song. It has drums.").endswith("«A slow song»")
    assert cited("").endswith("«x.mid»")


@pytest.mark.parametrize(
    ("text", "meter", "wanted", "expected"),
    [
        ("0 1 2 1", "2/4", "4/4", "0 1 2 1 0 1 2 1"),
        ("36 . 38 . 36 36 38 .", "4/4", "2/4", "36 . 38 . | 36 36 38 ."),
        ("0 - - - 1 - - -", "4/4", "2/2", "0 - - - 1 - - -"),
        ("0 1 2 1", "2/4", "3/4", ""),
        ("0 1 2 1 2 1", "3/4", "6/8", ""),
        ("0 1 2 1 2 1", "6/8", "12/8", "0 1 2 1 2 1 0 1 2 1 2 1"),
        ("36 38 | 36 . 38 .", "2/4", "4/4", "36 - 38 - 36 . 38 ."),
    ],
)
def test_words_go_into_meters_of_twice_or_half_the_length(text, meter, wanted, expected):
    assert in_meter(text, meter, wanted) == expected


@given(st.lists(st.sampled_from(["0", "1", "(12)", "-", "."]), min_size=8, max_size=8), st.sampled_from(["2/4", "6/8"]))
def test_twice_and_back_is_the_same_bar(words, meter):
    words = ["0", *words[: bar_ticks(meter) // 6 - 1]]
    text = " ".join(words)
    twice = {"2/4": "4/4", "6/8": "12/8"}[meter]
    assert in_meter(in_meter(text, meter, twice), twice, meter) == f"{text} | {text}"


def test_a_softened_beat_has_no_snare_no_toms_and_no_sixteenths():
    assert softened_beat("36+42 42 42 36 38+42 45 46 36 36 . 42 . 40 48 45 43", "4/4") == "36+42 42 37+42 42 36 42 37 ."
    assert softened_beat("45 48 45 48", "2/4") == ""


@pytest.mark.parametrize(
    ("text", "grain", "beat", "family"),
    [
        (". . (012) - (012) -", 6, 12, "waltz"),
        (". (01) . (12) . (01) . (12)", 6, 12, "offbeat"),
        ("(01) (01) (01) (01) (01) (01) (12) (12)", 6, 12, "pulse"),
        ("(012) - - - - - - -", 6, 12, "pad"),
        ("0 2 1 2 0 2 1 2", 6, 12, "alberti"),
        ("0 1 2 3 4 3 2 1", 6, 12, "wave"),
        ("0 1 2 3 4 - - -", 6, 12, "arpeggio"),
        ("0 . 1 . 2 . . .", 6, 12, "pizzicato"),
        ("0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1", 3, 12, "tremolo"),
        ("0 - - 2 0 - - 2", 6, 12, "ostinato"),
        ("0 2 1 3 0 2 1 2", 6, 12, "broken"),
    ],
)
def test_a_figure_is_known_by_its_words(text, grain, beat, family):
    assert figure_family(text, grain, beat) == family
