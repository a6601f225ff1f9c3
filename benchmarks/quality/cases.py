"""Which models, budgets and devices the methods are judged on."""

from dataclasses import dataclass, replace

from tf_metacompress.policy import DeviceProfile, device

RATIOS = (0.25, 0.10, 0.05, 0.03)
SMALL_REACHES = 0.10
CONV_INT4 = replace(
    device("cortex-m"),
    name="conv-int4",
    weight_bits={"Conv2D": (4, 8), "*": (8,)},
    description="Runs 4-bit weights in ordinary convolutions only.",
)
DEVICES: dict[str, DeviceProfile] = {
    "android-arm64": device("android-arm64"),
    CONV_INT4.name: CONV_INT4,
}


@dataclass(frozen=True)
class ModelSpec:
    """One trained model.

    Attributes:
        family: Family of the zoo.
        build_seed: Seed that draws the architecture.
        seed: Seed of the data split, of training and of fine-tuning.
        smallest: The smallest ratio that its file can become.
    """

    family: str
    build_seed: int
    seed: int
    smallest: float = min(RATIOS)

    @property
    def name(self):
        """Name of its file."""
        return f"{self.family}-{self.build_seed}-seed{self.seed}"


@dataclass(frozen=True)
class Case:
    """One model, budget and device; `searched` where the two searches run too."""

    spec: ModelSpec
    ratio: float
    device: str
    searched: bool

    @property
    def name(self):
        """Name of its folder."""
        return f"{self.spec.name}-{self.ratio:g}-{self.device}"


@dataclass(frozen=True)
class Plan:
    """How much of everything a run does.

    Attributes:
        models_per_family: Architectures of each family and seed; the last of several is small.
        draws: Architectures that those of a family are chosen from.
        ratios: Exported gzip bytes as a share of those of the float32 file.
        devices: Names in `DEVICES`.
        seeds: Each has architectures, split and draws of its own.
        train_steps: Steps that train each model.
        tuning_steps: Steps that fine-tune each compressed model.
        evaluations: Short trials of each search.
        methods: Names of the methods; empty for all.
    """

    models_per_family: int = 4
    draws: int = 60
    ratios: tuple[float, ...] = RATIOS
    devices: tuple[str, ...] = tuple(DEVICES)
    seeds: tuple[int, ...] = (0, 1)
    train_steps: int = 1000
    tuning_steps: int = 120
    evaluations: int = 50
    methods: tuple[str, ...] = ()


FULL = Plan()
QUICK = Plan(
    models_per_family=1,
    draws=8,
    ratios=(0.10, 0.05),
    devices=("android-arm64",),
    seeds=(0,),
    train_steps=300,
    tuning_steps=100,
    methods=(
        "uniform",
        "LAMP",
        "sensitivity, measured",
        "Φ zero-shot",
        "Φ adapted",
        "random policy",
    ),
)


def make_cases(plan, specs):
    """All cases: each ratio of a model on one device, the devices in turns over models and ratios.

    The searches run on about a quarter, one case a model, spread over ratios and devices.

    Args:
        plan: How much.
        specs: The models, in order.

    Returns:
        Cases in the order of the models.
    """
    return [
        Case(
            spec,
            ratio,
            plan.devices[(m + r) % len(plan.devices)],
            searched=(m // 2 + r) % len(plan.ratios) == 0,
        )
        for m, spec in enumerate(specs)
        for r, ratio in enumerate(plan.ratios)
        if ratio >= spec.smallest
    ]
