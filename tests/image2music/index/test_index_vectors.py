import numpy as np
import pytest
from fakes import unit

from image2music.embedders.base import vector_of
from image2music.errors import ModelError


def test_one_of_the_two_stands_for_itself():
    assert np.array_equal(vector_of(unit("a"), None), unit("a"))
    assert np.array_equal(vector_of(None, unit("b")), unit("b"))


def test_of_both_the_mean_has_unit_length_and_lies_as_near_to_either():
    mean = vector_of(unit("a"), unit("b"))
    assert mean.dtype == np.float32
    assert float(np.linalg.norm(mean)) == pytest.approx(1)
    assert float(mean @ unit("a")) == pytest.approx(float(mean @ unit("b")))


def test_opposites_have_no_mean():
    with pytest.raises(ModelError, match="opposite directions"):
        vector_of(unit("a"), -unit("a"))
