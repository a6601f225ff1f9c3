"""One layer compressed, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.small_models import conv_net
from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.layer_tree import is_redirected, leaf_layers
from tf_metacompress.policy import LayerPlan
from tf_metacompress.wrappers import LayerCompressor, compressor_of

layers = keras.layers


def numpy_compressed(kernel, sparsity, bits, axis, gain=1.0):
    """Masked by the magnitude of kernel · gain, then on the grid of each channel."""
    flat = np.abs(kernel * gain).ravel()
    keep = np.zeros(flat.size, bool)
    keep[np.argsort(-flat, kind="stable")[: flat.size - round(sparsity * flat.size)]] = True
    kernel = kernel * keep.reshape(kernel.shape)
    if bits == 32:
        return kernel
    others = tuple(a for a in range(kernel.ndim) if a not in axis)
    scale = np.abs(kernel).max(axis=others, keepdims=True) / (2 ** (bits - 1) - 1)
    scale = np.where(scale > 0, scale, 1.0)
    return np.round(kernel / scale) * scale


def dense(seed=0, **kwargs):
    layer = layers.Dense(6, name="it", **kwargs)
    layer.build((None, 10))
    layer.kernel.assign(np.random.default_rng(seed).normal(size=(10, 6)))
    layer.bias.assign(np.arange(6))
    return layer


def compressor_on(layer, **plan):
    compressor = LayerCompressor(LayerPlan("it", **plan), {"kernel": (1,)})
    compressor.attach({"it": layer})
    compressor.update_masks()
    return compressor


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("bits", [4, 8, 32])
def test_the_forward_pass_uses_the_masked_grid_kernel(sparsity, bits):
    layer = dense()
    expected = numpy_compressed(layer.kernel.numpy(), sparsity, bits, (1,))
    compressor_on(layer, sparsity=sparsity, weight_bits=bits)
    x = np.random.default_rng(1).normal(size=(4, 10)).astype("float32")
    np.testing.assert_allclose(layer(x), x @ expected + np.arange(6), atol=1e-5)


def test_the_kernel_itself_keeps_its_full_values():
    layer = dense()
    before = layer.kernel.numpy()
    compressor_on(layer, sparsity=0.5, weight_bits=4)
    layer(np.ones((1, 10)))
    np.testing.assert_array_equal(layer.kernel, before)


@pytest.mark.parametrize("bits", [8, 32])
def test_the_gradient_passes_through_to_kept_weights_only(bits):
    layer = dense()
    compressor = compressor_on(layer, sparsity=0.5, weight_bits=bits)
    x = tf.constant(np.random.default_rng(1).normal(size=(1, 10)), tf.float32)
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(layer(x))
    gradient = tape.gradient(y, layer.kernel.value)
    mask = compressor.masks["kernel"].numpy()
    assert mask.sum() == 30
    np.testing.assert_allclose(gradient, mask * x.numpy().T, atol=1e-6)


@pytest.mark.parametrize(("fraction", "zeros"), [(0.0, 0), (0.25, 12), (0.5, 24), (1.0, 48)])
def test_masks_follow_the_fraction_of_the_target(fraction, zeros):
    compressor = compressor_on(dense(), sparsity=0.8, weight_bits=8)
    compressor.update_masks(fraction)
    assert np.sum(compressor.masks["kernel"].numpy() == 0) == zeros


def test_masks_at_their_target_are_left_as_they_are():
    layer = dense()
    compressor = compressor_on(layer, sparsity=0.5)
    mask = compressor.masks["kernel"].numpy()
    layer.kernel.assign(-1.0 / layer.kernel)
    compressor.complete_masks()
    np.testing.assert_array_equal(compressor.masks["kernel"], mask)
    compressor.update_masks(0.4)
    compressor.complete_masks()
    assert np.sum(compressor.masks["kernel"].numpy() == 0) == 30
    assert np.any(compressor.masks["kernel"].numpy() != mask)
    compressor_on(dense(), sparsity=0.999).complete_masks()
    compressor_on(dense()).complete_masks()


def test_a_weight_that_grows_back_returns():
    layer = dense()
    compressor = compressor_on(layer, sparsity=0.5)
    removed = np.argwhere(compressor.masks["kernel"].numpy() == 0)[0]
    kernel = layer.kernel.numpy()
    kernel[tuple(removed)] = 100.0
    layer.kernel.assign(kernel)
    assert compressor.compressed_kernels()["kernel"].numpy()[tuple(removed)] == 0.0
    compressor.update_masks()
    assert compressor.compressed_kernels()["kernel"].numpy()[tuple(removed)] == 100.0


@pytest.mark.parametrize(
    ("name", "norm", "shape"),
    [("conv", "bn1", (1, 1, 1, 4)), ("depthwise", "bn2", (1, 1, 4, 2))],
)
def test_masks_are_chosen_by_the_folded_magnitude(name, norm, shape):
    model = conv_net()
    leaves = leaf_layers(model)
    layer, norm_layer = leaves[name], leaves[norm]
    norm_layer.gamma.assign(np.linspace(-3.0, 3.0, norm_layer.gamma.shape[0]))
    gain = (norm_layer.gamma.numpy() / np.sqrt(norm_layer.moving_variance.numpy() + 1e-3)).reshape(
        shape
    )
    axis = (3,) if name == "conv" else (2, 3)
    compressor = LayerCompressor(
        LayerPlan(name, sparsity=0.5, weight_bits=8), {"kernel": axis}, norm
    )
    compressor.attach(leaves)
    compressor.update_masks()
    kernel = layer.kernel.numpy()
    got = compressor.compressed_kernels()["kernel"]
    np.testing.assert_allclose(
        got, numpy_compressed(kernel, 0.5, 8, axis, gain), rtol=1e-5, atol=1e-6
    )
    unfolded = numpy_compressed(kernel, 0.5, 8, axis)
    assert np.any((unfolded == 0) != (got.numpy() == 0))


def test_of_several_kernels_the_last_is_folded():
    model = conv_net()
    leaves = leaf_layers(model)
    layer, norm = leaves["separable"], leaves["bn3"]
    norm.gamma.assign([0.001, 1, 1, 1, 1, 1])
    kernels = {"depthwise_kernel": (2, 3), "pointwise_kernel": (3,)}
    compressor = LayerCompressor(LayerPlan("separable", sparsity=0.5), kernels, "bn3")
    compressor.attach(leaves)
    compressor.update_masks()
    pointwise = compressor.masks["pointwise_kernel"].numpy()
    assert not pointwise[..., 0].any() and pointwise[..., 1:].any()
    depthwise = layer.depthwise_kernel.numpy()
    np.testing.assert_array_equal(
        compressor.masks["depthwise_kernel"], numpy_compressed(depthwise, 0.5, 32, ()) != 0
    )


def test_an_untouched_plan_computes_as_before():
    layer = dense()
    x = np.random.default_rng(1).normal(size=(4, 10)).astype("float32")
    before = layer(x).numpy()
    compressor = compressor_on(layer)
    assert compressor.compressed_kernels() == {} and compressor.masks == {}
    np.testing.assert_array_equal(layer(x), before)


def test_detaching_gives_the_layer_its_call_back():
    layer = dense()
    x = np.ones((1, 10), "float32")
    before = layer(x).numpy()
    compressor = compressor_on(layer, sparsity=0.9, weight_bits=4)
    assert compressor_of(layer) is compressor and compressor.layer is layer
    compressor.detach()
    assert not is_redirected(layer) and compressor_of(layer) is None
    np.testing.assert_array_equal(layer(x), before)


def test_baking_writes_the_kernels_for_good():
    layer = dense()
    expected = numpy_compressed(layer.kernel.numpy(), 0.5, 4, (1,))
    compressor = compressor_on(layer, sparsity=0.5, weight_bits=4)
    other = dense(seed=5)
    compressor.bake(other)
    np.testing.assert_allclose(other.kernel, expected, rtol=1e-6)
    assert np.any(layer.kernel.numpy() != expected)


def test_a_path_that_is_not_in_the_model_is_an_error():
    with pytest.raises(InvalidArgumentError, match="no layer at this path.*it"):
        LayerCompressor(LayerPlan("it"), {}).attach({})
    with pytest.raises(InvalidArgumentError, match="not attached"):
        _ = LayerCompressor(LayerPlan("it"), {}).layer


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_grid_is_computed_in_full_precision_under_mixed_precision(policy, monkeypatch):
    layer = dense(dtype=policy)
    kernel = np.asarray(layer.kernel, "float32")
    compressor = compressor_on(layer, sparsity=0.5, weight_bits=8)
    used = {}
    monkeypatch.setattr(
        "tf_metacompress.wrappers.layer_compressor.call_with_weights",
        lambda layer, call, substitutes, *args, **kwargs: used.update(substitutes) or call(*args),
    )
    layer(np.ones((1, 10)))
    assert used["kernel"].dtype == tf.float32
    np.testing.assert_allclose(used["kernel"], numpy_compressed(kernel, 0.5, 8, (1,)), rtol=1e-6)
    np.testing.assert_array_equal(used["kernel"], compressor.compressed_kernels()["kernel"])
