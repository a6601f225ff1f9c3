"""Makes the package's Keras classes known to Keras without importing Keras for it.

`keras.models.load_model` finds a custom class only after its module has been imported. Importing
those modules imports TensorFlow, which takes seconds and which policies and budgets do not need.
So they are imported together with Keras: at once if Keras is there, otherwise as soon as it is.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# TensorFlow imports parts of Keras half-way through its own import, and modules of this package
# import both: what is called back needs those modules, so they must be whole by then.
_WATCHED = ("keras", "tensorflow")
_PACKAGE = f"{__name__.partition('.')[0]}."


class _KerasFinder(MetaPathFinder):
    """Finds nothing itself; calls back once the outermost watched import has ended."""

    def __init__(self, register: Callable[[], None]) -> None:
        self._register = register
        self._depth = 0

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _WATCHED and not fullname.startswith(_PACKAGE):
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(fullname, path, target) for finder in later)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self._watch(spec)
        return spec

    def _watch(self, spec: ModuleSpec) -> None:
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            self._depth += 1
            try:
                execute(module)
            finally:
                self._depth -= 1
            if self._depth == 0 and "keras" in sys.modules and self in sys.meta_path:
                sys.meta_path.remove(self)
                self._register()

        spec.loader.exec_module = exec_module


def when_keras_is_imported(register: Callable[[], None]) -> None:
    """Calls `register` once: now if Keras has been imported, otherwise right after it has.

    An error raised by `register` reaches whoever imports Keras; it is not swallowed.

    Args:
        register: Called without arguments.
    """
    if "keras" in sys.modules:
        register()
    else:
        sys.meta_path.insert(0, _KerasFinder(register))
