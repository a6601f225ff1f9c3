"""The zoo: models that are trained once, kept in a folder, and made into tasks."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

from tf_metacompress.atomic import remove_leftovers, write_bytes, write_json
from tf_metacompress.errors import check_choice, check_int, invalid
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.zoo.recipes import Entry, Shares, plan_entries, shares
from tf_metacompress.pipeline.zoo.sources import load_source, sources_at_hand
from tf_metacompress.pipeline.zoo.split import SPLITS
from tf_metacompress.pipeline.zoo.task_draws import draw_tasks
from tf_metacompress.pipeline.zoo.trainer import Record, train_entry
from tf_metacompress.pipeline.zoo.workers import check_backend, run_all
from tf_metacompress.tasks import Task

_THREADS_OF_A_WORKER = 1


class Zoo:
    """Small trained classifiers of many kinds, in a folder.

    What a model is follows from the seed and its number alone, so a larger zoo of the same seed
    begins with the models of a smaller one. Each is trained once; a model and its record are
    written whole or not at all, so a killed run goes on where it stopped.

    Args:
        folder: Where models and records lie.
        num_models: Models of the meta-train split.
        num_test_models: Models of the meta-test split.
        sources: Name to `Dataset`; None for all that is at hand without a file.
        seed: Seed of everything.
        train_steps: Most steps of training of a model.
        models_per_architecture: Models that share an architecture, trained on other variants.

    Raises:
        InvalidArgumentError: If a number is out of its range, or there are no sources.

    Example:
        >>> zoo = Zoo("runs/zoo", num_models=5, sources={"digits": load_source("digits")})
        >>> [entry.family for entry in zoo.entries("train")]
        ['plain', 'residual', 'separable', 'mlp', 'bottleneck']
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        num_models: int = 40,
        num_test_models: int = 12,
        sources: Mapping[str, Dataset] | None = None,
        seed: int = 0,
        train_steps: int = 300,
        models_per_architecture: int = 2,
    ) -> None:
        self.folder = Path(folder)
        self.counts = {
            "train": check_int("num_models", num_models, minimum=1),
            "test": check_int("num_test_models", num_test_models, minimum=1),
        }
        self.seed = check_int("seed", seed, minimum=0)
        self.train_steps = check_int("train_steps", train_steps, minimum=1)
        self.sharing = check_int("models_per_architecture", models_per_architecture, minimum=1)
        if sources is None:
            sources = {name: load_source(name) for name in sources_at_hand()}
        if not sources:
            raise invalid("`sources` must hold at least one data set.", sources=dict(sources))
        self.sources = dict(sources)
        self._fingerprints = {name: data.fingerprint() for name, data in self.sources.items()}

    def __repr__(self) -> str:
        """Says how large it is."""
        return f"Zoo({str(self.folder)!r}, {self.counts}, sources={list(self.sources)})"

    def entries(self, split: str) -> tuple[Entry, ...]:
        """Says what the models of a split are, trained or not.

        Args:
            split: "train" or "test".

        Returns:
            The entries, by number.

        Raises:
            InvalidArgumentError: If no source of the split is there.
        """
        check_choice("split", split, SPLITS)
        return plan_entries(split, self.counts[split], self.sources, self.seed, self.sharing)

    def shares(self, entry: Entry) -> Shares:
        """Gives the examples of an entry: to train on, support and query."""
        return shares(entry, self.sources[entry.source])

    def record(self, entry: Entry) -> Record | None:
        """Gives the record of a model, or None while it is not trained for these settings."""
        path = self._path(entry, ".json")
        if not path.is_file() or not self._path(entry, ".keras").is_file():
            return None
        try:
            record = Record.from_dict(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None  # damaged: the model is trained again
        alike = (entry, self._fingerprints[entry.source], self.train_steps)
        return record if (record.entry, record.data, record.train_steps) == alike else None

    def train(
        self, split: str, *, num_workers: int = 1, backend: str = "loky", quiet: bool = False
    ) -> tuple[Record, ...]:
        """Trains the models of a split that are not trained yet.

        Args:
            split: "train" or "test".
            num_workers: Processes that train at the same time.
            backend: "loky" for processes of this machine, "ray" for a Ray cluster.
            quiet: Without a progress bar.

        Returns:
            The records of all models of the split, by number.

        Raises:
            InvalidArgumentError: If the backend cannot be used.
        """
        check_backend(backend)
        entries = self.entries(split)
        missing = [entry for entry in entries if self.record(entry) is None]
        if missing:
            remove_leftovers(self.folder)
            done = run_all(train_entry, self._calls(missing, num_workers), num_workers, backend)
            bar = tqdm(
                done,
                total=len(entries),
                initial=len(entries) - len(missing),
                desc=f"train {split} zoo",
                disable=True if quiet else None,
            )
            for stored, record in bar:
                write_bytes(self._path(record.entry, ".keras"), stored)
                write_json(self._path(record.entry, ".json"), record.to_dict())
        return tuple(self.record(entry) for entry in entries)

    def _calls(self, missing: list[Entry], num_workers: int) -> Iterator[tuple[Any, ...]]:
        num_threads = _THREADS_OF_A_WORKER if num_workers > 1 else 0
        for entry in missing:
            fingerprint = self._fingerprints[entry.source]
            yield entry, self.shares(entry), fingerprint, self.train_steps, num_threads

    def content(self, entry: Entry) -> bytes:
        """Gives a trained model as the bytes of its .keras file.

        Args:
            entry: Its entry.

        Returns:
            The bytes.
        """
        return self._path(entry, ".keras").read_bytes()

    def model(self, entry: Entry) -> keras.Model:
        """Loads a trained model.

        Args:
            entry: Its entry.

        Returns:
            The model, not compiled.

        Raises:
            InvalidArgumentError: If it is not trained yet.
        """
        if self.record(entry) is None:
            raise invalid("This model is not trained yet.", "Call `train` first.", entry=entry.name)
        return keras.models.load_model(self._path(entry, ".keras"), compile=False)

    def tasks(
        self,
        split: str,
        *,
        per_model: int = 6,
        num_workers: int = 1,
        backend: str = "loky",
        quiet: bool = True,
    ) -> list[Task]:
        """Makes the tasks of a split, training what is not trained yet.

        Args:
            split: "train" or "test".
            per_model: Tasks of each model of the meta-train split, at least 1.
            num_workers: Processes that train at the same time.
            backend: "loky" or "ray".
            quiet: Without progress bars.

        Returns:
            Some tasks for each model that learned: those of a model follow each other and share it.

        Raises:
            InvalidArgumentError: If no source of the split is there, or no model learned.
        """
        records = self.train(split, num_workers=num_workers, backend=backend, quiet=quiet)
        tasks = []
        for record in records:
            if record.learned:
                tasks += self.tasks_of(record.entry, per_model)
        if not tasks:
            raise invalid(
                f"No model of the {split} split learned.",
                "Train for more steps, or take more models.",
                models=len(records),
                train_steps=self.train_steps,
            )
        return tasks

    def tasks_of(self, entry: Entry, per_model: int = 6) -> list[Task]:
        """Makes the tasks of one trained model.

        Args:
            entry: Its entry.
            per_model: How many, of a model of the meta-train split.

        Returns:
            The tasks; equal for equal seeds.
        """
        count = check_int("per_model", per_model, minimum=1)
        return draw_tasks(entry, self.model(entry), self.shares(entry), count)

    def _path(self, entry: Entry, suffix: str) -> Path:
        return self.folder / f"{entry.name}{suffix}"
