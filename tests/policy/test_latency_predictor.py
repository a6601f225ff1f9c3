"""Prices found again from latencies of a made-up device; prices of a device from ten of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.layers import layer
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.policy import Action, LatencyTable, fit_latency, layer_key
from tf_metacompress.policy.latency_terms import TERMS, UNITS, LayerShape

PRICES = dict(zip(TERMS, (0.004, 0.05, 0.02, 0.2, 900.0, 0.05, 0.02), strict=True))
MULTIPLES = {"matrix_int8": (64, 64), "matrix_float": (1, 16)}


def oracle_ms(entry):
    """Written apart from the code under test, for the three kinds used here."""
    (key, action), up = entry, lambda n, m: m * int(np.ceil(n / m))
    kind, kernel, _, output = key.split()
    kernel, output = ([int(n) for n in text.split("x")] for text in (kernel, output))
    size, form = (1, "int8") if action.weight_bits <= 8 else (4, "float")
    positions, *_, inputs, outputs = (int(np.prod(output[:-1])), *kernel)
    if kind == "DepthwiseConv2D":
        macs, moved = positions * 9 * inputs, 2 * positions * inputs * size
        price, own = PRICES[f"depthwise_{form}"], (1, 1)
    else:
        price, own = PRICES[f"matrix_{form}"], MULTIPLES[f"matrix_{form}"]
        area = int(np.prod(kernel[:-2]))
        macs = positions * area * up(inputs, own[0]) * up(outputs, own[1])
        moved = positions * (inputs + outputs) * size
    packed = kind == "Dense" and action.weight_bits <= 4
    stored = np.prod(kernel) * (0.5 if packed else size)
    rest = 900.0 + PRICES["activation_bytes"] * moved + PRICES["weight_bytes"] * stored
    return float(macs * price + rest) / 1e6


def random_entries(count, seed):
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        kind = rng.choice(["Conv2D", "DepthwiseConv2D", "Dense"])
        action = Action(weight_bits=int(rng.choice([4, 8, 32])))
        side = int(rng.choice([4, 8, 16, 32]))
        a, b = (int(rng.choice([8, 16, 24, 40, 64, 72, 100, 128])) for _ in range(2))
        keys = {
            "Dense": f"Dense {a}x{b} -> {b}",
            "Conv2D": f"Conv2D 3x3x{a}x{b} -> {side}x{side}x{b}",
            "DepthwiseConv2D": f"DepthwiseConv2D 3x3x{a}x1 -> {side}x{side}x{a}",
        }
        entry = keys[str(kind)], action
        found[entry] = oracle_ms(entry)
    return found


def table(entries, **fields):
    return LatencyTable(entries, device="made up", runtime="none", **fields)


def test_many_latencies_give_prices_and_multiples():
    predictor = fit_latency(table(random_entries(300, seed=0)))
    assert dict(predictor.multiples) | MULTIPLES == dict(predictor.multiples)
    errors = [predictor.predict(e) / ms - 1 for e, ms in random_entries(60, seed=1).items()]
    assert np.abs(errors).max() < 0.1


def test_ten_latencies_order_other_layers():
    predictor = fit_latency(table(random_entries(10, seed=3)))
    others = random_entries(60, seed=4)
    ranks = [
        np.argsort(np.argsort(v))
        for v in (list(others.values()), list(map(predictor.predict, others)))
    ]
    assert np.corrcoef(ranks)[0, 1] > 0.9


def test_measured_latencies_are_given_as_they_are_and_the_rest_is_filled():
    entries = random_entries(10, seed=5)
    errors = dict.fromkeys(entries, 1e-5)
    predictor = fit_latency(table(entries, errors=errors, overhead_ms=0.5, border_ms=0.25))
    assert all(predictor.predict(entry) == ms for entry, ms in entries.items())
    info = layer("new", "Conv2D", (3, 3, 20, 20), output_shape=(None, 9, 9, 20))
    full = predictor.fill([info], [Action(), Action(weight_bits=32)])
    assert full.lookup(info, Action()) == predictor.lookup(info, Action())
    assert len(full) == 12 and full.errors == errors
    assert (full.overhead_ms, full.border_ms) == (0.5, 0.25)


def test_a_latency_lost_in_noise_has_no_say():
    entries = random_entries(120, seed=6)
    wrong = {**entries, ("Dense 512x512 -> 512", Action()): 1e-6}
    errors = {("Dense 512x512 -> 512", Action()): 1.0}
    clean, noisy = fit_latency(table(entries)), fit_latency(table(wrong, errors=errors))
    for entry in random_entries(20, seed=7):
        assert noisy.predict(entry) == pytest.approx(clean.predict(entry), rel=0.05)


@given(seed=st.integers(0, 1000), unit=st.sampled_from(UNITS))
@settings(max_examples=10, deadline=None)
def test_prices_are_never_negative_and_more_work_never_costs_less(seed, unit):
    predictor = fit_latency(table(random_entries(8, seed)))
    assert min(predictor.prices.values()) >= 0.0
    bits = Action(weight_bits=8 if unit.endswith("int8") else 32)
    kind = "DepthwiseConv2D 3x3x{0}x1" if unit.startswith("depthwise") else "Conv2D 3x3x{0}x{0}"
    shapes = [LayerShape.of((f"{kind.format(c)} -> 8x8x{c}", bits)) for c in (8, 40, 200)]
    assert [shape.unit for shape in shapes] == [unit] * 3
    assert (np.diff(predictor._by_price(shapes)) >= 0.0).all()


@pytest.mark.parametrize(
    "entry",
    [
        ("Embedding 100x8 -> 5x8", Action()),
        ("LSTM 3x16 -> 7x4", Action()),
        ("Conv2DTranspose 2x2x8x16 -> ?x4x8", Action(weight_bits=16)),
        ("Conv1D 5x4x8 -> 20x8", Action(weight_bits=2)),
    ],
)
def test_other_kinds_have_a_latency_too(entry):
    assert 0.0 < fit_latency(table(random_entries(10, seed=8))).predict(entry) < 1.0


def test_what_is_no_table_is_refused():
    with pytest.raises(ArgumentTypeError, match="LatencyTable"):
        fit_latency({})
    with pytest.raises(InvalidArgumentError, match="at least one latency"):
        fit_latency(table({}))


def test_the_key_of_a_layer_is_read_back():
    info = layer("c", "Conv2D", (3, 5, 16, 24), output_shape=(None, 6, 7, 24))
    shape = LayerShape.of((layer_key(info), Action()))
    assert (shape.positions, shape.area, shape.inputs, shape.outputs) == (42, 15, 16, 24)
    assert (shape.weight_bytes, shape.activation_bytes) == (15 * 16 * 24, 42 * 40)
