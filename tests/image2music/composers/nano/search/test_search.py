"""The search as a whole: forms of any length, lines that keep what was planned, plans that pass the checks."""

import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.checker import check
from image2music.abc.playback import abc_to_score
from image2music.abc.writer.parts import lines_to_abc
from image2music.composers.nano.gestures import DEVICES, DeviceName, gestures_of
from image2music.composers.nano.search.cells import closing_bars, leading_bars, uneven_cells
from image2music.composers.nano.search.composing import Effort, Wanted, compose_lines, with_voices
from image2music.composers.nano.search.form import FORMS, FormName, height_at, peak_at, phrase_lengths
from image2music.composers.nano.search.form_making import FormMaker
from image2music.composers.nano.search.given import compose_to_plan
from image2music.composers.nano.search.harmony import key_away, longest_run, moved, place_of
from image2music.composers.nano.search.layout import seat_band
from image2music.composers.nano.sketch import bar_ticks, beat_ticks
from image2music.images.scene import Scene
from image2music.music.arrange.arranger import arrange_plan
from image2music.music.planning.checks import check_plan
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.theory import Tonality, read_chord, read_tonality

QUICK = Effort(plans=1, themes=1, contours=30, kept=1)
PLAIN: dict[str, Any] = {
    "key": "D", "meter": "4/4", "qpm": 92.0, "bars": 20, "programs": (73, 24, 42), "arousal": 0.4,
}  # fmt: skip


def wanted_of(**changes: Any) -> Wanted:
    """A request for a flute over a guitar with a cello, changed as a test wants it."""
    return Wanted(PlanRequest(**(PLAIN | changes)), "flowing", gestures_of(Scene("a lake at dusk")))


@given(bars=st.integers(1, 60), seed=st.integers(0, 50), device=st.sampled_from(DEVICES))
@settings(max_examples=60, deadline=None)
def test_a_form_has_as_many_bars_as_were_asked_for(bars: int, seed: int, device: DeviceName) -> None:
    form = FormMaker(Tonality("G", "major"), bars, "flowing", device, random.Random(seed), leads=2).form
    assert [task.bar for task in form.tasks] == list(range(bars))
    assert form.sections[0].first == 0 and form.sections[-1].last == bars - 1
    assert all(a.last + 1 == b.first for a, b in pairwise(form.sections))
    assert sum(task.peak for task in form.tasks) == 1 and sum(task.last for task in form.tasks) == 1
    assert 0 <= form.payoff < bars


@given(name=st.sampled_from(sorted(FORMS)), bars=st.integers(8, 40), seed=st.integers(0, 9))
def test_phrases_add_up_and_keep_their_bounds(name: FormName, bars: int, seed: int) -> None:
    found = phrase_lengths(FORMS[name], bars, random.Random(seed))
    assert found is None or (sum(length for _, length in found) == bars and all(1 <= n <= 8 for _, n in found))


@given(length=st.integers(1, 8))
def test_a_climax_rises_to_one_bar_and_comes_down(length: int) -> None:
    heights = [height_at("climax", at, length) for at in range(length)]
    top = peak_at(length)
    assert heights[: top + 1] == sorted(heights[: top + 1]) and heights[top:] == sorted(heights[top:], reverse=True)


@pytest.mark.parametrize("name", ["strophes", "binary"])
def test_forms_without_a_return_of_the_whole_theme_fill_their_bars_with_what_was_heard(name: FormName) -> None:
    made = (
        FormMaker(Tonality("C", "major"), 20, "flowing", "augmentation", random.Random(n), leads=1) for n in range(90)
    )
    form = next(maker.form for maker in made if maker.form.name == name)
    quoted = [int(task.idea[1:].split("+")[0]) for task in form.tasks if task.idea[0] in "=~^"]
    assert quoted and all(form.theme <= bar < len(form.tasks) for bar in quoted)


@pytest.mark.parametrize("meter", ["2/4", "3/4", "4/4", "6/8", "12/8"])
def test_bars_that_close_end_where_they_should_and_bars_that_lead_fill_up_to_the_next(meter: str) -> None:
    places, bar, beat = (place_of("G7", "C"),), bar_ticks(meter), beat_ticks(meter)
    closes = closing_bars(places, (67, 71), meter, last=False)
    assert closes and {notes[-1][2] for notes, _ in closes} == {67, 71}
    theme = ((0, beat, 60), (beat, bar - beat, 64))
    leads = leading_bars(theme, places, (72,), bar, beat)
    assert leads and all(abs(notes[-1][2] - 72) <= 2 for notes, _ in leads)
    assert all(sum(length for _, length, _ in notes) == bar for notes, _ in leads)


@pytest.mark.parametrize("meter", ["2/4", "3/4", "4/4", "5/4", "6/8", "9/8", "12/8", "3/8", "7/8", "2/2"])
def test_a_tune_of_any_meter_is_valid_and_ends_on_the_tonic(meter: str) -> None:
    wanted = wanted_of(meter=meter)
    best = compose_lines(wanted, QUICK, 3)[0]
    plan, written = with_voices(best, wanted)
    checked = check_plan(plan)
    assert not checked.faults
    lines = arrange_plan(checked.plan, written.bars(meter, plan.bars), 1)
    length = Fraction(bar_ticks(meter), 12)
    assert all(sum((event.length for event in bar), Fraction()) == length for line in lines for bar in line.bars)
    abc = lines_to_abc("", plan.key, meter, lines)
    assert not [found for found in check(abc) if found.severity.name == "ERROR"]
    melody = [note for bar in sorted(best.search.done) for note in best.search.done[bar]]
    assert melody[-1][2] % 12 == 2
    assert abc_to_score(abc).n_notes > 60


@pytest.mark.parametrize(
    ("pitches", "steps"), [((60, 62, 64, 65, 67), 4), ((67, 65, 64, 65, 64), 2), ((60, 64, 67), 0), ((60, 60, 62), 1)]
)
def test_a_run_is_counted_in_steps_of_one_direction(pitches: tuple[int, ...], steps: int) -> None:
    assert longest_run(pitches) == steps


def test_a_cell_is_half_a_bar_of_uneven_notes() -> None:
    dotted, even = ((0, 18), (18, 6)), ((24, 12), (36, 12))
    assert uneven_cells((*dotted, *even), 48, 12) == (dotted,)
    assert uneven_cells((*dotted, (24, 18), (42, 6)), 48, 12) == (dotted,)


def test_neither_repeated_notes_nor_an_uneven_rhythm_go_on_for_long() -> None:
    for meter in ("4/4", "6/8"):
        for seed in range(4):
            search = compose_lines(wanted_of(meter=meter), Effort(plans=2, themes=2, contours=60), seed)[0].search
            bars = [notes for _, notes in sorted(search.done.items()) if notes]
            repeats = [any(a[2] == b[2] for a, b in pairwise(notes)) for notes in bars]
            cells = [set(uneven_cells(tuple((o, d) for o, d, _ in notes), search.bar, search.beat)) for notes in bars]
            stale = sum(all(three) for three in zip(repeats, repeats[1:], repeats[2:], strict=False))
            worn = sum(bool(set.intersection(*cells[at : at + 4])) for at in range(len(cells) - 3))
            assert stale + worn <= len(bars) // 5


def test_the_climax_is_the_highest_note_of_all_lines() -> None:
    found = 0
    for seed in range(6):
        wanted = wanted_of(programs=(73, 71, 46, 42))
        plan, written = with_voices(compose_lines(wanted, QUICK, seed)[0], wanted)
        if plan.climax is not None:
            found += 1
            pitches = [n[2] for line in written.lines.values() for notes in line.values() for n in notes]
            assert max(pitches) == plan.climax.pitch
    assert found >= 3


def test_the_same_seed_gives_the_same_tune_and_another_seed_another() -> None:
    tunes = [compose_lines(wanted_of(), QUICK, seed)[0].search.done for seed in (5, 5, 6)]
    assert tunes[0] == tunes[1] != tunes[2]


def test_an_opening_stands_at_the_start_of_the_theme() -> None:
    opening = (((0, 12, 62), (12, 12, 66), (24, 24, 69)), ((0, 24, 67), (24, 24, 64)))
    wanted = Wanted(wanted_of().request, "flowing", gestures_of(Scene("a road")), opening)
    best = compose_lines(wanted, QUICK, 2)[0]
    first = best.search.done[best.form.theme]
    assert [(o, d) for o, d, _ in first] == [(o, d) for o, d, _ in opening[0]]
    assert [note[2] - first[0][2] for note in first] == [0, 4, 7]


def test_a_line_for_a_plan_of_somebody_else_keeps_its_voices_range_and_climax() -> None:
    plan = plan_tune(PlanRequest(key="Em", meter="3/4", bars=18, programs=(68, 48, 42), valence=-0.5))
    written = compose_to_plan(plan, wanted_of(), QUICK, 4)
    assert set(written) == {plan.melody_at(bar) for bar in range(1, 19)}
    voice = plan.voice(next(iter(written)))
    pitches = [p for bar in written[voice.id] for event in bar or () for p in event.pitches]
    assert plan.climax is not None and max(pitches) == plan.climax.pitch
    assert all(voice.low <= pitch <= voice.high for pitch in pitches)


def test_chords_keep_their_spelling_when_they_move() -> None:
    assert moved("Dm7b5 G7/B", 2) == "Em7b5 A7/C#"
    assert moved("Ab Bbmaj7", -1) == "Db Ebmaj7"


def test_a_place_knows_the_leading_note_of_minor() -> None:
    place = place_of("E7", "Am")
    assert {8, 9} <= place.scale and 7 not in place.scale
    assert place.nearest_tone(65) == 64


@given(st.sampled_from(["C", "F#", "Bb", "Am", "Ebm", "Ddor"]), st.integers(0, 40))
def test_a_contrast_goes_to_a_key_that_can_be_written(key: str, seed: int) -> None:
    home = read_tonality(key)
    assert home is not None
    assert abs(key_away(home, random.Random(seed)).sharps) <= 7


def test_an_electric_guitar_keeps_the_tune_and_a_pad_leaves_the_bass_to_the_piano():
    assert [(one.voice.program, one.seat) for one in seat_band((27, 48, 33), True)] == [
        (27, "lead"), (48, "figure"), (0, "drums"), (33, "bass"),
    ]  # fmt: skip
    assert [(one.voice.program, one.seat) for one in seat_band((5, 0, 89), False)] == [
        (5, "lead"), (89, "inner"), (0, "figure"), (0, "bass"),
    ]  # fmt: skip


@given(bars=st.integers(1, 160), seed=st.integers(0, 50), device=st.sampled_from(DEVICES), loop=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_form_of_a_given_length_is_whole_however_short_or_long(
    bars: int, seed: int, device: DeviceName, loop: bool
) -> None:
    key = Tonality("G", "major")
    form = FormMaker(key, bars, "flowing", device, random.Random(seed), leads=2, timed=True, loop=loop).form
    assert [task.bar for task in form.tasks] == list(range(bars))
    assert all(a.last + 1 == b.first for a, b in pairwise(form.sections))
    assert sum(task.peak for task in form.tasks) == 1
    last = read_chord(form.tasks[-1].chords.split()[-1])
    if loop:
        assert not {"intro", "coda"} & {section.purpose for section in form.sections}
        assert bars == 1 or (last.root != key.pitch_class and not any(task.last for task in form.tasks))
    else:
        assert last.root == key.pitch_class
        assert sum(task.last for task in form.tasks) == 1


@pytest.mark.parametrize("bars", [2, 3, 4])
def test_a_tune_of_a_few_bars_states_its_theme_and_closes(bars: int) -> None:
    for seed in range(20):
        form = FormMaker(
            Tonality("A", "minor"), bars, "calm", "inversion", random.Random(seed), leads=1, timed=True
        ).form
        assert form.tasks[0].idea == "M0" and "cad" in form.tasks[-1].idea
        before = read_chord(" ".join(task.chords for task in form.tasks[:-1]).split()[-1])
        assert (before.root - 9) % 12 == 7


def test_a_long_tune_goes_to_several_keys_and_comes_back_each_time() -> None:
    key = Tonality("C", "major")
    for seed in range(10):
        form = FormMaker(key, 120, "calm", "canon", random.Random(seed), leads=2, timed=True).form
        assert len({task.key for task in form.tasks}) >= 3
        purposes = [section.purpose for section in form.sections]
        assert purposes.count("contrast") >= 3 and purposes.count("return") >= 2
        harmonies = [tuple(t.chords for t in form.tasks[at : at + 16]) for at in range(0, 112, 16)]
        assert len(set(harmonies)) == len(harmonies)
