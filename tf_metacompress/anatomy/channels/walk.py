"""A walk over the graph of a model, nested models included, each call by its rule."""

from collections.abc import Sequence
from typing import Any

import keras

from tf_metacompress.anatomy.channels import activations, joins, kernels, shapes
from tf_metacompress.anatomy.channels.graph import (
    Graph,
    GraphCall,
    TensorKey,
    has_graph,
    read_graph,
)
from tf_metacompress.anatomy.channels.ledger import EXTENT, Flow, Ledger, Slot
from tf_metacompress.anatomy.channels.visit import Visit, rule_of
from tf_metacompress.layer_tree import leaf_layers

RULE_MODULES = (activations, joins, kernels, shapes)

OUTPUT_REASON = "it is an output of the model"
"""Why the channels of a layer whose result the model returns stay."""

_REASONS = {
    "LayerNormalization": "normalises over the channels",
    "GroupNormalization": "normalises over groups of channels",
    "UnitNormalization": "normalises over the channels",
    "RMSNormalization": "normalises over the channels",
    "Normalization": "has constants for single channels",
    "Softmax": "mixes channels",
    "MultiHeadAttention": "splits its input into heads",
    "Dot": "mixes channels",
    "GetItem": "takes a part of the tensor",
}


class Walker:
    """Walks over models and keeps a ledger.

    Args:
        model: The outermost model.
    """

    def __init__(self, model: keras.Model) -> None:
        self.ledger = Ledger()
        self._paths = {id(layer): path for path, layer in leaf_layers(model).items()}
        self._nested: dict[int, str] = {}

    def run(self, model: keras.Model, prefix: str, inputs: Sequence[Flow]) -> list[Flow]:
        """Walks over one model.

        Args:
            model: A model with a graph.
            prefix: Path of the model with "/" behind; "" for the outermost.
            inputs: The tensors it is called on.

        Returns:
            The tensors it returns.
        """
        shape = inputs[0].shape if len(inputs) == 1 else None
        graph = read_graph(model, shape)
        values = dict(zip(graph.inputs, inputs, strict=True))
        for call in graph.calls:
            for index, flow in enumerate(self._call(call, graph, values, prefix)):
                values[TensorKey(call.name, call.number, index)] = flow
        return [values.get(key) or Flow(graph.shapes.get(key)) for key in graph.outputs]

    def _call(
        self, call: GraphCall, graph: Graph, values: dict[TensorKey, Flow], prefix: str
    ) -> list[Flow]:
        flows = {key: values.get(key) or Flow(graph.shapes.get(key)) for key in call.inputs}
        inputs = tuple(flows[key] for key in call.inputs)
        operation = call.operation
        if has_graph(operation):
            return self._nest(operation, prefix, inputs)
        visit = Visit(
            ledger=self.ledger,
            path=self._paths.get(id(operation), f"{prefix}{call.name}"),
            operation=operation,
            flows=inputs,
            arguments=tuple(_filled(argument, flows) for argument in call.arguments),
            shape=graph.shapes.get(TensorKey(call.name, call.number, 0)),
        )
        rule = rule_of(operation)
        if getattr(operation, "quantization_mode", None):
            return [visit.stop("is quantised by Keras already")]
        if rule is None:
            reason = _REASONS.get(type(operation).__name__, "cannot be followed")
            return [visit.stop(reason)]
        return [rule(visit)]

    def _nest(self, model: keras.Model, prefix: str, inputs: Sequence[Flow]) -> list[Flow]:
        path = self._nested.setdefault(id(model), f"{prefix}{model.name}")
        if len(inputs) != len(model.inputs):
            for flow in inputs:
                self.ledger.pin(flow, f"{path} ({type(model).__name__}) takes other inputs")
            return []
        is_sequential = isinstance(model, keras.Sequential)
        if is_sequential:
            places = [(path, "build_input_shape")]
        else:
            places = [(f"{path}/{key.name}", "batch_shape") for key in read_graph(model).inputs]
        for where, flow in zip(places, inputs, strict=True):
            if flow.followed:
                self.ledger.hold(Slot(*where, flow.axis, flow.labels, EXTENT))
        return self.run(model, f"{path}/", inputs)


def _filled(value: Any, flows: dict[TensorKey, Flow]) -> Any:
    """Arguments with the tensors in the place of their keys."""
    if isinstance(value, TensorKey):
        return flows[value]
    if isinstance(value, (list, tuple)):
        return [_filled(item, flows) for item in value]
    return value


def walk(model: keras.Model) -> Ledger:
    """Walks over a model from its inputs to its outputs, neither of which can be cut.

    Args:
        model: A model with a graph.

    Returns:
        What was learnt of its channels.
    """
    walker = Walker(model)
    inputs = [Flow(tuple(tensor.shape)) for tensor in model.inputs]
    for flow in walker.run(model, "", inputs):
        walker.ledger.pin(flow, OUTPUT_REASON)
    # The plainest reason first: of several, the first counts.
    walker.ledger.pins.sort(key=lambda pin: pin[1] != OUTPUT_REASON)
    return walker.ledger
