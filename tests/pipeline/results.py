"""Made-up results, to test what is said of them."""

from dataclasses import replace

from tf_metacompress.pipeline import Outcome, Row
from tf_metacompress.policy import KernelInfo, LayerInfo, Policy, Rule

FLOAT = Row(
    name="float32",
    accuracy=0.99,
    file_bytes=100_000,
    gzip_bytes=90_000,
    sparsity=0.0,
    mean_weight_bits=32.0,
    parity_error=1e-6,
    relative_error=1e-6,
    tolerance=1e-4,
    warnings=(),
    file="float32.tflite",
)
BASELINE = replace(
    FLOAT,
    name="LAMP + int8",
    accuracy=0.95,
    file_bytes=30_000,
    gzip_bytes=9_000,
    sparsity=0.8,
    mean_weight_bits=8.0,
    relative_error=0.03,
    parity_error=0.05,
    tolerance=0.25,
    file="lamp-int8.tflite",
)
CHOSEN = replace(BASELINE, name="Φ adapted", accuracy=0.99, file="phi-adapted.tflite")


def timing(ratio, spread=0.02):
    return {"ratio": ratio, "ratio_low": ratio - spread, "ratio_high": ratio + spread}


def layer(name, kind="Dense", compressible=True, num_params=100):
    kernels = (KernelInfo(name="kernel", shape=(10, 10), channel_axis=(1,)),)
    return LayerInfo(
        name=name,
        kind=kind,
        kernels=kernels if compressible else (),
        num_params=num_params,
        macs=100,
        depth=0.5,
        stats=None,
        compressible=compressible,
        output_shape=(None, 10),
    )


def outcome(chosen=CHOSEN, baseline=BASELINE, ratios=(1.0, 0.5, 0.5), **changes):
    rows = (FLOAT, baseline, chosen)
    values = {
        "title": "a run",
        "rows": rows,
        "chosen": chosen.name,
        "policy": Policy([Rule("hidden", sparsity=0.8, weight_bits=8)], name="phi"),
        "infos": (layer("hidden"),),
        "latency": {
            "files": [timing(ratio) for ratio in ratios],
            "machine": {"cpu": "A Processor"},
        },
        "device": "android-arm64",
        "num_test": 400,
        "size_ratio": 0.1,
    }
    return Outcome(**{**values, **changes})
