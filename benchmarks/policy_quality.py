"""Which method makes the best policy for a model that it has never seen? Equal for all.

pip install ".[benchmarks]"
python benchmarks/policy_quality.py --quick            # 4 cases, 6 to 7 minutes on two cores
python benchmarks/policy_quality.py --phi phi.npz      # 48 cases or more, about two hours
python benchmarks/policy_quality.py --report           # the table of what is measured so far
python benchmarks/policy_quality.py --ratio 0.05 --tuning-steps 600 --out FILE.json

Models of the families that Φ does not learn from (inverted residuals and squeeze-excite, depthwise
and BatchNormalization in them) on Fashion-MNIST averaged down to 16x16 (digits where it cannot be
had, --data FILE.npz for another), budgets of 25, 10, 5 and 3 % of the gzipped float32 file, checked
on the exported file, two devices, two seeds. A file cannot become smaller than its scales, biases
and operators: the squeeze-excite models reach 3 %, the inverted residuals 5 %, and the last model
of each family and seed, a small one, 10 %; smaller budgets are left out. All methods see the same
model, budget, device, 512 training and 512 validation examples, choose among sparsities and 4 or 8
bits, and are fine-tuned by the same steps. The baselines choose their uniform width by the same
short trial that the searches evaluate with. The score is the accuracy of the exported int8 .tflite
under LiteRT on the whole test set.

Φ is judged zero-shot by the weights alone, zero-shot with the 512 training examples to read (the
loss with one layer compressed, no fine-tuning), and adapted, which tries five proposals; an
untrained Φ, with and without the same examples, shows what learning adds.

Each result is written as soon as it is measured; a run that was killed goes on where it stopped.
Intervals are paired bootstraps over models. Seconds are processor seconds with one thread.
"""

import argparse
import importlib.util
import multiprocessing
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, help="an .npz file instead of Fashion-MNIST")
    parser.add_argument("--phi", type=Path, help="a file of Φ; else the one that ships")
    parser.add_argument(
        "--phi-maml", type=Path, help="another file of Φ, meta-trained further by MAML"
    )
    parser.add_argument(
        "--devices-table", action="store_true", help="also policies made for the other device"
    )
    parser.add_argument(
        "--only", action="append", help="measure this method now, the others in a later run"
    )
    parser.add_argument(
        "--tuning-steps", type=int, help="of the fine-tuning; a run of its own, name its --out"
    )
    parser.add_argument("--ratio", type=float, help="only the cases of this budget")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--work", type=Path, default=Path("build/policy_quality"))
    parser.add_argument("--out", type=Path, help="JSON file; .md and .png are put beside it")
    parser.add_argument("--report", action="store_true", help="measure nothing more")
    return parser.parse_args()


def _check(arguments):
    if importlib.util.find_spec("optuna") is None and not arguments.report:
        raise SystemExit('This benchmark compares with Optuna: pip install ".[benchmarks]"')
    for path in (arguments.data, arguments.phi, arguments.phi_maml):
        if path is not None and not path.is_file():
            raise SystemExit(f"There is no file {path}.")
    if arguments.tuning_steps is not None and arguments.tuning_steps < 1:
        raise SystemExit(f"--tuning-steps must be 1 or more. Received: {arguments.tuning_steps}.")
    if (arguments.tuning_steps or arguments.ratio) and arguments.out is None:
        raise SystemExit("A run with --tuning-steps or --ratio needs a file of its own: --out.")


def _run_case(case, plan, folder, arguments):
    """Measures in a process of its own what a case lacks; gives its rows."""
    from quality.cases import DEVICES
    from quality.judge import measure
    from quality.methods import (
        ADAPTED,
        FOREIGN,
        INFORMED,
        WITH_MAML,
        ZERO_SHOT,
        Setup,
        methods_of,
        phi_identity,
    )
    from quality.models import halves, load_data, split_off, trained
    from quality.store import Store
    from quality.trial import clear

    clear()
    parent, store = os.getppid(), Store(folder / "rows")
    ours = phi_identity(arguments.phi)
    made_with = dict.fromkeys((ZERO_SHOT, INFORMED, ADAPTED, FOREIGN), ours)
    if arguments.phi_maml:
        made_with[WITH_MAML] = phi_identity(arguments.phi_maml)
    names = methods_of(case, plan, arguments.phi_maml is not None, arguments.devices_table)
    if arguments.only:
        names = [name for name in names if name in arguments.only]
    rows = {name: store.find(case.name, name, made_with.get(name, "")) for name in names}
    if arguments.report or all(rows.values()):
        return [row for row in rows.values() if row]
    data, validation = split_off(load_data(arguments.data), case.spec.seed)
    support, query = halves(data, validation, case.spec.seed)
    model, reference = trained(case.spec, plan, data, folder / "models")
    setup = Setup(model, DEVICES[case.device], support, query, case.spec.seed, plan.evaluations)
    setup.phi, setup.with_maml = arguments.phi, arguments.phi_maml
    # Named by process: one of a killed run may still be at work on the same case.
    scratch = folder / "rows" / case.name / f"{os.getpid()}.tflite"
    for name in names:
        if rows[name] is None:
            if os.getppid() != parent:
                raise SystemExit("The run was ended.")
            scratch.parent.mkdir(parents=True, exist_ok=True)
            rows[name] = measure(name, setup, reference, data, case, plan, scratch)
            store.write(case.name, name, rows[name], made_with.get(name, ""))
            scratch.unlink(missing_ok=True)
    return list(rows.values())


def _train_model(spec, plan, folder, arguments):
    from quality.models import load_data, split_off, trained

    data, _ = split_off(load_data(arguments.data), spec.seed)
    return trained(spec, plan, data, folder / "models")[1]


def _prepare(plan, arguments):
    """Folder of the run and its models, drawn in a process that ends."""
    from quality.models import draw_specs, load_data
    from quality.store import run_folder

    data = load_data(arguments.data)
    folder = run_folder(arguments.work, plan, data.fingerprint())
    return folder, draw_specs(plan, data, folder / "models.json")


def _call(job):
    function, *given = job
    return function(*given)


def _measured(pool, jobs, words):
    """Results of jobs as they end, with the time left."""
    begin, found = time.perf_counter(), []
    for index, result in enumerate(pool.imap_unordered(_call, jobs), start=1):
        found.append(result)
        passed = time.perf_counter() - begin
        left = passed / index * (len(jobs) - index) / 60
        print(f"{words} {index}/{len(jobs)}, {passed:.0f} s, {left:.0f} min left", flush=True)
    return found


def _estimate(rows, models):
    """What a full run costs, from the mean processor seconds of what was measured."""
    from quality.cases import FULL, make_cases
    from quality.methods import METHODS, methods_of

    costs = {}
    for name in METHODS:
        own = [r for r in rows if r["method"] == name and "judge_cpu_seconds" in r]
        if own:
            policy = sum(row["cpu_seconds"] for row in own) / len(own)
            each = sum(row["judge_cpu_seconds"] for row in own) / len(own)
            costs[name] = (policy, each)
            print(f"{name}: {policy:.1f} s for the policy, {each:.1f} s to judge it")
    specs = models[:1] * 14  # as many cases as 12 large and 4 small models have
    return costs, sum(
        sum(costs.get(name, (0.0, 0.0)))
        for case in make_cases(FULL, specs)
        for name in methods_of(case, FULL, with_maml=False, foreign=False)
    )


def main():
    """Measures what is missing, writes table, JSON and plots."""
    arguments = _arguments()
    _check(arguments)
    for name in _THREADS:
        os.environ[name] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    begin = time.perf_counter()
    from quality.cases import FULL, QUICK, make_cases

    plan = QUICK if arguments.quick else FULL
    if arguments.tuning_steps:
        plan = replace(plan, tuning_steps=arguments.tuning_steps)
    with multiprocessing.get_context("spawn").Pool(arguments.workers, maxtasksperchild=6) as pool:
        folder, specs = pool.apply(_prepare, (plan, arguments))
        if not arguments.report:
            _measured(pool, [(_train_model, s, plan, folder, arguments) for s in specs], "model")
        # The tightest budgets first: they tell the methods apart.
        cases = sorted(make_cases(plan, specs), key=lambda case: case.ratio)
        cases = [case for case in cases if arguments.ratio in (None, case.ratio)]
        jobs = [(_run_case, case, plan, folder, arguments) for case in cases]
        rows = [row for found in _measured(pool, jobs, "case") for row in found]
    if not rows:
        raise SystemExit(f"Nothing is measured in {folder} yet.")
    from quality.methods import load_phi, phi_identity
    from quality.report import build, markdown, publish

    name = arguments.phi.name if arguments.phi else "as shipped"
    used = f"{name}, {load_phi(arguments.phi)}"
    found = build(rows, plan, {"used": used, "sha256": phi_identity(arguments.phi)})
    results = Path(__file__).parent / "results/policy_quality.json"
    publish(found, arguments.out or (folder / "quick.json" if arguments.quick else results))
    print(markdown(found))
    full = _estimate(rows, specs)[1] / arguments.workers / 3600
    print(f"{time.perf_counter() - begin:.0f} s in all; a full run costs about {full:.1f} h.")


if __name__ == "__main__":
    main()
