"""What every action costs on every layer of a model, in every resource that a budget can limit."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from tf_metacompress.errors import UnsupportedModelError, check_choice, invalid, wrong_type
from tf_metacompress.policy.action import Action
from tf_metacompress.policy.budget import RESOURCES, Budget
from tf_metacompress.policy.device import DeviceProfile
from tf_metacompress.policy.device import device as find_device
from tf_metacompress.policy.format_borders import in_float, num_borders
from tf_metacompress.policy.frozen_mapping import FrozenMapping
from tf_metacompress.policy.latency import LatencyTable
from tf_metacompress.policy.layer_info import KernelInfo, LayerInfo
from tf_metacompress.policy.size_model import (
    FLOAT_DOWNLOAD,
    FLOAT_FLASH,
    QUANTIZED_DOWNLOAD,
    QUANTIZED_FLASH,
    KernelSizer,
)

_FOLDED_KINDS = ("BatchNormalization",)
_PACKED_INT4_KINDS = ("Dense",)
"""Kinds whose 4-bit weights the file packs two to a byte; the others keep one byte a weight."""

_FLOAT32_BYTES = 4.0

_TRAINED_GROWTH = 1.06
"""Growth of a pruned kernel after gzip by fine-tuning, which spreads the weights that stay."""

_ANCHORS = 8

Sizers = tuple[KernelSizer, ...]
"""One sizer for each kernel of a layer."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CostTable:
    """Costs of A actions on the L compressible layers of a model, in K resources.

    Attributes:
        layers: Names of the compressible layers, in order.
        resources: Names of the resources.
        actions: The actions.
        cost: Cost of each action, float64 of shape (L, A, K); where `mask` is False it means
            nothing.
        fixed: What no action changes, float64 of shape (K,).
        mask: Bool of shape (L, A), True where the device can run the action.
        reference: What the float32 model costs, by resource: "size_bytes", "flash_bytes" and
            "macs".
        border_ms: What each change between float32 and integers adds to "latency_ms".
    """

    layers: tuple[str, ...]
    resources: tuple[str, ...]
    actions: tuple[Action, ...]
    cost: np.ndarray
    fixed: np.ndarray
    mask: np.ndarray
    reference: Mapping[str, float]
    border_ms: float = 0.0

    def limits(self, budget: Budget) -> np.ndarray:
        """Gives what a budget allows of each resource.

        Args:
            budget: The budget.

        Returns:
            Float64 of shape (K,), `fixed` included; infinite where the budget sets no limit.

        Raises:
            InvalidArgumentError: If the budget limits a resource that the table does not hold.
        """
        limits = budget.limits(self.reference)
        missing = sorted(set(limits) - set(self.resources))
        if missing:
            raise invalid(
                f"The budget limits {', '.join(missing)}, which the cost table does not hold.",
                "Name it in `resources`.",
                resources=self.resources,
            )
        return np.array([limits.get(name, np.inf) for name in self.resources])

    def total(self, choice: np.ndarray) -> dict[str, float]:
        """Gives the cost of a choice of one action per layer, by resource, everything included.

        Args:
            choice: Index of each layer's action, shape (L,).

        Returns:
            Cost by resource.
        """
        chosen = self.cost[np.arange(len(self.layers)), np.asarray(choice)]
        borders = self.border_cost([in_float(self.actions[index]) for index in choice])
        total = chosen.sum(axis=0) + self.fixed + borders
        return dict(zip(self.resources, total.tolist(), strict=True))

    def border_cost(self, floats: Sequence[bool]) -> np.ndarray:
        """Gives what changes between float32 and integers cost.

        Args:
            floats: For each layer, whether it computes in float32.

        Returns:
            Float64 of shape (K,), zero but for "latency_ms".
        """
        cost = self.border_ms * num_borders(floats)
        return np.array([cost * (name == "latency_ms") for name in self.resources])


def cost_table(
    layer_infos: Sequence[LayerInfo],
    kernels: Mapping[str, tuple[np.ndarray, ...]],
    *,
    device: str | DeviceProfile,
    actions: Sequence[Action],
    latency: LatencyTable | None = None,
    resources: Sequence[str] = ("size_bytes",),
) -> CostTable:
    """Works out the cost of every action on every compressible layer.

    Args:
        layer_infos: All layers of the model.
        kernels: The BatchNorm-folded kernels of each compressible layer, in the order of its
            `kernels`.
        device: Name of a device, or a profile; it says which actions exist and where zeros pay.
        actions: A actions.
        latency: Measured latencies, needed when `resources` has "latency_ms".
        resources: K of "size_bytes", "flash_bytes", "macs", "latency_ms".

    Returns:
        The table.

    Raises:
        UnsupportedModelError: If no layer can be compressed.
        InvalidArgumentError: If kernels are missing or of another shape, if a resource is unknown,
            or if latencies are needed and missing.
    """
    profile = find_device(device)
    actions = _checked_actions(actions)
    resources = tuple(check_choice("resources", name, RESOURCES) for name in resources)
    infos = tuple(info for info in layer_infos if info.compressible)
    if not infos:
        raise UnsupportedModelError("The model has no layer that can be compressed.")
    if "latency_ms" in resources and not isinstance(latency, LatencyTable):
        raise wrong_type("Budgeting latency needs a LatencyTable as `latency`.", latency=latency)
    sizers = {info.name: _sizers(info, kernels) for info in infos}
    mask = np.stack([profile.actions(info, actions) for info in infos])
    cost = np.zeros((len(infos), len(actions), len(resources)))
    for row, info in enumerate(infos):
        allowed = [action for action, runs in zip(actions, mask[row], strict=True) if runs]
        for k, resource in enumerate(resources):
            paid = allowed if profile.pays(resource) else [_dense(action) for action in allowed]
            if resource == "latency_ms":
                cost[row, mask[row], k] = [latency.lookup(info, action) for action in paid]
            else:
                cost[row, mask[row], k] = _COSTS[resource](info, sizers[info.name], paid)
    return CostTable(
        layers=tuple(info.name for info in infos),
        resources=resources,
        actions=actions,
        cost=cost,
        fixed=np.array([_fixed(layer_infos, resource, latency) for resource in resources]),
        mask=mask,
        reference=_reference(layer_infos, sizers),
        border_ms=latency.border_ms if "latency_ms" in resources else 0.0,
    )


def _checked_actions(actions: Sequence[Action]) -> tuple[Action, ...]:
    for action in actions:
        if not isinstance(action, Action):
            raise wrong_type("Each of `actions` must be an Action.", action=action)
    if not actions or len(set(actions)) < len(actions):
        raise invalid("`actions` must be non-empty and without repeats.", count=len(actions))
    return tuple(actions)


def _sizers(info: LayerInfo, kernels: Mapping[str, tuple[np.ndarray, ...]]) -> Sizers:
    arrays = kernels.get(info.name)
    if arrays is None:
        raise invalid("`kernels` lacks a compressible layer.", layer=info.name)
    shapes = [np.shape(array) for array in arrays]
    if shapes != [kernel.shape for kernel in info.kernels]:
        raise invalid(f"The kernels of {info.name!r} have other shapes.", shapes=shapes)
    packed = info.kind in _PACKED_INT4_KINDS
    return tuple(
        KernelSizer(array, kernel.channel_axis, packed_int4=packed)
        for array, kernel in zip(arrays, info.kernels, strict=True)
    )


def _dense(action: Action) -> Action:
    return Action(weight_bits=action.weight_bits)


def _macs(info: LayerInfo, sizers: Sizers, actions: Sequence[Action]) -> np.ndarray:
    return np.array([info.macs * (1.0 - action.sparsity) for action in actions])


def _flash(info: LayerInfo, sizers: Sizers, actions: Sequence[Action]) -> np.ndarray:
    """Adds up file bytes; where zeros pay, kept weights and one bit for each place are stored."""
    total = np.zeros(len(actions))
    for sizer, kernel in zip(sizers, info.kernels, strict=True):
        for index, action in enumerate(actions):
            stored = sizer.flash_bytes(action) * (1.0 - action.sparsity)
            places = kernel.size / 8 if action.sparsity > 0.0 else 0.0
            total[index] += stored + places + sizer.channel_bytes(action)[1]
    return total


def _download(info: LayerInfo, sizers: Sizers, actions: Sequence[Action]) -> np.ndarray:
    growth = np.where([action.sparsity > 0.0 for action in actions], _TRAINED_GROWTH, 1.0)
    total = np.zeros(len(actions))
    for sizer in sizers:
        around = [sizer.channel_bytes(action)[0] for action in actions]
        total += around + growth * _interpolated_download(sizer, actions)
    return total


def _interpolated_download(sizer: KernelSizer, actions: Sequence[Action]) -> np.ndarray:
    """Compresses at a few sparsities and interpolates the rest: it is smooth, and gzip is slow."""
    size = np.zeros(len(actions))
    kinds = [(action.weight_bits, action.pattern) for action in actions]
    for kind in set(kinds):
        rows = np.array([row for row, other in enumerate(kinds) if other == kind])
        sparsities, place = np.unique([actions[row].sparsity for row in rows], return_inverse=True)
        steps = np.linspace(0, len(sparsities) - 1, min(_ANCHORS, len(sparsities)))
        anchors = sparsities[np.unique(np.rint(steps).astype(int))]
        bits, pattern = kind
        found = [sizer.download_bytes(Action(float(s), bits, pattern)) for s in anchors]
        size[rows] = _through(anchors, np.array(found), sparsities)[place]
    return size


def _through(known: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Interpolates positive values monotonically, both axes on a logarithmic scale."""
    if len(known) == len(wanted):
        return values
    curve = PchipInterpolator(-np.log1p(-known), np.log(values))
    return np.exp(curve(-np.log1p(-wanted)))


_COSTS: Mapping[str, Callable[[LayerInfo, Sizers, Sequence[Action]], np.ndarray]] = {
    "size_bytes": _download,
    "flash_bytes": _flash,
    "macs": _macs,
}


def _fixed(layer_infos: Sequence[LayerInfo], resource: str, latency: LatencyTable | None) -> float:
    """Gives what the layers that stay as they are, and the file around all of them, cost."""
    if resource == "latency_ms":
        return latency.overhead_ms
    if resource == "macs":
        return float(sum(info.macs for info in layer_infos if not info.compressible))
    quantized = QUANTIZED_DOWNLOAD if resource == "size_bytes" else QUANTIZED_FLASH
    kernels = [kernel for info in layer_infos if info.compressible for kernel in info.kernels]
    around = quantized.per_file + quantized.per_kernel * len(kernels)
    zero_points = sum({_num_scales(kernel) for kernel in kernels})
    return around + quantized.per_zero_point * zero_points + _untouched_bytes(layer_infos)


def _num_scales(kernel: KernelInfo) -> int:
    return math.prod(kernel.shape[axis] for axis in kernel.channel_axis)


def _untouched_bytes(layer_infos: Sequence[LayerInfo]) -> float:
    kept = (i for i in layer_infos if not i.compressible and i.kind not in _FOLDED_KINDS)
    return sum(info.num_params for info in kept) * _FLOAT32_BYTES


def _reference(
    layer_infos: Sequence[LayerInfo], sizers: Mapping[str, Sizers]
) -> FrozenMapping[str, float]:
    download, flash = FLOAT_DOWNLOAD.per_file, FLOAT_FLASH.per_file
    for sizer in (sizer for layer in sizers.values() for sizer in layer):
        extra = sizer.quantized_bytes(Action(weight_bits=32))
        download += extra[0] + FLOAT_DOWNLOAD.per_kernel
        flash += extra[1] + FLOAT_FLASH.per_kernel
    untouched = _untouched_bytes(layer_infos)
    return FrozenMapping(
        {
            "size_bytes": download + untouched,
            "flash_bytes": flash + untouched,
            "macs": float(sum(info.macs for info in layer_infos)),
        }
    )
