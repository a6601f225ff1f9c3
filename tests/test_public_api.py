"""What users may import is exactly this."""

import importlib.metadata
import importlib.util
import inspect
import types

import pytest

import tf_metacompress as tmc

EXPECTED = [
    "Action",
    "Budget",
    "DeviceProfile",
    "LatencyTable",
    "LayerPlan",
    "MetaCompressor",
    "Policy",
    "PruningController",
    "Rule",
    "Task",
    "__version__",
    "allocate",
    "baselines",
    "benchmark",
    "calibrate",
    "callbacks",
    "compare",
    "compress",
    "deploy",
    "describe",
    "errors",
    "export_litert",
    "finalize",
    "legacy",
    "meta",
    "policy",
    "remove_channels",
    "schedules",
    "summary",
    "tasks",
    "untouched",
    "wrappers",
]
OBJECTS = [name for name in EXPECTED if name not in tmc._MODULES and name != "__version__"]


def public_functions(obj):
    """Yields (name, function) of a public function, or of what a public class defines."""
    if inspect.isfunction(obj):
        yield obj.__qualname__, obj
        return
    for name, member in vars(obj).items():
        function = inspect.unwrap(getattr(member, "fget", getattr(member, "__func__", member)))
        generated = getattr(function, "__qualname__", "").startswith("__create_fn__")
        if inspect.isfunction(function) and not generated and not name.startswith("_"):
            yield f"{obj.__name__}.{name}", function


def test_all_is_exact():
    assert sorted(tmc.__all__) == EXPECTED
    assert len(set(tmc.__all__)) == len(tmc.__all__)
    assert set(tmc.__all__) <= set(dir(tmc))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_public_name_has_the_right_kind_and_a_docstring(name):
    value = getattr(tmc, name)
    if name == "__version__":
        assert value == "0.1.0"
        return
    assert isinstance(value, types.ModuleType) == (name in tmc._MODULES)
    assert inspect.getdoc(value)


@pytest.mark.parametrize("name", OBJECTS)
def test_public_functions_and_methods_are_documented_and_annotated(name):
    for qualified, function in public_functions(getattr(tmc, name)):
        signature = inspect.signature(function)
        bare = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
        ]
        assert not bare, f"{qualified} leaves {bare} without annotation"
        assert signature.return_annotation is not signature.empty, qualified
        assert inspect.getdoc(function), qualified


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'prune'"):
        tmc.prune  # noqa: B018


def test_no_module_hides_a_public_object():
    hidden = [name for name in tmc._OBJECTS if importlib.util.find_spec(f"tf_metacompress.{name}")]
    assert not hidden, "importing such a module would replace the object on the package"


def test_the_installed_version_is_this_one():
    try:
        installed = importlib.metadata.version("tf_metacompress")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed, only importable")
    assert installed == tmc.__version__
