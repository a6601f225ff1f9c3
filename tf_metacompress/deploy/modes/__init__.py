"""The export modes. Importing this package registers those that come with it."""

from tf_metacompress.deploy.modes.dynamic import DYNAMIC
from tf_metacompress.deploy.modes.float16 import FLOAT16
from tf_metacompress.deploy.modes.float32 import FLOAT32
from tf_metacompress.deploy.modes.int8 import INT8
from tf_metacompress.deploy.modes.int16x8 import INT16X8
from tf_metacompress.deploy.modes.mixed import MIXED
from tf_metacompress.deploy.modes.mode import (
    CalibrationSamples,
    Mode,
    ModeOptions,
    get_mode,
    mode_names,
    register_mode,
)
from tf_metacompress.deploy.modes.op_formats import OpFormat
from tf_metacompress.deploy.modes.sparse import SPARSE

__all__ = [
    "DYNAMIC",
    "FLOAT16",
    "FLOAT32",
    "INT16X8",
    "INT8",
    "MIXED",
    "SPARSE",
    "CalibrationSamples",
    "Mode",
    "ModeOptions",
    "OpFormat",
    "get_mode",
    "mode_names",
    "register_mode",
]
