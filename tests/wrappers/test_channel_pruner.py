"""Channels of a group are zero together while a student trains, and are gone afterwards."""

import json
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tf_metacompress as tmc
from tests import small_models
from tests.channel_models import (
    ANY_COUNT,
    ARCHITECTURES,
    assert_outputs_close,
    flat_outputs,
    inverted_residual,
    outputs_with_silent_channels,
    plain,
    random_inputs,
    residual,
)
from tests.random_architectures import random_architecture
from tf_metacompress.anatomy.channels import channel_groups
from tf_metacompress.layer_tree import is_redirected, leaf_layers
from tf_metacompress.sparsity import measure_sparsity
from tf_metacompress.surgery import remove_channels
from tf_metacompress.wrappers import ChannelPruner, LayerCompressor, pruners_of

layers = keras.layers
HALF = {"sparsity": 0.5, "pattern": "channel"}


def pruner_for(model, producers, num_removed, **options):
    (group,) = (group for group in channel_groups(model) if group.name == producers)
    kernels = {path: {"kernel": (3,)} for path in group.producers}
    return ChannelPruner(group, num_removed, kernels, **options)


def attached(model, name, num_removed, **options):
    pruner = pruner_for(model, name, num_removed, **options)
    pruner.attach(leaf_layers(model))
    return pruner


def student_of(model, *rules, **options):
    return tmc.compress(model, tmc.Policy(list(rules)), **options)


def fitted(student, epochs=2, run_eagerly=True, **options):
    """Trains for a few steps; two steps are sooner done eagerly than compiled."""
    x = random_inputs(student.network, 8)
    student.compile("adam", "mse", run_eagerly=run_eagerly)
    student.fit(x, np.zeros((8, 3)), epochs=epochs, batch_size=4, verbose=0, **options)
    return student


def test_a_removed_channel_is_zero_in_every_layer_of_the_group():
    model, reference = residual(), residual()
    pruner = attached(model, "stem + branch", 2)
    pruner.mask.assign([1, 0, 1, 1, 0, 1])
    x = random_inputs(model)
    silent = {"stem": {1, 4}, "branch": {1, 4}, "bn": {1, 4}}
    expected = outputs_with_silent_channels(reference, silent, x)
    assert_outputs_close(flat_outputs(model, x), expected)
    assert pruner.removed == (1, 4)


def test_a_norm_without_gain_is_silenced_through_its_mean():
    model, reference = inverted_residual(), inverted_residual()
    pruner = pruner_for(model, "expand", 3)
    pruner.attach(leaf_layers(model))
    pruner.mask.assign([0] * 3 + [1] * 9)
    gone = {0, 1, 2}
    silent = dict.fromkeys(("expand", "bn1", "depthwise", "bn2"), gone)
    x = random_inputs(model)
    expected = outputs_with_silent_channels(reference, silent, x)
    assert_outputs_close(flat_outputs(model, x), expected)


def test_the_least_energy_goes_jointly():
    model = residual()
    stem, branch = model.get_layer("stem").kernel, model.get_layer("branch").kernel
    stem.assign(np.ones(stem.shape) * np.sqrt([6.0, 1, 2, 3, 4, 5]))
    branch.assign(np.ones(branch.shape) * np.sqrt([0.0, 9, 0, 0, 0, 0]))
    pruner = attached(model, "stem + branch", 3)
    np.testing.assert_allclose(pruner.scores(), 18 * np.array([6, 1 + 27, 2, 3, 4, 5]), rtol=1e-5)
    pruner.update_masks(1 / 3)
    assert pruner.removed == (2,)
    pruner.complete_masks()
    assert pruner.removed == (2, 3, 4)
    stem.assign(np.zeros(stem.shape))
    pruner.complete_masks()
    assert pruner.removed == (2, 3, 4)


def test_batch_norm_counts_in_the_score():
    model = plain()
    model.get_layer("bn").gamma.assign([1, 1, 1, 1, 1, 1, 1, 0.0])
    pruner = attached(model, "a", 1, batch_norms={"a": "bn"})
    pruner.update_masks()
    assert pruner.removed == (7,)
    norm, kernel = model.get_layer("bn"), np.array(model.get_layer("a").kernel)
    gain = np.array(norm.gamma) / np.sqrt(np.array(norm.moving_variance) + norm.epsilon)
    np.testing.assert_allclose(pruner.scores(), ((kernel * gain) ** 2).sum((0, 1, 2)), rtol=1e-5)


def test_detaching_leaves_the_model_as_it_was():
    model = residual()
    before = small_models.fingerprint(model)
    constraints = [variable.constraint for variable in model.trainable_variables]
    pruner = attached(model, "stem + branch", 3)
    pruner.update_masks()
    assert pruners_of(model.get_layer("stem")) == (pruner,)
    pruner.detach()
    assert small_models.fingerprint(model) == before
    assert [variable.constraint for variable in model.trainable_variables] == constraints
    assert not any(is_redirected(layer) for layer in model.layers)


def test_config_keeps_everything():
    pruner = pruner_for(plain(), "a", 3, batch_norms={"a": "bn"}, name="pruner")
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(pruner)))
    again = keras.saving.deserialize_keras_object(serialized)
    assert again.group == pruner.group
    assert again.get_config() == pruner.get_config()


def test_a_channel_must_stay():
    with pytest.raises(tmc.errors.InvalidArgumentError, match="leave a channel"):
        pruner_for(plain(), "a", 8)


def test_a_model_without_the_layer_is_refused():
    pruner = pruner_for(residual(), "stem + branch", 1)
    with pytest.raises(tmc.errors.InvalidArgumentError, match="no layer"):
        pruner.attach(leaf_layers(plain()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inverted_residual", "shared"])
def test_a_trained_student_is_cut_and_computes_the_same(name):
    model = ARCHITECTURES[name]()
    before = small_models.fingerprint(model)
    names = sorted({path for g in channel_groups(model) if g.removable for path in g.producers})
    student = student_of(model, *[tmc.Rule(path, **HALF) for path in names])
    fitted(student, run_eagerly=False)
    final = tmc.finalize(student)
    x = random_inputs(model)
    assert_outputs_close(flat_outputs(final, x), flat_outputs(student, x))
    for path in names:
        old, new = leaf_layers(model)[path], leaf_layers(final)[path]
        kept = old.kernel.shape[-1] - round(old.kernel.shape[-1] / 2)
        assert new.kernel.shape[-1] == kept
    assert not any(layer.__module__.startswith("tf_metacompress") for layer in final.layers)
    assert small_models.fingerprint(model) == before


def test_quantised_and_pruned_layers_lie_on_the_grid_and_are_cut():
    student = student_of(
        plain(), tmc.Rule("a", **HALF, weight_bits=8), tmc.Rule("b", weight_bits=4)
    )
    fitted(student, epochs=3)
    final = tmc.finalize(student)
    assert final.get_layer("a").filters == 4
    kernel = np.array(final.get_layer("a").kernel).reshape(-1, 4)
    scale = np.abs(kernel).max(0) / 127
    np.testing.assert_allclose(kernel / scale, np.round(kernel / scale), atol=1e-3)
    (compressor,) = (
        c for c in student.compressors if isinstance(c, LayerCompressor) and c.plan.layer == "a"
    )
    (pruner,) = (c for c in student.compressors if isinstance(c, ChannelPruner))
    kept = [k for k in range(8) if k not in pruner.removed]
    expected = np.array(compressor.compressed_kernels()["kernel"])[..., kept]
    np.testing.assert_array_equal(final.get_layer("a").kernel, expected)


def test_ranges_learn_while_channels_are_pruned():
    student = fitted(
        student_of(plain(), tmc.Rule("*", weight_bits=8), tmc.Rule("a", **HALF, weight_bits=8))
    )
    ranges = [c.output_range for c in student.compressors if c.output_range is not None]
    assert ranges
    assert all(float(found.range_max) > float(found.range_min) for found in ranges)


def test_a_schedule_lets_the_mask_grow():
    student = student_of(plain(), tmc.Rule("a", **HALF))
    (pruner,) = student.compressors
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(len(pruner.removed))

    schedule = tmc.callbacks.PruningSchedule(begin_step=0, end_step=6, frequency=1)
    fitted(student, epochs=4, callbacks=[schedule, Watch()])
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 4)


def test_every_checkpoint_is_sparse():
    student = fitted(student_of(plain(), tmc.Rule("a", **HALF)), epochs=1)
    kernel = np.array(student.network.get_layer("a").kernel)
    assert (np.count_nonzero(np.abs(kernel).sum((0, 1, 2)))) == 4
    gamma = np.array(student.network.get_layer("bn").gamma)
    assert np.count_nonzero(gamma) == 4


def test_sparsity_counts_silent_channels():
    student = student_of(plain(), tmc.Rule("a", **HALF))
    assert measure_sparsity(student).layers["a"] == 0.5


def test_a_student_with_a_pruner_saves_and_loads(tmp_path):
    student = fitted(student_of(residual(), tmc.Rule("stem", **HALF)), epochs=1)
    student.save(tmp_path / "student.keras")
    again = keras.models.load_model(tmp_path / "student.keras")
    x = random_inputs(student.network)
    assert_outputs_close(flat_outputs(again, x), flat_outputs(student, x))
    assert tmc.finalize(again).get_layer("branch").filters == 3


def test_counts_are_rounded_for_a_device():
    make = [layers.Dense(32, name="a"), layers.Dense(3, name="head")]
    model = small_models.randomize(keras.Sequential([keras.Input((4,)), *make]))
    rule = tmc.Rule("a", sparsity=0.4, pattern="channel")
    assert tmc.finalize(student_of(model, rule)).get_layer("a").units == 19
    student = student_of(model, rule, device="android-arm64")
    assert tmc.finalize(student).get_layer("a").units == 24


def test_a_group_too_small_for_the_device_says_so():
    with pytest.warns(UserWarning, match="a: 8 channels, rounded up"):
        student = student_of(plain(), tmc.Rule("a", **HALF), device="android-arm64")
    assert student.compressors == []


def test_the_largest_sparsity_of_a_group_counts():
    rules = [tmc.Rule("stem", sparsity=1 / 3, pattern="channel"), tmc.Rule("branch", **HALF)]
    assert tmc.finalize(student_of(residual(), *rules)).get_layer("stem").filters == 3


def test_an_output_keeps_its_channels_and_says_so():
    model = small_models.dense_net(classes=4)
    with pytest.warns(UserWarning, match="head: it is an output of the model"):
        student = student_of(model, tmc.Rule("*", **HALF))
    assert measure_sparsity(student).layers == {"hidden": 0.5, "head": 0.0}
    assert tmc.finalize(student).get_layer("hidden").units == 8


def test_a_layer_that_cannot_be_cut_is_masked_alone_and_says_so():
    parts = [layers.Dense(8, name="a"), layers.LayerNormalization(), layers.Dense(3, name="head")]
    model = small_models.randomize(keras.Sequential([keras.Input((4,)), *parts]))
    with pytest.warns(UserWarning, match="normalises over the channels"):
        student = student_of(model, tmc.Rule("a", **HALF))
    final = tmc.finalize(student)
    kernel = np.array(final.get_layer("a").kernel)
    assert kernel.shape == (4, 8)
    assert np.count_nonzero(np.abs(kernel).sum(0)) == 4


@pytest.mark.slow
def test_a_subclassed_student_comes_back_smaller():
    model = small_models.subclassed_net()
    student = student_of(model, tmc.Rule("conv0", **HALF))
    x, y = small_models.images(8)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile("adam", loss, run_eagerly=True)
    student.fit(x, y, verbose=0)
    final = tmc.finalize(student)
    assert isinstance(final.inputs, list)
    assert_outputs_close(flat_outputs(final, x), flat_outputs(student, x))
    assert final.get_layer("conv0").filters == 2


@pytest.mark.slow
def test_half_precision_students_are_cut():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = residual()
    finally:
        keras.config.set_dtype_policy("float32")
    student = fitted(student_of(model, tmc.Rule("stem", **HALF)))
    final = tmc.finalize(student)
    assert final.get_layer("stem").filters == 3
    x = random_inputs(model)
    assert_outputs_close(flat_outputs(final, x), flat_outputs(student, x), tolerance=1e-2)


def test_the_callback_silences_channels_in_place_and_they_can_be_removed():
    model = plain()
    policy = tmc.Policy([tmc.Rule("a", **HALF, weight_bits=8)])
    model.compile("adam", "mse", run_eagerly=True)
    x = random_inputs(model, 8)
    callback = tmc.callbacks.MetaCompress(policy=policy, device=ANY_COUNT)
    model.fit(x, np.zeros((8, 3)), epochs=2, callbacks=[callback], verbose=0)
    smaller, report = remove_channels(model, device=ANY_COUNT)
    assert smaller.get_layer("a").filters == 4
    assert report.left == ()
    assert_outputs_close(flat_outputs(smaller, x), flat_outputs(model, x))


@pytest.mark.slow
@pytest.mark.parametrize("score", ["taylor", "activation", "random"])
def test_channels_are_chosen_by_the_score_of_the_plan(score):
    student = student_of(plain(), tmc.Rule("a", **HALF, score=score))
    by_type = {type(compressor): compressor for compressor in student.compressors}
    pruner, compressor = by_type[ChannelPruner], by_type[LayerCompressor]
    assert pruner.lacks_statistics == (score != "random") and not compressor.masks
    fitted(student, callbacks=[tmc.callbacks.PruningSchedule(begin_step=1, end_step=2)])
    assert not pruner.lacks_statistics
    scores = np.asarray(compressor.scores("kernel")).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(pruner.scores(), scores, rtol=1e-5)
    pruner.update_masks()
    assert pruner.removed == tuple(sorted(np.argsort(scores, kind="stable")[: len(scores) // 2]))
    assert tmc.finalize(student).get_layer("a").filters == len(scores) // 2


@pytest.mark.slow
@given(st.data())
@settings(max_examples=5)
def test_students_of_random_architectures_are_cut(data):
    model = random_architecture(data.draw)
    found = [g for g in channel_groups(model) if g.removable and g.size > 2]
    rules = [tmc.Rule(path, **HALF) for path in sorted({p for g in found for p in g.producers})]
    with warnings.catch_warnings():
        # A layer may share one channel of many with an output.
        warnings.simplefilter("ignore")
        student = student_of(model, *rules)
    final, x = tmc.finalize(student), random_inputs(model)
    assert_outputs_close(flat_outputs(final, x), flat_outputs(student, x))
    assert not rules or final.count_params() < model.count_params()
