"""The package keeps the rules of the house, and each rule is shown to be able to fail."""

import json
import re

import pytest

import tf_metacompress as tmc
from tests import house_rules
from tests.fresh_python import ROOT, run_script
from tests.house_rules import PACKAGE, parse

MODULES = house_rules.read_package(ROOT)
BELOW_TENSORFLOW = [m for m in MODULES if house_rules.FLOORS.get(m.unit, 9) <= 1]


def check_registrations(modules):
    return house_rules.unlisted_registrations(modules, tmc._KERAS_MODULES)


CHECKS = {
    "floors": house_rules.floor_violations,
    "cycles": house_rules.cycle_violations,
    "names": house_rules.name_violations,
    "tensorflow": house_rules.tensorflow_violations,
    "private": house_rules.private_api_violations,
    "tfmot": house_rules.tfmot_violations,
    "sizes": house_rules.size_violations,
    "habits": house_rules.habit_violations,
    "registrations": check_registrations,
}

NESTED = "def f(x):\n for a in x:\n  if a:\n   with a:\n    while a:\n     a()\n"
ELIFS = "def f(x):\n" + "".join(f" {'el' * (i > 0)}if x == {i}:\n  x()\n" for i in range(9))
BAD = {
    "no floor": ("floors", {"attic.thing": ""}),
    "upward": ("floors", {"ops.masks": "import tf_metacompress.meta.maml", "meta.maml": ""}),
    "upward in function": (
        "floors",
        {"ops.a": "def f():\n from tf_metacompress import cli", "cli": ""},
    ),
    "upward relative": ("floors", {"ops.a": "from ..deploy import b", "deploy.b": ""}),
    "upward dynamic": ("floors", {"ops.a": "import_module('tf_metacompress.meta')"}),
    "root from below": ("floors", {"ops.a": "from tf_metacompress import Policy"}),
    "sibling": ("floors", {"meta.a": "from tf_metacompress.deploy import export_litert"}),
    "cycle": (
        "cycles",
        {"ops.a": "from tf_metacompress.ops import b", "ops.b": "from .a import f"},
    ),
    "cycle through package": (
        "cycles",
        {"ops.__init__": "from .a import f", "ops.a": "from tf_metacompress.ops import g"},
    ),
    "banned module": ("names", {"ops.utils": ""}),
    "banned package": ("names", {"core.masks": ""}),
    "tensorflow below": ("tensorflow", {"policy.a": "import tensorflow as tf"}),
    "keras below": ("tensorflow", {"errors": "def f():\n from keras import layers"}),
    "keras.src": ("private", {"ops.a": "from keras.src import backend"}),
    "keras.src by attribute": ("private", {"ops.a": "import keras\nkeras.src.backend"}),
    "tensorflow.python": ("private", {"ops.a": "from tensorflow.python.ops import math_ops"}),
    "two tfmot": (
        "tfmot",
        {
            "callbacks.a": "import tensorflow_model_optimization as tfmot",
            "callbacks.b": "def f():\n from tensorflow_model_optimization import sparsity",
        },
    ),
    "long file": ("sizes", {"ops.a": "x = 1\n" * 301}),
    "long function": ("sizes", {"ops.a": "def f():\n" + " x = 1\n" * 61}),
    "many parameters": ("sizes", {"ops.a": "def f(a, b, c, d, *, e, g, h, i): ..."}),
    "deep nesting": ("sizes", {"ops.a": NESTED}),
    "assert": ("habits", {"ops.a": "assert True"}),
    "silent except": ("habits", {"ops.a": "try:\n f()\nexcept OSError:\n pass"}),
    "bare except": ("habits", {"ops.a": "try:\n f()\nexcept:\n g()"}),
    "unfinished": ("habits", {"ops.a": "x = 1  # TO" + "DO later"}),
    "unlisted registration": (
        "registrations",
        {"summary": "@keras.saving.register_keras_serializable()\nclass A: ..."},
    ),
}
GOOD = {
    "downward": (
        "floors",
        {"meta.a": "from tf_metacompress.policy import Policy", "policy.__init__": ""},
    ),
    "module of a lower floor": (
        "floors",
        {"ops.a": "from tf_metacompress import errors", "errors": ""},
    ),
    "within a package": ("cycles", {"ops.a": "from .b import f", "ops.b": ""}),
    "seven and self": ("sizes", {"ops.a": "class A:\n def f(self, a, b, c, d, e, g, h): ..."}),
    "docstring not counted": ("sizes", {"ops.a": 'def f():\n """' + "\n" * 80 + '"""\n return 1'}),
    "elif is not nesting": ("sizes", {"ops.a": ELIFS}),
    "handled": ("habits", {"ops.a": "try:\n f()\nexcept OSError as e:\n raise E() from e"}),
}


def run(check, sources):
    return CHECKS[check]([parse(f"{PACKAGE}.{name}", text) for name, text in sources.items()])


@pytest.mark.parametrize("check", CHECKS)
def test_the_package_keeps_the_rule(check):
    assert len(MODULES) > 1
    assert CHECKS[check](MODULES) == []


@pytest.mark.parametrize("case", BAD)
def test_a_rule_can_fail(case):
    assert len(run(*BAD[case])) == 1


@pytest.mark.parametrize("case", GOOD)
def test_a_rule_lets_pass(case):
    assert run(*GOOD[case]) == []


def test_every_exception_to_the_rules_is_still_needed():
    graph = house_rules.dependencies(MODULES)
    used = {(name.split(".")[1], to.split(".")[1]) for name in graph for to in graph[name]}
    assert used >= house_rules.DOORS
    assert house_rules.LONG_FILES.keys() <= {module.name for module in MODULES}


BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf_keras"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
"""


def test_the_blocker_blocks():
    with pytest.raises(AssertionError, match="keras is blocked"):
        run_script("-c", f"{BLOCK}\nimport keras")


def test_lower_floors_work_with_tensorflow_blocked():
    names = [module.name.removesuffix(".__init__") for module in BELOW_TENSORFLOW]
    units = {module.unit for module in BELOW_TENSORFLOW}
    public = [n for n, unit in tmc._OBJECTS.items() if unit in units]
    public += [n for n in tmc._MODULES if n in units]
    assert len(names) > 5 and "Policy" in public
    run_script(
        "-c",
        f"{BLOCK}\nimport importlib\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        f"from tf_metacompress import {', '.join(public)}",
    )


HEAVY = ("tensorflow", "keras", "tensorflow_model_optimization", "ai_edge_litert", "sklearn")


def imported_after(statements):
    report = "import json, os, sys\nprint(json.dumps([sorted(sys.modules), dict(os.environ)]))"
    modules, environment = json.loads(run_script("-c", f"{statements}\n{report}").splitlines()[-1])
    return set(modules), environment


@pytest.mark.parametrize("statement", ["import tf_metacompress", "import tf_metacompress.policy"])
def test_a_fresh_import_is_light(statement):
    modules, environment = imported_after(statement)
    assert modules.isdisjoint(HEAVY)
    assert "TF_USE_LEGACY_KERAS" not in environment


@pytest.mark.slow
def test_importing_everything_leaves_tfmot_alone():
    names = [
        module.name.removesuffix(".__init__") for module in MODULES if module.unit != "__main__"
    ]
    modules, environment = imported_after("".join(f"import {name}\n" for name in names))
    assert "keras" in modules
    assert "tensorflow_model_optimization" not in modules
    assert "tf_keras" not in modules
    assert "TF_USE_LEGACY_KERAS" not in environment


def test_setup_has_the_only_metadata():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    tables = re.findall(r"^\[([a-z-]+)", text, re.MULTILINE)
    assert set(tables) == {"build-system", "tool"}
