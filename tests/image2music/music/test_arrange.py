"""What holds for every arrangement, over plans made at random; and what single rules do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from image2music.abc.checker import check
from image2music.abc.playback import abc_to_score
from image2music.abc.writer.parts import lines_to_abc
from image2music.errors import PlanError
from image2music.music.arrange import arranger
from image2music.music.arrange.arranger import arrange_plan
from image2music.music.arrange.figures import figure_named, figure_of_text, library, variants
from image2music.music.arrange.marking import manner_of
from image2music.music.arrange.stage import ArrangingStage, bar_shape, scale_of_key
from image2music.music.instruments import instrument_of
from image2music.music.lines import Bar, Line, LineEvent
from image2music.music.listen.listener import listen
from image2music.music.planning.plan import (
    DYNAMICS,
    FAMILIES,
    Climax,
    Plan,
    PlannedVoice,
    Section,
    Silence,
    VoicePart,
    with_main_roles,
)
from image2music.music.theory import read_chord

METERS = ("2/4", "3/4", "4/4", "6/8", "9/8", "12/8", "3/8", "2/2", "5/4", "7/8")
KEYS = {"C": 0, "D": 2, "F": 5, "Bb": 10, "A": 9}
DEGREES = ((0, ""), (2, "m"), (5, ""), (7, "7"), (9, "m"), (4, "m7"))
NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
INNER = ((73, 62, 93), (40, 57, 88), (71, 52, 84), (60, 45, 74), (46, 45, 90), (0, 45, 86), (48, 48, 84), (12, 48, 86))
BASSES = ((42, 36, 64), (43, 28, 52), (32, 28, 52), (0, 31, 64), (58, 28, 55))
INNER_ROLES = ("figure", "counter", "answer", "parallel", "double", "hold", "rest")
BASS_ROLES = ("bass", "bass", "bass+figure")


def quarters(meter: str) -> Fraction:
    number, unit = map(int, meter.split("/"))
    return Fraction(4 * number, unit)


@st.composite
def plans_with_tunes(draw: st.DrawFn) -> tuple[Plan, dict[int, list[Bar | None]]]:
    """A plan with a bass that always sounds and one to three inner voices, and a tune that goes by chords and steps."""
    meter, key = draw(st.sampled_from(METERS)), draw(st.sampled_from(sorted(KEYS)))
    bars = draw(st.integers(4, 10))
    inner = draw(st.lists(st.sampled_from(INNER), min_size=1, max_size=3))
    bass = draw(st.sampled_from(BASSES))
    voices = [PlannedVoice(1, "Tune", 73, 60, 96)]
    voices += [PlannedVoice(n, f"V{n}", *one) for n, one in enumerate(inner, 2)]
    voices.append(PlannedVoice(9, "Bass", *bass))
    edge = draw(st.integers(2, bars - 1))
    sections = []
    for name, first, last in (("A", 1, edge), ("B", edge + 1, bars)):
        parts = [VoicePart(1, "melody"), VoicePart(9, draw(st.sampled_from(BASS_ROLES)))]
        for voice in voices[1:-1]:
            role = draw(st.sampled_from(INNER_ROLES))
            family = draw(st.sampled_from([*FAMILIES[:-1], None])) if role == "figure" else None
            parts.append(VoicePart(voice.id, role, family))
        dynamic = draw(st.sampled_from(DYNAMICS))
        swell = draw(st.sampled_from(("none", "grow", "fade")))
        qpm = float(draw(st.integers(50, 140)))
        sections.append(Section(name, first, last, "", qpm, dynamic, swell, "full", tuple(parts)))
    harmony = []
    for bar in range(bars):
        chords = draw(st.lists(st.sampled_from(DEGREES), min_size=1, max_size=2))
        chords = [DEGREES[0]] if bar == bars - 1 else chords
        harmony.append(" ".join(NAMES[(KEYS[key] + degree) % 12] + quality for degree, quality in chords))
    silences = ()
    if draw(st.booleans()):
        first = draw(st.integers(1, bars - 1))
        silences = (Silence(2, first, min(first + 1, bars - 1)),)
    climax = Climax(draw(st.integers(1, bars)), 1, 90)
    plan = Plan("Test", "", key, meter, bars, tuple(voices), tuple(sections), tuple(harmony), climax=climax,
                silences=silences, ending=draw(st.sampled_from(("", "slows down"))))  # fmt: skip
    _, scale = scale_of_key(key)
    pitches = [pitch for pitch in range(62, 90) if pitch % 12 in scale]
    at = draw(st.integers(4, len(pitches) - 4))
    tune: list[Bar | None] = []
    for _ in range(bars):
        left, events = quarters(meter), []
        while left > 0:
            length = min(left, draw(st.sampled_from((Fraction(1, 2), Fraction(1), Fraction(2)))))
            at = min(len(pitches) - 1, max(0, at + draw(st.integers(-2, 2))))
            events.append(LineEvent((pitches[at],) if draw(st.integers(0, 5)) else (), length))
            left -= length
        tune.append(tuple(events))
    tune[-1] = (LineEvent((72 + KEYS[key],), quarters(meter)),)
    return with_main_roles(plan), {1: tune}


def pitches_of(line: Line) -> list[int]:
    return [pitch for bar in line.bars for event in bar for pitch in event.pitches]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plans_with_tunes(), st.integers(0, 5))
def test_every_arrangement_is_playable_and_ends(made, seed):
    plan, written = made
    lines = arrange_plan(plan, written, seed)

    assert [line.voice for line in lines] == [voice.id for voice in plan.voices]
    assert lines[0].bars == tuple(written[1]) or any(event.marks for bar in lines[0].bars for event in bar)
    assert [line.derived for line in lines] == [False, *[True] * (len(lines) - 1)]
    for line in lines:
        assert len(line.bars) == plan.bars
        assert {sum(event.length for event in bar) for bar in line.bars} == {quarters(plan.meter)}
    for line, voice in list(zip(lines, plan.voices, strict=True))[1:]:
        assert all(voice.low <= pitch <= voice.high for pitch in pitches_of(line))
        assert all(pitch < plan.climax.pitch for pitch in pitches_of(line))
        most = instrument_of(voice.program).chords
        assert all(len(event.pitches) <= most for bar in line.bars for event in bar)
    for silence in plan.silences:
        line = next(line for line in lines if line.voice == silence.voice)
        silent = line.bars[silence.first - 1 : silence.last]
        assert not any(event.pitches for bar in silent for event in bar)

    abc = lines_to_abc(
        plan.title, plan.key, plan.meter, lines, sections=[(s.name, s.first, s.last) for s in plan.sections]
    )
    assert check(abc) == []
    assert lines[-1].bars[-1][0].pitches[0] % 12 == KEYS[plan.key]
    assert arrange_plan(plan, written, seed) == lines


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plans_with_tunes())
def test_chords_have_their_thirds_where_a_chordal_instrument_plays(made):
    plan, written = made
    voices = (*plan.voices[:-1], PlannedVoice(8, "Harp", 46, 40, 88), plan.voices[-1])
    sections = tuple(replace(s, parts=(*s.parts, VoicePart(8, "figure", "pad"))) for s in plan.sections)
    lines = arrange_plan(replace(plan, voices=voices, sections=sections), written, 1)

    last = {pitch % 12 for line in lines for event in line.bars[-1] for pitch in event.pitches}
    assert read_chord(plan.harmony[-1]).third in last


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plans_with_tunes(), st.integers(0, 5))
def test_marks_open_and_close_and_nothing_stands_inside_a_swell(made, seed):
    plan, written = made
    for line in arrange_plan(plan, written, seed):
        swell, pedal, slur = "", False, False
        for event in (event for bar in line.bars for event in bar):
            marks = sorted(event.marks, key=lambda mark: (not mark.endswith(")"), mark.endswith("(")))
            for mark in marks:
                if mark in ("crescendo)", "diminuendo)"):
                    assert swell == mark[:-1]
                    swell = ""
                elif mark in ("crescendo(", "diminuendo("):
                    assert not swell
                    swell = mark[:-1]
                elif mark in DYNAMICS:
                    assert not swell
                elif mark in ("ped", "ped-up"):
                    assert pedal == (mark == "ped-up")
                    pedal = mark == "ped"
            assert event.slur_starts <= (not slur) and event.slur_ends <= (slur or event.slur_starts)
            slur = (slur or bool(event.slur_starts)) and not event.slur_ends
        assert not swell and not slur


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plans_with_tunes(), st.integers(0, 5))
def test_who_plays_before_the_last_bar_holds_to_the_end(made, seed):
    plan, written = made
    for line in arrange_plan(plan, written, seed)[1:]:
        sustains = instrument_of(plan.voice(line.voice).program).sustains
        rests = plan.role_at(line.voice, plan.bars) == "rest"
        if sustains and not rests and any(event.pitches for event in line.bars[-2]):
            assert line.bars[-1][-1].pitches


def heard_faults(plan: Plan, lines: tuple[Line, ...]) -> float:
    score = abc_to_score(lines_to_abc("", plan.key, plan.meter, lines))
    return sum(
        fault.weight for fault in listen(score, plan).faults if fault.kind not in ("climax", "cadence", "ending")
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plans_with_tunes())
def test_what_was_rehearsed_sounds_no_worse(made):
    plan, written = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arranger, "rehearse", lambda stage: None)
        unrehearsed = arrange_plan(plan, written, 0)
    assert heard_faults(plan, arrange_plan(plan, written, 0)) <= heard_faults(plan, unrehearsed) + 0.35


def a_plan(meter: str = "4/4", bars: int = 8, **changes: object) -> Plan:
    """A harp and a cello under a flute: two sections."""
    voices = (
        PlannedVoice(1, "Flute", 73, 60, 93),
        PlannedVoice(2, "Harp", 46, 43, 86),
        PlannedVoice(3, "Cello", 42, 36, 64),
    )
    half = bars // 2
    parts = (VoicePart(1, "melody"), VoicePart(2, "figure"), VoicePart(3, "bass"))
    sections = (
        Section("A", 1, half, "", 80.0, "p", "none", "half", parts),
        Section("B", half + 1, bars, "", 80.0, "mf", "none", "full", parts),
    )
    harmony = (*(("C", "Am", "F", "G7") * bars)[: bars - 1], "C")
    return replace(Plan("Test", "", "C", meter, bars, voices, sections, harmony), **changes)


def a_tune(meter: str = "4/4", bars: int = 8) -> dict[int, list[Bar | None]]:
    tones = [(76, 72), (72, 76), (69, 72), (74, 71)] * bars
    half = quarters(meter) / 2
    tune: list[Bar | None] = [tuple(LineEvent((pitch,), half) for pitch in pair) for pair in tones[:bars]]
    tune[-1] = (LineEvent((72,), quarters(meter)),)
    return {1: tune}


def test_seeds_give_different_accompaniments_and_one_seed_the_same():
    plan, tune = a_plan(bars=16), a_tune(bars=16)
    versions = {tuple(line.bars for line in arrange_plan(plan, tune, seed)[1:]) for seed in range(8)}
    assert len(versions) >= 6
    assert arrange_plan(plan, tune, 3) == arrange_plan(plan, tune, 3)


def test_neighbouring_sections_have_different_figures():
    plan, tune = a_plan(bars=16), a_tune(bars=16)
    for seed in range(6):
        harp = arrange_plan(plan, tune, seed)[1]
        rhythms = [[event.length for event in harp.bars[bar]] for bar in (1, 9)]
        pitches = [[event.pitches for event in harp.bars[bar]] for bar in (1, 9)]
        assert rhythms[0] != rhythms[1] or pitches[0] != pitches[1]


def test_a_figure_stands_where_the_tune_runs_and_moves_where_it_stands():
    run = tuple(LineEvent((pitch,), Fraction(1, 2)) for pitch in (72, 74, 76, 77))
    tune: dict[int, list[Bar | None]] = {1: [(*run, LineEvent((79,), Fraction(2)))] * 8}
    parts = (VoicePart(1, "melody"), VoicePart(2, "figure", "broken", "=broken chords"), VoicePart(3, "bass"))
    plan = a_plan(harmony=("C",) * 8)
    plan = replace(plan, sections=tuple(replace(section, parts=parts) for section in plan.sections))
    harp = arrange_plan(plan, tune, 1)[1]
    onsets = [
        [sum((e.length for e in bar[:n]), Fraction(0)) for n, e in enumerate(bar) if e.pitches] for bar in harp.bars
    ]
    for bar in (1, 2, 5):
        first, second = sum(at < 2 for at in onsets[bar]), sum(at >= 2 for at in onsets[bar])
        assert first < second


def test_out_of_a_stop_a_figure_leads_on():
    stop = tuple(Silence(voice, 4, 4) for voice in (1, 3))
    tune = a_tune()
    tune[1][3] = None
    flute, harp, cello = arrange_plan(a_plan(silences=stop), tune, 0)
    assert not any(event.pitches for line in (flute, cello) for event in line.bars[3])
    assert harp.bars[3][0].pitches and harp.bars[3][0].length <= 1


def test_bars_that_somebody_wrote_stay_and_the_others_are_filled():
    own: Bar = (LineEvent((48,), Fraction(4)),)
    bass = arrange_plan(a_plan(), {**a_tune(), 3: [own, None]}, 0)[2]
    assert bass.bars[0][0].pitches == (48,) and bass.bars[0][0].length == 4
    assert bass.bars[1][0].pitches and not bass.derived


def test_a_written_bar_that_is_not_full_is_filled_or_cut():
    short, long = (LineEvent((72,), Fraction(1)),), (LineEvent((72,), Fraction(3)), LineEvent((74,), Fraction(3)))
    tune = arrange_plan(a_plan(), {1: [short, long]}, 0)[0]
    assert [event.length for event in tune.bars[0]] == [1, 3]
    assert [(event.pitches, event.length) for event in tune.bars[1]] == [((72,), 3), ((74,), 1)]


def test_the_bass_takes_slash_basses_and_figures_do_not():
    plan = a_plan(harmony=("C/D", *a_plan().harmony[1:]))
    for seed in range(4):
        _, harp, cello = arrange_plan(plan, a_tune(), seed)
        assert cello.bars[0][0].pitches[0] % 12 == 2
        on_beats = [event.pitches for event in harp.bars[0] if event.length >= 1]
        assert not any(pitch % 12 == 2 for pitches in on_beats for pitch in pitches)


def test_tones_that_die_away_are_not_held():
    parts = (VoicePart(1, "melody"), VoicePart(2, "hold"), VoicePart(3, "bass"))
    sections = tuple(replace(section, parts=parts) for section in a_plan().sections)
    voices = (a_plan().voices[0], PlannedVoice(2, "Xylophone", 13, 65, 100), a_plan().voices[2])
    line = arrange_plan(a_plan(sections=sections, voices=voices), a_tune(), 0)[1]
    assert max(event.length for bar in line.bars[:-1] for event in bar if event.pitches) <= 1


def test_drums_play_on_their_channel_and_end_with_a_stroke():
    voices = (*a_plan().voices, PlannedVoice(4, "Drums", 0, 35, 81))
    sections = tuple(replace(s, parts=(*s.parts, VoicePart(4, "drums"))) for s in a_plan().sections)
    line = arrange_plan(a_plan(voices=voices, sections=sections), a_tune(), 0)[3]
    assert line.is_drums
    assert set(pitches_of(line)) <= set(range(35, 82))
    assert [bool(event.pitches) for event in line.bars[-1]] == [True, False]
    assert "%%MIDI channel 10" in lines_to_abc("", "C", "4/4", [line])


def drums_to(degrees: str, dynamic: str = "f") -> Line:
    voices = (*a_plan().voices, PlannedVoice(4, "Drums", 0, 35, 81))
    part = VoicePart(4, "drums", "drums", degrees)
    sections = tuple(replace(s, dynamic=dynamic, parts=(*s.parts, part)) for s in a_plan().sections)
    return arrange_plan(a_plan(voices=voices, sections=sections), a_tune(), 0)[3]


def hits_of(bar: Bar) -> dict[Fraction, tuple[int, ...]]:
    """When in a bar, in quarter notes, which drums are hit."""
    hits, at = {}, Fraction(0)
    for event in bar:
        if event.pitches:
            hits[at] = event.pitches
        at += event.length
    return hits


def test_drums_play_the_beat_that_the_plan_writes_out():
    line = drums_to("36+42 . 42 . 38+42 36 42 .")
    assert hits_of(line.bars[1]) == {0: (36, 42), 1: (42,), 2: (38, 42), Fraction(5, 2): (36,), 3: (42,)}
    assert check(lines_to_abc("", "C", "4/4", [line])) == []


def test_a_beat_of_two_bars_takes_turns_and_a_soft_one_uses_the_stick():
    line = drums_to("36 . 38 . | 36 36 38 38", dynamic="p")
    assert hits_of(line.bars[0]) == {0: (36,), 2: (37,)}
    assert hits_of(line.bars[1]) == {0: (36,), 1: (36,), 2: (37,), 3: (37,)}


@pytest.mark.parametrize("text", ["", "|", "1 5 8 10", "36 . 42", "36 . 42 x", "36+ . . .", "200 . . .", "boom"])
def test_what_is_no_beat_leaves_the_built_in_one(text):
    assert drums_to(text).bars == drums_to("").bars


def test_triplets_of_a_beat_are_written_as_such():
    line = drums_to("36 . 42 38 . 42 36 . 42 38 . 42")
    assert hits_of(line.bars[1])[Fraction(2, 3)] == (42,)
    assert check(lines_to_abc("", "C", "4/4", [line])) == []


def bass_to(degrees: str) -> Line:
    sections = tuple(
        replace(s, parts=tuple(replace(p, degrees=degrees) if p.role == "bass" else p for p in s.parts))
        for s in a_plan().sections
    )
    return arrange_plan(a_plan(sections=sections), a_tune(), 0)[2]


def test_the_bass_plays_the_pattern_that_the_plan_writes_out():
    line = bass_to("R - . R . R 5 -")
    for bar in line.bars[:-1]:
        assert list(hits_of(bar)) == [0, Fraction(3, 2), Fraction(5, 2), 3]
        assert len({pitches[0] % 12 for at, pitches in hits_of(bar).items() if at < 2}) == 1


def test_a_chord_that_comes_later_in_the_bar_begins_on_its_bass():
    sections = tuple(
        replace(s, parts=tuple(replace(p, degrees="R 5 R 5 R 5 R 5") if p.role == "bass" else p for p in s.parts))
        for s in a_plan().sections
    )
    plan = a_plan(sections=sections, harmony=("C F", *a_plan().harmony[1:]))
    hits = hits_of(arrange_plan(plan, a_tune(), 0)[2].bars[0])
    assert [hits[at][0] % 12 for at in (0, 2)] == [0, 5]


@pytest.mark.parametrize("text", ["1 5 8", "R - 5", "R Q R R", "36 38"])
def test_what_is_no_bass_pattern_leaves_the_built_in_ones(text):
    assert bass_to(text).bars == bass_to("").bars


def test_a_last_beat_that_belongs_to_the_next_chord_takes_it_early():
    tune = a_tune()
    tune[1][0] = (LineEvent((76,), Fraction(3)), LineEvent((69,), Fraction(1)))
    tune[1][1] = (LineEvent((69,), Fraction(4)),)
    harp = arrange_plan(a_plan(harmony=("C", "F", *a_plan().harmony[2:])), tune, 0)[1]
    at, last_beat = Fraction(0), set()
    for event in harp.bars[0]:
        if at + event.length > 3:
            last_beat |= {pitch % 12 for pitch in event.pitches}
        at += event.length
    assert last_beat <= {5, 9, 0}


def test_the_end_slows_down_where_the_plan_says_so():
    slows = arrange_plan(a_plan(ending="fades, ritardando"), a_tune(), 0)[0].qpm_at
    assert [bar for bar, _ in slows] == [1, 7, 8] and slows[0][1] > slows[1][1] > slows[2][1]
    assert arrange_plan(a_plan(ending="stops short"), a_tune(), 0)[0].qpm_at == ((1, 80.0),)


def test_loudness_follows_the_sections_and_the_tune_lies_above_it():
    flute, harp, _ = arrange_plan(a_plan(), a_tune(), 0)
    assert "p" in flute.bars[0][0].marks and "mf" in flute.bars[4][0].marks
    assert "pp" in harp.bars[0][0].marks


def test_a_section_grows_where_its_tune_rests_first_and_begins_on_its_top():
    plan = a_plan(climax=Climax(7, 1, 90))
    plan = replace(plan, sections=(replace(plan.sections[0], swell="grow"), plan.sections[1]))
    tune = a_tune()
    tune[1][0] = (LineEvent((), Fraction(4)),)
    tune[1][1] = (LineEvent((88,), Fraction(4)),)
    flute = arrange_plan(plan, tune, 0)[0]
    marks = [[mark for event in bar for mark in event.marks] for bar in flute.bars[:4]]
    assert "crescendo(" in marks[2] and "crescendo)" in marks[3]


def test_a_voice_that_has_its_dynamics_keeps_them():
    tune = a_tune()
    tune[1][0] = (replace(tune[1][0][0], marks=("ff",)), tune[1][0][1])
    flute = arrange_plan(a_plan(), tune, 0)[0]
    assert flute.bars == tuple(tune[1])


@pytest.mark.parametrize("meter", METERS)
def test_figures_fill_bars_of_every_meter_and_never_leave_them(meter):
    shape = bar_shape(meter)
    assert shape.ticks == quarters(meter) * 480
    for figure in library():
        for pattern in variants(figure.name, shape, 90.0):
            ends = [slot.at + slot.dur for slot in pattern]
            assert pattern and ends[-1] <= shape.ticks
            assert all(end <= slot.at for end, slot in zip(ends, pattern[1:], strict=False))


def test_library_has_figures_of_its_own_and_from_scores_that_say_where_they_are_from():
    found = [figure for figure in library() if figure.source != "by hand"]
    assert 50 <= len(found) <= 110 and len(library()) - len(found) >= 30
    for figure in library():
        assert {"4/4", "3/4", "6/8"} <= figure.bars.keys()
        assert 0 <= figure.loud[0] <= figure.loud[1] <= 5 and 0 < figure.density <= 4
    plain = Counter((meter, bars[0]) for figure in found for meter, bars in list(figure.bars.items())[:1])
    assert max(plain.values()) == 1


def test_bars_of_twelve_eighths_or_five_quarters_may_be_written_whole():
    ripple = figure_named("ripple")
    assert ripple is not None and figure_named("nothing of the kind") is None
    for meter, tokens in (("12/8", 12), ("9/8", 9), ("5/4", 10), ("7/8", 7)):
        plain = variants("ripple", bar_shape(meter), 90.0)[0]
        assert [slot.rungs[0][0] for slot in plain] == [int(token) for token in ripple.bars[meter][0].split()]
        assert len(plain) == tokens and {slot.dur for slot in plain} == {240}


def test_a_plan_may_name_a_figure_or_write_one_out():
    def harp(degrees, meter="4/4", qpm=80.0):
        parts = (VoicePart(1, "melody"), VoicePart(2, "figure", "wave", degrees), VoicePart(3, "bass"))
        sections = tuple(replace(section, parts=parts, qpm=qpm) for section in a_plan().sections)
        return arrange_plan(a_plan(sections=sections), a_tune(), 1)[1]

    assert [event.length for event in harp("=rise and rest").bars[0]] == [Fraction(1, 2)] * 4 + [Fraction(2)]
    own = harp("0 - 2 1 (12) - . 1").bars[0]
    assert [event.length for event in own] == [1, Fraction(1, 2), Fraction(1, 2), 1, Fraction(1, 2), Fraction(1, 2)]
    assert not own[4].pitches and len(own[3].pitches) == 2
    assert harp("1 5 8 5").bars[0] != own
    assert harp("=no such figure").bars[0], "it plays something of the family"


@pytest.mark.parametrize("meter", METERS)
def test_a_written_out_figure_fills_any_bar(meter):
    shape = bar_shape(meter)
    for text in ("0 - 2 1", "0 1 2 0 1 2 0 1 2 0 1 2", ". (01) . (01) . (12)", "0 1 2 3 4 - - . | 0 1 2 3 (34) - - ."):
        for pattern in variants(text, shape, 90.0):
            ends = [slot.at + slot.dur for slot in pattern]
            assert pattern and ends[-1] <= shape.ticks


@pytest.mark.parametrize("text", ["1 5 8 10", "", "0 x 2", "- . - .", "0 1 | 0 1 2", "=ripple", "(ab) 0"])
def test_what_is_no_figure_is_not_read_as_one(text):
    assert figure_of_text(text, bar_shape("4/4")) is None
    with pytest.raises(ValueError, match="no figure"):
        variants(text, bar_shape("4/4"), 90.0)


def test_every_family_but_drums_has_figures():
    assert {figure.family for figure in library()} == set(FAMILIES) - {"drums"}
    assert len({figure.name for figure in library()}) == len(library()) >= 20


@pytest.mark.parametrize(("meter", "beats"), [("6/8", 2), ("9/8", 3), ("12/8", 4), ("7/8", 3), ("5/4", 5), ("2/2", 4)])
def test_beats_of_meters(meter, beats):
    assert len(bar_shape(meter).beats) == beats


def test_plans_that_cannot_be_read_are_refused():
    with pytest.raises(PlanError):
        arrange_plan(a_plan(meter="none"), {}, 0)
    with pytest.raises(PlanError):
        arrange_plan(a_plan(harmony=("H",) * 8), {}, 0)


def with_drums(meter: str, dynamic: str = "f", qpm: float = 110.0) -> Plan:
    plan = a_plan(meter=meter)
    voices = (*plan.voices, PlannedVoice(4, "Drums", 0, 35, 81))
    sections = tuple(
        replace(s, parts=(*s.parts, VoicePart(4, "drums")), dynamic=dynamic, qpm=qpm) for s in plan.sections
    )
    return replace(plan, voices=voices, sections=sections)


def hits(bar: Bar) -> dict[Fraction, tuple[int, ...]]:
    at, found = Fraction(0), {}
    for event in bar:
        if event.pitches:
            found[at] = event.pitches
        at += event.length
    return found


@pytest.mark.parametrize("meter", METERS)
def test_every_meter_has_a_beat_with_a_fill_where_a_section_ends(meter):
    for seed in range(4):
        drums = arrange_plan(with_drums(meter), a_tune(meter), seed)[3]
        assert all(36 in hits(bar)[Fraction(0)] or meter == "3/8" for bar in drums.bars[:3])
        assert hits(drums.bars[3]) != hits(drums.bars[1])
        assert sum(event.length for event in drums.bars[3]) == quarters(meter)


def test_quiet_drums_strike_less_often_and_without_the_snare():
    loud, quiet = (
        [arrange_plan(with_drums("4/4", dynamic), a_tune(), seed)[3] for seed in range(5)] for dynamic in ("f", "pp")
    )
    assert max(len(hits(one.bars[1])) for one in quiet) < min(len(hits(one.bars[1])) for one in loud)
    assert all(38 not in pitches_of(one) for one in quiet)


def test_accompaniment_takes_breath_after_a_half_close():
    plan = a_plan()
    quieter = replace(plan, sections=(plan.sections[0], replace(plan.sections[1], dynamic="pp")))
    for seed in range(4):
        _, harp, cello = arrange_plan(quieter, a_tune(), seed)
        assert not cello.bars[3][-1].pitches and not harp.bars[3][-1].pitches


def test_the_pedal_changes_with_the_chords_of_broken_figures_and_not_in_short_ones():
    calm, short = (
        replace(
            a_plan(),
            sections=tuple(
                replace(s, parts=(s.parts[0], VoicePart(2, "figure", family), s.parts[2])) for s in a_plan().sections
            ),
        )
        for family in ("wave", "pizzicato")
    )
    pressed = [
        mark for bar in arrange_plan(calm, a_tune(), 0)[1].bars for e in bar for mark in e.marks if mark == "ped"
    ]
    assert len(pressed) == 8
    assert not any("ped" in e.marks for bar in arrange_plan(short, a_tune(), 0)[1].bars for e in bar)


def test_who_has_the_tune_elsewhere_rests_where_nobody_sings():
    tune = a_tune()
    tune[1][0] = None
    flute = arrange_plan(a_plan(melody=(0, *(1,) * 7)), tune, 0)[0]
    assert not any(event.pitches for event in flute.bars[0]) and flute.bars[1][0].pitches


def test_figures_keep_off_a_second_written_line():
    plan = a_plan()
    voices = (*plan.voices[:2], PlannedVoice(4, "Viola", 41, 48, 79), plan.voices[2])
    sections = tuple(replace(s, parts=(*s.parts, VoicePart(4, "counter"))) for s in plan.sections)
    tones = (64, 60, 65, 65, 64, 60, 65, 64)
    second: list[Bar | None] = [(LineEvent((pitch,), Fraction(4)),) for pitch in tones]
    for seed in range(6):
        lines = arrange_plan(replace(plan, voices=voices, sections=sections), {**a_tune(), 4: second}, seed)
        assert lines[2].bars[0][0].pitches == (64,)
        for bar, pitch in zip(lines[1].bars, tones, strict=False):
            long = [p for event in bar if event.length >= 1 for p in event.pitches]
            assert all(abs(p - pitch) not in (1, 13) for p in long)


def test_one_manner_for_each_kind_of_section():
    def manner(qpm: float, dynamic: str, family: str) -> str:
        parts = (VoicePart(1, "melody"), VoicePart(2, "figure", family), VoicePart(3, "bass"))
        sections = tuple(replace(s, qpm=qpm, dynamic=dynamic, parts=parts) for s in a_plan().sections)
        stage = ArrangingStage(a_plan(sections=sections), {}, 0)
        return manner_of(stage, sections[0])

    assert manner(64.0, "p", "wave") == "lyrical"
    assert manner(70.0, "ff", "chorale") == "broad"
    assert manner(104.0, "mp", "pizzicato") == "playful"
    assert manner(132.0, "f", "pulse") == "driving"
