"""The main job: learn a policy on four architectures, judge it on a fifth."""

from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from tf_metacompress import baselines
from tf_metacompress.anatomy import compressible_layers
from tf_metacompress.atomic import check_writable, write_bytes
from tf_metacompress.deploy import export_litert
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.pipeline.architectures import HELD_OUT, TO_LEARN_FROM
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
from tf_metacompress.pipeline.training import Training, train
from tf_metacompress.policy import Budget, Policy
from tf_metacompress.tasks import ClassSubset, Contrast, Noise, Rotation, Task, Variant, split

VARIANTS: dict[str, Variant] = {
    "classes": ClassSubset(num_ways=6),
    "rotation": Rotation(degrees=20.0),
    "noise": Noise(stddev=0.15),
    "contrast": Contrast(lower=0.5, upper=0.8),
}
ADAPTED = "Φ adapted"
TASK_BUDGETS = (("android-arm64", 0.15), ("cortex-m", 0.1), ("x86-host", 0.07))


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """How much of everything the demo does.

    Attributes:
        size_ratio: Budget of the held-out model: gzip bytes as a share of float32's.
        device: Device the policies are made for.
        train_steps: Steps that train each model.
        tuning_steps: Steps that fine-tune each compressed model.
        meta_steps: Meta-steps of Φ.
        inner_steps: Steps that adapt Φ to the held-out model.
        seed: Seed of everything.
    """

    size_ratio: float = 0.1
    device: str = "android-arm64"
    train_steps: int = 300
    tuning_steps: int = 400
    meta_steps: int = 50
    inner_steps: int = 5
    seed: int = 0


def _zoo_model(
    name: str, variant: str, data: Dataset, settings: DemoSettings, quiet: bool
) -> keras.Model:
    x, y = VARIANTS[variant](*data.train, settings.seed)
    keras.utils.set_random_seed(settings.seed)
    model = TO_LEARN_FROM[name](data.input_shape, data.num_classes)
    return train(
        model,
        (x, y),
        Training(num_steps=settings.train_steps, learning_rate=3e-3, quiet=quiet),
        description=f"{name} on {variant}",
    )


def build_tasks(stages: Stages, data: Dataset, settings: DemoSettings, quiet: bool) -> list[Task]:
    """Trains the models to learn from, each on two variants of the data.

    Args:
        stages: Where results are kept.
        data: The data set.
        settings: How much.
        quiet: Without progress bars.

    Returns:
        For each trained model one task a budget and device.
    """
    tasks = []
    names = list(VARIANTS)
    for index, name in enumerate(TO_LEARN_FROM):
        for variant in (names[index % len(names)], names[(index + 1) % len(names)]):
            model = stages.model(
                f"zoo-{name}-{variant}",
                lambda n=name, v=variant: _zoo_model(n, v, data, settings, quiet),
            )
            x, y = VARIANTS[variant](*data.train, settings.seed)
            support, query = split(x, y, 0.5, settings.seed)
            tasks += [
                Task(
                    model,
                    Budget(size_ratio=ratio),
                    device,
                    support=support,
                    query=query,
                    loss="sparse_categorical_crossentropy",
                    name=f"{name} on {variant}, {device}, {ratio:.0%}",
                )
                for device, ratio in TASK_BUDGETS
            ]
    return tasks


def learn(stages: Stages, data: Dataset, settings: DemoSettings, quiet: bool) -> MetaCompressor:
    """Meta-trains Φ.

    Args:
        stages: Where results are kept.
        data: The data set.
        settings: How much.
        quiet: Without progress bars.

    Returns:
        The trained compressor.
    """

    def make() -> MetaCompressor:
        compressor = MetaCompressor(seed=settings.seed)
        compressor.fit(build_tasks(stages, data, settings, quiet), settings.meta_steps, quiet=quiet)
        return compressor

    return stages.run(
        "phi.npz", make, lambda compressor, path: compressor.save(path), MetaCompressor.load
    )


def held_out_model(
    stages: Stages, data: Dataset, settings: DemoSettings, quiet: bool
) -> keras.Model:
    """Trains the architecture that Φ has not seen, on all classes.

    Args:
        stages: Where results are kept.
        data: The data set.
        settings: How much.
        quiet: Without progress bars.

    Returns:
        The trained model.
    """
    name, build = HELD_OUT

    def make() -> keras.Model:
        keras.utils.set_random_seed(settings.seed)
        return train(
            build(data.input_shape, data.num_classes),
            data.train,
            Training(num_steps=settings.train_steps, learning_rate=3e-3, quiet=quiet),
            description=f"{name}, held out",
        )

    return stages.model(f"held-out-{name}", make)


def candidate_policies(
    compressor: MetaCompressor, model: keras.Model, data: Dataset, settings: DemoSettings
) -> dict[str, Policy]:
    """Makes the policies to compare, all within one budget.

    Args:
        compressor: The meta-trained compressor.
        model: The held-out model.
        data: The data set; a few hundred training examples adapt Φ.
        settings: Budget, device and inner steps.

    Returns:
        Name of the row to policy.
    """
    budget = Budget(size_ratio=settings.size_ratio)
    support = few_examples(data, settings.seed)
    task = Task(model, budget, settings.device, support=support)
    where = (model, budget, settings.device)
    return {
        "uniform + int8": baselines.uniform(*where),
        "global magnitude + int8": baselines.global_magnitude(*where),
        "LAMP + int8": baselines.lamp(*where),
        "ERK + int8": baselines.erk(*where),
        "LAMP + int4": baselines.lamp(*where, weight_bits=4),
        "prior alone": MetaCompressor().propose(*where),
        "Φ zero-shot": compressor.propose(*where),
        ADAPTED: compressor.adapt(task, settings.inner_steps).policy,
    }


def compare_policies(
    stages: Stages,
    model: keras.Model,
    policies: dict[str, Policy],
    data: Dataset,
    settings: DemoSettings,
    quiet: bool,
) -> list[Row]:
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
    tuning = Training(num_steps=settings.tuning_steps, learning_rate=2e-3, quiet=quiet)
    return [
        float_row(stages, model, data),
        *(
            candidate_row(stages, name, model, policy, data, tuning)
            for name, policy in policies.items()
        ),
    ]


def run_demo(
    data: Dataset,
    out: str | Path,
    settings: DemoSettings,
    *,
    announce: Announce = print,
    quiet: bool = False,
) -> list[Row]:
    """Runs the main job and writes report.json, policy.json, policy.png and three .tflite files.

    Each file is written whole or not at all. An interrupted run continues from its last finished
    stage; a finished one is shown again at once.

    Args:
        data: The data set.
        out: Folder to write into.
        settings: How much of everything.
        announce: Called with a line a stage.
        quiet: Without progress bars.

    Returns:
        The rows of the closing table.
    """
    out = Path(out)
    check_writable(out / "report.json")
    described = {**asdict(settings), "dataset": data.fingerprint()}
    stages = Stages(out / "stages", described, announce)
    compressor = learn(stages, data, settings, quiet)
    model = held_out_model(stages, data, settings, quiet)
    policies = candidate_policies(compressor, model, data, settings)
    rows = compare_policies(stages, model, policies, data, settings, quiet)
    latency = latency_ratios(stages, rows)
    adapted = next(row for row in rows if row.name == ADAPTED)
    for name, path in (("float32", rows[0].path), ("int8", adapted.path)):
        write_bytes(out / f"model_{name}.tflite", Path(path).read_bytes())
    export_litert(model, out / "model_float16.tflite", mode="float16")
    policies[ADAPTED].save(out / "policy.json")
    title = f"{data.name}, {HELD_OUT[0]} held out, budget {settings.size_ratio:.0%} of float32"
    infos = compressible_layers(model)
    draw_policy(out / "policy.png", policies[ADAPTED], infos, rows, title)
    write_report(out / "report.json", rows, latency, described)
    print_table(rows, latency, title)
    return rows
