"""Meta-training over a zoo: models, tasks, Φ in saved steps, a file of weights with its card."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tf_metacompress.atomic import write_json
from tf_metacompress.errors import check_int, check_positive, invalid
from tf_metacompress.meta import MetaCompressor, MetaTraining, Outer, TrainingState
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.meta_card import OUTPUTS, PHI, write_outcome
from tf_metacompress.pipeline.meta_validation import Validation, Verdict
from tf_metacompress.pipeline.run_folder import STAGES, run_folder
from tf_metacompress.pipeline.stages import Announce
from tf_metacompress.pipeline.zoo import Entry, Record, Zoo, check_backend, split_of_source
from tf_metacompress.tasks import Task

HISTORY, ZOO = "history.json", "zoo"
_HELD_OUT_EVERY = 8
_MOST_TO_VALIDATE = 6


@dataclass(frozen=True, kw_only=True)
class MetaTrainSettings:
    """How much of everything.

    Attributes:
        num_models: Models of the zoo.
        meta_steps: Meta-steps of Φ.
        meta_batch_size: Tasks of a meta-step.
        meta_lr: Learning rate of the outer Adam.
        train_steps: Most steps of training of a model.
        tasks_per_model: Tasks made of each model.
        models_per_architecture: Models that share an architecture, and so a compiled step.
        checkpoint_every: Meta-steps between two saved states.
        validate_every: Meta-steps between two looks at the models held out.
        num_workers: Processes that train models at the same time.
        backend: "loky" for processes of this machine, "ray" for a Ray cluster.
        seed: Seed of everything.

    Raises:
        InvalidArgumentError: If a value is out of its range, or Ray is wanted and missing.
    """

    num_models: int = 40
    meta_steps: int = 400
    meta_batch_size: int = 4
    meta_lr: float = 3e-3
    train_steps: int = 300
    tasks_per_model: int = 6
    models_per_architecture: int = 2
    checkpoint_every: int = 1
    validate_every: int = 100
    num_workers: int = 1
    backend: str = "loky"
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the values."""
        check_int("num_models", self.num_models, minimum=2)
        for name in ("meta_steps", "meta_batch_size", "train_steps", "tasks_per_model"):
            check_int(name, getattr(self, name), minimum=1)
        for name in ("models_per_architecture", "checkpoint_every", "validate_every"):
            check_int(name, getattr(self, name), minimum=1)
        check_int("num_workers", self.num_workers, minimum=1)
        check_positive("meta_lr", self.meta_lr)
        check_int("seed", self.seed, minimum=0)
        check_backend(self.backend)


def check_sources(sources: Mapping[str, Dataset]) -> None:
    """Raises when there is nothing to meta-train on, or what is kept for judging is among it.

    Args:
        sources: Name to data.

    Raises:
        InvalidArgumentError: Naming the sources that are kept apart.
    """
    kept = sorted(name for name in sources if split_of_source(name) == "test")
    if kept or not sources:
        raise invalid(
            "Meta-training needs data, none of it of the sources that are kept for judging.",
            "Leave these out, or name others.",
            kept_for_judging=kept,
            sources=sorted(sources),
        )


def meta_train(
    out: str | Path,
    settings: MetaTrainSettings,
    sources: Mapping[str, Dataset],
    *,
    command: str = "",
    announce: Announce = print,
    quiet: bool = False,
) -> MetaCompressor:
    """Builds the zoo and meta-trains Φ; writes phi.npz, card.json, card.md and history.json.

    A run that is killed goes on where it stopped: with the models it had trained, and from the last
    saved state, as if it had not been killed. With more `meta_steps` a finished run goes on too.

    Args:
        out: Folder to write into; the models are kept in its folder zoo.
        settings: How much of everything.
        sources: Name to data to meta-train on.
        command: The command that rebuilds it, for the card.
        announce: Called with a line when a stage begins and ends.
        quiet: Without progress bars.

    Returns:
        The trained compressor.

    Raises:
        InvalidArgumentError: If the sources do not serve, or no model learned.
    """
    check_sources(sources)
    with run_folder(out, (*OUTPUTS, HISTORY)) as folder:
        begin = time.perf_counter()
        zoo = Zoo(
            folder / ZOO,
            num_models=settings.num_models,
            sources=sources,
            seed=settings.seed,
            train_steps=settings.train_steps,
            models_per_architecture=settings.models_per_architecture,
        )
        learned = _train_zoo(zoo, settings, announce, quiet)
        held_out = _held_out(learned)
        to_learn = [entry for entry in learned if entry not in held_out]
        announce(f"tasks … of {len(to_learn)} models, {len(held_out)} more held out")
        tasks = _tasks_of(zoo, to_learn, settings.tasks_per_model, quiet)
        compressor = MetaCompressor(seed=settings.seed)
        outer = Outer(
            meta_batch_size=settings.meta_batch_size, meta_lr=settings.meta_lr, seed=settings.seed
        )
        training = compressor.training(tasks, outer, quiet=quiet)
        chosen = [zoo.tasks_of(entry, 1)[0] for entry in held_out[:_MOST_TO_VALIDATE]]
        run = _Run(
            folder=folder,
            key=_key(tasks, outer, [zoo.record(entry) for entry in learned]),
            training=training,
            compressor=compressor,
            validation=Validation(compressor, chosen) if chosen else None,
        )
        trained = run.to_the_end(settings, announce, quiet)
        records = [zoo.record(entry) for entry in zoo.entries("train")]
        write_outcome(
            folder,
            trained,
            records=records,
            held_out=held_out,
            history=run.history,
            settings=settings,
            command=command,
        )
        announce(f"{PHI}: written after {time.perf_counter() - begin:.0f} s in this run")
    return trained


def _train_zoo(
    zoo: Zoo, settings: MetaTrainSettings, announce: Announce, quiet: bool
) -> list[Entry]:
    announce(f"zoo … {settings.num_models} models on {', '.join(zoo.sources)}")
    begin = time.perf_counter()
    records = zoo.train(
        "train", num_workers=settings.num_workers, backend=settings.backend, quiet=quiet
    )
    learned = [record.entry for record in records if record.learned]
    if not learned:
        raise invalid(
            "No model of the zoo learned.", "Train them for more steps.", models=len(records)
        )
    seconds = time.perf_counter() - begin
    announce(f"zoo: {len(learned)} of {len(records)} models learned, {seconds:.1f} s in this run")
    return learned


def _held_out(learned: Sequence[Entry]) -> list[Entry]:
    """Every eighth model, or the last of fewer, unless it is the only one.

    Models that share an architecture stay together, so that none held out was half seen.
    """
    every = min(_HELD_OUT_EVERY, len(learned))
    chosen = {entry.architecture for entry in learned[every - 1 :: every]}
    held_out = [entry for entry in learned if entry.architecture in chosen]
    return held_out if len(held_out) < len(learned) else []


def _tasks_of(zoo: Zoo, entries: Sequence[Entry], per_model: int, quiet: bool) -> list[Task]:
    bar = tqdm(entries, desc="make tasks", leave=False, disable=True if quiet else None)
    return [task for entry in bar for task in zoo.tasks_of(entry, per_model)]


def _key(tasks: Sequence[Task], outer: Outer, records: Sequence[Record]) -> str:
    """What a saved state depends on: other tasks, models or steps begin anew."""
    names = [f"{task.name} {task.budget} {task.device}" for task in tasks]
    models = [[record.data, record.train_steps, record.accuracy] for record in records]
    text = json.dumps([names, models, asdict(outer)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(kw_only=True)
class _Run:
    """Meta-steps with saved states.

    A state is written after the history up to it, so the history on disk is never behind.
    """

    folder: Path
    key: str
    training: MetaTraining
    compressor: MetaCompressor
    validation: Validation | None

    def __post_init__(self) -> None:
        self.state_path = self.folder / STAGES / f"state-{self.key}.npz"
        self.history: dict[str, Any] = {"key": self.key, "steps": [], "validation": []}

    def resume(self, announce: Announce) -> None:
        if not self.state_path.is_file():
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

    def save(self) -> None:
        write_json(self.folder / STAGES / f"history-{self.key}.json", self.history)
        self.training.state.save(self.state_path)

    def to_the_end(
        self, settings: MetaTrainSettings, announce: Announce, quiet: bool
    ) -> MetaCompressor:
        self.resume(announce)
        announce(f"meta-training … {settings.meta_steps} meta-steps")
        for step in self._steps(settings.meta_steps, quiet):
            begin = time.perf_counter()
            metrics = self.training.step()
            seconds = time.perf_counter() - begin
            self.history["steps"].append({**metrics, "seconds": round(seconds, 3)})
            last = step == settings.meta_steps
            if step % settings.validate_every == 0 or last:
                self._validate(announce)
            if step % settings.checkpoint_every == 0 or last:
                self.save()
        write_json(self.folder / HISTORY, self.history)
        return self._reached()

    def _steps(self, meta_steps: int, quiet: bool) -> Iterator[int]:
        done = self.training.state.meta.meta_step
        yield from tqdm(
            range(done + 1, meta_steps + 1),
            initial=done,
            total=max(meta_steps, done),
            desc="meta-train",
            disable=True if quiet else None,
        )

    def _reached(self) -> MetaCompressor:
        return self.compressor.at(self.training.state)

    def _validate(self, announce: Announce) -> None:
        if self.validation is None:
            return
        verdict: Verdict = self.validation.measure(self._reached())
        self.history["validation"].append(asdict(verdict))
        announce(
            f"validation after {verdict.meta_step} meta-steps: loss {verdict.phi_loss:.4f}, "
            f"prior {verdict.prior_loss:.4f}, better on {verdict.better:.0%}, "
            f"worse on {verdict.worse:.0%} of the tasks"
        )
