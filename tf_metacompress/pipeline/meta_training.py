"""Meta-training over a zoo: models, tasks, Φ in saved steps, a file of weights with its card."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from tf_metacompress.errors import check_int, check_positive, invalid
from tf_metacompress.meta import MetaCompressor, Outer
from tf_metacompress.meta.outcome_training import Regression, learn_from_outcomes
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.meta_card import OUTPUTS, PHI, write_outcome
from tf_metacompress.pipeline.meta_run import HISTORY, MetaRun, Pace
from tf_metacompress.pipeline.meta_validation import Validation
from tf_metacompress.pipeline.run_folder import run_folder
from tf_metacompress.pipeline.stages import Announce
from tf_metacompress.pipeline.zoo import (
    Entry,
    Measuring,
    Record,
    Zoo,
    check_backend,
    measure_zoo,
    split_of_source,
)
from tf_metacompress.tasks import Task

ZOO = "zoo"
_HELD_OUT_EVERY = 8
_MOST_TO_VALIDATE = 12


@dataclass(frozen=True, kw_only=True)
class MetaTrainSettings:
    """How much of everything.

    Attributes:
        num_models: Models of the zoo.
        meta_steps: Meta-steps of Φ; 0 for Φ as it is fitted to the outcomes.
        meta_batch_size: Tasks of a meta-step.
        meta_lr: Learning rate of the outer Adam.
        train_steps: Most steps of training of a model.
        tasks_per_model: Tasks made of each model.
        models_per_architecture: Models that share an architecture, and so a compiled step.
        policies_per_task: Policies whose outcomes are measured for each task before the first
            meta-step, for Φ to be fitted to, 3 or more; 0 for none.
        regression_steps: Steps that fit Φ to them.
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
    policies_per_task: int = 12
    regression_steps: int = 300
    checkpoint_every: int = 1
    validate_every: int = 50
    num_workers: int = 1
    backend: str = "loky"
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the values."""
        check_int("num_models", self.num_models, minimum=2)
        check_int("meta_steps", self.meta_steps, minimum=0)
        check_int("policies_per_task", self.policies_per_task, minimum=0)
        for name in ("meta_batch_size", "train_steps", "tasks_per_model", "regression_steps"):
            check_int(name, getattr(self, name), minimum=1)
        for name in ("models_per_architecture", "checkpoint_every", "validate_every"):
            check_int(name, getattr(self, name), minimum=1)
        check_int("num_workers", self.num_workers, minimum=1)
        check_positive("meta_lr", self.meta_lr)
        check_int("seed", self.seed, minimum=0)
        check_backend(self.backend)
        if self.policies_per_task:
            self.measuring()

    def measuring(self) -> Measuring:
        """Which outcomes are measured; an error now rather than when the zoo is trained."""
        return Measuring(
            tasks_per_model=self.tasks_per_model,
            policies_per_task=self.policies_per_task,
            num_workers=self.num_workers,
            backend=self.backend,
        )


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
        compressor = _fitted(zoo, to_learn, settings, announce, quiet)
        run = _run_of(zoo, folder, compressor, (to_learn, held_out), settings, quiet)
        pace = Pace(
            meta_steps=settings.meta_steps,
            checkpoint_every=settings.checkpoint_every,
            validate_every=settings.validate_every,
        )
        trained = run.to_the_end(pace, announce, quiet)
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


def _fitted(
    zoo: Zoo, entries: Sequence[Entry], settings: MetaTrainSettings, announce: Announce, quiet: bool
) -> MetaCompressor:
    """Φ fitted to measured outcomes, or untrained without any."""
    compressor = MetaCompressor(seed=settings.seed)
    if not settings.policies_per_task:
        return compressor
    announce(f"outcomes … {settings.policies_per_task} policies a task, {len(entries)} models")
    outcomes = measure_zoo(zoo, entries, settings.measuring(), quiet=quiet)
    useful = sum(each.informative for each in outcomes)
    announce(f"outcomes: of {len(outcomes)} tasks, {useful} with a better and a worse policy")
    if not useful:
        return compressor
    regression = Regression(num_steps=settings.regression_steps, seed=settings.seed)
    return compressor.with_phi(
        learn_from_outcomes(compressor.phi, outcomes, regression, quiet=quiet)
    )


def _run_of(
    zoo: Zoo,
    folder: Path,
    compressor: MetaCompressor,
    entries: Sequence[Sequence[Entry]],
    settings: MetaTrainSettings,
    quiet: bool,
) -> MetaRun:
    """The run of meta-steps over the models to learn from, validated on those held out."""
    to_learn, held_out = entries
    tasks = _tasks_of(zoo, to_learn, settings.tasks_per_model, quiet) if settings.meta_steps else []
    if settings.meta_steps and not tasks:
        raise invalid(
            "No model of the zoo leaves a choice under a budget to learn from.",
            "Take more models.",
            models=len(to_learn),
        )
    outer = Outer(
        meta_batch_size=settings.meta_batch_size, meta_lr=settings.meta_lr, seed=settings.seed
    )
    chosen = [task for entry in held_out for task in zoo.tasks_of(entry, 1)]
    records = [zoo.record(entry) for entry in (*to_learn, *held_out)]
    return MetaRun(
        folder=folder,
        key=_key(compressor, tasks, outer, records),
        training=compressor.training(tasks, outer, quiet=quiet) if tasks else None,
        compressor=compressor,
        validation=Validation(compressor, chosen[:_MOST_TO_VALIDATE]) if chosen else None,
    )


def _key(
    compressor: MetaCompressor, tasks: Sequence[Task], outer: Outer, records: Sequence[Record]
) -> str:
    """What a saved state depends on: another beginning, tasks, models or steps begin anew."""
    names = [f"{task.name} {task.budget} {task.device}" for task in tasks]
    models = [[record.data, record.train_steps, record.accuracy] for record in records]
    digest = hashlib.sha256(json.dumps([names, models, asdict(outer)], sort_keys=True).encode())
    for tensor in compressor.phi:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:12]
