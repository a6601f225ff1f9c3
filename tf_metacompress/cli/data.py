"""The flags that choose a data set, shared by the commands that train."""

from typing import Any

from absl import flags

from tf_metacompress.cli.command import UsageError


def define_data(values: flags.FlagValues, default: str) -> None:
    """Defines --dataset and --data.

    Args:
        values: Where to define them.
        default: Data set when neither is given; empty for none.
    """
    flags.DEFINE_string(
        "dataset",
        default,
        "Data set: digits (no network), fashion_mnist, mnist or cifar10.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "data",
        "",
        "Your own: an .npz file with x_train, y_train, x_test, y_test. Goes before --dataset.",
        flag_values=values,
    )


def chosen_data(values: flags.FlagValues) -> Any:
    """Loads the data set that the flags name.

    Args:
        values: Parsed flags.

    Returns:
        A `Dataset`.

    Raises:
        UsageError: When they name none.
    """
    from tf_metacompress.pipeline import load_dataset, load_npz

    if not values.data and not values.dataset:
        raise UsageError("Pass --data=FILE.npz or --dataset=NAME.")
    return load_npz(values.data) if values.data else load_dataset(values.dataset)
