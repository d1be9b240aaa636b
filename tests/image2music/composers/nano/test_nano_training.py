from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from image2music.composers.nano.melody import Melody, Note
from image2music.composers.nano.patches import POLES, Appearance, PoleVectors, blank_patches, patches
from image2music.composers.nano.training.dataset import (
    SyntheticConditioning,
    TrainingNgrams,
    duplicate_groups,
    hold_out,
)
from image2music.composers.nano.vocabulary import Controls


def random_melody(seed: int, bars: int = 8) -> Melody:
    rng = np.random.default_rng(seed)
    notes = tuple(tuple(Note(int(rng.integers(0, 15)), Fraction(1)) for _ in range(8)) for _ in range(bars))
    return Melody("4/4", Fraction(1, 8), 0, "major", notes, frozenset({bars - 1}))


def transposed(melody: Melody, semitones: int) -> Melody:
    bars = tuple(tuple(Note((n.pitch or 0) + semitones, n.length) for n in bar) for bar in melody.bars)
    return replace(melody, bars=bars, tonic=5)


@pytest.fixture
def poles() -> PoleVectors:
    rng = np.random.default_rng(0)
    vectors = {look: rng.standard_normal((2, 16)).astype(np.float32) for look in POLES}
    return PoleVectors({look: v / np.linalg.norm(v, axis=1, keepdims=True) for look, v in vectors.items()})


def test_a_transposed_copy_is_found_and_another_tune_is_not() -> None:
    known = TrainingNgrams.of([random_melody(0), random_melody(1)])

    assert known.shared_with(transposed(random_melody(1), 3)) > 0
    assert known.shared_with(random_melody(2)) == 0


def test_tunes_that_share_a_long_run_are_one_group() -> None:
    a, b, other = random_melody(0), random_melody(1), random_melody(2)
    half_of_each = replace(a, bars=a.bars[:4] + b.bars[:4])

    groups = duplicate_groups([a, b, other, half_of_each])

    assert groups[0] == groups[1] == groups[3] != groups[2]


def test_held_out_tunes_share_no_group_with_training_tunes() -> None:
    groups = [i // 3 for i in range(300)]

    held = hold_out(groups, seed=0)

    assert {g for g, out in zip(groups, held, strict=True) if out}.isdisjoint(
        g for g, out in zip(groups, held, strict=True) if not out
    )
    assert 0 < sum(held) < 60


def test_dark_cells_lie_nearer_to_the_dark_pole(poles: PoleVectors) -> None:
    brightness = np.array([[0.0, 1.0]], np.float32)
    objects = np.zeros((2, 16), np.float32)

    dark, bright = patches(objects, Appearance(brightness, 0.5, 0.5, 0.5), poles)

    low, high = poles.vectors["brightness"]
    assert dark @ low > bright @ low
    assert bright @ high > dark @ high


def test_a_blank_picture_is_the_same_everywhere(poles: PoleVectors) -> None:
    blank = blank_patches(49, poles)

    assert np.array_equal(blank, np.tile(blank[:1], (49, 1)))


def test_imagined_pictures_show_the_title_somewhere_and_repeat_with_the_seed(poles: PoleVectors) -> None:
    title = np.eye(16, dtype=np.float32)[3]
    conditioning = SyntheticConditioning(poles, np.eye(16, dtype=np.float32)[8:], 7)
    controls = Controls(mode="minor", tempo="slow")

    picture = conditioning.picture(title, controls, np.random.default_rng(5))

    assert picture.shape == (49, 16)
    np.testing.assert_allclose(np.linalg.norm(picture, axis=1), 1, rtol=1e-5)
    assert (picture @ title).max() > (picture @ title).min() + 0.2
    assert np.array_equal(picture, conditioning.picture(title, controls, np.random.default_rng(5)))
