"""What is left in float is listed with a reason that holds."""

import keras
import pytest

from tests.conformance.model_kinds import KINDS, add_every_kind
from tests.small_models import fingerprint, nested_net, tiny_net
from tf_metacompress.anatomy import describe, untouched
from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.policy import Policy, Rule

add_every_kind()
layers = keras.layers


def reasons(model, policy=None):
    return {entry.layer: entry.reason for entry in untouched(model, policy)}


def test_a_norm_that_folds_names_its_convolution():
    assert reasons(nested_net()) == {"backbone/bn": "it is folded into 'backbone/conv'"}


def test_layers_that_the_policy_leaves():
    model = tiny_net()
    before = fingerprint(model)
    policy = Policy([Rule("conv", sparsity=0.5)])
    assert reasons(model, policy) == {
        "norm": "it is folded into 'conv'",
        "head": "the policy leaves it in float32",
    }
    assert fingerprint(model) == before
    with pytest.raises(InvalidArgumentError, match="fits no layer"):
        untouched(model, Policy([Rule("other", sparsity=0.5)]))


CASES = {
    "norm_before": {"norm": "no kernel"},
    "custom_layer": {"scale": "register_kind"},
    "custom_reader": {"borrow/inner": "no call of the model reaches it"},
    "custom_block": {"block": "the layers inside it", "block/norm": "folded into 'block/conv0'"},
    "plain_ops": {"norm1": "no kernel", "norm2": "folded into 'conv2'"},
    "layer_norm": {"norm": "no kernel"},
}


@pytest.mark.parametrize("case", CASES)
def test_reasons(case):
    found = reasons(KINDS[case].make())
    assert set(found) == set(CASES[case])
    for layer, part in CASES[case].items():
        assert part in found[layer]


class Tied(layers.Layer):
    """Multiplies with the table of an embedding, as language models do."""

    def __init__(self, table, **kwargs):
        super().__init__(**kwargs)
        self.table = table

    def call(self, inputs):
        return keras.ops.matmul(inputs, keras.ops.transpose(self.table.embeddings))


def test_weights_that_are_read_elsewhere_stay_float():
    table = layers.Embedding(7, 4, name="table")
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Dense(4, name="dense")(table(inputs))
    model = keras.Model(inputs, Tied(table, name="tied")(x))
    assert reasons(model) == {"table": "its weights are read by something else than its own calls"}
    assert [info.name for info in describe(model) if info.compressible] == ["dense"]


def test_kernels_that_are_no_plain_weights():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(6, name="it")])
    model.layers[0].enable_lora(2)
    assert "enable_lora" in reasons(model)["it"]
