"""Which method of TensorFlow Lite Micro's op resolver registers each operator of a file."""

from tf_metacompress.deploy.constants import constants
from tf_metacompress.deploy.flatfile import FlatFile, OpInfo, Subgraph
from tf_metacompress.errors import UnsupportedModelError

# Operators with a kernel, whose method is their name in camel case.
_REGULAR = """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO
CALL_ONCE CAST CEIL CONCATENATION COS DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU
EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER
GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION LEAKY_RELU LESS LESS_EQUAL LOG
LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MEAN MINIMUM MIRROR_PAD MUL NEG
NOT_EQUAL PACK PAD PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE
RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX
SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE
SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""
_IRREGULAR = {
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "CONV_2D": "AddConv2D",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "L2_POOL_2D": "AddL2Pool2D",
    "MAX_POOL_2D": "AddMaxPool2D",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    # Custom operators that the resolver knows by a method of their own.
    "CIRCULAR_BUFFER": "AddCircularBuffer",
    "TFLite_Detection_PostProcess": "AddDetectionPostprocess",
    "ethos-u": "AddEthosU",
}
METHODS = {
    name: "Add" + "".join(part.capitalize() for part in name.split("_"))
    for name in _REGULAR.split()
} | _IRREGULAR
_INTEGER_WEIGHTS = ("int8", "int4", "int2")
_WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def resolver_methods(file: FlatFile) -> tuple[str, ...]:
    """Lists the calls that register what a file needs, and nothing else.

    Args:
        file: A .tflite file.

    Returns:
        Names of methods of `MicroMutableOpResolver`, sorted, each once.

    Raises:
        UnsupportedModelError: If there is no kernel for an operator, or for how weights are stored;
            all of them are named.
    """
    names = {op.name for graph in file.subgraphs for op in graph.ops}
    missing = sorted(names - METHODS.keys())
    if missing:
        raise UnsupportedModelError(
            "TensorFlow Lite Micro has no kernel for every operator of the file. "
            f"Received: {', '.join(missing)}. Replace these layers."
        )
    stored = _stored_wrongly(file)
    if stored:
        raise UnsupportedModelError(
            "TensorFlow Lite Micro computes in int8, int16 or float32 throughout. "
            f"Received: {', '.join(stored)}. Export with 8-bit weights or packed='conv' in mode "
            "'int8', or in 'float32'."
        )
    return tuple(sorted(METHODS[name] for name in names))


def _stored_wrongly(file: FlatFile) -> list[str]:
    kinds = []
    held = constants(file)
    if any(_unsigned(op, graph) for graph in file.subgraphs for op in graph.ops):
        kinds.append("uint8 weights")
    if any(tensor.sparse for tensor in held):
        kinds.append("sparse weights")
    if any(tensor.type == "float16" for tensor in held):
        kinds.append("float16 weights")
    if any(_hybrid(op, graph) for graph in file.subgraphs for op in graph.ops):
        kinds.append("integer weights with float activations")
    if any(_packed_by_channel(op, graph) for graph in file.subgraphs for op in graph.ops):
        kinds.append("4-bit weights of dense layers with a scale for each channel")
    return kinds


def _unsigned(op: OpInfo, graph: Subgraph) -> bool:
    tensors = [graph.tensors[index] for index in op.inputs if index >= 0]
    return op.name in _WITH_WEIGHTS and any(tensor.type == "uint8" for tensor in tensors)


def _hybrid(op: OpInfo, graph: Subgraph) -> bool:
    if op.name not in _WITH_WEIGHTS:
        return False
    tensors = [graph.tensors[index] for index in op.inputs if index >= 0]
    integer = any(tensor.is_constant and tensor.type in _INTEGER_WEIGHTS for tensor in tensors)
    results = [graph.tensors[index] for index in op.outputs]
    return integer and any(tensor.type == "float32" for tensor in results)


def _packed_by_channel(op: OpInfo, graph: Subgraph) -> bool:
    """Whether it is what the runtime refuses; convolutions may be stored like this."""
    tensors = [graph.tensors[index] for index in op.inputs if index >= 0]
    dense = op.name == "FULLY_CONNECTED"
    return dense and any(t.type == "int4" and t.scales.size > 1 for t in tensors)
