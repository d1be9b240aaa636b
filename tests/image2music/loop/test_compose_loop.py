from dataclasses import replace

from fakes import FakeComposer, two_voice_tune
from PIL import Image

from image2music.abc import parser
from image2music.composers.base import ComposeRequest
from image2music.errors import ModelError
from image2music.loop.chain import compose_batch
from image2music.loop.choose import examine
from image2music.music.metrics import Metrics
from image2music.settings import LoopSettings
from image2music.types import Description, Reference

BROKEN = two_voice_tune(1).replace("|]", "C8 |]")
WORSE = BROKEN.replace(" | ", " C8 | ", 2)
ANY = Metrics(*[None] * 8)
PAPER = LoopSettings(protocol="paper")
UNREFINED = LoopSettings(rounds=0, protocol="paper")


def request(seed=1, references=()):
    return ComposeRequest(f"id-{seed}", Image.new("RGB", (4, 4)), Description("red"), tuple(references), seed)


def reference(abc=None, metrics=ANY):
    return Reference("tune", "hash", "a.mid", "caption", abc or two_voice_tune(99), metrics, 0.5, None, "text")


class Scripted(FakeComposer):
    """Answers each call from a script: purpose to answers, in order."""

    def __init__(self, **answers):
        super().__init__()
        self.answers = {purpose: iter(texts) for purpose, texts in answers.items()}
        self.asked = []

    def _say(self, purpose, requests):
        self.asked += requests
        return [next(self.answers[purpose]) for _ in requests]

    def write(self, requests):
        return self._say("draft", requests)

    def repair(self, requests):
        return self._say("repair", requests)

    def refine(self, requests):
        return self._say("refine", requests)


def steps(tune):
    return [(step.purpose, step.accepted, step.reason) for step in tune.rounds]


def test_a_good_draft_stands_at_once():
    (tune,) = compose_batch(FakeComposer(), [request()], UNREFINED)
    assert steps(tune)[0] == ("draft", True, "valid")
    assert (tune.title, tune.key, tune.meter, tune.tempo_qpm, tune.bars) == ("Tune 1", "C", "4/4", 96.0, 4)
    assert tune.midi.startswith(b"MThd")
    assert tune.explanation.motivation == "It is red."


def test_a_broken_draft_is_repaired_with_what_the_checker_said():
    composer = Scripted(draft=[BROKEN], repair=[two_voice_tune(2)], refine=[two_voice_tune(2)])
    (tune,) = compose_batch(composer, [request()], PAPER)
    assert steps(tune)[:2] == [("draft", False, "2_errors"), ("repair", True, "valid")]
    assert composer.asked[1].diagnostics == tune.rounds[0].draft.diagnostics
    assert tune.draft.abc == examine(two_voice_tune(2), []).draft.abc


def test_repairs_go_on_from_the_attempt_with_the_fewest_errors():
    composer = Scripted(draft=[BROKEN], repair=[WORSE, two_voice_tune(2)], refine=[two_voice_tune(2)])
    (tune,) = compose_batch(composer, [request()], PAPER)
    assert [step[2] for step in steps(tune)][:3] == ["2_errors", "no_fewer_errors", "valid"]
    assert composer.asked[2].abc == examine(BROKEN, []).draft.abc


def test_a_tune_that_stays_broken_is_an_error_that_shows_the_last_attempt():
    composer = Scripted(draft=[BROKEN], repair=[BROKEN, WORSE])
    (error,) = compose_batch(composer, [request()], PAPER)
    assert error.reason == "invalid_abc"
    assert "T:Tune 1" in str(error)


def test_without_rounds_only_the_draft_counts():
    (error,) = compose_batch(Scripted(draft=[BROKEN]), [request()], UNREFINED)
    assert error.reason == "invalid_abc"


def test_a_refinement_is_always_taken_if_it_can_be_played():
    composer = Scripted(draft=[two_voice_tune(1)], refine=[two_voice_tune(2)])
    (tune,) = compose_batch(composer, [request()], PAPER)
    assert steps(tune) == [("draft", True, "valid"), ("refine", True, "always")]
    assert composer.asked[1].metrics == tune.rounds[0].draft.metrics


def test_a_refinement_that_cannot_be_played_is_shown_and_not_taken():
    composer = Scripted(draft=[two_voice_tune(1)], refine=[BROKEN])
    (tune,) = compose_batch(composer, [request()], PAPER)
    assert steps(tune)[1:] == [("refine", False, "2_errors")]
    assert tune.draft == tune.rounds[0].draft


def test_each_call_takes_the_whole_batch_still_in_need():
    composer = FakeComposer()
    compose_batch(composer, [request(1), request(2), request(3)], PAPER)
    assert composer.calls == [("write", 3), ("refine", 3), ("explain", 3)]


def test_a_tune_does_not_depend_on_its_batch():
    requests = [request(seed, [reference()]) for seed in range(5)]
    together = compose_batch(FakeComposer(), requests, PAPER)
    alone = [compose_batch(FakeComposer(), [one], PAPER)[0] for one in requests]
    assert [tune.rounds for tune in together] == [tune.rounds for tune in alone]
    assert [tune.midi for tune in together] == [tune.midi for tune in alone]


class Unrefined(FakeComposer):
    def refine(self, requests):
        raise ModelError("the server is busy: try again later", reason="server_busy")


def test_a_valid_tune_stands_when_its_refinement_fails():
    (tune,) = compose_batch(Unrefined(), [request(references=[reference()])], PAPER)
    assert steps(tune) == [("draft", True, "valid"), ("refine", False, "server_busy")]
    assert tune.draft == tune.rounds[0].draft


class Choking(FakeComposer):
    def write(self, requests):
        if any(asked.request.seed == 13 for asked in requests):
            raise RuntimeError("out of memory")
        return super().write(requests)


def test_a_picture_that_chokes_the_composer_leaves_the_others_alone():
    first, second, third = compose_batch(Choking(), [request(12), request(13), request(14)], UNREFINED)
    assert (first.title, str(second), third.title) == ("Tune 12", "out of memory", "Tune 14")


def test_an_answer_that_the_loop_trips_over_leaves_the_others_alone(monkeypatch):
    def tripping(raw, references, plan):
        if "Tune 13" in raw:
            raise ValueError("invalid literal")
        return examine(raw, references, plan)

    monkeypatch.setattr("image2music.loop.chain.examine", tripping)
    first, second, third = compose_batch(FakeComposer(), [request(12), request(13), request(14)], UNREFINED)
    assert (first.title, str(second), third.title) == ("Tune 12", "invalid literal", "Tune 14")


def test_a_reference_that_the_loop_trips_over_leaves_the_others_alone():
    bad = request(13, [replace(reference(), abc=None)])
    first, second = compose_batch(FakeComposer(), [request(12), bad], UNREFINED)
    assert (first.title, type(second)) == ("Tune 12", TypeError)


def test_a_valid_tune_stands_when_the_loop_trips_over_its_refinement(monkeypatch):
    def tripping(raw, references, plan):
        if "Tune 101" in raw:
            raise ValueError("invalid literal")
        return examine(raw, references, plan)

    monkeypatch.setattr("image2music.loop.chain.examine", tripping)
    (tune,) = compose_batch(FakeComposer(), [request(1)], PAPER)
    assert steps(tune) == [("draft", True, "valid"), ("refine", False, "unexpected_ValueError")]


class Counted:
    """Counts how often a text is parsed."""

    def __init__(self, monkeypatch):
        self.parses = 0
        parse = parser._Parser.parse

        def counted(reading):
            self.parses += 1
            return parse(reading)

        monkeypatch.setattr(parser._Parser, "parse", counted)


def test_a_good_draft_is_parsed_once(monkeypatch):
    counted = Counted(monkeypatch)
    compose_batch(FakeComposer(), [request()], UNREFINED)
    assert counted.parses == 1
