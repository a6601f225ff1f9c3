"""Results of finished stages on disk, so that an interrupted run continues where it stopped."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras

from tf_metacompress.atomic import atomic_path, write_json
from tf_metacompress.policy import Policy

Announce = Callable[[str], None]

LAYOUT_VERSION = 2
"""Raised when results of earlier versions can no longer be read."""
RECORDS = "finished.json"


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """What is noted of a finished stage.

    Attributes:
        seconds: How long it took, without the stages that ran within it.
        files: Name of each file it wrote to the file's hash.
        needs: Name of each stage it took results from to the hash of that stage's record.
    """

    seconds: float
    files: Mapping[str, str]
    needs: Mapping[str, str] = field(default_factory=dict)

    def digest(self) -> str:
        """Hash of its results."""
        return _sha256(json.dumps(dict(self.files), sort_keys=True).encode())


class Stages:
    """Runs each stage once; a later run with the same settings takes its result from disk.

    A result is written whole or not at all and noted as finished only then, so a run killed at any
    moment leaves only results of finished stages. A result that was changed on disk since, or whose
    inputs were, is made again. Results of other settings are kept apart.

    Args:
        directory: Where the results lie.
        settings: Everything that a result depends on, as JSON data.
        announce: Called with a line when a stage begins, ends, or is taken from disk.
    """

    def __init__(
        self, directory: str | Path, settings: Mapping[str, Any], announce: Announce = print
    ) -> None:
        text = json.dumps({**settings, "layout": LAYOUT_VERSION}, sort_keys=True)
        self.directory = Path(directory) / _sha256(text.encode())[:12]
        self.announce = announce
        self._records = self._read_records()
        self._within = 0.0

    def path(self, name: str) -> Path:
        """Path of a result that the caller writes itself, in this run's folder."""
        return self.directory / name

    def seconds(self) -> dict[str, float]:
        """Seconds of each finished stage, in whichever run it ran."""
        return {name: record.seconds for name, record in sorted(self._records.items())}

    def run(
        self,
        name: str,
        make: Callable[[], Any],
        save: Callable[[Any, Path], Any],
        load: Callable[[Path], Any],
        *,
        files: Sequence[str] = (),
        needs: Sequence[str] = (),
    ) -> Any:
        """Runs a stage, or takes its result from disk.

        Args:
            name: File name of the result, with a suffix; without it, the name of the stage.
            make: Runs the stage.
            save: Writes its result to a path, atomically.
            load: Reads it.
            files: Names of further files that `make` writes.
            needs: Names of the stages whose results it takes; when one of them was made again, so
                is this one.

        Returns:
            The result, as read back, so that a run goes on alike after a stage and after a restart.
        """
        path = self.path(name)
        stage = path.stem
        inputs = {need: self._records[need].digest() for need in needs}
        reason = self._why_again(stage, inputs)
        if reason is None:
            self.announce(f"{stage}: taken from the earlier run")
            return load(path)
        self.announce(f"{stage} … {reason}".rstrip())
        seconds = self._timed(lambda: save(make(), path))
        hashes = {file: _sha256(self.path(file).read_bytes()) for file in (name, *files)}
        self._records[stage] = StageRecord(seconds=seconds, files=hashes, needs=inputs)
        self._write_records()
        self.announce(f"{stage}: {seconds:.1f} s")
        return load(path)

    def model(
        self, name: str, make: Callable[[], keras.Model], *, needs: Sequence[str] = ()
    ) -> keras.Model:
        """Runs a stage that gives a Keras model."""
        return self.run(f"{name}.keras", make, save_model, _load_model, needs=needs)

    def data(
        self,
        name: str,
        make: Callable[[], Any],
        *,
        files: Sequence[str] = (),
        needs: Sequence[str] = (),
    ) -> Any:
        """Runs a stage that gives JSON data."""
        return self.run(f"{name}.json", make, _save_json, _load_json, files=files, needs=needs)

    def policy(self, name: str, make: Callable[[], Policy], *, needs: Sequence[str] = ()) -> Policy:
        """Runs a stage that gives a policy."""
        return self.run(f"{name}.json", make, Policy.save, Policy.load, needs=needs)

    def _timed(self, make: Callable[[], Any]) -> float:
        """Runs it and gives its seconds, without those of the stages within it."""
        outer, self._within = self._within, 0.0
        begin = time.perf_counter()
        make()
        total = time.perf_counter() - begin
        own, self._within = total - self._within, outer + total
        return own

    def _why_again(self, stage: str, inputs: Mapping[str, str]) -> str | None:
        """Why a stage must run: "" for the first time, None when it need not."""
        record = self._records.get(stage)
        if record is None:
            return ""
        for file, digest in record.files.items():
            path = self.path(file)
            if not path.is_file() or _sha256(path.read_bytes()) != digest:
                return f"again: {file} of the earlier run is missing or damaged"
        changed = [need for need, digest in inputs.items() if record.needs.get(need) != digest]
        return f"again: {', '.join(changed)} was made again" if changed else None

    def _read_records(self) -> dict[str, StageRecord]:
        path = self.path(RECORDS)
        if not path.exists():
            return {}
        try:
            return {name: StageRecord(**entry) for name, entry in _load_json(path).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self.announce(f"{RECORDS} of the earlier run is damaged: all stages run again")
            return {}

    def _write_records(self) -> None:
        write_json(
            self.path(RECORDS), {name: asdict(record) for name, record in self._records.items()}
        )


def save_model(model: keras.Model, path: str | Path) -> None:
    """Writes a Keras model, whole or not at all.

    Args:
        model: The model.
        path: File to write, ending in ".keras".
    """
    with atomic_path(path) as temporary:
        model.save(temporary)


def _load_model(path: Path) -> keras.Model:
    return keras.models.load_model(path, compile=False)


def _save_json(value: Any, path: Path) -> None:
    write_json(path, value)


def _load_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
