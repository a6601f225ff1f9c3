"""The files that are timed: one a row, made from a net and, where its data are named, scored."""

import dataclasses

import numpy as np

from tf_metacompress import Budget, MetaCompressor, Policy, Rule, export_litert
from tf_metacompress.anatomy import compressible_layers, describe
from tf_metacompress.callbacks import MetaCompress
from tf_metacompress.deploy import LitertModel
from tf_metacompress.errors import InfeasibleBudgetError
from tf_metacompress.policy import Action, DeviceProfile, action_grid
from tf_metacompress.surgery import remove_channels

DEVICE = DeviceProfile(
    name="x86 host, int8 or float32",
    weight_bits={"*": (8, 32)},
    activation_bits=(8, 32),
    channel_multiple=8,
    sparsity_pays={"size_bytes": True},
)
"""Each layer in int8 or float32, whichever the latency allows: the table knows which is faster."""

PLAIN = "int8"
MODES = ("int8", "float32", "float16", "dynamic")
MIXED, HALVED = "mixed", "channels halved, int8"
OURS, FASTEST = "ours", "ours, whatever it loses"
ROWS = (*MODES, MIXED, HALVED, OURS, FASTEST)
SHARES = (0.52, 0.67, 0.85)
"""Latencies that `ours` is asked for, as shares of the int8 file's, the fastest first."""

_ACTIONS = action_grid((0.0,), (8, 32))
_MOST_LOST, _ANY_ERROR, _CLOSE = 0.01, 1e9, 1.02
_INT8 = Policy([Rule("*", weight_bits=8)])


@dataclasses.dataclass(frozen=True)
class Subject:
    """A net to time.

    Attributes:
        name: Such as "ResNet-8".
        model: The Keras model.
        samples: Inputs to calibrate with.
        reference: A `reference.sources.Reference` with data, or None.
        epochs: Epochs of fine-tuning; None for those of the recipe.
        shares: Latencies that are asked for, as `SHARES`.
    """

    name: str
    model: object
    samples: np.ndarray
    reference: object = None
    epochs: int | None = None
    shares: tuple = SHARES


@dataclasses.dataclass(frozen=True)
class Made:
    """A row before it is timed: one file a split, the model in them, what there is to say."""

    files: tuple
    model: object
    note: str = ""


def _export(subject, model, path, mode, **options):
    data = subject.samples if subject.reference is None else _calibration(subject)
    export_litert(
        model, path, mode=mode, representative_dataset=data, tolerance=_ANY_ERROR, **options
    )


def _calibration(subject):
    x = subject.reference.splits[0].train[0]
    return x[np.linspace(0, len(x) - 1, min(len(x), 512)).astype(int)]


def make_row(name, subject, folder, table):
    """Makes the files of a row.

    Args:
        name: One of `ROWS`.
        subject: The net.
        folder: Where the files go.
        table: A callable that gives the net's `LatencyTable`.

    Returns:
        The files and what is known of them.
    """
    path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.tflite"
    if name in MODES:
        _export(subject, subject.model, path, name)
        return Made((path,), subject.model)
    if name == MIXED:
        names = [info.name for info in compressible_layers(subject.model)]
        ends = [Rule(names[0]), Rule(names[-1])]
        policy = Policy([Rule("*", weight_bits=8), *ends])
        _export(subject, subject.model, path, "mixed", policy=policy)
        return Made((path,), subject.model, "first and last layer in float32")
    if name == HALVED:
        smaller, _ = remove_channels(subject.model, 0.5, device=DEVICE)
        return Made(_recovered(subject, smaller, _INT8, path), smaller)
    if name == FASTEST:
        return _fastest(subject, path.with_stem(OURS), table())
    return _ours(subject, path, table())


def _recovered(subject, smaller, policy, path):
    """Fine-tunes a narrower net, once a split, where there are data, and exports int8."""
    if subject.reference is None:
        _export_plans(subject, smaller, path, policy)
        return (path,)
    from reference.measure import fine_tune
    from reference.recipes import RECIPES

    from tf_metacompress.anatomy import copy_model

    files, recipe = [], RECIPES[subject.name]
    for seed, split in enumerate(subject.reference.splits):
        file = path.with_stem(f"{path.stem}_{seed}")
        files.append(file)
        if file.exists():
            continue
        student = copy_model(smaller)
        callbacks = [MetaCompress(policy=policy)]
        settings = (split.train, recipe, subject.epochs or recipe.epochs, seed, callbacks)
        fine_tune(student, subject.reference.model, *settings)
        _export_plans(subject, student, file, policy)
    return tuple(files)


def _export_plans(subject, model, path, policy):
    """In the one mode that stores every layer as planned; mixed only where they differ."""
    bits = {plan.weight_bits for plan in policy.resolve(describe(model))}
    modes = {(8,): "int8", (32,): "float32"}
    mode = modes.get(tuple(bits), "mixed")
    options = {"policy": policy} if mode == "mixed" else {}
    _export(subject, model, path, mode, **options)


def _tried(subject, path, table, share):
    infos = compressible_layers(subject.model)
    plain_ms = table.model_ms(infos, [Action(weight_bits=8)] * len(infos))
    return _proposed(subject, path.with_stem(f"{path.stem}-{share}"), table, share * plain_ms)


def _fastest(subject, path, table):
    """The fastest proposal that can be reached, to show what more speed costs."""
    tries = (_tried(subject, path, table, share) for share in subject.shares)
    return next(made for made in tries if made is not None)


def _ours(subject, path, table):
    """The fastest proposal that keeps the accuracy; without data the fastest one asked for."""
    made, missed = None, []
    for share in subject.shares:
        tried = _tried(subject, path, table, share)
        if tried is None:
            missed.append(f"{share:.0%} of int8 cannot be reached")
            continue
        made = tried
        if subject.reference is None or _keeps(subject, made.files, path.with_name("int8.tflite")):
            return dataclasses.replace(made, note="; ".join([*missed, made.note]))
        missed.append(f"{share:.0%} of int8 lost more than a point")
    return dataclasses.replace(made, note=f"{made.note}; no budget tried keeps the accuracy")


def _proposed(subject, path, table, limit_ms):
    note = f"asked for {limit_ms:.4f} ms"
    try:
        policy = _propose(subject, table, limit_ms)
    except InfeasibleBudgetError as error:
        if subject.reference is not None:
            return None
        least_ms = error.smallest["latency_ms"]
        policy = _propose(subject, table, least_ms * _CLOSE)
        note += f", which channels do not reach; the least by the table is {least_ms:.4f} ms"
    smaller, report = remove_channels(subject.model, policy, device=DEVICE)
    plans = policy.resolve(describe(subject.model))
    bits = [
        dataclasses.replace(plan, pattern="unstructured", sparsity=0.0)
        if plan.pattern == "channel"
        else plan
        for plan in plans
    ]
    cut = sum(group.channels_after < group.channels_before for group in report.groups)
    count = sum(plan.weight_bits == 32 for plan in plans)
    if smaller is subject.model:
        _export_plans(subject, smaller, path, Policy.from_plans(bits))
        files = (path,)
    else:
        files = _recovered(subject, smaller, Policy.from_plans(bits), path)
    return Made(files, smaller, f"{note}; {cut} channel groups cut, {count} layers in float32")


def _propose(subject, table, limit_ms):
    proposer = MetaCompressor(actions=_ACTIONS)
    return proposer.propose(subject.model, Budget(latency_ms=limit_ms), DEVICE, latency=table)


def score(subject, files, part):
    """Accuracy of a row's files on one part of the data, each split by its own file."""
    hits, splits = [], subject.reference.splits
    for index, split in enumerate(splits):
        file = files[index if len(files) > 1 else 0]
        x, y = getattr(split, part)
        hits.append(LitertModel.open(file, trusted=True).predict(x).argmax(axis=-1) == y)
    return float(np.mean(np.concatenate(hits)))


def _keeps(subject, files, plain):
    lost = score(subject, [plain], "choice") - score(subject, files, "choice")
    return lost <= _MOST_LOST
