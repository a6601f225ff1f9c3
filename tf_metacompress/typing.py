"""Names for the types that several units share."""

from typing import Literal

import numpy as np

Pattern = str
"""Structure in which weights are removed: "unstructured", "channel", "N:M" such as "2:4", or
"block" such as "block:4x4:max"; `policy.parse_pattern` reads it."""

Score = Literal["magnitude", "taylor", "activation", "random"]
"""What decides which weights are removed; `ops.register_score` adds to it."""

QuantizerName = Literal["symmetric", "affine", "log2", "codebook", "short_scale"]
"""Values that quantised weights can take; `ops.register_quantizer` adds to it."""

RangeSetting = Literal["min_max", "percentile", "mse"]
"""How the range of a weight grid is chosen."""

Granularity = Literal["per_tensor", "per_channel"]
"""Which weights share one quantisation scale."""

ExportMode = Literal["float32", "float16", "dynamic", "int8", "int16x8", "mixed", "sparse"]
"""Numeric format of an exported file."""

IoDtype = Literal["float32", "int8"]
"""Type of an exported file's input and output tensors."""

Packed = Literal["dense", "conv", "all", "none"]
"""Layers whose weights of up to 4 bits a file stores two to a byte."""

ArrayPair = tuple[np.ndarray, np.ndarray]
"""Inputs of shape (N, ...) and their labels of shape (N, ...)."""
