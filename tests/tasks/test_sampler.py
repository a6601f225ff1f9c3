"""What every sampler promises: tasks are a pure function of settings, seed and index."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fresh_python import run_script
from tests.tasks.samplers import digest, digests, make_samplers
from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.tasks import FewShotTask, TaskSampler, task_generator

SAMPLERS = make_samplers()
each = pytest.mark.parametrize("name", SAMPLERS)


def with_seed(sampler, seed):
    made = copy.copy(sampler)
    if hasattr(made, "_tasks"):
        object.__setattr__(made, "_tasks", with_seed(made._tasks, seed))
    object.__setattr__(made, "seed", seed)
    return made


def test_tasks_are_the_same_in_another_process():
    script = "import json; from tests.tasks.samplers import digests; print(json.dumps(digests()))"
    assert json.loads(run_script("-c", script)) == digests()


@each
def test_a_sampler_keeps_to_the_protocol(name):
    assert isinstance(SAMPLERS[name], TaskSampler)
    assert isinstance(SAMPLERS[name](0), FewShotTask)


@each
def test_order_and_pickling_do_not_matter(name):
    sampler = SAMPLERS[name]
    forward = [digest(sampler(index)) for index in range(4)]
    assert [digest(sampler(index)) for index in reversed(range(4))] == forward[::-1]
    again = pickle.loads(pickle.dumps(sampler))
    assert [digest(again(index)) for index in range(4)] == forward
    assert repr(again) == repr(sampler)


@each
def test_every_index_and_every_seed_gives_another_task(name):
    sampler = SAMPLERS[name]
    drawn = [digest(sampler(index)) for index in range(20)]
    drawn += [digest(with_seed(sampler, 99)(index)) for index in range(20)]
    assert len(set(drawn)) == 40


@each
def test_shapes_and_types_do_not_change_from_task_to_task(name):
    def form(task):
        return [(array.shape, array.dtype) for array in (*task.support, *task.query)]

    first = form(SAMPLERS[name](0))
    assert all(form(SAMPLERS[name](index)) == first for index in range(10))


@each
def test_a_sampler_is_frozen_and_tells_what_it_is(name):
    sampler = SAMPLERS[name]
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler.seed = 1
    assert type(sampler).__name__ in repr(sampler)
    assert len(repr(sampler)) < 500
    assert "0x" not in repr(sampler)


@each
@pytest.mark.parametrize("index", [-1, 0.5, None, True])
def test_a_wrong_index_is_refused(name, index):
    with pytest.raises(InvalidArgumentError, match="`index` must be an integer of at least 0"):
        SAMPLERS[name](index)


@given(st.sampled_from(sorted(SAMPLERS)), st.integers(0, 2**40))
@settings(max_examples=25, deadline=None)
def test_support_and_query_never_share_an_example(name, index):
    task = SAMPLERS[name](index)
    support, query = ({tuple(np.atleast_1d(row)) for row in rows} for rows in task.rows)
    assert len(support) == len(task.support[0])
    assert len(query) == len(task.query[0])
    assert not support & query


def test_the_generator_is_numpys_of_seed_and_index():
    expected = np.random.default_rng([5, 8]).random(4)
    np.testing.assert_array_equal(task_generator(5, 8).random(4), expected)
    with pytest.raises(InvalidArgumentError, match="`seed`"):
        task_generator(-1, 0)
