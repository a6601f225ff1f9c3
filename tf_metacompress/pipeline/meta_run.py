"""The meta-steps of a run: saved states, validations, and the best Φ on the way."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tf_metacompress.atomic import write_json
from tf_metacompress.meta import MetaCompressor, MetaTraining, TrainingState
from tf_metacompress.pipeline.meta_validation import Validation
from tf_metacompress.pipeline.run_folder import STAGES
from tf_metacompress.pipeline.stages import Announce

HISTORY = "history.json"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How a run goes on.

    Attributes:
        meta_steps: Meta-steps in all, 0 or more.
        checkpoint_every: Meta-steps between two saved states.
        validate_every: Meta-steps between two looks at the models held out.
    """

    meta_steps: int
    checkpoint_every: int
    validate_every: int


@dataclass(kw_only=True)
class MetaRun:
    """Meta-steps with saved states.

    A state is written after the history up to it, so the history on disk is never behind. Of the
    states that were validated the best on the models held out is kept, the first among them.

    Attributes:
        folder: Folder of the run.
        key: What a saved state depends on.
        training: The meta-training; None without any steps to take.
        compressor: Φ before the first step.
        validation: Judges Φ on models held out; None without any.
    """

    folder: Path
    key: str
    training: MetaTraining | None
    compressor: MetaCompressor
    validation: Validation | None

    def __post_init__(self) -> None:
        self.state_path = self.folder / STAGES / f"state-{self.key}.npz"
        self.best_path = self.folder / STAGES / f"best-{self.key}.npz"
        self.history: dict[str, Any] = {"key": self.key, "steps": [], "validation": []}

    def _resume(self, announce: Announce) -> None:
        if self.training is None or not self.state_path.is_file():
            return
        self.training.restore(TrainingState.load(self.state_path))
        done = self.training.state.meta.meta_step
        path = self.folder / STAGES / f"history-{self.key}.json"
        history = json.loads(path.read_text("utf-8"))
        self.history = {
            "key": self.key,
            "steps": history["steps"][:done],
            "validation": [v for v in history["validation"] if v["meta_step"] <= done],
        }
        announce(f"meta-training: goes on after {done} meta-steps of the earlier run")

    def _save(self) -> None:
        write_json(self.folder / STAGES / f"history-{self.key}.json", self.history)
        self.training.state.save(self.state_path)

    def to_the_end(self, pace: Pace, announce: Announce, quiet: bool) -> MetaCompressor:
        """Takes the steps that are missing.

        Args:
            pace: How many, and how often to look and to save.
            announce: Called with a line of what was found.
            quiet: Without a progress bar.

        Returns:
            The best Φ on the models held out; without any, the last.
        """
        self._resume(announce)
        if not self.history["validation"]:
            self._validate(announce)
        announce(f"meta-training … {pace.meta_steps} meta-steps")
        for step in self._steps(pace.meta_steps, quiet):
            begin = time.perf_counter()
            metrics = self.training.step()
            seconds = time.perf_counter() - begin
            self.history["steps"].append({**metrics, "seconds": round(seconds, 3)})
            last = step == pace.meta_steps
            if step % pace.validate_every == 0 or last:
                self._validate(announce)
            if step % pace.checkpoint_every == 0 or last:
                self._save()
        write_json(self.folder / HISTORY, self.history)
        return MetaCompressor.load(self.best_path) if self.validation else self._reached()

    def _steps(self, meta_steps: int, quiet: bool) -> Iterator[int]:
        done = self.training.state.meta.meta_step if self.training else 0
        yield from tqdm(
            range(done + 1, meta_steps + 1),
            initial=done,
            total=max(meta_steps, done),
            desc="meta-train",
            disable=True if quiet else None,
        )

    def _reached(self) -> MetaCompressor:
        return self.compressor.at(self.training.state) if self.training else self.compressor

    def _validate(self, announce: Announce) -> None:
        if self.validation is None:
            return
        reached = self._reached()
        verdict = self.validation.measure(reached)
        earlier = [_score(entry) for entry in self.history["validation"]]
        self.history["validation"].append(asdict(verdict))
        if not earlier or _score(asdict(verdict)) < min(earlier):
            reached.save(self.best_path)
        announce(
            f"validation after {verdict.meta_step} meta-steps: loss {verdict.phi_loss:.4f}, with "
            f"support {verdict.informed_loss:.4f}, prior {verdict.prior_loss:.4f}, sensitivity "
            f"{verdict.sensitivity_loss:.4f}; with support better than the prior on "
            f"{verdict.better:.0%}, worse on {verdict.worse:.0%} of the tasks"
        )


def _score(entry: Mapping[str, float]) -> float:
    """Mean loss of Φ without and with the support set; the state of the least is kept."""
    loss = 0.5 * (entry["phi_loss"] + entry["informed_loss"])
    return loss if math.isfinite(loss) else math.inf
