"""What `describe` reads, against counts made by hand."""

import keras
import numpy as np
import pytest
import scipy.stats

from tests.small_models import (
    conv_net,
    fingerprint,
    nested_net,
    randomize,
    residual_net,
    shared_net,
    subclassed_net,
)
from tf_metacompress.anatomy import (
    KINDS,
    Kind,
    compressible_layers,
    describe,
    kernel_arrays,
    register_kind,
)
from tf_metacompress.errors import UnsupportedModelError

layers = keras.layers

# Layer, shape of its input, kernel shapes, parameters, multiply-accumulates: counted by hand as
# positions × taps × input channels a group × output channels.
COUNTS = {
    "dense": (layers.Dense(7), (5,), [(5, 7)], 42, 5 * 7),
    "dense on a sequence": (layers.Dense(7), (4, 5), [(5, 7)], 42, 4 * 5 * 7),
    "conv1d": (layers.Conv1D(6, 3), (10, 4), [(3, 4, 6)], 78, 8 * 3 * 4 * 6),
    "conv1d strides": (layers.Conv1D(6, 3, strides=2), (10, 4), [(3, 4, 6)], 78, 4 * 72),
    "conv1d dilated": (layers.Conv1D(6, 3, dilation_rate=2), (10, 4), [(3, 4, 6)], 78, 6 * 72),
    "conv1d causal": (layers.Conv1D(6, 3, padding="causal"), (10, 4), [(3, 4, 6)], 78, 10 * 72),
    "conv2d": (layers.Conv2D(6, 3), (8, 8, 4), [(3, 3, 4, 6)], 222, 36 * 9 * 4 * 6),
    "conv2d same": (layers.Conv2D(6, 3, padding="same"), (8, 8, 4), [(3, 3, 4, 6)], 222, 64 * 216),
    "conv2d strides": (layers.Conv2D(6, 3, strides=2), (8, 8, 4), [(3, 3, 4, 6)], 222, 9 * 216),
    "conv2d strides same": (
        layers.Conv2D(6, 3, strides=(2, 1), padding="same"),
        (8, 8, 4),
        [(3, 3, 4, 6)],
        222,
        4 * 8 * 216,
    ),
    "conv2d dilated": (
        layers.Conv2D(6, 3, dilation_rate=2),
        (8, 8, 4),
        [(3, 3, 4, 6)],
        222,
        16 * 216,
    ),
    "conv2d groups": (
        layers.Conv2D(6, (1, 3), groups=2, use_bias=False),
        (8, 8, 4),
        [(1, 3, 2, 6)],
        36,
        8 * 6 * 3 * 2 * 6,
    ),
    "conv3d": (layers.Conv3D(3, 2), (4, 4, 4, 2), [(2, 2, 2, 2, 3)], 51, 27 * 8 * 2 * 3),
    "depthwise": (
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        (8, 8, 4),
        [(3, 3, 4, 2)],
        80,
        36 * 9 * 4 * 2,
    ),
    "depthwise strides same": (
        layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False),
        (9, 8, 4),
        [(3, 3, 4, 1)],
        36,
        5 * 4 * 9 * 4,
    ),
    "depthwise1d": (
        layers.DepthwiseConv1D(3, depth_multiplier=2),
        (10, 4),
        [(3, 4, 2)],
        32,
        8 * 3 * 4 * 2,
    ),
    "separable": (
        layers.SeparableConv2D(6, 3, depth_multiplier=2),
        (8, 8, 4),
        [(3, 3, 4, 2), (1, 1, 8, 6)],
        72 + 48 + 6,
        36 * (9 * 8 + 8 * 6),
    ),
    "separable strides": (
        layers.SeparableConv2D(6, 3, strides=2),
        (8, 8, 4),
        [(3, 3, 4, 1), (1, 1, 4, 6)],
        36 + 24 + 6,
        9 * (9 * 4 + 4 * 6),
    ),
    "separable1d": (
        layers.SeparableConv1D(6, 3),
        (10, 4),
        [(3, 4, 1), (1, 4, 6)],
        12 + 24 + 6,
        8 * (3 * 4 + 4 * 6),
    ),
    "transpose": (
        layers.Conv2DTranspose(6, 3, strides=2, padding="same"),
        (8, 8, 4),
        [(3, 3, 6, 4)],
        222,
        64 * 9 * 4 * 6,
    ),
    "transpose valid": (layers.Conv2DTranspose(6, 3), (5, 8, 4), [(3, 3, 6, 4)], 222, 40 * 216),
    "transpose1d": (layers.Conv1DTranspose(6, 3), (5, 4), [(3, 6, 4)], 78, 5 * 3 * 6 * 4),
    "transpose3d": (
        layers.Conv3DTranspose(3, 2), (2, 3, 4, 2), [(2, 2, 2, 3, 2)], 51, 24 * 8 * 3 * 2,
    ),
    "lstm": (layers.LSTM(5), (6, 4), [(4, 20), (5, 20)], 200, 6 * (80 + 100)),
    "lstm sequences": (
        layers.LSTM(5, return_sequences=True), (6, 4), [(4, 20), (5, 20)], 200, 6 * (80 + 100),
    ),
    "gru": (layers.GRU(5), (6, 4), [(4, 15), (5, 15)], 165, 6 * (60 + 75)),
    "simple rnn": (layers.SimpleRNN(5), (6, 4), [(4, 5), (5, 5)], 50, 6 * (20 + 25)),
    "cell": (layers.RNN(layers.GRUCell(5)), (6, 4), [(4, 15), (5, 15)], 165, 6 * (60 + 75)),
    "convlstm1d": (
        layers.ConvLSTM1D(3, 3), (4, 5, 2), [(3, 2, 12), (3, 3, 12)], 192,
        4 * 3 * (3 * 2 * 12 + 3 * 3 * 12),
    ),
    "convlstm2d": (
        layers.ConvLSTM2D(3, 3), (3, 5, 5, 2), [(3, 3, 2, 12), (3, 3, 3, 12)], 552,
        3 * 9 * (9 * 2 * 12 + 9 * 3 * 12),
    ),
    "convlstm3d": (
        layers.ConvLSTM3D(1, 2), (3, 3, 3, 3, 1), [(2, 2, 2, 1, 4), (2, 2, 2, 1, 4)], 68,
        3 * 8 * (8 * 4 + 8 * 4),
    ),
    "einsum": (
        layers.EinsumDense("abc,cd->abd", (6, 5), bias_axes="d"), (6, 4), [(4, 5)], 25, 6 * 5 * 4,
    ),
    "embedding": (layers.Embedding(7, 3), (6,), [(7, 3)], 21, 0),
}  # fmt: skip
CHANNEL_AXES = {
    "Dense": [(1,)],
    "Conv1D": [(2,)],
    "Conv2D": [(3,)],
    "Conv3D": [(4,)],
    "DepthwiseConv1D": [(1, 2)],
    "DepthwiseConv2D": [(2, 3)],
    "SeparableConv1D": [(1, 2), (2,)],
    "SeparableConv2D": [(2, 3), (3,)],
    "Conv1DTranspose": [(1,)],
    "Conv2DTranspose": [(2,)],
    "Conv3DTranspose": [(3,)],
    "LSTM": [(1,), (1,)],
    "GRU": [(1,), (1,)],
    "SimpleRNN": [(1,), (1,)],
    "RNN": [(1,), (1,)],
    "ConvLSTM1D": [(2,), (2,)],
    "ConvLSTM2D": [(3,), (3,)],
    "ConvLSTM3D": [(4,), (4,)],
    "EinsumDense": [(1,)],
    "Embedding": [()],
}


@pytest.mark.parametrize(
    ("equation", "shape", "axes", "macs"),
    [
        ("abc,cde->abde", (6, 2, 3), (1, 2), 6 * 2 * 3 * 4),
        ("...c,cd->...d", (5,), (1,), 6 * 5 * 4),
        ("abc,bcd->abd", (6, 5), (0, 2), 6 * 5 * 4),
        ("abc,dc->abd", (6, 5), (0,), 6 * 5 * 4),
    ],
)
def test_output_channels_of_an_einsum(equation, shape, axes, macs):
    layer = layers.EinsumDense(equation, shape)
    (info,) = describe(keras.Sequential([keras.Input((6, 4)), layer]))
    assert [kernel.channel_axis for kernel in info.kernels] == [axes]
    assert info.macs == macs


@pytest.mark.slow
def test_layers_whose_kernels_are_not_plain_weights_stay_float():
    adapted = keras.Sequential([keras.Input((8,)), layers.Dense(6, name="it")])
    adapted.layers[0].enable_lora(2)
    integers = keras.Sequential([keras.Input((8,)), layers.Dense(6, name="it")])
    integers.layers[0].quantize("int8")

    class Dense(layers.Layer):
        """Another layer of the same name."""

        def build(self, shape):
            self.table = self.add_weight(shape=(8,))

        def call(self, inputs):
            return inputs * self.table

    other = keras.Sequential([keras.Input((8,)), Dense(name="it")])
    unknown = keras.Sequential(
        [keras.Input((6, 4)), layers.RNN(layers.StackedRNNCells([layers.GRUCell(3)]), name="it")]
    )
    for model in (adapted, integers, other, unknown):
        (info,) = describe(model)
        assert (info.name, info.compressible, info.kernels) == ("it", False, ())


@pytest.mark.parametrize("case", COUNTS)
def test_counts_by_hand(case):
    layer, shape, kernels, num_params, macs = COUNTS[case]
    layer = type(layer).from_config({**layer.get_config(), "name": "it"})
    (info,) = describe(keras.Sequential([keras.Input(shape), layer]))
    assert info.name == "it"
    assert info.kind == type(layer).__name__
    assert [kernel.shape for kernel in info.kernels] == kernels
    assert [kernel.channel_axis for kernel in info.kernels] == CHANNEL_AXES[info.kind]
    assert (info.num_params, info.macs) == (num_params, macs)
    assert info.output_shape == (None, *layer.compute_output_shape((1, *shape))[1:])
    assert info.compressible


def test_every_known_kind_is_counted_above():
    assert {type(case[0]).__name__ for case in COUNTS.values()} == set(KINDS)


def resnet8():
    """ResNet-8 of MLPerf Tiny, after github.com/mlcommons/tiny, image classification."""

    def block(x, filters, strides):
        y = layers.Conv2D(filters, 3, strides, padding="same")(x)
        y = layers.Activation("relu")(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        if strides > 1:
            x = layers.Conv2D(filters, 1, strides, padding="same")(x)
        return layers.Activation("relu")(layers.Add()([x, y]))

    inputs = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(inputs))
    x = layers.Activation("relu")(x)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        x = block(x, filters, strides)
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(inputs, layers.Dense(10, "softmax")(x))


def test_resnet8_of_mlperf_tiny():
    infos = describe(resnet8())
    assert sum(info.num_params for info in infos) == 78_666
    assert sum(info.macs for info in infos) == 12_501_632  # published as 12.50 M
    assert sum(info.compressible for info in infos) == 10
    assert {info.kind for info in infos if not info.compressible} == {"BatchNormalization"}


def names(model):
    return [info.name for info in describe(model)]


def test_layers_come_in_execution_order_with_depth_from_0_to_1():
    infos = describe(conv_net())
    assert [info.name for info in infos] == [
        "conv", "bn1", "depthwise", "bn2", "separable", "bn3", "head",
    ]  # fmt: skip
    np.testing.assert_allclose([info.depth for info in infos], np.arange(7) / 6)


def test_paths_of_nested_models():
    model = nested_net()
    assert names(model) == ["backbone/conv", "backbone/bn", "backbone/inner/conv", "head"]
    macs = {info.name: info.macs for info in describe(model)}
    assert macs == {
        "backbone/conv": 36 * 9 * 4,
        "backbone/bn": 0,
        "backbone/inner/conv": 16 * 9 * 16,
        "head": 12,
    }


def test_a_shared_layer_is_one_layer_and_costs_twice():
    infos = {info.name: info for info in describe(shared_net())}
    assert list(infos) == ["shared", "head"]
    assert (infos["shared"].macs, infos["shared"].num_params) == (2 * 5 * 4, 24)


def test_a_subclassed_model_is_read_as_it_runs():
    assert names(subclassed_net()) == ["conv0", "norm", "conv1", "head/dense", "head/logits"]


class Subclass(keras.Model):
    """Holds layers; runs what it is given."""

    def __init__(self, parts, run):
        super().__init__()
        self.parts, self.run = parts, run

    def call(self, inputs):
        return self.run(self.parts, inputs)


def test_a_subclassed_model_with_a_dict_of_inputs():
    model = Subclass(
        [layers.Dense(3, name="a"), layers.Dense(2, name="b")],
        lambda parts, x: parts[0](x["left"]) + keras.ops.sum(parts[1](x["right"]), 1)[:, :1],
    )
    model({"left": np.zeros((2, 4)), "right": np.zeros((2, 6, 5))})
    assert {i.name: i.macs for i in describe(model)} == {"a": 12, "b": 6 * 10}


def test_layers_of_one_name_get_paths_of_their_own():
    parts = [layers.Dense(3, name="same"), layers.Dense(2, name="same")]
    model = Subclass(parts, lambda parts, x: parts[1](parts[0](x)))
    model(np.zeros((1, 4)))
    infos = describe(model)
    assert [info.macs for info in infos] == [12, 6]
    assert len({info.name for info in infos}) == 2
    assert names(model) == [info.name for info in infos]


def test_a_functional_model_with_a_dict_of_inputs():
    infos = {info.name: info.macs for info in describe(shared_net())}
    assert infos == {"shared": 40, "head": 16}


def test_unknown_extents_and_integer_inputs():
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(20, 4, name="embedding")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    infos = {info.name: info for info in describe(model)}
    assert infos["head"].macs == 16 * 12  # an unknown length counts as 16
    assert infos["embedding"].num_params == 80


def test_an_unknown_kind_stays_float_and_is_reported():
    class Strange(layers.Dense):
        pass

    model = keras.Sequential([keras.Input((3,)), Strange(2, name="strange"), layers.Dense(2)])
    strange = describe(model)[0]
    assert (strange.kind, strange.compressible, strange.kernels) == ("Strange", False, ())
    assert [info.name for info in compressible_layers(model)] != ["strange"]


def test_a_registered_kind_is_compressible(monkeypatch):
    class Strange(layers.Dense):
        pass

    monkeypatch.setattr("tf_metacompress.anatomy.kinds.KINDS", dict(KINDS))
    register_kind("Strange", Kind(kernels={"kernel": (1,)}, macs=lambda *_: 17))
    (info,) = describe(keras.Sequential([keras.Input((3,)), Strange(2)]))
    assert (info.compressible, info.macs) == (True, 17)


def test_nothing_to_compress_is_an_error():
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization()])
    with pytest.raises(UnsupportedModelError, match="nothing to compress.*BatchNormalization"):
        compressible_layers(model)


def folded_by_hand(kernel, layer, shape):
    """γ / √(σ² + ε) for each output channel, laid out as the kernel's last axes."""
    variance, epsilon = np.asarray(layer.moving_variance, np.float64), layer.epsilon
    return kernel * (np.asarray(layer.gamma) / np.sqrt(variance + epsilon)).reshape(shape)


def test_kernels_are_folded_as_inference_does():
    model = conv_net()
    get = model.get_layer
    folded, plain = kernel_arrays(model), kernel_arrays(model, folded=False)
    for name, norm, shape in (
        ("conv", "bn1", (1, 1, 1, 4)),
        ("depthwise", "bn2", (1, 1, 4, 2)),
        ("separable", "bn3", (1, 1, 1, 6)),
    ):
        expected = folded_by_hand(plain[name][-1], get(norm), shape)
        np.testing.assert_allclose(folded[name][-1], expected, rtol=1e-5)
    np.testing.assert_array_equal(folded["separable"][0], plain["separable"][0])
    np.testing.assert_array_equal(folded["head"][0], plain["head"][0])
    np.testing.assert_array_equal(plain["conv"][0], get("conv").kernel)


def test_the_folded_kernel_computes_what_inference_computes():
    model = conv_net()
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    up_to_bn = keras.Model(model.input, model.get_layer("bn1").output)
    norm = model.get_layer("bn1")
    (kernel,) = kernel_arrays(model)["conv"]
    shift = folded_by_hand(-np.asarray(norm.moving_mean), norm, (4,)) + np.asarray(norm.beta)
    expected = keras.ops.convert_to_numpy(keras.ops.conv(x, kernel)) + shift
    np.testing.assert_allclose(up_to_bn(x), expected, atol=1e-5)


def test_statistics_are_those_of_the_folded_kernel():
    model = conv_net()
    kernels = kernel_arrays(model)
    for info in compressible_layers(model):
        values = np.concatenate([kernel.ravel() for kernel in kernels[info.name]]).astype(float)
        assert info.stats.mean_abs == pytest.approx(np.abs(values).mean())
        assert info.stats.std == pytest.approx(values.std())
        assert info.stats.max_abs == pytest.approx(np.abs(values).max())
        assert info.stats.kurtosis == pytest.approx(scipy.stats.kurtosis(values, fisher=False))


def test_statistics_of_a_kernel_without_spread():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_initializer="ones")])
    assert describe(model)[0].stats.kurtosis == 0.0


@pytest.mark.parametrize("make", [conv_net, residual_net, nested_net, shared_net, subclassed_net])
def test_reading_leaves_the_model_as_it_was(make):
    model = make()
    before = fingerprint(model)
    describe(model)
    kernel_arrays(model)
    assert fingerprint(model) == before
    assert before[1] == []


def test_calls_are_restored_when_the_model_fails():
    class Failing(layers.Layer):
        def call(self, x):
            if self.fails:
                raise ValueError("out of order")
            return x

    failing = Failing()
    failing.fails = False
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), failing])
    failing.fails = True
    with pytest.raises(UnsupportedModelError, match="out of order"):
        describe(model)
    assert fingerprint(model)[1] == []


def test_randomize_gives_unlike_kernels():
    model = randomize(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))
    assert np.asarray(model.layers[0].kernel).std() > 0.1
