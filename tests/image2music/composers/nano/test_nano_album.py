"""Tunes of an album: whatever its motif, meter and key are, every tune begins its theme with them and can be bound."""

from itertools import product

import pytest

from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.playback import abc_to_score
from image2music.composers.base import (
    ComposeRequest,
    EditRequest,
    ExplainRequest,
    PlanningRequest,
    WriteRequest,
    missing_constraints,
)
from image2music.composers.nano.composer import NanoComposer
from image2music.composers.nano.motivation import motivate
from image2music.composers.nano.search.composing import Effort
from image2music.images.scene import Scene
from image2music.loop.chain import compose_batch
from image2music.music.listen.listener import listen
from image2music.music.metrics import metrics_of_score
from image2music.music.planning.checks import check_plan
from image2music.music.planning.constraints import PlanConstraints, played_programs, unmet
from image2music.music.planning.plan import Plan
from image2music.music.similarity import METERS, AlbumMode, make_answer, make_motif, opening_of
from image2music.settings import LoopSettings
from image2music.types import AlbumPart, Description, Explanation

SCENES = (
    Scene("lake", (("lake", 0.9),), far="sky", near="water", valence=0.5, arousal=0.2),
    Scene("race", (("race", 0.9),), valence=0.3, arousal=0.85),
    Scene("ruin", (("ruin", 0.8),), valence=-0.6, arousal=0.4),
)
BANDS = ((40, 42), (73, 0), (0, 0), (24, 43), (68, 46), (56, 57))


class Unexplained(NanoComposer):
    """Says why, but has no network that looks."""

    def explain(self, requests):
        return [Explanation(motivate(request)) for request in requests]


def composer() -> NanoComposer:
    return Unexplained(None, None, None, "nano", Effort(plans=1, themes=1, contours=30, kept=1))


def part_of(seed: int, meter: str, mode: AlbumMode, *, rising: bool = True, answered: bool = False) -> AlbumPart:
    motif = make_motif(meter, rising=rising, seed=seed)
    answer = make_answer(motif, meter, mode, seed=seed) if answered else None
    band = BANDS[seed % len(BANDS)]
    return AlbumPart(seed * 5 % 12, mode, meter, 60 + seed * 17 % 90, band, "t", motif, opening_of(motif, answer))


def asked(part: AlbumPart, seed: int, **more) -> ComposeRequest:
    description = Description("", None, SCENES[seed % len(SCENES)])
    return ComposeRequest(f"picture {seed}", None, description, (), seed, album=part, **more)


def composed(request: ComposeRequest) -> tuple[Plan, str]:
    nano = composer()
    (plan,) = nano.plan([PlanningRequest(request)])
    return plan, nano.write([WriteRequest(request, plan)])[0]


@pytest.mark.parametrize(("meter", "mode"), [*product(METERS, ("major", "minor"))])
def test_every_tune_keeps_to_its_part(meter, mode):
    for seed in range(6):
        part = part_of(seed, meter, mode, rising=seed % 2 == 0, answered=seed % 3 == 0)
        plan, abc = composed(asked(part, seed))
        assert missing_constraints(abc_to_score(abc), part) == (), seed
        assert unmet(part.constraints, plan) == ()
        assert check_plan(plan).faults == ()
        assert [found for found in check(abc) if found.severity is Severity.ERROR] == []


def test_the_band_is_the_albums():
    for seed, band in enumerate(BANDS):
        plan, _ = composed(asked(part_of(seed, "4/4", "major"), seed))
        assert set(played_programs(plan)) == set(band)


def test_a_persons_wishes_are_kept_where_the_album_leaves_room():
    wish = PlanConstraints(key="C", bars=(12, 12))
    part = part_of(2, "3/4", "minor")
    plan, abc = composed(asked(part, 2, constraints=(part.constraints, wish)))
    assert (plan.bars, plan.key) == (12, part.key)
    assert missing_constraints(abc_to_score(abc), part) == ()


def test_edits_leave_the_motif_alone():
    for seed in range(6):
        part = part_of(seed, "4/4", "minor")
        request = asked(part, seed)
        plan, abc = composed(request)
        (edits,) = composer().edit([EditRequest(request, plan, abc, listen(abc_to_score(abc), plan))])
        assert not {edit.voice for edit in edits} & {str(plan.place_of(voice)) for voice in plan.melody if voice}


def test_the_loop_keeps_the_part_and_the_motivation_names_it():
    part = part_of(4, "4/4", "major")
    (tune,) = compose_batch(composer(), [asked(part, 4)], LoopSettings())
    assert missing_constraints(abc_to_score(tune.draft.abc), part) == ()
    assert tune.unmet == ()
    assert "album" in tune.explanation.motivation


def test_what_the_album_decided_is_not_called_the_pictures():
    part = part_of(1, "3/4", "minor")
    request = asked(part, 1)
    plan, abc = composed(request)
    metrics = metrics_of_score(abc_to_score(abc))
    text = motivate(ExplainRequest(request, abc, plan.title, metrics, plan=plan))
    assert "drawn by lot" not in text
