"""The immutable mapping."""

import copy
import pickle

import pytest

from tf_metacompress.policy.frozen_mapping import FrozenMapping


def test_it_equals_a_dictionary_and_keeps_its_order():
    mapping = FrozenMapping({"b": 1, "a": 2})
    assert mapping == {"a": 2, "b": 1}
    assert list(mapping) == ["b", "a"]
    assert repr(mapping) == "{'b': 1, 'a': 2}"
    assert FrozenMapping() == {}


def test_it_hashes_by_content_and_copies():
    mapping = FrozenMapping({"b": 1, "a": 2})
    assert hash(mapping) == hash(FrozenMapping({"a": 2, "b": 1}))
    assert pickle.loads(pickle.dumps(mapping)) == copy.deepcopy(mapping) == mapping


def test_it_neither_changes_nor_follows_its_source():
    source = {"a": 1}
    mapping = FrozenMapping(source)
    source["a"] = 2
    assert mapping["a"] == 1
    with pytest.raises(TypeError):
        mapping["a"] = 3
