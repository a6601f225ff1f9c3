"""Keras classes are registered once, as soon as Keras is whole, in any order of imports."""

import pytest

import tf_metacompress as tmc
from tests.fresh_python import ROOT, run_script

# Run by path, because importing the package already watches for the real Keras.
REGISTRATION = str(ROOT / "tf_metacompress" / "registration.py")

# Stand-ins: like the real ones, each imports the other half-way.
TENSORFLOW = "import sys\nhalf = True\nimport keras\nassert not sys.calls\nhalf = False\n"
KERAS = "import tensorflow\n"
SCRIPT = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.calls = []
when_keras_is_imported = runpy.run_path(sys.argv[2])["when_keras_is_imported"]

def register():
    import keras, tensorflow
    sys.calls.append(tensorflow.half)

number = len(sys.meta_path)
{body}
assert sys.calls == {expected}, sys.calls
assert len(sys.meta_path) == number
"""
WATCH = "when_keras_is_imported(register)"
ORDERS = {
    "keras later": (f"{WATCH}\nassert not sys.calls\nimport keras", [False]),
    "tensorflow later": (f"{WATCH}\nimport tensorflow\nimport keras", [False]),
    "keras before": (f"import keras\n{WATCH}", [False]),
    "tensorflow before": (f"import tensorflow\n{WATCH}", [False]),
    "two watchers": (f"{WATCH}\n{WATCH}\nimport keras", [False, False]),
    "other modules": (f"{WATCH}\nimport json, decimal\nsys.meta_path.pop(0)", []),
    "after a failed import": (
        f"{WATCH}\nsys.modules['tensorflow'] = None\n"
        "try:\n    import keras\nexcept ImportError:\n    pass\n"
        "assert not sys.calls\ndel sys.modules['tensorflow']\nimport keras",
        [False],
    ),
}


def run(directory, body, expected):
    (directory / "tensorflow.py").write_text(TENSORFLOW, "utf-8")
    (directory / "keras.py").write_text(KERAS, "utf-8")
    run_script("-c", SCRIPT.format(body=body, expected=expected), str(directory), REGISTRATION)


@pytest.mark.parametrize("order", ORDERS)
def test_registered_once_when_keras_is_whole(order, tmp_path):
    run(tmp_path, *ORDERS[order])


def test_an_error_while_registering_reaches_the_importer(tmp_path):
    body = "def fail(): raise RuntimeError('broken layer')\nwhen_keras_is_imported(fail)\n"
    with pytest.raises(AssertionError, match="broken layer"):
        run(tmp_path, body + "import keras", [])


@pytest.mark.slow
def test_the_package_registers_its_keras_modules():
    assert tmc._KERAS_MODULES
    names = [f"{tmc.__name__}.{name}" for name in tmc._KERAS_MODULES]
    check = f"assert not [name for name in {names} if name not in sys.modules]"
    run_script("-c", f"import sys\nimport tf_metacompress\nimport keras\n{check}")


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["ops", "layer_tree"])
def test_a_unit_below_the_keras_classes_can_be_imported_first(unit):
    script = f"import tf_metacompress.{unit}, sys; assert 'tf_metacompress.wrappers' in sys.modules"
    run_script("-c", script)
