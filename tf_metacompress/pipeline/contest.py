"""The second half of the main job: carry every policy through on the held-out model."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import keras

from tf_metacompress import baselines
from tf_metacompress.anatomy import describe
from tf_metacompress.deploy import export_litert
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.pipeline.architectures import HELD_OUT
from tf_metacompress.pipeline.candidates import (
    Row,
    candidate_row,
    few_examples,
    float_row,
    latency_ratios,
    representative,
    slug,
)
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.demo import (
    HELD_OUT_STAGE,
    DemoSettings,
    check_images,
    held_out_model,
)
from tf_metacompress.pipeline.outcome import Outcome
from tf_metacompress.pipeline.phi_card import Phi
from tf_metacompress.pipeline.report import REPORT_FILES, publish, versions
from tf_metacompress.pipeline.run_folder import STAGES, run_folder
from tf_metacompress.pipeline.stages import Announce, Stages
from tf_metacompress.pipeline.training import Training
from tf_metacompress.policy import Budget, Policy
from tf_metacompress.tasks import Task

ADAPTED = "Φ adapted"
OUTPUTS = {
    "model_float32.tflite": "float32.tflite",
    "model_float16.tflite": "float16.tflite",
    "model_int8.tflite": f"{slug(ADAPTED)}.tflite",
}


def candidate_policies(
    stages: Stages,
    compressor: MetaCompressor,
    model: keras.Model,
    data: Dataset,
    settings: DemoSettings,
    quiet: bool,
) -> dict[str, Policy]:
    """Makes the policies to compare, all within one budget.

    Args:
        stages: Where results are kept.
        compressor: The pretrained compressor.
        model: The held-out model.
        data: The data set; a few hundred training examples adapt Φ.
        settings: Budget, device and inner steps.
        quiet: Without progress bars.

    Returns:
        Name of the row to policy.
    """
    budget = Budget(size_ratio=settings.size_ratio)
    support = few_examples(data, settings.seed)
    task = Task(model, budget, settings.device, support=support)
    where = (model, budget, settings.device)
    makers: dict[str, Callable[[], Policy]] = {
        "uniform + int8": lambda: baselines.uniform(*where),
        "global magnitude + int8": lambda: baselines.global_magnitude(*where),
        "LAMP + int8": lambda: baselines.lamp(*where),
        "ERK + int8": lambda: baselines.erk(*where),
        "LAMP + int4": lambda: baselines.lamp(*where, weight_bits=4),
        "prior alone": lambda: MetaCompressor().propose(*where),
        "Φ zero-shot": lambda: compressor.propose(*where),
        ADAPTED: lambda: compressor.adapt(task, settings.inner_steps, quiet=quiet).policy,
    }
    return {
        name: stages.policy(f"policy-{slug(name)}", make, needs=(HELD_OUT_STAGE,))
        for name, make in makers.items()
    }


def compare_policies(
    stages: Stages,
    model: keras.Model,
    policies: dict[str, Policy],
    data: Dataset,
    settings: DemoSettings,
    quiet: bool,
) -> tuple[Row, ...]:
    """Carries every policy through, alike.

    Args:
        stages: Where results are kept.
        model: The held-out model.
        policies: Name of the row to policy.
        data: The data set.
        settings: Steps of fine-tuning.
        quiet: Without progress bars.

    Returns:
        The rows, the uncompressed model first.
    """
    tuning = Training(num_steps=settings.tuning_steps, learning_rate=1e-3, quiet=quiet)
    needs = {name: (HELD_OUT_STAGE, f"policy-{slug(name)}") for name in policies}
    return (
        float_row(stages, model, data, needs=(HELD_OUT_STAGE,)),
        *(
            candidate_row(stages, name, model, policy, data, tuning, needs=needs[name])
            for name, policy in policies.items()
        ),
    )


def _described(phi: Phi, data: Dataset, settings: DemoSettings) -> dict[str, object]:
    """Everything that the results depend on; another Φ makes all of them anew."""
    return {
        **asdict(settings),
        "phi": phi.sha256,
        "dataset": data.fingerprint(),
        "versions": versions(),
    }


def _float16_file(stages: Stages, model: keras.Model, data: Dataset) -> None:
    def save(model: keras.Model, path: Path) -> None:
        export_litert(model, path, mode="float16", representative_dataset=representative(data))

    stages.run("float16.tflite", lambda: model, save, Path, needs=(HELD_OUT_STAGE,))


def run_demo(
    data: Dataset,
    out: str | Path,
    settings: DemoSettings,
    *,
    announce: Announce = print,
    quiet: bool = False,
) -> Outcome:
    """Runs the main job and writes report.json, policy.json, policy.png and three .tflite files.

    Each file is written whole or not at all. An interrupted run continues from its last finished
    stage; a finished one is shown again at once.

    Args:
        data: The data set.
        out: Folder to write into.
        settings: How much of everything.
        announce: Called with a line when a stage begins and ends.
        quiet: Without progress bars.

    Returns:
        The closing table, and what was not gained.

    Raises:
        CorruptFileError: If the Φ of the package is damaged.
        ParityError: If the adapted file does not compute what Keras computes; its `report` is the
            outcome, and the folder keeps what it held.
    """
    check_images(data)
    compressor = MetaCompressor.pretrained()
    phi = Phi.from_card(compressor.card)
    with run_folder(out, (*OUTPUTS, *REPORT_FILES)) as folder:
        stages = Stages(folder / STAGES, _described(phi, data, settings), announce)
        model = held_out_model(stages, data, settings, quiet)
        policies = candidate_policies(stages, compressor, model, data, settings, quiet)
        rows = compare_policies(stages, model, policies, data, settings, quiet)
        _float16_file(stages, model, data)
        budget = f"{settings.size_ratio:.0%} of float32"
        outcome = Outcome(
            title=f"{data.name}, architecture {HELD_OUT[0]} held out, budget {budget}",
            rows=rows,
            chosen=ADAPTED,
            policy=policies[ADAPTED],
            infos=describe(model),
            latency=latency_ratios(stages, rows),
            device=settings.device,
            num_test=len(data.test[0]),
            size_ratio=settings.size_ratio,
            phi=phi,
        )
        publish(outcome, folder, OUTPUTS, stages, asdict(settings), data)
    return outcome
