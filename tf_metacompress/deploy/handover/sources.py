"""The texts of a hand-over, from the templates of the package."""

import math
from collections.abc import Iterable, Mapping
from importlib import resources
from string import Template

import numpy as np

from tf_metacompress.deploy.handover.kotlin import (
    kotlin_doubles,
    kotlin_signatures,
    kotlin_string,
)
from tf_metacompress.deploy.handover.subject import Subject
from tf_metacompress.deploy.handover.vector import Vector

LITERT_ANDROID = "2.3.0"
MIN_SDK, COMPILE_SDK = 24, 35
_TEMPLATES = resources.files("tf_metacompress.deploy") / "templates"


def filled(template: str, values: Mapping[str, object]) -> str:
    """Fills a template of the package.

    Args:
        template: Its name without ".txt".
        values: What stands for each of its names.

    Returns:
        The text.
    """
    return Template((_TEMPLATES / f"{template}.txt").read_text("utf-8")).substitute(values)


def source_files(subject: Subject, vector: Vector) -> dict[str, str]:
    """Writes the Kotlin and Gradle files.

    Args:
        subject: What is handed over.
        vector: The test vector.

    Returns:
        Path within the folder to text.
    """
    names = {
        "package": subject.package,
        "class_name": subject.class_name,
        "title": kotlin_string(subject.metadata.name),
        "sha256": subject.sha256,
    }
    place = subject.package.replace(".", "/")
    return {
        f"kotlin/{place}/{subject.class_name}.kt": _model(subject, names),
        f"androidTest/{place}/{subject.class_name}Test.kt": _test(subject, vector, names),
        "build.gradle.kts": filled(
            "build.gradle.kts",
            {
                **names,
                "litert": LITERT_ANDROID,
                "min_sdk": MIN_SDK,
                "compile_sdk": COMPILE_SDK,
            },
        ),
        "AndroidManifest.xml": filled("android_manifest.xml", {}),
    }


def _model(subject: Subject, names: Mapping[str, str]) -> str:
    metadata = subject.metadata
    classify = ""
    if metadata.labels:
        first = f"run(inputs).getValue({kotlin_string(subject.signatures[0].outputs[0].name)})"
        scores = f"softmax({first})" if metadata.softmax else first
        classify = filled("classify.kt", {"scores": scores})
    return filled(
        "model.kt",
        {
            **names,
            "classify": classify,
            "softmax": filled("softmax.kt", {}) if metadata.softmax else "",
            "signatures": kotlin_signatures(subject.signatures, metadata.normalization),
        },
    )


def _test(subject: Subject, vector: Vector, names: Mapping[str, str]) -> str:
    label = _sure_label(subject, vector)
    values = {**names, "label": kotlin_string(label)} if label else {}
    return filled(
        "model_test.kt",
        {
            **names,
            "classify": filled("classify_test.kt", values) if label else "",
            "tolerances": kotlin_doubles(_tolerances(subject, vector)),
        },
    )


def _tolerances(subject: Subject, vector: Vector) -> Iterable[float]:
    return (vector.tolerance[item.name] for item in subject.signatures[0].outputs)


def _sure_label(subject: Subject, vector: Vector) -> str:
    """The best label, if it leads by more than both outputs may be off; else "".

    The label is compared as a processor of another kind would find it.
    """
    labels = subject.metadata.labels
    if len(labels) < 2:
        return ""
    name = subject.signatures[0].outputs[0].name
    scores = vector.real[name].ravel()
    second, best = np.argsort(scores, kind="stable")[-2:]
    lead = float(scores[best] - scores[second])
    sure = math.isfinite(lead) and lead > 2 * vector.tolerance[name]
    return labels[int(best)] if sure else ""
