"""What to learn from: data sets to compress on, few-shot tasks, and what samples them."""

from tf_metacompress.tasks.class_source import ClassArrays, ClassSource, SomeClasses
from tf_metacompress.tasks.few_shot_task import FewShotTask, stack
from tf_metacompress.tasks.n_way_k_shot import NWayKShot
from tf_metacompress.tasks.regression import Polynomials, Sinusoid
from tf_metacompress.tasks.sampler import TaskSampler, task_generator
from tf_metacompress.tasks.task import Task, check_arrays
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
    "FewShotTask",
    "NWayKShot",
    "Noise",
    "Polynomials",
    "Rotation",
    "Sinusoid",
    "SomeClasses",
    "Task",
    "TaskSampler",
    "Variant",
    "check_arrays",
    "split",
    "stack",
    "task_generator",
]
