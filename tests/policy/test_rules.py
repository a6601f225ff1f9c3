"""Which layers a rule is about, and what it plans for them."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.policy import Action, LayerPlan, Rule

NAMES = st.lists(st.text("ab*?[]!/-^ ", min_size=1, max_size=6), unique=True, max_size=6)


@given(NAMES, st.text("ab*?/", min_size=1, max_size=4))
def test_a_wildcard_fits_the_path_or_its_last_part(names, pattern):
    matching = Rule("*" + pattern).matching(names)
    assert matching == tuple(
        name
        for name in names
        if fnmatch.fnmatchcase(name, "*" + pattern)
        or fnmatch.fnmatchcase(name.split("/")[-1], "*" + pattern)
    )


@given(NAMES)
def test_the_rule_of_a_plan_means_its_layer_only(names):
    for name in names:
        assert LayerPlan(name).rule().matching(names) == (name,)


def test_a_plain_name_prefers_the_whole_path():
    names = ["backbone/conv", "conv", "head/conv"]
    assert Rule("conv").matching(names) == ("conv",)
    assert Rule("conv").matching(names[::2]) == ("backbone/conv", "head/conv")


@pytest.mark.parametrize("make", [Rule, LayerPlan])
def test_the_default_leaves_a_layer_untouched(make):
    made = make("conv")
    assert (made.sparsity, made.weight_bits, made.activation_bits) == (0.0, 32, 32)
    assert LayerPlan("conv").untouched


@pytest.mark.parametrize("make", [Rule, LayerPlan])
@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(4, 8), (8, 8), (16, 8), (32, 32)])
def test_activation_bits_follow_the_weights(make, weight_bits, activation_bits):
    assert make("conv", weight_bits=weight_bits).activation_bits == activation_bits


@pytest.mark.parametrize("fields", [{"sparsity": 0.1}, {"weight_bits": 8}, {"activation_bits": 8}])
def test_any_change_touches_the_layer(fields):
    assert not LayerPlan("conv", **fields).untouched


def test_rule_and_plan_agree():
    rule = Rule("conv*", sparsity=0.5, weight_bits=4, activation_bits=16, pattern="channel")
    plan = rule.plan("conv1")
    assert plan == LayerPlan("conv1", 0.5, 4, 16, "channel")
    assert plan.action == Action(0.5, 4, "channel")
    assert plan.rule().plan("conv1") == plan


@pytest.mark.parametrize("make", [Rule, LayerPlan])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sparsity": 1.0}, "`sparsity`"),
        ({"weight_bits": 2}, "`weight_bits`"),
        ({"activation_bits": 4}, "`activation_bits`"),
        ({"pattern": "unstructred"}, "Did you mean 'unstructured'"),
    ],
)
def test_values_out_of_range_are_refused(make, fields, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make("conv", **fields)


@pytest.mark.parametrize("make", [Rule, LayerPlan])
@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_is_a_non_empty_string(make, name):
    with pytest.raises(InvalidArgumentError, match="`layer"):
        make(name)


def test_the_details_of_a_rule_are_named():
    with pytest.raises(TypeError, match="positional"):
        Rule("conv", 0.5)
