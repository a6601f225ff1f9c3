"""A float32 file without what nothing needs to run it: long names, the converter's notes.

The converter names a tensor after every operation that was fused into it, a hundred letters and
more; in an int8 file of 25,000 weights these names are a fifth. Here inner tensors are named after
layers, which also says more to who looks into the file. It is done before quantising, so that
report, comparison of layers and file agree on the names.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.deploy.flatfile import OpInfo, Subgraph
from tf_metacompress.deploy.modes.inner_buffers import pack
from tf_metacompress.deploy.proof import Source

_KERNEL, _BIAS, _CONSTANT = "kernel", "bias", "constant"


def slimmed(source: Source) -> Source:
    """Shortens the names of a float32 file and drops what no operator reads.

    Inputs and outputs, by which the file is called, keep their names, and so does its description.

    Args:
        source: The converted model.

    Returns:
        The same model in a smaller file.
    """
    layers = {entry.tensor: entry.layer for entry in source.mapped}
    names = _Names(layers)
    model = schema.ModelT.InitFromPackedBuf(source.file.data)
    for graph in source.file.subgraphs:
        names.keep(graph)
    for graph, stored in zip(source.file.subgraphs, model.subgraphs, strict=True):
        for index, name in names.of(graph):
            stored.tensors[index].name = name.encode()
    # It holds the converter's version and the oldest runtime, of which quantising makes a lie.
    model.metadata = None
    _drop_empty_buffers(model)
    data = pack(model, len(source.file.data))
    return replace(source, conversion=replace(source.conversion, data=data))


@dataclass(frozen=True)
class _Names:
    """Gives out names, each once in a file."""

    layers: Mapping[str, str]
    given: Counter[str] = field(default_factory=Counter)

    def keep(self, graph: Subgraph) -> None:
        """Counts the names at the border of a graph as given."""
        self.given.update(graph.tensors[index].name for index in _border(graph))

    def of(self, graph: Subgraph) -> Iterator[tuple[int, str]]:
        """Yields index and new name of every tensor inside a graph."""
        left = {tensor.index for tensor in graph.tensors} - _border(graph)
        for op in graph.ops:
            for index, name in self._around(op, graph):
                if index in left:
                    left.remove(index)
                    yield index, self._once(name)
        for index in sorted(left):
            yield index, self._once(_CONSTANT)

    def _around(self, op: OpInfo, graph: Subgraph) -> Iterator[tuple[int, str]]:
        tensors = [graph.tensors[index] for index in op.inputs if index >= 0]
        layer = next((self.layers[t.name] for t in tensors if t.name in self.layers), None)
        base = layer or op.name.lower()
        for tensor in tensors:
            if tensor.is_constant:
                yield tensor.index, f"{base}/{self._role(tensor.name, layer, len(tensor.shape))}"
        for index in op.outputs:
            yield index, base

    def _role(self, name: str, layer: str | None, rank: int) -> str:
        if name in self.layers:
            return _KERNEL
        return _BIAS if layer and rank == 1 else _CONSTANT

    def _once(self, name: str) -> str:
        """Numbers a name that is taken: "add", "add_1", "add_2"."""
        free = name
        while self.given[free]:
            free = f"{name}_{self.given[name]}"
            self.given[name] += 1
        self.given[free] += 1
        return free


def _border(graph: Subgraph) -> set[int]:
    return {*graph.inputs, *graph.outputs}


def _drop_empty_buffers(model: schema.ModelT) -> None:
    """Lets all tensors without constants share the first buffer, which is empty by convention."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    filled = sorted({t.buffer for t in tensors if _is_filled(model.buffers[t.buffer])} - {0})
    places = {old: new for new, old in enumerate(filled, 1)}
    for tensor in tensors:
        tensor.buffer = places.get(tensor.buffer, 0)
    model.buffers = [model.buffers[0], *(model.buffers[old] for old in filled)]


def _is_filled(buffer: schema.BufferT) -> bool:
    return buffer.data is not None and len(buffer.data) > 0
