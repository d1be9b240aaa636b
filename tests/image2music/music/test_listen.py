"""What the listener notices: each kind of fault where it is, and nothing where there is none."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.playback import abc_to_midi, abc_to_score
from image2music.music.listen.listener import MOST_SHOWN, listen, sheet_text, worst
from image2music.music.listen.sheet import Fault
from image2music.music.midi import read_midi, write_midi
from image2music.music.planning.plan import plan_of_json
from image2music.music.score import Score
from image2music.music.theory import TICKS_PER_QUARTER


def abc_of(*voices, key="C", meter="4/4", programs=None):
    """Return a tune; voices are written at L:1/4."""
    lines = ["X:1", f"M:{meter}", "L:1/4", f"K:{key}"]
    for number, music in enumerate(voices, 1):
        lines.append(f"V:{number}")
        if programs:
            lines.append(f"%%MIDI program {programs[number - 1]}")
        lines.append(music)
    return "\n".join(lines) + "\n"


def heard(*voices, plan=None, **header):
    return listen(abc_to_score(abc_of(*voices, **header)), plan)


def places(sheet, kind):
    return [(fault.bar, fault.beat) for fault in sheet.faults if fault.kind == kind]


QUIET = ("G A G E | F G A G | E F G F | E D C2 |]", "C2 C2 | D2 C2 | C2 B,2 | C2 C2 |]")
"""A melody over a bass in which nothing is wrong."""


def test_a_plain_tune_has_no_faults():
    assert heard(*QUIET).faults == ()


# Rubs


@pytest.mark.parametrize(
    ("upper", "lower", "at", "what"),
    [
        ("G A G E | c2 G2 | E F G F | E D C2 |]", "C2 C2 | B2 C2 | C2 B,2 | C2 C2 |]", (2, 1.0), "a semitone apart"),
        ("G A G E | B2 G2 | E F G F | E D C2 |]", "C2 E2 | C2 E2 | C2 B,2 | C2 C2 |]", (2, 1.0), "seventh"),
        ("G A G E | f2 G2 | E F G F | E D C2 |]", "C2 A,2 | E2 C2 | C2 B,2 | C2 C2 |]", (2, 1.0), "ninth"),
        ("G A G E | G c G2 | E F G F | E D C2 |]", "C2 C2 | E B E2 | C2 B,2 | C2 C2 |]", (2, 2.0), "a semitone apart"),
    ],
)
def test_a_clash_on_a_beat_is_a_rub(upper, lower, at, what):
    sheet = heard(upper, lower)
    assert places(sheet, "rub") == [at]
    (rub,) = [fault for fault in sheet.shown if fault.kind == "rub"]
    assert what in rub.message
    assert rub.voices == (1, 2)


@pytest.mark.parametrize(
    ("upper", "lower"),
    [
        pytest.param("c2 c2- | c B c2 |]", "E2 E2 | D2 C2 |]", id="suspended seventh"),
        pytest.param("E2 F2- | F E C2 |]", "C,2 D,2 | E,2 C,2 |]", id="suspended ninth over the bar"),
        pytest.param("G2 A2 | d/c/ B/A/ G2 |]", "E2 C2 | G B, C2 |]", id="in passing"),
        pytest.param("G2 A2 | G/^F/ G/A/ G2 |]", "E2 C2 | C2 E2 |]", id="off the beat"),
        pytest.param("E2 D2 | E2 C2 |]", "C2 B,/C/ D | C2 C2 |]", id="no clash at all"),
    ],
)
def test_what_resolves_by_step_is_no_rub(upper, lower):
    assert places(heard(upper, lower), "rub") == []


def test_a_planned_major_seventh_is_no_rub_and_free_bars_are_free():
    voices = ("B4 | c4 |]", "E4 | E4 |]", "C4 | C,4 |]")
    assert places(heard(*voices), "rub") == [(1, 1.0)]
    assert places(heard(*voices, plan=plan_for(3, 2, ["Cmaj7", "C"])), "rub") == []
    assert places(heard(*voices, plan=plan_for(3, 2, ["C", "C"])), "rub") == [(1, 1.0)]
    assert places(heard(*voices, plan=plan_for(3, 2, ["C", "C"], free_bars=[1])), "rub") == []


# Parallels


def test_parallel_octaves_of_outer_voices_stand_where_they_arrive():
    sheet = heard("G A G E | c d B c | E F G F | E D C2 |]", "C2 C2 | C D G, E, | C2 B,2 | C2 C2 |]")
    assert places(sheet, "parallel_octaves") == [(2, 2.0)]
    assert sheet.shown[0].message == "parallel octaves: voice 1 C5 to D5 over voice 2 C4 to D4"


def test_octaves_from_beat_to_beat_are_heard_through_ornaments():
    sheet = heard("G A G E | c/B/ d/e/ B c | E F G F | E D C2 |]", "C2 C2 | C D G, E, | C2 B,2 | C2 C2 |]")
    assert places(sheet, "parallel_octaves") == [(2, 2.0)]


def test_parallel_fifths_count_between_outer_voices_only():
    assert places(heard("E2 G A | E4 |]", "C2 C D | C4 |]"), "parallel_fifths") == [(1, 4.0)]
    inner = heard("c2 e2 | c4 |]", "G2 A2 | G4 |]", "C2 D2 | C4 |]", "C2 A,2 | C4 |]")
    assert places(inner, "parallel_fifths") == []


def test_a_passage_in_octaves_is_a_texture():
    assert places(heard("C D E F | G A G2 | c4 |]", "C, D, E, F, | G, A, G,2 | C,4 |]"), "parallel_octaves") == []


def test_a_voice_that_doubles_by_plan_makes_no_parallels():
    voices = ("G2 c d | c4 |]", "C2 C D | C4 |]")
    roles = {"1": "melody", "2": "double"}
    assert places(heard(*voices), "parallel_octaves") == [(1, 4.0), (2, 1.0)]
    assert places(heard(*voices, plan=plan_for(2, 2, ["C", "C"], roles=roles)), "parallel_octaves") == []


# Ranges and leaps


def test_a_note_that_the_instrument_does_not_have_is_out_of_range():
    sheet = heard("G A G E | F G A G | E F, G F | E D C2 |]", QUIET[1], programs=(73, 0))
    (fault,) = [fault for fault in sheet.shown if fault.kind == "range"]
    assert (fault.bar, fault.beat, fault.voices) == (3, 2.0, (1,))
    assert "Flute" in fault.message
    assert places(heard(*QUIET, programs=(73, 0)), "range") == []


def test_a_note_outside_of_the_plan_is_out_of_range_too():
    plan = plan_for(2, 4, ["C"] * 4, high="G4")
    assert places(heard(*QUIET, plan=plan), "range") == [(1, 2.0), (2, 3.0)]


def test_leaps_that_go_on_are_faults_and_those_that_turn_back_are_not():
    low = QUIET[1]
    assert places(heard("G A G E | F f e d | E F G F | E D C2 |]", low), "leap") == []
    assert places(heard("G A G E | C d f e | E F G F | E D C2 |]", low), "leap") == [(2, 2.0)]
    assert places(heard("G A G E | F e g e | E F G F | E D C2 |]", low), "leap") == [(2, 2.0)]
    assert places(heard("G A G E | F e d G | E F G F | E D C2 |]", low), "leap") == []


# Ends and cadences


@pytest.mark.parametrize(
    ("key", "upper", "lower", "closes"),
    [
        ("C", "c d | c2 |]", "C G, | C2 |]", True),
        ("C", "c d | e2 |]", "C G, | C2 |]", True),
        ("C", "c d | d2 |]", "C G, | G,2 |]", False),
        ("C", "c d | d2 |]", "C G, | C2 |]", False),
        ("C", "c d | c2 |]", "C G, | A,2 |]", False),
        ("Am", "A B | A2 |]", "A, E, | A,2 |]", True),
        ("Am", "A B | ^c2 |]", "A, E, | A,2 |]", True),
    ],
)
def test_the_end_is_the_tune_on_one_three_or_five_over_the_tonic(key, upper, lower, closes):
    sheet = heard(upper, lower, key=key, meter="2/4")
    assert [bar for bar, _ in places(sheet, "ending")] == ([] if closes else [2])


def test_a_section_that_ends_on_another_chord_than_planned_has_no_cadence():
    sections = [
        {"name": "A", "bars": "1-2", "cadence": "half", "roles": {"1": "melody", "2": "bass"}},
        {"name": "B", "bars": "3-4", "cadence": "full", "roles": {"1": "melody", "2": "bass"}},
    ]
    plan = plan_for(2, 4, ["C", "G", "C", "C"], sections=sections)
    kept = heard("c G E2 | G B d2 | c G E2 | C4 |]", "C4 | G,4 | C4 | C4 |]", plan=plan)
    lost = heard("c G E2 | A c f2 | c G E2 | C4 |]", "C4 | F,4 | C4 | C4 |]", plan=plan)
    assert places(kept, "cadence") == []
    assert places(lost, "cadence") == [(2, 1.0)]


@pytest.mark.parametrize(
    ("last_bar", "ends_well"), [("G B d2", True), ("d3 e", True), ("e2 d2", True), ("G2 z e", True), ("d e3", False)]
)
def test_a_pick_up_or_a_note_that_leans_on_the_last_one_is_no_wrong_close(last_bar, ends_well):
    sections = [
        {"name": "A", "bars": "1-2", "cadence": "half", "roles": {"1": "melody", "2": "bass"}},
        {"name": "B", "bars": "3-4", "cadence": "full", "roles": {"1": "melody", "2": "bass"}},
    ]
    plan = plan_for(2, 4, ["C", "G", "C", "C"], sections=sections)
    sheet = heard(f"c G E2 | {last_bar} | c G E2 | C4 |]", "C4 | [G,B,D]4 | C4 | C4 |]", plan=plan)
    assert (places(sheet, "cadence") == []) is ends_well


# Harmony against the plan


def plan_for(voices, bars, harmony, *, roles=None, sections=None, high="C8", **more):
    """Return a plan of one section whose first voice has the tune and whose last one the bass."""
    roles = roles or {
        str(n): "melody" if n == 1 else "bass" if n == voices else "counter" for n in range(1, voices + 1)
    }
    shape = {
        "key": "C",
        "meter": "4/4",
        "bars": bars,
        "voices": [
            {"id": n, "name": f"voice {n}", "program": 0, "low": "C1", "high": high} for n in range(1, voices + 1)
        ],
        "sections": sections or [{"name": "A", "bars": f"1-{bars}", "qpm": 120, "roles": roles}],
        "harmony": harmony,
        **more,
    }
    for section in shape["sections"]:
        section.setdefault("qpm", 120)
    return plan_of_json(shape)


CHORDS = ("[Ec]2 [EG]2 | [FA]2 [Fc]2 | [GB]2 [Gd]2 | [Ec]4 |]", "C4 | F,4 | G,4 | C4 |]")


def test_chords_as_planned_are_no_faults():
    sheet = heard(*CHORDS, plan=plan_for(2, 4, ["C", "F", "G", "C"]))
    assert [fault for fault in sheet.faults if fault.kind in ("chord", "bass", "cadence")] == []


@pytest.mark.parametrize("planned", ["Dm", "Am", "Bb", "G7"])
def test_another_chord_than_planned_is_named_with_both(planned):
    sheet = heard(*CHORDS, plan=plan_for(2, 4, ["C", planned, "G", "C"]))
    (fault,) = [fault for fault in sheet.shown if fault.kind == "chord"]
    assert (fault.bar, fault.beat) == (2, 1.0)
    assert fault.message == f"sounds as F, the plan has {planned}"


def test_the_second_chord_of_a_bar_has_its_own_beat():
    sheet = heard("[EG]2 [FA]2 | [Ec]4 |]", "C2 F,2 | C4 |]", plan=plan_for(2, 2, ["C Em", "C"]))
    assert places(sheet, "chord") == [(1, 3.0)]


@pytest.mark.parametrize(("meter", "beat"), [("3/4", 3.0), ("4/4", 3.0), ("5/4", 4.0), ("6/8", 4.0), ("9/8", 7.0)])
def test_the_second_of_two_chords_comes_on_a_beat_of_the_second_half(meter, beat):
    number, unit = map(int, meter.split("/"))
    first = int(beat) - 1
    tune = f"[EG]{first}[FA]{number - first} | [Ec]{number} |]"
    bass = f"C{first}F,{number - first} | C{number} |]"
    length = "1/4" if unit == 4 else "1/8"
    texts = [f"[L:{length}]{text}" for text in (tune, bass)]
    kept = heard(*texts, meter=meter, plan=plan_for(2, 2, ["C F", "C"], meter=meter))
    other = heard(*texts, meter=meter, plan=plan_for(2, 2, ["C Em", "C"], meter=meter))
    assert places(kept, "chord") == [] == places(kept, "bass")
    assert places(other, "chord") == [(1, beat)]


def test_another_bass_than_planned_is_a_fault_of_its_own():
    sheet = heard(*CHORDS, plan=plan_for(2, 4, ["C", "F/A", "G", "C"]))
    assert places(sheet, "bass") == [(2, 1.0)]
    assert places(sheet, "chord") == []


# Peaks


def test_the_climax_is_where_the_plan_has_it():
    climax = {"climax": {"bar": 3, "voice": 1, "note": "C6"}}
    kept = heard("C E G A | G A B c | c e c' g | e d c2 |]", QUIET[1], plan=plan_for(2, 4, ["C"] * 4, **climax))
    missing = heard("C E G A | G A B c | c e b g | e d c2 |]", QUIET[1], plan=plan_for(2, 4, ["C"] * 4, **climax))
    over = heard("C E d'/G/ A | G A B c | c e c' g | e d c2 |]", QUIET[1], plan=plan_for(2, 4, ["C"] * 4, **climax))
    assert [fault.kind for fault in kept.faults if fault.kind in ("climax", "ceiling")] == []
    assert places(missing, "climax") == [(3, 1.0)]
    assert places(over, "ceiling") == [(1, 3.0)]


# Repetition and silence


def test_a_bar_three_times_in_a_row_is_told_with_its_bars():
    sheet = heard("G A G E | F G A G | F G A G | F G A G | E D C2 |]", "C4 | D2 C2 | D2 C2 | D2 C2 | C4 |]")
    (fault,) = [fault for fault in sheet.shown if fault.kind == "repeat"]
    assert (fault.bar, fault.last_bar) == (3, 4)
    assert "3 times in a row" in fault.message
    assert places(heard("G A G E | F G A G | F G A G | E D C2 |]", "C4 | D2 C2 | D2 C2 | C4 |]"), "repeat") == []


def test_a_written_repeat_is_no_literal_repetition():
    assert places(heard("|: C E G2 :| c4 |]"), "repeat") == []
    assert listen(abc_to_score(abc_of("|: C E G2 | D F A2 :| c4 |]"))).bars == 5


def test_a_tune_of_few_bars_is_told():
    sheet = heard(" | ".join(["C E G c", "F A c f"] * 8) + " |]", " | ".join(["C4", "F,4"] * 8) + " |]")
    assert [fault.bar for fault in sheet.shown if fault.kind == "repeat"] == [3]


def test_a_voice_of_rests_is_declared_and_empty():
    sheet = heard(QUIET[0], "z4 | z4 | z4 | z4 |]", QUIET[1])
    (fault,) = [fault for fault in sheet.shown if fault.kind == "empty_voice"]
    assert (fault.bar, fault.beat, fault.voices, fault.last_bar) == (1, 1.0, (2,), 4)
    assert sheet.features["silent_voices"] == 1


def test_a_voice_may_rest_a_while_but_not_where_the_plan_lets_it_play():
    sections = [
        {"name": "A", "bars": "1-2", "roles": {"1": "melody", "2": "bass"}},
        {"name": "B", "bars": "3-4", "roles": {"1": "melody", "2": "bass"}},
    ]
    voices = (QUIET[0], "C2 C2 | D2 C2 | z4 | z4 |]")
    assert places(heard(*voices), "empty_voice") == []
    assert places(heard(*voices, plan=plan_for(2, 4, ["C"] * 4, sections=sections)), "empty_voice") == [(3, 1.0)]


def test_a_note_held_over_ten_bars_is_long_and_a_planned_hold_is_not():
    upper = " | ".join(["G A G E", "F G A G"] * 5) + " | C4 |]"
    lower = "-| ".join(["C4"] * 10) + " | C4 |]"
    assert places(heard(upper, lower), "long_hold") == [(1, 1.0)]
    plan = plan_for(2, 11, ["C"] * 11, roles={"1": "melody", "2": "hold"})
    assert places(heard(upper, lower, plan=plan), "long_hold") == []


# The motif


def test_the_motif_is_found_moved_upside_down_and_slower():
    plan = plan_for(1, 5, ["C"] * 5, motif={"abc": "C2 E D G4 |", "chords": "C"})
    sheet = heard("C E/D/ G2 | D F/E/ A2 | G E/F/ C2 | C2 E D | G4 |]", plan=plan)
    (remark,) = [remark for remark in sheet.remarks if "motif" in remark]
    assert remark == "the motif comes in bar 1, 2, 3 (inverted), 4 (augmented)"
    assert places(sheet, "motif") == []


def test_a_motif_that_never_comes_is_a_fault():
    sheet = heard(*QUIET, plan=plan_for(2, 4, ["C"] * 4, motif={"abc": "c2 B A/ G/ F3 |", "chords": "C"}))
    assert places(sheet, "motif") == [(1, 1.0)]
    assert any("motif" in one for one in sheet.missed)


# Bars and beats


def test_bars_are_numbered_as_check_does_with_a_pick_up_as_bar_one():
    sheet = heard("G | C d f e | E F G F | E D C |]", "z | C4 | C2 B,2 | C3 |]")
    assert places(sheet, "leap") == [(2, 2.0)]


def test_a_repeated_bar_keeps_its_number_and_its_fault_is_told_once():
    sheet = heard("|: G A G E | C d f e :| E F G F | E D C2 |]", "|: C4 | C4 :| C2 B,2 | C4 |]")
    assert places(sheet, "leap") == [(2, 2.0)]


def test_beats_are_those_of_the_meter():
    tune = "C E G | C d f | e d c |]"
    assert places(heard(tune, "C3 | C3 | C3 |]", meter="6/8"), "leap") == [(2, 3.0)]
    assert places(heard(tune, "C3 | C3 | C3 |]", meter="3/4"), "leap") == [(2, 2.0)]


def test_the_same_is_heard_in_midi_whatever_its_resolution():
    abc = abc_of("G A G E | C d f e | E F G F | E D C2 |]", QUIET[1])
    score = read_midi(abc_to_midi(abc))
    assert [fault.as_json() for fault in listen(score).shown] == [
        fault.as_json() for fault in listen(abc_to_score(abc)).shown
    ]


# How far the plan is kept


def test_a_plan_that_is_kept_has_adherence_one():
    sheet = heard(*CHORDS, plan=plan_for(2, 4, ["C", "F", "G", "C"]))
    assert (sheet.adherence, sheet.missed) == (1.0, ())


def test_what_is_not_kept_is_named():
    plan = plan_for(2, 5, ["C", "Bb", "G", "C", "C"], silences=[{"voice": 2, "bars": "1-2"}])
    sheet = heard(*CHORDS, plan=plan, meter="2/2", key="D", programs=(0, 42))
    assert sheet.adherence < 0.7
    told = "\n".join(sheet.missed)
    for part in ("4 bars, the plan 5", "2/2, not 4/4", "+2 sharps", "program 42", "plays in bar 1", "silent in bar 5"):
        assert part in told, told


def test_without_a_plan_there_is_no_adherence():
    assert heard(*QUIET).adherence is None


# The filter and the text


def fault(kind, bar, weight):
    return Fault(kind, bar, 1.0, (1,), f"{kind} {bar}", weight)


def test_at_most_eight_are_shown_the_worst_first_and_four_of_a_kind():
    faults = [fault("rub", bar, 0.5) for bar in range(1, 8)] + [fault("leap", bar, 0.9) for bar in range(1, 8)]
    faults += [fault("range", 3, 0.2), fault("ending", 9, 0.8)]
    shown = worst(faults)
    assert len(shown) <= MOST_SHOWN
    assert [one.kind for one in shown] == ["leap"] * 4 + ["ending"] + ["rub"] * 3


def test_what_comes_again_in_the_same_way_is_told_once_and_for_less():
    again = [Fault("rub", bar, 2.0, (1, 2), "a rub", 0.8) for bar in (3, 11)]
    assert [(one.bar, one.message) for one in worst(again)] == [(3, "a rub (again in bar 11)")]
    assert worst(again)[0].weight < 0.8


def test_the_text_for_a_model_has_a_line_for_each_place_and_can_explain_the_metrics():
    sheet = heard("G A G E | C d f e | E F G F | E D C2 |]", QUIET[1])
    text = sheet_text(sheet, with_metrics=True)
    assert text.startswith("- bar 2 beat 2: voice 1 leaps up 14 semitones from C4 to D5")
    assert "- highest notes: voice 1 F5 in bar 2; voice 2 D4 in bar 2" in text
    assert "(how many different pitches sound together" in text


def test_a_score_without_notes_is_silent_voices():
    score = Score(TICKS_PER_QUARTER, ())
    assert listen(score).shown == ()
    assert listen(score).metrics.polyphony is None


NOTES = st.sampled_from(["C", "D", "E", "F", "G", "A", "B", "c", "z", "^F", "[CE]", "[EB]"])
VOICE = st.lists(st.lists(NOTES, min_size=4, max_size=4).map(" ".join), min_size=3, max_size=3).map(" | ".join)


@settings(max_examples=40, deadline=None)
@given(st.lists(VOICE, min_size=1, max_size=4))
def test_any_tune_can_be_heard_with_and_without_a_plan(voices):
    abc = abc_of(*(f"{voice} | C4 |]" for voice in voices))
    score = abc_to_score(abc)
    plan = plan_for(len(voices), 4, ["C", "Dm G", "F", "C"])
    for sheet in (listen(score), listen(score, plan)):
        assert len(sheet.shown) <= MOST_SHOWN
        assert {(one.bar, one.kind) for one in sheet.shown} <= {(one.bar, one.kind) for one in sheet.faults}
        assert all(1 <= one.bar <= 4 and 1 <= one.beat < 5 and 0 < one.weight <= 1 for one in sheet.faults)
        json.dumps([one.as_json() for one in sheet.faults])
    assert listen(read_midi(write_midi(score))).faults == tuple(listen(score).faults) or any(
        not len(track) for track in score.tracks
    )
