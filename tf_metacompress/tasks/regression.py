"""Families of regression tasks: one function of one variable a task."""

import math
from dataclasses import dataclass

import numpy as np

from tf_metacompress.errors import check_int, invalid
from tf_metacompress.tasks.few_shot_task import FewShotTask
from tf_metacompress.tasks.sampler import task_generator

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Sinusoid:
    """Sinusoids y = a · sin(x - p) of random amplitude and phase (MAML, arXiv:1703.03400).

    Attributes:
        num_shots: Number of support points, at least 1.
        num_queries: Number of query points, at least 1.
        seed: Seed of the sequence of tasks.
        amplitude: Interval that the amplitude is drawn from, uniformly.
        phase: Interval that the phase is drawn from, uniformly.
        x_range: Interval that the inputs are drawn from, uniformly.

    Raises:
        InvalidArgumentError: If a number is out of range or an interval is none.

    Example:
        >>> task = Sinusoid(num_shots=5, num_queries=20)(0)
        >>> task.support[0].shape, task.query[1].shape, str(task.support[0].dtype)
        ((5, 1), (20, 1), 'float32')
    """

    num_shots: int = 10
    num_queries: int = 10
    seed: int = 0
    amplitude: Interval = (0.1, 5.0)
    phase: Interval = (0.0, math.pi)
    x_range: Interval = (-5.0, 5.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        _check_counts(self)
        _check_intervals(self, "amplitude", "phase", "x_range")

    def __call__(self, index: int) -> FewShotTask:
        """Draws a task.

        Args:
            index: Number of the task, from 0.

        Returns:
            The task: inputs and targets of shape (points, 1).

        Raises:
            InvalidArgumentError: If `index` is negative.
        """
        generator = task_generator(self.seed, index)
        amplitude, phase = generator.uniform(*self.amplitude), generator.uniform(*self.phase)
        x = generator.uniform(*self.x_range, (self.num_shots + self.num_queries, 1))
        return _task(x, amplitude * np.sin(x - phase), self.num_shots)


@dataclass(frozen=True, kw_only=True)
class Polynomials:
    """Polynomials of random coefficients; lines at degree 1.

    Attributes:
        num_shots: Number of support points, at least 1.
        num_queries: Number of query points, at least 1.
        seed: Seed of the sequence of tasks.
        degree: Degree, at least 0.
        coefficients: Interval that each coefficient is drawn from, uniformly.
        x_range: Interval that the inputs are drawn from, uniformly.

    Raises:
        InvalidArgumentError: If a number is out of range or an interval is none.

    Example:
        >>> x, y = Polynomials(num_shots=4, degree=1)(0).support
        >>> slopes = np.diff(y[:, 0]) / np.diff(x[:, 0])
        >>> bool(np.ptp(slopes) < 1e-4)
        True
    """

    num_shots: int = 10
    num_queries: int = 10
    seed: int = 0
    degree: int = 1
    coefficients: Interval = (-1.0, 1.0)
    x_range: Interval = (-1.0, 1.0)

    def __post_init__(self) -> None:
        """Checks the fields."""
        _check_counts(self)
        object.__setattr__(self, "degree", check_int("degree", self.degree, 0))
        _check_intervals(self, "coefficients", "x_range")

    def __call__(self, index: int) -> FewShotTask:
        """Draws a task.

        Args:
            index: Number of the task, from 0.

        Returns:
            The task: inputs and targets of shape (points, 1).

        Raises:
            InvalidArgumentError: If `index` is negative.
        """
        generator = task_generator(self.seed, index)
        coefficients = generator.uniform(*self.coefficients, self.degree + 1)
        x = generator.uniform(*self.x_range, (self.num_shots + self.num_queries, 1))
        return _task(x, np.polynomial.polynomial.polyval(x, coefficients), self.num_shots)


def _task(x: np.ndarray, y: np.ndarray, num_shots: int) -> FewShotTask:
    x, y, rows = x.astype(np.float32), y.astype(np.float32), np.arange(len(x))
    return FewShotTask(
        support=(x[:num_shots], y[:num_shots]),
        query=(x[num_shots:], y[num_shots:]),
        rows=(rows[:num_shots], rows[num_shots:]),
    )


def _check_counts(family: Sinusoid | Polynomials) -> None:
    for name, minimum in (("num_shots", 1), ("num_queries", 1), ("seed", 0)):
        object.__setattr__(family, name, check_int(name, getattr(family, name), minimum))


def _check_intervals(family: Sinusoid | Polynomials, *names: str) -> None:
    for name in names:
        bounds = np.asarray(getattr(family, name))
        is_number = np.issubdtype(bounds.dtype, np.number)
        if bounds.shape != (2,) or not is_number or not np.isfinite(bounds).all():
            raise invalid(f"`{name}` must be a pair of finite numbers.", **{name: bounds})
        if bounds[0] > bounds[1]:
            raise invalid(f"`{name}` must not end before it starts.", **{name: bounds.tolist()})
        object.__setattr__(family, name, tuple(float(bound) for bound in bounds))
