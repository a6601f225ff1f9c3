"""The way from a model to a checked file: propose, train, finalize, export, measure."""

from tf_metacompress.pipeline.candidates import representative
from tf_metacompress.pipeline.datasets import DATASETS, Dataset, load_dataset, load_npz
from tf_metacompress.pipeline.demo import DemoSettings, run_demo
from tf_metacompress.pipeline.job import JobSettings, compress_file, load_model

__all__ = [
    "DATASETS",
    "Dataset",
    "DemoSettings",
    "JobSettings",
    "compress_file",
    "load_dataset",
    "load_model",
    "load_npz",
    "representative",
    "run_demo",
]
