"""`tf-metacompress demo`."""

from collections.abc import Sequence
from functools import partial

from absl import flags

from tf_metacompress.cli.checks import check_folder, check_target
from tf_metacompress.cli.command import Command, Result
from tf_metacompress.cli.data import check_data, chosen_data, define_data
from tf_metacompress.cli.jobs import define_quiet, finish

_STEPS = {"train_steps": "that train the model", "tuning_steps": "of fine-tuning"}


def _define(values: flags.FlagValues) -> None:
    define_data(values, default="digits")
    define_quiet(values)
    flags.DEFINE_string("out", "runs/demo", "Folder to write into.", flag_values=values)
    flags.DEFINE_float(
        "size_ratio", 0.1, "Budget: gzip bytes as a share of float32's.", flag_values=values
    )
    flags.DEFINE_string("device", "android-arm64", "Device profile.", flag_values=values)
    flags.DEFINE_integer("seed", 0, "Seed of everything.", lower_bound=0, flag_values=values)
    for name, what in _STEPS.items():
        flags.DEFINE_integer(
            name,
            None,
            f"Steps {what}; the demo's own number if not given.",
            lower_bound=1,
            flag_values=values,
        )


def _check(values: flags.FlagValues) -> None:
    check_target(values)
    check_data(values)


def _run(values: flags.FlagValues, positional: Sequence[str]) -> Result:
    check_folder(values.out)
    from tf_metacompress.pipeline import DemoSettings, run_demo

    steps = {name: values[name].value for name in _STEPS if values[name].value is not None}
    settings = DemoSettings(
        size_ratio=values.size_ratio, device=values.device, seed=values.seed, **steps
    )
    job = partial(run_demo, chosen_data(values), values.out, settings)
    return finish(job, values.out, values.quiet)


DEMO = Command(
    name="demo",
    summary="Has the shipped Φ compress an architecture that is new to it, and compares.",
    arguments=(),
    example="tf-metacompress demo --dataset=fashion_mnist --size-ratio=0.1 --out=runs/fashion",
    define=_define,
    run=_run,
    check=_check,
)
