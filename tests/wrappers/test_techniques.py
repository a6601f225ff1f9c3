"""Every technique at once, a layer each: trained, saved, finalised and looked at."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_metacompress import compress, finalize
from tf_metacompress.callbacks import MetaCompress, PruningSchedule
from tf_metacompress.errors import InvalidArgumentError
from tf_metacompress.policy import LayerPlan, Policy, Rule
from tf_metacompress.wrappers import LayerCompressor

layers = keras.layers
X = np.random.default_rng(0).normal(size=(64, 16)).astype("float32")
Y = np.random.default_rng(1).integers(0, 16, 64)
PLANS = {
    "pairs": {"pattern": "2:4", "weight_bits": 8},
    "blocks": {"pattern": "block:4x2:max", "sparsity": 0.75, "weight_bits": 4},
    "threshold": {"threshold": 0.2, "weight_bits": 8},
    "random": {"score": "random", "sparsity": 0.5, "weight_bits": 32},
    "tensor": {"granularity": "per_tensor", "weight_bits": 5},
    "affine": {"quantizer": "affine", "weight_bits": 4},
    "log2": {"quantizer": "log2", "weight_bits": 4, "granularity": "per_tensor"},
    "codebook": {"quantizer": "codebook", "weight_bits": 3, "granularity": "per_tensor"},
    "sparse_codebook": {"quantizer": "codebook", "weight_bits": 4, "sparsity": 0.6},
    "mse": {"range_setting": "mse", "weight_bits": 3},
    "percentile": {"range_setting": "percentile", "weight_bits": 4, "sparsity": 0.3},
    "half": {"weight_bits": 16},
    "short_scale": {"quantizer": "short_scale", "weight_bits": 4},
}

pytestmark = pytest.mark.slow


def network(**kwargs):
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((16,))
    for name in PLANS:
        x = layers.Add()([x, layers.Dense(16, activation="relu", name=name, **kwargs)(x)])
    return keras.Model(inputs, x, name="network")


def policy():
    return Policy([Rule(name, activation_bits=32, **fields) for name, fields in PLANS.items()])


def compiled(model, run_eagerly=False):
    """A few steps of many small layers are sooner done eagerly than traced."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, run_eagerly=run_eagerly)
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A student trained along a schedule, the file of it, and the plain model of it."""
    student = compiled(compress(network(), policy()))
    schedule = PruningSchedule(begin_step=0, end_step=6, frequency=2)
    student.fit(X, Y, batch_size=16, epochs=3, verbose=0, callbacks=[schedule])
    path = tmp_path_factory.mktemp("student") / "student.keras"
    student.save(path)
    return student, path, finalize(student)


def kernel(model, name):
    return np.asarray(model.get_layer(name).kernel)


def lies_on(values, scale):
    """Whether float32 products of whole numbers with one scale, or its neighbours, give values."""
    near = [np.nextafter(np.float32(scale), np.float32(to)) for to in (0.0, scale, np.inf)]
    return any(np.array_equal(np.round(values / step) * step, values) for step in near)


def scale_of(values, levels):
    return np.abs(values).max() / np.float32(levels) if values.any() else 1.0


def test_every_kernel_is_computed_as_it_is_finalised(trained):
    student, _, final = trained
    by_path = {compressor.plan.layer: compressor for compressor in student.compressors}
    assert set(by_path) >= set(PLANS)
    for name in PLANS:
        np.testing.assert_array_equal(
            kernel(final, name), by_path[name].compressed_kernels()["kernel"]
        )


def test_a_loaded_student_finalises_to_the_same_bits(trained):
    student, path, final = trained
    again = keras.models.load_model(path)
    assert [v.name for v in again.variables] == [v.name for v in student.variables]
    for one, other in zip(finalize(again).variables, final.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_patterns_hold_in_the_plain_model(trained):
    student, _, final = trained
    pairs = kernel(final, "pairs").reshape(4, 4, 16)
    assert np.all((pairs != 0).sum(axis=1) <= 2) and (pairs != 0).mean() > 0.4
    blocks = kernel(final, "blocks").reshape(4, 4, 8, 2)
    assert ((blocks != 0).any(axis=(1, 3))).sum() == 8
    mask = next(c for c in student.compressors if c.plan.threshold).masks["kernel"].numpy()
    rest = np.abs(kernel(student.network, "threshold")) * mask
    assert rest[rest != 0].min() >= 0.2 and 0.1 < (rest == 0).mean() < 1.0
    assert np.all(kernel(final, "threshold")[mask == 0] == 0)
    assert (kernel(final, "random") == 0).mean() == 0.5
    assert (kernel(final, "sparse_codebook") == 0).mean() >= 154 / 256
    assert (kernel(final, "percentile") == 0).mean() >= 77 / 256


def test_quantised_kernels_lie_exactly_on_their_grids(trained):
    final = trained[2]
    for name, levels in (("pairs", 127), ("blocks", 7), ("threshold", 127), ("mse", 3)):
        assert all(lies_on(c, scale_of(c, levels)) for c in kernel(final, name).T), name
    for name in ("percentile", "short_scale"):
        assert all(lies_on(c, scale_of(c, 7)) for c in kernel(final, name).T), name
    assert lies_on(kernel(final, "tensor"), scale_of(kernel(final, "tensor"), 15))
    for column in kernel(final, "affine").T:
        assert any(lies_on(column, scale_of(column, levels)) for levels in range(7, 16))
        assert len(np.unique(column)) <= 16
    log2 = np.unique(np.abs(kernel(final, "log2")))
    assert np.all(np.log2(log2[log2 > 0]) % 1 == 0) and 4 <= len(log2) <= 8
    assert log2.max() / log2[log2 > 0].min() <= 64
    half = kernel(final, "half")
    np.testing.assert_array_equal(half, half.astype(np.float16))


def test_codebooks_hold_few_values_of_the_int8_grid(trained):
    final = trained[2]
    values = kernel(final, "codebook")
    assert 6 <= len(np.unique(values)) <= 8 and lies_on(values, scale_of(values, 127))
    for column in kernel(final, "sparse_codebook").T:
        assert len(np.unique(column)) <= 16 and lies_on(column, scale_of(column, 127))


@pytest.mark.parametrize("name", ["codebook", "mse"])
def test_a_range_or_a_codebook_follows_the_weights(name):
    layer = layers.Dense(4, use_bias=False, name="it")
    layer.build((None, 32))
    compressor = LayerCompressor(LayerPlan("it", **PLANS[name]), {"kernel": (1,)})
    compressor.attach({"it": layer})
    assert compressor.follows_schedule and not compressor.masks
    before = compressor.states["kernel"].quantizer_state.numpy()
    layer.kernel.assign(np.random.default_rng(0).standard_t(2, size=(32, 4)))
    compressor.update_masks()
    state = compressor.states["kernel"]
    assert np.any(state.quantizer_state.numpy() != before)
    expected = state.quantizer.make_state(tf.constant(layer.kernel.numpy()), state.grid)
    np.testing.assert_allclose(state.quantizer_state, expected, rtol=1e-6)


def test_a_growing_n_of_m_mask_keeps_its_groups():
    student = compress(network(), Policy([Rule("pairs", pattern="1:4")]))
    for fraction, kept in ((0.0, 4), (0.3, 3), (0.5, 2), (1.0, 1)):
        student.compressors[0].update_masks(fraction)
        mask = student.compressors[0].masks["kernel"].numpy().reshape(4, 4, 16)
        assert np.all(mask.sum(axis=1) == kept)
    student.compressors[0].update_masks(0.3)
    student.compressors[0].complete_masks()
    assert student.compressors[0].masks["kernel"].numpy().mean() == 0.25


@pytest.mark.parametrize("dtype", ["mixed_float16", "bfloat16"])
def test_techniques_work_under_every_dtype_policy(dtype):
    student = compiled(compress(network(dtype=dtype), policy()), run_eagerly=True)
    student.fit(X, Y, batch_size=32, epochs=1, verbose=0)
    final = finalize(student)
    assert np.isfinite(np.asarray(final(X), "float32")).all()
    pairs = kernel(final, "pairs").reshape(4, 4, 16)
    assert np.all((pairs != 0).sum(axis=1) <= 2)
    assert kernel(final, "pairs").dtype == network(dtype=dtype).get_layer("pairs").kernel.dtype


def test_the_callback_carries_out_the_same_policy_in_place():
    model = compiled(network(), run_eagerly=True)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0, callbacks=[MetaCompress(policy=policy())])
    assert (kernel(model, "random") == 0).mean() == 0.5
    assert len(np.unique(kernel(model, "codebook"))) <= 8
    assert np.all((kernel(model, "pairs").reshape(4, 4, 16) != 0).sum(axis=1) <= 2)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            Rule("pairs", weight_bits=8, activation_bits=4),
            "'pairs'.*activations of 8, 16 bits",
        ),
        (Rule("pairs", weight_bits=6, quantizer="log2"), "log2 weights of 2 to 4 bits"),
    ],
)
def test_what_the_device_lacks_is_refused_before_any_work(rule, message):
    model = network()
    before = [np.asarray(variable) for variable in model.variables]
    with pytest.raises(InvalidArgumentError, match=message):
        compress(model, Policy([rule]), device="android-arm64")
    with pytest.raises(InvalidArgumentError, match=message):
        compiled(model).fit(X, Y, verbose=0, callbacks=[MetaCompress(policy=Policy([rule]))])
    for variable, values in zip(model.variables, before, strict=False):
        np.testing.assert_array_equal(variable, values)
