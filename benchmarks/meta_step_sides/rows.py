"""One child process of benchmarks/meta_step.py: makes rows and runs blocks of them.

python rows.py SIDE reads lines [[variant, order, inner_steps], num_steps] and prints milliseconds.
"""

import json
import os
import sys
import time

import numpy as np

TASKS, WAYS, SHOTS, QUERIES, FILTERS = 4, 5, 1, 15, 32
INNER_LR, META_LR = 0.1, 1e-3


def make_batch(index):
    """Support and query arrays of one meta-batch of random tasks, channels last."""
    generator = np.random.default_rng(index)

    def half(num_examples):
        x = generator.random((TASKS, WAYS * num_examples, 28, 28, 1), np.float32)
        return x, np.tile(np.repeat(np.arange(WAYS), num_examples), (TASKS, 1))

    return (*half(SHOTS), *half(QUERIES))


def network(batch_norm=False):
    """The net under Keras."""
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for _ in range(4):
        if batch_norm:
            model.add(layers.Conv2D(FILTERS, 3, 2, padding="same", use_bias=False))
            model.add(layers.BatchNormalization())
            model.add(layers.ReLU())
        else:
            model.add(layers.Conv2D(FILTERS, 3, 2, padding="same", activation="relu"))
    model.add(layers.Flatten())
    model.add(layers.Dense(WAYS))
    return model


class Ours:
    """A learner of this package; `run` takes meta-steps through `fit`."""

    @staticmethod
    def prepare():
        """TensorFlow's own choice of threads: each operation is split over all cores."""

    def __init__(self, variant, order, inner_steps):
        import tensorflow as tf

        import tf_metacompress as tmc

        kind = tmc.meta.MAML if order == "second" else tmc.meta.FirstOrderMAML
        batch_norm = "BatchNorm" in variant
        policy = None
        if "int8" in variant:
            policy = tmc.Policy([tmc.Rule("*", weight_bits=8, sparsity=0.8)])
        self.learner = kind(
            network(batch_norm),
            inner_steps=inner_steps,
            inner_lr=INNER_LR,
            batch_norm="support" if batch_norm else "inference",
            policy=policy,
        ).compile(
            "adam",
            meta_batch_size=TASKS,
            jit_compile=variant == "XLA",
            pruning_schedule=tmc.schedules.ConstantSparsity(frequency=100),
        )
        self.eagerly = variant == "eager"
        self.set_eager = tf.config.run_functions_eagerly
        batches = [make_batch(index) for index in range(4)]
        self.tasks = [
            tmc.tasks.FewShotTask(support=(sx, sy), query=(qx, qy))
            for batch in batches
            for sx, sy, qx, qy in zip(*batch, strict=True)
        ]

    def run(self, num_steps):
        """Takes meta-steps."""
        self.set_eager(self.eagerly)
        learner = self.learner
        learner.fit(
            lambda index: self.tasks[index % len(self.tasks)],
            meta_steps=learner.meta_step + num_steps,
            steps_per_epoch=1000,
            verbose=0,
        )
        self.set_eager(False)


class OneThread(Ours):
    """The same, where each operation has one thread and different tasks run side by side."""

    @staticmethod
    def prepare():
        """Must be called before TensorFlow computes anything."""
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(os.cpu_count())


class Floor:
    """One plain forward and backward pass over as much arithmetic."""

    @staticmethod
    def prepare():
        """TensorFlow's own choice of threads."""

    def __init__(self, variant, order, inner_steps):
        import tensorflow as tf

        passes = 3 if order == "second" else 1
        num = TASKS * WAYS * (QUERIES + passes * inner_steps * SHOTS)
        self.x = tf.random.uniform((num, 28, 28, 1))
        self.y = tf.constant(np.arange(num) % WAYS)
        self.step = tf.function(self._step, jit_compile=variant == "XLA")
        self.model = network()

    def _step(self, x, y):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self.model(x)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, self.model.trainable_variables)

    def run(self, num_steps):
        """Takes passes, each waited for."""
        for _ in range(num_steps):
            self.step(self.x, self.y)[0].numpy()


class Torch:
    """The same learner written with torch.func, as its tutorials do."""

    @staticmethod
    def prepare():
        """Each row sets its threads."""

    def __init__(self, variant, order, inner_steps):
        import torch

        nn = torch.nn
        torch.manual_seed(0)
        blocks = []
        for channels in (1, FILTERS, FILTERS, FILTERS):
            blocks += [nn.Conv2d(channels, FILTERS, 3, 2, 1), nn.ReLU()]
        self.torch = torch
        self.num_threads = 1 if variant.endswith("one thread") else os.cpu_count()
        self.net = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4 * FILTERS, WAYS))
        self.inner_steps, self.first_order = inner_steps, order == "first"
        self.optimizer = torch.optim.Adam(self.net.parameters(), META_LR)
        self.gradient = torch.func.grad_and_value(
            self._mapped if variant.startswith("vmap") else self._looped
        )
        self.batches = [
            [torch.from_numpy(np.moveaxis(a, -1, 2) if a.ndim > 2 else a) for a in make_batch(i)]
            for i in range(4)
        ]
        self.count = 0

    def _loss(self, weights, x, y):
        outputs = self.torch.func.functional_call(self.net, weights, (x,))
        return self.torch.nn.functional.cross_entropy(outputs, y)

    def _task(self, weights, sx, sy, qx, qy):
        for _ in range(self.inner_steps):
            slopes = self.torch.func.grad(self._loss)(weights, sx, sy)
            if self.first_order:
                slopes = {name: slope.detach() for name, slope in slopes.items()}
            weights = {name: w - INNER_LR * slopes[name] for name, w in weights.items()}
        return self._loss(weights, qx, qy)

    def _mapped(self, weights, batch):
        in_dims = (None, 0, 0, 0, 0)
        return self.torch.func.vmap(self._task, in_dims)(weights, *batch).mean()

    def _looped(self, weights, batch):
        losses = [self._task(weights, *task) for task in zip(*batch, strict=True)]
        return self.torch.stack(losses).mean()

    def run(self, num_steps):
        """Takes meta-steps."""
        self.torch.set_num_threads(self.num_threads)
        for _ in range(num_steps):
            parameters = dict(self.net.named_parameters())
            weights = {name: p.detach() for name, p in parameters.items()}
            self.count += 1
            slopes, loss = self.gradient(weights, self.batches[self.count % len(self.batches)])
            for name, parameter in parameters.items():
                parameter.grad = slopes[name]
            self.optimizer.step()
            loss.item()


SIDES = {"ours": Ours, "one thread": OneThread, "torch": Torch, "floor": Floor}


def serve(side):
    """Makes a row, or runs a block of it, as each line that comes in says."""
    SIDES[side].prepare()
    rows = {}
    print("ready", flush=True)
    for line in sys.stdin:
        key, num_steps = json.loads(line)
        key = tuple(key)
        if key not in rows:
            rows[key] = SIDES[side](*key)
        start = time.perf_counter()
        rows[key].run(num_steps)
        print(1e3 * (time.perf_counter() - start) / num_steps, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
