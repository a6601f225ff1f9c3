"""What the user asks of an export, checked before any work."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import keras

from tf_metacompress.anatomy import describe
from tf_metacompress.anatomy.samples import Samples, check_samples, random_samples
from tf_metacompress.anatomy.signature import ModelSignature
from tf_metacompress.atomic import PathLike, check_writable
from tf_metacompress.deploy.model_metadata import ModelMetadata
from tf_metacompress.deploy.modes import Mode, get_mode
from tf_metacompress.deploy.modes.op_formats import PACKED_OPS
from tf_metacompress.errors import check_choice, check_positive, invalid, wrong_type
from tf_metacompress.policy import LayerPlan, Policy
from tf_metacompress.typing import ExportMode, IoDtype, Packed
from tf_metacompress.wrappers import CompressedModel, LayerCompressor

_PACKED = "dense"
_PACKING_MODES = ("int8", "mixed")


class ExportExtras(TypedDict, total=False):
    """Options of `export_litert` that most exports do without."""

    metadata: ModelMetadata | None
    targets: Any
    per_layer: bool
    dynamic_batch: bool
    packed: Packed
    slim: bool


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for, checked.

    Attributes:
        path: The file to write.
        mode: Its numbers.
        io_dtype: Type of its inputs and outputs.
        tolerance: Largest accepted relative error.
        metadata: What it shall say of itself, None for nothing.
        targets: Right answers for the representative data, unchecked; None without.
        per_layer: Whether layers are compared even if the outputs agree.
        dynamic_batch: Whether its batch size is open.
        packed_ops: Operators whose weights are packed two to a byte where 4 bits hold them.
        slim: Whether inner tensors get short names and the converter's notes are left out.
    """

    path: str
    mode: Mode
    io_dtype: IoDtype
    tolerance: float
    metadata: ModelMetadata | None
    targets: Any
    per_layer: bool
    dynamic_batch: bool
    packed_ops: tuple[str, ...]
    slim: bool


def check_request(
    path: PathLike,
    mode: ExportMode,
    io_dtype: IoDtype,
    tolerance: float | None,
    extras: Mapping[str, Any],
) -> Request:
    """Checks what needs no model.

    Args:
        path: The file to write.
        mode: An export mode.
        io_dtype: Type of the file's inputs and outputs.
        tolerance: Largest accepted relative error, None for the mode's own.
        extras: Options by name, as `ExportExtras` lists them.

    Returns:
        The request.

    Raises:
        InvalidArgumentError: If an argument is not allowed or the path cannot be written.
    """
    chosen = get_mode(mode)
    check_choice("io_dtype", io_dtype, ("float32", "int8"))
    if io_dtype not in chosen.io_dtypes:
        raise invalid(
            f"`io_dtype` must be 'float32' in mode {mode!r}.",
            "Only mode 'int8' takes and gives int8.",
            io_dtype=io_dtype,
        )
    limit = chosen.tolerance if tolerance is None else check_positive("tolerance", tolerance)
    if check_writable(path).is_dir():
        raise invalid("`path` must name a file, not a directory.", path=str(path))
    for name in extras:
        check_choice("option", name, tuple(ExportExtras.__annotations__))
    metadata = extras.get("metadata")
    if metadata is not None and not isinstance(metadata, ModelMetadata):
        raise wrong_type("`metadata` must be a ModelMetadata.", metadata=metadata)
    return Request(
        path=str(path),
        mode=chosen,
        io_dtype=io_dtype,
        tolerance=limit,
        metadata=metadata,
        targets=extras.get("targets"),
        per_layer=bool(extras.get("per_layer", False)),
        dynamic_batch=bool(extras.get("dynamic_batch", False)),
        packed_ops=_packed_ops(extras.get("packed", _PACKED), chosen),
        slim=bool(extras.get("slim", False)),
    )


def _packed_ops(packed: Packed, mode: Mode) -> tuple[str, ...]:
    check_choice("packed", packed, tuple(PACKED_OPS))
    if packed != _PACKED and mode.name not in _PACKING_MODES:
        raise invalid(
            f"`packed` must be {_PACKED!r} in mode {mode.name!r}.",
            f"Weights of 4 bits are packed in modes {' and '.join(_PACKING_MODES)} only.",
            packed=packed,
        )
    return PACKED_OPS[packed]


def check_plans(
    model: keras.Model, plain: keras.Model, policy: Policy | None, mode: Mode
) -> tuple[LayerPlan, ...]:
    """Finds what was decided for each layer.

    Args:
        model: What is exported.
        plain: The same, finalized.
        policy: What the user gave.
        mode: The export mode.

    Returns:
        The plans; none in a mode that treats all layers alike.

    Raises:
        InvalidArgumentError: If the mode has no use for a policy, or needs one that is not there.
    """
    if not mode.needs_plans:
        if policy is not None:
            raise invalid(
                "`policy` goes with mode 'mixed' only.",
                "The other modes treat all layers alike.",
                mode=mode.name,
            )
        return ()
    if policy is not None:
        if not isinstance(policy, Policy):
            raise wrong_type("`policy` must be a Policy.", policy=policy)
        return policy.resolve(describe(plain))
    if not isinstance(model, CompressedModel):
        raise invalid(
            f"Mode {mode.name!r} needs `policy` for a model that `compress` did not make.",
            "Pass the policy, or the student itself in place of the finalized model.",
            policy=policy,
        )
    return trained_plans(model)


def trained_plans(model: keras.Model) -> tuple[LayerPlan, ...]:
    """Lists what a student of `compress` was trained with; nothing for another model."""
    if not isinstance(model, CompressedModel):
        return ()
    acting = [c for c in model.compressors if isinstance(c, LayerCompressor) and c.kernels]
    return tuple(compressor.plan for compressor in acting)


def check_data(dataset: Any, mode: Mode, signature: ModelSignature) -> Samples:
    """Checks the representative data, or makes random ones where none are needed.

    Args:
        dataset: What the user gave.
        mode: The export mode.
        signature: The inputs of the model.

    Returns:
        The samples.

    Raises:
        InvalidArgumentError: If they do not fit, or the mode needs data and there are none.
    """
    if dataset is not None:
        return check_samples(dataset, signature)
    if mode.needs_data:
        raise invalid(
            f"Mode {mode.name!r} needs `representative_dataset`.",
            "Pass a few hundred inputs, for example x_train[:500].",
            representative_dataset=dataset,
        )
    return random_samples(signature)
