"""The way from a model to a checked file: propose, train, finalize, export, measure."""

from tf_metacompress.pipeline.candidates import Row, representative, representative_examples
from tf_metacompress.pipeline.contest import run_demo
from tf_metacompress.pipeline.datasets import DATASETS, Dataset, load_dataset, load_npz
from tf_metacompress.pipeline.demo import DemoSettings
from tf_metacompress.pipeline.job import JobSettings, compress_file
from tf_metacompress.pipeline.meta_training import MetaTrainSettings, meta_train
from tf_metacompress.pipeline.model_file import load_model
from tf_metacompress.pipeline.outcome import Outcome
from tf_metacompress.pipeline.report import format_outcome

__all__ = [
    "DATASETS",
    "Dataset",
    "DemoSettings",
    "JobSettings",
    "MetaTrainSettings",
    "Outcome",
    "Row",
    "compress_file",
    "format_outcome",
    "load_dataset",
    "load_model",
    "load_npz",
    "meta_train",
    "representative",
    "representative_examples",
    "run_demo",
]
