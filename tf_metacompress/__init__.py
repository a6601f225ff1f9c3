"""A Keras 3 plugin that learns how to compress a model and ships it to LiteRT.

```python
import keras, tf_metacompress as tmc

model.fit(x, y, callbacks=[tmc.callbacks.MetaCompress(tmc.Budget(size_ratio=0.1), support=(x, y))])
tmc.export_litert(model, "model.tflite", mode="int8", representative_dataset=x)
```

Public names are loaded on first use, so that policies, budgets and tasks work without TensorFlow.
"""

import importlib
from typing import Any

from tf_metacompress.registration import when_keras_is_imported

__version__ = "0.1.0"

_MODULES = (
    "baselines",
    "callbacks",
    "deploy",
    "errors",
    "legacy",
    "meta",
    "policy",
    "schedules",
    "tasks",
    "wrappers",
)
_OBJECTS = {
    "Action": "policy",
    "Budget": "policy",
    "DeviceProfile": "policy",
    "LatencyTable": "policy",
    "LayerPlan": "policy",
    "Policy": "policy",
    "Rule": "policy",
    "allocate": "policy",
    "Task": "tasks",
    "describe": "anatomy",
    "untouched": "anatomy",
    "compress": "compression",
    "finalize": "compression",
    "calibrate": "calibration",
    "PruningController": "controller",
    "remove_channels": "surgery",
    "summary": "policy_summary",
    "MetaCompressor": "meta",
    "benchmark": "deploy",
    "compare": "deploy",
    "export_litert": "deploy",
}
_KERAS_MODULES = ("wrappers",)  # their classes are what `keras.models.load_model` must know

__all__ = ["__version__", *_MODULES, *_OBJECTS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _OBJECTS:
        value = getattr(importlib.import_module(f"{__name__}.{_OBJECTS[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register_keras_classes() -> None:
    for name in _KERAS_MODULES:
        importlib.import_module(f"{__name__}.{name}")


when_keras_is_imported(_register_keras_classes)
