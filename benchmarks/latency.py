"""Latency of ResNet-8, DS-CNN, MobileNetV1-0.25 and MobileNetV2-0.35 in every form, in turns.

python benchmarks/latency.py                       # random weights: about eight minutes
python benchmarks/latency.py --data FOLDER --cifar FILE.npz   # ResNet-8 and DS-CNN as trained,
                                                   # fine-tuned and scored: about half an hour more
python benchmarks/latency.py --quick --only ResNet-8          # to see that it runs

Rows: float32, float16, dynamic, int8, mixed, half of the channels in int8, and what is proposed for
half of the latency of the int8 file, by a table of layer latencies measured here; where data are
named more is allowed until no more than a point is lost on examples kept for that choice. Ratios
refer to the plain int8 file. FOLDER holds ic/ and kws/ of mlcommons/tiny, FILE.npz CIFAR-10. Files
are made first and kept; then those of a net are timed in turns. A run that was killed goes on where
it stopped. Nothing else should run on the machine while layers (--tables) and files are timed.
"""

import argparse
import dataclasses
import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

DEFAULT_OUT = Path(__file__).parent / "results/latency.json"
_BLOCKS, _RUNS, _QUICK_BLOCKS, _QUICK_RUNS = 21, 30, 3, 5


def _arguments(given):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds ic/ and kws/")
    parser.add_argument("--cifar", type=Path, help="an .npz file of CIFAR-10, for ResNet-8")
    parser.add_argument("--only", nargs="*", help="names of nets")
    parser.add_argument("--rows", nargs="*", help="names of rows beside int8")
    parser.add_argument("--quick", action="store_true", help="few turns, one epoch and fold")
    parser.add_argument("--epochs", type=int, help="of fine-tuning, if not those of the recipe")
    parser.add_argument("--folds", type=int, help="of DS-CNN's five, how many")
    parser.add_argument("--shares", type=float, nargs="*", help="of int8's time, the fastest first")
    parser.add_argument("--tables", action="store_true", help="measure layers, and stop")
    parser.add_argument("--made", action="store_true", help="time what has been made, no more")
    parser.add_argument("--work", type=Path, default=Path("build/latency"))
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="JSON; .md is put beside it")
    arguments = parser.parse_args(given)
    for path in (arguments.data, arguments.cifar):
        if path is not None and not path.exists():
            parser.error(f"There is no {path}.")
    return arguments


def subject_of(name, arguments):
    """The net, as trained where its data are named, else with random weights."""
    from latency_parts.networks import build, samples_for
    from latency_parts.rows import SHARES, Subject
    from reference.sources import keyword_spotter, resnet

    data, reference = arguments.data, None
    if name == "ResNet-8" and data and arguments.cifar:
        reference = resnet(data / "ic", arguments.cifar)
    elif name == "DS-CNN" and data:
        reference = keyword_spotter(data / "kws")
    model = build(name) if reference is None else reference.model
    if reference is not None:
        count = 1 if arguments.quick else arguments.folds
        reference = dataclasses.replace(reference, splits=reference.splits[:count])
    epochs = 1 if arguments.quick else arguments.epochs
    shares = tuple(arguments.shares or SHARES)
    return Subject(name, model, samples_for(model), reference, epochs, shares)


def table_of(subject, work):
    """Latencies of a net's layers on this host, measured once."""
    from tf_metacompress.deploy import measure_latencies
    from tf_metacompress.policy import LatencyTable

    path = work / "tables" / f"{subject.name}.json"
    if path.exists():
        return LatencyTable.load(path)
    table = measure_latencies(subject.model, cache=work / "layers")
    path.parent.mkdir(parents=True, exist_ok=True)
    table.save(path)
    return table


def _rows(subject, arguments):
    """Files of all rows; those that are there are not made again."""
    from latency_parts.rows import FASTEST, PLAIN, ROWS, make_row, score
    from quality.store import Store

    from tf_metacompress.anatomy import describe

    kind = "random" if subject.reference is None else "trained"
    kind += "-quick" if arguments.quick and subject.reference else ""
    store = Store(arguments.work / kind / "rows")
    folder = arguments.work / kind / "files" / subject.name
    folder.mkdir(parents=True, exist_ok=True)
    table, found = partial(table_of, subject, arguments.work), []
    for name in ROWS:
        if name == FASTEST and subject.reference is None:
            continue
        if arguments.rows and name not in (PLAIN, *arguments.rows):
            continue
        row = store.find(subject.name, name)
        if row is None and arguments.made:
            continue
        if row is None:
            made = make_row(name, subject, folder, table)
            row = {
                "name": name,
                "files": [str(file) for file in made.files],
                "file_bytes": made.files[0].stat().st_size,
                "macs": sum(info.macs for info in describe(made.model)),
                "note": made.note,
            }
            store.write(subject.name, name, row)
            print(f"{subject.name}: {name} made", flush=True)
        accuracy = score(subject, row["files"], "test") if subject.reference else None
        found.append({**row, "accuracy": accuracy})
    return found


def _num_scored(subject):
    """How many examples accuracies are of: those of all folds, each by the file of its fold."""
    return sum(len(split.test[1]) for split in subject.reference.splits) if subject.reference else 0


def _timed(rows, quick):
    """Adds latency and ratio to the first, of all files in turns."""
    from tf_metacompress.deploy import compare

    blocks, runs = (_QUICK_BLOCKS, _QUICK_RUNS) if quick else (_BLOCKS, _RUNS)
    result = compare([row["files"][0] for row in rows], num_blocks=blocks, runs_per_block=runs)
    timed = []
    for row, file in zip(rows, result.files, strict=True):
        told = {"p50_ms": file.p50_ms, "blocks_ms": list(file.blocks_ms), "ratio": file.ratio}
        told["ratio_interval"] = [file.ratio_low, file.ratio_high]
        timed.append({**{k: v for k, v in row.items() if k != "files"}, **told})
    return timed, result.machine.to_dict()


def main(given=None):
    """Makes what is missing, times all, writes JSON and Markdown."""
    arguments = _arguments(given)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from latency_parts.networks import NETWORKS
    from latency_parts.report import markdown

    from tf_metacompress.atomic import write_json, write_text

    document = {"quick": arguments.quick, "machine": None, "networks": {}}
    made = {}
    for name in arguments.only or NETWORKS:
        subject = subject_of(name, arguments)
        if arguments.tables:
            table_of(subject, arguments.work)
        else:
            made[name] = _rows(subject, arguments), _num_scored(subject)
    if arguments.tables:
        return document
    for name, (rows, num_scored) in made.items():
        timed, document["machine"] = _timed(rows, arguments.quick)
        document["networks"][name] = {"num_scored": num_scored, "rows": timed}
    write_json(arguments.out, document)
    text = markdown(document)
    write_text(arguments.out.with_suffix(".md"), text)
    print(text)
    return document


if __name__ == "__main__":
    main()
