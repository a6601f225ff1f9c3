"""What the fields of a rule or a plan may be, alone and together."""

from typing import Any, get_args

from tf_metacompress.errors import check_choice, check_positive, invalid
from tf_metacompress.policy.action import ACTIVATION_BITS, WEIGHT_BITS, settle_sparsity
from tf_metacompress.typing import Granularity, QuantizerName, RangeSetting, Score

_FLOAT_BITS = 32
_INTEGER_BITS = range(2, 9)
_NAMES: dict[str, list[str]] = {
    "score": list(get_args(Score)),
    "quantizer": list(get_args(QuantizerName)),
}


def allow(field: str, name: str) -> None:
    """Lets rules and plans name one more score or quantiser.

    Args:
        field: "score" or "quantizer".
        name: The name that was registered.
    """
    if name not in _NAMES[field]:
        _NAMES[field].append(name)


def settle(data: Any) -> None:
    """Checks the fields that rules and plans share, and stores them as plain Python values.

    Args:
        data: A frozen `Rule` or `LayerPlan`, in the making.

    Raises:
        InvalidArgumentError: If a value is out of its range, or two contradict each other.
    """
    settled = {
        "weight_bits": check_choice("weight_bits", data.weight_bits, WEIGHT_BITS),
        "sparsity": settle_sparsity(data.sparsity, data.pattern),
        "score": check_choice("score", data.score, _NAMES["score"]),
        "threshold": None
        if data.threshold is None
        else check_positive("threshold", data.threshold),
        "quantizer": check_choice("quantizer", data.quantizer, _NAMES["quantizer"]),
        "granularity": check_choice("granularity", data.granularity, get_args(Granularity)),
        "range_setting": check_choice("range_setting", data.range_setting, get_args(RangeSetting)),
    }
    bits = data.activation_bits
    if bits is None:
        bits = 8 if settled["weight_bits"] < _FLOAT_BITS else _FLOAT_BITS
    settled["activation_bits"] = check_choice("activation_bits", bits, ACTIVATION_BITS)
    for name, value in settled.items():
        object.__setattr__(data, name, value)
    _check_threshold(data)
    _check_grid(data)


def _check_threshold(data: Any) -> None:
    """A threshold is about single weights and their magnitude, and sets no sparsity."""
    if data.threshold is None:
        return
    if data.sparsity:
        raise invalid(
            "`threshold` and `sparsity` exclude each other.",
            "Leave one out.",
            threshold=data.threshold,
            sparsity=data.sparsity,
        )
    if data.pattern != "unstructured" or data.score != "magnitude":
        raise invalid(
            "`threshold` needs pattern 'unstructured' and score 'magnitude'.",
            threshold=data.threshold,
            pattern=data.pattern,
            score=data.score,
        )


def _check_grid(data: Any) -> None:
    """A quantiser or a range of its own needs weights of few bits."""
    if data.quantizer != "symmetric" and data.weight_bits not in _INTEGER_BITS:
        raise invalid(
            f"`quantizer` {data.quantizer!r} needs `weight_bits` of 2 to 8.",
            quantizer=data.quantizer,
            weight_bits=data.weight_bits,
        )
    if data.range_setting == "min_max":
        return
    if data.quantizer != "symmetric" or data.weight_bits not in _INTEGER_BITS:
        raise invalid(
            f"`range_setting` {data.range_setting!r} needs the symmetric quantizer and "
            "`weight_bits` of 2 to 8.",
            range_setting=data.range_setting,
            quantizer=data.quantizer,
            weight_bits=data.weight_bits,
        )
