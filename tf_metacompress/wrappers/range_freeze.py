"""Activation ranges stop moving before training ends."""

from collections.abc import Iterable
from typing import Any

import keras

from tf_metacompress.errors import check_fraction
from tf_metacompress.wrappers.activation_range import ActivationRange


class FreezeRanges(keras.callbacks.Callback):
    """Freezes activation ranges for the last part of training, so that weights settle on them.

    Args:
        ranges: The ranges to freeze.
        after: Fraction of the epochs after which they stand still, in [0, 1).

    Raises:
        InvalidArgumentError: If `after` is outside [0, 1).
    """

    def __init__(self, ranges: Iterable[ActivationRange], after: float = 0.8) -> None:
        check_fraction("after", after)
        super().__init__()
        self.ranges = tuple(ranges)
        self.after = after

    def _set(self, frozen: bool) -> None:
        for activation_range in self.ranges:
            activation_range.frozen.assign(float(frozen))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Lets the ranges move."""
        self._set(False)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Freezes them once `after` of the epochs have passed; the first epoch always learns."""
        self._set(epoch > 0 and epoch >= self.after * self.params["epochs"])
