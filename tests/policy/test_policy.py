"""Policies: resolution, summaries and strict files."""

import copy
import json
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.layers import batch_norm, layer
from tf_metacompress.errors import (
    ArgumentTypeError,
    CorruptFileError,
    InvalidArgumentError,
)
from tf_metacompress.policy import LayerPlan, Policy, Rule

INFOS = (
    layer("conv1", "Conv2D", (3, 3, 1, 8)),
    batch_norm("bn1"),
    layer("backbone/conv2", "Conv2D", (3, 3, 8, 8)),
    layer("head", shape=(72, 10)),
)
PLANS = st.builds(
    LayerPlan,
    st.text(min_size=1, max_size=8),
    st.just(0.0) | st.floats(0.1, 0.9),
    st.sampled_from([2, 3, 4, 8, 16, 32]),
    st.sampled_from([4, 8, 16, 32]),
    st.sampled_from(["unstructured", "channel", "block", "block:2x8:max"]),
    score=st.sampled_from(["magnitude", "taylor", "activation", "random"]),
    granularity=st.sampled_from(["per_channel", "per_tensor"]),
)
PROVENANCE = st.dictionaries(
    st.text(), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)


def test_the_last_rule_that_fits_wins():
    policy = Policy([Rule("*", weight_bits=8), Rule("conv*", weight_bits=4, sparsity=0.5)])
    assert policy.resolve(INFOS) == (
        LayerPlan("conv1", 0.5, 4),
        LayerPlan("backbone/conv2", 0.5, 4),
        LayerPlan("head", 0.0, 8),
    )


def test_a_layer_without_a_rule_stays_untouched():
    plans = Policy([Rule("head", weight_bits=8)]).resolve(INFOS)
    assert [plan.untouched for plan in plans] == [True, True, False]


@given(st.lists(PLANS, unique_by=lambda plan: plan.layer, max_size=5), PROVENANCE)
def test_plans_and_files_survive_any_names(plans, provenance):
    policy = Policy.from_plans(plans, name="p", provenance=provenance)
    infos = [layer(plan.layer, shape=(16, 16)) for plan in plans]
    assert policy.resolve(infos) == tuple(plans)
    again = Policy.from_json(policy.to_json())
    assert again == policy
    assert again.resolve(infos) == tuple(plans)


def test_rules_of_older_files_still_load():
    text = json.dumps(
        {
            "schema_version": 1,
            "name": "old",
            "rules": [
                {
                    "layers": "conv*",
                    "sparsity": 0.5,
                    "weight_bits": 4,
                    "activation_bits": 8,
                    "pattern": "unstructured",
                }
            ],
            "provenance": {},
        }
    )
    assert Policy.from_json(text).rules == (Rule("conv*", sparsity=0.5, weight_bits=4),)


def test_layers_are_selected_by_expression_and_by_callable():
    small = Rule(lambda info: info.num_weights < 100, weight_bits=4)
    policy = Policy([Rule(re.compile(r"conv\d$"), weight_bits=8), small])
    assert [plan.weight_bits for plan in policy.resolve(INFOS)] == [4, 8, 32]
    with pytest.raises(InvalidArgumentError, match="callable cannot be written"):
        policy.to_json()
    with pytest.raises(InvalidArgumentError, match="fits no layer"):
        Policy([Rule(lambda info: False)]).resolve(INFOS)


def test_an_expression_survives_the_file():
    policy = Policy([Rule(re.compile("CONV[0-9]$", re.IGNORECASE), weight_bits=8)])
    again = Policy.from_json(policy.to_json())
    assert again == policy and '"re:(?i)CONV[0-9]$"' in policy.to_json()
    assert [plan.weight_bits for plan in again.resolve(INFOS)] == [8, 8, 32]


def test_a_rule_for_no_layer_suggests_a_near_one():
    with pytest.raises(InvalidArgumentError, match="fits no layer.*layers='cnov2'.*'conv2'"):
        Policy([Rule("cnov2", weight_bits=8)]).resolve(INFOS)


def test_a_rule_for_a_layer_that_cannot_be_compressed_says_so():
    with pytest.raises(InvalidArgumentError, match="cannot be compressed: bn1"):
        Policy([Rule("bn*", weight_bits=8)]).resolve(INFOS)


def test_resolving_needs_layer_infos():
    with pytest.raises(ArgumentTypeError, match="Pass what `describe"):
        Policy().resolve(["conv1"])


def test_summaries_are_weighted_by_weights():
    policy = Policy([Rule("conv*", sparsity=0.5, weight_bits=4), Rule("head", weight_bits=8)])
    convs, head = 72 + 576, 720
    total = convs + head
    assert policy.mean_weight_bits(INFOS) == pytest.approx((convs * 4 + head * 8) / total)
    assert policy.sparsity(INFOS) == pytest.approx(convs * 0.5 / total)
    assert Policy().mean_weight_bits([batch_norm()]) == 32.0
    assert Policy().sparsity([batch_norm()]) == 0.0


def test_a_policy_is_frozen_hashable_and_copies():
    policy = Policy([Rule("head", weight_bits=8)], name="p", provenance={"seed": 3})
    with pytest.raises(AttributeError):
        policy.name = "q"
    with pytest.raises(TypeError):
        policy.provenance["seed"] = 4
    assert pickle.loads(pickle.dumps(policy)) == copy.deepcopy(policy) == policy
    assert len({policy, copy.deepcopy(policy)}) == 1


def test_saving_and_loading(tmp_path):
    policy = Policy([Rule("head", weight_bits=8)])
    policy.save(tmp_path / "policy.json")
    assert Policy.load(tmp_path / "policy.json") == policy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rules": Rule("a")}, "`rules` must be a sequence"),
        ({"rules": "conv"}, "`rules` must be a sequence"),
        ({"rules": ["conv"]}, "must be a Rule"),
        ({"name": None}, "`name`"),
        ({"provenance": [1]}, "`provenance`"),
        ({"provenance": {1: "a"}}, "`provenance`"),
        ({"provenance": {"a": [1]}}, "`provenance`"),
    ],
)
def test_wrong_types_are_refused(fields, message):
    with pytest.raises(ArgumentTypeError, match=message):
        Policy(**fields)


def test_a_provenance_must_be_finite():
    with pytest.raises(InvalidArgumentError, match="loss=nan"):
        Policy(provenance={"loss": float("nan")})


GOOD = {
    "schema_version": 1,
    "name": "p",
    "rules": [{"layers": "conv", "sparsity": 0.5, "weight_bits": 8}],
    "provenance": {"seed": 1},
}


def changed(**changes):
    return json.dumps({**GOOD, **changes})


def rule(**fields):
    return changed(rules=[{"layers": "conv", **fields}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "must be a JSON object, not a list"),
        ("null", "must be a JSON object, not null"),
        (changed(schema_version=2), "schema_version 1. Received: schema_version=2"),
        (changed(schema_version=True), "schema_version"),
        (json.dumps({"rules": []}), "schema_version=None"),
        (json.dumps({"schema_version": 1}), "lacks the key 'rules'"),
        (changed(rulse=[]), "unknown key 'rulse'. Did you mean 'rules'"),
        (changed(rules={}), "rules must be a list, not an object"),
        (changed(rules=[3]), r"rules\[0\] must be an object, not a number"),
        (changed(rules=[{}]), r"rules\[0\] lacks the key 'layers'"),
        (changed(name=3), "`name` must be a string"),
        (changed(provenance=[]), "`provenance` must be a mapping"),
        (changed(provenance={"a": None}), "`provenance`"),
        (rule(sparsty=0.5), r"rules\[0\] has the unknown key 'sparsty'. Did you mean 'sparsity'"),
        (rule(sparsity=1.0), r"rules\[0\]: `sparsity`.*sparsity=1.0"),
        (rule(sparsity="0.5"), "`sparsity`"),
        (rule(sparsity=float("nan")), "NaN is not a number that JSON allows"),
        (rule(sparsity=float("-inf")), "-Infinity"),
        (rule(weight_bits=8.5), "`weight_bits`"),
        (rule(activation_bits=9), "`activation_bits`"),
        (rule(pattern="2:4", sparsity=0.7), "`sparsity` of the pattern '2:4' is 0.5"),
        (rule(score="taylro"), "Did you mean 'taylor'"),
        (rule(threshold=0.0), "`threshold`"),
        (rule(pattern=3), "`pattern`"),
        (
            '{"schema_version": 1, "rules": [{"layers": "a", "layers": "b"}]}',
            "'layers' appears twice",
        ),
        ('{"schema_version": 1, "rules": [], "provenance": {"a": 1e999}}', "finite"),
        ('{"schema_version": 1, "rules": [], "name": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_bad_documents_are_refused_by_name(text, message):
    with pytest.raises(CorruptFileError, match=message):
        Policy.from_json(text)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_text_escapes_the_reader(text):
    with pytest.raises(CorruptFileError):
        Policy.from_json(text)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_damaged_files_are_read_fully_or_refused(place, damage):
    good = Policy([Rule("conv*", sparsity=0.25, weight_bits=4)], name="p").to_json().encode()
    place %= len(good)
    damaged = good[:place] + damage + good[place + len(damage) :]
    try:
        policy = Policy.from_json(damaged.decode("utf-8", errors="replace"))
    except CorruptFileError:
        return
    assert Policy.from_json(policy.to_json()) == policy


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(CorruptFileError, match="missing.json' cannot be read"):
        Policy.load(tmp_path / "missing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptFileError, match="binary.json' cannot be read"):
        Policy.load(tmp_path / "binary.json")
