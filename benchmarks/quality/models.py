"""The models: drawn from the families that Φ never learns from, trained once."""

import json
import math

import keras
import numpy as np

from tf_metacompress import baselines
from tf_metacompress.atomic import write_json
from tf_metacompress.deploy import export_litert
from tf_metacompress.errors import InfeasibleBudgetError, InvalidArgumentError
from tf_metacompress.pipeline.candidates import litert_accuracy, representative
from tf_metacompress.pipeline.datasets import Dataset, load_dataset, load_npz
from tf_metacompress.pipeline.stages import save_model
from tf_metacompress.pipeline.training import Training, train
from tf_metacompress.pipeline.zoo import META_TEST_FAMILIES, build
from tf_metacompress.policy import Budget

from .cases import DEVICES, SMALL_REACHES, ModelSpec

NUM_SUPPORT = 512
_ROOM = 0.95
_FEWEST_WEIGHTS = 1_500


def load_data(path):
    """The data set of the benchmark.

    Args:
        path: An .npz file, or None for Fashion-MNIST, or digits where that cannot be had.

    Returns:
        A `Dataset`.
    """
    if path is not None:
        return load_npz(path)
    try:
        return halved(load_dataset("fashion_mnist"))
    except InvalidArgumentError as error:
        print(f"Using digits, which Φ may have learned from: {error}", flush=True)
        return load_dataset("digits")


def halved(data):
    """Averages 28x28 images over 2x2 pixels and pads them to 16x16.

    A model of the zoo has bounded work. On 28x28 pixels that leaves it so few weights a channel
    that scales, biases and operators alone are more than 5 % of its float32 file.

    Args:
        data: A data set of images.

    Returns:
        The data set with smaller images.
    """
    x_train, x_test = (_smaller(x) for x in (data.train[0], data.test[0]))
    return Dataset(f"{data.name}-16", (x_train, data.train[1]), (x_test, data.test[1]))


def _smaller(x):
    half = x.shape[1] // 2
    x = x.reshape(len(x), half, 2, half, 2, x.shape[-1]).mean(axis=(2, 4), dtype=np.float32)
    return np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def split_off(data, seed):
    """Takes a tenth of the training examples, at most 5,000, away for validation.

    Args:
        data: The data set.
        seed: Decides which.

    Returns:
        The data set with fewer training examples, and the validation pair.
    """
    x, y = data.train
    order = np.random.default_rng([seed, 7]).permutation(len(x))
    count = min(len(x) // 10, 5000)
    held, kept = order[:count], order[count:]
    return Dataset(data.name, (x[kept], y[kept]), data.test), (x[held], y[held])


def halves(data, validation, seed):
    """What every method may look at: 512 training and 512 validation examples.

    Args:
        data: The data set without the validation examples.
        validation: These.
        seed: Decides which.

    Returns:
        Support and query pairs.
    """
    x, y = data.train
    rows = np.random.default_rng([seed, 8]).permutation(len(x))[:NUM_SUPPORT]
    query = tuple(part[:NUM_SUPPORT] for part in validation)
    return (x[rows], y[rows]), query


def draw_specs(plan, data, file):
    """Draws architectures and notes the smallest budget that each can meet.

    Uniform sparsity with 4 bits must reach the budget on every device before training: files of
    small models are mostly overhead, which nothing can compress. Of each family and seed all models
    but the last of several are those that become the smallest; that one reaches 10 % only.

    Args:
        plan: How much.
        data: Shape and number of classes.
        file: JSON file that keeps the answer.

    Returns:
        The models, both families of a seed in turns.
    """
    if file.exists():
        return [ModelSpec(**entry) for entry in json.loads(file.read_text("utf-8"))]
    specs = []
    for family in META_TEST_FAMILIES:
        for place, (smallest, build_seed) in enumerate(_draw(family, plan, data)):
            seed = plan.seeds[place % len(plan.seeds)]
            specs.append(ModelSpec(family, build_seed, seed, smallest))
    specs.sort(key=lambda spec: (spec.seed, spec.smallest))
    write_json(file, [vars(spec) for spec in specs])
    return specs


def _draw(family, plan, data):
    """Smallest ratios and seeds of the models of a family."""
    num_small = len(plan.seeds) * int(plan.models_per_family > 1)
    num_large = len(plan.seeds) * plan.models_per_family - num_small
    reached = [(_smallest(family, seed, plan, data), seed) for seed in range(plan.draws)]
    large = sorted(found for found in reached if found[0] < SMALL_REACHES)[:num_large]
    small = [found for found in reached if found[0] == SMALL_REACHES][:num_small]
    if len(large) + len(small) < num_large + num_small:
        raise ValueError(f"Too few {family} models of {plan.draws} can become small enough.")
    return large + small


def _smallest(family, build_seed, plan, data):
    """The smallest ratio of the plan that a model reaches, infinite when it reaches none."""
    keras.backend.clear_session()
    model = build(family, data.input_shape, data.num_classes, build_seed)
    for ratio in sorted(plan.ratios):
        if model.count_params() >= _FEWEST_WEIGHTS / ratio and _reaches(model, ratio, plan):
            return ratio
    return math.inf


def _reaches(model, ratio, plan):
    budget = Budget(size_ratio=_ROOM * ratio)
    try:
        for name in plan.devices:
            baselines.uniform(model, budget, DEVICES[name], weight_bits=4)
    except InfeasibleBudgetError:
        return False
    return True


def trained(spec, plan, data, folder):
    """A trained model and what its float32 file measures, made once.

    Args:
        spec: Which.
        plan: Steps of training.
        data: The data set without the validation examples.
        folder: Where models are kept.

    Returns:
        The model, and accuracy and gzip bytes of its float32 file.
    """
    path, note = folder / f"{spec.name}.keras", folder / f"{spec.name}.json"
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(spec.seed)
        model = build(spec.family, data.input_shape, data.num_classes, spec.build_seed)
        training = Training(num_steps=plan.train_steps, learning_rate=3e-3, quiet=True)
        train(model, data.train, training, description=spec.name)
        save_model(model, path)
        tflite = folder / f"{spec.name}.tflite"
        report = export_litert(model, tflite, representative_dataset=representative(data))
        found = {
            "accuracy": litert_accuracy(tflite, *data.test),
            "gzip_bytes": report.gzip_bytes,
            "parameters": model.count_params(),
        }
        write_json(note, found)
    model = keras.models.load_model(path, compile=False)
    return model, json.loads(note.read_text("utf-8"))
