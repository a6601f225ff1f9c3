"""Actions and grids of them."""

import numpy as np
import pytest

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.policy import DEFAULT_SPARSITIES, Action, action_grid


def test_default_sparsities_keep_a_constant_share_of_what_is_left():
    kept = 1.0 - np.array(DEFAULT_SPARSITIES)
    assert len(kept) == 32
    assert DEFAULT_SPARSITIES[0] == 0.0
    assert DEFAULT_SPARSITIES[-1] == pytest.approx(0.99)
    np.testing.assert_allclose(kept[1:] / kept[:-1], 0.01 ** (1 / 31), rtol=1e-3)


def test_the_default_grid_has_every_sparsity_at_each_width():
    grid = action_grid()
    assert len(grid) == 64
    assert {a.weight_bits for a in grid} == {4, 8}
    assert tuple(a.sparsity for a in grid if a.weight_bits == 4) == DEFAULT_SPARSITIES


def test_numpy_values_become_plain_ones():
    action = Action(sparsity=np.float32(0.5), weight_bits=np.int64(4))
    assert (type(action.sparsity), type(action.weight_bits)) == (float, int)
    assert action == Action(0.5, 4)
    assert hash(action) == hash(Action(0.5, 4))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sparsity", 1.0),
        ("sparsity", -0.1),
        ("sparsity", float("nan")),
        ("sparsity", "0.5"),
        ("weight_bits", 9),
        ("weight_bits", 8.0),
        ("weight_bits", True),
        ("pattern", "4:2"),
        ("pattern", "block:4"),
        ("pattern", None),
    ],
)
def test_values_out_of_range_are_refused(field, value):
    with pytest.raises(InvalidArgumentError, match=f"`{field}`"):
        Action(**{field: value})


@pytest.mark.parametrize("sparsities", [(), (0.5, 0.5)])
def test_a_grid_is_neither_empty_nor_repeats(sparsities):
    with pytest.raises(InvalidArgumentError, match="non-empty and without repeats"):
        action_grid(sparsities)
