"""`tf-metacompress compare A.tflite B.tflite …`."""

from collections.abc import Sequence

from absl import flags

from tf_metacompress.cli.command import MORE, Command, Result


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_integer("num_threads", 1, "Threads.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("num_runs", 20, "Counted runs a turn.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("num_blocks", 9, "Turns of each file.", lower_bound=3, flag_values=values)


def _run(values: flags.FlagValues, positional: Sequence[str]) -> Result:
    from tf_metacompress.deploy import compare_files

    return compare_files(
        positional,
        num_threads=values.num_threads,
        num_blocks=values.num_blocks,
        runs_per_block=values.num_runs,
    )


COMPARE = Command(
    name="compare",
    summary="Sets .tflite files beside each other: sizes, what differs, times on this machine.",
    arguments=("A.tflite", "B.tflite", MORE),
    example="tf-metacompress compare float.tflite int8.tflite mixed.tflite --num-threads=2",
    define=_define,
    run=_run,
)
