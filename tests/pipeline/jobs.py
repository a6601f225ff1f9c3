"""A small model and small data, so that a whole job takes seconds."""

import keras
import numpy as np

from tf_metacompress.pipeline import JobSettings, candidates, compress_file, load_npz
from tf_metacompress.policy import Policy, Rule

layers = keras.layers
SETTINGS = JobSettings(size_ratio=0.5, tuning_steps=2, inner_steps=1)


def save_data(path, classes=3, count=48):
    generator = np.random.default_rng(0)
    y = np.arange(count) % classes
    x = generator.normal(size=(count, 8, 8, 1)) + y[:, None, None, None]
    np.savez(path, x_train=x, y_train=y, x_test=x[::2], y_test=y[::2])
    return path


def save_model(path, *middle):
    keras.utils.set_random_seed(0)
    parts = [keras.Input((8, 8, 1)), layers.Flatten(name="flatten"), *middle]
    parts += [
        layers.Dense(48, activation="relu", name="hidden"),
        layers.Dense(3, activation="softmax", name="head"),
    ]
    keras.Sequential(parts, name="small").save(path)
    return path


def save_policy(path, pattern="*"):
    Policy([Rule(pattern, sparsity=0.5, weight_bits=8)], name="by hand").save(path)
    return path


class Timings:
    """Stands in for a comparison, which takes a second a file."""

    def __init__(self, paths, **options):
        self.paths = paths

    def to_dict(self):
        files = [
            {"path": str(path), "ratio": 1.0, "ratio_low": 0.9, "ratio_high": 1.1}
            for path in self.paths
        ]
        return {"files": files, "machine": {"cpu": "none"}}


def leave_out_training_and_timing(monkeypatch):
    """Makes a job quick: models stay as they are, files are not timed."""
    monkeypatch.setattr(candidates, "train", lambda model, *args, **kwargs: model)
    monkeypatch.setattr(candidates, "compare", Timings)


class Job:
    """A folder with a model, data and a policy by hand, and the job on them."""

    def __init__(self, folder, *middle):
        self.model = save_model(folder / "small.keras", *middle)
        self.data = save_data(folder / "data.npz")
        self.policy = save_policy(folder / "policy.json")
        self.out = folder / "out"
        self.lines = []

    def by_hand(self, **changes):
        """Settings that skip the search for a policy."""
        return JobSettings(**{"policy": str(self.policy), "tuning_steps": 2, **changes})

    def run(self, settings=None, stop_at=None):
        """Runs the job; raises KeyboardInterrupt when the stage `stop_at` begins."""
        self.lines = []

        def announce(line):
            self.lines.append(line)
            if stop_at and line.startswith(f"{stop_at} …"):
                raise KeyboardInterrupt

        data = load_npz(self.data)
        settings = settings or self.by_hand()
        return compress_file(self.model, data, self.out, settings, announce=announce, quiet=True)

    def began(self):
        """Names of the stages that ran, not those taken from an earlier run."""
        return [line.split(" …")[0] for line in self.lines if " …" in line]

    def files(self):
        """Name to contents of every file of the result."""
        return {path.name: path.read_bytes() for path in self.out.iterdir() if path.is_file()}
