"""A zoo of small trained models to meta-train on, and one kept apart to judge on."""

from tf_metacompress.pipeline.zoo.families import FAMILIES, Family, build
from tf_metacompress.pipeline.zoo.measured import Measuring, measure_zoo
from tf_metacompress.pipeline.zoo.recipes import Entry, Shares
from tf_metacompress.pipeline.zoo.sources import (
    check_files,
    load_source,
    meta_train_sources,
    sources_at_hand,
)
from tf_metacompress.pipeline.zoo.split import (
    META_TEST_FAMILIES,
    META_TEST_RATIOS,
    META_TEST_SOURCES,
    META_TRAIN_FAMILIES,
    split_of_source,
)
from tf_metacompress.pipeline.zoo.trainer import Record
from tf_metacompress.pipeline.zoo.workers import BACKENDS, check_backend
from tf_metacompress.pipeline.zoo.zoo import Zoo

__all__ = [
    "BACKENDS",
    "FAMILIES",
    "META_TEST_FAMILIES",
    "META_TEST_RATIOS",
    "META_TEST_SOURCES",
    "META_TRAIN_FAMILIES",
    "Entry",
    "Family",
    "Measuring",
    "Record",
    "Shares",
    "Zoo",
    "build",
    "check_backend",
    "check_files",
    "load_source",
    "measure_zoo",
    "meta_train_sources",
    "sources_at_hand",
    "split_of_source",
]
