"""The operators that a file uses: a table at its beginning, to which operators point."""

from ai_edge_litert import schema_py_generated as schema

_LARGEST_OLD_CODE = 127


def operator_code(model: schema.ModelT, builtin: int) -> int:
    """Finds an operator in the table of a file, and adds it if it is not there.

    Args:
        model: The unpacked file.
        builtin: A `schema.BuiltinOperator`.

    Returns:
        Its position in the table.
    """
    for index, code in enumerate(model.operatorCodes):
        if builtin_of(code) == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = builtin
    code.deprecatedBuiltinCode = min(builtin, _LARGEST_OLD_CODE)
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def builtin_of(code: schema.OperatorCodeT) -> int:
    """Gives the `schema.BuiltinOperator` of an entry, from whichever field its maker used."""
    return max(code.builtinCode, code.deprecatedBuiltinCode)
