"""The main job: learn a policy on four architectures, judge it on a fifth."""

from dataclasses import dataclass

import keras
import numpy as np

from tf_metacompress.errors import InfeasibleBudgetError, check_int, invalid, wrong_type
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.pipeline.architectures import HELD_OUT, TO_LEARN_FROM
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.stages import Stages
from tf_metacompress.pipeline.training import Training, train
from tf_metacompress.policy import DEFAULT_SPARSITIES, Budget, action_grid, device
from tf_metacompress.tasks import ClassSubset, Contrast, Noise, Rotation, Task, Variant, split
from tf_metacompress.typing import ArrayPair

NUM_WAYS = 6
PHI = "phi"
HELD_OUT_STAGE = f"held-out-{HELD_OUT[0]}"
VARIANTS: dict[str, Variant] = {
    "classes": ClassSubset(num_ways=NUM_WAYS),
    "rotation": Rotation(degrees=20.0),
    "noise": Noise(stddev=0.15),
    "contrast": Contrast(lower=0.5, upper=0.8),
}
MOST_EXAMPLES = 8192
"""To learn from; more would only fill memory, as a meta-step draws a few hundred."""
_ROOM = 1.125
TASK_BUDGETS = (("android-arm64", 0.25), ("cortex-m", 0.16), ("x86-host", 0.12))


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

    def __post_init__(self) -> None:
        """Checks the values."""
        Budget(size_ratio=self.size_ratio)
        device(self.device)
        for name in ("train_steps", "tuning_steps", "meta_steps", "inner_steps"):
            check_int(name, getattr(self, name), minimum=1)
        check_int("seed", self.seed, minimum=0)


def check_images(data: Dataset) -> None:
    """Raises unless the demo can train on a data set.

    Args:
        data: The data set.

    Raises:
        ArgumentTypeError: If it is not a `Dataset`.
        InvalidArgumentError: If it does not hold images of at least two classes.
    """
    if not isinstance(data, Dataset):
        raise wrong_type("`data` must be a Dataset.", "Use load_dataset or load_npz.", data=data)
    if len(data.input_shape) != 3:
        raise invalid(
            "The demo trains image classifiers, on inputs of shape (N, height, width, channels).",
            "For grey images add a last axis: x[..., None].",
            input_shape=(None, *data.input_shape),
        )
    present = len(np.unique(data.train[1]))
    if present < 2 or data.num_classes > len(data.train[0]):
        raise invalid(
            "The labels must number at least two classes from 0, without large gaps.",
            classes=present,
            largest_label=data.num_classes - 1,
        )


def _variant_of(name: str, data: Dataset, seed: int) -> ArrayPair:
    """A variant of at most `MOST_EXAMPLES` training examples."""
    x, y = data.train
    if len(x) > MOST_EXAMPLES:
        rows = np.random.default_rng(seed).permutation(len(x))[:MOST_EXAMPLES]
        x, y = x[rows], y[rows]
    few = name == "classes" and len(np.unique(y)) < NUM_WAYS
    variant = ClassSubset(num_ways=2) if few else VARIANTS[name]
    return variant(x, y, seed)


def _zoo_model(
    name: str, variant: str, data: Dataset, settings: DemoSettings, quiet: bool
) -> keras.Model:
    x, y = _variant_of(variant, data, settings.seed)
    keras.utils.set_random_seed(settings.seed)
    model = TO_LEARN_FROM[name](data.input_shape, data.num_classes)
    return train(
        model,
        (x, y),
        Training(num_steps=settings.train_steps, learning_rate=3e-3, quiet=quiet),
        description=f"{name} on {variant}",
    )


def reachable_budget(model: keras.Model, size_ratio: float, device: str) -> Budget:
    """Gives a budget to learn from, wider where a small model cannot become that small.

    Args:
        model: A trained model.
        size_ratio: Gzip bytes as a share of float32's.
        device: Name of a device.

    Returns:
        The ratio, or an eighth more than the smallest size that can be reached.
    """
    sparsest = action_grid(sparsities=DEFAULT_SPARSITIES[-1:])
    try:
        MetaCompressor(actions=sparsest).propose(model, Budget(size_ratio=size_ratio), device)
    except InfeasibleBudgetError as error:
        return Budget(size_bytes=_ROOM * error.smallest["size_bytes"])
    return Budget(size_ratio=size_ratio)


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
            x, y = _variant_of(variant, data, settings.seed)
            support, query = split(x, y, 0.5, settings.seed)
            tasks += [
                Task(
                    model,
                    reachable_budget(model, ratio, device),
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
        f"{PHI}.npz", make, lambda compressor, path: compressor.save(path), MetaCompressor.load
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

    return stages.model(HELD_OUT_STAGE, make)
