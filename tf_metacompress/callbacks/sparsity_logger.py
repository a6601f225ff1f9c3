"""Sparsity among the logs of `fit`."""

from typing import Any

import keras

from tf_metacompress.sparsity import measure_sparsity


class SparsityLogger(keras.callbacks.Callback):
    """Adds `sparsity` and `sparsity/<layer>` to the logs of each epoch.

    History sees them, and so do CSVLogger and TensorBoard placed after this one in the list.

    Args:
        per_layer: Whether to add each layer as well as the total.
    """

    def __init__(self, per_layer: bool = True) -> None:
        super().__init__()
        self.per_layer = per_layer

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the kernels as the forward pass uses them."""
        if logs is None:
            return
        report = measure_sparsity(self.model)
        logs["sparsity"] = report.total
        if self.per_layer:
            logs.update({f"sparsity/{path}": value for path, value in report.layers.items()})
