"""One row: a policy made, carried out in `fit`, exported and scored."""

import dataclasses
import time

import keras
import numpy as np

from tf_metacompress.anatomy import copy_model, describe, gives_probabilities
from tf_metacompress.callbacks import Distillation, MetaCompress
from tf_metacompress.deploy import export_litert
from tf_metacompress.surgery import remove_channels

from .augment import Augmented
from .methods import DEVICE, METHODS, given
from .sources import score

_ANY_ERROR = 1e9


def fine_tune(model, teacher, train, recipe, epochs, seed, callbacks=()):
    """Trains a model in place with augmentation, distillation and a cosine-decayed rate.

    Args:
        model: A classifier.
        teacher: What to learn from beside the labels.
        train: Inputs and class indices.
        recipe: How.
        epochs: For how long.
        seed: Seed of the examples drawn.
        callbacks: Further callbacks.
    """
    batches = Augmented(*train, model.output_shape[-1], recipe, seed)
    steps = epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps, alpha=0.01)
    loss = keras.losses.CategoricalCrossentropy(from_logits=not gives_probabilities(model))
    model.compile(keras.optimizers.Adam(rate), loss)
    taught = [Distillation(teacher, recipe.temperature, recipe.alpha)] if recipe.alpha else []
    model.fit(batches, epochs=epochs, verbose=0, callbacks=[*taught, *callbacks])


def narrowed(model, width, train, teacher, recipe, seed):
    """The model with a share of its channels, recovered; a copy of the model where all stay."""
    if width == 1.0:
        return copy_model(model)
    smaller, _ = remove_channels(model, 1.0 - width, device=DEVICE, samples=train[0][:64])
    if recipe.recovery_epochs:
        fine_tune(smaller, teacher, train, recipe, recipe.recovery_epochs, seed)
    return smaller


def rounded_by(quantizer, policy):
    """The policy with another quantizer where weights become integers."""
    rules = (
        dataclasses.replace(rule, quantizer=quantizer) if rule.weight_bits <= 8 else rule
        for rule in policy.rules
    )
    return dataclasses.replace(policy, rules=tuple(rules))


def measure_row(reference, method, limit_bytes, width, recipe, files):
    """Compresses a reference model, once a split, and scores the files.

    Args:
        reference: The model and its data.
        method: A name of `METHODS`.
        limit_bytes: What the file may weigh after gzip.
        width: Share of the channels that stay.
        recipe: How to fine-tune.
        files: The file to write for each split; the Keras model is put beside it.

    Returns:
        The row, as JSON data.
    """
    begin, plans, sizes, macs = time.process_time(), [], [], 0
    for seed, (split, file) in enumerate(zip(reference.splits, files, strict=True)):
        keras.utils.set_random_seed(seed)
        teacher = reference.model
        student = narrowed(teacher, width, split.train, teacher, recipe, seed)
        case = given(student, recipe.aim * limit_bytes, split.train, seed)
        policy = rounded_by(recipe.quantizer, METHODS[method](case))
        infos = describe(student)
        plans.append(
            [[p.layer, round(p.sparsity, 4), p.weight_bits] for p in policy.resolve(infos)]
        )
        macs = sum(info.macs for info in infos)
        fine_tune(
            student,
            teacher,
            split.train,
            recipe,
            recipe.epochs,
            seed + 100,
            [MetaCompress(policy=policy)],
        )
        student.save(file.with_suffix(".keras"))
        sizes.append(_export(student, split.train[0], file, recipe))
    return {
        "method": method,
        "limit_bytes": limit_bytes,
        "slim": True,
        "packed": recipe.packed,
        "width": width,
        "file_bytes": max(size.file_bytes for size in sizes),
        "gzip_bytes": max(size.gzip_bytes for size in sizes),
        "macs": macs,
        **score(reference.splits, files),
        "plans": plans[0],
        "cpu_seconds": time.process_time() - begin,
    }


def _export(student, inputs, file, recipe):
    count = min(len(inputs), recipe.num_calibration)
    rows = np.linspace(0, len(inputs) - 1, count).astype(int)
    # A policy that ruins the model is a row of the table, not the end of the run.
    return export_litert(
        student,
        file,
        mode="int8",
        representative_dataset=inputs[rows],
        io_dtype="int8",
        tolerance=_ANY_ERROR,
        slim=True,
        packed=recipe.packed,
    )
