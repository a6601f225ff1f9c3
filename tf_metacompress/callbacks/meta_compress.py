"""One callback that compresses a plain Keras model during its `fit`."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tf_metacompress.compression import bake, make_compressors
from tf_metacompress.controller import PruningController
from tf_metacompress.errors import check_fraction, invalid, wrong_type
from tf_metacompress.layer_tree import leaf_layers, weight_of
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.policy import Budget, DeviceProfile, Policy
from tf_metacompress.schedules import PolynomialSparsity
from tf_metacompress.tasks import Task
from tf_metacompress.typing import ArrayPair
from tf_metacompress.wrappers import (
    Compressor,
    FreezeRanges,
    LayerCompressor,
    fuse_batch_norms,
    restore_batch_norms,
)

_UPDATES = 20


def _reached_fraction(compressors: Sequence[Compressor]) -> float:
    """Share of the planned zeros that the weights have already."""
    planned = present = 0.0
    for compressor in compressors:
        if not isinstance(compressor, LayerCompressor):
            continue
        for name, mask in compressor.masks.items():
            size = math.prod(mask.shape)
            zeros = size - np.count_nonzero(weight_of(compressor.layer, name))
            planned += compressor.plan.sparsity * size
            present += min(zeros, compressor.plan.sparsity * size)
    return present / planned if planned else 0.0


class MetaCompress(keras.callbacks.Callback):
    """Finds a policy for the model, carries it out during `fit`, and leaves it compressed.

    When training begins a policy is proposed (and adapted, if `support` is given); kernels are then
    masked ever more and fake-quantised, activations fake-quantised. When it ends the compressed
    kernels are written into the model, which is a plain Keras model throughout.

    Put it last in the list of callbacks: one behind it that restores earlier weights when training
    ends, as EarlyStopping does, would undo the compression. Files that a ModelCheckpoint writes on
    the way are sparse, whatever its place in the list, but not yet rounded to integers.

    Zeros that the model has when training begins count: a training that goes on, after
    `BackupAndRestore` or with `initial_epoch`, is pruned from where it is.

    With `pattern="channel"` channels are silenced in place; `remove_channels(model)` cuts them out
    afterwards.

    Training that is interrupted leaves the model computing compressed, with full-precision weights
    underneath; `detach` gives it its own calls back.

    Args:
        budget: What the compressed model may cost; in milliseconds only by way of `policy`.
        support: Inputs and labels to adapt the policy on, a few hundred; None to propose without.
        device: Name of the device, or a profile.
        compressor: Who proposes; None for `MetaCompressor.pretrained()`.
        policy: A policy to carry out instead of proposing one.
        prune_until: Fraction of the training at which the target sparsity is reached, in (0, 1).
        freeze_after: Fraction of the epochs after which activation ranges stand still.

    Attributes:
        policy: The policy carried out, once training has begun.

    Raises:
        ArgumentTypeError: If `budget` or `policy` has a wrong type.
        InvalidArgumentError: If a fraction is out of range.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        *,
        support: ArrayPair | None = None,
        device: str | DeviceProfile = "android-arm64",
        compressor: MetaCompressor | None = None,
        policy: Policy | None = None,
        prune_until: float = 0.5,
        freeze_after: float = 0.8,
    ) -> None:
        super().__init__()
        if policy is None and not isinstance(budget, Budget):
            raise wrong_type("`budget` must be a Budget, or `policy` a Policy.", budget=budget)
        if policy is not None and not isinstance(policy, Policy):
            raise wrong_type("`policy` must be a Policy.", policy=policy)
        if policy is None and budget.latency_ms is not None:
            raise invalid(
                "A budget in milliseconds needs measured latencies, which the callback does not "
                "take.",
                "Pass `policy=compressor.propose(model, budget, device, latency=table)`.",
                budget=budget,
            )
        check_fraction("prune_until", prune_until)
        check_fraction("freeze_after", freeze_after)
        self.budget = budget
        self.support = support
        self.device = device
        self.compressor = compressor or MetaCompressor.pretrained()
        self.policy = policy
        self._given_policy = policy
        self.prune_until = prune_until
        self.freeze_after = freeze_after
        self._compressors: tuple[Compressor, ...] = ()
        self._batch_norms: list[keras.layers.BatchNormalization] = []
        self._controller: PruningController | None = None
        self._freeze: FreezeRanges | None = None
        self._first_epoch = self._epoch = 0

    def _find_policy(self) -> Policy:
        if self._given_policy is not None:
            return self._given_policy
        if self.support is None:
            return self.compressor.propose(self.model, self.budget, self.device)
        task = Task(self.model, self.budget, self.device, support=self.support)
        return self.compressor.adapt(task).policy

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Finds the policy and attaches it to the layers of the model."""
        self.policy = self._find_policy()
        self._compressors = make_compressors(self.model, self.policy, self.device)
        layers = leaf_layers(self.model)
        self._batch_norms = fuse_batch_norms(self.model)
        for compressor in self._compressors:
            compressor.attach(layers)
        ranges = [c.output_range for c in self._compressors if c.output_range is not None]
        self._freeze = FreezeRanges(ranges, self.freeze_after)
        self._freeze.set_params(self.params)
        self._controller = None
        self._retrace()

    def _schedule(self, num_epochs: int) -> PolynomialSparsity:
        end_step = max(int(self.prune_until * num_epochs * self._steps_per_epoch), 1)
        return PolynomialSparsity(
            begin_step=0,
            end_step=end_step,
            frequency=max(end_step // _UPDATES, 1),
            initial_fraction=_reached_fraction(self._compressors),
        )

    @property
    def _steps_per_epoch(self) -> int:
        """Steps in an epoch; 1, so that masks move once an epoch, when Keras does not know."""
        return self.params.get("steps") or 1

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Lets the activation ranges stand still near the end; the first epoch sets the masks."""
        if self._controller is None:
            # Only now are the weights there that BackupAndRestore brings back.
            self._first_epoch = epoch
            schedule = self._schedule(self.params["epochs"] - epoch)
            self._controller = PruningController(self._compressors, schedule)
            self._controller.on_train_begin()
        self._epoch = epoch
        self._freeze.on_epoch_begin(epoch)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the masks when it is time."""
        within = min(batch, self._steps_per_epoch - 1)
        passed = self._epoch - self._first_epoch
        self._controller.on_step(passed * self._steps_per_epoch + within)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes the compressed kernels into the model."""
        self._controller.finalize()
        bake(self._compressors, self.model)
        self.detach()

    def detach(self) -> None:
        """Gives the layers of the model their own calls back."""
        for compressor in self._compressors:
            compressor.detach()
        restore_batch_norms(self._batch_norms)
        self._compressors = ()
        self._retrace()

    def _retrace(self) -> None:
        """Has Keras compile its steps anew, since the layers compute something else now."""
        self.model.make_train_function(force=True)
        self.model.make_test_function(force=True)
        self.model.make_predict_function(force=True)
