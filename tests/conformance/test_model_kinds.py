"""Every kind of model goes the whole way: compress, fit, save, load, finalize, export, parity."""

import keras
import numpy as np
import pytest

from tests.conformance.model_kinds import KINDS, NUM_SAMPLES, add_every_kind
from tests.small_models import fingerprint
from tf_metacompress import compress, export_litert, finalize
from tf_metacompress.anatomy import describe
from tf_metacompress.policy import Policy, Rule
from tf_metacompress.sparsity import measure_sparsity

add_every_kind()
POLICY = Policy([Rule("*", sparsity=0.5, weight_bits=8)])
MARKED = [pytest.param(name, marks=[pytest.mark.slow] * kind.slow) for name, kind in KINDS.items()]
every_kind = pytest.mark.parametrize("name", MARKED)


def flat(outputs):
    return [np.asarray(output, np.float32) for output in keras.tree.flatten(outputs)]


def assert_same(outputs, expected, atol=1e-5):
    for one, other in zip(flat(outputs), flat(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def trained_student(kind, model):
    student = compress(model, POLICY)
    student.compile(keras.optimizers.Adam(1e-3), kind.loss())
    x, y = kind.inputs(NUM_SAMPLES), kind.targets(NUM_SAMPLES)
    history = student.fit(x, y, epochs=1, batch_size=NUM_SAMPLES // 2, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    return student


def check_described(kind, model):
    infos = {info.name: info for info in describe(model)}
    assert set(kind.compressed) <= {name for name, info in infos.items() if info.compressible}
    assert {info.kind for info in infos.values() if not info.compressible} == set(kind.left)


def check_file(kind, plain, path):
    """The int8 file holds the zeros, in integers where the runtime computes in integers."""
    x = kind.inputs(NUM_SAMPLES)
    report = export_litert(plain, path, mode="int8", representative_dataset=x)
    assert report.parity.passed
    stored = report.stored_types
    assert {layer for layer in kind.compressed if layer not in stored} == set(kind.lost)
    warnings = " ".join(report.warnings)
    assert ("WHILE" in warnings) == bool(kind.looped)
    for entry in report.layers:
        if entry.layer in kind.compressed:
            operator = kind.stays_float.get(entry.layer)
            assert entry.stored == ("float32" if operator else "int8"), entry
            assert operator is None or operator in warnings
            assert entry.nonzero_share <= 0.51, entry


@every_kind
@pytest.mark.slow
def test_the_whole_way(name, tmp_path):
    kind = KINDS[name]
    model = kind.make()
    before = fingerprint(model)
    check_described(kind, model)
    student = trained_student(kind, model)
    assert fingerprint(model) == before
    x = kind.inputs(NUM_SAMPLES)
    expected = student(x)
    student.save(tmp_path / "student.keras")
    again = keras.models.load_model(tmp_path / "student.keras")
    assert_same(again(x), expected)
    plain = finalize(again)
    sparsity = measure_sparsity(plain).layers
    assert min(sparsity[layer] for layer in kind.compressed) >= 0.49
    check_file(kind, plain, tmp_path / "model.tflite")
