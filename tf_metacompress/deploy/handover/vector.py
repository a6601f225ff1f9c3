"""A test vector: an input, what the file is fed, and what it gives here."""

import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tf_metacompress.deploy.delegation import Delegation, delegation_of
from tf_metacompress.deploy.flatfile import FlatFile
from tf_metacompress.deploy.interpreter import dequantized, quantized
from tf_metacompress.deploy.io_signatures import Signature
from tf_metacompress.deploy.litert_process import run_samples
from tf_metacompress.deploy.model_metadata import ModelMetadata, Normalization
from tf_metacompress.errors import UnsupportedModelError, invalid, wrong_type

_SEED = 0
_STEPS = 2
_RELATIVE = 1e-3
_SMALLEST = 1e-6
_MOST_VALUES_IN_JSON = 4096
_AS_IT_IS = Normalization()
_NUMPY_ORDER = "<"


@dataclass(frozen=True, kw_only=True)
class Vector:
    """Arrays by name of the input or output.

    Attributes:
        raw: What an app has: float32, before normalisation.
        fed: What the file is fed: normalised, in its own types.
        given: What the file gives, in its own types.
        real: The real numbers that this stands for, float32.
        tolerance: How far the outputs of another processor may be from `real`.
        seeded: Whether the input was drawn at random, always alike.
    """

    raw: Mapping[str, np.ndarray] = field(repr=False)
    fed: Mapping[str, np.ndarray] = field(repr=False)
    given: Mapping[str, np.ndarray] = field(repr=False)
    real: Mapping[str, np.ndarray] = field(repr=False)
    tolerance: Mapping[str, float]
    seeded: bool


def normalized(raw: np.ndarray, normalization: Normalization) -> np.ndarray:
    """Applies a normalisation as the Kotlin file does: in float64, rounded to float32.

    Args:
        raw: Raw values, channels last.
        normalization: Mean and std, one value or one a channel.

    Returns:
        Float32 array of the same shape.
    """
    mean, std = np.array(normalization.mean), np.array(normalization.std)
    return ((raw.astype(np.float64) - mean) / std).astype(np.float32)


def check_sample(sample: Mapping[str, np.ndarray], signature: Signature) -> dict[str, np.ndarray]:
    """Checks raw values for a test vector.

    Args:
        sample: Raw values by name of the input.
        signature: The main signature.

    Returns:
        Float32 arrays in the order of the inputs.

    Raises:
        InvalidArgumentError: If they do not fit the inputs or are not finite.
        ArgumentTypeError: If they are no numbers by name.
    """
    try:
        raw = {name: np.asarray(value, np.float32) for name, value in sample.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise wrong_type("`sample` must map names of inputs to numbers.", sample=sample) from error
    expected = {item.name: item.shape for item in signature.inputs}
    shapes = {name: value.shape for name, value in raw.items()}
    if shapes != expected:
        raise invalid(
            "`sample` must have one array for each input.", f"Expected {expected}.", shapes=shapes
        )
    if not all(np.isfinite(value).all() for value in raw.values()):
        raise invalid("`sample` must be finite.", sample=sorted(raw))
    return {name: raw[name] for name in expected}


def make_vector(
    file: FlatFile,
    signature: Signature,
    metadata: ModelMetadata,
    sample: Mapping[str, np.ndarray] | None,
) -> tuple[Vector, Delegation | None]:
    """Runs the file once, in a process of its own.

    Args:
        file: The file.
        signature: Its main signature.
        metadata: Says how inputs are normalised.
        sample: Checked raw values by name of the input; None draws some.

    Returns:
        What went in and what came out, and how the runtime split the file.

    Raises:
        CorruptFileError: If the runtime refuses the file or crashes on it.
        UnsupportedModelError: If an output is not finite or of another shape than stated, or the
            runtime lacks an operator.
    """
    scaling = {
        item.name: metadata.normalization.get(item.name, _AS_IT_IS) for item in signature.inputs
    }
    raw = _drawn(signature, scaling) if sample is None else dict(sample)
    ready = {name: normalized(value, scaling[name]) for name, value in raw.items()}
    fed = {item.name: quantized(ready[item.name], item.detail) for item in signature.inputs}
    samples = {file.input_names[name]: value[None] for name, value in fed.items()}
    made, run = run_samples(file.data, metadata.name, samples)
    given = {item.name: made[file.output_names[item.name]][0] for item in signature.outputs}
    _check_shapes(signature, given)
    details = {item.name: item.detail for item in signature.outputs}
    real = {n: dequantized(v, details[n]).astype(np.float32) for n, v in given.items()}
    broken = sorted(name for name, value in real.items() if not np.isfinite(value).all())
    if broken:
        raise UnsupportedModelError(
            "The file gives NaN or infinity, which no test can compare. "
            f"Received: outputs {broken}. Pass a `sample` for which it does not."
        )
    vector = Vector(
        raw=raw,
        fed=fed,
        given=given,
        real=real,
        tolerance={name: _tolerance(file, name, value) for name, value in real.items()},
        seeded=sample is None,
    )
    return vector, delegation_of(run.operators)


def _check_shapes(signature: Signature, given: Mapping[str, np.ndarray]) -> None:
    stated = {item.name: item.shape for item in signature.outputs}
    made = {name: value.shape for name, value in given.items()}
    if made != stated:
        raise UnsupportedModelError(
            f"The outputs must have the shapes that the file states, {stated}. "
            f"Received: {made} from the runtime. Export the model with fixed shapes."
        )


def _drawn(signature: Signature, scaling: Mapping[str, Normalization]) -> dict[str, np.ndarray]:
    """Draws raw values that use the range of each input; indices into tables are all zero."""
    generator = np.random.default_rng(_SEED)
    raw = {}
    for item in signature.inputs:
        low, high = 0.0, 1.0
        if item.scale:
            limits = np.iinfo(item.type)
            low, high = (
                (level - item.zero_point) * item.scale for level in (limits.min, limits.max)
            )
        elif item.type != "float32":
            high = 0.0
        ready = generator.uniform(low, high, item.shape)
        mean, std = np.array(scaling[item.name].mean), np.array(scaling[item.name].std)
        raw[item.name] = (ready * std + mean).astype(np.float32)
    return raw


def _tolerance(file: FlatFile, name: str, value: np.ndarray) -> float:
    """Two steps of the grid that the output is on, else a thousandth of the largest value."""
    graph, index = file.main, file.output_names[name]
    makers = [op for op in graph.ops if index in op.outputs and op.name == "DEQUANTIZE"]
    scales = graph.tensors[makers[0].inputs[0] if makers else index].scales
    if scales.size:
        return float(_STEPS * scales[0])
    return float(_RELATIVE * np.abs(value).max(initial=0.0) + _SMALLEST)


def vector_files(vector: Vector, signature: Signature) -> dict[str, bytes]:
    """Gives the vector as files: bytes as they lie in memory, and JSON that describes them.

    Args:
        vector: The vector.
        signature: The main signature.

    Returns:
        File name to content.
    """
    files: dict[str, bytes] = {}
    inputs = [
        _described(
            files, f"input_{number}", item.name, vector.raw[item.name], vector.fed[item.name]
        )
        for number, item in enumerate(signature.inputs)
    ]
    outputs = [
        _described(
            files, f"output_{number}", item.name, vector.real[item.name], vector.given[item.name]
        )
        | {"tolerance": vector.tolerance[item.name]}
        for number, item in enumerate(signature.outputs)
    ]
    document = {
        "signature": signature.key,
        "seed": _SEED if vector.seeded else None,
        "computed_by": {
            "ai-edge-litert": importlib.metadata.version("ai-edge-litert"),
            "architecture": platform.machine(),
        },
        "inputs": inputs,
        "outputs": outputs,
    }
    files["vector.json"] = (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
    return files


def _described(
    files: dict[str, bytes], stem: str, name: str, real: np.ndarray, stored: np.ndarray
) -> dict[str, Any]:
    """Adds the two files of one input or output, and describes them."""
    files[f"{stem}.float32"] = real.astype("<f4").tobytes()
    files[f"{stem}.stored"] = stored.astype(stored.dtype.newbyteorder(_NUMPY_ORDER)).tobytes()
    few = math.prod(real.shape) <= _MOST_VALUES_IN_JSON
    return {
        "name": name,
        "shape": list(real.shape),
        "type": str(stored.dtype),
        "real_file": f"{stem}.float32",
        "stored_file": f"{stem}.stored",
        "values": [float(value) for value in real.ravel()] if few else None,
    }
