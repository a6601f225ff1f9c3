"""`tf-metacompress meta-train`."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tf_metacompress.cli.checks import check_folder
from tf_metacompress.cli.command import Command, Result, UsageError
from tf_metacompress.cli.jobs import Written, announcer, define_quiet

BACKENDS = ("loky", "ray")
KEPT_FOR_JUDGING = ("fashion_mnist",)
_NUMBERS = {
    "models": ("num_models", 2, "Models of the zoo."),
    "policies_per_task": (
        "policies_per_task",
        0,
        "Measured policies a task, 3 or more; 0 for none.",
    ),
    "meta_steps": ("meta_steps", 0, "Meta-steps of Φ after that; 0 for none."),
    "train_steps": ("train_steps", 1, "Most steps of training of a model."),
    "tasks_per_model": ("tasks_per_model", 1, "Budgets and devices for each model."),
    "workers": ("num_workers", 1, "Processes that train models at the same time."),
    "seed": ("seed", 0, "Seed of everything."),
}
"""Flag to the setting it gives, its smallest value and its help."""


def _define(values: flags.FlagValues) -> None:
    define_quiet(values)
    flags.DEFINE_string("out", "", "Folder to write into; run again to go on.", flag_values=values)
    for flag, (_, smallest, text) in _NUMBERS.items():
        flags.DEFINE_integer(flag, None, text, lower_bound=smallest, flag_values=values)
    flags.DEFINE_multi_string(
        "data",
        [],
        "NAME=FILE: one more data set, an .npz file or a .zip of two .ts files; may be repeated.",
        flag_values=values,
    )
    flags.DEFINE_enum("backend", "loky", BACKENDS, "Where workers run.", flag_values=values)


def _files(values: flags.FlagValues) -> dict[str, str]:
    pairs = [word.partition("=") for word in values.data]
    return {name: file for name, _, file in pairs}


def _check(values: flags.FlagValues) -> None:
    if not values.out:
        raise UsageError("Pass --out=DIR.")
    for word in values.data:
        name, equals, file = word.partition("=")
        if not (name.isidentifier() and equals and file):
            raise UsageError(f"--data takes NAME=FILE. Received: {word!r}.")
        if name in KEPT_FOR_JUDGING:
            raise UsageError(f"--data={name} is kept for judging Φ; it must not learn from it.")
    if len(_files(values)) < len(values.data):
        raise UsageError("--data names a data set twice.")


def _command(values: flags.FlagValues) -> str:
    """The words that ask for the same again, on other folders and with any number of workers."""
    asked = [(flag, values[flag].value) for flag in _NUMBERS if flag != "workers"]
    words = [f"--{flag.replace('_', '-')}={value}" for flag, value in asked if value is not None]
    words += [f"--data={name}={Path(file).name}" for name, file in _files(values).items()]
    return shlex.join(["tf-metacompress", "meta-train", *words, "--out=DIR"])


def _run(values: flags.FlagValues, positional: Sequence[str]) -> Result:
    check_folder(values.out)
    from tf_metacompress.pipeline import MetaTrainSettings, meta_train
    from tf_metacompress.pipeline.zoo import check_files, meta_train_sources

    given = {
        setting: values[flag].value
        for flag, (setting, _, _) in _NUMBERS.items()
        if values[flag].value is not None
    }
    settings = MetaTrainSettings(**given, backend=values.backend)
    say = announcer(values.quiet)
    files = _files(values)
    check_files(files)
    sources = meta_train_sources(files)
    if not files:
        say(f"data: {', '.join(sources)}, which are at hand; name more with --data=NAME=FILE")
    meta_train(
        values.out,
        settings,
        sources,
        command=_command(values),
        announce=say,
        quiet=values.quiet,
    )
    text = f"Written: {values.out}/phi.npz, card.json, card.md, history.json"
    return Written(text, Path(values.out) / "card.json")


META_TRAIN = Command(
    name="meta-train",
    summary="Trains a zoo of small models and meta-trains Φ on compressing them.",
    arguments=(),
    example="tf-metacompress meta-train --out=runs/phi --models=20 --data=mnist=mnist.npz",
    define=_define,
    run=_run,
    check=_check,
)
