"""What the rest of the package knows about a layer, as plain data."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class KernelInfo:
    """One compressible weight array of a layer.

    Attributes:
        name: Name of the weight in its layer, such as "kernel" or "depthwise_kernel".
        shape: Shape of the array.
        channel_axis: Axes kept when quantising per output channel: Dense (1,), Conv2D (3,),
            DepthwiseConv2D (2, 3), Conv2DTranspose (2,).
    """

    name: str
    shape: tuple[int, ...]
    channel_axis: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of weights in the array."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class WeightStats:
    """Statistics of a layer's kernels after BatchNorm folding.

    Attributes:
        mean_abs: Mean absolute weight.
        std: Standard deviation.
        max_abs: Largest absolute weight.
        kurtosis: Fourth standardised moment; 3 for a normal distribution.
    """

    mean_abs: float
    std: float
    max_abs: float
    kurtosis: float


@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One weight-bearing layer of a model.

    Attributes:
        name: Unique path of the layer, such as "backbone/conv1".
        kind: "Dense", "Conv2D", "DepthwiseConv2D", …; of an unknown layer its class name.
        kernels: The compressible weight arrays; empty when there is nothing to compress.
        num_params: Number of all weights of the layer, biases and statistics too.
        macs: Multiply-accumulates of one example.
        depth: Position in the order of calls, from 0 (first) to 1 (last).
        stats: Statistics of the kernels, or None when there are none.
        compressible: Whether a policy may act on the layer.
        output_shape: Shape of the output with its batch axis; None where it is not known.

    Example:
        >>> conv = LayerInfo(
        ...     name="conv1",
        ...     kind="Conv2D",
        ...     kernels=(KernelInfo(name="kernel", shape=(3, 3, 1, 8), channel_axis=(3,)),),
        ...     num_params=80,
        ...     macs=3 * 3 * 8 * 28 * 28,
        ...     output_shape=(None, 28, 28, 8),
        ... )
        >>> conv.weight_shape, conv.num_weights
        ((3, 3, 1, 8), 72)
    """

    name: str
    kind: str
    kernels: tuple[KernelInfo, ...] = ()
    num_params: int = 0
    macs: int = 0
    depth: float = 0.0
    stats: WeightStats | None = None
    compressible: bool = True
    output_shape: tuple[int | None, ...] = ()

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the largest kernel, or () when there is none."""
        return max(self.kernels, key=lambda kernel: kernel.size).shape if self.kernels else ()

    @property
    def num_weights(self) -> int:
        """Number of weights in all kernels together."""
        return sum(kernel.size for kernel in self.kernels)
