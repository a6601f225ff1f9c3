"""What is kept about one kernel between training steps, and how it is compressed with it."""

import zlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.ops import (
    Grid,
    ScoreInputs,
    fake_quantize_weights,
    get_quantizer,
    get_score,
    pattern_mask,
    threshold_mask,
)
from tf_metacompress.policy import LayerPlan
from tf_metacompress.wrappers.statistics import observe_gradient, update_saliency

_FLOAT_BITS = 32
_INTEGER_BITS = 8


class KernelState:
    """The mask, the saliency and the quantiser's state of one kernel.

    The variables belong to the layer that makes this, so they are saved with it.

    Args:
        owner: The layer that owns the variables.
        name: Attribute of the kernel, for the names of the variables.
        plan: What to do with it.
        channel_axis: Axes of its output channels.
        kernel: Its present value.
    """

    def __init__(
        self,
        owner: keras.layers.Layer,
        name: str,
        plan: LayerPlan,
        channel_axis: Sequence[int],
        kernel: tf.Tensor,
    ) -> None:
        kernel = tf.cast(kernel, tf.float32)
        self.name = name
        self.plan = plan
        self.channel_axis = tuple(channel_axis)
        self.mask = _variable(owner, f"{name}_mask", tf.ones_like(kernel)) if plan.prunes else None
        self.score = get_score(plan.score)
        observes = plan.is_scored and "saliency" in self.score.needs
        self.saliency = (
            _variable(owner, f"{name}_saliency", tf.zeros_like(kernel)) if observes else None
        )
        self.quantizer = get_quantizer(plan.quantizer)
        self.grid: Grid | None = None
        self.quantizer_state: keras.Variable | None = None
        if plan.weight_bits <= _INTEGER_BITS:
            axes = self.channel_axis if plan.granularity == "per_channel" else ()
            self.grid = Grid(
                num_bits=plan.weight_bits, channel_axis=axes, range_setting=plan.range_setting
            )
            state = self.quantizer.make_state(kernel, self.grid)
            if state is not None:
                self.quantizer_state = _variable(owner, f"{name}_grid", state)

    @property
    def lacks_saliency(self) -> bool:
        """Whether the score needs gradients and none has been seen."""
        return self.saliency is not None and not _count(self.saliency)

    def masked(self, kernel: tf.Tensor) -> tf.Tensor:
        """Puts the pruned weights of a kernel at zero.

        Args:
            kernel: The weights in full.

        Returns:
            Tensor of the same shape and dtype.
        """
        if self.mask is None:
            return kernel
        return kernel * tf.cast(tf.convert_to_tensor(self.mask), kernel.dtype)

    def compressed(self, kernel: tf.Tensor, gain: tf.Tensor | None = None) -> tf.Tensor:
        """Masks and fake-quantises a kernel, with straight-through gradients.

        Args:
            kernel: The weights in full.
            gain: What deployment multiplies each output channel with, or None.

        Returns:
            Tensor of the same shape and dtype, of which the gradient is observed if the score needs
            that.
        """
        weights = self.masked(tf.cast(kernel, keras.backend.result_type(kernel.dtype, "float32")))
        if self.grid is not None:
            weights = self._quantized(weights, gain)
        elif self.plan.weight_bits < _FLOAT_BITS:
            weights = fake_quantize_weights(weights, self.plan.weight_bits)
        weights = tf.cast(weights, kernel.dtype)
        if self.saliency is None:
            return weights
        full = tf.stop_gradient(kernel)
        return observe_gradient(
            weights, lambda gradient: update_saliency(self.saliency, full, gradient)
        )

    def _quantized(self, weights: tf.Tensor, gain: tf.Tensor | None) -> tf.Tensor:
        state = self._quantizer_state()
        if gain is None or not self.quantizer.sees_deployed:
            return self.quantizer.fake_quantize(weights, self.grid, state)
        size = tf.stop_gradient(tf.abs(tf.cast(gain, weights.dtype)))
        size = tf.where(size > 0, size, tf.ones_like(size))
        return self.quantizer.fake_quantize(weights * size, self.grid, state) / size

    def update(
        self,
        kernel: tf.Tensor,
        fraction: float,
        gain: tf.Tensor | None = None,
        zero_share: tf.Tensor | None = None,
    ) -> None:
        """Chooses the mask anew, and with it what the quantiser keeps.

        Args:
            kernel: The present weights.
            fraction: Share of the planned sparsity, or of the threshold, to reach, in [0, 1].
            gain: What deployment multiplies each output channel with, or None.
            zero_share: Share of zeros in the result of each output channel, broadcastable to the
                kernel, or None when it is not known.
        """
        kernel = tf.cast(kernel, tf.float32)
        if self.mask is not None:
            self.mask.assign(self._choose(kernel, fraction, gain, zero_share))
            kernel = self.masked(kernel)
        if self.quantizer_state is not None:
            self.quantizer_state.assign(self.quantizer.make_state(kernel, self.grid))

    def complete(
        self, kernel: tf.Tensor, gain: tf.Tensor | None = None, zero_share: tf.Tensor | None = None
    ) -> None:
        """Brings the mask to its target; one that is there stays as it is, for it was trained with.

        Args:
            kernel: The present weights.
            gain: As in `update`.
            zero_share: As in `update`.
        """
        if self.mask is None:
            return
        kernel = tf.cast(kernel, tf.float32)
        if self.plan.threshold is not None:
            present = tf.convert_to_tensor(self.mask)
            self.mask.assign(present * threshold_mask(kernel * present, self.plan.threshold))
            return
        if _count(self.mask) > _count(self._choose(kernel, 1.0, gain, zero_share)):
            self.update(kernel, 1.0, gain, zero_share)

    def _choose(
        self,
        kernel: tf.Tensor,
        fraction: float,
        gain: tf.Tensor | None,
        zero_share: tf.Tensor | None,
    ) -> tf.Tensor:
        if self.plan.threshold is not None:
            return threshold_mask(kernel, self.plan.threshold * fraction)
        return pattern_mask(
            self.scores(kernel, gain, zero_share),
            self.plan.pattern,
            self.plan.sparsity,
            fraction=fraction,
            channel_axis=self.channel_axis,
        )

    def scores(
        self, kernel: tf.Tensor, gain: tf.Tensor | None = None, zero_share: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Scores the weights, by their magnitude as long as the score lacks what it looks at.

        Args:
            kernel: The present weights.
            gain: As in `update`.
            zero_share: As in `update`.

        Returns:
            Scores of the kernel's shape, float32; larger is kept.
        """
        kernel = tf.cast(kernel, tf.float32)
        inputs = ScoreInputs(
            kernel=kernel,
            channel_gain=gain,
            saliency=self._known_saliency(),
            zero_share=zero_share,
            seed=zlib.crc32(f"{self.plan.layer}/{self.name}".encode()) & 0x7FFFFFFF,
        )
        missing = [name for name in self.score.needs if getattr(inputs, name) is None]
        score = get_score("magnitude") if missing else self.score
        return score.function(inputs)

    def _known_saliency(self) -> tf.Tensor | None:
        if self.saliency is None or self.lacks_saliency:
            return None
        return tf.convert_to_tensor(self.saliency)

    def _quantizer_state(self) -> tf.Tensor | None:
        state = self.quantizer_state
        return None if state is None else tf.convert_to_tensor(state)


def _variable(owner: keras.layers.Layer, name: str, value: tf.Tensor) -> keras.Variable:
    variable = owner.add_weight(
        name=name,
        shape=value.shape,
        initializer="zeros",
        trainable=False,
        dtype="float32",
        aggregation="mean",
    )
    variable.assign(value)
    return variable


def _count(values: keras.Variable | tf.Tensor) -> int:
    return int(np.count_nonzero(np.asarray(values)))
