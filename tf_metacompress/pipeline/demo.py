"""The first half of the main job: settings, and the model that the policies are judged on."""

from dataclasses import dataclass

import keras
import numpy as np

from tf_metacompress.errors import check_int, invalid, wrong_type
from tf_metacompress.pipeline.architectures import HELD_OUT
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.stages import Stages
from tf_metacompress.pipeline.training import Training, train
from tf_metacompress.policy import Budget, device

HELD_OUT_STAGE = f"held-out-{HELD_OUT[0]}"


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """How much of everything the demo does.

    Attributes:
        size_ratio: Budget of the model: gzip bytes as a share of float32's.
        device: Device the policies are made for.
        train_steps: Steps that train the model.
        tuning_steps: Steps that fine-tune it under each policy.
        inner_steps: Steps that adapt Φ to it.
        seed: Seed of everything.
    """

    size_ratio: float = 0.1
    device: str = "android-arm64"
    train_steps: int = 300
    tuning_steps: int = 400
    inner_steps: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the values."""
        Budget(size_ratio=self.size_ratio)
        device(self.device)
        for name in ("train_steps", "tuning_steps", "inner_steps"):
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


def held_out_model(
    stages: Stages, data: Dataset, settings: DemoSettings, quiet: bool
) -> keras.Model:
    """Trains the architecture that Φ has not learned from.

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
