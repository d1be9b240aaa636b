"""Wishes in words: how they are read, whether the planner keeps them, and whether what is named as unmet is unmet."""

from dataclasses import dataclass, replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.catalog import match, read_catalog
from image2music.music.planning.checks import check_plan
from image2music.music.planning.constraints import PlanConstraints, apply_to_request, main_tempo, unmet
from image2music.music.planning.plan import DYNAMICS, plan_as_json, plan_of_json
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.vocabulary import (
    DRUM_KIT,
    instrument_words,
    mood_vocabulary,
    plain,
    style_words,
    tempo_words,
)
from image2music.music.planning.wishes import Wishes, constraints_of
from image2music.music.similarity import Sung
from image2music.music.theory import read_tonality
from image2music.types import AlbumPart


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("90", 88, 92), ("90 bpm", 88, 92), ("60-70", 60, 70), ("60 \u2013 70 BPM", 60, 70), ("60 to 70", 60, 70),
        ("60 bis 70", 60, 70), ("♩=72", 70, 74), ("♩ = 72", 70, 74), ("half = 60", 116, 124), ("♩.=60", 87, 93),
        ("about 90", 86, 94), ("at most 80", 30, 80), ("unter 80", 30, 80), ("100+", 100, 220), ("> 100", 100, 220),
        ("Allegro, 132", 130, 134), ("slow", 50, 80), ("Slowly!", 50, 80), ("sehr langsam", 40, 60), ("lent", 45, 66),
        ("très vite", 160, 205), ("rápido", 120, 170), ("Mäßig", 88, 116), ("slow to moderate", 50, 116),
        ("Allegro ma non troppo", 104.4, 140.4), ("70,5", 68.5, 72.5),
    ],
)  # fmt: skip
def test_a_tempo_is_read(text, low, high):
    found = constraints_of(Wishes(tempo=text))
    assert (found.qpm, found.remarks) == ((low, high), ())


@pytest.mark.parametrize(
    ("text", "bars"),
    [
        ("16", (16, 16)), ("16-24", (16, 24)), ("16 bars", (16, 16)), ("16 Takte", (16, 16)), ("8 to 12", (8, 12)),
        ("16.0", (16, 16)), ("about 20", (18, 22)), ("at least 16", (16, 400)), ("max 32", (1, 32)), ("sixteen",
        (16, 16)),
        ("max. 32 mesures", (1, 32)), ("32+", (32, 400)),
    ],
)  # fmt: skip
def test_bars_are_read(text, bars):
    found = constraints_of(Wishes(bars=text))
    assert (found.bars, found.remarks) == (bars, ())


@pytest.mark.parametrize(
    ("text", "first_choices"),
    [
        ("piano and cello", [0, 42]), ("Klavier", [0]), ("Geige und Klavier", [40, 0]), ("violon et piano", [40, 0]),
        ("string quartet", [40, 40, 41, 42]), ("Streichquartett", [40, 40, 41, 42]),
        ("two flutes & harp", [73, 73, 46]),
        ("a soft electric guitar", [26]), ("Acoustic Grand Piano", [0]), ("Lead 1 (square)", [80]),
        ("program 42", [42]),
        ("Violins, celli", [40, 42]), ("jazz trio", [0, 32, DRUM_KIT]), ("jazz trio without drums", [0, 32]),
        ("Flöte; Gitarre", [73, 24]), ("piano trio", [40, 42, 0]), ("bells, e-piano", [9, 4]),
        ("guitar with bass and drums", [24, 33, DRUM_KIT]),
    ],
)  # fmt: skip
def test_instruments_are_read(text, first_choices):
    found = constraints_of(Wishes(instruments=text))
    assert ([group[0] for group in found.players], found.remarks) == (first_choices, ())


def test_one_of_two_instruments_may_be_asked_for():
    (group,) = constraints_of(Wishes(instruments="piano or harp")).players
    assert {0, 46} <= set(group)


@pytest.mark.parametrize(
    ("text", "modes", "calm"),
    [
        ("happy", {"major"}, False), ("traurig", {"minor"}, True), ("calm, peaceful", {"major"}, True),
        ("very melancholic", {"minor"}, True), ("angry", {"minor"}, False), ("dark, in D minor key", {"minor"}, False),
        ("sad but major", {"major"}, True), ("mysterious", set(), False),
    ],
)  # fmt: skip
def test_moods_are_read(text, modes, calm):
    found = constraints_of(Wishes(mood=text))
    assert modes <= set(found.modes) and (modes or not found.modes)
    assert (found.qpm == (30, 92)) == calm


def test_a_word_in_the_wrong_column_is_found_where_its_own_is_empty():
    assert constraints_of(Wishes(style="slow waltz")).qpm == (66, 80)
    assert "minor" in constraints_of(Wishes(tempo="slow, melancholic")).modes
    assert constraints_of(Wishes(mood="bright waltz")).meters == ("3/4",)


@pytest.mark.parametrize(
    ("wishes", "remark"),
    [
        (Wishes(style="vaporwave"), "style 'vaporwave' is not known; it went to the composer as a hint"),
        (Wishes(instruments="piano, theremin"), "instruments 'theremin' is not known"),
        (Wishes(tempo="glacial"), "tempo 'glacial' is not known"),
        (Wishes(tempo="300"), "tempo '300' lies outside of 30 to 220"),
        (Wishes(bars="30s"), "bars '30s' is not known"),
        (Wishes(bars="0"), "bars '0': a tune has 1 to 400"),
        (Wishes(mood="not sad"), "mood 'not sad' is not known"),
        (Wishes(mood="happy eldritch"), "mood 'eldritch' is not known"),
    ],
)
def test_what_is_not_understood_is_named(wishes, remark):
    found = constraints_of(wishes)
    assert len(found.remarks) == 1 and found.remarks[0].startswith(remark)
    assert unmet(found, plan_tune(PlanRequest(key="D", programs=(0,))))[-1] == found.remarks[0]


@settings(max_examples=200, deadline=None)
@given(st.builds(Wishes, *[st.text(max_size=30)] * 6))
def test_any_words_can_be_read(wishes):
    constraints = constraints_of(wishes)
    plan = plan_tune(apply_to_request(PlanRequest(), constraints))
    assert check_plan(plan).faults == ()
    unmet(constraints, plan)


def test_every_word_is_stored_as_it_is_looked_up():
    for table in (tempo_words(), mood_vocabulary(), instrument_words(), style_words()):
        assert all(word == plain(word) for word in table)
    assert len(mood_vocabulary()) >= 120 and len(style_words()) >= 40
    assert all(30 <= low < high <= 220 for low, high in tempo_words().values())
    assert all(-1 <= valence <= 1 and 0 <= arousal <= 1 for valence, arousal in mood_vocabulary().values())


@pytest.mark.parametrize("style", sorted(style_words()))
def test_the_planner_keeps_every_style_with_the_style_s_own_instruments(style):
    constraints = constraints_of(Wishes(style=style))
    plan = plan_tune(apply_to_request(PlanRequest(key="C", meter="5/4", qpm=120, bars=24), constraints))
    assert unmet(constraints, plan) == ()


# ---------------------------------------------------------------- twenty rows of a catalogue


def programs(plan):
    drums = {part.voice for section in plan.sections for part in section.parts if part.role == "drums"}
    return [DRUM_KIT if voice.id in drums else voice.program for voice in plan.voices]


def tempo(low, high):
    return lambda plan: low <= main_tempo(plan) <= high


def bars(low, high=None):
    return lambda plan: low <= plan.bars <= (high or low)


def only(*groups):
    """Each group plays, and nobody else."""
    return lambda plan: (
        all(set(group) & set(programs(plan)) for group in groups)
        and set(programs(plan)) <= set().union(*groups)
        and len(plan.voices) >= len(groups)
    )


def modes(*names):
    return lambda plan: read_tonality(plan.key).mode in names


def meters(*names):
    return lambda plan: plan.meter in names


def figures(*families):
    return lambda plan: any(part.family in families for section in plan.sections for part in section.parts)


def at_most(dynamic):
    return lambda plan: all(DYNAMICS.index(s.dynamic) <= DYNAMICS.index(dynamic) for s in plan.sections)


def at_least(dynamic):
    return lambda plan: any(DYNAMICS.index(s.dynamic) >= DYNAMICS.index(dynamic) for s in plan.sections)


def both(*tests):
    return lambda plan: all(test(plan) for test in tests)


def never(plan):
    return False


MAJOR, MINOR = modes("major", "mixolydian", "lydian"), modes("minor", "dorian", "phrygian")
CALM, STRONG = both(tempo(30, 92), at_most("mf")), both(tempo(96, 220), at_least("mf"))
PIANO, STRINGS, GUITAR = (0, 1, 2), (48, 49, 50, 51, 44), (24, 25)


@dataclass(frozen=True)
class Row:
    """Five columns of a catalogue, and for each what a person would look for in a plan."""

    mood: str
    tempo: str
    instruments: str
    bars: str
    style: str
    kept: dict


ROWS = [
    Row("calm, peaceful", "slow", "piano", "16", "lullaby", {
        "tempo": tempo(50, 80), "instruments": only(PIANO), "bars": bars(16), "mood": both(MAJOR, CALM),
        "style": both(meters("3/4", "6/8"), tempo(50, 88), modes("major", "mixolydian"),
        figures("wave", "broken", "waltz"))}),
    Row("sad", "60-70", "piano and cello", "24", "romantic", {
        "tempo": tempo(60, 70), "instruments": only(PIANO, (42,)), "bars": bars(24), "mood": both(MINOR, CALM),
        "style": both(meters("4/4", "3/4", "6/8", "12/8"), tempo(46, 120), figures("wave", "broken", "arpeggio"))}),
    Row("happy", "Allegro", "flute and guitar", "16-24", "folk", {
        "tempo": tempo(116, 156), "instruments": only((73,), GUITAR), "bars": bars(16, 24), "mood": both(MAJOR, STRONG),
        "style": both(meters("4/4", "3/4", "6/8", "2/4"), tempo(60, 150), figures("broken", "arpeggio", "offbeat"))}),
    Row("melancholic", "♩=72", "string quartet", "32", "waltz", {
        "tempo": tempo(70, 74), "instruments": only((40,), (41,), (42,)), "bars": bars(32), "mood": both(MINOR, CALM),
        "style": both(meters("3/4"), tempo(66, 190), figures("waltz", "offbeat"))}),
    Row("triumphant", "110", "brass quintet", "20", "march", {
        "tempo": tempo(108, 112), "instruments": only((56, 59), (60,), (57,), (58,)), "bars": bars(20),
        "mood": both(MAJOR, STRONG), "style": both(meters("4/4", "2/4"), tempo(100, 132),
        figures("offbeat", "pulse"))}),
    Row("dark, ominous", "langsam", "strings", "about 20", "film score", {
        "tempo": tempo(50, 80), "instruments": only(STRINGS), "bars": bars(18, 22), "mood": MINOR,
        "style": both(meters("4/4", "3/4", "6/8"), tempo(50, 150), figures("ostinato", "pad", "tremolo", "wave"))}),
    Row("playful", "lively", "clarinet, bassoon and piano", "12", "ragtime", {
        "tempo": tempo(116, 156), "instruments": only((71,), (70,), PIANO), "bars": bars(12),
        "mood": both(MAJOR, STRONG),
        "style": both(meters("2/4", "4/4"), tempo(80, 140), modes("major"), figures("offbeat"))}),
    Row("dreamy", "very slow", "harp and flute", "16 bars", "ambient", {
        "tempo": tempo(40, 60), "instruments": only((46,), (73,)), "bars": bars(16), "mood": both(MAJOR, CALM),
        "style": both(meters("4/4", "3/4", "6/8"), tempo(40, 84), figures("pad", "arpeggio", "wave"))}),
    Row("energetic", "120-140 bpm", "rock band", "32", "rock", {
        "tempo": tempo(120, 140), "instruments": only((26, 27, 28, 29), (30,), (33, 32, 34, 35), (DRUM_KIT,)),
        "bars": bars(32), "mood": both(MAJOR, STRONG),
        "style": both(meters("4/4"), tempo(96, 190), figures("pulse", "ostinato"))}),
    Row("nostalgic", "moderato", "accordion", "24", "tango", {
        "tempo": tempo(88, 116), "instruments": only((21,)), "bars": bars(24), "mood": at_most("ff"),
        "style": both(meters("4/4", "2/4"), tempo(84, 136), modes("minor"), figures("offbeat", "pulse", "ostinato"))}),
    Row("festlich", "schnell", "Trompete und Orgel", "20 Takte", "barock", {
        "tempo": tempo(120, 170), "instruments": only((56, 59), (19, 16, 20)), "bars": bars(20),
        "mood": both(MAJOR, STRONG),
        "style": both(meters("4/4", "3/4"), tempo(60, 132), figures("broken", "ostinato", "arpeggio", "pulse"))}),
    Row("triste", "lento", "guitarra", "16", "flamenco", {
        "tempo": tempo(45, 66), "instruments": only(GUITAR), "bars": bars(16), "mood": both(MINOR, CALM),
        "style": both(meters("2/4", "3/4", "4/4", "6/8"), tempo(60, 140), modes("minor", "phrygian"),
                      figures("ostinato", "offbeat", "tremolo"))}),
    Row("romantic", "andante", "violin and piano", "28-32", "classical", {
        "tempo": tempo(70, 100), "instruments": only((40,), PIANO), "bars": bars(28, 32), "mood": both(MAJOR, CALM),
        "style": both(meters("4/4", "3/4", "2/4", "6/8"), tempo(60, 160), figures("alberti", "broken", "pulse"))}),
    Row("tense", "fast", "strings and timpani", "16", "thriller", {
        "tempo": tempo(120, 170), "instruments": only(STRINGS, (47,)), "bars": bars(16), "mood": both(MINOR, STRONG),
        "style": both(meters("4/4", "3/4", "5/4"), tempo(50, 150), modes("minor", "phrygian", "locrian"),
                      figures("tremolo", "ostinato", "pad"))}),
    Row("solemn", "largo", "choir and organ", "16", "hymn", {
        "tempo": tempo(40, 60), "instruments": only((52, 53, 54), (19, 16, 20)), "bars": bars(16),
        "mood": both(MINOR, CALM), "style": both(meters("4/4", "3/4"), tempo(60, 104), figures("chorale", "pad"))}),
    Row("relaxed", "at most 90", "jazz trio", "32", "bossa nova", {
        "tempo": tempo(30, 90), "instruments": only(PIANO, (32, 43), (DRUM_KIT,)), "bars": bars(32),
        "mood": both(MAJOR, CALM), "style": both(meters("4/4", "2/4"), tempo(84, 150),
        figures("offbeat", "ostinato"))}),
    Row("magical", "about 100", "celesta, harp and strings", "24", "fantasy", {
        "tempo": tempo(96, 104), "instruments": only((8,), (46,), STRINGS), "bars": bars(24), "mood": at_most("ff"),
        "style": both(meters("4/4", "3/4", "6/8"), tempo(60, 130), figures("arpeggio", "wave", "ostinato", "pad"))}),
    # A wish that a lone flute cannot keep: it has no figures.
    Row("joyful", "vif", "solo flute", "8", "jig", {
        "tempo": tempo(116, 156), "instruments": only((73,)), "bars": bars(8), "mood": both(MAJOR, STRONG),
        "style": both(meters("6/8"), tempo(100, 180), figures("offbeat", "broken", "pulse"))}),
    # A tempo against the mood, an unknown style.
    Row("serene", "presto", "marimba", "16", "vaporwave", {
        "tempo": tempo(160, 205), "instruments": only((12,)), "bars": bars(16), "mood": both(MAJOR, CALM),
        "style": never}),
    # An instrument that General MIDI doesn't have, a mood that nobody knows.
    Row("eldritch", "80", "piano and theremin", "16", "minimal", {
        "tempo": tempo(78, 82), "instruments": never, "bars": bars(16), "mood": never,
        "style": both(meters("4/4", "3/4", "6/8", "7/8", "5/4"), tempo(80, 160),
        figures("ostinato", "pulse", "arpeggio"))}),
]  # fmt: skip
COLUMNS = ("tempo", "bars", "instruments", "mood", "style")
DEFAULTS = [
    PlanRequest(key="Bb", meter="5/4", qpm=104.0, bars=18, programs=(73, 0, 42), seed=1),
    PlanRequest(key="C#m", meter="4/4", qpm=60.0, bars=9, programs=(0,), arousal=0.9, seed=2),
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The rows as a catalogue, read and matched with pictures."""
    lines = ["image,mood,tempo,instruments,bars,style"]
    for number, row in enumerate(ROWS):
        lines.append(f'{number}.jpg,"{row.mood}","{row.tempo}","{row.instruments}","{row.bars}","{row.style}"')
    path = tmp_path_factory.mktemp("catalog") / "c.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    uris = [f"shop/{number}.jpg" for number in range(len(ROWS))]
    return [place.brief.wishes for place in match(read_catalog(path), uris, "shop").places]


def complaints(sentences):
    """The columns that sentences name."""
    return {sentence.partition(" ")[0] for sentence in sentences}


@pytest.mark.parametrize("request_before", DEFAULTS, ids=["wide", "solo"])
def test_wishes_of_a_catalogue_are_kept_or_named(asked, request_before):
    kept = dict.fromkeys(COLUMNS, 0)
    for row, wishes in zip(ROWS, asked, strict=True):
        constraints = constraints_of(wishes)
        plan = plan_tune(apply_to_request(request_before, constraints))
        assert check_plan(plan).faults == ()
        named = complaints(unmet(constraints, plan))
        for column in COLUMNS:
            assert (column in named) != row.kept[column](plan), (row, column, unmet(constraints, plan))
            kept[column] += column not in named
    assert len(ROWS) == 20
    assert min(kept[column] for column in ("tempo", "bars", "instruments")) >= 19, kept
    assert min(kept[column] for column in ("mood", "style")) >= 15, kept


def test_what_is_named_as_unmet_is_unmet_in_any_plan(asked):
    plans = [plan_tune(apply_to_request(DEFAULTS[0], constraints_of(wishes))) for wishes in asked]
    for (row, wishes), plan in product(zip(ROWS, asked, strict=True), plans):
        named = complaints(unmet(constraints_of(wishes), plan))
        assert named == {column for column in COLUMNS if not row.kept[column](plan)}, (row, plan)


# ---------------------------------------------------------------- a person's plan, an album, a melody that is there


def test_a_person_s_plan_is_held_against_the_wishes_too():
    plan = plan_of_json(plan_as_json(plan_tune(PlanRequest(key="D", qpm=96, bars=24, programs=(73, 0, 42)))))
    wishes = Wishes(tempo="60 to 70", instruments="piano, cello", bars="16", mood="sad", style="waltz")
    said = unmet(constraints_of(wishes), plan)
    assert {
        "tempo '60 to 70': asked for 60 to 70, the plan has 96",
        "bars '16': asked for 16, the plan has 24",
        "instruments 'piano, cello': nobody asked for Flute, which the plan has",
        "style 'waltz': asked for 3/4, the plan is in 4/4",
        "mood 'sad': asked for 30 to 92, the plan has 96",
        "mood 'sad': asked for minor or dorian or phrygian, the plan is in D",
    } <= set(said)
    assert complaints(said) == {"tempo", "bars", "instruments", "style", "mood"}


def test_an_album_s_demands_are_constraints_too():
    part = AlbumPart(2, "minor", "6/8", 88, (73, 24), "t", (Sung(0, 6),), ((Sung(0, 6),),))
    request = PlanRequest(key="C", qpm=120, bars=18)
    plan = plan_tune(apply_to_request(request, part.constraints))
    assert (plan.key, plan.meter, plan.qpm, plan.bars) == ("Dm", "6/8", 88, 18)
    assert {voice.program for voice in plan.voices} == {73, 24} and plan.voices[0].program == 73
    assert unmet(part.constraints, plan) == ()
    assert complaints(unmet(part.constraints, plan_tune(request))) == {"key:", "meter:", "tempo:", "instruments:"}


def test_players_are_told_apart():
    two = PlanConstraints(players=((73,), (73,)))
    one_flute = plan_tune(PlanRequest(programs=(73,)))
    assert unmet(two, one_flute) == ("instruments: asked for Flute, the plan has Flute",)
    assert unmet(two, plan_tune(PlanRequest(programs=(73, 73)))) == ()
    either = PlanConstraints(players=((73, 40), (73,)))
    assert unmet(either, plan_tune(PlanRequest(programs=(73, 40)))) == ()


def test_a_melody_that_is_there_keeps_its_key_meter_and_bars():
    request = PlanRequest(key="C", bars=4, harmony=("C", "F", "G7", "C"))
    constraints = constraints_of(Wishes(mood="sad", bars="16", style="waltz", tempo="60"))
    changed = apply_to_request(request, constraints)
    assert replace(changed, qpm=request.qpm, programs=request.programs, families=(), style="", dynamic=None,
                   valence=request.valence, arousal=request.arousal) == request  # fmt: skip
    assert {"bars", "mood", "style"} <= complaints(unmet(constraints, plan_tune(changed)))


def test_what_fits_already_stays():
    request = PlanRequest(key="D", meter="3/4", qpm=66, bars=20, programs=(0,))
    constraints = constraints_of(Wishes(tempo="slow", bars="16-24", style="waltz", instruments="piano"))
    changed = apply_to_request(request, constraints)
    assert (changed.key, changed.meter, changed.qpm, changed.bars, changed.programs) == ("D", "3/4", 66, 20, (0,))
