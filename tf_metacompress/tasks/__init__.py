"""What to learn from: data sets to compress on, few-shot tasks, and what samples them."""

from tf_metacompress.tasks.class_source import ClassArrays, ClassSource, SomeClasses
from tf_metacompress.tasks.class_split import split_classes
from tf_metacompress.tasks.dataset_tasks import DatasetTasks
from tf_metacompress.tasks.few_shot_task import FewShotTask, stack
from tf_metacompress.tasks.image_folder import ImageFolder
from tf_metacompress.tasks.n_way_k_shot import NWayKShot
from tf_metacompress.tasks.regression import Polynomials, Sinusoid
from tf_metacompress.tasks.rotated_classes import RotatedClasses, base_class
from tf_metacompress.tasks.sampler import TaskSampler, task_generator
from tf_metacompress.tasks.series import load_ts
from tf_metacompress.tasks.task import Task, check_arrays
from tf_metacompress.tasks.variant_tasks import VariantTasks
from tf_metacompress.tasks.variants import (
    ClassSubset,
    Contrast,
    Noise,
    Rotation,
    Variant,
    split,
)

__all__ = [
    "ClassArrays",
    "ClassSource",
    "ClassSubset",
    "Contrast",
    "DatasetTasks",
    "FewShotTask",
    "ImageFolder",
    "NWayKShot",
    "Noise",
    "Polynomials",
    "RotatedClasses",
    "Rotation",
    "Sinusoid",
    "SomeClasses",
    "Task",
    "TaskSampler",
    "Variant",
    "VariantTasks",
    "base_class",
    "check_arrays",
    "load_ts",
    "split",
    "split_classes",
    "stack",
    "task_generator",
]
