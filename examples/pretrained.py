"""A model of your own, compressed by the Φ that ships with the package.

python examples/pretrained.py                            # scikit-learn's digits, no network
python examples/pretrained.py --dataset fashion_mnist    # a keras.datasets name
python examples/pretrained.py --model mine.keras --dataset mnist
"""

import argparse
import tempfile
from pathlib import Path

import keras

import tf_metacompress as tmc
from tf_metacompress.pipeline import load_dataset

layers = keras.layers


def train_one(path, data):
    """Stands in for a model of your own."""
    model = keras.Sequential(
        [
            keras.Input(data.input_shape),
            layers.Conv2D(16, 3, activation="relu", name="conv1"),
            layers.Conv2D(32, 3, activation="relu", name="conv2"),
            layers.Flatten(name="flatten"),
            layers.Dense(data.num_classes, activation="softmax", name="head"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*data.train, epochs=8, verbose=0)
    model.save(path)
    return path


parser = argparse.ArgumentParser()
parser.add_argument("--dataset", default="digits")
parser.add_argument("--model", help="a compiled .keras file; one is trained if not given")
arguments = parser.parse_args()
folder = Path(tempfile.mkdtemp())
data = load_dataset(arguments.dataset)
path = arguments.model or train_one(folder / "mine.keras", data)

# From here on it is the same for any compiled Keras 3 model and its data.
x, y = data.train
model = keras.models.load_model(path)
compressor = tmc.MetaCompressor.pretrained()
task = tmc.Task(model, tmc.Budget(size_ratio=0.1), "android-arm64", support=(x[:256], y[:256]))
policy = compressor.adapt(task).policy
print(compressor.explain(model, policy))
compression = tmc.callbacks.MetaCompress(policy=policy)
model.fit(x, y, epochs=8, callbacks=[compression], verbose=0)
path = folder / "mine.tflite"
print(tmc.export_litert(model, path, mode="int8", representative_dataset=x[:256]))
print(f"\n{path}: accuracy {model.evaluate(*data.test, verbose=0)[1]:.4f} in Keras")
