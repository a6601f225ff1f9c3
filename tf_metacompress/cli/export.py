"""`tf-metacompress export MODEL.keras`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from tf_metacompress.atomic import check_writable
from tf_metacompress.cli.command import Command, Result, UsageError
from tf_metacompress.cli.data import check_data, chosen_data, define_data
from tf_metacompress.cli.metadata import (
    NAMES,
    check_metadata,
    define_metadata,
    told_metadata,
    told_source,
)

if TYPE_CHECKING:
    from tf_metacompress.deploy import ModelMetadata

MODES = ("float32", "float16", "dynamic", "int8", "int16x8", "mixed", "sparse")
PACKED = ("dense", "conv", "all", "none")
_NEED_DATA = ("int8", "int16x8", "mixed")


def _define(values: flags.FlagValues) -> None:
    define_data(values, default="")
    flags.DEFINE_enum("mode", "float32", MODES, "What the file stores.", flag_values=values)
    flags.DEFINE_enum(
        "io_dtype", "float32", ("float32", "int8"), "Inputs and outputs.", flag_values=values
    )
    flags.DEFINE_string(
        "policy",
        "",
        "Policy file (JSON) that says what each layer is; for mixed.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "tolerance", None, "Largest accepted relative error against Keras.", flag_values=values
    )
    flags.DEFINE_string("out", "", "File to write; empty: beside the model.", flag_values=values)
    flags.DEFINE_bool(
        "per_layer", False, "Compare every layer, also if the outputs agree.", flag_values=values
    )
    flags.DEFINE_bool(
        "targets",
        False,
        "Score Keras and file by the labels of the data.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "dynamic_batch", False, "Leave the batch size of the file open.", flag_values=values
    )
    flags.DEFINE_bool(
        "slim",
        False,
        "Name inner tensors after layers, drop the converter's notes: a smaller file.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "packed",
        "dense",
        PACKED,
        "Where 4-bit weights take half a byte.",
        flag_values=values,
    )
    flags.DEFINE_bool(
        "metadata",
        False,
        "Write into the file what it is; --name, --labels, --mean and --softmax imply it.",
        flag_values=values,
    )
    define_metadata(values)


def _wants_data(values: flags.FlagValues) -> bool:
    return bool(values.data or values.dataset or values.mode in _NEED_DATA)


def _check(values: flags.FlagValues) -> None:
    if values.io_dtype == "int8" and values.mode != "int8":
        raise UsageError("--io-dtype=int8 goes with --mode=int8 only.")
    if bool(values.policy) != (values.mode == "mixed"):
        raise UsageError("--mode=mixed and --policy=FILE.json go together.")
    if values.packed != "dense" and values.mode not in ("int8", "mixed"):
        raise UsageError("--packed goes with --mode=int8 or --mode=mixed only.")
    if values.tolerance is not None and not 0.0 < values.tolerance < float("inf"):
        raise UsageError(f"--tolerance must be above 0. Received: {values.tolerance}.")
    if values.targets and not (values.data or values.dataset):
        raise UsageError("--targets needs --data=FILE.npz or --dataset=NAME: labels come from it.")
    check_metadata(values)
    if _wants_data(values):
        check_data(values)


def _metadata(values: flags.FlagValues, path: str, model: Any) -> "ModelMetadata | None":
    """What the file is to say of itself; None unless a flag asks for it."""
    if not values.metadata and all(values[name].value in (None, "") for name in NAMES):
        return None
    from tf_metacompress.anatomy.signature import model_signature
    from tf_metacompress.deploy import ModelMetadata

    told = told_metadata(values, lambda: model_signature(model).names)
    return ModelMetadata(**{"name": Path(path).stem, **told_source(path), **told})


def _run(values: flags.FlagValues, positional: Sequence[str]) -> Result:
    path = values.out or str(Path(positional[0]).with_suffix(".tflite"))
    check_writable(path)
    from tf_metacompress.deploy import export_litert
    from tf_metacompress.pipeline import load_model, representative_examples
    from tf_metacompress.policy import Policy

    model = load_model(positional[0])
    samples, labels = (
        representative_examples(chosen_data(values)) if _wants_data(values) else (None, None)
    )
    return export_litert(
        model,
        path,
        mode=values.mode,
        representative_dataset=samples,
        io_dtype=values.io_dtype,
        tolerance=values.tolerance,
        policy=Policy.load(values.policy) if values.policy else None,
        metadata=_metadata(values, positional[0], model),
        targets=labels if values.targets else None,
        per_layer=values.per_layer,
        dynamic_batch=values.dynamic_batch,
        slim=values.slim,
        packed=values.packed,
    )


EXPORT = Command(
    name="export",
    summary="Writes a Keras model as a .tflite file that was run and compared with Keras.",
    arguments=("MODEL.keras",),
    example="tf-metacompress export model.keras --mode=int8 --data=data.npz --out=model.tflite",
    define=_define,
    run=_run,
    check=_check,
)
