"""Our masks and grids beside those of tensorflow-model-optimization 0.8.1, as a script.

Runs in a process of its own, since tfmot needs tf_keras for `tf.keras`. Prints one line of JSON a
case; `test_tfmot_parity.py` asserts on them. Known differences, which cases measure, not hide:

- tfmot counts steps from 1 (its wrapper adds one before the first batch), this package from 0;
- where sparsity · size lies halfway between two integers both round to even, tfmot the number it
  keeps, this package the number it removes: they differ by one weight. tfmot computes in float32,
  this package in float64;
- of equal magnitudes tfmot keeps all that equal the last kept one, this package the earlier ones,
  so that the count is exact;
- tfmot sets N:M masks once, at step 1; here they follow the schedule, group by group;
- tfmot's fake quantisation rounds halves up (floor(x + 0.5)), this package to even;
- the moving average of tfmot's ranges starts at ±6 and moves by 0.001; that of `ActivationRange`
  starts at the first batch. Compared at the same range, values agree.
"""

import json
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from tf_metacompress.ops import (
    fake_quantize_affine,
    fake_quantize_affine_weights,
    fake_quantize_symmetric,
    pattern_mask,
)
from tf_metacompress.schedules import ConstantSparsity, PolynomialSparsity, from_tfmot

keras = tf.keras
quantizers = tfmot.quantization.keras.quantizers
sparsity = tfmot.sparsity.keras
SCHEDULES = {
    "polynomial": (
        sparsity.PolynomialDecay(0.0, 0.8, begin_step=2, end_step=42, frequency=5),
        PolynomialSparsity(begin_step=2, end_step=42, frequency=5),
    ),
    "constant": (
        sparsity.ConstantSparsity(0.7, begin_step=3, frequency=4),
        ConstantSparsity(begin_step=3, frequency=4),
    ),
}


def weights_of(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def show(case, **values):
    print(json.dumps({"case": case, **values}))


def pruned(shape, schedule, **options):
    """A tfmot wrapper around a Dense or a Conv2D layer whose kernel has this shape."""
    if len(shape) == 2:
        layer, inputs = keras.layers.Dense(shape[1], use_bias=False), (1, shape[0])
    else:
        layer = keras.layers.Conv2D(shape[3], shape[:2], use_bias=False)
        inputs = (1, *shape[:3])
    wrapper = sparsity.prune_low_magnitude(layer, pruning_schedule=schedule, **options)
    wrapper.build(inputs)
    return wrapper, np.zeros(inputs, "float32")


def tfmot_mask(wrapper, inputs, kernel, step):
    """The mask after a training step; a step that does not update keeps the one before."""
    wrapper.layer.set_weights([kernel])
    wrapper.pruning_step.assign(step - 1)
    wrapper(inputs, training=True)
    return wrapper.pruning_vars[0][1].numpy()


def compare_masks(name, shape, schedule_name, pattern, steps, **options):
    theirs, ours = SCHEDULES[schedule_name]
    wrapper, inputs = pruned(shape, theirs, **options)
    read = from_tfmot(theirs)
    final = read.final_sparsity if ":" not in pattern or "block" in pattern else 0.0
    updates = different = shape_off = 0
    mask = np.ones(shape, "float32")
    for step in steps:
        kernel = weights_of(shape, step)
        should_update, fraction = ours(step)
        shape_off += (
            read(step) != (should_update, fraction) and abs(read(step)[1] - fraction) > 1e-6
        )
        if pattern[0].isdigit():
            should_update, fraction = step == 1, 1.0
        if should_update:
            updates += 1
            scores = tf.abs(tf.constant(kernel))
            axis = (len(shape) - 1,)
            mask = pattern_mask(
                scores, pattern, final, fraction=fraction, channel_axis=axis
            ).numpy()
        different += int((mask != tfmot_mask(wrapper, inputs, kernel, step)).sum())
    zeros = 1.0 - float(mask.mean())
    show(name, updates=updates, different=different, schedule_off=int(shape_off), zeros=zeros)


def masks(quick):
    steps = (1, 2, 7, 42) if quick else (*range(1, 46), 60)
    for schedule in SCHEDULES:
        compare_masks(f"dense {schedule}", (24, 16), schedule, "unstructured", steps)
        compare_masks(f"block {schedule}", (16, 8), schedule, "block:4x2", steps, block_size=(4, 2))
    compare_masks(
        "block max", (16, 12), "constant", "block:2x4:max", steps,
        block_size=(2, 4), block_pooling_type="MAX",
    )  # fmt: skip
    for zeros, pattern in ((2, "2:4"), (1, "3:4"), (3, "1:4"), (3, "5:8")):
        size = int(pattern[-1])
        for shape in ((16, 6), (3, 3, 8, 5)):
            compare_masks(
                f"{pattern} of {len(shape)} axes", shape, "constant", pattern, (1, 2),
                sparsity_m_by_n=(zeros, size),
            )  # fmt: skip
    if not quick:
        compare_masks("convolution", (3, 3, 8, 12), "polynomial", "unstructured", steps)


def halves_and_ties():
    """The documented differences, as numbers."""
    half = sparsity.ConstantSparsity(0.5, begin_step=0, frequency=1)
    wrapper, inputs = pruned((5, 1), half)
    kernel = weights_of((5, 1), 0)
    kept = [tfmot_mask(wrapper, inputs, kernel, 1).sum()]
    kept.append(pattern_mask(tf.abs(kernel), "unstructured", 0.5).numpy().sum())
    wrapper, inputs = pruned((8, 1), half)
    kernel = np.ones((8, 1), "float32")
    ties = [tfmot_mask(wrapper, inputs, kernel, 1).sum()]
    ties.append(pattern_mask(tf.abs(kernel), "unstructured", 0.5).numpy().sum())
    show("halves and ties", half=[int(k) for k in kept], ties=[int(k) for k in ties])


def fake_quantized(quantizer, batches):
    """What a tfmot quantiser makes of the last of some batches, and the range it then has."""
    layer = keras.layers.Layer()
    variables = quantizer.build(tf.TensorShape(batches[0].shape), "it", layer)
    for batch in batches:
        values = quantizer(tf.constant(batch), training=True, weights=variables)
    return values.numpy(), variables["min_var"].numpy(), variables["max_var"].numpy()


def compare_values(name, theirs, ours, quantum):
    quanta = np.abs(theirs - ours) / quantum
    show(name, worst=float(quanta.max()), equal=float((quanta < 1e-3).mean()))


def weight_grids(quick):
    last = quantizers.LastValueQuantizer
    for shape in ((40, 16), (3, 3, 8, 16)):
        for bits in (8,) if quick else (2, 4, 8):
            kernel = weights_of(shape, bits) + 0.1
            for per_axis in (False, True):
                axis = (len(shape) - 1,) if per_axis else ()
                for symmetric in (False, True):
                    for narrow in (False, True):
                        options = {"symmetric": symmetric, "narrow_range": narrow}
                        theirs, low, high = fake_quantized(
                            last(num_bits=bits, per_axis=per_axis, **options), [kernel]
                        )
                        fake = (
                            fake_quantize_symmetric if symmetric else fake_quantize_affine_weights
                        )
                        ours = fake(tf.constant(kernel), bits, axis, narrow_range=narrow).numpy()
                        name = f"last value {bits} bits {len(shape)} {per_axis} {options}"
                        quantum = (high - low) / (2**bits - 1 - narrow)
                        compare_values(name, theirs, ours, quantum)


def activation_grids():
    batches = [weights_of((32, 10), seed) * scale for seed, scale in enumerate((1.0, 3.0, 0.5))]
    theirs, low, high = fake_quantized(
        quantizers.AllValuesQuantizer(8, per_axis=False, symmetric=False, narrow_range=False),
        batches,
    )
    # tfmot's running range starts at ±6.
    expected = min(-6.0, *(b.min() for b in batches)), max(6.0, *(b.max() for b in batches))
    ours = fake_quantize_affine(tf.constant(batches[-1]), *expected).numpy()
    show("all values range", off=float(np.abs(np.subtract(expected, (low, high))).max()))
    compare_values("all values", theirs, ours, (high - low) / 255)
    theirs, low, high = fake_quantized(
        quantizers.MovingAverageQuantizer(8, per_axis=False, symmetric=False, narrow_range=False),
        batches,
    )
    expected = [-6.0, 6.0]
    for batch in batches:
        for index, value in enumerate((min(batch.min(), 0.0), max(batch.max(), 0.0))):
            expected[index] += 0.001 * (value - expected[index])
    show("moving average range", off=float(np.abs(np.subtract(expected, (low, high))).max()))
    ours = fake_quantize_affine(tf.constant(batches[-1]), *expected).numpy()
    compare_values("moving average", theirs, ours, (high - low) / 255)


if __name__ == "__main__":
    is_quick = sys.argv[1:] == ["quick"]
    show("version", tfmot=tfmot.__version__)
    masks(is_quick)
    halves_and_ties()
    weight_grids(is_quick)
    activation_grids()
