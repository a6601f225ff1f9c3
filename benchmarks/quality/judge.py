"""A policy carried through: fine-tuned, exported, checked against the budget, scored in LiteRT."""

import time

import keras

from tf_metacompress.anatomy import copy_model, describe
from tf_metacompress.callbacks import MetaCompress
from tf_metacompress.deploy import export_litert
from tf_metacompress.errors import MetacompressError
from tf_metacompress.pipeline.candidates import litert_accuracy, representative
from tf_metacompress.pipeline.training import Training, train
from tf_metacompress.policy import Budget, Policy, Rule

from .methods import METHODS

MOST_ATTEMPTS = 3
_RATE = 2e-3
_ANY_ERROR = 1e9


def measure(name, setup, reference, data, case, plan, scratch):
    """Makes the policy of one method and scores it.

    Where the exported file exceeds the budget, the method makes its policy once more for a budget
    smaller by as much, at most twice.

    Args:
        name: Name of the method.
        setup: What it may use.
        reference: Accuracy and gzip bytes of the float32 file.
        data: Training and test examples.
        case: The case.
        plan: Steps of fine-tuning.
        scratch: The .tflite file to write.

    Returns:
        The row, as JSON data.
    """
    limit = case.ratio * reference["gzip_bytes"]
    row = {
        "method": name,
        "case": case.name,
        "model": case.spec.name,
        "family": case.spec.family,
        "seed": case.spec.seed,
        "ratio": case.ratio,
        "device": case.device,
        "searched": case.searched,
        "float_accuracy": reference["accuracy"],
        "limit_bytes": limit,
    }
    compile_seconds = warm_up(setup)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    try:
        proposal = METHODS[name](setup, Budget(size_bytes=limit))
        extra = compile_seconds if proposal.compiled_trial else (0.0, 0.0)
        row |= {
            "seconds": time.perf_counter() - begin + extra[0],
            "cpu_seconds": time.process_time() - begin_cpu + extra[1],
            "evaluations": proposal.evaluations,
            **proposal.notes,
        }
        begin_cpu = time.process_time()
        row |= _within_budget(proposal, setup.model, data, limit, plan, scratch, case.spec.seed)
    except MetacompressError as error:
        # A method that finds no policy is a result of the table.
        return row | {"no_policy": f"{type(error).__name__}: {error}"}
    row["judge_cpu_seconds"] = time.process_time() - begin_cpu
    row["drop"] = reference["accuracy"] - row["accuracy"]
    return row


def warm_up(setup):
    """Compiles the short trial; seconds and processor seconds of the first time, kept."""
    if not hasattr(setup, "compile_seconds"):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        setup.trial(Policy([Rule("*", weight_bits=8)]))
        first = (time.perf_counter() - begin, time.process_time() - begin_cpu)
        setup.trial.count = 0
        setup.compile_seconds = first
    return setup.compile_seconds


def _within_budget(proposal, model, data, limit, plan, scratch, seed):
    policy, aim = proposal.policy, limit
    for attempt in range(1, MOST_ATTEMPTS + 1):
        found = carry_through(policy, model, data, plan, scratch, seed)
        found["attempts"] = attempt
        if found["gzip_bytes"] <= limit or attempt == MOST_ATTEMPTS:
            break
        aim *= 0.99**attempt * limit / found["gzip_bytes"]
        policy = proposal.again(Budget(size_bytes=aim))
    return found


def carry_through(policy, model, data, plan, scratch, seed):
    """Fine-tunes a copy of a model under a policy, exports it as int8 and scores the file.

    Args:
        policy: What happens to each layer.
        model: The trained model; it is not changed.
        data: Training and test examples.
        plan: Steps of fine-tuning.
        scratch: The file to write.
        seed: Seed of the order of the examples.

    Returns:
        Accuracy, sizes and the plans.
    """
    keras.utils.set_random_seed(seed)
    training = Training(num_steps=plan.tuning_steps, learning_rate=_RATE, quiet=True)
    callbacks = [MetaCompress(policy=policy)]
    student = train(copy_model(model), data.train, training, description="", callbacks=callbacks)
    # A policy that ruins the model is a result, not an error.
    report = export_litert(
        student,
        scratch,
        mode="int8",
        representative_dataset=representative(data),
        tolerance=_ANY_ERROR,
    )
    plans = policy.resolve(describe(model))
    return {
        "accuracy": litert_accuracy(scratch, *data.test),
        "gzip_bytes": report.gzip_bytes,
        "file_bytes": report.file_bytes,
        "plans": [[plan.layer, round(plan.sparsity, 5), plan.weight_bits] for plan in plans],
    }
