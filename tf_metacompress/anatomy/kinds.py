"""What is known of each layer kind: its kernels, their output channels, its multiply-accumulates.

A new kind is one `register_kind` call. A layer of an unknown kind stays float and is reported.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras

Shape = tuple[int, ...]
MacCount = Callable[[keras.layers.Layer, Shape, Shape], int]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of compressible layer.

    Attributes:
        kernels: Weight attribute to the axes that hold its output channels.
        macs: Counts multiply-accumulates from (layer, input shape, output shape), batch size one,
            shapes with the batch axis.
    """

    kernels: Mapping[str, Shape]
    macs: MacCount


KINDS: dict[str, Kind] = {}


def register_kind(name: str, kind: Kind) -> None:
    """Makes layers whose class is called `name` compressible.

    Args:
        name: Class name of the layer.
        kind: Its kernels and its cost.
    """
    KINDS[name] = kind


def kind_of(layer: keras.layers.Layer) -> Kind | None:
    """Finds what is known of a layer by the name of its own class, not of a base class.

    Args:
        layer: Any Keras layer.

    Returns:
        Its kind, or None for a layer that stays float.
    """
    return KINDS.get(type(layer).__name__)


def _kernel_per_position(attribute: str, use_input: bool = False) -> MacCount:
    """Every position of the output (or input) costs one pass over the kernel."""

    def count(layer: keras.layers.Layer, input_shape: Shape, output_shape: Shape) -> int:
        kernel = getattr(layer, attribute)
        shape = input_shape if use_input else output_shape
        return math.prod(_positions(layer, shape)) * math.prod(kernel.shape)

    return count


def _positions(layer: keras.layers.Layer, shape: Shape) -> Shape:
    channels_first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return shape[2:] if channels_first else shape[1:-1]


def _dense(layer: keras.layers.Layer, input_shape: Shape, output_shape: Shape) -> int:
    return math.prod(input_shape[1:]) * output_shape[-1]


def _separable(layer: keras.layers.Layer, input_shape: Shape, output_shape: Shape) -> int:
    weights = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return math.prod(_positions(layer, output_shape)) * weights


for _rank in (1, 2, 3):
    register_kind(
        f"Conv{_rank}D", Kind(kernels={"kernel": (_rank + 1,)}, macs=_kernel_per_position("kernel"))
    )
for _rank in (1, 2):
    register_kind(
        f"DepthwiseConv{_rank}D",
        Kind(kernels={"kernel": (_rank, _rank + 1)}, macs=_kernel_per_position("kernel")),
    )
    register_kind(
        f"SeparableConv{_rank}D",
        Kind(
            kernels={"depthwise_kernel": (_rank, _rank + 1), "pointwise_kernel": (_rank + 1,)},
            macs=_separable,
        ),
    )
register_kind(
    "Conv2DTranspose",
    Kind(kernels={"kernel": (2,)}, macs=_kernel_per_position("kernel", use_input=True)),
)
register_kind("Dense", Kind(kernels={"kernel": (1,)}, macs=_dense))
