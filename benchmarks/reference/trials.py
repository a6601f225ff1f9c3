"""Which rows are measured, in the order in which they say most."""

from dataclasses import dataclass, field, replace

from .recipes import RECIPES


@dataclass(frozen=True)
class Trial:
    """One row.

    Attributes:
        reference: Name of the reference model.
        method: Name of what makes the policy.
        limit_kib: What the file may weigh after gzip.
        width: Share of the channels that stay.
        changes: What differs from the usual recipe.
    """

    reference: str
    method: str
    limit_kib: float
    width: float = 1.0
    changes: dict = field(default_factory=dict)

    @property
    def recipe(self):
        """How it is fine-tuned."""
        return replace(RECIPES[self.reference], **self.changes)

    @property
    def name(self):
        """Unique within its reference model."""
        parts = [self.method, f"{self.limit_kib:g} KiB"]
        if self.width < 1.0:
            parts.append(f"width {self.width:g}")
        return ", ".join([*parts, *(f"{key} {value}" for key, value in self.changes.items())])


LONG = {"epochs": 16, "aim": 1.02}
SHORT = {"quantizer": "short_scale"}
DS_SHORT = {"aim": 1.14, **SHORT}
RESNET_SHORT = {"aim": 1.06, **SHORT}
DS_SMALLEST = {**DS_SHORT, "packed": "all"}
DS_SPARSE = {"aim": 1.41, **SHORT, "packed": "all"}
LONG_SHORT = {"epochs": 16, "aim": 1.07, **SHORT}
RESNET_SMALLEST = {
    "epochs": 12,
    "aim": 1.19,
    **SHORT,
    "learning_rate": 0.003,
    "packed": "all",
}

TRIALS = (
    Trial("ResNet-8", "LAMP, 3 bits", 28),
    Trial("ResNet-8", "LAMP, 4 bits", 28),
    Trial("ResNet-8", "LAMP, 4 bits", 28, changes=LONG),
    Trial("ResNet-8", "untrained Φ, reads data", 28),
    Trial("ResNet-8", "untrained Φ, reads data, 2 to 8 bits", 28),
    Trial("DS-CNN", "LAMP, 4 bits", 18),
    Trial("DS-CNN", "LAMP, 4 bits", 26, changes=DS_SHORT),
    Trial("DS-CNN", "LAMP, 4 bits", 26, changes=DS_SMALLEST),
    Trial("DS-CNN", "LAMP, 4 bits", 14, changes=DS_SPARSE),
    Trial("DS-CNN", "uniform, 4 bits", 14, changes=DS_SPARSE),
    Trial("DS-CNN", "untrained Φ, reads data", 14, changes=DS_SPARSE),
    Trial("DS-CNN", "Φ adapted", 14, changes=DS_SPARSE),
    Trial("DS-CNN", "LAMP, 4 bits", 16, changes={"aim": 1.2, **SHORT}),
    Trial("DS-CNN", "LAMP, 4 bits", 26),
    Trial("ResNet-8", "untrained Φ, reads data", 28, changes=LONG_SHORT),
    Trial("ResNet-8", "untrained Φ, reads data", 28, changes=RESNET_SHORT),
    Trial("ResNet-8", "untrained Φ, reads data, 2 to 8 bits", 28, changes=RESNET_SHORT),
    Trial("ResNet-8", "Φ adapted", 28, changes=RESNET_SHORT),
    Trial("ResNet-8", "LAMP, 4 bits", 28, changes=RESNET_SHORT),
    Trial("ResNet-8", "Φ adapted", 28, changes=RESNET_SMALLEST),
    Trial("ResNet-8", "Φ adapted", 28, changes={**RESNET_SMALLEST, "num_calibration": 12}),
    Trial("ResNet-8", "LAMP, 4 bits", 28, changes=RESNET_SMALLEST),
    Trial("ResNet-8", "uniform, 4 bits", 28),
    Trial("ResNet-8", "LAMP, 4 bits", 36, changes=LONG),
    Trial("DS-CNN", "uniform, 8 bits", 26),
    Trial("DS-CNN", "untrained Φ, reads data", 26),
    Trial("ResNet-8", "uniform, 8 bits", 28),
    Trial("ResNet-8", "sensitivity, 4 and 8 bits", 28),
    Trial("DS-CNN", "sensitivity, 4 and 8 bits", 26),
    Trial("DS-CNN", "uniform, 8 bits", 26, width=0.5, changes={"recovery_epochs": 60}),
    Trial("DS-CNN", "uniform, 8 bits", 18),
    Trial("ResNet-8", "uniform, 8 bits", 28, changes=LONG),
    Trial("ResNet-8", "Φ zero-shot", 28),
    Trial("ResNet-8", "Φ adapted", 28),
    Trial("DS-CNN", "Φ adapted", 26),
)
"""The rows."""
