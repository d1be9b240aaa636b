"""What `check_plan` mends, and what it hands back as a fault."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.checker import read_motif
from image2music.errors import AbcError
from image2music.music.instruments import instrument_of
from image2music.music.planning.checks import check_plan, families_for
from image2music.music.planning.harmony import METERS, cadences_of, degree_symbol, nearest_symbol
from image2music.music.planning.plan import (
    CADENCES,
    DYNAMICS,
    FAMILIES,
    ROLES,
    SWELLS,
    Climax,
    Device,
    Motif,
    Plan,
    PlannedVoice,
    Section,
    Silence,
    Surprise,
    VoicePart,
    plan_as_json,
    plan_of_json,
)
from image2music.music.theory import Tonality, fifths_name, fifths_of, read_chord, read_tonality

GOOD = plan_of_json(
    {
        "title": "Lake",
        "idea": "the lake is the harp",
        "key": "D",
        "meter": "3/4",
        "bars": 12,
        "voices": [
            {"id": 1, "name": "Flute", "program": 73, "low": "D4", "high": "D6"},
            {"id": 2, "name": "Harp", "program": 46, "low": "D3", "high": "D5"},
            {"id": 3, "name": "Cello", "program": 42, "low": "C2", "high": "D4"},
        ],
        "sections": [
            {
                "name": "A", "bars": "1-4", "qpm": 66, "dynamic": "p", "cadence": "half",
                "roles": {"1": "melody", "2": "figure", "3": "bass"}, "figures": {"2": {"family": "wave"}},
            },
            {
                "name": "B", "bars": "5-8", "qpm": 66, "dynamic": "mp", "cadence": "deceptive",
                "roles": {"1": "melody", "2": "figure", "3": "bass"}, "figures": {"2": {"family": "pad"}},
            },
            {
                "name": "A'", "bars": "9-12", "qpm": 66, "dynamic": "f", "cadence": "full",
                "roles": {"1": "melody", "2": "figure", "3": "bass"}, "figures": {"2": {"family": "wave"}},
            },
        ],
        "harmony": ["D", "Bm7", "G", "A", "Em", "D/F#", "A7", "Bm", "G", "D", "Em A7", "D"],
        "motif": {"abc": "D3 A B2 | A4 F2", "chords": "D Bm7"},
        "climax": {"bar": 10, "voice": 1, "note": "A5"},
    }
)  # fmt: skip


def with_section(number, **changes):
    sections = list(GOOD.sections)
    sections[number] = replace(sections[number], **changes)
    return replace(GOOD, sections=tuple(sections))


def with_part(number, part):
    section = GOOD.sections[number]
    return with_section(number, parts=tuple(part if one.voice == part.voice else one for one in section.parts))


def with_voice(id, **changes):
    return replace(GOOD, voices=tuple(replace(one, **changes) if one.id == id else one for one in GOOD.voices))


def with_chord(bar, text):
    return replace(GOOD, harmony=(*GOOD.harmony[: bar - 1], text, *GOOD.harmony[bar:]))


def test_a_good_plan_is_left_as_it_is():
    checked = check_plan(GOOD, read_motif)
    assert (checked.plan, checked.mended, checked.faults) == (GOOD, (), ())


MENDS = {
    "a missing chord is that of the bar before": (
        with_chord(7, ""),
        "bar 7 had no chord: took D/F# of bar 6",
        lambda plan: plan.harmony[6] == "D/F#",
    ),
    "a sign for the chord before": (
        with_chord(7, "%"),
        "bar 7 had no chord: took D/F# of bar 6",
        lambda plan: plan.harmony[6] == "D/F#",
    ),
    "harmony that is too short is filled": (
        replace(GOOD, harmony=GOOD.harmony[:-1]),
        "bar 12 had no chord: took A7 of bar 11",
        lambda plan: plan.harmony[11] == "D" and plan.sections[2].cadence == "full",
    ),
    "harmony that is too long is cut": (
        replace(GOOD, harmony=(*GOOD.harmony, "G")),
        "harmony: 13 bars for a tune of 12; left the last ones out",
        lambda plan: plan.harmony == GOOD.harmony,
    ),
    "a symbol with more than is known keeps what is": (
        with_chord(2, "Bm7add11"),
        "bar 2: 'Bm7add11' is no chord symbol; took Bm7",
        lambda plan: plan.harmony[1] == "Bm7",
    ),
    "three chords in a bar": (
        with_chord(3, "G Em7 C"),
        "bar 3: 3 chords are too many; kept G and C",
        lambda plan: plan.harmony[2] == "G C",
    ),
    "a cadence label that the chords don't keep": (
        with_section(0, cadence="full"),
        "section A: G A is no full cadence in D; called it half",
        lambda plan: plan.sections[0].cadence == "half",
    ),
    "an ending away from home": (
        with_chord(12, "Bm"),
        "bar 12: the tune ended on Bm, away from home; ends on D now",
        lambda plan: plan.harmony[11] == "D",
    ),
    "a range beyond the instrument's": (
        with_voice(1, low=40, high=110),
        "voice 1 (Flute): E2 to D8 is no range of a Flute; took B3 to D7",
        lambda plan: (plan.voice(1).low, plan.voice(1).high) == (59, 98),
    ),
    "a range that the instrument doesn't have at all": (
        with_voice(3, low=90, high=100),
        "voice 3 (Cello): F#6 to E7 is no range of a Cello; took C2 to C5",
        lambda plan: (plan.voice(3).low, plan.voice(3).high) == (36, 72),
    ),
    "a program by the voice's name": (
        with_voice(3, program=300),
        "voice 3 (Cello): program 300 is none; took 42 by its name",
        lambda plan: plan.voice(3).program == 42,
    ),
    "a gap between sections": (
        with_section(1, first=6),
        "section A: stretched to bar 5, where the next one begins",
        lambda plan: plan.sections[0].last == 5,
    ),
    "an overlap of sections": (
        with_section(1, first=3),
        "section B: bars 3-8 became 5-8",
        lambda plan: plan.sections[1].first == 5,
    ),
    "a last section that ends early": (
        with_section(2, last=11),
        "section A': stretched to bar 12, the last one",
        lambda plan: plan.sections[2].last == 12,
    ),
    "a count of bars that sections and harmony disown": (
        replace(GOOD, bars=16),
        "bars: 16 where sections and harmony have 12; took that",
        lambda plan: plan.bars == 12,
    ),
    "a tempo that nobody can follow": (
        with_section(0, qpm=500.0),
        "section A: 500 quarter notes a minute became 220",
        lambda plan: plan.sections[0].qpm == 220,
    ),
    "a figure without a family": (
        with_part(1, VoicePart(2, "figure")),
        "section B, voice 2: had no family; took",
        lambda plan: plan.sections[1].part_of(2).family not in (None, "wave"),
    ),
    "the same family twice running": (
        with_part(1, VoicePart(2, "figure", "wave", "1 5 8")),
        "section B, voice 2: wave stands in the section before too; took",
        lambda plan: plan.sections[1].part_of(2).family != "wave" and not plan.sections[1].part_of(2).degrees,
    ),
    "a figure of a voice that has none": (
        with_part(1, VoicePart(1, "melody", "wave")),
        "section B, voice 1: melody has no figure; left wave out",
        lambda plan: plan.sections[1].part_of(1).family is None,
    ),
    "a role of a voice that there is not": (
        with_section(1, parts=(*GOOD.sections[1].parts, VoicePart(9, "hold"))),
        "section B: there is no voice 9; its role was left out",
        lambda plan: plan == GOOD,
    ),
    "a tune that begins late in its section": (
        replace(GOOD, melody=(0, 0, 0) + (1,) * 9),
        "bars 1-3: nobody had the tune though its section has; gave voice 1",
        lambda plan: plan.melody == (1,) * 12,
    ),
    "a climax that comes early": (
        replace(GOOD, climax=Climax(3, 1, 81)),
        "climax: bar 3 is not in the last third; moved to bar 9",
        lambda plan: plan.climax == Climax(9, 1, 81),
    ),
    "a climax of a silent voice": (
        replace(GOOD, climax=Climax(10, 2, 74), silences=(Silence(2, 9, 12),)),
        "climax: voice 2 is silent in bar 10; gave it to voice 1",
        lambda plan: plan.climax == Climax(10, 1, 74),
    ),
    "a climax out of reach": (
        replace(GOOD, climax=Climax(10, 1, 93)),
        "climax: A6 is outside of voice 1 (D4 to D6); took A5",
        lambda plan: plan.climax == Climax(10, 1, 81),
    ),
    "the bass in a voice that isn't last": (
        replace(GOOD, voices=(GOOD.voices[0], GOOD.voices[2], GOOD.voices[1])),
        "voices: voice 3 has the bass; put it last",
        lambda plan: plan == GOOD,
    ),
    "a figure in the last voice where nobody has the bass": (
        replace(
            GOOD,
            voices=GOOD.voices[:2],
            sections=tuple(replace(s, parts=s.parts[:2]) for s in GOOD.sections),
        ),
        "section A, voice 2: nobody had the bass; figure is bass+figure now",
        lambda plan: plan.sections[0].role_of(2) == "bass+figure" and plan.sections[0].part_of(2).family == "wave",
    ),
    "two sections of one name": (
        with_section(2, name="A"),
        "section A, bars 9-12: called A2",
        lambda plan: [section.name for section in plan.sections] == ["A", "B", "A2"],
    ),
    "a surprise behind the end": (
        replace(GOOD, surprise=Surprise(40, "Gm", "shadow")),
        "surprise: there is no bar 40; left it out",
        lambda plan: plan.surprise is None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MENDS)
def test_what_can_be_mended_is_mended_and_said(name):
    plan, message, right = MENDS[name]
    checked = check_plan(plan, read_motif)
    assert any(said.startswith(message) for said in checked.mended), checked.mended
    assert checked.faults == ()
    assert right(checked.plan)
    again = check_plan(checked.plan, read_motif)
    assert (again.plan, again.mended, again.faults) == (checked.plan, (), ())


FAULTS = {
    "no key": (replace(GOOD, key="H"), "key: 'H' is no key"),
    "no meter": (replace(GOOD, meter="17/3"), "meter: '17/3' cannot be written"),
    "no chord symbol": (with_chord(5, "tonic"), "bar 5: 'tonic' is no chord symbol; write D, Bm7"),
    "hardly any chord": (replace(GOOD, harmony=("D",)), "harmony: 11 of 12 bars have no chord"),
    "no chord at all": (replace(GOOD, harmony=()), "harmony: no bar has a chord"),
    "too many voices": (
        replace(GOOD, voices=tuple(PlannedVoice(n, "Flute", 73, 60, 80) for n in range(1, 10))),
        "voices: 9 are too many; at most 8",
    ),
    "a program of no name": (with_voice(3, program=300, name="Theremin"), "voice 3 (Theremin): program 300 is none"),
    "bars without a section": (
        replace(GOOD, sections=GOOD.sections[:1]),
        "sections: bars 5-12 belong to none; plan them",
    ),
    "nobody has the tune": (
        replace(GOOD, climax=None, sections=tuple(replace(s, parts=s.parts[1:]) for s in GOOD.sections)),
        "nobody has the tune: give a voice the role melody",
    ),
    "nobody has the tune for long": (
        replace(GOOD, melody=(1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1)),
        "bars 5-10: nobody has the tune for 6 bars",
    ),
    "nobody has the bass": (
        replace(GOOD, sections=tuple(replace(s, parts=s.parts[:2]) for s in GOOD.sections)),
        "nobody has the bass: give voice 3, the last one, the role bass",
    ),
    "a climax where all are silent": (
        replace(GOOD, climax=Climax(10, 7, 81), silences=(Silence(1, 10, 10),)),
        "climax: voice 7 is silent in bar 10",
    ),
    "a device that pays off behind the end": (
        replace(GOOD, device=Device("mirror", 99, (1,))),
        "device: there is no bar 99",
    ),
    "a motif outside its chords": (
        replace(GOOD, motif=Motif("E2 c2 B2 | A4 F2", "D Bm7")),
        "motif: E4 on beat 1 of its bar 1 is not in D; change the note or the chord",
    ),
    "a motif with a bar too short": (
        replace(GOOD, motif=Motif("D3 A | A4 F2", "D Bm7")),
        "motif: bar 1 of voice 1 holds 4/8 of 3/4",
    ),
    "a motif with more bars than chords": (
        replace(GOOD, motif=Motif("D3 A B2 | A4 F2", "D")),
        "motif: 2 bars of notes and chords for 1; write one chord a bar",
    ),
    "a motif with an unreadable chord": (replace(GOOD, motif=Motif("D6 | A6", "D X")), "motif: 'X' is no chord symbol"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_mended_is_a_fault_to_act_on(name):
    plan, message = FAULTS[name]
    faults = check_plan(plan, read_motif).faults
    assert len(faults) == 1 and faults[0].startswith(message), faults
    assert "\n" not in faults[0]


def test_a_motif_may_lean_on_its_chord():
    assert check_plan(replace(GOOD, motif=Motif("E2 D2 B2 | A4 F2", "D Bm7")), read_motif).faults == ()


def test_a_bass_may_have_a_family():
    assert check_plan(with_part(1, VoicePart(3, "bass", "pulse"))).mended == ()


def test_a_solo_needs_no_bass():
    solo = replace(
        GOOD, voices=GOOD.voices[:1], sections=tuple(replace(s, parts=s.parts[:1]) for s in GOOD.sections)
    )  # fmt: skip
    assert check_plan(solo).faults == ()


@pytest.mark.parametrize(
    ("chords", "cadence"),
    [
        ("G A", "half"), ("G A7sus4 A7", "half"), ("A D", "full"), ("C#dim D", "full"), ("A7sus4 A7 D6", "full"),
        ("G D", "plagal"), ("Gm D", "plagal"), ("A Bm", "deceptive"), ("A7 Bb", "deceptive"), ("Em G", "open"),
        ("G Bm", "open"), ("D A/C# D", "full"),
    ],
)  # fmt: skip
def test_cadences_have_their_names(chords, cadence):
    assert cadences_of([read_chord(one) for one in chords.split()], read_tonality("D").pitch_class)[0] == cadence


@pytest.mark.parametrize(
    ("symbol", "nearest"),
    [("Bm7", "Bm7"), ("C6/9", "C6/9"), ("G7b9b13", "G7b9"), ("Am/H", None), ("Am/", "Am"), ("Dark", None),
     ("em7", "Em7"), ("N.C.", None)],
)  # fmt: skip
def test_the_nearest_symbol_drops_only_what_is_music(symbol, nearest):
    assert nearest_symbol(symbol) == nearest


@pytest.mark.parametrize(
    ("degree", "key", "symbol"),
    [("V7", "D", "A7"), ("bVI", "Cm", "Ab"), ("i/3", "Em", "Em/G"), ("V/3", "Eb", "Bb/D"), ("iim7b5", "F#m", "G#m7b5"),
     ("IV/5", "Gb", "Cb/Gb"), ("bVI", "Ebm", "Cb")],
)  # fmt: skip
def test_degrees_are_spelled_in_their_key(degree, key, symbol):
    assert degree_symbol(degree, read_tonality(key)) == symbol


@pytest.mark.parametrize(
    ("text", "written"),
    [("D", "D"), ("d", "D"), ("F# minor", "F#m"), ("Bb major", "Bb"), ("B flat", "Bb"), ("Ddorian", "Ddor"),
     ("A mix", "Amix"), ("E aeolian", "Em"), ("C♯m", "C#m"), ("G#", None), ("H", None), ("Dsus", None), ("", None)],
)  # fmt: skip
def test_keys_are_read(text, written):
    read = read_tonality(text)
    assert (None if read is None else str(read)) == written


def test_names_on_the_line_of_fifths_come_back():
    assert all(fifths_of(fifths_name(place)) == place for place in range(-15, 20))
    assert Tonality("D", "dorian").classes == read_tonality("C").classes


def test_a_motif_is_read_in_its_key_and_meter():
    notes = read_motif("D3 A B2 | A4 F2", "D", "3/4")
    assert [(note.pitch, note.onset * 2, note.length * 2) for note in notes] == [
        (62, 0, 3), (69, 3, 1), (71, 4, 2), (69, 6, 4), (66, 10, 2),
    ]  # fmt: skip
    assert read_motif("D3 A B2 | A4 F2 |]", "D", "3/4") == notes
    for wrong in ("D3 A B2 | A4", "la la la !", "z6"):
        with pytest.raises(AbcError):
            read_motif(wrong, "D", "3/4")


@given(program=st.integers(0, 127), meter=st.sampled_from(METERS))
def test_every_instrument_has_figures_enough_to_change(program, meter):
    suited = families_for(program, meter)
    assert len(suited) >= 4
    assert instrument_of(program).chords > 1 or not {"tremolo", "chorale", "waltz"} & set(suited)


BARS = st.integers(1, 40)
IDS = st.integers(0, 5)
SYMBOLS = st.sampled_from(["D", "Bm7", "G", "A", "A7sus4", "F#m7b5", "C/G", "Xyz", "", "Em A", "D E F#m G"])
PARTS = st.builds(
    VoicePart,
    IDS,
    st.sampled_from(ROLES),
    st.none() | st.sampled_from(FAMILIES),
    st.sampled_from(["", "1 5 8", "what"]),
)
SECTIONS = st.builds(
    lambda first, length, **rest: Section(first=first, last=first + length, name="S", picture_part="", **rest),
    BARS,
    st.integers(0, 12),
    qpm=st.floats(1, 900),
    dynamic=st.sampled_from(DYNAMICS),
    swell=st.sampled_from(SWELLS),
    cadence=st.sampled_from(CADENCES),
    parts=st.lists(PARTS, max_size=6).map(tuple),
)
SILENCES = st.builds(lambda voice, first, more: Silence(voice, first, first + more), IDS, BARS, st.integers(0, 9))
VOICES = st.lists(
    st.builds(
        PlannedVoice,
        st.integers(1, 6),
        st.just("Flute"),
        st.integers(-3, 140),
        st.integers(0, 127),
        st.integers(0, 127),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda voice: voice.id,
).map(tuple)
PLANS = st.builds(
    Plan,
    title=st.just("t"),
    idea=st.just("i"),
    key=st.sampled_from(["D", "Bm", "Ddor", "Z"]),
    meter=st.sampled_from(["3/4", "6/8", "C", "9/7"]),
    bars=BARS,
    voices=VOICES,
    sections=st.lists(SECTIONS, min_size=1, max_size=5).map(tuple),
    harmony=st.lists(SYMBOLS, max_size=45).map(tuple),
    melody=st.just(()) | st.lists(IDS, max_size=45).map(tuple),
    climax=st.none() | st.builds(Climax, BARS, IDS, st.integers(0, 127)),
    silences=st.lists(SILENCES, max_size=3).map(tuple),
    free_bars=st.lists(BARS, max_size=3).map(tuple),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(PLANS)
def test_any_plan_is_mended_once_and_for_all(plan):
    checked = check_plan(plan, read_motif)
    again = check_plan(checked.plan, read_motif)
    assert again.mended == ()
    assert again.plan == checked.plan
    if not checked.faults:
        assert [bar for section in checked.plan.sections for bar in section.bars] == [*range(1, checked.plan.bars + 1)]
        assert len(checked.plan.harmony) == checked.plan.bars
        assert plan_of_json(plan_as_json(checked.plan)) == checked.plan
