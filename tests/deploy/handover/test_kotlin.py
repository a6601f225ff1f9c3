"""Kotlin literals and names: what stands in the source is what was meant."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.deploy.handover.kotlin_syntax import assert_kotlin, parse
from tf_metacompress.deploy.handover.kotlin import kotlin_doubles, kotlin_string
from tf_metacompress.deploy.handover.naming import check_package, class_name
from tf_metacompress.errors import InvalidArgumentError

SIMPLE = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def meant(literal):
    """Reads a Kotlin string as the language defines it."""
    inner = literal[1:-1]
    assert not re.search(r'(?<!\\)(?:\\\\)*["$]', inner)

    def unescaped(match):
        return chr(int(match[2], 16)) if match[2] else SIMPLE[match[1]]

    text = re.sub(r"\\(u([0-9a-f]{4})|.)", unescaped, inner)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@settings(max_examples=25, deadline=None)
@given(st.text())
@example('${x} $y "" \\u0041 \\')
@example("\U0001f600\u2028\x00\x7f")
def test_a_string_stands_for_its_text(text):
    literal = kotlin_string(text)
    assert literal.isascii()
    assert literal.isprintable()
    assert meant(literal) == text
    tree = parse(f"val x = {literal}\n")
    assert not tree.has_error
    assert "interpolation" not in str(tree)


def test_the_parser_can_fail():
    with pytest.raises(AssertionError, match="is no Kotlin"):
        assert_kotlin("class A {\n    fun f( = 1\n}\n")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4))
def test_doubles_are_exact(values):
    literal = kotlin_doubles(values)
    assert_kotlin(f"val x = {literal}\n")
    told = literal.removeprefix("doubleArrayOf(").removesuffix(")")
    assert [float(item) for item in told.split(", ") if item] == values


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=80))
@example("8")
@example("")
@example("../../etc")
@example("String")
def test_any_name_makes_a_class_and_a_file(name):
    made = class_name(name)
    assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", made)
    assert made.lower().endswith("model")
    assert len(made) < 80
    assert class_name(made) == made


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet="aZ9_.-/ $;é", max_size=12) | st.from_regex(r"[a-z]+\.[a-z]+"))
def test_a_package_that_is_taken_parses(package):
    try:
        check_package(package)
    except InvalidArgumentError:
        return
    assert_kotlin(f"package {package}\n\nclass A\n")
    assert ".." not in package
    assert "/" not in package


@pytest.mark.parametrize("package", ["", "a", "a..b", ".a.b", "a.b.", "a.fun", "a.new.b", "1a.b"])
def test_what_is_no_package_is_refused(package):
    with pytest.raises(InvalidArgumentError, match="Java package"):
        check_package(package)
