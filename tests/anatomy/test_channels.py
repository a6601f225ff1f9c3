"""Channel groups of architectures whose ties are known by hand."""

import keras
import numpy as np
import pytest

import tf_metacompress as tmc
from tests import small_models
from tests.channel_models import ARCHITECTURES
from tf_metacompress.anatomy.channels import channel_groups, read_channels

layers = keras.layers

CUTTABLE = {
    "plain": [("a", 8), ("b", 6)],
    "residual": [("stem + branch", 6)],
    "dense_block": [("stem", 4), ("grow0", 4), ("grow1", 4)],
    "squeeze_excite": [("a + excite", 8), ("squeeze", 4), ("b", 5)],
    "inverted_residual": [("stem + project", 4), ("expand", 12)],
    "depthwise_multiplier": [("a", 4), ("separable", 6)],
    "grouped": [("a", 2), ("grouped", 3)],
    "shared": [("a + shared", 4)],
    "nested": [("backbone/conv", 6), ("backbone/inner/conv + block/conv", 4)],
    "transposed": [("a", 6), ("up", 5)],
    "decoder": [("dense", 6), ("up", 4), ("along", 5)],
    "several_ends": [("b + a", 4)],
    "one_dimensional": [("a", 6), ("separable", 4), ("up", 5)],
    "recurrent": [("a", 6), ("hidden", 4)],
    "three_dimensional": [("a", 4), ("b", 5)],
    "plain_operations": [("a + b", 6), ("hidden", 4)],
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_groups_of_known_architectures(name):
    groups = channel_groups(ARCHITECTURES[name]())
    assert [(g.name, g.size) for g in groups if g.removable] == CUTTABLE[name]


def test_the_model_is_only_read():
    model = ARCHITECTURES["nested"]()
    before = small_models.fingerprint(model)
    channel_groups(model)
    assert small_models.fingerprint(model) == before


def test_a_flattened_channel_is_many_inputs():
    groups = channel_groups(ARCHITECTURES["plain"]())
    (member,) = (m for m in groups[1].members if m.layer == "head" and m.role == "input")
    assert (member.weight, member.axis) == ("kernel", 0)
    assert member.positions[2] == (2, 8, 14, 20)


def test_a_depthwise_channel_has_all_its_multiples():
    group = channel_groups(ARCHITECTURES["depthwise_multiplier"]())[0]
    places = {(m.layer, m.weight, m.axis): m.positions[1] for m in group.members}
    assert places["depthwise", "kernel", 2] == (1,)
    assert places["depthwise", "bias", 0] == (3, 4, 5)
    assert places["prelu", "alpha", 2] == (3, 4, 5)
    assert places["separable", "pointwise_kernel", 2] == (6, 7, 8, 9, 10, 11)


def test_a_grouped_convolution_loses_one_channel_of_each_group():
    group = channel_groups(ARCHITECTURES["grouped"]())[0]
    places = {(m.layer, m.weight, m.axis): m.positions[1] for m in group.members}
    assert group.width == 4
    assert places["a", "kernel", 3] == (1, 3, 5, 7)
    assert places["grouped", "kernel", 2] == (1,)


def test_units_that_become_one_channel_go_together():
    group = channel_groups(ARCHITECTURES["decoder"]())[0]
    places = {(m.layer, m.weight, m.axis): m.positions[1] for m in group.members}
    assert (group.size, group.width) == (6, 9)
    assert places["dense", "kernel", 1] == tuple(range(1, 54, 6))
    assert places["up", "kernel", 3] == (1,)


def test_channels_may_come_first():
    inputs = keras.Input((3, 8, 8))
    x = layers.Conv2D(4, 3, data_format="channels_first", name="a")(inputs)
    x = layers.BatchNormalization(axis=1, name="bn")(x)
    x = layers.DepthwiseConv2D(3, data_format="channels_first", name="depthwise")(x)
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(layers.ReLU()(x))
    model = keras.Model(inputs, layers.Dense(2, name="head")(x))
    group = channel_groups(model)[0]
    assert (group.name, group.size, group.removable) == ("a", 4, True)
    assert {"bn", "depthwise", "head"} <= {member.layer for member in group.members}


def dense(*between, before=()):
    parts = [keras.Input((4,)), *before, layers.Dense(6, name="a"), *between]
    return keras.Sequential([*parts, layers.Dense(2, name="head")])


class Stranger(layers.Layer):
    def call(self, inputs):
        return inputs * 2.0


REASONS = {
    "LayerNormalization": (layers.LayerNormalization, "normalises over the channels"),
    "Softmax": (layers.Softmax, "mixes channels"),
    "activation softmax": (lambda: layers.Activation("softmax"), "mixes channels"),
    "sigmoid": (lambda: layers.Activation("sigmoid"), "not zero at zero"),
    "a custom layer": (Stranger, "cannot be followed"),
    "Lambda": (lambda: layers.Lambda(lambda x: x[:, ::-1]), "cannot be followed"),
}


@pytest.mark.parametrize("case", REASONS)
def test_what_cannot_be_cut_says_why(case):
    make, reason = REASONS[case]
    group = channel_groups(dense(make()))[0]
    assert not group.removable
    assert reason in group.reason
    assert "\n" not in group.reason


def test_inputs_and_outputs_of_the_model_stay():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="a")(inputs)
    joined = layers.Add()([x, inputs])
    model = keras.Model(inputs, [layers.Dense(2, name="head")(joined), joined])
    assert all(not group.removable for group in channel_groups(model))


def test_a_channel_is_dead_when_nobody_reads_a_value_of_it():
    model = ARCHITECTURES["inverted_residual"]()
    norms = [model.get_layer(name) for name in ("bn1", "bn2")]
    for variable in (norms[0].gamma, norms[0].beta, norms[1].beta, norms[1].moving_mean):
        value = np.array(variable)
        value[3] = 0.0
        variable.assign(value)
    graph = read_channels(model)
    dead = dict(zip((group.name for group in graph.groups), graph.dead, strict=True))
    assert np.flatnonzero(dead["expand"]).tolist() == [3]
    assert not dead["stem + project"].any()


def test_a_subclassed_model_is_refused_with_the_way_out():
    with pytest.raises(tmc.errors.UnsupportedModelError, match="remove_channels"):
        channel_groups(small_models.subclassed_net())
