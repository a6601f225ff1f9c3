"""Removing channels equals making their activations zero, and the user's model stays as it is."""

import itertools
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tf_metacompress as tmc
from tests import small_models
from tests.channel_models import (
    ANY_COUNT,
    ARCHITECTURES,
    assert_outputs_close,
    flat_outputs,
    outputs_with_silent_channels,
    random_inputs,
    residual,
)
from tests.random_architectures import random_architecture
from tf_metacompress.anatomy.channels import read_channels
from tf_metacompress.layer_tree import leaf_layers
from tf_metacompress.policy.channel_group import OUTPUT
from tf_metacompress.surgery import as_functional, remove_channels
from tf_metacompress.surgery.proof import TOLERANCE, difference
from tf_metacompress.surgery.rebuild import rebuild

layers = keras.layers


def silent_channels(model, graph, removed):
    """Layer to the channels of its result that are gone, counted on its widest weight."""
    silent = {}
    for group, channels in zip(graph.groups, removed, strict=True):
        for member in group.members if len(channels) else ():
            if member.role != OUTPUT:
                continue
            layer = leaf_layers(model)[member.layer]
            is_depthwise = "Depthwise" in type(layer).__name__
            multiplier = layer.depth_multiplier if is_depthwise and member.is_kernel else 1
            places = [p for channel in channels for p in member.positions[channel]]
            spread = {p * multiplier + offset for p in places for offset in range(multiplier)}
            silent.setdefault(member.layer, set()).update(spread)
    return silent


def remove(model, graph, removed):
    numbers = [
        int(classes[channel])
        for classes, channels in zip(graph.classes, removed, strict=True)
        for channel in channels
    ]
    return rebuild(model, graph, numbers)


def assert_removal_is_silence(model, removed_of, graph=None):
    graph = graph or read_channels(model)
    removed = [removed_of(group) if group.removable else [] for group in graph.groups]
    before, x = small_models.fingerprint(model), random_inputs(model)
    smaller = remove(model, graph, removed)
    expected = outputs_with_silent_channels(model, silent_channels(model, graph, removed), x)
    assert_outputs_close(flat_outputs(smaller, x), expected)
    assert small_models.fingerprint(model) == before
    return smaller, removed


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.slow
def test_each_group_alone_and_all_together(name):
    model = ARCHITECTURES[name]()
    graph = read_channels(model)
    for chosen in (group for group in graph.groups if group.removable):
        smaller, _ = assert_removal_is_silence(
            model, lambda group, one=chosen: [0] if group == one else [], graph
        )
        assert smaller.count_params() < model.count_params()
    smaller, _ = assert_removal_is_silence(model, lambda group: range(1, group.size, 2))
    assert [layer.name for layer in smaller.layers] == [layer.name for layer in model.layers]


def test_the_oracle_sees_a_wrong_channel():
    model = residual()
    graph = read_channels(model)
    smaller = remove(model, graph, [[0], *[[]] * (len(graph.groups) - 1)])
    x = random_inputs(model)
    wrong = outputs_with_silent_channels(model, {"stem": {0}, "branch": {1}, "bn": {1}}, x)
    with pytest.raises(AssertionError):
        assert_outputs_close(flat_outputs(smaller, x), wrong)


@pytest.mark.slow
@given(st.data(), st.integers(0, 2**32 - 1))
@settings(max_examples=12)
def test_random_architectures(data, seed):
    model = random_architecture(data.draw)
    generator = np.random.default_rng(seed)

    def some(group):
        return np.flatnonzero(generator.random(group.size) < 0.5)[: group.size - 1].tolist()

    assert_removal_is_silence(model, some)


def test_the_least_energy_goes():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, name="a", use_bias=False), layers.Dense(2, name="b")]
    )
    first, second = model.layers
    first.kernel.assign([[3.0, 1.0, 2.0, 2.5], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    smaller, report = remove_channels(model, {"a": 0.5}, device=ANY_COUNT)
    np.testing.assert_array_equal(smaller.layers[0].kernel, np.array(first.kernel)[:, [0, 3]])
    np.testing.assert_array_equal(smaller.layers[1].kernel, np.array(second.kernel)[[0, 3]])
    assert report.left == ()


def test_batch_norm_counts_in_the_score():
    model = small_models.tiny_net()
    conv, norm = model.get_layer("conv"), model.get_layer("norm")
    conv.kernel.assign(np.ones(conv.kernel.shape) * [1.0, 2.0, 3.0, 4.0])
    norm.gamma.assign([8.0, 1.0, 1.0, 1.0])
    norm.moving_variance.assign([1.0, 1.0, 1.0, 16.0])
    smaller, _ = remove_channels(model, 0.5, device=ANY_COUNT)
    np.testing.assert_array_equal(smaller.get_layer("norm").gamma, [8.0, 1.0])
    np.testing.assert_array_equal(np.array(smaller.get_layer("conv").kernel)[0, 0, 0], [1.0, 3.0])


@pytest.mark.parametrize(
    ("filters", "sparsity", "device", "kept"),
    [(64, 0.5, "android-arm64", 32), (64, 0.6, "android-arm64", 32), (64, 0.99, "x86-host", 16)],
)
def test_counts_are_multiples_of_the_device(filters, sparsity, device, kept):
    parts = [layers.Dense(filters, name="a"), layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((3,)), *parts])
    smaller, report = remove_channels(model, {"a": sparsity}, device=device)
    assert smaller.get_layer("a").units == kept
    assert (report.groups[0].channels_before, report.groups[0].channels_after) == (filters, kept)
    asked = round(sparsity * filters)
    assert bool(report.left) == (filters - kept < asked)


def test_the_report_counts_what_went():
    model = ARCHITECTURES["plain"]()
    smaller, report = remove_channels(model, 0.5, device=ANY_COUNT, samples=random_inputs(model))
    assert report.params_before == model.count_params()
    assert report.params_after == smaller.count_params() < report.params_before
    assert report.macs_after < report.macs_before
    assert report.gap <= 1e-5
    assert "a: 8 -> 4 channels" in str(report)
    assert [(left.layers, left.reason) for left in report.left] == [
        (("head",), "it is an output of the model")
    ]


def test_a_policy_with_another_pattern_removes_nothing():
    model = ARCHITECTURES["plain"]()
    smaller, report = remove_channels(model, tmc.Policy([tmc.Rule("*", sparsity=0.5)]))
    assert smaller is model
    assert report.groups == ()


def test_the_largest_fraction_of_a_group_counts():
    model = residual()
    smaller, _ = remove_channels(model, {"stem": 1 / 6, "branch": 0.5}, device=ANY_COUNT)
    assert smaller.get_layer("stem").filters == smaller.get_layer("branch").filters == 3


def test_without_a_policy_what_is_zero_goes():
    model = ARCHITECTURES["plain"]()
    for variable in (model.get_layer("bn").gamma, model.get_layer("bn").beta):
        variable.assign(np.where(np.arange(8) % 4 == 1, 0.0, variable))
    x = random_inputs(model)
    smaller, report = remove_channels(model, device=ANY_COUNT)
    assert smaller.get_layer("a").filters == 6
    assert report.left == ()
    assert_outputs_close(flat_outputs(smaller, x), flat_outputs(model, x))
    again, report = remove_channels(smaller, device=ANY_COUNT)
    assert again is smaller
    assert report.groups == ()


def test_a_smaller_model_is_plain_trains_and_loads(tmp_path):
    model = ARCHITECTURES["nested"]()
    smaller, _ = remove_channels(model, 0.5, device=ANY_COUNT)
    smaller.save(tmp_path / "smaller.keras")
    again = keras.models.load_model(tmp_path / "smaller.keras")
    x = random_inputs(model)
    assert_outputs_close(flat_outputs(again, x), flat_outputs(smaller, x))
    smaller.compile("sgd", "mse")
    smaller.fit(x, np.zeros((3, 3)), verbose=0)
    assert type(smaller) is type(model)


def test_a_subclassed_model_comes_back_functional():
    model = small_models.subclassed_net()
    before = small_models.fingerprint(model)
    smaller, report = remove_channels(model, 0.5, device=ANY_COUNT)
    assert small_models.fingerprint(model) == before
    assert [layer.filters for layer in smaller.layers if hasattr(layer, "filters")] == [2, 2]
    assert report.gap <= 1e-5
    x, _ = small_models.images()
    functional = as_functional(model)
    assert_outputs_close(flat_outputs(functional, x), flat_outputs(model, x))
    smaller, _ = remove_channels(model, {"conv0": 0.5}, device=ANY_COUNT)
    kept = np.array(smaller.get_layer("conv0").kernel)
    old = np.array(model.blocks[0].kernel)
    gone = {c for c in range(4) if not any((old[..., c] == kept[..., k]).all() for k in range(2))}
    assert len(gone) == 2
    silent = {"conv0": gone, "norm": gone}
    expected = outputs_with_silent_channels(functional, silent, x)
    assert_outputs_close(flat_outputs(smaller, x), expected)


class Doubling(layers.Layer):
    """A layer that Keras does not know by name."""

    def call(self, inputs):
        return inputs * 2.0


def test_layers_with_state_and_layers_of_the_user_come_along():
    scale = layers.Normalization()
    scale.adapt(np.random.default_rng(0).normal(3.0, 2.0, (64, 4)))
    parts = [scale, layers.Lambda(lambda x: x + 1.0), Doubling(), layers.Dense(8, name="a")]
    model = keras.Sequential([keras.Input((4,)), *parts, layers.Dense(2, name="head")])
    smaller, report = remove_channels(model, {"a": 0.5}, device=ANY_COUNT)
    assert smaller.get_layer("a").units == 4
    assert report.gap <= 1e-5


class OwnClass(keras.Model):
    """A Functional graph in a class that makes it."""

    def __init__(self, width):
        inputs = keras.Input((4,))
        hidden = layers.Dense(width, activation="relu", name="hidden")(inputs)
        super().__init__(inputs, layers.Dense(2, name="head")(hidden))


def test_a_class_of_its_own_around_a_graph_comes_back_functional():
    model = small_models.randomize(OwnClass(8))
    smaller, report = remove_channels(model, {"hidden": 0.5}, device=ANY_COUNT)
    assert smaller.get_layer("hidden").units == 4
    assert report.gap <= 1e-5
    assert model.get_layer("hidden").units == 8


def test_a_sequential_model_built_by_a_call():
    model = keras.Sequential([layers.Dense(8, name="hidden"), layers.Dense(2, name="head")])
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    model(x)
    smaller, report = remove_channels(model, {"hidden": 0.5}, device=ANY_COUNT, samples=x)
    assert smaller(x).shape == (4, 2)
    assert report.gap <= 1e-5


def test_a_model_being_compressed_is_refused():
    student = tmc.compress(ARCHITECTURES["plain"](), tmc.Policy([tmc.Rule("a", weight_bits=8)]))
    for model in (student, student.network):
        with pytest.raises(tmc.errors.UnsupportedModelError, match="finalize"):
            remove_channels(model, 0.5)


class Wayward(keras.Model):
    """Its call uses plain TensorFlow."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.a, self.b = layers.Dense(8, name="a"), layers.Dense(2, name="b")

    def call(self, inputs):
        return self.b(tf.reverse(self.a(inputs), [-1]))


def test_what_cannot_be_followed_is_left_whole_and_reported():
    model = Wayward()
    model(np.zeros((1, 4), "float32"))
    smaller, report = remove_channels(model, {"a": 0.5}, device=ANY_COUNT)
    assert smaller is model
    assert len(report.left) == 1
    assert "symbolic" in report.left[0].reason


def test_a_wrong_model_is_never_returned(monkeypatch):
    from tf_metacompress.surgery import remove as module

    def spoilt(model, graph, removed, dtype=None):
        smaller = rebuild(model, graph, removed, dtype)
        if smaller.get_layer("b").filters < 6:
            smaller.get_layer("b").bias.assign_add(np.ones(smaller.get_layer("b").filters))
        return smaller

    monkeypatch.setattr(module, "rebuild", spoilt)
    model = ARCHITECTURES["plain"]()
    smaller, report = remove_channels(model, 0.5, device=ANY_COUNT)
    assert (smaller.get_layer("a").filters, smaller.get_layer("b").filters) == (4, 6)
    (left,) = (group for group in report.left if group.layers == ("b",))
    assert "differ" in left.reason
    wrong, _ = remove_channels(model, 0.5, device=ANY_COUNT, verify=False)
    assert wrong.get_layer("b").filters == 3


def test_a_wrong_head_is_seen_behind_a_certain_softmax():
    sure = np.array([[60.0, 0.0, 10.0]])
    one, other = (np.asarray(keras.ops.softmax(x)) for x in (sure, sure + [[0.0, 0.1, 0.0]]))
    assert np.abs(one - other).max() < 1e-20
    assert difference([one], [other]) > TOLERANCE
    assert difference([one], [one * (1 + 1e-6)]) < TOLERANCE
    assert difference([np.array([1.0, np.nan])], [np.array([1.0, np.nan])]) == np.inf
    tiny = np.array([[1e-9, 0.5]])
    assert difference([tiny], [tiny * [[3.0, 1.0]]]) < TOLERANCE


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_models_are_proved_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = ARCHITECTURES["residual"]()
    finally:
        keras.config.set_dtype_policy("float32")
    smaller, report = remove_channels(model, 0.5, device=ANY_COUNT)
    assert smaller.get_layer("stem").filters == 3
    assert smaller.get_layer("stem").compute_dtype == policy.removeprefix("mixed_")
    assert report.gap <= 1e-5


@pytest.mark.parametrize("wrong", [1.0, -0.1, {"a": 2.0}, {"nobody": 0.5}])
def test_fractions_and_names_are_checked(wrong):
    with pytest.raises(tmc.errors.InvalidArgumentError):
        remove_channels(ARCHITECTURES["plain"](), wrong)


@pytest.mark.parametrize("wrong", ["half", True, [0.5]])
def test_types_are_checked(wrong):
    with pytest.raises(tmc.errors.ArgumentTypeError):
        remove_channels(ARCHITECTURES["plain"](), wrong)


@pytest.mark.slow
def test_the_exported_file_and_the_multiplications_shrink(tmp_path):
    model = ARCHITECTURES["inverted_residual"]()
    smaller, report = remove_channels(model, 0.5, device=ANY_COUNT)
    assert report.macs_after < 0.5 * report.macs_before
    x = random_inputs(model)
    sizes = [
        tmc.export_litert(m, tmp_path / "m.tflite", representative_dataset=x).sizes.file_bytes
        for m in (model, smaller)
    ]
    assert sizes[1] < sizes[0]


RESULTS = Path(__file__).parents[1] / "benchmarks/results/channel_removal.json"


def test_the_published_figures_shrink_with_the_channels():
    networks = json.loads(RESULTS.read_text("utf-8"))["networks"]
    assert set(networks) == {"ResNet-8", "MobileNetV1-128"}
    for rows in networks.values():
        assert [row["removed"] for row in rows] == [0.0, 0.25, 0.5]
        for before, after in itertools.pairwise(rows):
            assert after["macs"] < before["macs"]
            assert after["gap"] <= 1e-5
            for mode in ("float32", "int8"):
                assert after[mode]["file_bytes"] < before[mode]["file_bytes"]
                assert after[mode]["gzip_bytes"] < before[mode]["gzip_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0"])
def test_applications_lose_channels(name):
    model = getattr(keras.applications, name)(input_shape=(64, 64, 3), weights=None, classes=10)
    smaller, report = remove_channels(model, 0.5)
    assert report.gap <= 1e-5
    assert report.macs_after < 0.5 * report.macs_before
    assert smaller.count_params() == report.params_after
