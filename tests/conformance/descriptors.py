"""One descriptor for every public class; `test_conformance.py` walks them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tf_metacompress import compress, policy, schedules, tasks, wrappers


@dataclass(frozen=True)
class Descriptor:
    """How to make a class.

    Attributes:
        make: Gives a new instance, equal to the one before.
        input_shape: Shape of a batch, for Keras layers and models that can be called.
    """

    make: Callable[[], Any]
    input_shape: tuple[int, ...] | None = None


ARRAYS = (np.zeros((4, 8, 8, 1), "float32"), np.array([0, 1, 0, 1]))


def make_layer_info() -> policy.LayerInfo:
    return policy.LayerInfo(
        name="head",
        kind="Dense",
        kernels=(make_kernel_info(),),
        num_params=650,
        macs=640,
        depth=1.0,
        stats=policy.WeightStats(mean_abs=0.1, std=0.2, max_abs=0.5, kurtosis=3.0),
        output_shape=(None, 10),
    )


def make_kernel_info() -> policy.KernelInfo:
    return policy.KernelInfo(name="kernel", shape=(64, 10), channel_axis=(1,))


def make_device() -> policy.DeviceProfile:
    return policy.DeviceProfile(
        name="board", weight_bits={"*": (8,)}, sparsity_pays={"size_bytes": True}
    )


def make_policy() -> policy.Policy:
    rules = [policy.Rule("conv*", sparsity=0.7, weight_bits=4), policy.Rule("head", weight_bits=8)]
    return policy.Policy(rules, name="by hand", provenance={"seed": 0})


def make_latency_table() -> policy.LatencyTable:
    entries = {("Dense 64x10 -> 10", policy.Action()): 0.02}
    return policy.LatencyTable(entries, device="board", runtime="litert 2.3")


def make_task() -> tasks.Task:
    budget = policy.Budget(size_ratio=0.1)
    return tasks.Task(make_network(), budget, support=ARRAYS, name="digits")


def make_network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv1"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, name="head"),
        ],
        name="network",
    )


def make_compressed_model() -> keras.Model:
    return compress(make_network(), make_policy())


def make_layer_compressor() -> keras.layers.Layer:
    plan = policy.LayerPlan("head", sparsity=0.5, weight_bits=8)
    return wrappers.LayerCompressor(plan, {"kernel": (1,)}, quantize_output=True, name="head")


DESCRIPTORS: dict[type, Descriptor] = {
    policy.Action: Descriptor(lambda: policy.Action(sparsity=0.9, weight_bits=4)),
    wrappers.ActivationRange: Descriptor(
        lambda: wrappers.ActivationRange(num_bits=4, momentum=0.5, name="range"), (2, 3)
    ),
    policy.Budget: Descriptor(lambda: policy.Budget(size_ratio=0.1, latency_ms=2.5)),
    tasks.ClassSubset: Descriptor(lambda: tasks.ClassSubset(num_ways=3)),
    wrappers.CompressedModel: Descriptor(make_compressed_model, (2, 8, 8, 1)),
    schedules.ConstantSparsity: Descriptor(
        lambda: schedules.ConstantSparsity(begin_step=2, frequency=5)
    ),
    tasks.Contrast: Descriptor(lambda: tasks.Contrast(lower=0.5, upper=1.5)),
    policy.DeviceProfile: Descriptor(make_device),
    wrappers.FreezeRanges: Descriptor(lambda: wrappers.FreezeRanges((), after=0.5)),
    policy.KernelInfo: Descriptor(make_kernel_info),
    policy.LatencyTable: Descriptor(make_latency_table),
    wrappers.LayerCompressor: Descriptor(make_layer_compressor),
    policy.LayerInfo: Descriptor(make_layer_info),
    policy.LayerPlan: Descriptor(lambda: policy.LayerPlan("conv1", sparsity=0.5, weight_bits=8)),
    tasks.Noise: Descriptor(lambda: tasks.Noise(stddev=0.1)),
    policy.Policy: Descriptor(make_policy),
    schedules.PolynomialSparsity: Descriptor(lambda: schedules.PolynomialSparsity(end_step=100)),
    tasks.Rotation: Descriptor(lambda: tasks.Rotation(degrees=20.0)),
    policy.Rule: Descriptor(lambda: policy.Rule("conv*", sparsity=0.7, weight_bits=8)),
    tasks.Task: Descriptor(make_task),
    policy.WeightStats: Descriptor(
        lambda: policy.WeightStats(mean_abs=0.1, std=0.2, max_abs=0.5, kurtosis=3.0)
    ),
}
