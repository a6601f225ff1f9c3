"""The two reference models of MLPerf Tiny, their files, and which examples serve for what.

Paper: Banbury et al. 2021, "MLPerf Tiny Benchmark", arXiv:2106.07597.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from tf_metacompress.deploy import LitertModel, measure_sizes
from tf_metacompress.pipeline.model_file import load_model

NUM_FOLDS = 5
CHOICE_IMAGES = 2_000
CHOICE_SAMPLES = 100
_SEED = 0


@dataclass(frozen=True)
class Split:
    """Examples to train on, to choose the budget by, and to test on; no example is in two.

    Attributes:
        train: Inputs and class indices.
        choice: The same, seen by no training.
        test: The same, neither trained on nor chosen by.
    """

    train: tuple
    choice: tuple
    test: tuple


@dataclass(frozen=True)
class Reference:
    """A trained model to compress.

    Attributes:
        name: Such as "ResNet-8".
        target: Accuracy that a file must reach.
        model_path: The trained Keras model.
        file: The reference .tflite file in int8.
        splits: One split, or one a fold of cross-validation.
        caveat: What the data lack, for the table.
    """

    name: str
    target: float
    model_path: Path
    file: Path
    splits: tuple
    caveat: str

    @cached_property
    def model(self):
        """The trained Keras model."""
        return load_model(self.model_path)

    def measured(self):
        """Accuracy and sizes of the reference file, on the same examples as all rows."""
        sizes = measure_sizes(self.file.read_bytes())
        return {
            "file_bytes": sizes.file_bytes,
            "gzip_bytes": sizes.gzip_bytes,
            **score(self.splits, [self.file] * len(self.splits)),
            "float_accuracy": _float_accuracy(self.model, self.splits),
        }


def resnet(folder, cifar):
    """ResNet-8 on CIFAR-10.

    Args:
        folder: Holds pretrainedResnet.keras and pretrainedResnet_quant.tflite.
        cifar: An .npz file of x_train, y_train, x_test, y_test.

    Returns:
        The reference.
    """
    folder = Path(folder)
    with np.load(cifar) as data:
        train, test = (
            (data[f"x_{part}"].astype("float32"), data[f"y_{part}"].astype("int64").ravel())
            for part in ("train", "test")
        )
    order = np.random.default_rng(_SEED).permutation(len(test[1]))
    choice, rest = order[:CHOICE_IMAGES], order[CHOICE_IMAGES:]
    return Reference(
        name="ResNet-8",
        target=0.85,
        model_path=folder / "pretrainedResnet.keras",
        file=folder / "pretrainedResnet_quant.tflite",
        splits=(Split(train, *(tuple(part[rows] for part in test) for rows in (choice, rest))),),
        caveat=(
            f"Fine-tuned on {len(train[1]):,} training images of CIFAR-10, which the reference "
            f"model has seen before. Budgets are chosen on {len(choice):,} test images; the "
            f"column “others” is the remaining {len(rest):,}."
        ),
    )


def keyword_spotter(folder):
    """DS-CNN on the 1,000 official samples, in five folds, since there are no others.

    Args:
        folder: Holds kws_ref_model.keras, kws_ref_model.tflite and kws01_mfcc_int8.npz.

    Returns:
        The reference.
    """
    folder = Path(folder)
    with np.load(folder / "kws01_mfcc_int8.npz") as data:
        zero_point, scale = data["input_zero_point"], data["input_scale"]
        x = (data["x"].astype("float32") - np.float32(zero_point)) * np.float32(scale)
        y = data["y"].astype("int64")
    return Reference(
        name="DS-CNN",
        target=0.90,
        model_path=folder / "kws_ref_model.keras",
        file=folder / "kws_ref_model.tflite",
        splits=tuple(folds(x, y, NUM_FOLDS, CHOICE_SAMPLES)),
        caveat=(
            f"There are {len(y):,} official samples and no training data: five-fold "
            "cross-validation, each file fine-tuned on 700 of them, which the reference model has "
            f"never seen, and tested on 200 others; accuracies are over all {len(y):,}, sizes of "
            f"the largest of the five files. Budgets are chosen on {CHOICE_SAMPLES} more samples "
            "a fold."
        ),
    )


def folds(x, y, count, num_choice):
    """Cuts examples into folds with every class in each.

    Args:
        x: Inputs.
        y: Class indices.
        count: How many folds.
        num_choice: Examples to choose by, taken from what is not tested on.

    Yields:
        A `Split` a fold; each example is tested on once.
    """
    generator = np.random.default_rng(_SEED)
    order = generator.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    for fold in range(count):
        test, others = order[fold::count], np.delete(order, np.s_[fold::count])
        others = generator.permutation(others)
        parts = others[num_choice:], others[:num_choice], test
        yield Split(*((x[rows], y[rows]) for rows in parts))


def score(splits, files):
    """Accuracy of .tflite files under LiteRT.

    Args:
        splits: The splits.
        files: A file for each.

    Returns:
        Accuracy on the examples to choose by, on those tested on, and on all of both.
    """
    found = {"choice": [], "test": []}
    for split, file in zip(splits, files, strict=True):
        model = LitertModel.open(file, trusted=True)
        for part, hits in found.items():
            x, y = getattr(split, part)
            hits.append(model.predict(x).argmax(axis=-1) == y)
    return _means({part: np.concatenate(hits) for part, hits in found.items()}, len(splits))


def _means(hits, num_splits):
    means = {f"{part}_accuracy": float(np.mean(right)) for part, right in hits.items()}
    # The choice examples of a fold are test examples of another one, so they count once.
    every = np.concatenate(list(hits.values())) if num_splits == 1 else hits["test"]
    return {**means, "accuracy": float(np.mean(every)), "num_tested": len(every)}


def _float_accuracy(model: keras.Model, splits):
    hits = {part: [] for part in ("choice", "test")}
    for split in splits:
        for part, right in hits.items():
            x, y = getattr(split, part)
            right.append(model.predict(x, batch_size=256, verbose=0).argmax(axis=-1) == y)
    joined = {part: np.concatenate(right) for part, right in hits.items()}
    return _means(joined, len(splits))["accuracy"]
