"""`tf-metacompress compress MODEL.keras`."""

from collections.abc import Sequence
from functools import partial

from absl import flags

from tf_metacompress.cli.checks import check_folder, check_target
from tf_metacompress.cli.command import Command, Result, UsageError
from tf_metacompress.cli.data import check_data, chosen_data, define_data
from tf_metacompress.cli.jobs import define_quiet, finish


def _define(values: flags.FlagValues) -> None:
    define_data(values, default="")
    define_quiet(values)
    flags.DEFINE_float(
        "size_ratio", None, "Budget: gzip bytes as a share of float32's.", flag_values=values
    )
    flags.DEFINE_string("out", "", "Folder to write into.", flag_values=values)
    flags.DEFINE_string("device", "android-arm64", "Device profile.", flag_values=values)
    flags.DEFINE_string("phi", "", "File of a meta-trained compressor.", flag_values=values)
    flags.DEFINE_string(
        "policy", "", "Policy file to carry out, in place of --size-ratio.", flag_values=values
    )
    flags.DEFINE_integer("steps", 1000, "Steps of fine-tuning.", lower_bound=1, flag_values=values)
    flags.DEFINE_float("learning_rate", 1e-3, "Where its rate begins.", flag_values=values)


def _check(values: flags.FlagValues) -> None:
    if not values.out:
        raise UsageError("Pass --out=DIR.")
    if (values.size_ratio is None) == (not values.policy):
        raise UsageError("Pass either --size-ratio=R or --policy=FILE.json.")
    if not 0.0 < values.learning_rate < float("inf"):
        raise UsageError(f"--learning-rate must be above 0. Received: {values.learning_rate}.")
    check_target(values)
    check_data(values)


def _run(values: flags.FlagValues, positional: Sequence[str]) -> Result:
    check_folder(values.out)
    from tf_metacompress.pipeline import JobSettings, compress_file

    settings = JobSettings(
        size_ratio=values.size_ratio,
        device=values.device,
        tuning_steps=values.steps,
        learning_rate=values.learning_rate,
        phi=values.phi,
        policy=values.policy,
    )
    job = partial(compress_file, positional[0], chosen_data(values), values.out, settings)
    return finish(job, values.out, values.quiet)


COMPRESS = Command(
    name="compress",
    summary="Compresses a trained Keras classifier to a size and writes a checked int8 .tflite.",
    arguments=("MODEL.keras",),
    example="tf-metacompress compress model.keras --data=data.npz --size-ratio=0.1 --out=runs/mine",
    define=_define,
    run=_run,
    check=_check,
)
