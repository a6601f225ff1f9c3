"""`tf-metacompress export MODEL.keras`."""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tf_metacompress.atomic import check_writable
from tf_metacompress.cli.command import Command, Result, UsageError
from tf_metacompress.cli.data import check_data, chosen_data, define_data

MODES = ("float32", "float16", "dynamic", "int8", "int16x8", "mixed", "sparse")
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


def _wants_data(values: flags.FlagValues) -> bool:
    return bool(values.data or values.dataset or values.mode in _NEED_DATA)


def _check(values: flags.FlagValues) -> None:
    if values.io_dtype == "int8" and values.mode != "int8":
        raise UsageError("--io-dtype=int8 goes with --mode=int8 only.")
    if bool(values.policy) != (values.mode == "mixed"):
        raise UsageError("--mode=mixed and --policy=FILE.json go together.")
    if values.tolerance is not None and not 0.0 < values.tolerance < float("inf"):
        raise UsageError(f"--tolerance must be above 0. Received: {values.tolerance}.")
    if _wants_data(values):
        check_data(values)


def _run(values: flags.FlagValues, positional: Sequence[str]) -> Result:
    path = values.out or str(Path(positional[0]).with_suffix(".tflite"))
    check_writable(path)
    from tf_metacompress.deploy import export_litert
    from tf_metacompress.pipeline import load_model, representative
    from tf_metacompress.policy import Policy

    model = load_model(positional[0])
    return export_litert(
        model,
        path,
        mode=values.mode,
        representative_dataset=representative(chosen_data(values)) if _wants_data(values) else None,
        io_dtype=values.io_dtype,
        tolerance=values.tolerance,
        policy=Policy.load(values.policy) if values.policy else None,
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
