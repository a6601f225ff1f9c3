"""A model and a data set from files, compressed into a folder."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from tf_metacompress.anatomy import describe, select_compressible
from tf_metacompress.atomic import check_writable
from tf_metacompress.errors import check_int, check_positive, invalid, wrong_type
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.pipeline.candidates import (
    Row,
    candidate_row,
    few_examples,
    float_row,
    latency_ratios,
    slug,
    try_int8,
)
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.findings import left_alone
from tf_metacompress.pipeline.model_file import check_fits, load_model
from tf_metacompress.pipeline.outcome import Outcome
from tf_metacompress.pipeline.report import REPORT_FILES, publish, versions
from tf_metacompress.pipeline.run_folder import STAGES, run_folder
from tf_metacompress.pipeline.stages import Announce, Stages
from tf_metacompress.pipeline.training import Training
from tf_metacompress.policy import Budget, LayerInfo, LayerPlan, Policy, device
from tf_metacompress.tasks import Task

INT8, COMPRESSED = "int8 alone", "compressed"
OUTPUTS = {
    "model_float32.tflite": "float32.tflite",
    "model_int8.tflite": f"{slug(COMPRESSED)}.tflite",
}


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """How to compress a model from a file.

    Attributes:
        size_ratio: Budget: gzip bytes as a share of float32's; None when `policy` is given.
        device: Device the policy is made for.
        tuning_steps: Steps of fine-tuning.
        learning_rate: Where its learning rate begins.
        inner_steps: Steps that adapt the policy.
        phi: File of a meta-trained compressor; empty for the one that ships.
        policy: File of a policy to carry out instead of finding one; empty for none.

    Raises:
        InvalidArgumentError: If a value is out of its range, or not exactly one of `size_ratio` and
            `policy` is given.
    """

    size_ratio: float | None = None
    device: str = "android-arm64"
    tuning_steps: int = 1000
    learning_rate: float = 1e-3
    inner_steps: int = 5
    phi: str = ""
    policy: str = ""

    def __post_init__(self) -> None:
        """Checks the values."""
        if (self.size_ratio is None) == (not self.policy):
            raise invalid(
                "Give either a size ratio or a policy.",
                size_ratio=self.size_ratio,
                policy=self.policy,
            )
        if self.size_ratio is not None:
            Budget(size_ratio=self.size_ratio)
        device(self.device)
        check_int("tuning_steps", self.tuning_steps, minimum=1)
        check_int("inner_steps", self.inner_steps, minimum=1)
        check_positive("learning_rate", self.learning_rate)


def compress_file(
    model_path: str | Path,
    data: Dataset,
    out: str | Path,
    settings: JobSettings,
    *,
    announce: Announce = print,
    quiet: bool = False,
) -> Outcome:
    """Compresses a model file to a budget and writes what a deployment needs.

    Writes model_int8.tflite, model_float32.tflite, policy.json, policy.png and report.json, each
    whole or not at all. A run that was interrupted continues from its last finished stage.

    Args:
        model_path: A .keras file of a classifier.
        data: What to fine-tune and test on.
        out: Folder to write into.
        settings: Budget and the rest.
        announce: Called with a line when a stage begins and ends.
        quiet: Without progress bars.

    Returns:
        The closing table, with rows for float32, int8 alone and compressed, and what was not
        gained.

    Raises:
        ParityError: If the compressed file does not compute what Keras computes; its `report` is
            the outcome, and the folder keeps what it held.
    """
    if not isinstance(data, Dataset):
        raise wrong_type("`data` must be a Dataset.", "Use load_dataset or load_npz.", data=data)
    check_writable(Path(out) / "report.json")
    model = load_model(model_path)
    infos = describe(model)
    select_compressible(infos)
    check_fits(model, data)
    described = _described(model_path, data, settings)
    with run_folder(out, (*OUTPUTS, *REPORT_FILES)) as folder:
        for line in left_alone(infos):
            announce(f"not compressed: {line}")
        stages = Stages(folder / STAGES, described, announce)
        try_int8(stages, model, data)
        policy = stages.policy("policy", lambda: _find_policy(model, infos, data, settings, quiet))
        rows = _rows(stages, model, policy, data, settings, quiet)
        outcome = Outcome(
            title=f"{model.name} on {data.name}, policy {policy.name or 'without a name'}",
            rows=rows,
            chosen=COMPRESSED,
            policy=policy,
            infos=infos,
            latency=latency_ratios(stages, rows),
            device=settings.device,
            num_test=len(data.test[0]),
            size_ratio=settings.size_ratio,
        )
        publish(outcome, folder, OUTPUTS, stages, asdict(settings), data)
    return outcome


def _described(model_path: str | Path, data: Dataset, settings: JobSettings) -> dict[str, object]:
    """Everything that the results depend on: files by their contents, not by their names."""
    files = {"model": model_path, "phi": settings.phi, "policy": settings.policy}
    hashes = {name: _file_hash(path) for name, path in files.items()}
    return {**asdict(settings), **hashes, "dataset": data.fingerprint(), "versions": versions()}


def _file_hash(path: str | Path) -> str:
    if not path:
        return ""
    if not Path(path).is_file():
        raise invalid("There is no such file.", path=str(path))
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _find_policy(
    model: keras.Model,
    infos: Sequence[LayerInfo],
    data: Dataset,
    settings: JobSettings,
    quiet: bool,
) -> Policy:
    if settings.policy:
        policy = Policy.load(settings.policy)
        policy.resolve(infos)
        return policy
    compressor = MetaCompressor.load(settings.phi) if settings.phi else MetaCompressor.pretrained()
    budget = Budget(size_ratio=settings.size_ratio)
    task = Task(model, budget, settings.device, support=few_examples(data, seed=0))
    return compressor.adapt(task, settings.inner_steps, quiet=quiet).policy


def _rows(
    stages: Stages,
    model: keras.Model,
    policy: Policy,
    data: Dataset,
    settings: JobSettings,
    quiet: bool,
) -> tuple[Row, ...]:
    infos = select_compressible(describe(model))
    int8 = Policy.from_plans([LayerPlan(i.name, weight_bits=8) for i in infos], name=INT8)
    tuning = Training(
        num_steps=settings.tuning_steps, learning_rate=settings.learning_rate, quiet=quiet
    )
    return (
        float_row(stages, model, data),
        candidate_row(stages, INT8, model, int8, data, tuning),
        candidate_row(stages, COMPRESSED, model, policy, data, tuning, needs=("policy",)),
    )
