"""What each model of the zoo is: family, source, variant and seed, all from one number."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tf_metacompress.errors import check_choice, check_fraction, invalid
from tf_metacompress.pipeline.datasets import Dataset
from tf_metacompress.pipeline.zoo.families import takes
from tf_metacompress.pipeline.zoo.split import SPLITS, families_of, split_of_source
from tf_metacompress.tasks import ClassSubset, Contrast, Noise, Rotation, Variant, split
from tf_metacompress.typing import ArrayPair

MOST_TO_TRAIN, MOST_TO_TASK = 4096, 512
_LARGE = 1000
_TO_TRAIN = 0.6


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """Gives some examples a label drawn among those present.

    Attributes:
        fraction: Share of the examples, in (0, 1).
    """

    fraction: float

    def __post_init__(self) -> None:
        """Checks the share."""
        check_fraction("fraction", self.fraction)

    def __call__(self, x: np.ndarray, y: np.ndarray, seed: int) -> ArrayPair:
        """Gives the examples as they are, and new labels."""
        generator = np.random.default_rng(seed)
        drawn = generator.choice(np.unique(y), len(y)).astype(y.dtype)
        return x, np.where(generator.random(len(y)) < self.fraction, drawn, y)


VARIANTS: Mapping[str, Variant] = {
    "as-is": lambda x, y, seed: (x, y),
    "classes": ClassSubset(num_ways=6),
    "rotation": Rotation(degrees=25.0),
    "noise": Noise(stddev=0.15),
    "contrast": Contrast(lower=0.4, upper=0.8),
    "label-noise": lambda x, y, seed: (x, y),
}
LABEL_NOISE = LabelNoise(fraction=0.15)
"""Only what a model is trained on has wrong labels; what judges it has the right ones."""
_OF_SERIES = ("as-is", "noise", "label-noise")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model of the zoo, before it is trained.

    Attributes:
        index: Its number within its split.
        split: "train" or "test".
        family: Family of its architecture.
        source: Name of its data.
        variant: Name of the variant of its data.
        architecture: Seed of its architecture and first weights; models may share it.
        seed: Seed of its data and training.
    """

    index: int
    split: str
    family: str
    source: str
    variant: str
    architecture: int
    seed: int

    @property
    def name(self) -> str:
        """Such as "train-003-residual-digits-noise", the stem of its files."""
        words = (self.split, f"{self.index:03d}", self.family, self.source, self.variant)
        return "-".join((*words, str(self.seed)))


@dataclass(frozen=True, eq=False)
class Shares:
    """The examples of an entry.

    Attributes:
        train: What the model is trained on.
        support: What tasks adapt on.
        query: What tasks are judged on.
        num_classes: Outputs of the model.
    """

    train: ArrayPair
    support: ArrayPair
    query: ArrayPair
    num_classes: int


def plan_entries(
    split_name: str, count: int, sources: Mapping[str, Dataset], seed: int, sharing: int = 1
) -> tuple[Entry, ...]:
    """Decides what the models of a split are; more models begin with the same ones.

    Families take turns, so do the sources that a family can take and their variants.

    Args:
        split_name: "train" or "test".
        count: How many.
        sources: Name to data.
        seed: Seed of the zoo.
        sharing: Models that share an architecture and a source, and differ in the variant.

    Returns:
        The entries.

    Raises:
        InvalidArgumentError: If no source of the split is there.
    """
    check_choice("split", split_name, SPLITS)
    named = {name: data for name, data in sources.items() if split_of_source(name) == split_name}
    pairs = {
        family: names
        for family in families_of(split_name)
        if (names := [n for n, data in named.items() if takes(family, data.input_shape)])
    }
    if not pairs:
        raise invalid(
            f"There is no data of the {split_name} split.",
            "fashion_mnist is for judging, everything else for training.",
            sources=sorted(sources),
        )
    draw = _Draw(split_name, pairs, named, seed, sharing)
    return tuple(draw(index) for index in range(count))


@dataclass(frozen=True)
class _Draw:
    """Decides what the model of a number is."""

    split: str
    pairs: Mapping[str, Sequence[str]]
    sources: Mapping[str, Dataset]
    seed: int
    sharing: int

    def __call__(self, index: int) -> Entry:
        families = list(self.pairs)
        turn, place = divmod(index, len(families))
        group, member = divmod(turn, self.sharing)
        names = self.pairs[families[place]]
        source = names[(group + place) % len(names)]
        kinds = list(VARIANTS if len(self.sources[source].input_shape) == 3 else _OF_SERIES)
        key = [self.seed, zlib.crc32(self.split.encode()), place, group]
        of_group = np.random.default_rng(key)
        return Entry(
            index=index,
            split=self.split,
            family=families[place],
            source=source,
            variant=kinds[(of_group.integers(len(kinds)) + member) % len(kinds)],
            architecture=int(of_group.integers(2**31)),
            seed=int(np.random.default_rng([*key, member]).integers(2**31)),
        )


def shares(entry: Entry, data: Dataset) -> Shares:
    """Divides the examples of an entry's variant.

    A large source gives disjoint training, support and query examples. Of a small one the support
    examples are the training examples, and the query examples its test set.

    Args:
        entry: The entry.
        data: Its source.

    Returns:
        The shares.
    """
    generator = np.random.default_rng(entry.seed)
    x, y = _some(data.train, MOST_TO_TRAIN + 2 * MOST_TO_TASK, generator)
    if len(x) >= _LARGE:
        x, y = _varied(entry, (x, y))
        most = max(_TO_TRAIN, 1.0 - 2 * MOST_TO_TASK / len(x))
        train, rest = split(x, y, most, entry.seed)
        support, query = split(*rest, 0.5, entry.seed)
    else:
        train, query = _varied(entry, (x, y)), _varied(entry, data.test)
        support = train
    if entry.variant == "label-noise":
        train = LABEL_NOISE(*train, entry.seed)
    return Shares(
        train=train,
        support=_some(support, MOST_TO_TASK, generator),
        query=_some(query, MOST_TO_TASK, generator),
        num_classes=data.num_classes,
    )


def _some(pair: ArrayPair, count: int, generator: np.random.Generator) -> ArrayPair:
    x, y = pair
    rows = np.sort(generator.permutation(len(x))[:count])
    return x[rows], y[rows]


def _varied(entry: Entry, pair: ArrayPair) -> ArrayPair:
    x, y = pair
    variant = VARIANTS[entry.variant]
    if entry.variant == "classes":
        present = len(np.unique(y))
        variant = replace(variant, num_ways=min(variant.num_ways, max(present - 1, 2)))
    if x.ndim == 4:
        return variant(x, y, entry.seed)
    # The variants are made for images: a series is an image of one column.
    varied, labels = variant(x[:, :, None, :], y, entry.seed)
    return varied[:, :, 0, :], labels
