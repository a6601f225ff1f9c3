"""Keeps the names of inputs and outputs on the right tensors.

Where an output is read by an operator of another format too, the quantizer gives the file a
converted tensor as its output, but leaves the signature's name on the one before.
"""

from collections.abc import Mapping, Sequence

from ai_edge_litert import schema_py_generated as schema

from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.modes.inner_buffers import pack


def with_names_of(data: bytes, original: FlatFile) -> bytes:
    """Gives each input and output the name that it had before quantisation.

    Args:
        data: A .tflite file that was made from `original`.
        original: The file with the names; inputs and outputs are in the same order.

    Returns:
        The file with a signature that fits its inputs and outputs.
    """
    model = schema.ModelT.InitFromPackedBuf(data)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    _rename(signature.inputs, original.input_names, original.main.inputs, graph.inputs)
    _rename(signature.outputs, original.output_names, original.main.outputs, graph.outputs)
    return pack(model, len(data))


def _rename(
    items: Sequence[schema.TensorMapT],
    names: Mapping[str, int],
    before: Sequence[int],
    after: Sequence[int],
) -> None:
    for item in items or ():
        item.tensorIndex = int(after[before.index(names[item.name.decode()])])
