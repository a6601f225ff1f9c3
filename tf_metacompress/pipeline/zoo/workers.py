"""Runs a function over many arguments, here or in other processes, through joblib."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import joblib

from tf_metacompress.errors import check_choice, check_int, invalid

_IDLE_S = 30
_PORTION = 4
BACKENDS: tuple[str, ...] = ("loky", "ray")


def check_backend(backend: str) -> None:
    """Raises unless a backend can be used here.

    Args:
        backend: "loky" for processes of this machine, "ray" for a Ray cluster.

    Raises:
        InvalidArgumentError: If there is none of that name, or Ray is not installed.
    """
    check_choice("backend", backend, BACKENDS)
    if backend == "ray":
        try:
            from ray.util.joblib import register_ray
        except ImportError as error:
            raise invalid(
                f"The backend 'ray' needs Ray: {error}.",
                'Install it: pip install "tf_metacompress[ray]".',
                backend=backend,
            ) from error
        register_ray()


def run_all(
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    num_workers: int = 1,
    backend: str = "loky",
) -> Iterator[Any]:
    """Calls a function once for each tuple of arguments.

    Arguments are taken only as fast as workers finish, so they need not all fit in memory.

    Args:
        function: Importable by name from another process.
        arguments: Positional arguments of each call.
        num_workers: Processes; with 1 and "loky" the calls are made in this one.
        backend: "loky" or "ray". A Ray cluster is used when one is running, else a local one.

    Yields:
        The results, in the order in which they are done, on Ray a portion at a time.

    Raises:
        InvalidArgumentError: If the backend cannot be used.
    """
    check_int("num_workers", num_workers, minimum=1)
    check_backend(backend)
    if backend == "loky" and num_workers == 1:
        yield from (function(*each) for each in arguments)
        return
    calls = (joblib.delayed(function)(*each) for each in arguments)
    if backend == "ray":
        yield from _in_portions(calls, num_workers)
        return
    # Idle workers go soon, as each holds the memory of a TensorFlow of its own.
    with joblib.parallel_config(backend, idle_worker_timeout=_IDLE_S):
        parallel = joblib.Parallel(
            n_jobs=num_workers,
            pre_dispatch=num_workers,
            batch_size=1,
            return_as="generator_unordered",
        )
        yield from parallel(calls)


def _in_portions(calls: Iterator[Any], num_workers: int) -> Iterator[Any]:
    """On Ray, whose joblib backend gives results only when all are there: so a portion at a time.

    A killed run loses no more than the portion that was under way.
    """
    keeps_workers = joblib.Parallel(n_jobs=num_workers, backend="ray", batch_size=1)
    with keeps_workers as parallel:
        while portion := list(islice(calls, _PORTION * num_workers)):
            yield from parallel(portion)
