"""A model and a data set from files, compressed into a folder."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from tf_metacompress.anatomy import check_keras_model, compressible_layers
from tf_metacompress.atomic import check_writable, write_bytes
from tf_metacompress.errors import CorruptFileError, UnsupportedModelError, invalid
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.pipeline.candidates import (
    Row,
    candidate_row,
    few_examples,
    float_row,
    latency_ratios,
)
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.report import draw_policy, print_table, write_report
from tf_metacompress.pipeline.stages import Announce, Stages
from tf_metacompress.pipeline.training import Training
from tf_metacompress.policy import Budget, LayerPlan, Policy
from tf_metacompress.tasks import Task


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """How to compress a model from a file.

    Attributes:
        size_ratio: Budget: gzip bytes as a share of float32's.
        device: Device the policy is made for.
        tuning_steps: Steps of fine-tuning.
        learning_rate: Where its learning rate begins.
        inner_steps: Steps that adapt the policy.
        phi: File of a meta-trained compressor; empty for the untrained one.
    """

    size_ratio: float
    device: str = "android-arm64"
    tuning_steps: int = 1000
    learning_rate: float = 1e-3
    inner_steps: int = 5
    phi: str = ""


def load_model(path: str | Path) -> keras.Model:
    """Reads a Keras model from a file.

    Args:
        path: A .keras file.

    Returns:
        The model.

    Raises:
        CorruptFileError: If it is not a readable Keras 3 file.
        InvalidArgumentError: If there is no such file.
    """
    if not Path(path).is_file():
        raise invalid("There is no such model file.", path=str(path))
    try:
        return keras.models.load_model(path)
    except (ValueError, TypeError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise CorruptFileError(
            f"Keras cannot read this model: {reason} Received: path={str(path)!r}. "
            "Save it with model.save('model.keras') from Keras 3."
        ) from error


def check_fits(model: keras.Model, data: Dataset) -> None:
    """Raises unless a data set fits a classifier.

    Args:
        model: The classifier.
        data: The data set.

    Raises:
        UnsupportedModelError: For a model with several inputs or outputs.
        InvalidArgumentError: When the shapes or the labels do not fit.
    """
    check_keras_model(model)
    shapes = (model.input_shape, model.output_shape)
    if not all(isinstance(shape, tuple) for shape in shapes):
        raise UnsupportedModelError(
            "The command line compresses models with one input and one output. "
            f"Received: input_shape={shapes[0]}, output_shape={shapes[1]}. "
            "Use the MetaCompress callback in Python."
        )
    expected = shapes[0][1:]
    pairs = zip(expected, data.input_shape, strict=False)
    if len(expected) != len(data.input_shape) or any(e not in (None, n) for e, n in pairs):
        raise invalid(
            "The inputs of the data set must have the shape that the model takes.",
            model_input=shapes[0],
            data_input=(None, *data.input_shape),
        )
    if shapes[1][-1] < data.num_classes:
        raise invalid(
            "The labels of the data set must be below the number of the model's outputs.",
            largest_label=data.num_classes - 1,
            outputs=shapes[1][-1],
        )


def _find_policy(model: keras.Model, data: Dataset, settings: JobSettings) -> Policy:
    compressor = MetaCompressor.load(settings.phi) if settings.phi else MetaCompressor()
    budget = Budget(size_ratio=settings.size_ratio)
    task = Task(model, budget, settings.device, support=few_examples(data, seed=0))
    return compressor.adapt(task, settings.inner_steps).policy


def compress_file(
    model_path: str | Path,
    data: Dataset,
    out: str | Path,
    settings: JobSettings,
    *,
    announce: Announce = print,
    quiet: bool = False,
) -> list[Row]:
    """Compresses a model file to a budget and writes what a deployment needs.

    Writes model_int8.tflite, model_float32.tflite, policy.json, policy.png and report.json, each
    whole or not at all. A run that was interrupted continues from its last finished stage.

    Args:
        model_path: A .keras file of a classifier.
        data: What to fine-tune and test on.
        out: Folder to write into.
        settings: Budget and the rest.
        announce: Called with a line a stage.
        quiet: Without progress bars.

    Returns:
        The rows of the closing table: float32, int8 alone, and compressed.
    """
    out = Path(out)
    check_writable(out / "report.json")
    model = load_model(model_path)
    check_fits(model, data)
    digest = hashlib.sha256(Path(model_path).read_bytes()).hexdigest()
    described = {**asdict(settings), "model_sha256": digest, "dataset": data.fingerprint()}
    stages = Stages(out / "stages", described, announce)
    policy = stages.policy("policy", lambda: _find_policy(model, data, settings))
    infos = compressible_layers(model)
    int8 = Policy.from_plans([LayerPlan(i.name, weight_bits=8) for i in infos], name="int8 alone")
    tuning = Training(
        num_steps=settings.tuning_steps, learning_rate=settings.learning_rate, quiet=quiet
    )
    rows = [
        float_row(stages, model, data),
        candidate_row(stages, "int8 alone", model, int8, data, tuning),
        candidate_row(stages, "compressed", model, policy, data, tuning),
    ]
    latency = latency_ratios(stages, rows)
    policy.save(out / "policy.json")
    for name, row in (("float32", rows[0]), ("int8", rows[2])):
        write_bytes(out / f"model_{name}.tflite", Path(row.path).read_bytes())
    title = f"{model.name} at {settings.size_ratio:.0%} of float32"
    draw_policy(out / "policy.png", policy, infos, rows, title)
    write_report(out / "report.json", rows, latency, described)
    print_table(rows, latency, title)
    return rows
