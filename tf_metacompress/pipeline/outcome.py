"""Everything that a run found, as frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tf_metacompress.pipeline.candidates import Row
from tf_metacompress.pipeline.phi_card import Phi
from tf_metacompress.policy import LayerInfo, Policy


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Everything that a run found.

    Attributes:
        title: What was run.
        rows: The closing table, float32 first.
        chosen: Name of the row whose file is shipped.
        policy: Its policy.
        infos: All layers of the model, from `describe`.
        latency: The comparison of the files of all rows, in order.
        device: Name of the device that the policy was made for.
        num_test: Test examples behind each accuracy.
        size_ratio: The budget; None when a policy was given instead.
        phi: The shipped Φ, if it proposed.
    """

    title: str
    rows: tuple[Row, ...]
    chosen: str
    policy: Policy
    infos: tuple[LayerInfo, ...]
    latency: Mapping[str, Any]
    device: str
    num_test: int
    size_ratio: float | None = None
    phi: Phi | None = None

    @property
    def float_row(self) -> Row:
        """The row of the uncompressed model."""
        return self.rows[0]

    @property
    def chosen_row(self) -> Row:
        """The row whose file is shipped."""
        return next(row for row in self.rows if row.name == self.chosen)

    @property
    def other_rows(self) -> tuple[Row, ...]:
        """The compressed rows that are not shipped."""
        return tuple(row for row in self.rows[1:] if row.name != self.chosen)

    def timing(self, row: Row) -> Mapping[str, Any]:
        """Ratio of a row's time to float32's, with its interval."""
        return self.latency["files"][self.rows.index(row)]
