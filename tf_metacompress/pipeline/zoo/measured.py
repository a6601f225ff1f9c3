"""Outcomes of the models of a zoo, measured in parallel and kept in a folder."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
from tqdm import tqdm

from tf_metacompress.errors import check_int
from tf_metacompress.meta import MetaCompressor
from tf_metacompress.meta.features import NUM_FEATURES
from tf_metacompress.meta.outcomes import (
    Outcomes,
    load_outcomes,
    measure_outcomes,
    save_outcomes,
)
from tf_metacompress.meta.trials import NUM_STEPS, Trial
from tf_metacompress.pipeline.zoo.recipes import Entry, Shares
from tf_metacompress.pipeline.zoo.task_draws import draw_tasks
from tf_metacompress.pipeline.zoo.trainer import limit_threads
from tf_metacompress.pipeline.zoo.workers import run_all
from tf_metacompress.pipeline.zoo.zoo import Zoo


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How many outcomes are measured, and where.

    Attributes:
        tasks_per_model: Budgets and devices for each model.
        policies_per_task: Policies for each of them, at least 3.
        num_workers: Processes that measure at the same time.
        backend: "loky" or "ray".
    """

    tasks_per_model: int = 3
    policies_per_task: int = 12
    num_workers: int = 1
    backend: str = "loky"

    def __post_init__(self) -> None:
        """Checks the values."""
        check_int("tasks_per_model", self.tasks_per_model, minimum=1)
        check_int("policies_per_task", self.policies_per_task, minimum=3)


def measure_entry(
    entry: Entry, content: bytes, given: Shares, measuring: Measuring, num_threads: int
) -> tuple[Entry, list[Outcomes]]:
    """Measures the outcomes of one model, in whatever process.

    Args:
        entry: What the model is.
        content: The bytes of its .keras file.
        given: Its examples.
        measuring: How many outcomes.
        num_threads: Threads of TensorFlow in this process; 0 to leave them as they are.

    Returns:
        The entry, and the outcomes of each of its tasks.
    """
    limit_threads(num_threads)
    compressor = MetaCompressor()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(content)
        model = keras.models.load_model(path, compile=False)
    compiler = compressor.compiler()
    tasks = draw_tasks(entry, model, given, measuring.tasks_per_model)
    prepared = [compiler.prepare(task) for task in tasks]
    found = []
    if prepared:
        trial = Trial(prepared[0])
        count = measuring.policies_per_task
        found = [
            measure_outcomes(task, trial, count, entry.seed + i) for i, task in enumerate(prepared)
        ]
    keras.backend.clear_session()
    return entry, found


def measure_zoo(
    zoo: Zoo, entries: Sequence[Entry], measuring: Measuring, *, quiet: bool = False
) -> list[Outcomes]:
    """Measures outcomes of trained models of a zoo; those measured before are read.

    Args:
        zoo: The zoo.
        entries: Its trained models to measure.
        measuring: How many outcomes, and where.
        quiet: Without a progress bar.

    Returns:
        The outcomes of all tasks.

    Raises:
        InvalidArgumentError: If the backend cannot be used.
    """
    paths = {entry: _path(zoo, entry, measuring) for entry in entries}
    missing = [entry for entry in entries if not paths[entry].is_file()]
    done = run_all(
        measure_entry, _calls(zoo, missing, measuring), measuring.num_workers, measuring.backend
    )
    bar = tqdm(
        done,
        total=len(entries),
        initial=len(entries) - len(missing),
        desc="measure outcomes",
        disable=True if quiet else None,
    )
    for entry, found in bar:
        paths[entry].parent.mkdir(exist_ok=True)
        save_outcomes(paths[entry], found)
    return [outcomes for path in paths.values() for outcomes in load_outcomes(path)]


def _path(zoo: Zoo, entry: Entry, measuring: Measuring) -> Path:
    """A model trained anew, or other numbers, are measured anew."""
    content = hashlib.sha256(zoo.content(entry)).hexdigest()[:12]
    counts = (measuring.tasks_per_model, measuring.policies_per_task, NUM_FEATURES, NUM_STEPS)
    numbers = "x".join(map(str, counts))
    return zoo.folder / "outcomes" / f"{entry.name}-{numbers}-{content}.npz"


def _calls(zoo: Zoo, missing: Sequence[Entry], measuring: Measuring) -> Iterator[tuple]:
    num_threads = int(measuring.num_workers > 1)
    for entry in missing:
        yield entry, zoo.content(entry), zoo.shares(entry), measuring, num_threads
