"""What is known of each layer kind: its kernels, their output channels, its multiply-accumulates.

A new kind is one `register_kind` call. A layer of an unknown kind stays float and is reported.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras

from tf_metacompress.layer_tree import weight_of

Shape = tuple[int, ...]
MacCount = Callable[[keras.layers.Layer, Shape, Shape], int]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of compressible layer.

    Attributes:
        kernels: Weight attribute to the axes that hold its output channels.
        macs: Counts multiply-accumulates from (layer, input shape, output shape), batch size one,
            shapes with the batch axis.
        folds: Whether the runtime takes a BatchNormalization or an activation behind the layer into
            the same operator.
    """

    kernels: Mapping[str, Shape]
    macs: MacCount
    folds: bool = True


KINDS: dict[str, Kind | Callable[[keras.layers.Layer], Kind | None]] = {}


def register_kind(name: str, kind: Kind | Callable[[keras.layers.Layer], Kind | None]) -> None:
    """Makes layers whose class is called `name` compressible.

    Args:
        name: Class name of the layer.
        kind: Its kernels and its cost; a function of the layer where they depend on it. Kernels
            are named as `layer_tree.weight_of` finds them.
    """
    KINDS[name] = kind


def kind_of(layer: keras.layers.Layer) -> Kind | None:
    """Finds what is known of a layer by the name of its own class, not of a base class.

    Args:
        layer: Any Keras layer.

    Returns:
        Its kind, or None for a layer that stays float: of an unknown class, or with kernels that
        are not plain floating weights, as after `layer.quantize` or `layer.enable_lora`.
    """
    kind = KINDS.get(type(layer).__name__)
    if kind is None:
        return None
    found = kind if isinstance(kind, Kind) else kind(layer)
    return found if found is not None and _has_kernels(layer, found) else None


def _has_kernels(layer: keras.layers.Layer, kind: Kind) -> bool:
    if not layer.built:
        return True
    try:
        kernels = [weight_of(layer, name) for name in kind.kernels]
    except AttributeError:
        return False
    return all(isinstance(k, keras.Variable) and "float" in k.dtype for k in kernels)


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


def _recurrent(layer: keras.layers.Layer, input_shape: Shape, output_shape: Shape) -> int:
    """One pass over both kernels of the cell at every time step and position of its state."""
    state = output_shape if layer.return_sequences else (*output_shape[:1], 1, *output_shape[1:])
    weights = math.prod(layer.cell.kernel.shape) + math.prod(layer.cell.recurrent_kernel.shape)
    return input_shape[1] * math.prod(_positions(layer, state[1:])) * weights


def _einsum(layer: keras.layers.Layer, input_shape: Shape, output_shape: Shape) -> int:
    """Every output element costs one multiply-accumulate for each weight of its channel."""
    axes = _einsum_axes(layer)
    contracted = [n for axis, n in enumerate(layer.kernel.shape) if axis not in axes]
    return math.prod(output_shape[1:]) * math.prod(contracted)


def _einsum_axes(layer: keras.layers.Layer) -> Shape:
    """Axes of the kernel that the output has too."""
    operands, result = layer.equation.replace(" ", "").split("->")
    kernel = operands.split(",")[1].replace("...", "")
    return tuple(axis for axis, letter in enumerate(kernel) if letter in result)


def _einsum_kind(layer: keras.layers.Layer) -> Kind:
    axes = _einsum_axes(layer)
    return Kind(kernels={"kernel": axes}, macs=_einsum, folds=len(axes) == 1)


def _recurrent_kind(rank: int) -> Kind:
    axis = (rank + 1,)
    kernels = {"cell.kernel": axis, "cell.recurrent_kernel": axis}
    return Kind(kernels=kernels, macs=_recurrent, folds=False)


def _kind_of_cell(layer: keras.layers.Layer) -> Kind | None:
    """A plain `RNN` is known by its cell."""
    is_known = isinstance(
        layer.cell, (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)
    )
    return _recurrent_kind(0) if is_known else None


def _no_macs(layer: keras.layers.Layer, input_shape: Shape, output_shape: Shape) -> int:
    return 0


for _rank in (1, 2, 3):
    register_kind(
        f"Conv{_rank}D",
        Kind(
            kernels={"kernel": (_rank + 1,)}, macs=_kernel_per_position("kernel"), folds=_rank < 3
        ),
    )
    register_kind(
        f"Conv{_rank}DTranspose",
        Kind(
            kernels={"kernel": (_rank,)},
            macs=_kernel_per_position("kernel", use_input=True),
            folds=_rank < 3,
        ),
    )
    register_kind(f"ConvLSTM{_rank}D", _recurrent_kind(_rank))
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
for _name in ("LSTM", "GRU", "SimpleRNN"):
    register_kind(_name, _recurrent_kind(0))
register_kind("RNN", _kind_of_cell)
register_kind("Dense", Kind(kernels={"kernel": (1,)}, macs=_dense))
register_kind("EinsumDense", _einsum_kind)
# One scale for the whole table: the runtime looks rows up without computing.
register_kind("Embedding", Kind(kernels={"embeddings": ()}, macs=_no_macs, folds=False))
