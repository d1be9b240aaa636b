import hashlib
from importlib.resources import files

import pytest
from chat_fakes import FakeBackend, picture
from fakes import two_voice_tune

from image2music.errors import ModelError
from image2music.evaluation.pieces import Piece
from image2music.evaluation.questions import (
    GROUPS,
    STUDY,
    JudgeAnswer,
    JudgeSettings,
    add_answers,
    anonymize,
    ask_judge,
    cost,
    judge_prompts_version,
    judge_tasks,
    mean_spread,
    read_answer,
    without_order_effects,
    wording,
)
from image2music.settings import prompts_version

PIECES = [Piece(f"id{n}", f"{n}.png", two_voice_tune(n)) for n in range(4)]
MUSIC = GROUPS["music"]
FOLDERS = ("paper", "plan", "small")
"""Of the prompts that make rows."""


def in_order(prompt):
    """The questions of a prompt, as they stand in it."""
    return [line[2:].partition(":")[0] for line in prompt.splitlines() if line.startswith("- ")]


class Prejudiced(FakeBackend):
    """Gives 7 points to whatever is asked first, a point less to each that follows."""

    def generate(self, questions):
        prompts = [one.conversation.messages[0].text for one in questions]
        self.requests += [(one.conversation, one.seed, one.max_tokens, one.form) for one in questions]
        return ["\n".join(f"{name}: {7 - place}" for place, name in enumerate(in_order(p))) for p in prompts]


def judged(backend, times=3):
    return ask_judge(backend, PIECES, lambda piece: picture(), JudgeSettings(times))


def test_every_tune_is_judged_in_a_conversation_of_its_own_as_often_as_asked():
    planned = judge_tasks(PIECES, JudgeSettings(times=3))
    assert len(planned) == 4 * 2 * 3
    assert len({(one.tune, one.group, one.repeat) for one in planned}) == len(planned)
    assert [one.tune for one in planned] != sorted(one.tune for one in planned)


def test_over_the_repeats_each_question_stands_at_every_place():
    planned = [one for one in judge_tasks(PIECES[:1], JudgeSettings(times=5)) if one.group == "music"]
    for question in MUSIC:
        assert sorted(one.questions.index(question) for one in planned) == [0, 1, 2, 3, 4]


def test_two_tunes_for_one_picture_meet_the_same_orders():
    pair = [PIECES[0], Piece("id0", "0.png", two_voice_tune(99))]
    orders = [
        {(o.group, o.repeat): o.questions for o in judge_tasks(pair, JudgeSettings()) if o.tune == n} for n in (0, 1)
    ]
    assert orders[0] == orders[1]


def test_the_effect_of_order_is_cancelled():
    verdicts = judged(Prejudiced())
    means = {}
    for answer in without_order_effects(verdicts.answers):
        means.setdefault(answer.subject[1], []).append(answer.points)
    assert {round(sum(points) / len(points), 6) for name, points in means.items() if name in MUSIC} == {5.0}


def test_what_is_cleared_keeps_the_worth_of_each_tune():
    worth, effect = {("a", "melody"): 5.0, ("b", "melody"): 3.0}, (1.0, 0.0, -1.0)
    answers = [
        JudgeAnswer(s, "music", p, worth[s] + effect[p])
        for s in worth
        for p in range(3)
        if (s, p) != (("a", "melody"), 2)
    ]
    assert {(a.subject, round(a.points, 6)) for a in without_order_effects(answers)} == set(worth.items())


def test_answers_asked_once_stay_as_they_are():
    answers = [JudgeAnswer((0, "melody"), "music", 0, 4), JudgeAnswer((0, "rhythm"), "music", 1, 6)]
    assert without_order_effects(answers) == answers


@pytest.mark.parametrize(
    "said",
    [
        "semantics: 6\nemotion: 5\nconsistency_overall: 7",
        "<think>semantics: 1</think>\n**Semantics**: 6\n- emotion = 5/7\n3. Consistency overall: 7.",
    ],
)
def test_an_answer_is_read_whatever_stands_around_it(said):
    assert read_answer(said, GROUPS["consistency"]) == {"consistency_overall": 7, "semantics": 6, "emotion": 5}


@pytest.mark.parametrize(
    "said",
    [
        "",
        "I would say five.",
        "semantics: 6\nemotion: 5",
        "semantics: 8\nemotion: 5\nconsistency_overall: 7",
        "semantics: 6\nsemantics: 2\nemotion: 5\nconsistency_overall: 7",
        "semantics: 5.5\nemotion: 5\nconsistency_overall: 7",
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_malformed(said):
    assert read_answer(said, GROUPS["consistency"]) is None


def test_malformed_answers_are_counted_and_left_out():
    verdicts = judged(FakeBackend("no idea"), times=1)
    assert (verdicts.asked, verdicts.malformed, verdicts.answers) == (8, 8, [])


def test_a_server_that_fails_costs_its_own_answers_alone():
    class Failing(Prejudiced):
        def generate(self, questions):
            talks = [one.conversation for one in questions]
            if any("judge the music" in c.messages[0].text or c.image.size == (256, 256) for c in talks):
                raise ModelError("busy", reason="server_unavailable")
            return super().generate(questions)

    verdicts = judged(Failing(), times=1)
    assert verdicts.failed == {"server_unavailable": 4}
    assert {answer.group for answer in verdicts.answers} == {"consistency"}


def test_the_music_is_judged_with_a_blank_picture_and_no_word_of_who_wrote_it():
    backend = Prejudiced()
    ask_judge(backend, PIECES[:1], lambda piece: picture(), JudgeSettings(1))
    shown = {conversation.image.size for conversation, *_ in backend.requests}
    assert shown == {(256, 256), picture().size}
    assert not any("Tune 0" in conversation.messages[0].text for conversation, *_ in backend.requests)


def test_a_picture_that_is_gone_costs_the_questions_about_it():
    verdicts = ask_judge(Prejudiced(), PIECES, lambda piece: None, JudgeSettings(1))
    assert verdicts.failed == {"no_picture": 4}


def test_costs_are_known_beforehand():
    found = cost(PIECES, JudgeSettings(times=3))
    assert found.conversations == 24
    assert found.tokens_in > 24 * 1000
    assert found.dollars(1.0, 0.0) == pytest.approx(found.tokens_in / 1e6)


def test_blind_abc_keeps_the_music_and_nothing_that_tells():
    abc = (
        'X:7\nT:Moon by nano\nC:A model\nN:by rule\n% hm\nM:4/4\nK:C\nV:2 clef=bass name="Accompaniment"\n'
        "%%MIDI program 24\n%%text nano\nA:| C D | % nano\n"
    )
    assert anonymize(abc) == "X:1\nM:4/4\nK:C\nV:2 clef=bass\n%%MIDI program 24\nA:| C D |\n"


def test_the_judge_s_wording_is_no_part_of_a_composition_s_settings():
    assert set(wording()) == set(STUDY)
    assert judge_prompts_version() != prompts_version()
    assert prompts_version() == version_without_the_judge()


def version_without_the_judge():
    prompts = files("image2music.composers.prompts")
    names = [f"{folder}/{text.name}" for folder in FOLDERS for text in (prompts / folder).iterdir()]
    digest = hashlib.sha256()
    for name in sorted(name for name in names if name.endswith(".txt")):
        digest.update(name.encode() + b"\0" + (prompts / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def test_answers_stand_in_a_row_with_their_spread():
    rows = [{"answers": []}, {"answers": []}]
    add_answers(rows, "judge", [(0, "melody", 4.0), (0, "melody", 6.0), (1, "melody", 3.0)])
    first = rows[0]["answers"][0]
    assert (first["mean"], round(first["spread"], 3), first["answers"]) == (5.0, 1.414, 2)
    assert rows[1]["answers"][0]["spread"] is None
    assert mean_spread(rows, "judge") == pytest.approx(1.414, abs=1e-3)
