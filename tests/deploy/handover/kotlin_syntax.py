"""Whether text is Kotlin, by the grammar of tree-sitter."""

import functools

import pytest


@functools.cache
def _parser():
    tree_sitter = pytest.importorskip("tree_sitter")
    grammar = pytest.importorskip("tree_sitter_kotlin")
    return tree_sitter.Parser(tree_sitter.Language(grammar.language()))


def parse(source):
    """The root of the syntax tree."""
    return _parser().parse(source.encode("utf-8")).root_node


def _first_error(node):
    if node.is_error or node.is_missing:
        return node
    return next(filter(None, map(_first_error, node.children)), None) if node.has_error else None


def assert_kotlin(source):
    """Fails with the place where the text stops being Kotlin."""
    error = _first_error(parse(source))
    if error is not None:
        line = error.start_point[0]
        raise AssertionError(f"line {line + 1} is no Kotlin: {source.splitlines()[line]!r}")
