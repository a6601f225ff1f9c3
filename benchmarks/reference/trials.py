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


TRIALS = (
    *(
        Trial("ResNet-8", method, 28)
        for method in ("Φ adapted", "uniform, 8 bits", "uniform, 4 bits", "Φ zero-shot")
    ),
    *(Trial("DS-CNN", method, 26) for method in ("Φ adapted", "uniform, 8 bits", "LAMP, 4 bits")),
)
"""The rows."""
