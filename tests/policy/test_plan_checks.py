"""What a policy asks of layers that cannot have it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.layers import layer
from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.policy import (
    LayerPlan,
    Policy,
    Rule,
    fitting_sparsity,
    input_axis,
    num_units,
    parse_pattern,
)

STEM = layer("stem", "Conv2D", (3, 3, 3, 8))
CONV = layer("conv", "Conv2D", (3, 3, 8, 16))
DEPTHWISE = layer("depthwise", "DepthwiseConv2D", (3, 3, 8, 1))
HEAD = layer("head", shape=(16, 10))
INFOS = (STEM, CONV, DEPTHWISE, HEAD)


def resolve(layers, infos=INFOS, **fields):
    return Policy([Rule(layers, **fields)]).resolve(infos)


@pytest.mark.parametrize(
    ("layers", "pattern", "parts"),
    [
        ("stem", "2:4", ("stem: '2:4' on kernel of 3x3x3x8", "input axis of 3", "multiple of 4")),
        ("depthwise", "1:2", ("depthwise: '1:2'", "no input axis")),
        ("head", "block", ("head: 'block' on kernel of 16x10", "16x10 cannot be cut")),
        ("*", "2:4", ("stem:", "depthwise:", "layers=2")),
    ],
)
def test_a_pattern_that_does_not_divide_is_refused(layers, pattern, parts):
    fields = {} if ":" in pattern else {"sparsity": 0.5}
    with pytest.raises(InvalidArgumentError) as raised:
        resolve(layers, pattern=pattern, **fields)
    assert all(part in str(raised.value) for part in (*parts, "a rule of their own"))


def test_a_depthwise_kernel_that_looks_like_another_is_known_by_its_kind():
    kernel = dataclasses.replace(DEPTHWISE.kernels[0], shape=(4, 4, 8, 4), channel_axis=(2, 3))
    info = dataclasses.replace(DEPTHWISE, kernels=(kernel,))
    with pytest.raises(InvalidArgumentError, match="no input axis"):
        resolve("depthwise", [info], pattern="2:4")


def test_patterns_that_divide_pass():
    assert resolve("conv", pattern="2:4")[1].sparsity == 0.5
    assert resolve("head", pattern="3:8")[3].sparsity == 1 - 3 / 8
    assert resolve("head", pattern="block:16x2", sparsity=0.5)[3].sparsity == 0.5
    assert resolve("depthwise", pattern="channel", sparsity=0.5)[2].sparsity == 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sparsity": 0.1}, "'tiny'.*remove no weight.*sparsity=0.1.*kernels='4x1'"),
        ({"sparsity": 0.95}, "leave no weight.*at most 3 of 4"),
        ({"sparsity": 0.4, "pattern": "channel"}, "remove no channel"),
        ({"sparsity": 0.9, "pattern": "channel"}, "leave no channel"),
        ({"sparsity": 0.9, "pattern": "block:4x1"}, "leave no block"),
    ],
)
def test_a_sparsity_needs_room(fields, message):
    with pytest.raises(InvalidArgumentError, match=message):
        resolve("tiny", [layer("tiny", shape=(4, 1))], **fields)


@given(st.integers(1, 40), st.floats(0.0, 1.0, exclude_max=True))
def test_a_fitting_sparsity_always_resolves_and_removes_as_many(size, sparsity):
    info = layer("it", shape=(size, 1))
    fitted = fitting_sparsity(info, sparsity)
    Policy.from_plans([LayerPlan("it", fitted)]).resolve([info])
    assert round(fitted * size) == min(round(sparsity * size), size - 1)


@pytest.mark.parametrize(
    ("shape", "channel_axis", "axis"),
    [
        ((16, 10), (1,), 0),
        ((3, 3, 8, 16), (3,), 2),
        ((3, 3, 16, 8), (2,), 3),
        ((5, 8, 16), (2,), 1),
        ((3, 3, 8, 1), (2, 3), None),
    ],
)
def test_the_input_axis(shape, channel_axis, axis):
    assert input_axis(shape, channel_axis) == axis


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("unstructured", 1152), ("channel", 16), ("2:4", 288), ("block:2x8", 72), ("block", 72)],
)
def test_units_are_counted(pattern, count):
    assert num_units(parse_pattern(pattern), (3, 3, 8, 16), (3,)) == count
