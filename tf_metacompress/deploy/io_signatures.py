"""What goes into a file and comes out of it, as the file itself states it."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.deploy.flatfile import FlatFile, Subgraph, TensorInfo
from tf_metacompress.deploy.records import Record
from tf_metacompress.errors import CorruptFileError

_READ_ERRORS = (struct.error, IndexError, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True, kw_only=True)
class IoTensor(Record):
    """One input or output.

    Attributes:
        name: Name in the signature, else of the tensor.
        position: Place among the inputs or outputs of its subgraph.
        type: Stored type in lower case, such as "int8".
        shape: Extents.
        scale: Quantisation scale, 0.0 when it is not quantised.
        zero_point: Integer that stands for 0.0.
    """

    name: str
    position: int
    type: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def detail(self) -> dict[str, Any]:
        """Its type and quantisation, as `quantized` and `dequantized` take them."""
        return {"dtype": np.dtype(self.type), "quantization": (self.scale, self.zero_point)}


@dataclass(frozen=True, kw_only=True)
class Signature(Record):
    """One way to call a file.

    Attributes:
        key: Name of the signature, None for a file that is called by position.
        inputs: What goes in.
        outputs: What comes out.
    """

    key: str | None
    inputs: tuple[IoTensor, ...]
    outputs: tuple[IoTensor, ...]


def read_signatures(file: FlatFile) -> tuple[Signature, ...]:
    """Lists the ways to call a file.

    Args:
        file: A checked file.

    Returns:
        The main one first, which `LitertModel` runs, then any others in the order of the file.

    Raises:
        CorruptFileError: If a signature names a tensor or subgraph that does not exist.
    """
    model = schema.Model.GetRootAs(file.data, 0)
    count = model.SignatureDefsLength()
    try:
        stated = [_stated(model.SignatureDefs(index), file) for index in range(count)]
    except _READ_ERRORS as error:
        raise CorruptFileError(
            f"A signature of the .tflite file leads nowhere. Received: {len(file.data)} bytes. "
            "Copy or export it again."
        ) from error
    if count and model.SignatureDefs(0).SubgraphIndex() == 0:
        return tuple(stated)
    graph = file.main
    main = Signature(
        key=None,
        inputs=_tensors(file.input_names, graph, graph.inputs),
        outputs=_tensors(file.output_names, graph, graph.outputs),
    )
    return (main, *stated)


def _stated(signature: schema.SignatureDef, file: FlatFile) -> Signature:
    graph = file.subgraphs[signature.SubgraphIndex()]
    inputs = (signature.Inputs(index) for index in range(signature.InputsLength()))
    outputs = (signature.Outputs(index) for index in range(signature.OutputsLength()))
    return Signature(
        key=(signature.SignatureKey() or b"").decode(),
        inputs=_tensors(_named(inputs), graph, graph.inputs),
        outputs=_tensors(_named(outputs), graph, graph.outputs),
    )


def _named(maps: Iterable[schema.TensorMap]) -> dict[str, int]:
    return {item.Name().decode(): item.TensorIndex() for item in maps}


def _tensors(
    names: Mapping[str, int], graph: Subgraph, order: tuple[int, ...]
) -> tuple[IoTensor, ...]:
    return tuple(
        _tensor(name, graph.tensors[index], order.index(index)) for name, index in names.items()
    )


def _tensor(name: str, tensor: TensorInfo, position: int) -> IoTensor:
    # On floats the runtime takes no notice of a scale.
    quantised = tensor.scales.size > 0 and "int" in tensor.type
    return IoTensor(
        name=name,
        position=position,
        type=tensor.type,
        shape=tensor.shape,
        scale=float(tensor.scales[0]) if quantised else 0.0,
        zero_point=int(tensor.zero_points[0]) if quantised else 0,
    )
