"""Ten measured layers describe a device: predicted against measured latency of whole models.

python benchmarks/latency_prediction.py            # about six minutes on a quiet machine
python benchmarks/latency_prediction.py --quick    # two nets, two widths

Two devices that the predictor has not seen: this host, from the general prior, and the same host
without XNNPACK, whose kernels are others, from the prior fitted to this host. Held out are whole
models: four nets at four widths in float32 and int8. Every latency is kept as soon as it is
measured; a run that was killed goes on where it stopped.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent))

DEFAULT_OUT = Path(__file__).parent / "results/latency_prediction.json"
WIDTHS, FORMS = (1.0, 0.75, 0.5, 0.25), {"float32": 32, "int8": 8}
REFERENCE_LAYERS = (
    ("Conv2D", (3, 3, 16, 16), (24, 24, 16), 32),
    ("Conv2D", (3, 3, 16, 16), (24, 24, 16), 8),
    ("Conv2D", (3, 3, 96, 96), (6, 6, 96), 32),
    ("Conv2D", (3, 3, 96, 96), (6, 6, 96), 8),
    ("Conv2D", (1, 1, 24, 144), (12, 12, 144), 32),
    ("Conv2D", (1, 1, 24, 144), (12, 12, 144), 8),
    ("DepthwiseConv2D", (3, 3, 40, 1), (20, 20, 40), 32),
    ("DepthwiseConv2D", (3, 3, 40, 1), (20, 20, 40), 8),
    ("DepthwiseConv2D", (3, 3, 160, 1), (5, 5, 160), 8),
    ("Dense", (192, 48), (48,), 8),
)
"""Kind, kernel, output and bits; none of them is a layer of the nets."""


def reference_infos():
    """The reference layers as data, with the bits of each."""
    from tf_metacompress.policy import KernelInfo, LayerInfo

    found = []
    for kind, kernel, output, bits in REFERENCE_LAYERS:
        axis = (2, 3) if kind.startswith("Depthwise") else (len(kernel) - 1,)
        info = KernelInfo(name="kernel", shape=kernel, channel_axis=axis)
        layer = LayerInfo(
            name=f"{kind} {kernel}", kind=kind, kernels=(info,), output_shape=(None, *output)
        )
        found.append((layer, bits))
    return found


def measure_references(device, cache):
    """A table of the ten reference latencies."""
    from tf_metacompress.deploy import measure_latencies
    from tf_metacompress.policy import Action

    table = None
    for info, bits in reference_infos():
        action = Action(weight_bits=bits)
        one = measure_latencies([info], device=device, actions=[action], cache=cache, quiet=True)
        table = one if table is None else _joined(table, one)
    return table


def _joined(one, other):
    entries, errors = {**one.entries, **other.entries}, {**one.errors, **other.errors}
    return dataclasses.replace(one, entries=entries, errors=errors)


def held_out(name, widths, folder):
    """Every width and form of a net: its layers, and its file."""
    from latency_parts.networks import build, samples_for

    from tf_metacompress import export_litert
    from tf_metacompress.anatomy import compressible_layers
    from tf_metacompress.surgery import remove_channels

    model, found = build(name), []
    for width in widths:
        smaller = model
        if width < 1.0:
            smaller, _ = remove_channels(model, 1.0 - width, verify=False)
        infos = compressible_layers(smaller)
        for form, bits in FORMS.items():
            path = folder / f"{name}-{width}-{form}.tflite"
            if not path.exists():
                data = samples_for(smaller)
                options = {"mode": form, "tolerance": 1e9, "representative_dataset": data}
                export_litert(smaller, path, **options)
            found.append({"net": name, "width": width, "form": form, "bits": bits})
            found[-1] |= {"path": path, "infos": infos}
    return found


def measured_ms(rows, device, store):
    """Latency of the file of each row, in turns; known ones are not measured again."""
    from tf_metacompress.deploy.latency_turns import block_medians

    known = store.find(rows[0]["net"], device.name) or {"ms": {}}
    missing = [row for row in rows if row["path"].name not in known["ms"]]
    if missing:
        files = [row["path"].read_bytes() for row in missing]
        blocks = np.median(block_medians(device, files, num_threads=1), axis=1)
        named = zip(missing, blocks.tolist(), strict=True)
        known["ms"] |= {row["path"].name: value for row, value in named}
        store.write(rows[0]["net"], device.name, known)
    return [known["ms"][row["path"].name] for row in rows]


def judge(predictor, rows, latencies_ms):
    """How far predictions and measurements agree over all rows, and within a form."""
    from tf_metacompress.policy import Action

    predicted = np.array(
        [
            sum(predictor.lookup(info, Action(weight_bits=row["bits"])) for info in row["infos"])
            for row in rows
        ]
    )
    measured = np.array(latencies_ms)
    errors = np.abs(predicted / measured - 1.0)
    forms = np.array([row["form"] for row in rows])
    return {
        "rank_correlation": _spearman(predicted, measured),
        **{
            f"rank_correlation_{form}": _spearman(predicted[forms == form], measured[forms == form])
            for form in FORMS
        },
        "median_relative_error": float(np.median(errors)),
        "largest_relative_error": float(errors.max()),
        "predicted_ms": predicted.round(5).tolist(),
    }


def _spearman(one, other):
    return float(stats.spearmanr(one, other).statistic)


def evaluate(device, rows, store, cache, prior=None):
    """One device: fitted to ten layers, judged on whole models, beside counting MACs."""
    from tf_metacompress.policy import fit_latency

    table = measure_references(device, cache)
    nets = list(dict.fromkeys(row["net"] for row in rows))
    measured = []
    for net in nets:
        measured += measured_ms([row for row in rows if row["net"] == net], device, store)
    macs = [float(sum(info.macs for info in row["infos"])) for row in rows]
    predictor = fit_latency(table, prior)
    return {
        "device": table.device,
        "runtime": table.runtime,
        "num_references": len(table),
        "prices_ns": dict(predictor.prices),
        "multiples": {unit: list(pair) for unit, pair in predictor.multiples.items()},
        "fitted": judge(predictor, rows, measured),
        "rank_correlation_of_macs": _spearman(macs, measured),
        "models": [
            {"net": row["net"], "width": row["width"], "form": row["form"], "measured_ms": value}
            for row, value in zip(rows, measured, strict=True)
        ],
    }, predictor


def main(given=None):
    """Measures, judges, writes JSON and Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two nets, two widths")
    parser.add_argument("--work", type=Path, default=Path("build/latency_prediction"))
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    arguments = parser.parse_args(given)
    from latency_parts.networks import NETWORKS
    from latency_parts.prediction_report import markdown
    from quality.store import Store

    from tf_metacompress.atomic import write_json, write_text
    from tf_metacompress.deploy.devices import HostDevice

    nets = ("ResNet-8", "DS-CNN") if arguments.quick else tuple(NETWORKS)
    widths = (1.0, 0.5) if arguments.quick else WIDTHS
    folder, cache = arguments.work / "files", arguments.work / "layers"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for name in nets for row in held_out(name, widths, folder)]
    store, document, prior = Store(arguments.work / "models"), {"quick": arguments.quick}, None
    for device in (HostDevice(), HostDevice(xnnpack=False)):
        document[device.name], prior = evaluate(device, rows, store, cache, prior)
        shown = document[device.name]
        print(
            f"{device.name}: rank correlation {shown['fitted']['rank_correlation']:.3f} "
            f"(MACs {shown['rank_correlation_of_macs']:.3f}), median error "
            f"{shown['fitted']['median_relative_error']:.0%}, largest "
            f"{shown['fitted']['largest_relative_error']:.0%}, {len(rows)} models"
        )
    write_json(arguments.out, document)
    write_text(arguments.out.with_suffix(".md"), markdown(document))
    return document


if __name__ == "__main__":
    main()
