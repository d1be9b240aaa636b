"""nano behind the composer's protocol. The search is the real one with little effort; scenes are made up.

What needs the picture's patches and the network that reads the tune is tried on photographs, further down.
"""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from skimage import data

from image2music.abc.checker import check, read_motif
from image2music.abc.diagnostics import Severity
from image2music.abc.lasting import abc_seconds
from image2music.abc.playback import abc_to_score
from image2music.composers.base import (
    WORTH,
    AttentionOptions,
    ComposeRequest,
    EditRequest,
    ExplainRequest,
    PlanningRequest,
    RefineRequest,
    RepairRequest,
    WriteRequest,
)
from image2music.composers.nano.composer import NanoComposer, load_nano
from image2music.composers.nano.search.composing import Effort
from image2music.composers.suiting import suiting_music
from image2music.images.scene import Scene
from image2music.loop.chain import compose_batch
from image2music.loop.choose import examine
from image2music.music.listen.listener import listen
from image2music.music.metrics import metrics_of_score
from image2music.music.planning.checks import check_plan
from image2music.music.planning.constraints import PlanConstraints, played_programs, unmet
from image2music.music.planning.plan import Plan, plan_as_json, plan_of_json
from image2music.music.planning.planner import PlanRequest, plan_tune
from image2music.music.planning.vocabulary import DRUM_KIT
from image2music.music.score import Score, count_bars
from image2music.music.theory import read_chord, read_tonality
from image2music.settings import LoopSettings
from image2music.types import Description, Explanation, Reference

QUICK = Effort(plans=1, themes=1, contours=30, kept=1)
SCENES = (
    Scene(
        "lake", (("lake", 0.9),), far="sky", near="water", eye_path=("the boat", "the sky"), valence=0.5, arousal=0.2
    ),
    Scene("race", (("race", 0.9),), valence=0.3, arousal=0.85),
    Scene("ruin", (("ruin", 0.8),), valence=-0.6, arousal=0.4),
    Scene("cat", (("cat", 0.8),), valence=0.6, arousal=0.55),
    Scene(""),
)


def fresh(effort: Effort = QUICK, network: Any = None) -> NanoComposer:
    """A composer that remembers nothing, for scenes that are there already: it doesn't look."""
    nothing = cast(Any, None)
    return NanoComposer(nothing, nothing, network, "nano", effort)


def asked(name: str, seed: int = 7, scene: Scene | None = None, **more: Any) -> ComposeRequest:
    """A request for a picture of that name; its scene is one of `SCENES`."""
    seen = scene or SCENES[sum(name.encode()) % len(SCENES)]
    return ComposeRequest(
        name, Image.new("RGB", (8, 8)), Description("", None, seen), **({"references": ()} | more), seed=seed
    )


def composed(request: ComposeRequest, nano: NanoComposer | None = None, take: int = 0) -> tuple[Plan, str]:
    nano = nano or fresh()
    (plan,) = nano.plan([PlanningRequest(request, take)])
    (abc,) = nano.write([WriteRequest(request, plan, take)])
    return plan, abc


def is_valid(abc: str) -> bool:
    return not [found for found in check(abc) if found.severity is Severity.ERROR]


def melody_of(score: Score, plan: Plan) -> list[tuple[int, int]]:
    """Onsets and pitches of what the voices with the tune play while they have it."""
    starts = [start.tick for start in score.bar_starts] + [10**9]
    notes = []
    for bar in range(1, plan.bars + 1):
        if place := plan.place_of(plan.melody_at(bar)):
            track = score.tracks[place - 1]
            inside = (track.onsets >= starts[bar - 1]) & (track.onsets < starts[bar])
            notes += zip(track.onsets[inside].tolist(), track.pitches[inside].tolist(), strict=True)
    return notes


BATCH = [asked(f"picture {n}") for n in range(16)]


@pytest.fixture(scope="module")
def tunes() -> list[tuple[Plan, str]]:
    """Sixteen pictures, composed in one batch."""
    nano = fresh()
    plans = nano.plan([PlanningRequest(request) for request in BATCH])
    abcs = nano.write([WriteRequest(request, plan) for request, plan in zip(BATCH, plans, strict=True)])
    return list(zip(plans, abcs, strict=True))


def test_plans_pass_the_checks_as_they_are(tunes: list[tuple[Plan, str]]) -> None:
    for plan, _ in tunes:
        checked = check_plan(plan, read_motif)
        assert (checked.faults, checked.mended, checked.plan) == ((), (), plan)
        assert plan_of_json(plan_as_json(plan)) == plan


def test_tunes_are_valid_and_as_they_were_planned(tunes: list[tuple[Plan, str]]) -> None:
    for plan, abc in tunes:
        assert is_valid(abc)
        score = abc_to_score(abc)
        assert count_bars(score) == plan.bars
        assert [track.program for track in score.tracks if not track.is_drum] == [
            program for program in played_programs(plan) if program != DRUM_KIT
        ]
        assert f"{score.meters[0].numerator}/{score.meters[0].denominator}" == plan.meter
        assert score.tempos[0].qpm == plan.sections[0].qpm
        assert 2 <= len(plan.voices) <= 6


def test_the_climax_of_a_plan_is_sung_in_its_bar_and_nothing_sung_is_higher(tunes: list[tuple[Plan, str]]) -> None:
    planned = [(plan, abc) for plan, abc in tunes if plan.climax is not None]
    assert len(planned) >= 5
    for plan, abc in planned:
        score = abc_to_score(abc)
        assert plan.climax is not None
        sung = melody_of(score, plan)
        assert max(pitch for _, pitch in sung) == plan.climax.pitch
        start = score.bar_starts[plan.climax.bar - 1].tick
        assert plan.climax.pitch in [pitch for onset, pitch in sung if onset >= start]


def test_different_pictures_get_different_tunes(tunes: list[tuple[Plan, str]]) -> None:
    assert len({abc.split("\nK:")[1] for _, abc in tunes}) == len(tunes)
    assert len({(plan.key, plan.meter, plan.bars) for plan, _ in tunes}) >= 10
    assert len({tuple(played_programs(plan)) for plan, _ in tunes}) >= 8


def test_a_tune_does_not_depend_on_its_batch(tunes: list[tuple[Plan, str]]) -> None:
    assert [composed(request) for request in BATCH[:5]] == tunes[:5]


def test_what_memory_has_lost_is_found_again(tunes: list[tuple[Plan, str]]) -> None:
    assert [
        fresh().write([WriteRequest(request, plan)])[0] for request, (plan, _) in zip(BATCH[:4], tunes, strict=False)
    ] == [abc for _, abc in tunes[:4]]


def test_memory_keeps_the_latest_tunes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image2music.composers.nano.composer._REMEMBERED", 2)
    nano = fresh()
    first = composed(BATCH[0], nano)
    for request in BATCH[1:4]:
        composed(request, nano)
    assert len(nano._memory) == 2
    assert composed(BATCH[0], nano) == first


def test_picture_seed_take_and_attempt_each_give_another_tune() -> None:
    request = BATCH[0]
    own = composed(request)
    (again,) = fresh().plan([PlanningRequest(request, attempt=1)])
    others = [
        composed(replace(request, image_id="another")),
        composed(replace(request, seed=request.seed + 1)),
        composed(request, take=1),
    ]
    assert len({plan.harmony for plan, _ in (own, *others)} | {again.harmony}) == 5
    assert composed(request, take=1) == others[-1]


def test_more_effort_finds_what_is_worth_at_least_as_much() -> None:
    worths = []
    for effort in (QUICK, Effort(plans=2, themes=2, contours=30, kept=2)):
        notes: list[dict[str, Any]] = [{} for _ in BATCH[:4]]
        fresh(effort).plan([PlanningRequest(one, notes=note) for one, note in zip(BATCH, notes, strict=False)])
        worths.append([note[WORTH] for note in notes])
    assert all(isinstance(worth, float) for found in worths for worth in found)
    assert sum(worths[1]) > sum(worths[0])


def test_without_a_plan_the_tune_is_that_of_nanos_own(tunes: list[tuple[Plan, str]]) -> None:
    nano = fresh()
    abcs = nano.write([WriteRequest(BATCH[0]), WriteRequest(BATCH[1])])
    assert abcs == [abc for _, abc in tunes[:2]]
    (refined,) = nano.refine([RefineRequest(BATCH[0], abcs[0], metrics_of_score(abc_to_score(abcs[0])))])
    assert is_valid(refined) and refined != abcs[0]


def test_a_repair_is_another_tune(tunes: list[tuple[Plan, str]]) -> None:
    plan, abc = tunes[0]
    (other,) = fresh().repair([RepairRequest(BATCH[0], abc, (), 1, plan)])
    assert is_valid(other) and other != abc
    assert count_bars(abc_to_score(other)) == plan.bars


# ---------------------------------------------------------------- a person's plan


ASKED = {
    "title": "Asked",
    "key": "Dm",
    "meter": "3/4",
    "voices": [
        {"id": 1, "name": "Oboe", "program": 68, "low": "Bb3", "high": "F6"},
        {"id": 2, "name": "Harp", "program": 46, "low": "C3", "high": "C6"},
        {"id": 3, "name": "Cello", "program": 42, "low": "C2", "high": "G3"},
    ],
    "sections": [
        {"bars": "1-4", "qpm": 72, "roles": {"1": "melody", "2": "figure", "3": "bass"}},
        {"bars": "5-8", "qpm": 72, "roles": {"1": "rest", "2": "melody", "3": "bass"}},
    ],
    "harmony": ["Dm", "Gm", "A", "Dm", "Bb", "F", "A7", "Dm"],
    "motif": {"abc": "d4 e2 | f4 e2", "chords": "Dm | Gm"},
    "climax": {"bar": 6, "voice": 2, "pitch": "A5"},
}


def test_a_persons_plan_is_written_to() -> None:
    plan = check_plan(plan_of_json(ASKED), read_motif).plan
    request = asked("a", plan=plan)
    (abc,) = fresh().write([WriteRequest(request, plan)])
    score = abc_to_score(abc)
    assert is_valid(abc)
    assert [track.program for track in score.tracks] == [68, 46, 42]
    assert (score.tempos[0].qpm, count_bars(score), score.keys[0].tonic, score.keys[0].minor) == (72, 8, 2, True)
    assert score.tracks[0].onsets.max() < 4 * 3 * 480
    sung = melody_of(score, plan)
    assert plan.climax is not None
    top = max(sung, key=lambda note: note[1])
    assert top[1] == plan.climax.pitch == 81
    assert score.bar_starts[5].tick <= top[0] < score.bar_starts[6].tick
    first = [pitch for _, pitch in sung[:4]]
    assert [pitch - first[0] for pitch in first] == [0, 2, 3, 2]
    assert not [fault for fault in listen(score, plan).faults if fault.kind in ("range", "climax")]
    assert fresh().write([WriteRequest(request, plan)]) == [abc]


@pytest.mark.parametrize("seed", range(8))
def test_any_sound_plan_is_written_to(seed: int) -> None:
    meter = ("4/4", "3/4", "6/8", "5/4", "12/8", "2/4", "7/8", "9/8")[seed]
    key = ("C", "F#m", "Bb", "Ddor", "Ebm", "A", "Gmix", "Cm")[seed]
    bars = (5, 8, 13, 16, 21, 30, 6, 11)[seed]
    planned = PlanRequest(key=key, meter=meter, bars=bars, programs=(73, 60, 0, 42), tune_moves=True, seed=seed)
    plan = check_plan(plan_tune(planned)).plan
    request = asked(f"asked {seed}", plan=plan)
    (abc,) = fresh().write([WriteRequest(request, plan)])
    score = abc_to_score(abc)
    assert is_valid(abc) and count_bars(score) == bars
    melody = melody_of(score, plan)
    starts = [start.tick for start in score.bar_starts]
    sung = {next(n for n, start in reversed(list(enumerate(starts, 1))) if onset >= start) for onset, _ in melody}
    assert len(sung) >= 0.7 * bars
    if plan.climax is not None:
        assert max(pitch for _, pitch in melody) == plan.climax.pitch


def test_a_plan_of_nanos_whose_accompaniment_was_mended_keeps_its_tune(tunes: list[tuple[Plan, str]]) -> None:
    plan, abc = tunes[0]
    louder = replace(plan, sections=tuple(replace(one, dynamic="ff") for one in plan.sections))
    (other,) = fresh().write([WriteRequest(BATCH[0], louder)])
    assert melody_of(abc_to_score(other), plan) == melody_of(abc_to_score(abc), plan)
    assert other != abc


# ---------------------------------------------------------------- wishes


WISHES: dict[str, PlanConstraints] = {
    "key": PlanConstraints(key="Ebm"),
    "mode": PlanConstraints(modes=("dorian",)),
    "meter": PlanConstraints(meters=("5/4",)),
    "compound meter": PlanConstraints(meters=("12/8",)),
    "slow": PlanConstraints(qpm=(44.0, 44.0)),
    "fast": PlanConstraints(qpm=(170.0, 180.0)),
    "one instrument": PlanConstraints(players=((0,),)),
    "a duet": PlanConstraints(players=((40,), (42,))),
    "a band": PlanConstraints(players=((25,), (DRUM_KIT,)), others_may_play=True),
    "five": PlanConstraints(players=((73,), (71,), (70,), (60,), (68,))),
    "no piano": PlanConstraints(without=(0, 1, 2, 3, 4, 5)),
    "no drums": PlanConstraints(without=(DRUM_KIT,)),
    "calm": PlanConstraints(arousal=(0.0, 0.2)),
    "strong": PlanConstraints(arousal=(0.8, 1.0)),
    **{f"{bars} bars": PlanConstraints(bars=(bars, bars)) for bars in (5, 6, 7, 8, 13, 24, 33, 64)},
}  # fmt: skip


@pytest.mark.parametrize("name", WISHES)
def test_wishes_are_kept(name: str) -> None:
    for scene in (SCENES[1], SCENES[2]):
        plan, abc = composed(asked(name, scene=scene, constraints=(WISHES[name],)))
        assert unmet(WISHES[name], plan) == ()
        assert check_plan(plan, read_motif).faults == ()
        assert is_valid(abc) and count_bars(abc_to_score(abc)) == plan.bars


@pytest.mark.parametrize("family", ["wave", "pulse", "alberti", "tremolo", "chorale", "arpeggio"])
def test_a_wished_figure_is_played(family: Any) -> None:
    wish = PlanConstraints(families=(family,), players=((73,), (0,), (42,)), meters=("4/4",))
    for name in "abc":
        assert unmet(wish, composed(asked(name, constraints=(wish,)))[0]) == ()


def test_of_two_wishes_the_first_counts() -> None:
    wishes = (PlanConstraints(key="Em", bars=(12, 12)), PlanConstraints(key="C", meters=("3/4",)))
    plan, _ = composed(asked("two", constraints=wishes))
    assert (plan.key, plan.bars, plan.meter) == ("Em", 12, "3/4")


# ---------------------------------------------------------------- references


ROCK = "[C,,^F,,]^F,,[D,,F,,]F,, [C,,F,,][C,,F,,][D,,F,,]F,,"
BAND = f"""X:1
M:4/4
L:1/8
Q:1/4=120
K:C
V:1
%%MIDI program 73
e3 f g2 c'2 | a2 e'2 c'4 | e3 f g2 c'2 | d'2 b2 g4 |
V:2
%%MIDI program 24
CGEG CGEG | A,ECE A,ECE | F,CA,C F,CA,C | G,DB,D G,DB,D |
V:3
%%MIDI program 33
C,,3 C,, G,,,2 C,,2 | A,,,3 A,,, E,,,2 A,,,2 | F,,,3 F,,, C,,2 F,,,2 | G,,,3 G,,, D,,2 G,,,2 |
V:4
%%MIDI channel 10
{" | ".join([ROCK] * 4)} |
"""


def reference(abc: str = BAND) -> Reference:
    return Reference("a", "hash a", "a.mid", 'The tune "Old Road" plays.', abc, None, 0.5, 0.5, "text")


def test_a_reference_with_drums_lends_them_to_a_driving_picture_and_is_cited() -> None:
    for name in "abcd":
        plan, abc = composed(asked(name, scene=SCENES[1], references=(reference(),)))
        told = " ".join((plan.idea, plan.style, *(section.new for section in plan.sections)))
        assert "«Old Road»" in told
        assert plan_of_json(plan_as_json(plan)) == plan
        assert DRUM_KIT in played_programs(plan)
        assert any(track.is_drum for track in abc_to_score(abc).tracks)


def test_what_people_wish_for_is_not_lent_away() -> None:
    wish = PlanConstraints(players=((40,), (42,)), meters=("3/4",))
    plan, _ = composed(asked("a", scene=SCENES[1], references=(reference(),), constraints=(wish,)))
    assert unmet(wish, plan) == ()


def test_other_references_give_another_tune_and_the_same_ones_the_same() -> None:
    alone, lent = (composed(asked("a", scene=SCENES[1], references=r)) for r in ((), (reference(),)))
    assert alone != lent
    assert lent == composed(asked("a", scene=SCENES[1], references=(reference(),)))


# ---------------------------------------------------------------- edits


def edits_of(request: ComposeRequest, plan: Plan, abc: str) -> Any:
    sheet = listen(abc_to_score(abc), plan)
    return sheet, fresh().edit([EditRequest(request, plan, abc, sheet)])[0]


def test_edits_offer_bars_that_were_heard_and_voices_that_are_derived(tunes: list[tuple[Plan, str]]) -> None:
    offered = 0
    for request, (plan, abc) in zip(BATCH, tunes, strict=True):
        sheet, edits = edits_of(request, plan, abc)
        singers = {str(plan.place_of(voice)) for voice in plan.melody if voice}
        assert {edit.bar for edit in edits} <= {fault.bar for fault in sheet.shown}
        assert not singers & {edit.voice for edit in edits}
        offered += bool(edits)
    assert offered


def test_a_persons_plan_is_not_edited() -> None:
    plan = check_plan(plan_of_json(ASKED), read_motif).plan
    request = asked("a", plan=plan)
    (abc,) = fresh().write([WriteRequest(request, plan)])
    assert edits_of(request, plan, abc)[1] == ()


# ---------------------------------------------------------------- photographs, network and loop


@pytest.fixture(scope="module")
def nano() -> NanoComposer:
    """The composer that is shipped, with little effort."""
    loaded = load_nano()
    return NanoComposer(loaded._embedder, loaded.poles, loaded.network, loaded.id, QUICK)


@pytest.fixture(scope="module")
def seen(nano: NanoComposer) -> list[ComposeRequest]:
    """Two photographs that were looked at."""
    images = [Image.fromarray(picture).convert("RGB") for picture in (data.coffee(), data.rocket())]
    looks = nano.look(images)
    return [
        ComposeRequest(str(i), image, look, (), seed=11)
        for i, (image, look) in enumerate(zip(images, looks, strict=True))
    ]


def explained(nano: NanoComposer, request: ComposeRequest, **asked_for: bool) -> Explanation:
    options = AttentionOptions(**asked_for)
    plan, abc = composed(request, nano)
    metrics = metrics_of_score(abc_to_score(abc))
    return nano.explain([ExplainRequest(request, abc, plan.title, metrics, options, plan)])[0]


def test_a_look_has_words_a_scene_and_patches(nano: NanoComposer, seen: list[ComposeRequest]) -> None:
    for request in seen:
        assert request.description.text.strip() and request.description.scene is not None
    (alone,) = nano.look([seen[1].image])
    assert (alone.text, alone.scene) == (seen[1].description.text, seen[1].description.scene)
    (german,) = nano.look([seen[0].image], "de")
    assert german.text != seen[0].description.text and german.scene == seen[0].description.scene


def test_maps_are_the_networks_for_the_tune_and_of_kind_plan_for_decisions(
    nano: NanoComposer, seen: list[ComposeRequest]
) -> None:
    for request in seen:
        found = explained(nano, request)
        plan, _ = composed(request, nano)
        kinds = [one.kind for one in found.attention]
        assert set(kinds) == {"all", "voice", "bars", "plan"}
        assert kinds.count("all") == 1
        assert kinds.count("bars") == -(-plan.bars // 4)
        assert kinds.count("voice") == len({voice for voice in plan.melody if voice})
        for one in found.attention:
            assert one.weights.shape == one.baseline.shape == (7, 7)
            assert np.isfinite(one.weights).all() and one.weights.min() >= 0 and one.weights.std() > 0
            assert 0 < one.weights.sum() <= 1 + 1e-5
            assert one.layers is None
        groups = [one.weights for one in found.attention if one.kind == "bars"]
        assert not np.allclose(groups[0], groups[-1], rtol=1e-3)
        assert len(found.motivation.split()) > 30


def test_layers_are_stored_where_they_are_asked_for(nano: NanoComposer, seen: list[ComposeRequest]) -> None:
    found = explained(nano, seen[0], layers=True)
    for one in found.attention:
        if one.kind != "plan":
            assert one.layers is not None and one.layers.ndim == 3
            assert np.allclose(one.layers.mean(0), one.weights, atol=1e-6)
            assert one.faithfulness is None


def test_maps_are_measured_where_that_is_asked_for(nano: NanoComposer, seen: list[ComposeRequest]) -> None:
    found = explained(nano, seen[0], faithfulness=True)
    for one in found.attention:
        if one.kind != "plan":
            assert one.faithfulness is not None
            assert set(one.faithfulness) >= {"deletion", "deletion_random", "deletion_centre", "insertion"}
            assert np.isfinite([*one.faithfulness.values()]).all()
    whole = next(one.faithfulness for one in found.attention if one.kind == "all")
    bars = [one.faithfulness for one in found.attention if one.kind == "bars"]
    assert whole is not None
    random = sum(one["deletion_random"] for one in bars if one is not None)
    assert random == pytest.approx(whole["deletion_random"], rel=1e-6)


def test_the_papers_chain_has_maps_too(nano: NanoComposer, seen: list[ComposeRequest]) -> None:
    for rounds in (0, 1):
        (tune,) = compose_batch(nano, seen[:1], LoopSettings(protocol="paper", candidates=1, rounds=rounds))
        assert not isinstance(tune, Exception)
        assert tune.plan is None
        assert [step.purpose for step in tune.rounds] == ["draft", "refine"][: rounds + 1]
        assert {one.kind for one in tune.explanation.attention} >= {"all", "voice", "bars"}


def test_a_second_attempt_is_written_as_it_was_found() -> None:
    nano, request = fresh(), BATCH[0]
    notes: dict[str, Any] = {}
    nano.plan([PlanningRequest(request, notes=notes)])
    (plan,) = nano.plan([PlanningRequest(request, attempt=1, notes=notes)])
    (abc,) = nano.write([WriteRequest(request, plan, notes=notes)])
    other = replace(request, seed=request.seed)
    again: dict[str, Any] = {}
    (same,) = fresh().plan([PlanningRequest(other, attempt=1, notes=again)])
    assert same == plan
    assert fresh().write([WriteRequest(other, same, notes=again)]) == [abc]
    score = abc_to_score(abc)
    if plan.climax is not None:
        assert max(pitch for _, pitch in melody_of(score, plan)) == plan.climax.pitch


def test_a_description_that_is_not_nanos_cannot_be_explained(nano: NanoComposer) -> None:
    with pytest.raises(TypeError, match="call look first"):
        explained(nano, asked("a"))


def test_the_last_bits_of_patches_change_no_tune(nano: NanoComposer, seen: list[ComposeRequest]) -> None:
    """Another processor's sums differ there: what is composed hangs on the scene, whose numbers are rounded."""
    request = seen[0]
    nudged = replace(request, description=replace(request.description, features=None))
    assert composed(nudged, fresh(network=nano.network)) == composed(request, nano)


def test_the_loop_takes_a_tune_of_nanos_as_it_is(nano: NanoComposer, seen: list[ComposeRequest]) -> None:
    settings = LoopSettings(candidates=2)
    tunes = compose_batch(nano, seen, settings)
    for tune, request in zip(tunes, seen, strict=True):
        assert not isinstance(tune, Exception)
        purposes = [step.purpose for step in tune.rounds]
        assert purposes.count("draft") == 2 and "repair" not in purposes
        assert tune.unmet == () and tune.plan is not None
        own = [composed(request, fresh(network=nano.network), take)[0].harmony for take in (0, 1)]
        assert tune.plan.harmony in own


@pytest.mark.parametrize("seconds", [5.0, 12.5, 40.0])
@pytest.mark.parametrize("loop", [False, True])
def test_a_tune_of_a_given_length_has_the_bars_for_it_at_a_tempo_that_suits_and_ends_or_leads_back(
    seconds: float, loop: bool
) -> None:
    wanted = PlanConstraints(length=seconds, loop=loop)
    for name in ("a", "b", "c"):
        request = asked(name, constraints=(wanted,))
        plan, abc = composed(request)
        plan = check_plan(plan).plan
        assert (plan.length_s, plan.loop) == (seconds, loop)
        music = suiting_music(request.description.scene or Scene(""))
        assert music.slowest - 1 <= plan.qpm <= music.fastest + 1
        tune = examine(abc, [], plan)
        assert tune.sheet is not None
        assert abs(abc_seconds(tune.draft.abc) - seconds) < 1 / 48_000
        tonic = read_tonality(plan.key)
        last = read_chord(plan.harmony[-1].split()[-1]).root
        assert tonic is not None and (last == tonic.pitch_class) != loop
        assert loop or not [fault for fault in tune.sheet.faults if fault.kind == "ending"]
        assert len({section.qpm for section in plan.sections}) == 1 or not loop
