"""Channels really removed: multiply-accumulates, bytes and latency of ResNet-8 and MobileNetV1.

python benchmarks/channel_removal.py   # under five minutes on two cores

The weights are random: what is measured does not depend on them. Every smaller model is compared
with the masked one before it is exported, and timed in turns with the whole one.
"""

import argparse
import json
import tempfile
from pathlib import Path

import keras
import numpy as np
from latency_parts.networks import resnet8, shake

import tf_metacompress as tmc
from tf_metacompress.surgery import remove_channels

FRACTIONS = (0.0, 0.25, 0.5)
MODES = ("float32", "int8")


def mobilenet():
    """MobileNetV1 on 128 x 128 images."""
    return keras.applications.MobileNet((128, 128, 3), weights=None, classes=10)


NETWORKS = {"ResNet-8": resnet8, "MobileNetV1-128": mobilenet}


def measure(model, folder, num_blocks):
    """One row a fraction: counts, sizes, and latency as a ratio to the whole model."""
    samples = np.random.default_rng(1).normal(size=(16, *model.input_shape[1:])).astype("float32")
    rows, paths = [], {mode: [] for mode in MODES}
    for fraction in FRACTIONS:
        smaller, report = remove_channels(model, fraction, samples=samples)
        row = {
            "removed": fraction,
            "params": report.params_after,
            "macs": report.macs_after,
            "gap": report.gap if fraction else 0.0,
            "groups_cut": sum(g.channels_after < g.channels_before for g in report.groups),
            "groups_left": [str(group) for group in report.left],
        }
        for mode in MODES:
            path = Path(folder) / f"{mode}_{fraction}.tflite"
            exported = tmc.export_litert(smaller, path, mode=mode, representative_dataset=samples)
            sizes = exported.sizes
            row[mode] = {"file_bytes": sizes.file_bytes, "gzip_bytes": sizes.gzip_bytes}
            paths[mode].append(path)
        rows.append(row)
    for mode in MODES:
        result = tmc.compare(paths[mode], num_blocks=num_blocks)
        for row, file in zip(rows, result.files, strict=True):
            row[mode] |= {
                "p50_ms": file.p50_ms,
                "p50_ratio": file.ratio,
                "p50_ratio_interval": [file.ratio_low, file.ratio_high],
            }
    return rows, result.machine


def main(arguments=None):
    """Measures every network and writes the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--blocks", type=int, default=11)
    parser.add_argument("--out", default=Path(__file__).parent / "results/channel_removal.json")
    arguments = parser.parse_args(arguments)
    networks = {}
    for name in arguments.networks:
        keras.utils.set_random_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            networks[name], machine = measure(shake(NETWORKS[name]()), folder, arguments.blocks)
        for row in networks[name]:
            print(f"{name}, {row['removed']:.0%} removed: {row['macs'] / 1e6:.2f} M MACs")
            for mode in MODES:
                cost = row[mode]
                print(
                    f"  {mode:8s} {cost['file_bytes']:9,d} B, gzip {cost['gzip_bytes']:9,d} B, "
                    f"{cost['p50_ms']:.3f} ms, ratio {cost['p50_ratio']:.3f}"
                )
    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {"networks": networks, "machine": machine.to_dict()}
    out.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return document


if __name__ == "__main__":
    main()
