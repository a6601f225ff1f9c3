"""The model that trains compressed."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras

from tf_metacompress.layer_tree import give_names, is_redirected, layer_names, leaf_layers
from tf_metacompress.wrappers.channel_pruner import ChannelPruner
from tf_metacompress.wrappers.fused_batch_norm import fuse_batch_norms
from tf_metacompress.wrappers.layer_compressor import LayerCompressor
from tf_metacompress.wrappers.range_freeze import FreezeRanges

Model = keras.Model
Compressor = ChannelPruner | LayerCompressor
"""What acts on the layers of a model."""


def is_compressed(model: keras.Model) -> bool:
    """Whether a model is one that trains compressed, or is being compressed in place.

    Args:
        model: Any Keras 3 model.

    Returns:
        False for a plain model.
    """
    if isinstance(model, CompressedModel):
        return True
    return any(is_redirected(layer) for layer in leaf_layers(model).values())


@keras.saving.register_keras_serializable(package="tf_metacompress")
class CompressedModel(Model):
    """A Keras model around another, whose layers compute with compressed kernels.

    Made by `tf_metacompress.compress`. It compiles, fits, saves and loads as any Keras model;
    `tf_metacompress.finalize` turns it into a plain one.

    Args:
        network: The model to train, which this model owns from now on.
        compressors: What happens to its layers.
        **kwargs: Passed to `keras.Model`.
    """

    def __init__(
        self, network: keras.Model, compressors: Sequence[Compressor], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.compressors = list(compressors)
        layers = leaf_layers(network)
        fuse_batch_norms(network)
        for compressor in self.compressors:
            compressor.attach(layers)
        self.built = True

    @property
    def inputs(self) -> Any:
        """Symbolic inputs of the network."""
        return self.network.inputs

    @property
    def input(self) -> Any:
        """Symbolic input of the network, in its structure."""
        network = self.network
        return network.inputs[0] if isinstance(network, keras.Sequential) else network.input

    @property
    def input_shape(self) -> Any:
        """Shape of the network's input."""
        return self.network.input_shape

    @property
    def output_shape(self) -> Any:
        """Shape of the network's output."""
        return self.network.output_shape

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        """Runs the network with compressed layers.

        Args:
            inputs: What the network takes.
            training: Whether activation ranges, BatchNormalization and Dropout are in training.
            mask: Unused; Keras passes masks along by itself.

        Returns:
            What the network returns.
        """
        del mask
        return self.network(inputs, training=training)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does, activation ranges frozen for the last fifth.

        A `FreezeRanges` among the callbacks takes the place of the one that is added here. Masks
        stand at their targets afterwards, whatever a callback restored.
        """
        bound = inspect.signature(super().fit).bind(*args, **kwargs)
        given = bound.arguments.get("callbacks")
        if not isinstance(given, keras.callbacks.CallbackList):
            bound.arguments["callbacks"] = self._with_freeze(given)
        history = super().fit(*bound.args, **bound.kwargs)
        for compressor in self.compressors:
            compressor.complete_masks()
        return history

    def _with_freeze(self, given: Any) -> list[keras.callbacks.Callback]:
        callbacks = given if isinstance(given, (list, tuple)) else [given]
        callbacks = [callback for callback in callbacks if callback is not None]
        ranges = [c.output_range for c in self.compressors if c.output_range is not None]
        if ranges and not any(isinstance(callback, FreezeRanges) for callback in callbacks):
            callbacks.append(FreezeRanges(ranges))
        return callbacks

    def get_config(self) -> dict[str, Any]:
        """Returns the network and the compressors, serialised."""
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "network": serialize(self.network),
            "layer_names": layer_names(self.network),
            "compressors": [serialize(compressor) for compressor in self.compressors],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "CompressedModel":
        """Makes the model from `get_config`."""
        make = keras.saving.deserialize_keras_object
        network = make(config["network"], custom_objects=custom_objects)
        give_names(network, config["layer_names"])
        compressors = [make(item) for item in config["compressors"]]
        return cls(network, compressors, name=config["name"])
