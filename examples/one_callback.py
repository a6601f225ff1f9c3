"""One callback in an ordinary training script: a digit classifier to a fifth of its size.

python examples/one_callback.py                          # scikit-learn's digits, no network
python examples/one_callback.py --dataset fashion_mnist  # a keras.datasets name
"""

import argparse
import tempfile
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

import tf_metacompress as tmc
from tf_metacompress.pipeline import load_dataset

layers = keras.layers


def small_cnn(shape, num_classes):
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(16, 3, activation="relu", name="conv1"),
            layers.Conv2D(32, 3, activation="relu", name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dense(num_classes, activation="softmax", name="head"),
        ]
    )


def accuracy(path, x, y):
    """Runs the file as a device would, with the runtime alone."""
    runtime = Interpreter(str(path))
    runtime.allocate_tensors()
    entry, result = runtime.get_input_details()[0], runtime.get_output_details()[0]
    correct = 0
    for image, label in zip(x, y, strict=True):
        runtime.set_tensor(entry["index"], image[None])
        runtime.invoke()
        correct += runtime.get_tensor(result["index"])[0].argmax() == label
    return correct / len(y)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size-ratio", type=float, default=0.2)
    arguments = parser.parse_args()
    data = load_dataset(arguments.dataset)
    (x, y), (x_test, y_test) = data.train, data.test

    model = small_cnn(data.input_shape, data.num_classes)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=arguments.epochs, verbose=0)
    folder = Path(tempfile.mkdtemp())
    before = tmc.export_litert(model, folder / "float32.tflite", representative_dataset=x[:200])

    few = np.random.default_rng(0).permutation(len(x))[:512]
    compression = tmc.callbacks.MetaCompress(
        tmc.Budget(size_ratio=arguments.size_ratio), support=(x[few], y[few])
    )
    model.fit(x, y, epochs=arguments.epochs, callbacks=[compression], verbose=0)
    after = tmc.export_litert(
        model, folder / "int8.tflite", mode="int8", representative_dataset=x[:200]
    )

    for report in (before, after):
        measured = accuracy(report.path, x_test, y_test)
        print(f"{report.mode:8s} {report.gzip_bytes:7,d} bytes after gzip, accuracy {measured:.4f}")


if __name__ == "__main__":
    main()
