"""How the exported file will store each layer of a plan, said before training.

Measured on LiteRT 2.3 and ai-edge-quantizer 0.10: XNNPACK runs packed 4-bit weights fast in dense
layers only (a convolution with them is 4.6 times slower than in int8), there is no 2-bit storage
and no float16 arithmetic, weights are symmetric, 3-D convolutions have no integer kernel, and small
nets with 16-bit activations ran 15 times slower than in int8 and 28 times slower than in float32.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tf_metacompress.policy.layer_info import LayerInfo
from tf_metacompress.policy.rules import LayerPlan

_DENSE = ("Dense", "EinsumDense")
_FLOAT_ONLY = ("Conv3D", "Conv3DTranspose", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
_LOOPS = ("LSTM", "GRU", "SimpleRNN", "RNN")
_PACKED_LEVEL = 7
LARGEST_INT8 = 127
"""Largest level that a byte holds on either side of zero."""
_BYTE = 8
_HALF = 16
_FLOAT = 32


@dataclass(frozen=True, kw_only=True)
class StoredForm:
    """What the file will hold of one layer.

    Attributes:
        layer: Path of the layer.
        weights: "packed int4", "int8", "float16" or "float32".
        activations: "int8", "int16" or "float32": the numbers that the layer computes with.
        exact: Whether the stored numbers stand for the trained weights without a further error.
        notes: What to know of it, in plain words; empty when it is stored as asked for.
    """

    layer: str
    weights: str
    activations: str
    exact: bool
    notes: tuple[str, ...] = ()


def largest_level(plan: LayerPlan) -> int | None:
    """Gives the largest whole multiple of a step among the weights that a plan allows.

    Args:
        plan: What is to happen to a layer, with weights of 2 to 8 bits.

    Returns:
        The level; 127 for a codebook, whose values training puts on the int8 grid; None for a
        quantiser that was registered later, of which nothing is known.

    Example:
        >>> largest_level(LayerPlan("conv", weight_bits=4, quantizer="log2"))
        64
    """
    magnitudes = 2 ** (plan.weight_bits - 1) - 1
    levels = {
        "symmetric": magnitudes,
        "short_scale": magnitudes,
        "affine": 2**plan.weight_bits - 1,
        "log2": 2 ** (magnitudes - 1),
        "codebook": LARGEST_INT8,
    }
    return levels.get(plan.quantizer)


def stored_form(plan: LayerPlan, kind: str) -> StoredForm:
    """Tells how a layer will be stored by `export_litert` in mode "mixed".

    Args:
        plan: What is to happen to the layer.
        kind: Kind of the layer, such as "Conv2D".

    Returns:
        The form, and why it is not what the plan says, if so.

    Example:
        >>> form = stored_form(LayerPlan("conv", weight_bits=4), "Conv2D")
        >>> form.weights, form.exact
        ('int8', True)
    """
    if plan.weight_bits >= _HALF or kind in _FLOAT_ONLY:
        return _float_form(plan, kind)
    level = largest_level(plan)
    exact = level is not None and level <= LARGEST_INT8
    in_loop = kind in _LOOPS
    packed = (
        kind in _DENSE
        and level is not None
        and level <= _PACKED_LEVEL
        and plan.activation_bits <= _BYTE
    )
    bits = _FLOAT if in_loop else plan.activation_bits
    activations = "int8" if bits <= _BYTE else "int16" if bits <= _HALF else "float32"
    notes = [
        *_weight_notes(plan, exact, packed),
        *_activation_notes(plan),
        *(["it runs in a loop, which computes in float32"] if in_loop else []),
    ]
    return StoredForm(
        layer=plan.layer,
        weights="packed int4" if packed else "int8",
        activations=activations,
        exact=exact,
        notes=tuple(notes),
    )


def storage_notes(plans: Iterable[LayerPlan], layer_infos: Iterable[LayerInfo]) -> tuple[str, ...]:
    """Says where a file will not hold what plans ask for, or not in the space they suggest.

    Args:
        plans: What is to happen to layers, as `Policy.resolve` gives it.
        layer_infos: The layers.

    Returns:
        One sentence for each thing to know, with the layers that it is about; empty when everything
        is stored as asked for.

    Example:
        >>> conv = LayerInfo(name="conv", kind="Conv2D")
        >>> for note in storage_notes([LayerPlan("conv", weight_bits=2)], [conv]):
        ...     print(note)
        conv: 2-bit weights take a byte each (no loss; the download shrinks, the file does not).
    """
    kinds = {info.name: info.kind for info in layer_infos}
    found: dict[str, list[str]] = {}
    for plan in plans:
        for note in stored_form(plan, kinds.get(plan.layer, "")).notes:
            found.setdefault(note, []).append(plan.layer)
    return tuple(f"{', '.join(layers)}: {note}." for note, layers in found.items())


def _float_form(plan: LayerPlan, kind: str) -> StoredForm:
    asked = plan.weight_bits < _HALF or (
        plan.activation_bits < _FLOAT and plan.weight_bits < _FLOAT
    )
    half = plan.weight_bits == _HALF and kind not in _FLOAT_ONLY
    if kind in _FLOAT_ONLY and plan.weight_bits < _FLOAT:
        notes = (f"a {kind} stays in float32, as the runtime has no integer kernel for it",)
    elif half and asked:
        notes = ("a layer with float16 weights computes in float32, whatever its activations",)
    else:
        notes = ()
    return StoredForm(
        layer=plan.layer,
        weights="float16" if half else "float32",
        activations="float32",
        exact=True,
        notes=notes,
    )


def _weight_notes(plan: LayerPlan, exact: bool, packed: bool) -> list[str]:
    if not exact:
        return [
            f"{plan.weight_bits}-bit {plan.quantizer} weights may need more than {LARGEST_INT8} "
            "levels on one side of zero, and are rounded to int8 then"
        ]
    if plan.weight_bits < _BYTE and not packed:
        return [
            f"{plan.weight_bits}-bit weights take a byte each (no loss; the download shrinks, the "
            "file does not)"
        ]
    if plan.weight_bits < _BYTE // 2:
        return [f"{plan.weight_bits}-bit weights take 4 bits each, the fewest that are stored"]
    return []


def _activation_notes(plan: LayerPlan) -> list[str]:
    if plan.activation_bits < _BYTE:
        return [
            f"{plan.activation_bits}-bit activations are held in int8, with 8 bits of precision"
        ]
    if plan.activation_bits == _HALF:
        return ["16-bit activations have no XNNPACK kernels: 15 times slower than in int8 or more"]
    return []
