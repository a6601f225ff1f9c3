"""`tf-metacompress inspect FILE.tflite`."""

from collections.abc import Sequence

from absl import flags

from tf_metacompress.cli.command import Command, Result


def _define(values: flags.FlagValues) -> None:
    return None


def _run(values: flags.FlagValues, positional: Sequence[str]) -> Result:
    from tf_metacompress.deploy import inspect_litert

    return inspect_litert(positional[0])


INSPECT = Command(
    name="inspect",
    summary="Tells what is in a .tflite file: operators, types, zeros, sizes, delegates, arena.",
    arguments=("FILE.tflite",),
    example="tf-metacompress inspect model.tflite",
    define=_define,
    run=_run,
)
