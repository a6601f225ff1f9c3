"""Meta-train a compressor on two small models, then let it propose for a third."""

import tempfile
from pathlib import Path

import keras

import tf_metacompress as tmc
from tf_metacompress.pipeline import load_dataset
from tf_metacompress.tasks import split

layers = keras.layers
data = load_dataset("digits")


def trained(name, *hidden):
    model = keras.Sequential([keras.Input(data.input_shape), *hidden], name=name)
    model.add(layers.Dense(10, activation="softmax", name="head"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*data.train, epochs=8, verbose=0)
    return model


def convolution(filters, name):
    return layers.Conv2D(filters, 3, activation="relu", name=name)


dense = trained("dense", layers.Flatten(), layers.Dense(96, activation="relu", name="hidden"))
plain = trained("plain", convolution(16, "conv"), layers.Flatten())
unseen = trained("unseen", convolution(12, "conv1"), convolution(24, "conv2"), layers.Flatten())

support, query = split(*data.train, 0.5, seed=0)
budget = tmc.Budget(size_ratio=0.2)
tasks = [tmc.Task(model, budget, support=support, query=query) for model in (dense, plain)]
compressor = tmc.MetaCompressor()
history = compressor.fit(tasks, meta_steps=15, meta_batch_size=2)
print(f"query loss {history['query_loss'][0]:.3f} -> {history['query_loss'][-1]:.3f}")

path = Path(tempfile.mkdtemp()) / "phi.npz"
compressor.save(path)
compressor = tmc.MetaCompressor.load(path)

proposed = compressor.propose(unseen, budget, device="android-arm64")
adaptation = compressor.adapt(tmc.Task(unseen, budget, support=support, query=query))
print("loss left after a short fine-tuning:", dict(adaptation.trials))
for policy in (proposed, adaptation.policy):
    print(f"\n{policy.name} {dict(policy.provenance)}")
    for plan in policy.resolve(tmc.describe(unseen)):
        print(f"  {plan.layer:8s} {plan.sparsity:6.1%} zeros, {plan.weight_bits} bits")
