"""`tf-metacompress benchmark FILE.tflite`."""

from collections.abc import Sequence

from absl import flags

from tf_metacompress.cli.command import Command, Result, UsageError

_HOST = "host"
# Flags of one kind of device, and what that kind is called.
_OF_KIND = {"benchmark_model": "android", "identity": "ssh", "python": "ssh"}


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "device",
        _HOST,
        "Where: host, host-without-xnnpack, android[:SERIAL] or ssh:[USER@]HOST[:PORT].",
        flag_values=values,
    )
    flags.DEFINE_string(
        "benchmark_model", "", "Android: that program, or a folder with it.", flag_values=values
    )
    flags.DEFINE_string("identity", "", "ssh: the private key.", flag_values=values)
    flags.DEFINE_string("python", "", "ssh: the Python there with LiteRT.", flag_values=values)
    flags.DEFINE_integer("num_threads", 1, "Threads.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer(
        "num_runs",
        50,
        "Counted runs; with --against, in each turn.",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_integer("num_warmup", 5, "Runs before them.", lower_bound=0, flag_values=values)
    flags.DEFINE_string(
        "against", "", "Another file, run in turns with it; gives the ratio.", flag_values=values
    )


def _check(values: flags.FlagValues) -> None:
    if values.against and values.device != _HOST:
        raise UsageError(f"--against runs on this machine only, not on {values.device!r}.")
    for name, kind in _OF_KIND.items():
        if values[name].value and values.device.partition(":")[0] != kind:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} goes with --device={kind}, not {values.device!r}.")


def _run(values: flags.FlagValues, positional: Sequence[str]) -> Result:
    from tf_metacompress.deploy import benchmark, compare
    from tf_metacompress.deploy.devices import get_device

    if values.against:
        return compare(
            [values.against, positional[0]],
            num_threads=values.num_threads,
            runs_per_block=values.num_runs,
        )
    settings = {name: values[name].value for name in _OF_KIND if values[name].value}
    return benchmark(
        positional[0],
        device=get_device(values.device, **settings),
        num_threads=values.num_threads,
        num_runs=values.num_runs,
        num_warmup=values.num_warmup,
    )


BENCHMARK = Command(
    name="benchmark",
    summary="Times a .tflite file on this machine, a phone or a board.",
    arguments=("FILE.tflite",),
    example="tf-metacompress benchmark model.tflite --num-threads=2 --against=float.tflite",
    define=_define,
    run=_run,
    check=_check,
)
