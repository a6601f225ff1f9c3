"""`tf-metacompress compress MODEL.keras`."""

from collections.abc import Sequence

from absl import flags

from tf_metacompress.cli.command import Command, UsageError
from tf_metacompress.cli.data import chosen_data, define_data


def _define(values: flags.FlagValues) -> None:
    define_data(values, default="")
    flags.DEFINE_float(
        "size_ratio", None, "Budget: gzip bytes as a share of float32's.", flag_values=values
    )
    flags.DEFINE_string("out", "", "Folder to write into.", flag_values=values)
    flags.DEFINE_string("device", "android-arm64", "Device profile.", flag_values=values)
    flags.DEFINE_string("phi", "", "File of a meta-trained compressor.", flag_values=values)
    flags.DEFINE_integer("steps", 1000, "Steps of fine-tuning.", flag_values=values)
    flags.DEFINE_float("learning_rate", 1e-3, "Where its rate begins.", flag_values=values)
    flags.DEFINE_bool("quiet", False, "Without progress bars.", flag_values=values)


def _run(values: flags.FlagValues, positional: Sequence[str]) -> None:
    if values.size_ratio is None or not values.out:
        raise UsageError("Pass --size-ratio=R and --out=DIR.")
    from tf_metacompress.pipeline import JobSettings, compress_file

    settings = JobSettings(
        size_ratio=values.size_ratio,
        device=values.device,
        tuning_steps=values.steps,
        learning_rate=values.learning_rate,
        phi=values.phi,
    )
    compress_file(positional[0], chosen_data(values), values.out, settings, quiet=values.quiet)


COMPRESS = Command(
    name="compress",
    summary="Compresses a trained Keras classifier to a size and writes a checked int8 .tflite.",
    arguments=("MODEL.keras",),
    example="tf-metacompress compress model.keras --data=data.npz --size-ratio=0.1 --out=runs/mine",
    define=_define,
    run=_run,
)
