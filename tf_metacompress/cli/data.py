"""The flags that choose a data set, shared by the commands that train."""

from typing import Any

from absl import flags

from tf_metacompress.cli.checks import as_usage
from tf_metacompress.cli.command import UsageError
from tf_metacompress.errors import check_choice

DATASETS = ("digits", "fashion_mnist", "mnist", "cifar10")


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
        "Your own .npz file of x_train, y_train, x_test, y_test, in place of --dataset.",
        flag_values=values,
    )


def check_data(values: flags.FlagValues) -> None:
    """Checks --dataset and --data.

    Args:
        values: Parsed flags.

    Raises:
        UsageError: When they name no data set, or one that does not exist.
    """
    if not values.data and not values.dataset:
        raise UsageError("Pass --data=FILE.npz or --dataset=NAME.")
    if not values.data:
        with as_usage():
            check_choice("dataset", values.dataset, DATASETS)


def chosen_data(values: flags.FlagValues) -> Any:
    """Loads the data set that the flags name.

    Args:
        values: Parsed and checked flags.

    Returns:
        A `Dataset`.
    """
    from tf_metacompress.pipeline import load_dataset, load_npz

    return load_npz(values.data) if values.data else load_dataset(values.dataset)
