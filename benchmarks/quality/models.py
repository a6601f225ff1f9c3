"""The models: drawn from the families that Φ never learns from, trained once."""

import json

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

from .cases import DEVICES, ModelSpec

NUM_SUPPORT = 512
_MOST_DRAWS = 200


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
        return load_dataset("fashion_mnist")
    except InvalidArgumentError as error:
        print(f"Using digits, which Φ may have learned from: {error}", flush=True)
        return load_dataset("digits")


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
    """Draws architectures for which every budget can be met, and remembers them.

    Uniform sparsity with 4 bits must reach the smallest ratio on every device before training:
    files of small models are mostly overhead, which nothing can compress.

    Args:
        plan: How much.
        data: Shape and number of classes.
        file: JSON file that keeps the answer.

    Returns:
        The models, both families of a seed in turns.
    """
    if file.exists():
        return [ModelSpec(**entry) for entry in json.loads(file.read_text("utf-8"))]
    wanted = plan.models_per_family * len(plan.seeds)
    found = {
        family: [s for s, _ in zip(_feasible(family, plan, data), range(wanted), strict=False)]
        for family in META_TEST_FAMILIES
    }
    specs = [
        ModelSpec(family, found[family][s * plan.models_per_family + i], seed)
        for s, seed in enumerate(plan.seeds)
        for i in range(plan.models_per_family)
        for family in META_TEST_FAMILIES
    ]
    write_json(file, [vars(spec) for spec in specs])
    return specs


def _feasible(family, plan, data):
    budget = Budget(size_ratio=0.95 * min(plan.ratios))
    for seed in range(_MOST_DRAWS):
        model = build(family, data.input_shape, data.num_classes, seed)
        try:
            for name in plan.devices:
                baselines.uniform(model, budget, DEVICES[name], weight_bits=4)
        except InfeasibleBudgetError:
            continue
        finally:
            keras.backend.clear_session()
        yield seed
    raise SystemExit(f"No {family} of {_MOST_DRAWS} can become as small as {budget.size_ratio}.")


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
