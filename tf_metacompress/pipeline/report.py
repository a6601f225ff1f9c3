"""What a run ends with: the table, what was not gained, and the files it writes."""

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tf_metacompress import __version__
from tf_metacompress.anatomy import select_compressible
from tf_metacompress.atomic import write_bytes, write_json
from tf_metacompress.deploy.machine import this_machine
from tf_metacompress.errors import ParityError
from tf_metacompress.pipeline.candidates import Row
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.findings import left_alone, not_gained
from tf_metacompress.pipeline.outcome import Outcome
from tf_metacompress.pipeline.picture import draw_policy
from tf_metacompress.pipeline.stages import Stages
from tf_metacompress.pipeline.table import format_list, format_table, latency_ratio_column

SCHEMA_VERSION = 1
REPORT_FILES = ("report.json", "policy.json", "policy.png")
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "ai-edge-quantizer", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions of this package and of those that a result depends on."""
    others = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"tf_metacompress": __version__, **others}


def format_outcome(outcome: Outcome) -> str:
    """Lays out the closing table and, below it, which Φ proposed and what was not gained.

    Args:
        outcome: What a run found.

    Returns:
        Lines of at most 100 columns.
    """
    parts = [
        format_table(outcome.rows, outcome.latency, outcome.title),
        format_list("The Φ that proposed:", outcome.phi.sentences() if outcome.phi else ()),
        format_list("Not gained, and worth knowing:", not_gained(outcome)),
        format_list("Not compressed:", left_alone(outcome.infos)),
    ]
    return "\n\n".join(part for part in parts if part)


def publish(
    outcome: Outcome,
    out: Path,
    files: Mapping[str, str],
    stages: Stages,
    settings: Mapping[str, Any],
    data: Dataset,
) -> None:
    """Writes the files of a run, each whole or not at all, report.json last.

    Args:
        outcome: What was found.
        out: Folder to write into.
        files: Name of each .tflite file to the file of the stages that it is a copy of.
        stages: The stages of the run.
        settings: Settings of the run.
        data: Its data set.

    Raises:
        ParityError: If the file to ship fails the parity gate; then nothing is written.
    """
    _check_parity(outcome, stages)
    for name, source in files.items():
        write_bytes(out / name, stages.path(source).read_bytes())
    outcome.policy.save(out / "policy.json")
    infos = select_compressible(outcome.infos)
    draw_policy(out / "policy.png", outcome.policy, infos, outcome.rows, outcome.title)
    names = (*files, "policy.json", "policy.png")
    report = {
        "schema_version": SCHEMA_VERSION,
        "title": outcome.title,
        "table": _table(outcome.rows, outcome.latency),
        "chosen": outcome.chosen,
        "phi": asdict(outcome.phi) if outcome.phi else None,
        "not_gained": list(not_gained(outcome)),
        "not_compressed": list(left_alone(outcome.infos)),
        "latency": dict(outcome.latency),
        "files": {name: _described(out / name) for name in names},
        "provenance": _provenance(stages, settings, data, out),
    }
    write_json(out / "report.json", report)


def _check_parity(outcome: Outcome, stages: Stages) -> None:
    row = outcome.chosen_row
    if row.parity_passed:
        return
    raise ParityError(
        f"The int8 file of {row.name!r} does not compute what Keras computes, so nothing was "
        f"written. Received: relative error {row.relative_error:.3g}, tolerance {row.tolerance:g}. "
        "Ask for a larger size ratio, or train longer; the file is kept for inspection as "
        f"{stages.path(row.file)}.",
        report=outcome,
    )


def _table(rows: Sequence[Row], latency: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            **asdict(row),
            "parity_passed": row.parity_passed,
            "gzip_ratio": row.gzip_bytes / rows[0].gzip_bytes,
            "p50_ratio": ratio,
        }
        for row, ratio in zip(rows, latency_ratio_column(latency), strict=True)
    ]


def _described(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _provenance(
    stages: Stages, settings: Mapping[str, Any], data: Dataset, out: Path
) -> dict[str, Any]:
    return {
        "settings": dict(settings),
        "dataset": {
            "fingerprint": data.fingerprint(),
            "num_train": len(data.train[0]),
            "num_test": len(data.test[0]),
            "input_shape": list(data.input_shape),
            "num_classes": data.num_classes,
        },
        "versions": versions(),
        "machine": this_machine().to_dict(),
        "stages": stages.directory.relative_to(out).as_posix(),
        "seconds": stages.seconds(),
    }
