"""The export modes. Importing this package registers those that come with it."""

from tf_metacompress.deploy.modes.dynamic import DYNAMIC
from tf_metacompress.deploy.modes.float16 import FLOAT16
from tf_metacompress.deploy.modes.float32 import FLOAT32
from tf_metacompress.deploy.modes.int8 import INT8
from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    get_mode,
    mode_names,
    register_mode,
)

__all__ = [
    "DYNAMIC",
    "FLOAT16",
    "FLOAT32",
    "INT8",
    "CalibrationSamples",
    "Mode",
    "ModeOptions",
    "get_mode",
    "mode_names",
    "register_mode",
]
