"""What will execute: the numbers each layer computes with on the device, and on which kernels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tf_metacompress.deploy.delegation import delegated_tensors
from tf_metacompress.deploy.flatfile import FlatFile, OpInfo, Subgraph
from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.layer_map import LayerTensor
from tf_metacompress.deploy.records import Record

_UNPACKING = ("DEQUANTIZE", "DENSIFY")


@dataclass(frozen=True, kw_only=True)
class LayerExecution(Record):
    """How one kernel is computed with.

    Attributes:
        layer: Path of the Keras layer.
        kernel: Position among the layer's kernels.
        op: Operator that uses it, such as "CONV_2D".
        computes: Type of the arithmetic: "float32", "int8" or "int16" as the activations are, or
            "dynamic int8" where activations become integers while the file runs.
        weights: Stored type of the weights; another type than `computes` is widened on loading,
            except int4 and int8 weights of integer operators.
        in_loop: Whether the operator runs once a step inside a loop.
        delegated: Whether a delegate of this machine takes it; None where it does not tell.
    """

    layer: str
    kernel: int
    op: str
    computes: str
    weights: str
    in_loop: bool
    delegated: bool | None

    def __str__(self) -> str:
        """Says it in a few words."""
        widened = self.computes == "float32" and self.weights != "float32"
        text = f"float32, weights widened from {self.weights}" if widened else self.computes
        if self.computes.startswith("int") and self.weights != self.computes:
            text = f"{self.computes} with {self.weights} weights"
        return text + (", in a loop" if self.in_loop else "")


def layer_executions(
    opened: LitertModel, mapped: Sequence[LayerTensor]
) -> tuple[LayerExecution, ...]:
    """Finds the operator that computes with each kernel of an exported file.

    Args:
        opened: The exported file.
        mapped: Kernel to tensor name.

    Returns:
        One entry a kernel whose tensor is still there, in the order of `mapped`.
    """
    taken = delegated_tensors(opened.op_details())
    users = dict(_users(opened.file))
    found = ((entry, users[entry.tensor]) for entry in mapped if entry.tensor in users)
    return tuple(_execution(entry, opened.file, *place, taken) for entry, place in found)


def _users(file: FlatFile) -> Iterator[tuple[str, tuple[int, OpInfo]]]:
    """Gives the names of constants with the subgraph and the operator that computes with them."""
    for number, graph in enumerate(file.subgraphs):
        computing = [op for op in graph.ops if op.name not in _UNPACKING and op.outputs]
        reads = [(op, _read(op, graph)) for op in reversed(computing)]
        yield from ((name, (number, op)) for op, types in reads for name in types)


def _read(op: OpInfo, graph: Subgraph) -> dict[str, str]:
    """Gives the names and stored types of the constants that an operator reads, unpacked or not."""
    origin = _origins(graph)
    sources = [graph.tensors[origin.get(index, index)] for index in op.inputs if index >= 0]
    return {tensor.name: tensor.type for tensor in sources if tensor.is_constant}


def _origins(graph: Subgraph) -> Mapping[int, int]:
    """Maps what is unpacked from a constant to that constant."""
    return {op.outputs[0]: op.inputs[0] for op in graph.ops if op.name in _UNPACKING}


def _execution(
    entry: LayerTensor,
    file: FlatFile,
    number: int,
    op: OpInfo,
    taken: frozenset[int] | None,
) -> LayerExecution:
    graph = file.subgraphs[number]
    stored = _read(op, graph)[entry.tensor]
    direct = any(i >= 0 and graph.tensors[i].name == entry.tensor for i in op.inputs)
    result = graph.tensors[op.outputs[0]].type
    dynamic = direct and result == "float32" and stored.startswith("int")
    return LayerExecution(
        layer=entry.layer,
        kernel=entry.kernel,
        op=op.name,
        computes="dynamic int8" if dynamic else result,
        weights=stored,
        in_loop=number > 0,
        delegated=None if taken is None or number > 0 else op.outputs[0] in taken,
    )
