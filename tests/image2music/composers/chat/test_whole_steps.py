"""The plan protocol of a chat model, step by step, with recorded answers and with broken ones."""

import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from chat_fakes import FakeBackend, request
from recorded_player import recorded

from image2music.abc.checker import check
from image2music.composers.base import EditRequest, ExplainRequest, PlanningRequest, RepairRequest, WriteRequest
from image2music.composers.chat.composer import ChatComposer
from image2music.composers.chat.steps import edits_in, patched, plan_form
from image2music.composers.constrained.forms import JsonForm, LinesForm
from image2music.errors import ModelError
from image2music.loop.chain import compose_batch
from image2music.loop.choose import examine
from image2music.music.planning.constraints import constraint_lines, unmet
from image2music.music.planning.plan import plan_of_json
from image2music.music.planning.wishes import Wishes, constraints_of
from image2music.music.similarity import make_motif, opening_of
from image2music.settings import LoopSettings
from image2music.types import AlbumPart

RECORDED = {step: (recorded("astronaut", step),)
            for step in ("look", "sketch", "plan", "melody", "write", "edit", "motivation")}  # fmt: skip


class ByStep(FakeBackend):
    """Answers each step from its own list, the last one again and again; `asked` keeps the questions by step."""

    def __init__(self, **answers):
        super().__init__("")
        self.left = {step: list(texts) for step, texts in {**RECORDED, **answers}.items()}
        self.asked = defaultdict(list)

    def generate(self, questions):
        for one in questions:
            self.asked[one.step].append(one)
        return [self.left[one.step].pop(0) if len(self.left[one.step]) > 1 else self.left[one.step][0]
                for one in questions]  # fmt: skip


def said(question):
    return question.conversation.messages[-1].text


def composed(backend, steps="full", **changes):
    composer = ChatComposer(backend)
    (description,) = composer.look([request().image])
    asked = replace(request(), description=description, steps=steps, **changes)
    (tune,) = compose_batch(composer, [asked], LoopSettings(steps=steps))
    if isinstance(tune, Exception):
        raise tune
    return tune


def plan_json(**changes):
    return json.dumps({**json.loads(recorded("astronaut", "plan")), **changes})


def test_every_question_goes_on_from_the_one_before_so_that_a_prefix_cache_serves_it():
    backend = ByStep()
    composed(backend)
    order = [backend.asked[step][0].conversation.messages for step in RECORDED]
    for before, after in pairwise(order):
        assert after[: len(before)] == before
    assert [len(talk) for talk in order] == [1, 3, 5, 7, 9, 11, 13]


def test_forms_say_what_each_answer_is_to_look_like():
    backend = ByStep()
    composed(backend)
    assert all(isinstance(backend.asked[step][0].form, JsonForm) for step in ("look", "sketch", "plan", "edit"))
    lines = backend.asked["melody"][0].form
    assert isinstance(lines, LinesForm)
    assert lines.lines[0].prefix == "1-4 [V:3] "
    assert said(backend.asked["melody"][0]).endswith("31-32 [V:5] ... | ... |")


def test_a_scene_is_made_of_the_answer_and_kept_word_for_word_for_what_follows():
    (description,) = ChatComposer(ByStep()).look([request().image])
    assert description.scene.subject.startswith("Studio portrait of a smiling woman")
    assert description.features == recorded("astronaut", "look").strip()
    assert "her helmet at her side" in description.text


def test_a_model_that_looks_in_prose_is_understood_too():
    (description,) = ChatComposer(ByStep(look=["A lake at dawn. Nothing moves."])).look([request().image])
    assert description.text == "A lake at dawn. Nothing moves."
    assert description.scene.subject == "A lake at dawn."


def test_an_answer_that_is_no_json_is_asked_for_once_more():
    backend = ByStep(plan=["I would plan a waltz.", recorded("astronaut", "plan")])
    assert composed(backend).title == "The Ring and the Helmet"
    assert said(backend.asked["plan"][1]).startswith("That was no JSON object")


def test_a_model_that_never_answers_json_fails_with_a_line_that_says_what_to_do():
    with pytest.raises(ModelError, match=r"no JSON for the step plan.*another model, or smaller steps"):
        composed(ByStep(plan=["I would plan a waltz."]))


def test_a_plan_that_does_not_keep_to_its_album_is_asked_for_again_and_what_it_leaves_out_is_named():
    motif = make_motif("4/4", rising=True, seed=1)
    part = AlbumPart(9, "minor", "4/4", 96, (40, 42), "theme", motif, opening_of(motif, None))
    backend = ByStep()
    tune = composed(backend, album=part, constraints=(part.constraints,))
    told = "\n".join(message.text for message in backend.asked["plan"][0].conversation.messages)
    assert all(line in told for line in constraint_lines(part.constraints))
    assert tune.unmet == unmet(part.constraints, tune.plan) != ()
    assert all(line in said(backend.asked["plan"][1]) for line in tune.unmet)


def test_json_that_is_no_plan_is_asked_for_once_more_with_what_is_wrong():
    backend = ByStep(plan=[plan_json(voices=[]), json.dumps({"voices": json.loads(plan_json())["voices"]})])
    assert composed(backend).title == "The Ring and the Helmet"
    assert "voices: expected" in said(backend.asked["plan"][1]) or "voices" in said(backend.asked["plan"][1])


def test_a_plan_that_contradicts_itself_is_mended_by_what_changes_alone():
    broken = plan_json(motif={"chords": "F C/E", "abc": "B4 ^ce ^d2 | ^c6 z2"})
    backend = ByStep(plan=[broken, json.dumps({"motif": {"chords": "F C/E", "abc": "A4 GF d2 | c6 z2"}})])
    tune = composed(backend)
    assert len(backend.asked["plan"]) == 2
    assert "motif" in said(backend.asked["plan"][1]) and "only what changes" in said(backend.asked["plan"][1])
    assert tune.plan.motif.abc == "A4 GF d2 | c6 z2"
    assert tune.plan.title == "The Ring and the Helmet"


def test_what_the_model_leaves_wrong_when_asked_again_is_mended_by_force():
    broken = plan_json(motif={"chords": "F C/E", "abc": "B4 ^ce ^d2 | ^c6 z2"})
    tune = composed(ByStep(plan=[broken, json.dumps({"ending": "softly"})]))
    assert tune.plan.motif is None
    assert tune.plan.ending == "softly"


def test_a_plan_s_form_holds_the_bars_and_voices_that_are_asked_for():
    wanted = constraints_of(Wishes(instruments="flute, cello", bars="16"))
    shape = json.loads(plan_form(replace(request(), constraints=(wanted,))).schema)["properties"]
    assert shape["bars"] == {"type": "integer", "minimum": 16, "maximum": 16}
    assert (shape["voices"]["minItems"], len(shape["voices"]["prefixItems"])) == (2, 2)
    brief = json.loads(plan_form(replace(request(), steps="short")).schema)
    assert "payoff_abc" not in brief["properties"] and "surprise" not in brief["required"]


def test_parts_of_a_second_answer_are_put_into_the_first():
    shape = {"key": "D", "harmony": {"1": "D", "2": "G"}, "sections": [{"name": "A", "qpm": 60}, {"name": "B"}]}
    change = {"harmony": {"2": "A"}, "sections": [{"name": "A", "qpm": 72}, {"name": "C"}], "key": "G"}
    assert patched(shape, change) == {
        "key": "G",
        "harmony": {"1": "D", "2": "A"},
        "sections": [{"name": "A", "qpm": 72}, {"name": "B"}, {"name": "C"}],
    }


def test_a_persons_plan_is_written_to_and_shown_as_if_it_were_the_models_own():
    backend = ByStep()
    mine = plan_of_json(json.loads(recorded("astronaut", "plan")))
    tune = composed(backend, plan=mine)
    assert not backend.asked["sketch"] and not backend.asked["plan"]
    assert '"title": "The Ring and the Helmet"' in backend.asked["melody"][0].conversation.messages[3].text
    assert tune.plan.key == "F"


def test_short_steps_ask_four_times_and_leave_figures_to_the_arranger():
    backend = ByStep()
    tune = composed(backend, steps="short")
    assert {step: len(asked) for step, asked in backend.asked.items()} == {
        "look": 1, "plan": 1, "melody": 1, "motivation": 1,
    }  # fmt: skip
    assert [voice.name for voice in tune.plan.voices if voice.derived] == ["Harp"]
    assert [one for one in check(tune.draft.abc) if one.severity == "error"] == []
    assert "derived by rule: voices 4 (Harp)" in tune.draft.abc


def test_wishes_are_told_before_anything_is_chosen():
    wanted = constraints_of(Wishes(tempo="60-70", instruments="flute, cello", bars="16"))
    backend = ByStep()
    composed(backend, constraints=(wanted,))
    lines = constraint_lines(wanted)
    assert lines == [
        "tempo 60 to 70 quarter notes a minute",
        "16 bars",
        "for these instruments alone: Flute (program 73), Cello (program 42)",
    ]
    assert all(line in said(backend.asked["sketch"][0]) for line in lines)
    assert '"bars": 16,' in said(backend.asked["plan"][0])
    assert "asked for 60 to 70, the plan has 92" in said(backend.asked["plan"][1]), "the recorded plan keeps none"


def test_what_a_catalogue_says_of_the_picture_is_told_with_the_first_question():
    backend = ByStep()
    composed(backend, hint="Grandmother's seventieth birthday.")
    assert "belongs to: Grandmother's seventieth birthday." in said(backend.asked["sketch"][0])


def valid_draft():
    backend = ByStep()
    composer = ChatComposer(backend)
    (description,) = composer.look([request().image])
    asked, notes = replace(request(), description=description), {}
    (plan,) = composer.plan([PlanningRequest(asked, notes=notes)])
    (abc,) = composer.write([WriteRequest(asked, plan, notes=notes)])
    return backend, composer, asked, notes, plan, abc


def test_a_step_may_be_asked_again_and_asks_the_same():
    backend, composer, asked, notes, plan, abc = valid_draft()
    (again,) = composer.write([WriteRequest(asked, plan, notes=notes)])
    assert again == abc
    first, second = backend.asked["melody"]
    assert first.conversation.messages == second.conversation.messages and first.seed == second.seed


def test_a_repair_shows_the_bars_around_and_puts_the_answer_in_their_place():
    backend, composer, asked, notes, plan, abc = valid_draft()
    broken = abc.replace("(A4 GF d2 |", "(A4 GF |", 1)
    backend.left["repair"] = ["The bar lost its leap.\n3 [V:3] (A4 GF d2 |"]
    asking = RepairRequest(asked, broken, tuple(check(broken)), 1, plan, notes=notes)
    (mended,) = composer.repair([asking])
    assert [one for one in check(mended) if one.severity == "error"] == []
    question = said(backend.asked["repair"][0])
    assert "3 [V:3] " in question and "2 [V:3] z8 |" in question and "4 [V:3]" in question
    assert "may stand earlier" in question


def test_a_repair_may_be_a_whole_tune():
    backend, composer, asked, notes, plan, abc = valid_draft()
    backend.left["repair"] = [f"```abc\n{abc}```"]
    broken = "X:1\nM:4/4\nK:C\nC |"
    (mended,) = composer.repair([RepairRequest(asked, broken, tuple(check(broken)), 1, plan, notes=notes)])
    assert mended.strip() == abc.strip()


def test_edits_are_read_leniently():
    shape = {"edits": [{"bar": "7", "voice": "V:2", "abc": " G8 ", "better": "calmer"}, {"bar": 1}, "no", {"bar": 2,
             "voice": 1, "abc": ""}]}  # fmt: skip
    (edit,) = edits_in(shape)
    assert (edit.bar, edit.voice, edit.abc, edit.better) == (7, "2", "G8", "calmer")
    assert edits_in({}) == ()


def test_the_editor_sees_the_tune_and_what_was_heard():
    backend, composer, asked, notes, plan, abc = valid_draft()
    standing = examine(abc, [], plan)
    (edits,) = composer.edit([EditRequest(asked, plan, standing.draft.abc, standing.sheet, notes=notes)])
    assert len(edits) == 9
    question = said(backend.asked["edit"][0])
    assert standing.draft.abc.strip() in question and "highest" in question


def test_a_false_claim_is_asked_for_again_and_then_left_out():
    backend, composer, asked, notes, plan, abc = valid_draft()
    backend.left["motivation"] = [
        "The ring is open. The piece is in E flat major.",
        "The ring is open. It goes at 200 beats a minute. The helmet waits.",
    ]
    standing = examine(abc, [], plan)
    explaining = ExplainRequest(asked, standing.draft.abc, plan.title, standing.draft.metrics, plan=plan, notes=notes)
    (explained,) = composer.explain([explaining])
    assert explained.motivation == "The ring is open. The helmet waits."
    assert "names Eb major" in said(backend.asked["motivation"][1])


def test_an_empty_motivation_is_asked_for_once_more_before_the_tune_is_lost():
    backend = ByStep(motivation=["<think>hm", "The ring is open."])
    assert composed(backend).explanation.motivation == "The ring is open."
    with pytest.raises(ModelError, match="gave no motivation"):
        composed(ByStep(motivation=["<think>hm"]))


@pytest.mark.parametrize("steps", [["write"], ["melody", "write"]])
def test_lines_that_cannot_be_read_are_set_by_rule_and_called_so(steps):
    tune = composed(ByStep(**{step: ["I would rather not."] for step in steps}))
    assert [one for one in check(tune.draft.abc) if one.severity == "error"] == []
    assert "derived by rule: voices" in tune.draft.abc


def test_the_payoffs_bars_are_written_with_the_plan_and_stand_in_the_tune():
    payoff = {"2": "z8 | z2 !>!G>G c2 e2", "1": "a4 gf d'2 | c'6 z2"}
    backend = ByStep(plan=[plan_json(payoff_abc=payoff)])
    tune = composed(backend)
    assert "23 [V:1] a4 gf d'2 |" in said(backend.asked["melody"][0])
    assert "z2 !f!!>!G>G c2 e2" in tune.draft.abc or "z2 !>!G>G c2 e2" in tune.draft.abc


def test_a_plan_that_was_read_at_the_second_try_is_what_later_changes_go_into():
    voices = json.loads(plan_json())["voices"]
    broken = plan_json(voices=[], motif={"chords": "F C/E", "abc": "B4 ^ce ^d2 | ^c6 z2"})
    changes = json.dumps({"motif": {"chords": "F C/E", "abc": "A4 GF d2 | c6 z2"}})
    tune = composed(ByStep(plan=[broken, json.dumps({"voices": voices}), changes]))
    assert [voice.name for voice in tune.plan.voices] == ["Flute", "Trumpet", "Clarinet", "Harp", "Cello"]
    assert tune.plan.motif.abc == "A4 GF d2 | c6 z2"
