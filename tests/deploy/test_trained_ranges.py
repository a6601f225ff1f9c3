"""The activation ranges of a student are those of its file, tensor by tensor."""

import keras
import numpy as np
import pytest

from tests import small_models
from tests.small_models import randomize
from tf_metacompress import Policy, Rule, compress, finalize
from tf_metacompress.deploy import LitertModel, export_litert

layers = keras.layers
EIGHT_BITS = Policy([Rule("*", weight_bits=8)])


def trained(model, x, batches=3):
    student = compress(model, EIGHT_BITS)
    for _ in range(batches):
        student(x, training=True)
    return student


def exported(student, path, x, mode="int8"):
    report = export_litert(student, path, mode=mode, representative_dataset=x)
    return report, LitertModel.open(path, trusted=True, keep_tensors=True)


def expected_scales(student):
    scales = {}
    for compressor in student.compressors:
        learned = compressor.output_range
        if learned is not None:
            low, high = float(learned.range_min), float(learned.range_max)
            scales[compressor.plan.layer] = (max(high, 0.0) - min(low, 0.0)) / 255
    return scales


NETS = {
    "conv": (small_models.conv_net, (8, 8, 1)),
    "residual": (small_models.residual_net, (6, 6, 2)),
    "nested": (small_models.nested_net, None),
    "dense": (small_models.dense_net, (12,)),
}


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.slow
def test_every_trained_range_is_in_the_file(kind, tmp_path):
    model = NETS[kind][0]()
    x = np.random.default_rng(0).random((24, *model.input_shape[1:])).astype("float32")
    student = trained(model, x)
    report, opened = exported(student, tmp_path / "m.tflite", x)
    expected = expected_scales(student)
    fixed = {"tanh"} & set(expected)
    assert set(report.ranges.other) == fixed
    assert set(report.ranges.used) == set(expected) - fixed
    scales = [t.scales[0] for t in opened.file.main.tensors if t.type == "int8" and t.scales.size]
    for layer in report.ranges.used:
        assert np.isclose(scales, expected[layer], rtol=1e-6).any()


def test_the_file_clips_where_the_student_clips(tmp_path):
    x = np.random.default_rng(0).normal(size=(24, 12)).astype("float32")
    student = trained(small_models.dense_net(), x)
    wide = 3.0 * x
    path = tmp_path / "m.tflite"
    report, opened = exported(student, path, wide)
    assert report.parity.relative_error < 0.02
    np.testing.assert_allclose(opened.predict(wide), student(wide, training=False), atol=0.02)
    from_final = export_litert(finalize(student), path, mode="int8", representative_dataset=wide)
    assert from_final.ranges.used == ()
    other = LitertModel.open(path, trusted=True).predict(wide)
    assert np.abs(other - student(wide, training=False)).max() > 0.05


def test_inner_tensors_agree_with_keras_to_one_step(tmp_path):
    """Layer by layer: what Keras makes of the file's own input to the layer."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, name="first")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(5, 3, strides=2, activation="relu", name="second")(x)
    x = layers.Dense(4, name="head")(layers.Flatten(name="flat")(x))
    images = (np.random.default_rng(1).integers(0, 256, (16, 8, 8, 3)) / 255).astype("float32")
    images[0].flat[:2] = 0.0, 1.0
    student = trained(randomize(keras.Model(inputs, x)), images)
    _, opened = exported(student, tmp_path / "m.tflite", images)
    scales, final = expected_scales(student), finalize(student)
    tensors = opened.run_all(images)
    ops = [op for op in opened.file.main.ops if op.name in ("CONV_2D", "FULLY_CONNECTED")]
    names = [opened.file.main.tensors[op.outputs[0]].name for op in ops]
    sources = [opened.file.main.tensors[op.inputs[0]].name for op in ops]
    chains = [("first", "norm", "relu"), ("second",), ("head",)]
    for chain, source, name in zip(chains, sources, names, strict=True):
        value = tensors[source][:, 0]
        for layer in chain:
            value = np.asarray(final.get_layer(layer)(value))
        learned = next(c.output_range for c in student.compressors if c.plan.layer == chain[-1])
        value = np.asarray(learned(value, training=False))
        steps = np.abs(tensors[name].reshape(value.shape) - value) / scales[chain[-1]]
        assert steps.max() < 1.01


def averaged():
    """Means of neighbours, which the file holds on the grid of what they are means of."""
    parts = [
        keras.layers.Conv2D(4, 1, name="conv"),
        keras.layers.AveragePooling2D(4, name="means"),
        keras.layers.Flatten(name="flat"),
        keras.layers.Dense(3, "softmax", name="head"),
    ]
    return small_models.randomize(keras.Sequential([keras.Input((8, 8, 1)), *parts]))


def test_a_result_that_has_the_range_of_another_is_named(tmp_path):
    x = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("float32")
    report, _ = exported(trained(averaged(), x), tmp_path / "m.tflite", x)
    assert report.ranges.other == ("means",)
    assert report.ranges.used == ("conv",)
    assert any(
        "means" in text and "other ranges than those of training" in text
        for text in report.warnings
    )


def test_a_joined_result_has_the_range_of_the_join_unless_it_is_read_elsewhere(tmp_path):
    inputs = keras.Input((8, 8, 1))
    small = keras.layers.Conv2D(4, 1, name="small")(inputs)
    large = keras.layers.Conv2D(4, 1, name="large")(inputs)
    joined = keras.layers.Concatenate(name="join")([small, large])
    last = keras.layers.Conv2D(4, 1, name="last")(joined)
    total = keras.layers.Flatten()(keras.layers.Add(name="sum")([last, small]))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(total))
    x = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("float32")
    student = trained(small_models.randomize(model), x)
    report, _ = exported(student, tmp_path / "m.tflite", x)
    assert (set(report.ranges.used), report.ranges.other) == ({"small", "join", "last", "sum"}, ())


def test_a_student_that_has_not_been_trained_is_measured(tmp_path):
    x = np.random.default_rng(0).normal(size=(24, 12)).astype("float32")
    student = compress(small_models.dense_net(), EIGHT_BITS)
    report, _ = exported(student, tmp_path / "m.tflite", x)
    assert report.ranges.used == report.ranges.other == ()
    assert report.parity.relative_error < 0.05


def test_results_that_stay_in_float32_are_in_neither_list(tmp_path):
    x = np.random.default_rng(0).normal(size=(24, 12)).astype("float32")
    student = trained(small_models.dense_net(), x)
    report = export_litert(
        student,
        tmp_path / "m.tflite",
        mode="mixed",
        policy=Policy(),
        representative_dataset=x,
    )
    assert report.ranges.used == report.ranges.other == ()
    assert set(report.stored_types.values()) == {"float32"}


def test_trained_ranges_serve_16_bit_activations_too(tmp_path):
    x = np.random.default_rng(0).normal(size=(24, 12)).astype("float32")
    student = trained(small_models.dense_net(), x)
    report, _ = exported(student, tmp_path / "m.tflite", x, mode="int16x8")
    assert report.ranges.used and not report.ranges.other


def test_what_only_a_concatenate_reads_shares_its_range(tmp_path):
    x = {name: np.random.default_rng(0).random((24, 5)).astype("float32") for name in "ab"}
    inputs = {name: keras.Input((5,), name=name) for name in "ab"}
    parts = [layers.Dense(4, name=f"from_{name}")(inputs[name]) for name in "ab"]
    joined = layers.Concatenate(name="joined")(parts)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="head")(joined)))
    student = trained(model, x)
    report, opened = exported(student, tmp_path / "m.tflite", x)
    assert {"joined", "head"} <= set(report.ranges.used)
    concat = next(op for op in opened.file.main.ops if op.name == "CONCATENATION")
    scales = {
        opened.file.main.tensors[index].scales[0] for index in (*concat.inputs, *concat.outputs)
    }
    assert len(scales) == 1
    assert report.parity.relative_error < 0.02
