"""Names that Kotlin, Java and Android accept."""

import re

from tf_metacompress.errors import invalid, wrong_type

_PACKAGE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")
_KEYWORDS = """
abstract as assert boolean break byte case catch char class const continue default do double else
enum extends false final finally float for fun goto if implements import in instanceof int interface
is long native new null object package private protected public return short static strictfp super
switch synchronized this throw throws transient true try typealias typeof val var void volatile when
while
"""
_LONGEST_CLASS = 60


def check_package(package: object) -> str:
    """Checks the name of a package.

    Args:
        package: Such as "com.example.gestures".

    Returns:
        The name.

    Raises:
        InvalidArgumentError: If Java, Kotlin or Android would not take it.
        ArgumentTypeError: If it is not a string.

    Example:
        >>> check_package("com.example.gestures")
        'com.example.gestures'
    """
    if not isinstance(package, str):
        raise wrong_type("`package` must be a string.", package=package)
    reserved = set(_KEYWORDS.split()) & set(package.split("."))
    if not _PACKAGE.fullmatch(package) or reserved:
        raise invalid(
            "`package` must be a Java package of two names or more, none of them a keyword.",
            "Use letters, digits and _, as in 'com.example.gestures'.",
            package=package,
        )
    return package


def class_name(name: str) -> str:
    """Makes the name of a Kotlin class of the name of a model.

    Args:
        name: Any text.

    Returns:
        A name in camel case that ends in "Model", which keeps it apart from Kotlin's own classes.

    Example:
        >>> class_name("gestures-v2"), class_name("8 bit"), class_name("模型")
        ('GesturesV2Model', 'Model8BitModel', 'Model')
    """
    parts = re.findall(r"[A-Za-z0-9]+", name)
    joined = "".join(part[0].upper() + part[1:] for part in parts)[:_LONGEST_CLASS]
    if joined[:1].isdigit():
        joined = f"Model{joined}"
    return joined if joined.lower().endswith("model") else f"{joined}Model"
