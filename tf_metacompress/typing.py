"""Names for the types that several units share."""

from typing import Literal

import numpy as np

Pattern = Literal["unstructured", "channel", "2:4", "block"]
"""Structure in which weights are removed."""

Granularity = Literal["per_tensor", "per_channel"]
"""Which weights share one quantisation scale."""

ExportMode = Literal["float32", "float16", "dynamic", "int8", "int16x8", "mixed"]
"""Numeric format of an exported file."""

IoDtype = Literal["float32", "int8"]
"""Type of an exported file's input and output tensors."""

ArrayPair = tuple[np.ndarray, np.ndarray]
"""Inputs of shape (N, ...) and their labels of shape (N, ...)."""
