"""Few-shot accuracy of every meta-learner, and of int8, 4-bit and sparse networks, on Omniglot.

python benchmarks/few_shot.py --data FOLDER           # FOLDER holds images_background_small*.zip
python benchmarks/few_shot.py --data FOLDER --quick   # two rows, a few minutes

Each row is written as soon as it is measured; a run that was interrupted goes on where it stopped.
Alphabets are split six to two: no character of a test alphabet is seen in training. Turned
characters are classes of their own in training. This is the small set of 242 characters, not the
964 + 659 of the published figures.
"""

import argparse
import json
import platform
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

import tf_metacompress as tmc
from tf_metacompress.meta.learners.evaluation import half_width

layers = keras.layers
TEST_ALPHABETS = ("Korean", "Early_Aramaic")
NUM_WAYS, NUM_QUERIES = 5, 15
POLICIES = {
    "int8": tmc.Policy([tmc.Rule("*", weight_bits=8)]),
    "4-bit weights": tmc.Policy([tmc.Rule("*", weight_bits=4)]),
    "int8, 80 % zeros": tmc.Policy(
        [tmc.Rule("conv_0", weight_bits=8), tmc.Rule("*", weight_bits=8, sparsity=0.8)]
    ),
}


@dataclass(frozen=True)
class Setting:
    """How one learner is trained and adapted."""

    learner: type
    arguments: dict = field(default_factory=dict)
    optimizer: str = "adam"
    meta_lr: float = 1e-2
    queries: int = 5
    test_steps: int = 3


SETTINGS = {
    "MAML": Setting(tmc.meta.MAML, {"inner_lr": 0.4}),
    "FOMAML": Setting(tmc.meta.FirstOrderMAML, {"inner_lr": 0.4}),
    "Reptile": Setting(
        tmc.meta.Reptile, {"inner_lr": 0.3, "inner_steps": 8}, "sgd", 1.0, queries=14, test_steps=20
    ),
    "ANIL": Setting(tmc.meta.ANIL, {"inner_lr": 0.4}),
    "Meta-SGD": Setting(tmc.meta.MetaSGD, {"inner_lr": 0.4}),
}


def network():
    """The net of the MAML paper for Omniglot: four strided convolutions and a linear head."""
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for index in range(4):
        model.add(layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name=f"conv_{index}"))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dense(NUM_WAYS))
    return model


class Data:
    """Samplers over the two halves of the alphabets."""

    def __init__(self, folder):
        zips = sorted(Path(folder).glob("images_background_small*.zip"))
        images = tmc.tasks.ImageFolder(zips, size=(28, 28), invert=True)
        self.train, self.test = tmc.tasks.split_classes(
            images, test_groups=TEST_ALPHABETS, group_of=lambda name: name.split("/")[0]
        )
        self.turned = tmc.tasks.RotatedClasses(self.train)

    def training(self, num_shots, num_queries=5):
        """Tasks to learn from."""
        return tmc.tasks.NWayKShot(self.turned, NUM_WAYS, num_shots, num_queries, seed=1)

    def testing(self, num_shots):
        """Tasks of alphabets that were not learned from."""
        return tmc.tasks.NWayKShot(self.test, NUM_WAYS, num_shots, NUM_QUERIES, seed=2)


def make(name, meta_steps, policy=None):
    """A compiled learner."""
    keras.utils.set_random_seed(0)
    setting = SETTINGS[name]
    learner = setting.learner(network(), batch_norm="support", policy=policy, **setting.arguments)
    decay = keras.optimizers.schedules.CosineDecay(setting.meta_lr, meta_steps, alpha=0.05)
    optimizer = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[setting.optimizer]
    return learner.compile(optimizer(decay))


class Benchmark:
    """The rows, measured one after the other."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.data = Data(arguments.data)
        self.results = {"machine": platform.machine()}
        if arguments.out.exists():
            self.results = json.loads(arguments.out.read_text("utf-8"))
        for shots in arguments.shots:
            steps = self.results.setdefault(f"meta-steps of {shots} shots", arguments.meta_steps)
            if steps != arguments.meta_steps:
                raise SystemExit(f"{arguments.out} holds rows of {steps} meta-steps.")

    def row(self, key, measure):
        """Measures a row unless it was measured before, and writes it down."""
        if key not in self.results:
            self.results[key] = measure()
            self.write()
        print(key, self.results[key], flush=True)

    def write(self):
        """Writes all rows, those of another process that measures other shots too."""
        out = self.arguments.out
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            self.results = {**json.loads(out.read_text("utf-8")), **self.results}
        part = out.with_suffix(f".{self.arguments.shots[0]}.part")
        part.write_text(json.dumps(self.results, indent=2) + "\n", "utf-8")
        part.replace(out)

    def trained(self, name, num_shots, label="float", policy=None):
        """A meta-trained learner, from its checkpoint if it has one."""
        steps = self.arguments.meta_steps
        learner = make(name, steps, policy)
        file = self.arguments.work / f"{name}-{label}-{num_shots}-{steps}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        learner.fit(
            self.data.training(num_shots, SETTINGS[name].queries),
            meta_steps=steps,
            steps_per_epoch=250,
            checkpoint=file,
            verbose=0,
        )
        return learner

    def simulated(self, learner, name, num_shots):
        """Accuracy of the Keras network over many test tasks."""
        score = learner.evaluate(
            self.data.testing(num_shots), self.arguments.tasks, SETTINGS[name].test_steps
        )
        return {"accuracy": score.accuracy, "interval": score.accuracy_interval}

    def learner_row(self, name, num_shots):
        """One learner in float."""
        start = time.perf_counter()
        learner = self.trained(name, num_shots)
        seconds = time.perf_counter() - start
        return {**self.simulated(learner, name, num_shots), "seconds": round(seconds)}

    def float_files(self, num_shots):
        """Float networks adapted and exported."""
        learner = self.trained("MAML", num_shots)
        return {"tflite": self.files(num_shots, lambda task: adapted(learner, task), "float32")}

    def afterwards(self, label, num_shots):
        """(a): meta-trained in float; then adapted and compressed, or compressed and adapted."""
        policy, mode = POLICIES[label], mode_of(label)
        learner = self.trained("MAML", num_shots)
        late = self.files(
            num_shots,
            lambda task: tmc.finalize(tmc.compress(adapted(learner, task), policy)),
            mode,
            policy if mode == "mixed" else None,
        )
        early = make("MAML", self.arguments.meta_steps, policy)
        for target, source in zip(early.network.weights, learner.network.weights, strict=True):
            target.assign(source)
        early.calibrate(self.data.training(num_shots))
        return {
            "adapted, then compressed": {"tflite": late},
            "compressed, then adapted": {
                **self.simulated(early, "MAML", num_shots),
                "tflite": self.files(num_shots, lambda task: adapted(early, task), mode),
            },
        }

    def inside(self, label, num_shots):
        """(b): meta-trained with the compression in the inner loop."""
        start = time.perf_counter()
        learner = self.trained("MAML", num_shots, label, POLICIES[label])
        seconds = time.perf_counter() - start
        return {
            **self.simulated(learner, "MAML", num_shots),
            "tflite": self.files(num_shots, lambda task: adapted(learner, task), mode_of(label)),
            "seconds": round(seconds),
        }

    def files(self, num_shots, adapt, mode, policy=None):
        """Accuracy of exported files over test tasks, and what making one costs."""
        sampler = self.data.testing(num_shots)
        path = self.arguments.work / f"adapted-{num_shots}.tflite"
        accuracies, seconds = [], []
        for index in range(self.arguments.files):
            task = sampler(index)
            start = time.perf_counter()
            model = adapt(task)
            seconds.append(time.perf_counter() - start)
            tmc.export_litert(
                model, path, mode=mode, representative_dataset=task.support[0], policy=policy
            )
            accuracies.append(file_accuracy(path, *task.query))
        return {
            "accuracy": float(np.mean(accuracies)),
            "interval": half_width(np.array(accuracies)),
            "num_tasks": len(accuracies),
            "median_seconds_to_adapt": float(np.median(seconds)),
            "file_bytes": path.stat().st_size,
        }


def adapted(learner, task):
    """The learner's model after the support set of a task."""
    return learner.adapt(task.support, SETTINGS["MAML"].test_steps)


def mode_of(label):
    """How a policy is stored."""
    return "mixed" if label == "4-bit weights" else "int8"


def file_accuracy(path, x, y):
    """Accuracy of a file under LiteRT, one example at a time."""
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    given, found = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    hits = 0
    for example, label in zip(x, y, strict=True):
        interpreter.set_tensor(given["index"], example[None].astype(given["dtype"]))
        interpreter.invoke()
        hits += int(np.argmax(interpreter.get_tensor(found["index"])[0]) == label)
    return hits / len(y)


def table(results):
    """The rows as Markdown."""
    lines = ["| learner, compression | shots | Keras, % | `.tflite`, % |", "|---|---|---|---|"]

    def add(name, shots, row):
        shown = [
            f"{100 * cell['accuracy']:.1f} ± {100 * cell['interval']:.1f}" if cell else ""
            for cell in (row if "accuracy" in row else None, row.get("tflite"))
        ]
        lines.append(f"| {name} | {shots} | {shown[0]} | {shown[1]} |")

    for key, row in results.items():
        if "|" not in key:
            continue
        name, shots = key.split("|")
        if "accuracy" in row or "tflite" in row:
            add(name, shots, row)
            continue
        for how, inner in row.items():
            add(f"{name}: {how}", shots, inner)
    return "\n".join(lines)


def main():
    """Measures what is missing, prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--meta-steps", type=int, default=3000)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--tasks", type=int, default=600)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("build/few_shot"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/few_shot.json")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.meta_steps, arguments.tasks, arguments.files = 300, 50, 10
        arguments.out, arguments.shots = arguments.work / "quick.json", [1]
    benchmark = Benchmark(arguments)
    labels = list(POLICIES)[:1] if arguments.quick else POLICIES
    for shots in arguments.shots:
        for name in ("MAML",) if arguments.quick else SETTINGS:
            benchmark.row(f"{name}|{shots}", partial(benchmark.learner_row, name, shots))
        benchmark.row(f"MAML, exported|{shots}", partial(benchmark.float_files, shots))
        for label in labels:
            for words, measure in (
                (f"MAML, then {label}", benchmark.afterwards),
                (f"MAML with {label} inside", benchmark.inside),
            ):
                benchmark.row(f"{words}|{shots}", partial(measure, label, shots))
    print(table(benchmark.results))


if __name__ == "__main__":
    main()
