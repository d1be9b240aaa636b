"""What an album decided is what every composer's plan must keep, and goes before what a person wishes."""

from dataclasses import replace

import pytest
from fakes import FakeComposer, two_voice_plan
from PIL import Image
from skimage import data

from image2music.composers.base import ComposeRequest, PlanningRequest
from image2music.composers.nano.composer import load_nano
from image2music.loop.chain import compose_batch
from image2music.music.planning.constraints import apply_to_request, main_tempo, played_programs
from image2music.music.planning.lasting import planned_seconds
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.wishes import Wishes
from image2music.music.similarity import make_motif, opening_of
from image2music.settings import LoopSettings
from image2music.types import AlbumPart, Description, ImageMetadata

MOTIF = make_motif("6/8", rising=False, seed=4)
PART = AlbumPart(4, "minor", "6/8", 88, (68, 46), "theme", MOTIF, opening_of(MOTIF, None))
AGAINST = Wishes(mood="happy", tempo="fast", instruments="trumpet and piano", style="waltz")


def asked(image, description, wishes=None):
    brief = ImageMetadata(part=PART, wishes=wishes)
    return ComposeRequest("id", image, description, (), seed=3, album=PART, constraints=brief.constraints())


def blank(wishes=None):
    return asked(Image.new("RGB", (4, 4)), Description("red"), wishes)


def kept(plan):
    """Key, meter, tempo and instruments."""
    return plan.key, plan.meter, main_tempo(plan), set(played_programs(plan))


def named(tune):
    """Whose wishes a tune does not keep: `key`, `mood`, `tempo` ..."""
    return {line.replace(":", " ").split()[0] for line in tune.unmet}


class Obedient(FakeComposer):
    """Plans what it is asked for, the first demand at last, so that it counts."""

    def plan(self, requests):
        plans = []
        for one in requests:
            wanted = PlanRequest(key="C", qpm=120, bars=4)
            for constraints in reversed(one.request.constraints):
                wanted = apply_to_request(wanted, constraints)
            plans.append(plan_tune(wanted))
        return plans


def test_a_plan_keeps_key_meter_tempo_and_instruments_of_its_album():
    (tune,) = compose_batch(Obedient(), [blank()], LoopSettings(rounds=0))
    assert kept(tune.plan) == ("Em", "6/8", 88, {68, 46})
    assert tune.unmet == ()


def test_a_wish_that_contradicts_the_album_is_named_and_the_album_is_kept():
    (tune,) = compose_batch(Obedient(), [blank(AGAINST)], LoopSettings(rounds=0))
    assert kept(tune.plan) == ("Em", "6/8", 88, {68, 46})
    assert named(tune) == {"mood", "tempo", "instruments", "style"}
    assert "mood 'happy': asked for major or mixolydian or lydian, the plan is in Em" in tune.unmet


def test_a_plan_that_does_not_keep_to_its_album_is_asked_for_again_and_then_named():
    composer = FakeComposer()
    (tune,) = compose_batch(composer, [blank()], LoopSettings(rounds=0))
    assert [call for call, _ in composer.calls].count("plan") == 2
    assert named(tune) == {"key", "meter", "tempo", "instruments"}


def test_a_person_s_own_plan_goes_before_the_album_and_what_it_leaves_out_is_named():
    request = replace(blank(), plan=two_voice_plan())
    (tune,) = compose_batch(FakeComposer(), [request], LoopSettings(rounds=0))
    assert tune.plan.key == "C"
    assert named(tune) == {"key", "meter", "tempo", "instruments"}


@pytest.mark.slow
def test_nano_keeps_to_the_album_whatever_is_wished():
    image = Image.fromarray(data.coffee())
    (description,) = load_nano().look([image])
    requests = [asked(image, description), asked(image, description, AGAINST)]
    alone, wished = compose_batch(load_nano(), requests, LoopSettings(rounds=0))
    assert kept(alone.plan) == kept(wished.plan) == ("Em", "6/8", 88, {68, 46})
    assert alone.unmet == ()
    assert named(wished) >= {"mood", "tempo", "instruments", "style"}


def test_a_tune_that_is_to_last_some_time_may_be_a_little_slower_or_faster_than_its_album_asks():
    brief = ImageMetadata(part=PART)
    assert brief.constraints()[0].qpm == (88, 88)
    album, own = brief.constraints(length="20s")
    assert album.qpm == (80, 96.8)
    assert own.length == 20
    request = replace(blank(), constraints=(album, own))
    (plan,) = Obedient().plan([PlanningRequest(request)])
    assert plan.meter == "6/8" and 80 <= plan.qpm <= 96.8
    assert planned_seconds(plan) == pytest.approx(20, rel=0.05)
