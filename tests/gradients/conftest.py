"""Float64 for a whole test module that asks for it."""

import keras
import pytest


@pytest.fixture(scope="module")
def float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
