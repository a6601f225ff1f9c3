"""Every tensor of a file that is not what was asked for, and why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tf_metacompress.deploy.constants import is_weight
from tf_metacompress.deploy.flatfile import FlatFile, OpInfo, Subgraph, TensorInfo
from tf_metacompress.deploy.layer_map import LayerTensor
from tf_metacompress.deploy.modes.op_formats import FAST_PACKED_OPS, OpFormat
from tf_metacompress.deploy.records import Record
from tf_metacompress.policy import LayerPlan

_INTEGER_MODES = {"int8": "int8", "int16x8": "int16"}
_WEIGHTS = {"float16": "float16", "dynamic": "int8", "int8": "int8", "int16x8": "int8"}
_TYPES = {4: "int4", 8: "int8", 16: "float16", 32: "float32"}
_ACTIVATIONS = {8: "int8", 16: "int16"}
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE", "DENSIFY")
_FLOATS = ("float32", "float16")


@dataclass(frozen=True, kw_only=True)
class TensorDeviation(Record):
    """One tensor that is not what was asked for.

    Attributes:
        tensor: Name in the file.
        asked: Type that the mode or the policy asked for.
        type: Type that it has.
        why: The reason, in plain words.
    """

    tensor: str
    asked: str
    type: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked of a file.

    Attributes:
        mode: Name of the export mode.
        io_dtype: Type of its inputs and outputs.
        plans: What the policy says, in mode "mixed".
        formats: Key of an operator to the numbers that the runtime has for it, likewise.
    """

    mode: str
    io_dtype: str
    plans: Sequence[LayerPlan] = ()
    formats: Mapping[str, OpFormat] = field(default_factory=dict)


def find_deviations(
    file: FlatFile, mapped: Sequence[LayerTensor], asked: Asked
) -> tuple[TensorDeviation, ...]:
    """Compares the types in a file with those that were asked for.

    Shapes, axes and indices, which are no numbers of the model, are left out, and so are biases
    and the small constants of float operators.

    Args:
        file: The exported file.
        mapped: Kernel to tensor name.
        asked: What was asked for.

    Returns:
        One entry a tensor, in the order of the file.
    """
    plans = {plan.layer: plan for plan in asked.plans}
    by_tensor = {entry.tensor: plans[entry.layer] for entry in mapped if entry.layer in plans}
    return tuple(
        entry
        for number, graph in enumerate(file.subgraphs)
        for entry in _in_graph(_Place(graph, number > 0), by_tensor, asked)
    )


@dataclass(frozen=True)
class _Place:
    """A subgraph, and whether it is the body of a loop or branch."""

    graph: Subgraph
    in_loop: bool

    def users(self, tensor: TensorInfo) -> list[OpInfo]:
        """Operators that compute with a tensor, unpacked or not."""
        ops = [op for op in self.graph.ops if tensor.index in op.inputs]
        unpacked = {op.outputs[0] for op in ops if op.name in _CONVERSIONS}
        behind = [op for op in self.graph.ops if unpacked & set(op.inputs)]
        return [op for op in ops if op.name not in _CONVERSIONS] + behind


def _in_graph(
    place: _Place, by_tensor: Mapping[str, LayerPlan], asked: Asked
) -> Iterator[TensorDeviation]:
    for tensor in place.graph.tensors:
        if tensor.is_constant:
            wanted = _wanted_weights(tensor, by_tensor, asked)
            why = _why_weights
        else:
            wanted = _wanted_activation(tensor, place, asked)
            why = _why_activation
        if wanted is not None and tensor.type != wanted:
            yield TensorDeviation(
                tensor=tensor.name,
                asked=wanted,
                type=tensor.type,
                why=why(tensor, place, wanted),
            )


def _wanted_weights(
    tensor: TensorInfo, by_tensor: Mapping[str, LayerPlan], asked: Asked
) -> str | None:
    if not is_weight(tensor) or len(tensor.shape) < 2:
        return None
    if asked.mode != "mixed":
        return _WEIGHTS.get(asked.mode, "float32")
    plan = by_tensor.get(tensor.name)
    if plan is None:
        return None
    return _TYPES.get(plan.weight_bits, f"int{plan.weight_bits}")


def _wanted_activation(tensor: TensorInfo, place: _Place, asked: Asked) -> str | None:
    graph = place.graph
    makers = [op for op in graph.ops if tensor.index in op.outputs]
    border = not place.in_loop and tensor.index in (*graph.inputs, *graph.outputs)
    if tensor.type not in (*_FLOATS, "int8", "int16") or (not makers and not border):
        return None
    if border:
        return asked.io_dtype
    if asked.mode == "mixed":
        chosen = asked.formats.get(tensor.name)
        return _ACTIVATIONS.get(chosen.activation_bits, "float32") if chosen else None
    return _INTEGER_MODES.get(asked.mode, "float32")


def _why_weights(tensor: TensorInfo, place: _Place, wanted: str) -> str:
    user = next((op.name for op in place.users(tensor)), "its operator")
    if tensor.type == "int4":
        fast = "runs fast with packed weights" if user in FAST_PACKED_OPS else "was to be packed"
        return f"4 bits hold them without loss, and {user} {fast}"
    if tensor.type == "int8" and wanted.startswith("int"):
        return f"{user} has no fast kernel with {wanted} weights; int8 holds the same levels"
    if tensor.type == "int8":
        return f"{user} computes with integers, whose weights are stored in int8"
    return f"the quantizer leaves constants of {user} in {tensor.type}"


def _why_activation(tensor: TensorInfo, place: _Place, wanted: str) -> str:
    graph = place.graph
    if place.in_loop:
        return "inside a loop or branch all arithmetic is float32"
    if tensor.index in graph.inputs:
        return "the operator that reads this input has no integer kernel"
    maker = next((op.name for op in graph.ops if tensor.index in op.outputs), "its operator")
    if maker in _CONVERSIONS:
        readers = ", ".join(op.name for op in graph.ops if tensor.index in op.inputs)
        return f"converted for {readers or 'the output'}, which has no kernel for {wanted} here"
    if tensor.type in _FLOATS:
        return f"{maker} or an operator that reads it has no integer kernel"
    return f"{maker} computes with what goes into it"
