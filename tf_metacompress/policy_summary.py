"""`summary`: what a policy will do to a model, and how a file will store it, before training."""

import textwrap
from dataclasses import dataclass

import keras

from tf_metacompress.anatomy import UntouchedLayer, describe, select_compressible, untouched
from tf_metacompress.errors import wrong_type
from tf_metacompress.policy import (
    LayerInfo,
    LayerPlan,
    Policy,
    StoredForm,
    storage_notes,
    stored_form,
)
from tf_metacompress.text_table import lay_out

_WIDTH = 100
_HEADINGS = ("layer", "kind", "pattern", "weights", "zeros", "bits", "results", "stored as")
_NUM_LEFT = 3


@dataclass(frozen=True, kw_only=True)
class PolicySummary:
    """A policy beside the model it is for; print it.

    Attributes:
        layers: The layers that a policy can act on.
        plans: What will be done to each of them.
        stored: How a file in mode "mixed" will hold each of them.
        notes: Where that is not what the plan suggests.
        untouched: Layers whose weights stay as they are, and why.
    """

    layers: tuple[LayerInfo, ...]
    plans: tuple[LayerPlan, ...]
    stored: tuple[StoredForm, ...]
    notes: tuple[str, ...]
    untouched: tuple[UntouchedLayer, ...]

    def __str__(self) -> str:
        """The table, the notes, and the layers that stay."""
        rows = [_cells(*row) for row in zip(self.layers, self.plans, self.stored, strict=True)]
        reasons: dict[str, list[str]] = {}
        for entry in self.untouched:
            if not entry.is_folded:
                reasons.setdefault(entry.reason, []).append(entry.layer)
        stays = [f"{', '.join(names)} stays as it is: {why}." for why, names in reasons.items()]
        notes = [
            textwrap.fill(text, _WIDTH, initial_indent="  ! ", subsequent_indent="    ")
            for text in (*self.notes, *stays)
        ]
        return "\n".join([*lay_out(_HEADINGS, rows, _NUM_LEFT), *notes])


def summary(model: keras.Model, policy: Policy) -> PolicySummary:
    """Says before training what a policy will do, and where the runtime cannot follow it.

    Args:
        model: A built Keras 3 model. It is not changed.
        policy: What happens to each layer.

    Returns:
        Data that prints as a table.

    Raises:
        ArgumentTypeError: If `policy` is not a Policy.
        UnsupportedModelError: When the model has nothing to compress.
        InvalidArgumentError: When a rule fits no layer or not the shape of its layers.

    Example:
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, name="c")])
        >>> print(summary(model, tmc.Policy([tmc.Rule("c", sparsity=0.5, weight_bits=4)])))
        layer  kind    pattern       weights  zeros  bits  results  stored as
        ---------------------------------------------------------------------
        c      Conv2D  unstructured       36    50%     4        8       int8
          ! c: 4-bit weights take a byte each (no loss; the download shrinks, the file does not).
    """
    if not isinstance(policy, Policy):
        raise wrong_type("`policy` must be a Policy.", policy=policy)
    infos = describe(model)
    layers, plans = select_compressible(infos), policy.resolve(infos)
    return PolicySummary(
        layers=layers,
        plans=plans,
        stored=tuple(
            stored_form(plan, info.kind) for plan, info in zip(plans, layers, strict=True)
        ),
        notes=storage_notes(plans, infos),
        untouched=untouched(model, policy),
    )


def _cells(info: LayerInfo, plan: LayerPlan, stored: StoredForm) -> tuple[str, ...]:
    zeros = f"{plan.sparsity:.0%}" if plan.threshold is None else f"|w| < {plan.threshold:g}"
    return (
        info.name,
        info.kind,
        plan.pattern if plan.prunes else "",
        f"{info.num_weights:,}",
        zeros if plan.prunes else "",
        str(plan.weight_bits),
        str(plan.activation_bits),
        stored.weights,
    )
