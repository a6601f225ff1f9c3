"""Shipping: export to LiteRT, proof that the file is right, and measured latency.

Only `export_litert`, `export_policies` and `measure_latencies` need TensorFlow, so they are loaded
on first use: timing a file does without.
"""

import importlib
from typing import Any

from tf_metacompress.deploy.benchmarking import benchmark
from tf_metacompress.deploy.c_array import CArrayReport, export_c_array
from tf_metacompress.deploy.comparison import ComparedFile, ComparisonResult, compare
from tf_metacompress.deploy.deviations import TensorDeviation
from tf_metacompress.deploy.devices import (
    AndroidDevice,
    Device,
    Runs,
    SshDevice,
    register_device,
    register_device_kind,
)
from tf_metacompress.deploy.execution import LayerExecution
from tf_metacompress.deploy.file_counts import OpCount, TypeCount, WeightZeros
from tf_metacompress.deploy.file_report import FileReport, inspect_litert
from tf_metacompress.deploy.handover import BundleReport, bundle_android
from tf_metacompress.deploy.interpreter import LitertModel
from tf_metacompress.deploy.latency import BenchmarkResult
from tf_metacompress.deploy.micro import MicroReport, arena_bytes, measure_micro
from tf_metacompress.deploy.model_metadata import (
    ModelMetadata,
    Normalization,
    read_metadata,
    write_metadata,
)
from tf_metacompress.deploy.modes import Mode, ModeOptions, get_mode, mode_names, register_mode
from tf_metacompress.deploy.parity import LayerParity, OutputParity, ParityReport
from tf_metacompress.deploy.report import ExportReport
from tf_metacompress.deploy.side_by_side import CountDifference, SideBySide, compare_files
from tf_metacompress.deploy.sizes import FileSizes, measure_sizes
from tf_metacompress.deploy.task_scores import TaskScore

__all__ = [
    "AndroidDevice",
    "BenchmarkResult",
    "BundleReport",
    "CArrayReport",
    "ComparedFile",
    "ComparisonResult",
    "CountDifference",
    "Device",
    "ExportReport",
    "FileReport",
    "FileSizes",
    "LayerExecution",
    "LayerParity",
    "LitertModel",
    "MicroReport",
    "Mode",
    "ModeOptions",
    "ModelMetadata",
    "Normalization",
    "OpCount",
    "OutputParity",
    "ParityReport",
    "Runs",
    "SideBySide",
    "SshDevice",
    "TaskScore",
    "TensorDeviation",
    "TypeCount",
    "WeightZeros",
    "arena_bytes",
    "benchmark",
    "bundle_android",
    "compare",
    "compare_files",
    "export_c_array",
    "export_litert",
    "export_policies",
    "get_mode",
    "inspect_litert",
    "measure_latencies",
    "measure_micro",
    "measure_sizes",
    "mode_names",
    "read_metadata",
    "register_device",
    "register_device_kind",
    "register_mode",
    "write_metadata",
]


def __getattr__(name: str) -> Any:
    if name in ("export_litert", "export_policies"):
        return getattr(importlib.import_module("tf_metacompress.deploy.export"), name)
    if name == "measure_latencies":
        return importlib.import_module("tf_metacompress.deploy.latency_measuring").measure_latencies
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
