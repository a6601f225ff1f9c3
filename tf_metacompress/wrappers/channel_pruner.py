"""What silences whole channels of several layers together, so that they can be removed later."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_metacompress.errors import check_int, invalid
from tf_metacompress.layer_tree import Call, call_with_weights, redirect, restore, weight_of
from tf_metacompress.policy import ChannelGroup, ChannelMember, LayerPlan
from tf_metacompress.policy.channel_group import OUTPUT, group_from_dict
from tf_metacompress.wrappers.deployed_gain import deployed_gain
from tf_metacompress.wrappers.layer_compressor import compressor_of
from tf_metacompress.wrappers.mask_constraint import MaskConstraint, constrain, release

Layer = keras.layers.Layer
_NOTHING = ()


def pruners_of(layer: Layer) -> "tuple[ChannelPruner, ...]":
    """Lists the channel pruners that act on a layer at present.

    Args:
        layer: Any Keras layer.

    Returns:
        None, one, or several for a layer whose channels belong to several groups.
    """
    return getattr(vars(layer).get("call"), "pruners", ())


@keras.saving.register_keras_serializable(package="tf_metacompress")
class ChannelPruner(Layer):
    """Removes channels of one group from all layers that share them, during every call.

    One mask a group multiplies all weights that make its channels: kernels, biases, and gain and
    offset of BatchNormalization. A removed channel is zero wherever it is read, so that
    `remove_channels` can cut it out afterwards without changing what the model computes.

    Attach it before the `LayerCompressor` of the same layers, whose quantised kernels it masks.

    Args:
        group: The channels and the weights that make them.
        num_removed: Channels to remove in the end, at least one fewer than there are.
        kernels: For each layer whose kernels are scored, kernel attribute to the axes of its output
            channels.
        batch_norms: Layer to the path of the BatchNormalization folded into its last kernel.
        **kwargs: Passed to `keras.layers.Layer`.

    Raises:
        InvalidArgumentError: If `num_removed` does not leave a channel.
    """

    def __init__(
        self,
        group: ChannelGroup,
        num_removed: int,
        kernels: Mapping[str, Mapping[str, Sequence[int]]],
        batch_norms: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        check_int("num_removed", num_removed, 0)
        if num_removed >= group.size:
            raise invalid(
                "`num_removed` must leave a channel.", num_removed=num_removed, size=group.size
            )
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})
        self.group = group
        self.num_removed = num_removed
        self.kernels = {
            path: {name: tuple(axes) for name, axes in found.items()}
            for path, found in kernels.items()
        }
        self.batch_norms = dict(batch_norms or {})
        self.output_range = None
        self.mask = self.add_weight(
            name="mask",
            shape=(group.size,),
            initializer="ones",
            trainable=False,
            dtype="float32",
            aggregation="mean",
        )
        makers = [member for member in group.members if member.role == OUTPUT]
        self._members = _Members(
            {m.layer: [o for o in makers if o.layer == m.layer] for m in makers}
        )
        self.built = True

    @property
    def plan(self) -> LayerPlan:
        """What is done to the first layer of the group, as a plan."""
        sparsity = self.num_removed / self.group.size
        return LayerPlan(self.group.producers[0], sparsity=sparsity, pattern="channel")

    @property
    def masks(self) -> dict[str, keras.Variable]:
        """The one mask of the group."""
        return {"channels": self.mask}

    @property
    def follows_schedule(self) -> bool:
        """Whether `update_masks` changes anything."""
        return self.num_removed > 0

    @property
    def lacks_statistics(self) -> bool:
        """Whether the score of a layer looks at gradients or results and has seen none."""
        found = (compressor_of(self._layer(path)) for path in self.kernels)
        return any(compressor is not None and compressor.lacks_statistics for compressor in found)

    def attach(self, layers: Mapping[str, Layer]) -> None:
        """Redirects the calls of all layers that make the channels.

        Args:
            layers: Layers of the model by path.

        Raises:
            InvalidArgumentError: When the model has no such layer.
        """
        paths = {*self._members.of_layer, *self.batch_norms.values()}
        missing = sorted(paths - layers.keys())
        if missing:
            raise invalid("The model has no layer at this path.", layer=missing[0])
        self._members.layers = {path: layers[path] for path in paths}
        for path, members in self._members.of_layer.items():
            redirect(layers[path], lambda call, path=path: self._pruned_call(path, call))
            for member in members:
                weight = weight_of(layers[path], member.weight)
                constraint = constrain(
                    weight, lambda value, member=member: self._masked(value, member)
                )
                self._members.constraints.append((weight, constraint))

    def detach(self) -> None:
        """Gives the layers their own calls back."""
        for path in self._members.of_layer:
            restore(self._layer(path))
        for weight, constraint in self._members.constraints:
            release(weight, constraint)
        self._members.constraints.clear()

    def _layer(self, path: str) -> Layer:
        if not self._members.layers:
            raise invalid("The pruner is not attached to a model.", group=self.group.name)
        return self._members.layers[path]

    def _pruned_call(self, path: str, call: Call) -> Call:
        def pruned_call(*args: Any, **kwargs: Any) -> Any:
            substitutes = self(_NOTHING, path=path)
            return call_with_weights(self._layer(path), call, substitutes, *args, **kwargs)

        pruned_call.pruners = (*getattr(call, "pruners", ()), self)
        return pruned_call

    def call(self, inputs: Any = _NOTHING, path: str = "") -> dict[str, tf.Tensor]:
        """Computes the masked weights of one layer in full precision, whatever its dtype policy.

        Args:
            inputs: Not used; every Keras layer is called on something.
            path: Path of the layer.

        Returns:
            Weight attribute to tensor.
        """
        del inputs
        layer, found = self._layer(path), {}
        for member in self._members.of_layer[path]:
            name = member.weight
            value = found.get(name, tf.convert_to_tensor(weight_of(layer, name)))
            found[name] = self._masked(value, member)
        return found

    def masked(self, path: str, name: str, value: tf.Tensor | keras.Variable) -> tf.Tensor:
        """Silences the removed channels in a value of one weight.

        Args:
            path: Path of a layer of the group.
            name: Weight attribute.
            value: Of the weight's shape.

        Returns:
            The value with zeros; unchanged when the weight does not make channels of the group.
        """
        value = tf.convert_to_tensor(value)
        for member in self._members.of_layer.get(path, ()):
            value = self._masked(value, member) if member.weight == name else value
        return value

    def _masked(self, value: tf.Tensor, member: ChannelMember) -> tf.Tensor:
        size = value.shape[member.axis]
        index = np.full(size, self.group.size)
        for channel, places in enumerate(member.positions):
            index[list(places)] = channel
        # What is not of this group reads the one behind the mask.
        keeps = tf.gather(tf.concat([tf.convert_to_tensor(self.mask), [1.0]], 0), index)
        extents = [1] * len(value.shape)
        extents[member.axis] = size
        return value * tf.cast(tf.reshape(keeps, extents), value.dtype)

    def scores(self) -> np.ndarray:
        """Scores the channels by the squared norms of all kernels that make them, as deployed.

        A kernel whose `LayerCompressor` has another score counts with the sum of that.

        Returns:
            One score a channel; larger is kept.
        """
        total = np.zeros(self.group.size)
        for path, members in self._members.of_layer.items():
            for member in members if path in self.kernels else ():
                if not member.is_kernel:
                    continue
                scores = self._weight_scores(path, member.weight)
                rows = np.moveaxis(scores, member.axis, 0).reshape(scores.shape[member.axis], -1)
                sums = rows.sum(1)
                total += [sums[list(places)].sum() for places in member.positions]
        return total

    def _weight_scores(self, path: str, name: str) -> np.ndarray:
        compressor = compressor_of(self._layer(path))
        if compressor is None or not compressor.plan.is_scored or compressor.lacks_statistics:
            return self._folded(path, name) ** 2
        return np.asarray(compressor.scores(name), np.float64)

    def _folded(self, path: str, name: str) -> np.ndarray:
        layer, axes = self._layer(path), self.kernels[path]
        kernel = np.asarray(weight_of(layer, name), np.float64)
        norm = self._members.layers.get(self.batch_norms.get(path, ""))
        if norm is None or name != list(axes)[-1]:
            return kernel
        gain = deployed_gain(norm, kernel.shape, axes[name])
        return kernel * np.asarray(gain, np.float64)

    def update_masks(self, fraction: float = 1.0) -> None:
        """Chooses the channels anew from the present weights.

        Args:
            fraction: Share of the channels to be removed in the end, in [0, 1].
        """
        count = round(fraction * self.num_removed)
        order = np.argsort(self.scores(), kind="stable")
        keeps = np.ones(self.group.size, "float32")
        keeps[order[:count]] = 0.0
        self.mask.assign(keeps)

    def complete_masks(self) -> None:
        """Brings the mask to its target; one that is there stays as it is."""
        if len(self.removed) < self.num_removed:
            self.update_masks()

    @property
    def removed(self) -> tuple[int, ...]:
        """Indices of the channels that are removed at present."""
        return tuple(np.flatnonzero(np.asarray(self.mask) == 0).tolist())

    def bake(self, layers: Mapping[str, Layer]) -> None:
        """Writes zeros into the weights that make removed channels, for good.

        Args:
            layers: Layers of the model, or of a copy of it, by path.
        """
        for path, members in self._members.of_layer.items():
            for member in members:
                variable = weight_of(layers[path], member.weight)
                variable.assign(self._masked(tf.convert_to_tensor(variable), member))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this pruner again."""
        return {
            **super().get_config(),
            "group": dataclasses.asdict(self.group),
            "num_removed": self.num_removed,
            "kernels": {
                path: {name: list(axes) for name, axes in found.items()}
                for path, found in self.kernels.items()
            },
            "batch_norms": self.batch_norms,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ChannelPruner":
        """Makes the pruner from `get_config`."""
        config = {key: value for key, value in config.items() if key != "autocast"}
        return cls(**{**config, "group": group_from_dict(config["group"])})


class _Members:
    """The layers acted on; a plain object, so that Keras does not track them twice."""

    def __init__(self, of_layer: Mapping[str, list[ChannelMember]]) -> None:
        self.of_layer = of_layer
        self.layers: dict[str, Layer] = {}
        self.constraints: list[tuple[keras.Variable, MaskConstraint]] = []
