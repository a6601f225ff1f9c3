"""The reference models of MLPerf Tiny, untrained, after github.com/mlcommons/tiny (Apache-2.0)."""

import keras

layers = keras.layers


def _norm_relu(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization()(x))


def resnet8() -> keras.Model:
    """Image classification: ResNet-8 for CIFAR-10."""
    inputs = keras.Input((32, 32, 3))
    x = _norm_relu(layers.Conv2D(16, 3, padding="same")(inputs))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = _norm_relu(layers.Conv2D(filters, 3, strides, padding="same")(x))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        if strides > 1:
            x = layers.Conv2D(filters, 1, strides, padding="same")(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x), name="resnet8")


def ds_cnn() -> keras.Model:
    """Keyword spotting: DS-CNN on 49 × 10 cepstral coefficients."""
    inputs = keras.Input((49, 10, 1))
    x = layers.Conv2D(64, (10, 4), strides=2, padding="same")(inputs)
    x = layers.Dropout(0.2)(_norm_relu(x))
    for _ in range(4):
        x = _norm_relu(layers.DepthwiseConv2D(3, padding="same")(x))
        x = _norm_relu(layers.Conv2D(64, 1)(x))
    x = layers.AveragePooling2D((25, 5))(layers.Dropout(0.4)(x))
    outputs = layers.Dense(12, activation="softmax")(layers.Flatten()(x))
    return keras.Model(inputs, outputs, name="ds_cnn")


def visual_wake_words() -> keras.Model:
    """Person detection: MobileNetV1 of a quarter width on 96 × 96 pictures."""
    inputs = keras.Input((96, 96, 3))
    x = _norm_relu(layers.Conv2D(8, 3, strides=2, padding="same")(inputs))
    steps = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5]
    for filters, strides in [*steps, (256, 2), (256, 1)]:
        x = layers.DepthwiseConv2D(3, strides=strides, padding="same")(x)
        x = _norm_relu(layers.Conv2D(filters, 1)(_norm_relu(x)))
    x = layers.Flatten()(layers.AveragePooling2D(3)(x))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x), name="vww")


def anomaly_autoencoder() -> keras.Model:
    """Anomaly detection: dense autoencoder on 640 values of a spectrogram."""
    inputs = keras.Input((640,))
    x = inputs
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = _norm_relu(layers.Dense(width)(x))
    return keras.Model(inputs, layers.Dense(640)(x), name="anomaly_autoencoder")


def streaming_wake_word() -> keras.Model:
    """Streaming wake word: one-dimensional depthwise-separable net on 30 frames."""
    inputs = keras.Input((30, 40))
    x = inputs
    for filters, size in ((128, 3), (128, 5), (128, 10), (32, 15)):
        x = layers.DepthwiseConv1D(size, padding="same" if size > 3 else "valid")(x)
        x = _norm_relu(layers.Conv1D(filters, 1)(x))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x), name="wake_word")


REFERENCE_NETS = {
    "MLPerf Tiny ResNet-8": resnet8,
    "MLPerf Tiny DS-CNN": ds_cnn,
    "MLPerf Tiny MobileNetV1-0.25": visual_wake_words,
    "MLPerf Tiny autoencoder": anomaly_autoencoder,
    "MLPerf Tiny wake word": streaming_wake_word,
}
