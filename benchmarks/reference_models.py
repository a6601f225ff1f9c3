"""The smallest and the fastest .tflite of MLPerf Tiny's ResNet-8 and DS-CNN that keep the target.

python benchmarks/reference_models.py --resnet FOLDER --cifar FILE.npz --kws FOLDER
python benchmarks/reference_models.py … --only DS-CNN   # one model; either may be left out
python benchmarks/reference_models.py … --report        # the table of what is measured so far
python benchmarks/reference_models.py … --time          # also p50 on this host, in turns

FOLDER of --resnet holds pretrainedResnet.keras and pretrainedResnet_quant.tflite, that of --kws
kws_ref_model.keras, kws_ref_model.tflite and kws01_mfcc_int8.npz, from mlcommons/tiny and EEMBC.
FILE.npz holds x_train, y_train, x_test and y_test of CIFAR-10.

Each row makes a policy for a limit of bytes after gzip, fine-tunes the trained Keras model under it
in a plain `fit` with `MetaCompress` and `Distillation` from the float model, exports int8, slim and
with packed 4-bit dense layers ("packed all": convolutions too), and runs the file on the test data.
The trained Keras model is kept beside each file. A row is written as soon as it is measured; a run
that was killed goes on where it stopped. About an hour of one core.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def _arguments(given):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resnet", type=Path, help="folder of ResNet-8")
    parser.add_argument("--cifar", type=Path, help="an .npz file of CIFAR-10")
    parser.add_argument("--kws", type=Path, help="folder of DS-CNN")
    parser.add_argument("--only", choices=("ResNet-8", "DS-CNN"))
    parser.add_argument("--match", default="", help="measure only rows with this in their name")
    parser.add_argument("--report", action="store_true", help="measure nothing more")
    parser.add_argument("--time", action="store_true", help="time the best files, in turns")
    parser.add_argument("--work", type=Path, default=Path("build/reference_models"))
    default = Path(__file__).parent / "results/reference_models.json"
    parser.add_argument("--out", type=Path, default=default, help="JSON; .md is put beside it")
    arguments = parser.parse_args(given)
    if (arguments.resnet is None) != (arguments.cifar is None):
        parser.error("--resnet and --cifar go together.")
    if arguments.resnet is None and arguments.kws is None:
        parser.error("Name the data of at least one model: --resnet and --cifar, or --kws.")
    for path in (arguments.resnet, arguments.cifar, arguments.kws):
        if path is not None and not path.exists():
            parser.error(f"There is no {path}.")
    return arguments


def _references(arguments):
    from reference.sources import keyword_spotter, resnet

    found = []
    if arguments.resnet and arguments.only != "DS-CNN":
        found.append(resnet(arguments.resnet, arguments.cifar))
    if arguments.kws and arguments.only != "ResNet-8":
        found.append(keyword_spotter(arguments.kws))
    return found


def files_of(work, reference, name):
    """Where the files of a row lie, one a split."""
    from tf_metacompress.pipeline.candidates import slug

    folder = work / "files" / reference.name
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / f"{slug(name)}_{i}.tflite" for i in range(len(reference.splits))]


def _row(store, trial, reference, arguments):
    """The row of a trial, measured where it is missing; None where it may not be measured."""
    from quality.methods import phi_identity
    from reference.measure import measure_row

    made_with = phi_identity(None) if trial.method.startswith("Φ") else ""
    row = store.find(trial.reference, trial.name, made_with)
    files = files_of(arguments.work, reference, trial.name)
    if row is None and arguments.match in trial.name and not arguments.report:
        row = measure_row(
            reference,
            trial.method,
            trial.limit_kib * 1024,
            trial.width,
            trial.recipe,
            files,
        )
        row["name"] = trial.name
        store.write(trial.reference, trial.name, row, made_with)
        print(f"{trial.reference}: {trial.name}: {row['accuracy']:.4f}", flush=True)
        print(f"  gzip {row['gzip_bytes']:,} B, file {row['file_bytes']:,} B", flush=True)
    return row


def _once(store, reference, name, make, wanted=True):
    found = store.find(reference.name, name)
    if found is None and wanted:
        found = make()
        store.write(reference.name, name, found)
    return found


def _speed(row):
    return row["width"], row.get("packed", "dense")


def _timed(reference, rows, work):
    """p50 of the reference file and of the best row of each width and packing, in turns.

    Sparsity and bits do not change the time of an int8 file; channels and packed convolutions do.
    """
    from tf_metacompress.deploy import compare

    kept = [row for row in rows if files_of(work, reference, row["name"])[0].exists()]
    best = {_speed(row): row for row in sorted(kept, key=lambda row: row["accuracy"])}
    names = [best[speed]["name"] for speed in sorted(best, reverse=True)]
    files = [files_of(work, reference, name)[0] for name in names]
    result = compare([reference.file, *files]).to_dict()
    for entry in result["files"]:
        entry["path"] = Path(entry["path"]).name
    return {**result, "names": ["reference file", *names]}


def _part(reference, rows, store, arguments, timed):
    latency = f"latency of {len(rows)} rows"
    return {
        "name": reference.name,
        "target": reference.target,
        "caveat": reference.caveat,
        "reference": _once(store, reference, "the reference file", reference.measured),
        "rows": rows,
        "latency": _once(
            store,
            reference,
            latency,
            lambda: _timed(reference, rows, arguments.work),
            wanted=timed and bool(rows),
        ),
    }


def _publish(references, rows, store, arguments, timed=False):
    from reference.report import build, publish

    parts = [_part(r, rows[r.name], store, arguments, timed) for r in references]
    return publish(build(parts), arguments.out)


def main(given=None):
    """Measures what is missing; writes JSON and Markdown after each row."""
    arguments = _arguments(given)
    for name in _THREADS:
        os.environ[name] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from quality.store import Store
    from reference.trials import TRIALS

    store, references = Store(arguments.work / "rows"), _references(arguments)
    rows = {reference.name: [] for reference in references}
    for trial in TRIALS:
        reference = next((r for r in references if r.name == trial.reference), None)
        row = reference and _row(store, trial, reference, arguments)
        if row:
            rows[reference.name].append(row)
            _publish(references, rows, store, arguments)
    if not any(rows.values()):
        raise SystemExit(f"Nothing is measured in {arguments.work} yet.")
    print(_publish(references, rows, store, arguments, timed=arguments.time))


if __name__ == "__main__":
    main()
