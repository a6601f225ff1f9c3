"""Frozen data on NumPy and SciPy only: what to do with layers, what it costs, what it may cost."""

from tf_metacompress.policy.action import (
    ACTIVATION_BITS,
    DEFAULT_SPARSITIES,
    WEIGHT_BITS,
    Action,
    action_grid,
)
from tf_metacompress.policy.allocate import Allocation, allocate
from tf_metacompress.policy.budget import RESOURCES, Budget
from tf_metacompress.policy.costs import CostTable, cost_table
from tf_metacompress.policy.device import DEVICES, DeviceProfile, device
from tf_metacompress.policy.distributions import (
    Distribution,
    erk,
    global_magnitude,
    lamp,
    lamp_damage,
    lamp_scores,
    uniform,
)
from tf_metacompress.policy.latency import LatencyTable, layer_key
from tf_metacompress.policy.layer_info import KernelInfo, LayerInfo, WeightStats
from tf_metacompress.policy.policy import Policy
from tf_metacompress.policy.rules import LayerPlan, Rule
from tf_metacompress.policy.size_model import quantized_bytes

__all__ = [
    "ACTIVATION_BITS",
    "DEFAULT_SPARSITIES",
    "DEVICES",
    "RESOURCES",
    "WEIGHT_BITS",
    "Action",
    "Allocation",
    "Budget",
    "CostTable",
    "DeviceProfile",
    "Distribution",
    "KernelInfo",
    "LatencyTable",
    "LayerInfo",
    "LayerPlan",
    "Policy",
    "Rule",
    "WeightStats",
    "action_grid",
    "allocate",
    "cost_table",
    "device",
    "erk",
    "global_magnitude",
    "lamp",
    "lamp_damage",
    "lamp_scores",
    "layer_key",
    "quantized_bytes",
    "uniform",
]
