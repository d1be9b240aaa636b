import numpy as np
import pytest
import torch

from image2music.abc.checker import check
from image2music.abc.diagnostics import Severity
from image2music.abc.parser import parse
from image2music.abc.writer.parts import lines_to_abc
from image2music.composers.nano.arrangement import key_of, melody_bars_written, melody_chords, melody_lines
from image2music.composers.nano.decoding import DecodingConstraints, Grammar, SeededDecoding, nucleus
from image2music.composers.nano.model import NanoComposerModel, NanoConfig
from image2music.composers.nano.planning import plan_scene, with_melody
from image2music.composers.nano.reading import MANNER, read_controls_and_melody
from image2music.composers.nano.sampling import Drawn, Sampler
from image2music.composers.nano.training.dataset import TrainingNgrams
from image2music.composers.nano.vocabulary import DANCED_IN, METERS, Vocabulary
from image2music.music.arrange.arranger import arrange_plan
from image2music.music.planning.checks import check_plan
from image2music.music.planning.planner import PlanRequest

ASKED = {"bars": ("8",), "rests": ("none",), "pickup": ("no",)}
UNITS = ("1/4", "1/8", "1/16")
N = 12


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    """A decoder with random weights: whatever is right about its tunes comes from the rules."""
    torch.manual_seed(0)
    config = NanoConfig(width=32, layers=2, heads=2, feed_forward=64)
    return Sampler(NanoComposerModel(config), TrainingNgrams(np.zeros(0, np.uint32)), np.zeros((49, 384), np.float32))


def conditions(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((n, 49, 384)).astype(np.float32) * 0.05
    return patches, np.zeros((n, 3, 32), np.int64)


@pytest.fixture(scope="module")
def drawn(sampler: Sampler) -> list[Drawn]:
    return sampler.draw(*conditions(N), [DecodingConstraints(ASKED, seed) for seed in range(N)])


def arranged(one: Drawn) -> str:
    bars = melody_bars_written(one.melody)
    request = with_melody(PlanRequest(), key_of(one.melody), one.melody.meter, bars, melody_chords(one.melody), 96.0)
    plan = check_plan(plan_scene(request)).plan
    lines = arrange_plan(plan, melody_lines(plan, bars), 0)
    return lines_to_abc("T", plan.key, plan.meter, lines, remarks=[f"{MANNER}{one.controls['kind']}"])


def test_every_tune_of_a_random_model_passes_the_check(drawn: list[Drawn]) -> None:
    errors = [found for one in drawn for found in check(arranged(one)) if found.severity is Severity.ERROR]

    assert errors == []


def test_all_voices_have_full_bars_only(drawn: list[Drawn]) -> None:
    for one in drawn:
        tune = parse(arranged(one)).tunes[0]
        assert 3 <= len(tune.voices) <= 5
        assert {len(voice.bars) for voice in tune.voices.values()} == {8}
        assert all(bar.length == bar.expected for voice in tune.voices.values() for bar in voice.bars)


def test_bars_are_full_in_every_meter_by_every_unit(sampler: Sampler) -> None:
    asked = [{**ASKED, "bars": ("4",), "meter": (meter,), "unit": (unit,)} for meter in METERS for unit in UNITS]
    patches, references = conditions(len(asked))

    for one in sampler.draw(
        patches, references, [DecodingConstraints(words, seed) for seed, words in enumerate(asked)]
    ):
        assert [sum(note.length for note in bar) for bar in one.melody.bars] == [one.melody.bar_capacity] * 4


def test_of_two_choices_that_only_rounding_tells_apart_the_smaller_token_is_taken(sampler: Sampler) -> None:
    decoding = SeededDecoding(Grammar(), [DecodingConstraints({}, 0)])
    logits = np.zeros(len(Vocabulary()))
    slow = Vocabulary().control_offsets["tempo"]
    for nudge in (0.0, 1e-9, -1e-9):
        logits[slow] = nudge
        assert decoding.choose(0, logits, np.zeros_like(logits)).token == slow


def test_a_tune_is_the_same_alone_and_in_a_batch(sampler: Sampler, drawn: list[Drawn]) -> None:
    patches, references = conditions(N)

    alone = [
        sampler.draw(patches[i : i + 1], references[i : i + 1], [DecodingConstraints(ASKED, i)])[0]
        for i in range(0, N, 5)
    ]

    assert alone == drawn[::5]


def test_seeds_change_the_tune(drawn: list[Drawn]) -> None:
    assert len({arranged(one) for one in drawn}) == N


def test_asked_plan_words_are_kept(sampler: Sampler) -> None:
    constraint = DecodingConstraints(
        {**ASKED, "mode": ("minor",), "tonic": ("D",), "meter": ("6/8",), "range": ("lowest",)}, 3
    )

    one = sampler.draw(*conditions(1), [constraint])[0]

    assert (one.melody.mode, one.melody.tonic, one.melody.meter) == ("minor", 2, "6/8")
    pitches = [note.pitch for note in one.melody.sounding() if note.pitch is not None]
    assert max(pitches) - min(pitches) <= 12


def test_a_dance_has_a_meter_that_it_is_danced_in(drawn: list[Drawn]) -> None:
    assert all(one.controls["meter"] in DANCED_IN.get(one.controls["kind"], METERS) for one in drawn)


def test_a_dance_is_chosen_for_the_meter_that_is_asked_for(sampler: Sampler) -> None:
    patches, references = conditions(N)

    waltzing = sampler.draw(
        patches, references, [DecodingConstraints({**ASKED, "meter": ("3/4",)}, seed) for seed in range(N)]
    )

    assert {one.controls["kind"] for one in waltzing} == {"air", "song", "waltz"}


def test_words_that_are_asked_for_win_over_custom(sampler: Sampler) -> None:
    one = sampler.draw(*conditions(1), [DecodingConstraints({**ASKED, "kind": ("jig",), "meter": ("4/4",)}, 3)])[0]

    assert (one.controls["kind"], one.controls["meter"]) == ("jig", "4/4")


def test_the_last_note_is_the_tonic(drawn: list[Drawn]) -> None:
    assert {one.melody.bars[-1][-1].pitch % 12 for one in drawn if one.melody.bars[-1][-1].pitch is not None} == {0}


def test_an_arranged_tune_reads_back_as_drawn(drawn: list[Drawn]) -> None:
    for one in drawn:
        controls, melody = read_controls_and_melody(arranged(one))
        assert (controls["kind"], controls["mode"]) == (one.controls["kind"], one.controls["mode"])
        # Where the first instrument cannot play them, notes move by octaves; they last as long.
        assert [note.length * melody.unit for note in melody.sounding()] == [
            note.length * one.melody.unit for note in one.melody.sounding()
        ]
        classes = [[(note.pitch or 0) % 12 for note in found.sounding()] for found in (melody, one.melody)]
        assert classes[0] == classes[1]


def test_the_nucleus_is_the_smallest_set_that_reaches_p() -> None:
    logits = np.log([0.5, 0.05, 0.3, 0.15])

    assert nucleus(logits, 0.75).tolist() == [0, 2]
    assert nucleus(logits, 1.0).tolist() == [0, 1, 2, 3]
