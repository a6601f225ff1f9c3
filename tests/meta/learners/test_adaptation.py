"""`adapt`: a model of its own that computes what the learner computes."""

import keras
import numpy as np
import pytest

from tests.meta.learners.problems import IMAGE, SPARSE_INT8, dense_net, normalised_net, sampler
from tests.small_models import randomize, subclassed_net
from tf_metacompress import finalize
from tf_metacompress.deploy import LitertModel, export_litert
from tf_metacompress.layer_tree import inner_layers, is_redirected
from tf_metacompress.meta import ANIL, MAML, FirstOrderMAML, Reptile
from tf_metacompress.meta.learners.batches import episode
from tf_metacompress.tasks import check_arrays
from tf_metacompress.wrappers import CompressedModel

layers = keras.layers
IMAGES = sampler(IMAGE)


def trained(kind=MAML, model=None, tasks=IMAGES, **arguments):
    learner = kind(model or normalised_net(), inner_lr=0.05, **arguments)
    learner.compile("adam", meta_batch_size=2)
    learner.fit(tasks, meta_steps=2, verbose=0)
    return learner


def own_outputs(learner, task, inner_steps=None):
    """What the learner itself computes for the query examples."""
    drawn = episode(lambda index: task, 0, learner.network)
    loss, (start, extras) = learner.compiled.loss, learner.read()
    weights = learner.adapted(loss, start, extras, drawn, inner_steps or learner.inner_steps)
    return loss.query(weights, drawn)[1].numpy()


@pytest.mark.parametrize("policy", [None, pytest.param(SPARSE_INT8, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "batch_norm", [pytest.param("inference", marks=pytest.mark.slow), "support"]
)
def test_the_adapted_model_computes_what_the_learner_computes(batch_norm, policy):
    learner = trained(batch_norm=batch_norm, policy=policy, inner_steps=2)
    task = IMAGES(7)
    model = learner.adapt(task.support)
    got = model.predict(task.query[0], verbose=0)
    np.testing.assert_allclose(got, own_outputs(learner, task), rtol=1e-5, atol=1e-5)
    assert isinstance(model, CompressedModel) == (policy is not None)
    more = learner.adapt(task.support, inner_steps=5).predict(task.query[0], verbose=0)
    np.testing.assert_allclose(more, own_outputs(learner, task, 5), rtol=1e-5, atol=1e-5)
    assert np.abs(more - got).max() > 1e-3


def test_support_statistics_become_moving_statistics():
    learner = trained(batch_norm="support")
    x, y = IMAGES(3).support
    norm = learner.adapt((x, y)).get_layer("norm")
    conv = learner.adapt((x, y)).get_layer("conv")
    convolved = conv(x).numpy()
    np.testing.assert_allclose(norm.moving_mean, convolved.mean((0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, convolved.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.slow
def test_without_a_policy_the_model_is_plain_keras(tmp_path):
    learner = trained(batch_norm="support")
    task = IMAGES(1)
    model = learner.adapt(task.support)
    assert type(model) is keras.Sequential
    assert not any(is_redirected(layer) for layer in inner_layers(model).values())
    assert "metacompress" not in str(model.get_config())
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    x = task.query[0]
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*task.support, epochs=1, verbose=0)


@pytest.mark.slow
def test_adapted_models_are_independent():
    learner = trained()
    before = [np.asarray(v).copy() for v in learner.model.variables]
    first, second = learner.adapt(IMAGES(0).support), learner.adapt(IMAGES(1).support)
    kept = first.get_weights()
    second.set_weights([w * 0 for w in second.get_weights()])
    for a, b in zip(kept, first.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(before, learner.model.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FirstOrderMAML, Reptile])
def test_one_step_equals_one_step_of_plain_gradient_descent(kind):
    learner = trained(kind, dense_net(), sampler())
    support = sampler()(4).support
    adapted = learner.adapt(support)
    plain = keras.models.clone_model(learner.model)
    plain.set_weights(learner.model.get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile(keras.optimizers.SGD(0.05), loss)
    plain.fit(*support, batch_size=len(support[0]), epochs=1, shuffle=False, verbose=0)
    for a, b in zip(adapted.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_anil_leaves_the_body():
    learner = trained(ANIL)
    adapted = learner.adapt(IMAGES(0).support)
    for layer in adapted.layers:
        same = [
            np.array_equal(a, b)
            for a, b in zip(
                layer.get_weights(), learner.model.get_layer(layer.name).get_weights(), strict=True
            )
        ]
        assert all(same) == (layer.name != "head")


@pytest.mark.slow
def test_a_subclassed_model_adapts():
    learner = trained(model=subclassed_net(), tasks=sampler((8, 8, 1)), batch_norm="support")
    task = sampler((8, 8, 1))(3)
    got = learner.adapt(task.support).predict(task.query[0], verbose=0)
    np.testing.assert_allclose(got, own_outputs(learner, task), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_model_of_tokens_adapts():
    def tokens(index):
        task = sampler()(index)
        halves = [(np.abs(x * 3).astype("int64") % 5, y) for x, y in (task.support, task.query)]
        return type(task)(support=halves[0], query=halves[1], rows=task.rows)

    model = keras.Sequential([keras.Input((4,), dtype="int32"), layers.Embedding(5, 3)])
    model.add(layers.GlobalAveragePooling1D())
    model.add(layers.Dense(3))
    learner = trained(model=randomize(model), tasks=tokens)
    task = tokens(5)
    got = learner.adapt(task.support).predict(task.query[0], verbose=0)
    np.testing.assert_allclose(got, own_outputs(learner, task), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_integer_images_are_taken_as_numbers():
    def integers(index):
        task = IMAGES(index)
        halves = [((x * 20 + 100).astype("uint8"), y) for x, y in (task.support, task.query)]
        return type(task)(support=halves[0], query=halves[1], rows=task.rows)

    learner = trained(tasks=integers)
    x, y = check_arrays("support", *integers(4).support)
    whole = learner.adapt((x, y)).get_weights()
    floats = learner.adapt((x.astype("float32"), y)).get_weights()
    for a, b in zip(whole, floats, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.slow
def test_an_adapted_student_is_exported_in_int8_with_parity(tmp_path):
    learner = trained(policy=SPARSE_INT8, batch_norm="support", inner_steps=2)
    task = IMAGES(2)
    student = learner.adapt(task.support)
    # A student's export is that of what `finalize` makes of it, with the ranges it learned.
    kernel = finalize(student).get_layer("conv").kernel.numpy()
    assert np.mean(kernel == 0.0) == pytest.approx(0.5, abs=0.03)
    x = np.concatenate([task.support[0], task.query[0]])
    path = tmp_path / "student.tflite"
    report = export_litert(student, path, mode="int8", representative_dataset=x)
    assert report.stored_types["conv"] == report.stored_types["head"] == "int8"
    outputs, expected = LitertModel.open(path).predict(x), student.predict(x, verbose=0)
    assert np.abs(outputs - expected).max() < 0.05 * np.ptp(expected)
    assert np.mean(outputs.argmax(1) == expected.argmax(1)) > 0.9
