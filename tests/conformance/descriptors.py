"""One descriptor for every public class; `test_conformance.py` walks them."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from tf_metacompress import (
    MetaCompressor,
    PruningController,
    callbacks,
    compress,
    meta,
    policy,
    schedules,
    tasks,
    wrappers,
)


@dataclass(frozen=True)
class Descriptor:
    """How to make a class.

    Attributes:
        make: Gives a new instance, equal to the one before.
        input_shape: Shape of a batch, for Keras layers and models that can be called.
        state: What a round trip must keep, in a form that can be compared.
    """

    make: Callable[[], Any]
    input_shape: tuple[int, ...] | None = None
    state: Callable[[Any], Any] = lambda value: value


ARRAYS = (np.zeros((4, 8, 8, 1), "float32"), np.array([0, 1, 0, 1]))


@dataclass(frozen=True)
class TfmotStandIn:
    """As much of a tfmot schedule as `from_tfmot` looks at."""

    target_sparsity: float = 0.5

    def __call__(self, step: int) -> tuple[bool, float]:
        return step % 100 == 0, self.target_sparsity

    def get_config(self) -> dict[str, float]:
        return {"target_sparsity": self.target_sparsity}


def meta_compressor_state(compressor: MetaCompressor) -> Any:
    weights = [np.asarray(weight).tolist() for weight in compressor.phi]
    return weights, compressor.hidden, compressor.actions, compressor.temperature


def make_option() -> meta.Option:
    return meta.Option(sparsity=0.5, weight_bits=8, damage=0.2, deviation=0.01, cost=100.0)


def make_layer_explanation() -> meta.LayerExplanation:
    return meta.LayerExplanation(
        layer="head",
        kind="Dense",
        choice=make_option(),
        runner_up=None,
        drivers=policy.frozen_mapping.FrozenMapping({"prior": 0.1}),
    )


def make_budget_change() -> meta.BudgetChange:
    layers = policy.frozen_mapping.FrozenMapping({"head": "50%/8 bit → 0%/8 bit"})
    return meta.BudgetChange(amount=1024.0, damage_change=-0.2, layers=layers)


def make_resource_use() -> meta.ResourceUse:
    return meta.ResourceUse(resource="macs", limit=2e6, cost=1e6, price=0.0)


def make_explanation() -> meta.Explanation:
    return meta.Explanation(
        policy="phi",
        device="android-arm64",
        resource="size_bytes",
        limit=2000.0,
        cost=1900.0,
        price=1e-4,
        damage=0.2,
        least_damage=0.2,
        layers=(make_layer_explanation(),),
        more=make_budget_change(),
        less=None,
        others=(make_resource_use(),),
    )


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


def make_cost_table() -> policy.CostTable:
    kernels = {"head": (np.linspace(-1.0, 1.0, 640).reshape(64, 10),)}
    actions = policy.action_grid((0.0, 0.5), (8,))
    return policy.cost_table((make_layer_info(),), kernels, device="cortex-m", actions=actions)


def make_allocation() -> policy.Allocation:
    damage, cost = np.array([[0.0, 1.0]]), np.array([[[2.0], [1.0]]])
    return policy.allocate(damage, cost, np.array([1.5]))


def make_channel_member() -> policy.ChannelMember:
    return policy.ChannelMember(
        layer="conv1", weight="kernel", axis=3, positions=((0,), (1,)), role="output"
    )


def make_channel_group() -> policy.ChannelGroup:
    return policy.ChannelGroup(
        size=2, members=(make_channel_member(),), producers=("conv1",), consumers=("head",)
    )


def make_channel_pruner() -> keras.layers.Layer:
    return wrappers.ChannelPruner(make_channel_group(), 1, {"conv1": {"kernel": (3,)}}, name="pair")


def make_teacher() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])


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


def make_latency_predictor() -> policy.LatencyPredictor:
    return policy.fit_latency(make_latency_table())


def make_task() -> tasks.Task:
    budget = policy.Budget(size_ratio=0.1)
    return tasks.Task(make_network(), budget, support=ARRAYS, name="digits")


def make_few_shot_task() -> tasks.FewShotTask:
    x, y = ARRAYS
    return tasks.FewShotTask(
        support=(x[:2], y[:2]),
        query=(x[2:], y[2:]),
        classes=("a", "b"),
        rows=(np.array([0, 1]), np.array([2, 3])),
    )


def make_classes() -> tasks.ClassArrays:
    return tasks.ClassArrays(*ARRAYS, names=("a", "b"))


@functools.cache
def folder_of_images() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("a", "b"):
        (folder / name).mkdir()
        Image.new("L", (8, 8), 200).save(folder / name / "1.png")
    return folder


def make_dataset_tasks() -> tasks.DatasetTasks:
    return tasks.DatasetTasks(tf.data.Dataset.from_tensor_slices(ARRAYS), 2, 2)


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


def make_learner(kind: type) -> Callable[[], meta.MetaLearner]:
    return lambda: kind(make_network(), inner_steps=2)


def make_compressed_model() -> keras.Model:
    return compress(make_network(), make_policy())


def make_layer_compressor() -> keras.layers.Layer:
    plan = policy.LayerPlan("head", sparsity=0.5, weight_bits=8)
    return wrappers.LayerCompressor(plan, {"kernel": (1,)}, quantize_output=True, name="head")


LEARNERS = (
    meta.ANIL,
    meta.FirstOrderMAML,
    meta.MAML,
    meta.MetaCurvature,
    meta.MetaSGD,
    meta.Reptile,
)

DESCRIPTORS: dict[type, Descriptor] = {
    **{kind: Descriptor(make_learner(kind)) for kind in LEARNERS},
    meta.MAMLOptions: Descriptor(lambda: meta.MAMLOptions(learn_inner_lr=True)),
    meta.MetaScore: Descriptor(
        lambda: meta.MetaScore(losses=np.array([0.5, 0.7]), accuracies=np.array([1.0, 0.5]))
    ),
    policy.Action: Descriptor(lambda: policy.Action(sparsity=0.9, weight_bits=4)),
    wrappers.ActivationRange: Descriptor(
        lambda: wrappers.ActivationRange(num_bits=4, momentum=0.5, name="range"), (2, 3)
    ),
    policy.Allocation: Descriptor(make_allocation),
    policy.Budget: Descriptor(lambda: policy.Budget(size_ratio=0.1, latency_ms=2.5)),
    policy.ChannelGroup: Descriptor(make_channel_group),
    policy.ChannelMember: Descriptor(make_channel_member),
    wrappers.ChannelPruner: Descriptor(make_channel_pruner),
    tasks.ClassArrays: Descriptor(make_classes),
    tasks.ClassSubset: Descriptor(lambda: tasks.ClassSubset(num_ways=3)),
    wrappers.CompressedModel: Descriptor(make_compressed_model, (2, 8, 8, 1)),
    schedules.ConstantSparsity: Descriptor(
        lambda: schedules.ConstantSparsity(begin_step=2, frequency=5)
    ),
    tasks.Contrast: Descriptor(lambda: tasks.Contrast(lower=0.5, upper=1.5)),
    policy.CostTable: Descriptor(make_cost_table),
    tasks.DatasetTasks: Descriptor(make_dataset_tasks),
    policy.DeviceProfile: Descriptor(make_device),
    wrappers.FreezeRanges: Descriptor(lambda: wrappers.FreezeRanges((), after=0.5)),
    tasks.ImageFolder: Descriptor(lambda: tasks.ImageFolder(folder_of_images(), size=(4, 4))),
    schedules.IterativeSparsity: Descriptor(
        lambda: schedules.IterativeSparsity(num_rounds=3, steps_per_round=10)
    ),
    tasks.FewShotTask: Descriptor(make_few_shot_task),
    policy.KernelInfo: Descriptor(make_kernel_info),
    policy.StoredForm: Descriptor(
        lambda: policy.stored_form(policy.LayerPlan("conv", weight_bits=4), "Conv2D")
    ),
    policy.LatencyPredictor: Descriptor(make_latency_predictor),
    policy.LatencyTable: Descriptor(make_latency_table),
    wrappers.LayerCompressor: Descriptor(make_layer_compressor),
    policy.LayerInfo: Descriptor(make_layer_info),
    policy.LayerPlan: Descriptor(lambda: policy.LayerPlan("conv1", sparsity=0.5, weight_bits=8)),
    callbacks.Distillation: Descriptor(lambda: callbacks.Distillation(make_teacher())),
    callbacks.MetaCompress: Descriptor(
        lambda: callbacks.MetaCompress(policy.Budget(size_ratio=0.1), support=ARRAYS)
    ),
    meta.BudgetChange: Descriptor(make_budget_change),
    meta.Explanation: Descriptor(make_explanation),
    meta.LayerExplanation: Descriptor(make_layer_explanation),
    meta.Option: Descriptor(make_option),
    meta.ResourceUse: Descriptor(make_resource_use),
    MetaCompressor: Descriptor(
        lambda: MetaCompressor(hidden=(4,), seed=1), state=meta_compressor_state
    ),
    tasks.NWayKShot: Descriptor(lambda: tasks.NWayKShot(make_classes(), 2, 1, 1)),
    tasks.Noise: Descriptor(lambda: tasks.Noise(stddev=0.1)),
    schedules.OneShotSparsity: Descriptor(lambda: schedules.OneShotSparsity(begin_step=3)),
    policy.PatternSpec: Descriptor(lambda: policy.parse_pattern("block:4x2:max")),
    policy.Policy: Descriptor(make_policy),
    tasks.Polynomials: Descriptor(lambda: tasks.Polynomials(degree=2, seed=3)),
    schedules.PolynomialSparsity: Descriptor(lambda: schedules.PolynomialSparsity(end_step=100)),
    PruningController: Descriptor(
        lambda: PruningController((), schedules.ConstantSparsity()),
        state=lambda controller: (controller.compressors, controller.schedule, controller.step),
    ),
    callbacks.PruningSchedule: Descriptor(lambda: callbacks.PruningSchedule(end_step=10)),
    tasks.RotatedClasses: Descriptor(lambda: tasks.RotatedClasses(make_classes(), (0, 2))),
    tasks.Rotation: Descriptor(lambda: tasks.Rotation(degrees=20.0)),
    policy.Rule: Descriptor(lambda: policy.Rule("conv*", sparsity=0.7, weight_bits=8)),
    tasks.Sinusoid: Descriptor(lambda: tasks.Sinusoid(num_shots=5, seed=3)),
    tasks.SomeClasses: Descriptor(lambda: tasks.SomeClasses(make_classes(), ("b",))),
    callbacks.SparsityLogger: Descriptor(lambda: callbacks.SparsityLogger(per_layer=False)),
    tasks.Task: Descriptor(make_task),
    schedules.TfmotSparsity: Descriptor(lambda: schedules.from_tfmot(TfmotStandIn())),
    tasks.VariantTasks: Descriptor(
        lambda: tasks.VariantTasks(*ARRAYS, 2, 2, variants=(tasks.Noise(stddev=0.1),))
    ),
    policy.WeightStats: Descriptor(
        lambda: policy.WeightStats(mean_abs=0.1, std=0.2, max_abs=0.5, kurtosis=3.0)
    ),
    wrappers.ZeroShare: Descriptor(
        lambda: wrappers.ZeroShare(num_channels=3, momentum=0.5, name="zeros"), (2, 3)
    ),
}
