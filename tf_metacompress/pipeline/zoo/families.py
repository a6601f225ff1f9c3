"""Random classifiers by family and seed, of 1 k to 1 M parameters and bounded work."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from tf_metacompress.errors import check_choice, check_int, invalid
from tf_metacompress.pipeline.layer_stack import LayerStack, Shape
from tf_metacompress.pipeline.zoo import blocks

FAMILIES: tuple[str, ...] = (
    "plain",
    "residual",
    "separable",
    "inverted",
    "squeeze_excite",
    "mlp",
    "conv1d",
    "bottleneck",
    "branched",
    "gated",
)
FEWEST_PARAMETERS, MOST_PARAMETERS = 1_000, 1_000_000
MOST_MACS = 1_500_000
"""Multiply-accumulates of one inference, so that training and meta-steps stay in seconds."""
_ROUNDS = 5
_NARROWEST, _WIDEST = 2.0, 512.0


@dataclass(frozen=True)
class Family:
    """How the models of one family are made.

    Attributes:
        name: One of `FAMILIES`.
        fill: Adds random layers to a stack at a width, and closes it; what it draws does not
            depend on the width.
        dims: Lengths of the input shapes it takes: 3 for images, 2 for series.
    """

    name: str
    fill: Callable[[LayerStack, float, np.random.Generator, int], keras.Model]
    dims: tuple[int, ...] = (3,)


_MAKERS = {
    family.name: family
    for family in (
        Family("plain", blocks.plain),
        Family("residual", blocks.residual),
        Family("separable", blocks.separable),
        Family("inverted", blocks.inverted),
        Family("squeeze_excite", blocks.squeeze_excite),
        Family("mlp", blocks.mlp, (2, 3)),
        Family("conv1d", blocks.conv1d, (2,)),
        Family("bottleneck", blocks.bottleneck),
        Family("branched", blocks.branched),
        Family("gated", blocks.gated),
    )
}


def takes(family: str, shape: Shape) -> bool:
    """Says whether a family is made for inputs of a shape.

    Args:
        family: One of `FAMILIES`.
        shape: Shape of one input.

    Returns:
        Whether `build` accepts it.
    """
    return len(shape) in _MAKERS[check_choice("family", family, FAMILIES)].dims


def count_macs(model: keras.Model) -> int:
    """Counts the multiply-accumulates of the kernels for one input.

    Args:
        model: A Functional model of `build`.

    Returns:
        Weights of each kernel times the places it is applied at.
    """
    total = 0
    for layer in model.layers:
        for weight in layer.trainable_weights:
            if weight.name.endswith("kernel"):
                places = 1 if isinstance(layer, keras.layers.Dense) else layer.output.shape[1:-1]
                total += math.prod(weight.shape) * math.prod(np.atleast_1d(places))
    return int(total)


def build(family: str, shape: Shape, num_classes: int, seed: int) -> keras.Model:
    """Builds a random classifier; equal arguments give equal architectures and weights.

    Depth, kernels, strides and joins are drawn first. The width is then set so that the parameters
    come near a number drawn log-uniformly between 1 k and 1 M, as far as `MOST_MACS` allows.

    Args:
        family: One of `FAMILIES`.
        shape: (height, width, channels), or (steps, channels) for "conv1d" and "mlp".
        num_classes: Outputs, at least 2.
        seed: Decides everything that is random.

    Returns:
        A Functional model with a softmax head, not trained.

    Raises:
        InvalidArgumentError: If there is no such family, or it does not take such inputs.

    Example:
        >>> build("separable", (8, 8, 1), 10, seed=0).output_shape
        (None, 10)
    """
    maker = _MAKERS[check_choice("family", family, FAMILIES)]
    check_int("num_classes", num_classes, minimum=2)
    check_int("seed", seed, minimum=0)
    if len(shape) not in maker.dims or min(shape) < 1:
        raise invalid(
            f"Family {family!r} takes inputs of {' or '.join(map(str, maker.dims))} axes.",
            "Images are (height, width, channels), series (steps, channels).",
            shape=shape,
        )
    key = [zlib.crc32(family.encode()), seed]
    low, high = math.log(FEWEST_PARAMETERS), math.log(MOST_PARAMETERS)
    wanted = math.exp(np.random.default_rng([*key, 1]).uniform(low, high))

    def at(width: float) -> keras.Model:
        keras.utils.set_random_seed(int(np.random.default_rng([*key, 2]).integers(2**31)))
        return maker.fill(LayerStack(shape), width, np.random.default_rng(key), num_classes)

    return _of_size(at, wanted)


def _of_size(at: Callable[[float], keras.Model], wanted: float) -> keras.Model:
    """The widest model of the widths tried that keeps within both limits, or the narrowest."""
    width, best = 16.0, None
    for _ in range(_ROUNDS):
        model = at(width)
        excess = max(model.count_params() / wanted, count_macs(model) / MOST_MACS)
        if excess <= 1.0 and (best is None or model.count_params() > best.count_params()):
            best = model
        if 0.8 < excess <= 1.0:
            break
        width = min(max(width * (0.9 / excess) ** 0.5, _NARROWEST), _WIDEST)
    return best or at(_NARROWEST)
