"""Kotlin source of what a file says: strings, numbers, tables of its inputs and outputs."""

from collections.abc import Iterable, Mapping

from tf_metacompress.deploy.io_signatures import IoTensor, Signature
from tf_metacompress.deploy.model_metadata import Normalization

_ESCAPES = {'"': '\\"', "\\": "\\\\", "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_INDENT = " " * 12
_AS_IT_IS = Normalization()


def kotlin_string(text: str) -> str:
    r"""Writes text as a Kotlin string that has no templates and needs no encoding.

    Args:
        text: Any text.

    Returns:
        The literal with its quotes, in ASCII.

    Example:
        >>> print(kotlin_string('5 $ "ü"'))
        "5 \$ \"\u00fc\""
    """
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if " " <= character <= "~":
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def kotlin_signatures(
    signatures: Iterable[Signature], normalization: Mapping[str, Normalization]
) -> str:
    """Writes the table of all ways to call a file.

    Args:
        signatures: The ways, the main one first.
        normalization: By name of an input of the main one.

    Returns:
        Expressions that make `Signature` objects, one after the other with commas.
    """
    blocks = []
    for number, signature in enumerate(signatures):
        scaling = normalization if number == 0 else {}
        key = "null" if signature.key is None else kotlin_string(signature.key)
        inputs = [_tensor(item, scaling.get(item.name, _AS_IT_IS)) for item in signature.inputs]
        outputs = [_tensor(item, _AS_IT_IS) for item in signature.outputs]
        blocks.append(
            f"{_INDENT}Signature(\n{_INDENT}    {key},\n"
            f"{_INDENT}    {_list(inputs)},\n{_INDENT}    {_list(outputs)},\n{_INDENT})"
        )
    return ",\n".join(blocks)


def _list(items: list[str]) -> str:
    inner = "".join(f"\n{_INDENT}        {item}," for item in items)
    return f"listOf<Tensor>({inner}\n{_INDENT}    )"


def _tensor(tensor: IoTensor, scaling: Normalization) -> str:
    arguments = (
        kotlin_string(tensor.name),
        str(tensor.position),
        f"ElementType.{tensor.type.upper()}",
        f"listOf<Int>({', '.join(map(str, tensor.shape))})",
        repr(tensor.scale),
        str(tensor.zero_point),
        kotlin_doubles(scaling.mean),
        kotlin_doubles(scaling.std),
    )
    return f"Tensor({', '.join(arguments)})"


def kotlin_doubles(values: Iterable[float]) -> str:
    """Writes finite numbers as a Kotlin array that has exactly these values.

    Args:
        values: The numbers.

    Returns:
        The expression.

    Example:
        >>> kotlin_doubles([127.5, 1e-05])
        'doubleArrayOf(127.5, 1e-05)'
    """
    return f"doubleArrayOf({', '.join(repr(float(value)) for value in values)})"
