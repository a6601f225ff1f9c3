"""What the documentation shows works: doctests, the README, the examples."""

import ast
import doctest
import importlib
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import tf_metacompress as tmc
from tests import house_rules
from tests.fresh_python import ROOT, run_script

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
SOURCES = sorted((ROOT / house_rules.PACKAGE).rglob("*.py"))
WITH_DOCTESTS = [path for path in SOURCES if ">>> " in path.read_text("utf-8")]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FENCE = re.compile(r"(?P<skip><!-- skip -->\n+)?^```python\n(?P<code>.*?)^```$", re.M | re.S)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_snippets(text):
    """The fenced Python blocks of a Markdown page, except those marked `<!-- skip -->`."""
    return [match["code"] for match in FENCE.finditer(text) if not match["skip"]]


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("path", WITH_DOCTESTS, ids=relative)
def test_doctests(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np, "tmc": tmc}, optionflags=OPTIONS)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_package_has_doctests():
    assert len(WITH_DOCTESTS) > 5


@pytest.mark.slow
def test_the_readme_runs():
    snippets = python_snippets((ROOT / "README.md").read_text("utf-8"))
    assert snippets
    Path("readme.py").write_text("\n".join(snippets), "utf-8")
    run_script("readme.py", cwd=Path.cwd(), timeout=200)


def test_snippets_are_found_and_skipped():
    page = "```python\na = 1\n```\ntext\n<!-- skip -->\n```python\nb\n```\n```\nmake\n```\n"
    assert python_snippets(page) == ["a = 1\n"]


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=relative)
def test_an_example_runs(path):
    run_script(str(path), cwd=Path.cwd(), timeout=200)


@pytest.mark.slow
def test_the_shortest_example_keeps_working(monkeypatch, capsys):
    script = ROOT / "examples" / "one_callback.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--epochs=1"])
    runpy.run_path(str(script), run_name="__main__")
    assert re.findall(r"^(\w+) .* accuracy 0\.\d+$", capsys.readouterr().out, re.M) == [
        "float32",
        "int8",
    ]


def test_there_are_examples():
    ways = {"one_callback", "step_by_step", "learn_a_policy", "latency_budget"}
    targets = {"android_handover", "embedded_linux", "microcontroller_handover"}
    assert {path.stem for path in EXAMPLES} >= ways | targets


@pytest.mark.parametrize("path", EXAMPLES, ids=relative)
def test_an_example_says_what_it_is_and_is_on_the_front_page(path):
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert f"examples/{path.name}" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "BUILD_NOTES.md"])
def test_links_within_the_project_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text("utf-8"))
    assert not [link for link in links if not (ROOT / link).exists()]


def test_every_make_target_named_in_the_pages_exists():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    for page in ("README.md", "CONTRIBUTING.md", "BUILD_NOTES.md"):
        named = re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / page).read_text("utf-8"), re.M)
        assert set(named) <= targets, page
