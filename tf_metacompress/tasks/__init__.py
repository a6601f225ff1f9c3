"""What to learn from: tasks, and variants of a data set that make many tasks of one."""

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
    "ClassSubset",
    "Contrast",
    "Noise",
    "Rotation",
    "Task",
    "Variant",
    "check_arrays",
    "split",
]
