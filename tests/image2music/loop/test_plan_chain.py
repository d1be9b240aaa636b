"""The chain with plans: look, plan, check, write, repair, choose, edit, explain."""

from dataclasses import replace

from fakes import FakeComposer, two_voice_plan, two_voice_tune
from PIL import Image

from image2music.composers.base import ComposeRequest
from image2music.errors import ModelError
from image2music.loop.chain import PLAN_ATTEMPTS, compose_batch
from image2music.loop.choose import Order, examine, order_of, why_not
from image2music.music.planning.wishes import Wishes, constraints_of
from image2music.settings import LoopSettings
from image2music.types import Description, Edit

SCALE = two_voice_tune(1)
UNPLAYABLE = replace(two_voice_plan(), harmony=("C", "F", "what", "C"))


def request(seed=1, **more):
    return ComposeRequest(f"id-{seed}", Image.new("RGB", (4, 4)), Description("red"), (), seed, **more)


def steps(tune):
    return [(step.purpose, step.accepted, step.reason) for step in tune.rounds]


class Planning(FakeComposer):
    """Gives one plan after the other, and keeps what it was asked."""

    def __init__(self, *plans):
        super().__init__()
        self.plans, self.asked = iter(plans), []

    def plan(self, requests):
        self.asked += requests
        return [next(self.plans) for _ in requests]


def test_the_plan_goes_with_the_tune_and_both_are_measured():
    composer = FakeComposer()
    (tune,) = compose_batch(composer, [request()], LoopSettings())
    assert [call for call, _ in composer.calls] == ["plan", "write", "edit", "explain"]
    assert tune.plan.harmony == ("C", "F", "G", "C")
    assert tune.draft.critic is not None
    assert 0 <= tune.draft.adherence <= 1
    assert steps(tune) == [("draft", True, "valid")]


def test_a_plan_that_cannot_be_mended_is_asked_for_again_with_what_is_wrong():
    composer = Planning(UNPLAYABLE, two_voice_plan())
    (tune,) = compose_batch(composer, [request()], LoopSettings())
    assert tune.plan.harmony == two_voice_plan().harmony
    assert composer.asked[1].attempt == 1
    assert composer.asked[1].previous is not None
    assert any("what" in fault for fault in composer.asked[1].faults)


def test_a_plan_that_stays_wrong_is_the_pictures_failure():
    (error,) = compose_batch(Planning(*[UNPLAYABLE] * PLAN_ATTEMPTS), [request()], LoopSettings())
    assert error.reason == "bad_plan"
    assert "what" in str(error)


def test_a_persons_plan_is_written_to_and_none_is_asked_for():
    composer = Planning()
    (tune,) = compose_batch(composer, [request(plan=two_voice_plan())], LoopSettings())
    assert composer.asked == []
    assert tune.plan.harmony == two_voice_plan().harmony


def test_a_wish_that_is_missed_is_asked_for_again_and_then_named():
    wish = constraints_of(Wishes(tempo="60", bars="4"))
    composer = Planning(two_voice_plan(), two_voice_plan())
    (tune,) = compose_batch(composer, [request(constraints=(wish,))], LoopSettings())
    assert [asked.attempt for asked in composer.asked] == [0, 1]
    assert any("60" in fault for fault in composer.asked[1].faults)
    (missed,) = tune.unmet
    assert "60" in missed
    assert "96" in missed


def test_the_best_candidate_is_kept_and_the_rounds_tell_of_all():
    composer = FakeComposer()
    (tune,) = compose_batch(composer, [request()], LoopSettings(rounds=0, candidates=3))
    assert composer.calls[:2] == [("plan", 3), ("write", 3)]
    drafts = [step for step in tune.rounds if step.purpose == "draft"]
    assert len({step.draft.abc for step in drafts}) == 3
    assert [step.reason for step in drafts if step.accepted] == ["chosen"]
    assert {step.reason for step in drafts if not step.accepted} <= {
        "less_musical", "more_faults", "keeps_less_of_the_plan", "no_better", "copies_more"
    }  # fmt: skip
    best = min((examine(step.draft.abc, [], tune.plan) for step in drafts), key=order_of)
    assert tune.draft.abc == best.draft.abc


class OneIsBroken(FakeComposer):
    def write(self, requests):
        broken = two_voice_tune(1).replace("|]", "C8 |]")
        return [broken if asked.take == 0 else two_voice_tune(2) for asked in requests]

    def repair(self, requests):
        return [asked.abc for asked in requests]


def test_a_candidate_that_fails_costs_only_itself():
    (tune,) = compose_batch(OneIsBroken(), [request()], LoopSettings(candidates=2))
    assert tune.draft.abc == examine(two_voice_tune(2), []).draft.abc
    assert steps(tune)[0] == ("draft", False, "invalid_abc")


def test_a_degenerate_candidate_is_behind_a_real_one():
    hymn = (
        "X:1\nM:4/4\nL:1/4\nK:G\nV:1\nV:2\n[V:1] G G A B | c B A2 | B A G F | G4 |]\n[V:2] G, E, D, G,, | C, G,, D,2 |"
        " G,, D, E, D, | G,,4 |]\n"
    )
    silent = hymn.replace("G, E, D, G,, | C, G,, D,2 | G,, D, E, D, | G,,4", "z4 | z4 | z4 | z4")
    assert order_of(examine(hymn, [])) < order_of(examine(silent, []))
    assert order_of(examine(silent, [])).below > 0
    assert Order(1, 0, 0, 0, 0, 0) > Order(0, 9, 9, 9, 9, 9)


def test_a_composer_that_can_tell_chooses_among_what_is_musical_enough():
    tune = examine(two_voice_tune(1), [])
    assert order_of(tune, worth=2.0) < order_of(tune, worth=1.0) < order_of(tune, worth=-1.0)
    assert why_not(order_of(tune, worth=1.0), order_of(tune, worth=2.0)) == "composer_prefers_another"
    assert order_of(tune, worth=1.0).below <= order_of(tune).below


class Editing(FakeComposer):
    """Puts one bar in the place of another."""

    def __init__(self, *edits):
        super().__init__()
        self.edits = edits

    def edit(self, requests):
        assert all(asked.sheet.metrics is not None and len(asked.sheet.shown) <= 8 for asked in requests)
        return [self.edits for _ in requests]


def test_an_edit_is_a_round_of_its_own_and_a_bad_one_is_not_taken():
    (tune,) = compose_batch(Editing(Edit(2, "2", "z4")), [request()], LoopSettings())
    assert steps(tune)[-1] == ("edit", False, "voice_lost")
    assert tune.draft == tune.rounds[0].draft


class Uneditable(FakeComposer):
    def edit(self, requests):
        raise ModelError("the server is busy: try again later", reason="server_busy")


def test_a_valid_tune_stands_when_its_edit_fails():
    (tune,) = compose_batch(Uneditable(), [request()], LoopSettings())
    assert steps(tune) == [("draft", True, "valid"), ("edit", False, "server_busy")]


def test_a_tune_does_not_depend_on_its_batch():
    requests = [request(seed) for seed in range(4)]
    settings = LoopSettings(candidates=2)
    together = compose_batch(FakeComposer(), requests, settings)
    alone = [compose_batch(FakeComposer(), [one], settings)[0] for one in requests]
    assert [tune.rounds for tune in together] == [tune.rounds for tune in alone]
