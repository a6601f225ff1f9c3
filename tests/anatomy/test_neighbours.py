"""Which compressible layers surround each other, in every kind of model."""

import keras
import pytest

from tests.small_models import conv_net, dense_net, nested_net, residual_net, shared_net
from tf_metacompress.anatomy import Neighbours, neighbours, trace

layers = keras.layers


def test_a_chain_with_batch_normalization():
    found = neighbours(trace(conv_net()))
    assert list(found) == ["conv", "depthwise", "separable", "head"]
    assert found["conv"] == Neighbours(following=("depthwise",), has_batch_norm=True)
    assert found["separable"].previous == ("depthwise",)
    assert found["head"] == Neighbours(previous=("separable",))


def test_a_residual_join():
    found = neighbours(trace(residual_net()))
    assert found["stem"].following == ("branch", "fused")
    assert found["fused"].previous == ("stem", "branch")
    assert found["stem"].feeds_addition and found["branch"].feeds_addition
    assert not found["fused"].feeds_addition and not found["hidden"].feeds_addition
    assert found["branch"].has_batch_norm and not found["fused"].has_batch_norm


def test_a_plain_operator_adds_too():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="a")(inputs)
    y = layers.Dense(4, name="b")(x)
    found = neighbours(trace(keras.Model(inputs, layers.Dense(2, name="c")(x + y))))
    assert found["a"].feeds_addition and found["b"].feeds_addition
    assert not found["c"].feeds_addition
    assert "b" in found["c"].previous


def test_a_layer_used_twice_is_not_its_own_neighbour():
    found = neighbours(trace(shared_net()))
    assert found["shared"] == Neighbours(following=("head",))
    assert found["head"].previous == ("shared",)


@pytest.mark.parametrize("make", [dense_net, nested_net])
def test_neighbours_are_mutual(make):
    found = neighbours(trace(make()))
    for path, around in found.items():
        assert all(path in found[other].following for other in around.previous)
        assert all(path in found[other].previous for other in around.following)
    assert sum(len(around.previous) for around in found.values()) == len(found) - 1
