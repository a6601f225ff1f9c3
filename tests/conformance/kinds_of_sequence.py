"""Kinds of models over sequences: recurrent, attention, embeddings."""

import keras

from tests.conformance.model_kinds import NUM_CLASSES, arrays, register, tokens
from tests.small_models import randomize

layers = keras.layers
SERIES = (6, 4)


def classifier(*parts, shape=SERIES, dtype="float32"):
    head = layers.Dense(NUM_CLASSES, name="head")
    return randomize(keras.Sequential([keras.Input(shape, dtype=dtype), *parts, head]), seed=1)


@register("lstm", slow=True, inputs=arrays(*SERIES), compressed=("lstm", "head"), looped=("lstm",))
def lstm():
    return classifier(layers.LSTM(5, name="lstm"))


@register("gru", slow=True, inputs=arrays(*SERIES), compressed=("gru", "head"), looped=("gru",))
def gru():
    return classifier(layers.GRU(5, name="gru"))


@register(
    "simple_rnn", slow=True, inputs=arrays(*SERIES), compressed=("rnn", "head"), looped=("rnn",)
)
def simple_rnn():
    return classifier(layers.SimpleRNN(6, name="rnn"))


@register(
    "rnn_of_a_cell", slow=True, inputs=arrays(*SERIES), compressed=("rnn", "head"), looped=("rnn",)
)
def rnn_of_a_cell():
    return classifier(layers.RNN(layers.LSTMCell(5, name="cell"), name="rnn"))


@register(
    "bidirectional",
    inputs=arrays(*SERIES),
    compressed=("both/forward_lstm", "both/backward_lstm", "head"),
    looped=("both/forward_lstm", "both/backward_lstm"),
    slow=True,
)
def bidirectional():
    return classifier(layers.Bidirectional(layers.LSTM(4, name="lstm"), name="both"))


@register(
    "stacked_sequences",
    inputs=arrays(*SERIES),
    compressed=("first", "second", "head"),
    looped=("first", "second"),
    left=("LayerNormalization",),
    slow=True,
)
def stacked_sequences():
    return classifier(
        layers.GRU(4, return_sequences=True, name="first"),
        layers.LayerNormalization(name="norm"),
        layers.LSTM(4, name="second"),
    )


@register("time_distributed", slow=True, inputs=arrays(*SERIES), compressed=("each/dense", "head"))
def time_distributed():
    return classifier(
        layers.TimeDistributed(layers.Dense(5, activation="relu", name="dense"), name="each"),
        layers.Flatten(name="flatten"),
    )


@register(
    "conv_lstm",
    inputs=arrays(3, 5, 5, 2),
    compressed=("conv_lstm", "head"),
    looped=("conv_lstm",),
    lost=("conv_lstm",),
    slow=True,
)
def conv_lstm():
    return classifier(
        layers.ConvLSTM2D(3, 3, name="conv_lstm"), layers.Flatten(name="flatten"),
        shape=(3, 5, 5, 2),
    )  # fmt: skip


@register("einsum_dense", slow=True, inputs=arrays(*SERIES), compressed=("einsum", "head"))
def einsum_dense():
    return classifier(
        layers.EinsumDense("abc,cd->abd", (6, 5), bias_axes="d", activation="relu", name="einsum"),
        layers.Flatten(name="flatten"),
    )


@register("embedding", slow=True, inputs=tokens(6, 11), compressed=("embedding", "conv", "head"))
def embedding():
    return classifier(
        layers.Embedding(11, 4, name="embedding"),
        layers.Conv1D(4, 3, activation="relu", name="conv"),
        layers.GlobalAveragePooling1D(name="pool"),
        shape=(6,),
        dtype="int32",
    )


@register(
    "attention",
    slow=True,
    inputs=arrays(*SERIES),
    compressed=(
        "attention/query", "attention/key", "attention/value", "attention/attention_output",
        "widen", "narrow", "head",
    ),
    left=("LayerNormalization",),
)  # fmt: skip
def attention():
    """One block of a transformer encoder."""
    inputs = keras.Input(SERIES)
    x = layers.LayerNormalization(name="norm1")(inputs)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.Add(name="join1")([inputs, x])
    y = layers.LayerNormalization(name="norm2")(x)
    y = layers.Dense(8, activation="gelu", name="widen")(y)
    y = layers.Dense(4, name="narrow")(y)
    x = layers.Add(name="join2")([x, y])
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return randomize(keras.Model(inputs, layers.Dense(NUM_CLASSES, name="head")(x)))


@register(
    "grouped_attention",
    inputs=arrays(*SERIES),
    compressed=(
        "attention/query", "attention/key", "attention/value", "attention/attention_output", "head",
    ),
    slow=True,
)  # fmt: skip
def grouped_attention():
    inputs = keras.Input(SERIES)
    x = layers.GroupQueryAttention(3, 4, 2, name="attention")(inputs, inputs)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return randomize(keras.Model(inputs, layers.Dense(NUM_CLASSES, name="head")(x)))
