"""Counting zeros."""

import keras
import numpy as np
import pytest

from tests.small_models import conv_net, nested_net, shared_net, subclassed_net
from tf_metacompress import compress, finalize
from tf_metacompress.anatomy import describe
from tf_metacompress.policy import Policy, Rule
from tf_metacompress.sparsity import measure_sparsity

layers = keras.layers


def test_zeros_are_counted_by_layer_and_in_all():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(2, name="a"), layers.Dense(3, name="b")]
    )
    model.get_layer("a").kernel.assign([[0, 1], [0, -0.0], [1, 1], [1, 1]])
    report = measure_sparsity(model)
    assert report.layers == {"a": 3 / 8, "b": 0.0}
    assert report.total == 3 / 14


def test_biases_and_layers_of_unknown_kinds_do_not_count():
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(), layers.Dense(2)])
    assert list(measure_sparsity(model).layers.values()) == [0.0]


def test_a_model_without_kernels_has_sparsity_zero():
    report = measure_sparsity(keras.Sequential([keras.Input((4,)), layers.ReLU()]))
    assert (dict(report.layers), report.total) == ({}, 0.0)


@pytest.mark.parametrize("make", [conv_net, nested_net, shared_net, subclassed_net])
def test_a_student_counts_what_its_forward_pass_uses(make):
    model = make()
    student = compress(model, Policy([Rule("*", sparsity=0.75)]))
    report = measure_sparsity(student)
    sizes = {i.name: [kernel.size for kernel in i.kernels] for i in describe(model) if i.kernels}
    zeros = {path: sum(round(0.75 * size) for size in of) for path, of in sizes.items()}
    assert report.layers == {path: zeros[path] / sum(sizes[path]) for path in sizes}
    total = sum(map(sum, sizes.values()))
    assert report.total == sum(zeros.values()) / total
    assert not any(
        np.any(k.numpy() == 0) for k in (c.layer.weights[0] for c in student.compressors)
    )
    assert measure_sparsity(finalize(student)) == report


def test_rounding_to_few_bits_adds_zeros():
    student = compress(conv_net(), Policy([Rule("*", weight_bits=4)]))
    report = measure_sparsity(student)
    assert 0.0 < report.total < 0.5
    assert measure_sparsity(finalize(student)) == report
