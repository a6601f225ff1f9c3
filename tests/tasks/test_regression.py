"""Families of regression tasks."""

import math

import numpy as np
import pytest

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.tasks import Polynomials, Sinusoid


def points(task):
    x, y = (np.concatenate(pair)[:, 0] for pair in zip(task.support, task.query, strict=True))
    return x.astype(np.float64), y.astype(np.float64)


def test_a_sinusoid_is_one_wave_within_its_intervals():
    sampler = Sinusoid(num_shots=7, num_queries=30)
    fitted = []
    for index in range(300):
        task = sampler(index)
        assert task.support[0].shape == task.support[1].shape == (7, 1)
        assert task.query[0].dtype == task.query[1].dtype == np.float32
        x, y = points(task)
        assert np.abs(x).max() <= 5.0
        waves = np.stack([np.sin(x), np.cos(x)], axis=1)
        (sine, cosine), *_ = np.linalg.lstsq(waves, y)
        np.testing.assert_allclose(waves @ [sine, cosine], y, atol=1e-5)
        fitted.append((math.hypot(sine, cosine), math.atan2(-cosine, sine)))
    amplitude, phase = np.transpose(fitted)
    assert 0.1 - 1e-4 < amplitude.min() < 0.3 and 4.8 < amplitude.max() < 5.0 + 1e-4
    assert -1e-3 < phase.min() < 0.2 and 2.9 < phase.max() < math.pi + 1e-3


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_a_polynomial_has_its_degree(degree):
    sampler = Polynomials(num_shots=6, num_queries=20, degree=degree, coefficients=(2.0, 3.0))
    for index in range(20):
        x, y = points(sampler(index))
        fitted = np.polynomial.polynomial.polyfit(x, y, degree)
        np.testing.assert_allclose(np.polynomial.polynomial.polyval(x, fitted), y, atol=1e-5)
        assert (fitted > 1.99).all() and (fitted < 3.01).all()


def test_an_interval_of_one_number_is_a_constant():
    task = Sinusoid(amplitude=(2, 2), phase=(0, 0), x_range=[0, 1])(0)
    np.testing.assert_allclose(task.support[1], 2 * np.sin(task.support[0]), atol=1e-6)


def test_equal_points_are_different_examples():
    Sinusoid(x_range=(1, 1))(0)


@pytest.mark.parametrize(
    ("family", "fields", "message"),
    [
        (Sinusoid, {"num_shots": 0}, "`num_shots`"),
        (Sinusoid, {"num_queries": 0}, "`num_queries`"),
        (Sinusoid, {"seed": -1}, "`seed`"),
        (Sinusoid, {"amplitude": (2, 1)}, "`amplitude` must not end before"),
        (Sinusoid, {"phase": 3.0}, "`phase` must be a pair"),
        (Sinusoid, {"x_range": (0, math.inf)}, "`x_range` must be a pair of finite"),
        (Sinusoid, {"x_range": ("a", "b")}, "`x_range` must be a pair of finite"),
        (Polynomials, {"degree": -1}, "`degree`"),
        (Polynomials, {"coefficients": (1, 2, 3)}, "`coefficients` must be a pair"),
    ],
)
def test_settings_out_of_range_are_refused(family, fields, message):
    with pytest.raises(InvalidArgumentError, match=message):
        family(**fields)
