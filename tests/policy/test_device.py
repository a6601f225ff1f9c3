"""Device profiles: what runs, what pays, and their files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.layers import batch_norm, layer
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InvalidArgumentError,
)
from tf_metacompress.policy import (
    DEVICES,
    Action,
    DeviceProfile,
    LayerPlan,
    action_grid,
    device,
)

GRID = (*action_grid((0.0, 0.5), (4, 8, 16, 32)), Action(0.5, 8, "channel"))


@pytest.mark.parametrize(
    ("name", "multiple"), [("android-arm64", 8), ("cortex-m", 4), ("x86-host", 16)]
)
def test_built_in_profiles(name, multiple):
    profile = device(name)
    assert profile.channel_multiple == multiple
    for kind in ("Conv2D", "Dense", "DepthwiseConv2D", "SeparableConv1D"):
        assert profile.bits(kind) == (2, 3, 4, 5, 6, 7, 8)
    assert profile.pays("size_bytes")
    assert not any(profile.pays(resource) for resource in ("flash_bytes", "macs", "latency_ms"))
    assert profile.description


@pytest.mark.parametrize(("kind", "bits"), [("Dense", {4, 8}), ("DepthwiseConv2D", {8})])
def test_the_mask_leaves_what_the_device_runs(kind, bits):
    info = layer("x", kind, (4, 2) if kind == "Dense" else (3, 3, 2, 1))
    profile = DeviceProfile(name="d", weight_bits={"Dense": (4, 8), "*": (8,)})
    mask = profile.actions(info, GRID)
    assert mask.dtype == bool
    assert mask.tolist() == [a.weight_bits in bits and a.pattern == "unstructured" for a in GRID]


def test_a_kind_of_pattern_stands_for_all_its_sizes():
    info = layer("x", "Dense", (8, 8))
    grid = [Action(pattern="2:4"), Action(pattern="1:4"), Action(0.5, 8, "block:2x2"), Action()]
    for patterns, expected in (
        (("2:4",), [True, False, False, False]),
        (("N:M", "unstructured"), [True, True, False, True]),
        (("block",), [False, False, True, False]),
    ):
        profile = DeviceProfile(name="d", weight_bits={"*": (8,)}, patterns=patterns)
        assert profile.actions(info, grid).tolist() == expected
    with pytest.raises(InvalidArgumentError, match="`pattern`"):
        DeviceProfile(name="d", weight_bits={"*": (8,)}, patterns=("3:2",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight_bits": 4}, "'board'.*'x'.*weight_bits=4.*offers weights of 8 bits"),
        ({"weight_bits": 8, "activation_bits": 4}, "activation_bits=4.*activations of 8 bits"),
        ({"weight_bits": 8, "quantizer": "affine"}, "affine weights of 2 to 7 bits"),
    ],
)
def test_what_the_device_cannot_store_is_refused_before_training(fields, message):
    profile = DeviceProfile(name="board", weight_bits={"Dense": (2, 4, 8), "*": (8,)})
    conv = layer("x", "Conv2D", (3, 3, 1, 8))
    with pytest.raises(InvalidArgumentError, match=message):
        profile.check([LayerPlan("x", **fields)], [conv])


def test_what_the_device_can_store_passes():
    profile = device("android-arm64")
    infos = [layer("x", "Conv2D", (3, 3, 1, 8))]
    for fields in (
        {},
        {"weight_bits": 16},
        {"weight_bits": 3, "quantizer": "affine"},
        {"weight_bits": 4, "quantizer": "log2"},
        {"weight_bits": 8, "activation_bits": 32},
    ):
        profile.check([LayerPlan("x", **fields)], infos)
    with pytest.raises(InvalidArgumentError, match="log2 weights of 2 to 4 bits"):
        profile.check([LayerPlan("x", weight_bits=5, quantizer="log2")], infos)


def test_nothing_is_left_for_a_layer_that_cannot_be_compressed():
    assert not device("android-arm64").actions(batch_norm(), GRID).any()


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_channels_are_rounded_up_to_the_next_multiple(count, multiple):
    profile = DeviceProfile(name="d", weight_bits={"*": (8,)}, channel_multiple=multiple)
    rounded = profile.round_channels(count)
    assert rounded % multiple == 0
    assert count <= rounded < count + multiple


@pytest.mark.parametrize("count", [0, -3, 2.5, None])
def test_channels_are_counted_in_positive_integers(count):
    with pytest.raises(InvalidArgumentError, match="`num_channels`"):
        device("cortex-m").round_channels(count)


@pytest.mark.parametrize("name", DEVICES)
def test_files_make_equal_profiles(name):
    profile = device(name)
    assert DeviceProfile.from_json(profile.to_json()) == profile
    assert hash(DeviceProfile.from_json(profile.to_json())) == hash(profile)


def test_a_profile_is_its_own_device():
    profile = DeviceProfile(name="mine", weight_bits={"*": (8,)})
    assert device(profile) is profile


def test_an_unknown_device_suggests_a_near_one():
    with pytest.raises(
        InvalidArgumentError, match="device='android'. Did you mean 'android-arm64'"
    ):
        device("android")
    with pytest.raises(InvalidArgumentError, match="Did you mean 'cortex-m'"):
        device("cortex-m4")
    with pytest.raises(ArgumentTypeError, match="name or a DeviceProfile"):
        device(None)


GOOD = {"name": "d", "weight_bits": {"*": (8,)}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "`name`"),
        ({"description": None}, "`description`"),
        ({"weight_bits": {"Dense": (8,)}}, "must hold '\\*'"),
        ({"weight_bits": {"*": (9,)}}, "weight_bits"),
        ({"weight_bits": {"*": ()}}, "non-empty"),
        ({"weight_bits": {"*": 8}}, "non-empty"),
        ({"weight_bits": (8,)}, "`weight_bits` must be a mapping"),
        ({"activation_bits": (9,)}, "`activation_bits`"),
        ({"channel_multiple": 0}, "`channel_multiple`"),
        ({"sparsity_pays": {"size": True}}, "Did you mean 'size_bytes'"),
        ({"sparsity_pays": {"macs": 1}}, "bools"),
        ({"patterns": "unstructured"}, "`patterns`"),
        ({"patterns": ("diagonal",)}, "`pattern`"),
    ],
)
def test_values_out_of_range_are_refused(fields, message):
    with pytest.raises((InvalidArgumentError, ArgumentTypeError), match=message):
        DeviceProfile(**{**GOOD, **fields})


def test_an_unknown_resource_is_refused():
    with pytest.raises(InvalidArgumentError, match="`resource`"):
        device("cortex-m").pays("size")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weigth_bits": 1}, "unknown key 'weigth_bits'"),
        ({"channel_multiple": 1.5}, "The device profile: `channel_multiple`"),
        ({"weight_bits": {"*": [9]}}, "weight_bits"),
        ({"schema_version": 9}, "schema_version=9"),
    ],
)
def test_bad_files_are_refused(changes, message):
    document = {**json.loads(device("cortex-m").to_json()), **changes}
    with pytest.raises(CorruptFileError, match=message):
        DeviceProfile.from_json(json.dumps(document))
