"""Architectures whose channels are tied in every way, and an oracle for models without channels."""

import keras
import numpy as np

from tests.small_models import randomize
from tf_metacompress.layer_tree import leaf_layers, redirected
from tf_metacompress.policy import DeviceProfile

layers = keras.layers
ANY_COUNT = DeviceProfile(name="any count", weight_bits={"*": (8, 32)})


def functional(inputs, outputs, name="net"):
    return randomize(keras.Model(inputs, outputs, name=name))


def plain():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(8, 3, use_bias=False, name="a")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="bn")(x))
    x = layers.Conv2D(6, 3, activation="relu", name="b")(x)
    return functional(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def residual():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(6, 3, padding="same", name="stem")(inputs)
    y = layers.Conv2D(6, 3, padding="same", name="branch")(layers.ReLU()(x))
    y = layers.BatchNormalization(name="bn")(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.MaxPooling2D()(x + 0.5 * y)
    return functional(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def dense_block():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for index in range(2):
        y = layers.ReLU()(layers.BatchNormalization(name=f"bn{index}")(x))
        y = layers.Conv2D(4, 3, padding="same", name=f"grow{index}")(y)
        x = layers.Concatenate()([x, y])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return functional(inputs, layers.Dense(3, name="head")(x))


def squeeze_excite(reshape=True):
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(8, 3, activation="swish", name="a")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=not reshape)(x)
    gate = layers.Reshape((1, 1, 8))(gate) if reshape else gate
    gate = layers.Conv2D(4, 1, activation="relu", name="squeeze")(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid", name="excite")(gate)
    x = layers.Conv2D(5, 3, name="b")(layers.Multiply()([x, gate]))
    return functional(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def inverted_residual():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    y = layers.Conv2D(12, 1, use_bias=False, name="expand")(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization(name="bn1")(y))
    y = layers.ZeroPadding2D(1)(y)
    y = layers.DepthwiseConv2D(3, use_bias=False, name="depthwise")(y)
    y = layers.ReLU(6.0)(layers.BatchNormalization(name="bn2", scale=False)(y))
    y = layers.Conv2D(4, 1, use_bias=False, name="project")(y)
    x = layers.Add()([x, layers.BatchNormalization(name="bn3")(y)])
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.2)(x))
    return functional(inputs, layers.Dense(3, name="head")(x))


def depthwise_multiplier():
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, name="a")(inputs)
    x = layers.DepthwiseConv2D(3, depth_multiplier=3, name="depthwise")(x)
    x = layers.PReLU(shared_axes=(1, 2), name="prelu")(x)
    x = layers.SeparableConv2D(6, 3, depth_multiplier=2, name="separable")(x)
    return functional(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def grouped():
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(8, 3, name="a")(inputs)
    x = layers.Conv2D(12, 3, groups=4, padding="same", name="grouped")(layers.ReLU()(x))
    x = layers.Conv2D(12, 3, groups=12, name="one_each")(x)
    x = layers.GlobalMaxPooling2D()(x)
    return functional(inputs, layers.Dense(3, name="head")(x))


def shared():
    inputs = keras.Input((6, 6, 4))
    x = layers.Conv2D(4, 3, padding="same", name="a")(inputs)
    conv = layers.Conv2D(4, 3, padding="same", name="shared")
    x = layers.ReLU()(conv(layers.ReLU()(conv(x))))
    return functional(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def nested():
    inner = keras.Sequential(
        [keras.Input((6, 6, 6)), layers.Conv2D(4, 3, name="conv"), layers.ReLU()], name="inner"
    )
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(6, 3, name="conv")(inputs)
    backbone = keras.Model(inputs, inner(layers.BatchNormalization(name="bn")(x)), name="backbone")
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(1, 1, name="first")(inputs)
    block = keras.Input((4, 4, 4))
    block = keras.Model(block, layers.Conv2D(4, 1, name="conv")(block), name="block")
    x = layers.GlobalAveragePooling2D()(block(block(backbone(x))))
    return functional(inputs, layers.Dense(3, name="head")(x))


def transposed():
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(6, 3, padding="same", activation="elu", name="a")(inputs)
    x = layers.Conv2DTranspose(5, 2, strides=2, activation="gelu", name="up")(x)
    x = layers.UpSampling2D()(layers.Cropping2D(1)(x))
    return functional(inputs, layers.Conv2D(2, 3, name="head")(x))


def decoder():
    inputs = keras.Input((5,))
    x = layers.Dense(3 * 3 * 6, activation="relu", name="dense")(inputs)
    x = layers.BatchNormalization(name="bn")(layers.Reshape((3, 3, 6))(x))
    x = layers.Conv2DTranspose(4, 3, strides=2, name="up")(x)
    x = layers.Conv1D(5, 3, name="along")(layers.Reshape((-1, 4))(x))
    return functional(inputs, layers.Dense(3, name="head")(layers.GlobalAveragePooling1D()(x)))


def several_ends():
    left, right = keras.Input((6, 6, 2), name="left"), keras.Input((5,), name="right")
    x = layers.Conv2D(4, 3, name="a")(left)
    y = layers.Dense(4, name="b")(right)
    z = layers.Multiply()([x, layers.Reshape((1, 1, 4))(y)])
    z = layers.Flatten()(z)
    out = {"one": layers.Dense(3, name="one")(z), "two": layers.Dense(2, name="two")(y)}
    return functional({"left": left, "right": right}, out)


def one_dimensional():
    inputs = keras.Input((12, 3))
    x = layers.Conv1D(6, 3, padding="causal", name="a")(inputs)
    x = layers.DepthwiseConv1D(3, name="depthwise")(layers.LeakyReLU()(x))
    x = layers.SeparableConv1D(4, 3, name="separable")(layers.MaxPooling1D()(x))
    x = layers.Permute((2, 1))(layers.Conv1DTranspose(5, 2, name="up")(x))
    return functional(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def recurrent():
    inputs = keras.Input((12, 3))
    x = layers.Conv1D(6, 3, activation="relu", name="a")(inputs)
    x = layers.GRU(4, return_sequences=True, name="gru")(x)
    x = layers.Dense(4, name="hidden")(layers.LSTM(3, name="lstm")(x))
    return functional(inputs, layers.Dense(3, name="head")(x))


def three_dimensional():
    inputs = keras.Input((5, 5, 5, 1))
    x = layers.BatchNormalization(name="bn")(layers.Conv3D(4, 2, name="a")(inputs))
    x = layers.AveragePooling3D(2)(layers.Activation("tanh")(x))
    x = layers.Conv3D(5, 2, name="b")(x)
    return functional(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def plain_operations():
    ops = keras.ops
    inputs = keras.Input((6, 6, 2))
    x = ops.relu(layers.Conv2D(6, 3, name="a")(inputs))
    y = layers.Conv2D(6, 3, padding="same", name="b")(x)
    x = ops.concatenate([ops.maximum(x, 0.0) + y / 2.0, ops.silu(y)], axis=-1)
    x = ops.mean(x, axis=(1, 2))
    x = layers.Dense(4, name="hidden")(ops.reshape(x, (-1, 12)))
    return functional(inputs, layers.Dense(3, name="head")(ops.tanh(x)))


ARCHITECTURES = {
    make.__name__: make
    for make in (
        plain,
        residual,
        dense_block,
        squeeze_excite,
        inverted_residual,
        depthwise_multiplier,
        grouped,
        shared,
        nested,
        transposed,
        decoder,
        several_ends,
        one_dimensional,
        recurrent,
        three_dimensional,
        plain_operations,
    )
}


def random_inputs(model, count=3, seed=5):
    generator = np.random.default_rng(seed)
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(
        lambda tensor: generator.normal(size=(count, *tensor.shape[1:])).astype("float32"),
        structure,
    )


def outputs_with_silent_channels(model, silent, x):
    """Runs a model with some channels of the results of some layers multiplied by zero."""

    def wrap(path, layer, call):
        def silenced(*args, **kwargs):
            result = call(*args, **kwargs)
            keep = np.ones(result.shape[-1], "float32")
            keep[sorted(silent[path])] = 0.0
            return result * keep

        return silenced

    chosen = {path: layer for path, layer in leaf_layers(model).items() if path in silent}
    assert chosen.keys() == silent.keys()
    with redirected(chosen, wrap):
        return flat_outputs(model, x)


def flat_outputs(model, x):
    return [np.asarray(y) for y in keras.tree.flatten(model(x, training=False))]


def assert_outputs_close(one, other, tolerance=1e-5):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(), 1e-12))
