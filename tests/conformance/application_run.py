"""One model the whole way, in a process of its own: compress, fit, save, load, export, parity.

Prints one line of JSON. `applications.py` starts it.
"""

import argparse
import collections
import json
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import tf_metacompress as tmc
from tests.conformance.reference_nets import REFERENCE_NETS
from tf_metacompress.anatomy import classification_loss
from tf_metacompress.deploy import ExportReport, LitertModel

NUM_CLASSES = 10
BATCH, REAL_BATCH = 96, 64
EPOCHS, SETTLING_EPOCHS = 20, 8
NUM_CALIBRATION, NUM_TEST = 32, 1000
SMALLEST = {"InceptionV3": 75, "Xception": 71}


def make_model(name: str) -> keras.Model:
    """An untrained model whose statistics settle within a few steps."""
    if name in REFERENCE_NETS:
        model = REFERENCE_NETS[name]()
    else:
        size = SMALLEST.get(name, 32)
        make = getattr(keras.applications, name)
        model = make(input_shape=(size, size, 3), weights=None, classes=NUM_CLASSES)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.5
    return model


def pictures(model: keras.Model, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random patterns, one a class, under noise, in the range the model was made for."""
    generator = np.random.default_rng(0)
    shape = model.input_shape[1:]
    is_image = len(shape) == 3
    coarse = (4, 4, shape[-1]) if is_image else shape
    patterns = generator.normal(size=(NUM_CLASSES, *coarse)).astype("float32")
    if is_image:
        patterns = np.asarray(keras.ops.image.resize(patterns, shape[:2]))
    labels = np.arange(count) % min(NUM_CLASSES, model.output_shape[-1])
    values = patterns[labels] + 0.5 * generator.normal(size=(count, *shape)).astype("float32")
    rescales = any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)
    return (values * 64.0 + 128.0 if rescales else values).astype("float32"), labels


class Data:
    """What a model is fitted and measured on; made up unless a file names real data."""

    def __init__(self, model: keras.Model, path: str | None) -> None:
        self.is_real = path is not None
        if path is None:
            self.x, self.y = pictures(model, BATCH)
            self.x_test, self.y_test = self.x, self.y
            if model.output_shape[1:] == model.input_shape[1:]:
                self.y = self.y_test = self.x
            return
        with np.load(path) as arrays:
            self.x, self.y = arrays["x"].astype("float32"), arrays["y"].ravel()
            self.x_test = arrays["x_test"].astype("float32")[:NUM_TEST]
            self.y_test = arrays["y_test"].ravel()[:NUM_TEST]


def loss_of(model: keras.Model) -> keras.losses.Loss:
    if model.output_shape[1:] == model.input_shape[1:]:
        return keras.losses.MeanSquaredError()
    return classification_loss(model)


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(outputs.argmax(axis=-1) == labels))


class Stages:
    """Names the stage that is under way, so that a failure says where it happened."""

    def __init__(self, result: dict) -> None:
        self.result, self.name, self.start = result, "", time.monotonic()

    def begin(self, name: str) -> None:
        now = time.monotonic()
        if self.name:
            self.result["seconds"][self.name] = round(now - self.start, 1)
        self.name, self.start = name, now


def run(model: keras.Model, data: Data, arguments: argparse.Namespace, result: dict) -> None:
    stages = Stages(result)
    try:
        whole_way(model, data, arguments, result, stages)
    except Exception as error:
        reason = " ".join(str(error).split())[:400]
        result["failure"] = f"{stages.name}: {type(error).__name__}: {reason}"
    stages.begin("end")


def whole_way(
    model: keras.Model,
    data: Data,
    arguments: argparse.Namespace,
    result: dict,
    stages: Stages,
) -> None:
    stages.begin("describe")
    infos = tmc.describe(model)
    left = collections.Counter(info.kind for info in infos if not info.compressible)
    result["params"] = model.count_params()
    result["compressible"] = sum(info.compressible for info in infos)
    result["left_float"] = dict(left)
    if data.is_real:
        result["accuracy_float"] = accuracy(model.predict(data.x_test, verbose=0), data.y_test)
    stages.begin("compress")
    policy = tmc.Policy([tmc.Rule("*", sparsity=arguments.sparsity, weight_bits=8)])
    student = tmc.compress(model, policy)
    stages.begin("fit")
    history = fit(student, model, data, arguments)
    result["loss"] = history.history["loss"][-1]
    result["fit"] = bool(np.isfinite(history.history["loss"]).all())
    with tempfile.TemporaryDirectory() as folder:
        stages.begin("save and load")
        x = data.x[:16]
        student.save(Path(folder, "student.keras"))
        again = keras.models.load_model(Path(folder, "student.keras"))
        difference = float(np.abs(np.asarray(again(x)) - np.asarray(student(x))).max())
        result["reload_difference"] = difference
        stages.begin("finalize")
        final = tmc.finalize(again)
        stages.begin("export")
        path = Path(folder, "model.tflite")
        export(final, path, data, result)


def fit(
    student: keras.Model, model: keras.Model, data: Data, arguments: argparse.Namespace
) -> keras.callbacks.History:
    """Trains; made-up data until the net knows them, then once more for its statistics alone.

    An untrained net is chaotic: 0.1 % of noise on the pictures changed the outputs of one by 23 %.
    So is one whose statistics come from few values, hence all pictures in one batch.
    """
    if data.is_real:
        student.compile(keras.optimizers.Adam(3e-4), loss_of(model))
        half = max(len(data.x) * arguments.epochs // REAL_BATCH // 2, 1)
        pruning = tmc.callbacks.PruningSchedule(end_step=half)
        return student.fit(
            data.x, data.y, REAL_BATCH, arguments.epochs, verbose=0, callbacks=[pruning]
        )
    student.compile(keras.optimizers.Adam(1e-3), loss_of(model))
    student.fit(data.x, data.y, BATCH, EPOCHS, verbose=0)
    student.optimizer.learning_rate.assign(1e-7)
    return student.fit(data.x, data.y, BATCH, SETTLING_EPOCHS, verbose=0)


def export(final: keras.Model, path: Path, data: Data, result: dict) -> None:
    samples = data.x[np.linspace(0, len(data.x) - 1, NUM_CALIBRATION).astype(int)]
    result["rounding_error"] = rounding_error(final, samples)
    try:
        report = tmc.export_litert(final, path, mode="int8", representative_dataset=samples)
    except tmc.errors.ParityError as error:
        note_report(error.report, result)
        raise
    note_report(report, result)
    if data.is_real:
        outputs = next(iter(LitertModel.open(path).run(data.x_test).values()))
        result["accuracy_int8"] = accuracy(outputs, data.y_test)


def rounding_error(model: keras.Model, samples: np.ndarray) -> float:
    """How far the outputs in float32 move when nothing but the inputs is rounded to 8 bits.

    More than a few percent means that the net itself magnifies any rounding, as untrained ones may.
    """
    low, high = samples.min(), samples.max()
    step = (high - low) / 255
    rounded = (np.round((samples - low) / step) * step + low).astype("float32")
    exact, moved = np.asarray(model(samples)), np.asarray(model(rounded))
    return float(np.sqrt(np.mean((moved - exact) ** 2)) / np.sqrt(np.mean(exact**2)))


def note_report(report: ExportReport, result: dict) -> None:
    float_bytes = 4 * result["params"]
    result["parity_error"] = report.parity.relative_error
    result["agreement"] = report.parity.worst.agreement
    result["file_bytes"] = report.file_bytes
    result["gzip_bytes"] = report.gzip_bytes
    result["size_ratio"] = report.file_bytes / float_bytes
    result["gzip_ratio"] = report.gzip_bytes / float_bytes
    result["nonzero_share"] = report.nonzero_share
    result["not_found"] = list(report.layers_not_found)
    stored = collections.Counter(report.stored_types.values())
    result["stored"] = dict(stored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--sparsity", type=float, default=0.5)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    result = {"model": arguments.name, "failure": None, "seconds": {}}
    path = arguments.model
    model = make_model(arguments.name) if path is None else keras.models.load_model(path)
    result["input"] = list(model.input_shape[1:])
    run(model, Data(model, arguments.data), arguments, result)
    sys.stdout.write(f"\n{json.dumps(result)}\n")


if __name__ == "__main__":
    main()
