"""Results of finished stages on disk, so that an interrupted run continues where it stopped."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from tf_metacompress.atomic import atomic_path, write_json
from tf_metacompress.policy import Policy

Announce = Callable[[str], None]

LAYOUT_VERSION = 1
"""Raised when results of earlier versions can no longer be read."""


class Stages:
    """Runs each stage once; a later run with the same settings takes its result from disk.

    A result is written whole or not at all, so a run killed at any moment leaves only results of
    finished stages. Results of other settings are kept apart.

    Args:
        directory: Where the results lie.
        settings: Everything that a result depends on, as JSON data.
        announce: Called with a line about each stage that runs or is taken from disk.
    """

    def __init__(
        self, directory: str | Path, settings: Mapping[str, Any], announce: Announce = print
    ) -> None:
        text = json.dumps({**settings, "layout": LAYOUT_VERSION}, sort_keys=True)
        self.directory = Path(directory) / hashlib.sha256(text.encode()).hexdigest()[:12]
        self.announce = announce

    def path(self, name: str) -> Path:
        """Path of a result that the caller writes itself, in this run's folder."""
        return self.directory / name

    def run(
        self,
        name: str,
        make: Callable[[], Any],
        save: Callable[[Any, Path], None],
        load: Callable[[Path], Any],
    ) -> Any:
        """Runs a stage, or takes its result from disk.

        Args:
            name: File name of the result, with a suffix.
            make: Runs the stage.
            save: Writes its result to a path, atomically.
            load: Reads it.

        Returns:
            The result.
        """
        path = self.path(name)
        if path.exists():
            self.announce(f"{path.stem}: taken from the earlier run")
            return load(path)
        self.announce(path.stem)
        result = make()
        save(result, path)
        return result

    def model(self, name: str, make: Callable[[], keras.Model]) -> keras.Model:
        """Runs a stage that gives a Keras model."""
        return self.run(f"{name}.keras", make, save_model, keras.models.load_model)

    def data(self, name: str, make: Callable[[], Any]) -> Any:
        """Runs a stage that gives JSON data."""
        return self.run(
            f"{name}.json",
            make,
            lambda value, path: write_json(path, value),
            lambda path: json.loads(path.read_text("utf-8")),
        )

    def policy(self, name: str, make: Callable[[], Policy]) -> Policy:
        """Runs a stage that gives a policy."""
        return self.run(f"{name}.json", make, Policy.save, Policy.load)


def save_model(model: keras.Model, path: str | Path) -> None:
    """Writes a Keras model, whole or not at all.

    Args:
        model: The model.
        path: File to write, ending in ".keras".
    """
    with atomic_path(path) as temporary:
        model.save(temporary)
