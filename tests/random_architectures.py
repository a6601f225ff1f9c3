"""Random networks of convolutions that are joined, concatenated, gated and normalised."""

import keras
from hypothesis import strategies as st

from tests.small_models import randomize

layers = keras.layers
ACTIVATIONS = ("relu", "tanh", "swish", "linear", "elu", "sigmoid")


def _gate(draw, x):
    del draw
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(squeezed)
    return layers.Multiply()([x, gate])


def _convolve(draw, x):
    filters = draw(st.integers(2, 6))
    activation = draw(st.sampled_from(ACTIVATIONS))
    size = draw(st.sampled_from([1, 3]))
    return layers.Conv2D(filters, size, padding="same", activation=activation)(x)


def _group(draw, x):
    channels = x.shape[-1]
    groups = draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0]))
    return layers.Conv2D(groups * draw(st.integers(1, 2)), 3, groups=groups, padding="same")(x)


def _depthwise(draw, x):
    return layers.DepthwiseConv2D(3, padding="same", depth_multiplier=draw(st.integers(1, 2)))(x)


def _normalize(draw, x):
    return layers.BatchNormalization(scale=draw(st.booleans()), center=draw(st.booleans()))(x)


def _activate(draw, x):
    return layers.Activation(draw(st.sampled_from(ACTIVATIONS)))(x)


STEPS = (_convolve, _convolve, _group, _depthwise, _normalize, _activate, _gate)


def _join(draw, x, known):
    other = draw(st.sampled_from(known))
    if x.shape[-1] == other.shape[-1] and draw(st.booleans()):
        return draw(st.sampled_from([layers.Add, layers.Multiply, layers.Maximum]))()([x, other])
    return layers.Concatenate()([x, other])


def random_architecture(draw):
    """A network of three to six steps on 4 x 4 maps, some joined with earlier results.

    `draw` is that of `st.data()`: Keras takes random numbers while layers are made.
    """
    inputs = keras.Input((4, 4, 2))
    known = [layers.Conv2D(draw(st.integers(2, 5)), 3, padding="same")(inputs)]
    for _ in range(draw(st.integers(3, 6))):
        x = draw(st.sampled_from(known[-2:]))
        x = draw(st.sampled_from(STEPS))(draw, x)
        if draw(st.integers(0, 2)) == 0 and x.shape[-1] < 16:
            x = _join(draw, x, known)
        known.append(x)
    flat = draw(st.sampled_from([layers.Flatten, layers.GlobalAveragePooling2D]))()(known[-1])
    hidden = layers.Dense(4, activation="relu")(flat)
    return randomize(keras.Model(inputs, layers.Dense(2)(hidden)), seed=draw(st.integers(0, 99)))
