"""Frozen data on NumPy and SciPy only: what to do with layers, what it costs, what it may cost."""

from tf_metacompress.policy.action import (
    ACTIVATION_BITS,
    DEFAULT_SPARSITIES,
    WEIGHT_BITS,
    Action,
    action_grid,
)
from tf_metacompress.policy.allocate import Allocation, allocate
from tf_metacompress.policy.budget import RESOURCES, Budget, check_budget
from tf_metacompress.policy.channel_group import ChannelGroup, ChannelMember
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
from tf_metacompress.policy.format_allocation import allocate_formats
from tf_metacompress.policy.latency import LatencyTable, layer_key
from tf_metacompress.policy.latency_predictor import LatencyPredictor, fit_latency
from tf_metacompress.policy.layer_info import KernelInfo, LayerInfo, WeightStats
from tf_metacompress.policy.narrowing import narrowed
from tf_metacompress.policy.pattern import PatternSpec, input_axis, num_units, parse_pattern
from tf_metacompress.policy.plan_checks import fitting_sparsity
from tf_metacompress.policy.policy import Policy
from tf_metacompress.policy.relaxation import resource_prices
from tf_metacompress.policy.rules import LayerPlan, Rule
from tf_metacompress.policy.settling import allow
from tf_metacompress.policy.size_model import quantized_bytes
from tf_metacompress.policy.stored_form import StoredForm, storage_notes, stored_form

__all__ = [
    "ACTIVATION_BITS",
    "DEFAULT_SPARSITIES",
    "DEVICES",
    "RESOURCES",
    "WEIGHT_BITS",
    "Action",
    "Allocation",
    "Budget",
    "ChannelGroup",
    "ChannelMember",
    "CostTable",
    "DeviceProfile",
    "Distribution",
    "KernelInfo",
    "LatencyPredictor",
    "LatencyTable",
    "LayerInfo",
    "LayerPlan",
    "PatternSpec",
    "Policy",
    "Rule",
    "StoredForm",
    "WeightStats",
    "action_grid",
    "allocate",
    "allocate_formats",
    "allow",
    "check_budget",
    "cost_table",
    "device",
    "erk",
    "fit_latency",
    "fitting_sparsity",
    "global_magnitude",
    "input_axis",
    "lamp",
    "lamp_damage",
    "lamp_scores",
    "layer_key",
    "narrowed",
    "num_units",
    "parse_pattern",
    "quantized_bytes",
    "resource_prices",
    "storage_notes",
    "stored_form",
    "uniform",
]
