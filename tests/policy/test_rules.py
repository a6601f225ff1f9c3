"""Which layers a rule is about, and what it plans for them."""

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
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
        ({"weight_bits": 1}, "`weight_bits`"),
        ({"activation_bits": 9}, "`activation_bits`"),
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


@pytest.mark.parametrize("make", [Rule, LayerPlan])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pattern": "2:4", "sparsity": 0.7}, "is 0.5.*Leave it out"),
        ({"pattern": "0:4"}, "0 < N < M"),
        ({"pattern": "block:0x4"}, "at least 1"),
        ({"pattern": "block:4x4:mean"}, "pooling"),
        ({"threshold": -1.0}, "`threshold`"),
        ({"threshold": 0.1, "sparsity": 0.5}, "exclude each other"),
        ({"threshold": 0.1, "pattern": "2:4"}, "exclude each other"),
        ({"threshold": 0.1, "pattern": "channel"}, "needs pattern 'unstructured'"),
        ({"threshold": 0.1, "score": "taylor"}, "score 'magnitude'"),
        ({"score": "taylro"}, "Did you mean 'taylor'"),
        ({"quantizer": "log3", "weight_bits": 4}, "Did you mean 'log2'"),
        ({"quantizer": "log2"}, "needs `weight_bits` of 2 to 8"),
        ({"quantizer": "codebook", "weight_bits": 16}, "needs `weight_bits` of 2 to 8"),
        ({"granularity": "per_layer"}, "`granularity`"),
        ({"range_setting": "mse", "weight_bits": 4, "quantizer": "log2"}, "symmetric quantizer"),
        ({"range_setting": "percentile"}, "`range_setting` 'percentile'"),
        ({"range_setting": "max"}, "`range_setting`"),
    ],
)
def test_contradictions_are_refused(make, fields, message):
    with pytest.raises(InvalidArgumentError, match=message):
        make("conv", **fields)


def test_an_n_of_m_pattern_implies_its_sparsity():
    assert LayerPlan("conv", pattern="2:4").sparsity == 0.5
    assert Rule("conv", pattern="1:3", sparsity=0.667).sparsity == 1 - 1 / 3
    assert Action(pattern="1:4").sparsity == 0.75
    assert LayerPlan("conv", pattern="2:4").rule().plan("conv") == LayerPlan("conv", pattern="2:4")


def test_a_threshold_prunes_without_a_sparsity():
    plan = LayerPlan("conv", threshold=0.01)
    assert plan.prunes and not plan.untouched and plan.sparsity == 0.0
    assert not LayerPlan("conv", weight_bits=8).prunes


def test_an_expression_is_searched_in_the_full_path():
    names = ["stem/conv1", "conv2", "head/dense"]
    assert Rule(re.compile("^stem|dense$")).matching(names) == ("stem/conv1", "head/dense")
    assert Rule("re:CONV").matching(names) == ()
    assert Rule(re.compile("CONV", re.IGNORECASE)).matching(names) == ("stem/conv1", "conv2")
    assert Rule(re.compile("conv")) == Rule("re:conv")


@pytest.mark.parametrize("layers", ["re:", "re:(", re.compile(b"conv")])
def test_a_broken_expression_is_refused(layers):
    with pytest.raises(InvalidArgumentError, match="`layers`"):
        Rule(layers)


def test_a_callable_needs_layer_infos():
    with pytest.raises(ArgumentTypeError, match="matched against LayerInfo"):
        Rule(lambda info: True).matching(["conv"])


def test_the_details_of_a_rule_are_named():
    with pytest.raises(TypeError, match="positional"):
        Rule("conv", 0.5)
