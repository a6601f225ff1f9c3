"""What the families are made of: each function draws a structure and fills a stack at a width."""

from typing import Any

import keras
import numpy as np

from tf_metacompress.pipeline.layer_stack import LayerStack

layers = keras.layers
Generator = np.random.Generator
_ENTRY_SIDE = 16


def _units(width: float, factor: float = 1.0) -> int:
    return max(round(width * factor), 2)


def _flip(generator: Generator, chance: float = 0.5) -> bool:
    return bool(generator.random() < chance)


def _strides(stack: LayerStack, wanted: int) -> int:
    """Halves only what is large enough to be halved."""
    return wanted if int(stack.x.shape[1]) >= 4 else 1


def _enter(stack: LayerStack, width: float, generator: Generator) -> None:
    """The first convolution; large images are halved at once."""
    size = int(generator.choice([3, 5]))
    strides = 2 if int(stack.x.shape[1]) >= _ENTRY_SIDE else 1
    stack.conv_bn(_units(width), size, strides)


def _close(stack: LayerStack, width: float, generator: Generator, num_classes: int) -> keras.Model:
    hidden, share = _flip(generator, 0.35), generator.uniform(1.0, 4.0)
    return stack.classifier(num_classes, _units(width, share) if hidden else 0)


def plain(stack: LayerStack, width: float, generator: Generator, num_classes: int) -> keras.Model:
    """Convolutions one after another, halved by strides or by pooling."""
    with_bn, pooled = _flip(generator), _flip(generator)
    growth = generator.uniform(1.0, 1.8)
    for index in range(int(generator.integers(2, 6))):
        size, halves = int(generator.choice([3, 3, 5])), index == 0 or _flip(generator)
        filters, strides = _units(width, growth**index), _strides(stack, 2) if halves else 1
        if with_bn:
            stack.conv_bn(filters, size, 1 if pooled else strides)
        else:
            stack.add(
                layers.Conv2D,
                filters,
                size,
                strides=1 if pooled else strides,
                padding="same",
                activation="relu",
            )
        if pooled and strides > 1:
            stack.add(layers.MaxPooling2D, 2)
    flat, units = _flip(generator, 0.3), generator.uniform(1.0, 4.0)
    if not flat:
        return _close(stack, width, generator, num_classes)
    stack.add(layers.Flatten)
    stack.add(layers.Dense, _units(width, units), activation="relu")
    return stack.head(num_classes)


def residual(
    stack: LayerStack, width: float, generator: Generator, num_classes: int
) -> keras.Model:
    """Residual blocks in stages; a stage begins with a strided convolution or a projection."""
    _enter(stack, width, generator)
    growth = generator.uniform(1.0, 2.0)
    for stage in range(int(generator.integers(1, 4))):
        filters, projects = _units(width, growth**stage), _flip(generator)
        blocks = int(generator.integers(1, 3))
        if stage and projects:
            _projected(stack, filters)
        elif stage:
            stack.conv_bn(filters, 3, _strides(stack, 2))
        for _ in range(blocks):
            stack.residual(filters)
    return _close(stack, width, generator, num_classes)


def _projected(stack: LayerStack, filters: int) -> None:
    """A residual block whose shortcut is a strided 1×1 convolution."""
    strides = _strides(stack, 2)
    shortcut = _projection(stack, filters, strides)
    stack.conv_bn(filters, 3, strides)
    stack.conv_bn(filters, 3, relu=False)
    stack.join(shortcut)


def _projection(stack: LayerStack, filters: int, strides: int) -> Any:
    """What came last after a 1×1 convolution; the stack goes on from before it."""
    entry = stack.x
    stack.conv_bn(filters, 1, strides, relu=False)
    shortcut, stack.x = stack.x, entry
    return shortcut


def separable(
    stack: LayerStack, width: float, generator: Generator, num_classes: int
) -> keras.Model:
    """Depthwise and 1×1 convolutions in turns, as in MobileNet, arXiv:1704.04861."""
    _enter(stack, width, generator)
    growth = generator.uniform(1.1, 1.7)
    for index in range(int(generator.integers(2, 7))):
        halves, size = index == 0 or _flip(generator, 0.35), int(generator.choice([3, 3, 5]))
        stack.depthwise_bn(_strides(stack, 2) if halves else 1, size)
        stack.conv_bn(_units(width, growth ** (index + 1)), 1)
    return _close(stack, width, generator, num_classes)


def inverted(
    stack: LayerStack, width: float, generator: Generator, num_classes: int
) -> keras.Model:
    """Inverted residual blocks with linear bottlenecks, as in MobileNetV2, arXiv:1801.04381."""
    _enter(stack, width, generator)
    growth, expansion = generator.uniform(1.0, 1.6), int(generator.integers(2, 7))
    filters, depth = _units(width), 0
    for _ in range(int(generator.integers(2, 6))):
        grows = _flip(generator, 0.6)
        depth += grows
        filters = _units(width, growth**depth) if grows else filters
        _inverted_block(stack, filters, expansion, _strides(stack, 2) if grows else 1)
    if _flip(generator):
        stack.conv_bn(_units(filters, 2.0), 1)
    return stack.classifier(num_classes)


def _inverted_block(stack: LayerStack, filters: int, expansion: int, strides: int) -> None:
    entry = stack.x
    stack.conv_bn(stack.channels * expansion, 1)
    stack.depthwise_bn(strides)
    stack.conv_bn(filters, 1, relu=False)
    if strides == 1 and entry.shape[-1] == filters:
        stack.merge(layers.Add, entry)


def squeeze_excite(
    stack: LayerStack, width: float, generator: Generator, num_classes: int
) -> keras.Model:
    """Convolutions, plain, residual or separable, reweighted by channel, arXiv:1709.01507."""
    _enter(stack, width, generator)
    kind = str(generator.choice(["plain", "residual", "separable"]))
    growth, share = generator.uniform(1.0, 1.8), generator.uniform(0.125, 0.5)
    for index in range(int(generator.integers(2, 5))):
        filters = _units(width, growth**index)
        strides = _strides(stack, 2) if index else 1
        if kind == "separable":
            stack.depthwise_bn(strides)
            stack.conv_bn(filters, 1)
        else:
            stack.conv_bn(filters, 3, strides)
        entry = stack.x
        if kind == "residual":
            stack.conv_bn(filters, 3, relu=False)
        _excite(stack, share)
        if kind == "residual":
            stack.join(entry)
    return _close(stack, width, generator, num_classes)


def _excite(stack: LayerStack, share: float) -> None:
    entry, channels = stack.x, stack.channels
    stack.add(layers.GlobalAveragePooling2D, keepdims=True)
    stack.add(layers.Dense, _units(channels, share), activation="relu")
    stack.add(layers.Dense, channels, activation="sigmoid")
    stack.merge(layers.Multiply, entry)


def mlp(stack: LayerStack, width: float, generator: Generator, num_classes: int) -> keras.Model:
    """Dense layers."""
    stack.add(layers.Flatten)
    with_bn, shrink = _flip(generator), generator.uniform(0.4, 1.0)
    for index in range(int(generator.integers(1, 5))):
        units = _units(2.0 * width, shrink**index)
        if with_bn:
            stack.add(layers.Dense, units, use_bias=False)
            stack.batch_norm()
        else:
            stack.add(layers.Dense, units, activation="relu")
    return stack.head(num_classes)


def conv1d(stack: LayerStack, width: float, generator: Generator, num_classes: int) -> keras.Model:
    """1-D convolutions with BatchNormalization, some of them residual."""
    growth, joins = generator.uniform(1.0, 1.8), _flip(generator)
    for index in range(int(generator.integers(2, 6))):
        size, halves = int(generator.choice([3, 5, 7])), index == 0 or _flip(generator)
        filters = _units(width, growth**index)
        stack.conv1d_bn(filters, size, _strides(stack, 2) if halves else 1)
        if joins:
            shortcut = stack.x
            stack.conv1d_bn(filters, 3, relu=False)
            stack.join(shortcut)
    return _close(stack, width, generator, num_classes)


def bottleneck(
    stack: LayerStack, width: float, generator: Generator, num_classes: int
) -> keras.Model:
    """Residual blocks that narrow, convolve and widen again, as in ResNet-50, arXiv:1512.03385."""
    _enter(stack, width, generator)
    growth, share = generator.uniform(1.0, 2.0), generator.uniform(0.2, 0.6)
    filters = _units(width, 2.0)
    for stage in range(int(generator.integers(1, 4))):
        if stage:
            filters = _units(filters, growth)
        for block in range(int(generator.integers(1, 3))):
            _narrowed(stack, filters, share, _strides(stack, 2) if stage and not block else 1)
    return _close(stack, width, generator, num_classes)


def _narrowed(stack: LayerStack, filters: int, share: float, strides: int) -> None:
    keeps_shape = strides == 1 and stack.channels == filters
    shortcut = stack.x if keeps_shape else _projection(stack, filters, strides)
    stack.conv_bn(_units(filters, share), 1)
    stack.conv_bn(_units(filters, share), 3, strides)
    stack.conv_bn(filters, 1, relu=False)
    stack.join(shortcut)


def branched(
    stack: LayerStack, width: float, generator: Generator, num_classes: int
) -> keras.Model:
    """Blocks of branches side by side, or of layers that read all before them, concatenated.

    Papers: Szegedy et al. 2014, arXiv:1409.4842; Huang et al. 2016, arXiv:1608.06993.
    """
    _enter(stack, width, generator)
    keeps_all, growth = _flip(generator, 0.4), generator.uniform(1.0, 1.6)
    shares = generator.uniform(0.15, 0.6, size=3)
    for index in range(int(generator.integers(1, 4))):
        if index:
            stack.conv_bn(_units(width, growth**index), int(generator.choice([1, 3])))
            stack.add(layers.MaxPooling2D if _flip(generator) else layers.AveragePooling2D, 2)
        filters = _units(width, growth**index)
        if keeps_all:
            _dense_block(stack, _units(filters, shares[0]), int(generator.integers(2, 4)))
        else:
            _side_by_side(stack, [_units(filters, share) for share in shares])
        if int(stack.x.shape[1]) < 4:
            break
    return _close(stack, width, generator, num_classes)


def _dense_block(stack: LayerStack, filters: int, count: int) -> None:
    for _ in range(count):
        entry = stack.x
        stack.conv_bn(filters, 3)
        stack.merge(layers.Concatenate, entry)


def _side_by_side(stack: LayerStack, filters: list[int]) -> None:
    entry, joined = stack.x, None
    for size, count in zip((1, 3, 5), filters, strict=True):
        stack.x = entry
        if size > 1:
            stack.conv_bn(_units(count, 0.5), 1)
        stack.conv_bn(count, size)
        if joined is not None:
            stack.merge(layers.Concatenate, joined)
        joined = stack.x


def gated(stack: LayerStack, width: float, generator: Generator, num_classes: int) -> keras.Model:
    """Convolutions, each place and channel of which a second one lets through, arXiv:1612.08083."""
    _enter(stack, width, generator)
    growth, size = generator.uniform(1.0, 1.8), int(generator.choice([1, 3]))
    joins = _flip(generator)
    for index in range(int(generator.integers(1, 5))):
        filters, strides = _units(width, growth**index), _strides(stack, 2) if index else 1
        entry = stack.x
        stack.add(layers.Conv2D, filters, size, strides, padding="same", activation="sigmoid")
        gate, stack.x = stack.x, entry
        stack.conv_bn(filters, 3, strides, relu=_flip(generator))
        stack.merge(layers.Multiply, gate)
        if joins and strides == 1 and entry.shape[-1] == filters:
            stack.merge(layers.Add, entry)
    return _close(stack, width, generator, num_classes)
