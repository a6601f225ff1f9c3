"""What is said of a policy before training."""

import pytest

from tests.small_models import conv_net, fingerprint, images
from tf_metacompress import compress, export_litert, finalize, summary
from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.policy import Policy, Rule

POLICY = Policy(
    [
        Rule("conv", sparsity=0.5, weight_bits=4),
        Rule("separable", threshold=0.1, weight_bits=16),
        Rule("head", sparsity=0.5, weight_bits=4),
    ]
)


def test_each_layer_has_a_row_and_each_surprise_a_note():
    model = conv_net()
    before = fingerprint(model)
    lines = str(summary(model, POLICY)).splitlines()
    assert lines[0].split() == [
        "layer",
        "kind",
        "pattern",
        "weights",
        "zeros",
        "bits",
        "results",
        "stored",
        "as",
    ]
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:6]}
    assert rows["conv"] == ["Conv2D", "unstructured", "36", "50%", "4", "8", "int8"]
    assert rows["depthwise"] == ["DepthwiseConv2D", "72", "32", "32", "float32"]
    assert rows["separable"][2:] == ["120", "|w|", "<", "0.1", "16", "8", "float16"]
    assert rows["head"][-3:] == ["8", "packed", "int4"]
    notes = " ".join(" ".join(lines[6:]).split())
    assert "conv: 4-bit weights take a byte each" in notes
    assert "depthwise" in notes and "stays as it is" in notes
    assert max(map(len, lines)) <= 100
    assert fingerprint(model) == before


def test_a_file_holds_what_the_summary_says(tmp_path):
    model = conv_net()
    policy = Policy([Rule("conv", weight_bits=4), Rule("head", weight_bits=4)])
    said = {form.layer: form.weights for form in summary(model, policy).stored}
    report = export_litert(
        finalize(compress(model, policy)),
        tmp_path / "model.tflite",
        mode="mixed",
        policy=policy,
        representative_dataset=images(4)[0],
    )
    stored = {entry.layer: entry.stored for entry in report.layers}
    assert said["conv"] == "int8" == stored["conv"]
    assert said["head"] == "packed int4" and stored["head"] == "int4"
    assert said["depthwise"] == "float32" == stored["depthwise"]


def test_bad_input_is_an_error():
    with pytest.raises(ArgumentTypeError, match="policy"):
        summary(conv_net(), [Rule("conv")])
    with pytest.raises(InvalidArgumentError, match="fits no layer"):
        summary(conv_net(), Policy([Rule("nothing")]))
