"""What a file will hold of each layer, told from the plan alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_metacompress.policy import LayerInfo, LayerPlan, storage_notes, stored_form
from tf_metacompress.policy.stored_form import largest_level

CASES = [
    ("Dense", {"weight_bits": 4}, ("packed int4", "int8", True)),
    ("Dense", {"weight_bits": 2}, ("packed int4", "int8", True)),
    ("Dense", {"weight_bits": 5}, ("int8", "int8", True)),
    ("Dense", {"weight_bits": 4, "activation_bits": 16}, ("int8", "int16", True)),
    ("Dense", {"weight_bits": 8, "activation_bits": 32}, ("int8", "float32", True)),
    ("Dense", {"weight_bits": 3, "quantizer": "affine"}, ("packed int4", "int8", True)),
    ("Dense", {"weight_bits": 4, "quantizer": "affine"}, ("int8", "int8", True)),
    ("Dense", {"weight_bits": 8, "quantizer": "affine"}, ("int8", "int8", False)),
    ("Dense", {"weight_bits": 3, "quantizer": "log2"}, ("packed int4", "int8", True)),
    ("Dense", {"weight_bits": 4, "quantizer": "log2"}, ("int8", "int8", True)),
    ("Dense", {"weight_bits": 5, "quantizer": "log2"}, ("int8", "int8", False)),
    ("Dense", {"weight_bits": 4, "quantizer": "short_scale"}, ("packed int4", "int8", True)),
    ("Dense", {"weight_bits": 4, "quantizer": "codebook"}, ("int8", "int8", True)),
    ("Conv2D", {"weight_bits": 4}, ("int8", "int8", True)),
    ("DepthwiseConv2D", {"weight_bits": 8}, ("int8", "int8", True)),
    ("Conv2D", {"weight_bits": 16}, ("float16", "float32", True)),
    ("Conv2D", {}, ("float32", "float32", True)),
    ("Conv3D", {"weight_bits": 8}, ("float32", "float32", True)),
    ("LSTM", {"weight_bits": 8}, ("int8", "float32", True)),
]


@pytest.mark.parametrize(("kind", "fields", "expected"), CASES)
def test_the_form_of_a_layer(kind, fields, expected):
    form = stored_form(LayerPlan("layer", **fields), kind)
    assert (form.weights, form.activations, form.exact) == expected


@given(
    bits=st.integers(2, 8),
    quantizer=st.sampled_from(["symmetric", "affine", "log2", "codebook", "short_scale"]),
    kind=st.sampled_from(["Dense", "Conv2D", "LSTM", "Conv3D"]),
)
@settings(max_examples=25, deadline=None)
def test_what_is_exact_has_levels_that_the_type_holds(bits, quantizer, kind):
    plan = LayerPlan("layer", weight_bits=bits, quantizer=quantizer)
    form, level = stored_form(plan, kind), largest_level(plan)
    capacity = {"packed int4": 7, "int8": 127, "float32": float("inf")}[form.weights]
    assert form.exact == (form.weights == "float32" or (level is not None and level <= capacity))
    assert form.exact or form.notes


def test_equal_notes_are_one_sentence_that_names_its_layers():
    plans = [
        LayerPlan("a", weight_bits=4),
        LayerPlan("b", weight_bits=4),
        LayerPlan("head", weight_bits=4),
        LayerPlan("c", weight_bits=8, activation_bits=4),
        LayerPlan("free"),
    ]
    infos = [LayerInfo(name=name, kind="Conv2D") for name in ("a", "b", "c", "free")]
    notes = storage_notes(plans, [*infos, LayerInfo(name="head", kind="Dense")])
    assert len(notes) == 2
    assert notes[0].startswith("a, b: 4-bit weights take a byte each")
    assert notes[1].startswith("c: 4-bit activations are held in int8")


def test_plans_that_are_stored_as_asked_for_need_no_words():
    infos = [LayerInfo(name="a", kind="Conv2D"), LayerInfo(name="head", kind="Dense")]
    plans = [LayerPlan("a", weight_bits=8), LayerPlan("head", weight_bits=4)]
    assert storage_notes(plans, infos) == ()
