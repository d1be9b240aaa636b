"""The steps of small models: plan from lists, tune two bars at a time, with players of every kind of nonsense."""

import json
import random
import re
from dataclasses import replace

import pytest
import tiny_vlms
from chat_fakes import request
from hypothesis import given, settings
from hypothesis import strategies as st

from image2music.abc.checker import check, count_faults, read_motif
from image2music.abc.diagnostics import Severity
from image2music.abc.playback import abc_to_score
from image2music.composers.base import PlanningRequest, WriteRequest, missing_constraints
from image2music.composers.chat import steps
from image2music.composers.chat.bar_by_bar import InKey, bar_misfit, bars_of_answer, default_rhythm, shifted
from image2music.composers.chat.composer import ChatComposer
from image2music.composers.chat.conversations import AnswerLengths
from image2music.composers.chat.engine import transformers_backend
from image2music.composers.chat.manuscript import OpenLine, motif_lines, units_of
from image2music.composers.chat.protocol import SmallSteps
from image2music.composers.constrained.forms import JsonForm, LinesForm
from image2music.images.scene import Scene
from image2music.music.planning.checks import check_plan
from image2music.music.planning.constraints import PlanConstraints, unmet
from image2music.music.planning.harmony import METERS, cadences_of
from image2music.music.planning.plan import Motif, pitch_name
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.wishes import Wishes, constraints_of
from image2music.music.similarity import opening_of
from image2music.music.theory import read_chord, read_tonality
from image2music.types import AlbumPart, Description, read_line

SCENE = Scene(
    "A mountain lake at dawn with a lone boat.", (("lake", 1.0), ("boat", 1.0)), eye_path=("boat", "peaks", "mist"),
    mood="calm", valence=0.4, arousal=0.2,
)  # fmt: skip
MOTIF = read_line("0:2 5:1 2:1 0:2 2:2 7:2")
ALBUM = AlbumPart(9, "minor", "4/4", 96, (40, 42), "t", MOTIF, opening_of(MOTIF, None))


class Player:
    """Answers questions as a model of one kind would; keeps what it was asked."""

    def __init__(self, kind, seed=1):
        self.kind, self.dice, self.asked = kind, random.Random(seed), []

    def __call__(self, questions):
        self.asked += questions
        return [getattr(self, self.kind)(one) for one in questions]

    def silence(self, question):
        return ""

    def gibberish(self, question):
        signs = "abcdefgABCDEFG 0123456789|[]{}()\"',:/^_=z-!<>.%\n\\\u00e9"
        return "".join(self.dice.choice(signs) for _ in range(self.dice.randrange(200)))

    def half_json(self, question):
        return self.good(question)[: self.dice.randrange(5, 90)] + '{"key": "H", "qpm": NaN, "1": ["X"'

    def wrong_bars(self, question):
        if isinstance(question.form, JsonForm):
            return json.dumps({"key": ["D"], "qpm": "fast", "form": 7, "melody": "Kazoo", "title": {"a": 1}, "1": "H7"})
        bars = ("".join(self.dice.choice("ABcdefga,'^z") + self.dice.choice(["", "2", "3"]) for _ in range(6))
                for _ in range(self.dice.randrange(4)))  # fmt: skip
        return prefix_of(question) + " | ".join(bars) + " |"

    def echo(self, question):
        return "Here is my answer.\n" + said_in(question)

    def good(self, question):
        if isinstance(question.form, JsonForm):
            shape = json.loads(next(line for line in said_in(question).splitlines() if line.startswith("{")))
            fields = json.loads(question.form.schema)["properties"]
            shape |= {name: self.dice.choice(one["enum"]) for name, one in fields.items() if "enum" in one}
            shape |= {name: f"My {shape[name]}" for name, one in fields.items() if "maxLength" in one}
            return f"<think>Let me see {{</think>```json\n{json.dumps(shape)}\n```"
        (line,) = question.form.lines
        bars = [sung_bar(said_in(question), bar, int(units_of(question.form.meter))) for bar in numbers_of(question)]
        return f"Sure!\n{line.prefix}{' | '.join(bars)} |\nI hope it is nice."

    def mixed(self, question):
        return getattr(self, self.dice.choice(["gibberish", "half_json", "wrong_bars", "echo", "good"]))(question)


def said_in(question):
    return question.conversation.messages[-1].text


def prefix_of(question):
    return question.form.lines[0].prefix


def numbers_of(question):
    first, _, last = prefix_of(question).split()[0].partition("-")
    return range(int(first), int(last or first) + 1)


def sung_bar(said, bar, units):
    """A bar of one long note that fits what the prompt says: the first tone of the chord, or the climax."""
    tones = re.search(rf"^Bar {bar}: [^(]*\(([^)]*)\)", said, re.MULTILINE)[1].split()
    top = re.search(rf"Bar {bar} has the highest note of the piece, (\S+), once", said)
    note = top[1] if top else tones[len(tones) // 2]
    return f"{note}{units}"


def asked_for(seed=7, **more):
    description = Description("A lake at dawn.", "A lake at dawn.", SCENE if seed % 2 else None)
    return replace(request(seed), steps="small", description=description, **more)


def composed(player, requests, take=0):
    """Plans and tunes of requests, as the loop asks for them."""
    small = SmallSteps(player, AnswerLengths())
    planning = [PlanningRequest(one, take) for one in requests]
    plans = small.plan(planning)
    writing = [WriteRequest(one.request, plan, take, one.notes) for one, plan in zip(planning, plans, strict=True)]
    return plans, small.write(writing), writing


def is_right(plan, abc):
    errors = [one for one in check(abc) if one.severity is Severity.ERROR]
    return not errors and not count_faults(abc, len(plan.voices), plan.bars)


@pytest.mark.parametrize("kind", ["silence", "gibberish", "half_json", "wrong_bars", "echo", "mixed", "good"])
def test_whatever_a_model_says_the_plan_is_right_and_so_is_the_tune(kind):
    plans, tunes, _ = composed(Player(kind), [asked_for(seed) for seed in range(15)])
    assert [check_plan(plan, read_motif).faults for plan in plans] == [()] * 15
    assert all(map(is_right, plans, tunes))


def test_a_good_model_is_asked_little_and_its_choices_are_taken():
    player = Player("good")
    (plan,), (abc,), _ = composed(player, [asked_for()])
    kinds = [question.step for question in player.asked]
    assert kinds[:3] == ["form", "chords", "motif"] and set(kinds[3:]) == {"bars"}
    shape = json.loads(re.search(r"\{.*\}", Player("good").good(player.asked[0]).partition("json")[2])[0])
    assert (plan.meter, plan.title) == (shape["meter"], shape["title"])
    assert read_tonality(plan.key) == read_tonality(shape["key"])
    assert [plan.voices[0].name, plan.voices[-1].name] == [shape["melody"], shape["bass"]]
    assert plan.sections[0].picture_part == shape["A"]
    assert f"T:{shape['title']}\n" in abc and "derived by rule" in abc
    assert len(kinds) < 3 + plan.bars / 2 + 1


def test_each_prompt_holds_one_whole_answer_that_its_form_allows():
    player = Player("good")
    composed(player, [asked_for(seed) for seed in range(6)])
    for question in player.asked:
        if isinstance(question.form, JsonForm):
            shape = json.loads(next(line for line in said_in(question).splitlines() if line.startswith("{")))
            schema = json.loads(question.form.schema)
            assert list(shape) == schema["required"]
            assert all(shape[name] in one.get("enum", [shape[name]]) for name, one in schema["properties"].items())
        else:
            assert isinstance(question.form, LinesForm)
            assert said_in(question).count("each bar is closed by |") == 1


def test_what_is_copied_from_the_example_is_not_about_the_picture():
    def copying(questions):
        return [json.dumps(json.loads(next(line for line in said_in(one).splitlines() if line.startswith("{"))))
                if isinstance(one.form, JsonForm) else "" for one in questions]  # fmt: skip

    (plan,), _, _ = composed(copying, [asked_for(1)])
    assert plan.title == "Lake" and plan.sections[0].picture_part == "boat"


def test_every_question_begins_with_the_picture_and_what_was_seen_in_it():
    player = Player("mixed")
    one = asked_for()
    composed(player, [one])
    start = steps.seen_in(one).messages
    assert all(question.conversation.messages[:-1] == start for question in player.asked)
    assert len({question.seed for question in player.asked}) == len(player.asked)


def test_what_cannot_be_used_is_asked_for_once_more_with_the_reason():
    player = Player("silence")
    (plan,), _, _ = composed(player, [asked_for()])
    again = [said_in(one) for one in player.asked if "could not be used" in said_in(one)]
    assert len(again) * 2 == len(player.asked)
    assert "it held no JSON object" in again[0]
    assert f"bar {plan.bars - 1}" not in again[0]


def test_an_answer_does_not_depend_on_who_shares_the_batch():
    requests = [asked_for(seed) for seed in range(4)]
    _, together, _ = composed(Player("good", 1), requests)
    for one, abc in zip(requests, together, strict=True):
        player = Player("good", 1)
        player.dice = FirstOf()
        alone = composed(player, [one])[1]
        player.dice = FirstOf()
        assert composed(player, [requests[0], one])[1][1:] == alone
        assert abc


class FirstOf:
    """Dice that always show the same."""

    def choice(self, options):
        return options[0]


def test_takes_differ_and_notes_keep_a_short_conversation():
    player = Player("silence")
    (first,), (abc,), (noted,) = composed(player, [asked_for()])
    (second,), _, _ = composed(player, [asked_for()], take=1)
    assert first != second
    talk = steps.talk_of(noted.request, first, noted.notes)
    assert talk.messages[-1].text == abc.strip() and len(talk.messages) == 4
    assert steps.talk_of_plan(noted.request, first, noted.notes).messages[-1].role == "assistant"


WISHES = [
    Wishes(tempo="88"), Wishes(bars="8"), Wishes(bars="3"), Wishes(bars="41"), Wishes(instruments="string quartet"),
    Wishes(instruments="no flute, no harp, no clarinet"), Wishes(style="waltz"), Wishes(style="tango", mood="sad"),
    Wishes(instruments="jazz trio", tempo="fast"), Wishes(mood="furious"), Wishes(style="medieval"),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["gibberish", "good"])
@pytest.mark.parametrize("wishes", WISHES, ids=str)
def test_wishes_are_kept_by_code(kind, wishes):
    asked = constraints_of(wishes)
    (plan,), (abc,), _ = composed(Player(kind), [asked_for(constraints=(asked,))])
    assert unmet(replace(asked, remarks=()), plan) == ()
    assert is_right(plan, abc)


@pytest.mark.parametrize("meter", METERS)
def test_every_meter_can_be_asked_for(meter):
    wanted = PlanConstraints(key="Ephr", meters=(meter,))
    (plan,), (abc,), _ = composed(Player("mixed"), [asked_for(constraints=(wanted,))])
    assert (plan.meter, plan.key) == (meter, "Ephr")
    assert is_right(plan, abc)


@pytest.mark.parametrize("kind", ["gibberish", "mixed", "good"])
def test_the_albums_motif_begins_the_tune(kind):
    requests = [asked_for(seed, album=ALBUM, constraints=(ALBUM.constraints,)) for seed in range(4)]
    plans, tunes, _ = composed(Player(kind), requests)
    assert all(map(is_right, plans, tunes))
    assert [unmet(ALBUM.constraints, plan) for plan in plans] == [()] * 4
    assert [missing_constraints(abc_to_score(abc), ALBUM) for abc in tunes] == [()] * 4


def test_sections_end_with_cadences_and_parts_come_back():
    plans, _, _ = composed(Player("good"), [asked_for(seed) for seed in range(12)])
    for plan in plans:
        tonic = read_tonality(plan.key).pitch_class
        for section in plan.sections:
            heard = [read_chord(one) for text in plan.harmony[: section.last] for one in text.split()]
            wanted = "full" if section.last == plan.bars or section.name.endswith("'") else "half"
            assert wanted in cadences_of(heard, tonic), (section.name, plan.harmony)
    back = [plan for plan in plans if plan.sections[1].name == "A'"]
    assert back and all(plan.harmony[:2] == plan.harmony[4:6] for plan in back)
    for plan in plans:
        assert plan.climax is not None and plan.climax.bar >= plan.bars * 2 // 3


def test_the_climax_is_the_highest_note():
    plans, tunes, _ = composed(Player("good"), [asked_for(seed) for seed in range(8)])
    for plan, abc in zip(plans, tunes, strict=True):
        top = max(max(track.pitches) for track in abc_to_score(abc).tracks)
        assert pitch_name(int(top)) == pitch_name(plan.climax.pitch)


def test_a_plan_that_is_asked_for_again_stays_unless_the_planners_own_is_better():
    asked = PlanningRequest(asked_for(constraints=(PlanConstraints(bars=(8, 8)),)))
    small = SmallSteps(Player("good"), AnswerLengths())
    (plan,) = small.plan([asked])
    again = replace(asked, attempt=1, faults=("bars",), previous=plan)
    assert small.plan([again]) == [plan]
    (other,) = small.plan([replace(again, previous=plan_tune(PlanRequest(bars=16)))])
    assert other.bars == 8 and not check_plan(other, read_motif).faults


def test_a_tune_is_written_to_somebody_elses_plan():
    for moves, programs in ((True, (73, 40, 46, 42)), (False, (0,)), (True, (73, 71, 48, 24, 42))):
        plan = plan_tune(PlanRequest(key="Dm", bars=20, programs=programs, tune_moves=moves, drums=moves))
        small = SmallSteps(Player("mixed"), AnswerLengths())
        (abc,) = small.write([WriteRequest(asked_for(), plan)])
        assert is_right(plan, abc)


@pytest.mark.slow
def test_random_weights_write_valid_tunes(tmp_path):
    folder = tiny_vlms.save("qwen2_5_vl", tmp_path / "tiny")
    backend = transformers_backend.load_transformers_backend(str(folder))
    composer = ChatComposer(backend, AnswerLengths(sketch=12))
    planning = [PlanningRequest(asked_for(seed)) for seed in range(1)]
    plans = composer.plan(planning)
    writing = [WriteRequest(one.request, plan, 0, one.notes) for one, plan in zip(planning, plans, strict=True)]
    assert all(map(is_right, plans, composer.write(writing)))


# ---------------------------------------------------------------- reading, and what rules write

PLAN = plan_tune(PlanRequest(key="D", meter="3/4", bars=8, programs=(73, 46, 42)))
LINE = OpenLine(1, 3, 4)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("3-4 [V:1] d2 f2 a2 | b4 a2 |", {3: "d2 f2 a2", 4: "b4 a2"}),
        ("<think>3-4 [V:1] z6 | z6</think>**3-4 [V:1]** d6 | e6 |]", {3: "d6", 4: "e6"}),
        ("```abc\nd6 | e6 |\n```", {3: "d6", 4: "e6"}),
        ("The tune:\n[V:1] d6 | e6 | f6 |", {3: "d6", 4: "e6"}),
        ("1-2 [V:1] a6 | a6 |\n3-4 [V:1] !f!d6- | (e6 |", {3: "d6", 4: "e6"}),
        ("3-4 [V:1] d6 |", {3: "d6"}),
        ("3-4 [V:1] [K:G]d6 % no | e6 |", {3: "", 4: "e6"}),
        ("A bad cabbage", {}),
        ("", {}),
    ],
)
def test_bars_are_read_from_whatever_stands_around_them(answer, found):
    assert bars_of_answer(answer, PLAN, LINE) == found


def test_a_misfit_is_named():
    plan = replace(PLAN, harmony=("D",) * 8)
    kinds = {
        "d2 e2": "music", "z6": "music", "d'6": "range", "e4 g2": "chord", "d2 f3 a": "held", "d2 f2 a2": None,
    }  # fmt: skip
    for text, kind in kinds.items():
        found = bar_misfit(plan, 1, text, 62, 81, held=True)
        assert (found and found.kind) == kind, text


@given(
    meter=st.sampled_from(METERS), key=st.sampled_from(["C", "F#m", "Ebm", "Gmix", "Bloc"]), bar=st.integers(1, 8),
    low=st.integers(40, 70), width=st.integers(0, 24), before=st.none() | st.integers(30, 100), held=st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_bars_by_rule_are_full_and_in_range(meter, key, bar, low, width, before, held):
    plan = plan_tune(PlanRequest(key=key, meter=meter, bars=8))
    text = InKey(plan).by_rule(bar, low, low + width, before=before, held=held)
    notes = read_motif(text, key, meter)
    assert all(low <= note.pitch <= low + width for note in notes)
    assert sum(default_rhythm(units_of(meter) / 2, meter)) == units_of(meter) / 2
    assert len(notes) >= 1


@given(text=st.sampled_from(["c2 ^d'e, !trill!G2 z2", "[Ce]2 (3abc _B,,4"]), octaves=st.integers(-2, 2))
def test_a_bar_can_be_moved_by_octaves(text, octaves):
    before, after = (read_motif(one, "C", "4/4") for one in (text, shifted(text, octaves)))
    assert [note.pitch + 12 * octaves for note in before] == [note.pitch for note in after]
    assert [note[1:] for note in before] == [note[1:] for note in after]


def test_a_motif_is_turned_upside_down_within_its_key():
    plan = replace(PLAN, motif=Motif("d2 e2 f2 | a6", "D | D"))
    assert InKey(plan).upside_down(motif_lines(plan)) == ["d2 c2 B2", "G6"]
