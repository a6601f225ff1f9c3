"""`tf-metacompress demo`."""

from collections.abc import Sequence

from absl import flags

from tf_metacompress.cli.command import Command
from tf_metacompress.cli.data import chosen_data, define_data


def _define(values: flags.FlagValues) -> None:
    define_data(values, default="digits")
    flags.DEFINE_string("out", "runs/demo", "Folder to write into.", flag_values=values)
    flags.DEFINE_float(
        "size_ratio", 0.1, "Budget: gzip bytes as a share of float32's.", flag_values=values
    )
    flags.DEFINE_string("device", "android-arm64", "Device profile.", flag_values=values)
    flags.DEFINE_integer("seed", 0, "Seed of everything.", flag_values=values)
    flags.DEFINE_bool("quiet", False, "Without progress bars.", flag_values=values)


def _run(values: flags.FlagValues, positional: Sequence[str]) -> None:
    from tf_metacompress.pipeline import DemoSettings, run_demo

    settings = DemoSettings(size_ratio=values.size_ratio, device=values.device, seed=values.seed)
    run_demo(chosen_data(values), values.out, settings, quiet=values.quiet)


DEMO = Command(
    name="demo",
    summary="Learns a policy on four small models, judges it on a fifth, writes checked files.",
    arguments=(),
    example="tf-metacompress demo --dataset=fashion_mnist --size-ratio=0.1 --out=runs/fashion",
    define=_define,
    run=_run,
)
