"""Latency of layers that were never timed, from those that were: ten describe a new device.

Paper of the idea: Lee et al. 2021, "HELP: Hardware-Adaptive Efficient Latency Prediction",
arXiv:2106.08630. Where HELP meta-learns a network that is given ten latencies, this prices seven
physical amounts, so that ten latencies are enough and no latency falls when a layer grows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tf_metacompress.errors import invalid, wrong_type
from tf_metacompress.policy.action import Action
from tf_metacompress.policy.frozen_mapping import FrozenMapping
from tf_metacompress.policy.latency import Entry, LatencyTable, layer_key
from tf_metacompress.policy.latency_terms import TERMS, UNITS, LayerShape, Multiples, term_matrix
from tf_metacompress.policy.layer_info import LayerInfo

_NS_PER_MS = 1e6
_PRIOR_WEIGHT, _NUM_STEPS = 0.1, 8
_CANDIDATES = (1, 4, 8, 16, 32, 64)
_CLEARLY_LESS = 0.01
"""Fall of the sum of squared relative errors that another multiple must bring."""
_OCTAVES, _OWN_WEIGHT = 0.7, 0.3
_USUAL_ERROR = 0.1

PRIOR_PRICES: Mapping[str, float] = FrozenMapping(
    dict(zip(TERMS, (0.03, 0.06, 0.1, 0.15, 500.0, 0.02, 0.01), strict=True))
)
"""Nanoseconds, of which only the proportions count; of a host with AVX-512."""

PRIOR_MULTIPLES: Multiples = FrozenMapping({unit: (1, 16) for unit in UNITS})


@dataclass(frozen=True, kw_only=True)
class LatencyPredictor:
    """Prices of a device, and the latencies that they were fitted to.

    Attributes:
        table: What was measured; its own entries are given as they are.
        prices: Nanoseconds for one unit of each term.
        multiples: What channels are rounded up to, by unit.

    Example:
        >>> entries = {("Dense 64x64 -> 64", Action()): 0.01}
        >>> predictor = fit_latency(LatencyTable(entries, device="board", runtime="litert"))
        >>> predictor.predict(("Dense 64x64 -> 64", Action()))
        0.01
    """

    table: LatencyTable
    prices: Mapping[str, float]
    multiples: Multiples

    def predict(self, entry: Entry) -> float:
        """Gives the latency of a layer under an action.

        Args:
            entry: Layer key and action.

        Returns:
            Milliseconds: as measured, else by price, corrected as far as the measured layers of
            the same unit near it were off.
        """
        measured = self.table.entries.get(entry)
        if measured is not None:
            return measured
        shape = LayerShape.of(entry)
        places, logs, trust = self._residuals.get(shape.unit, _NOTHING_MEASURED)
        distances = np.square(places - shape.place()).sum(axis=-1)
        weights = trust * np.exp(-0.5 * distances / _OCTAVES**2)
        correction = float(weights @ logs) / (float(weights.sum()) + _OWN_WEIGHT)
        return float(np.exp(correction) * self._by_price([shape])[0])

    def lookup(self, layer_info: LayerInfo, action: Action) -> float:
        """Gives the latency of a layer; as `LatencyTable.lookup`, for any shape."""
        return self.predict((layer_key(layer_info), Action(weight_bits=action.weight_bits)))

    def fill(self, layer_infos: Sequence[LayerInfo], actions: Sequence[Action]) -> LatencyTable:
        """Makes a table that has every layer of a model.

        Args:
            layer_infos: Layers; those that cannot be compressed are left out.
            actions: The actions.

        Returns:
            The measured table and, without error bars, what it lacked.
        """
        entries = dict(self.table.entries)
        keys = {layer_key(info) for info in layer_infos if info.compressible}
        for key in sorted(keys):
            entries.update({(key, a): self.predict((key, a)) for a in actions})
        return LatencyTable(
            entries,
            device=self.table.device,
            runtime=self.table.runtime,
            num_threads=self.table.num_threads,
            errors=self.table.errors,
            overhead_ms=self.table.overhead_ms,
            border_ms=self.table.border_ms,
        )

    def _by_price(self, shapes: Sequence[LayerShape]) -> np.ndarray:
        prices = np.array([self.prices[term] for term in TERMS])
        return np.maximum(term_matrix(shapes, self.multiples) @ prices, 1.0) / _NS_PER_MS

    @cached_property
    def _residuals(self) -> Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """By unit: where measured layers lie, the logarithm that prices miss, the trust in it."""
        shapes = [LayerShape.of(entry) for entry in self.table]
        logs = np.log(np.array(list(self.table.values())) / self._by_price(shapes))
        trust, found = _trust(self.table), {}
        for unit in {shape.unit for shape in shapes}:
            rows = [row for row, shape in enumerate(shapes) if shape.unit == unit]
            places = np.stack([shapes[row].place() for row in rows])
            found[unit] = places, logs[rows], trust[rows]
        return found


_NOTHING_MEASURED = (np.zeros((0, 4)), np.zeros(0), np.zeros(0))


def _trust(table: LatencyTable) -> np.ndarray:
    """Weight of each entry in (0, 1]: little where the error bar is as long as the latency."""
    relative = np.array([table.errors.get(entry, 0.0) / table[entry] for entry in table])
    return 1.0 / (1.0 + np.square(relative / _USUAL_ERROR))


def fit_latency(table: LatencyTable, prior: LatencyPredictor | None = None) -> LatencyPredictor:
    """Describes a device by latencies measured on it; ten will do.

    Prices are the least squares of the logarithms, drawn towards a multiple of the prior's prices
    where the latencies say little. What channels are rounded up to is taken from
    the prior unless another multiple fits clearly better.

    Args:
        table: Measured latencies, at least one.
        prior: The predictor of another device; None for a computer with AVX-512.

    Returns:
        The predictor.

    Raises:
        InvalidArgumentError: If the table is empty.
        ArgumentTypeError: If it is no `LatencyTable`.
    """
    if not isinstance(table, LatencyTable):
        raise wrong_type("`table` must be a LatencyTable.", table=table)
    if not table:
        raise invalid("`table` must hold at least one latency.", entries=len(table))
    shapes = [LayerShape.of(entry) for entry in table]
    fit = _Fit(
        logs=np.log(np.array(list(table.values())) * _NS_PER_MS),
        trust=_trust(table),
        expected=np.log([(prior.prices if prior else PRIOR_PRICES)[term] for term in TERMS]),
    )
    multiples = dict(prior.multiples if prior else PRIOR_MULTIPLES)
    prices, loss = fit.solve(term_matrix(shapes, multiples))
    for unit in [*UNITS, *UNITS]:
        if unit not in {shape.unit for shape in shapes}:
            continue
        for pair in _pairs(unit):
            tried = {**multiples, unit: pair}
            found, left = fit.solve(term_matrix(shapes, tried), prices)
            if left < loss - _CLEARLY_LESS:
                multiples, prices, loss = tried, found, left
    return LatencyPredictor(
        table=table,
        prices=FrozenMapping(dict(zip(TERMS, np.exp(prices).tolist(), strict=True))),
        multiples=FrozenMapping(multiples),
    )


def _pairs(unit: str) -> list[tuple[int, int]]:
    of_inputs = (1,) if unit.startswith("depthwise") else _CANDIDATES
    return [(one, other) for one in of_inputs for other in _CANDIDATES]


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Least squares on logarithms: prices stay positive, and twice counts as much as half.

    Attributes:
        logs: Logarithm of each measured latency in nanoseconds.
        trust: Weight of each.
        expected: Logarithms of the prior's prices, to which a common factor is found.
    """

    logs: np.ndarray
    trust: np.ndarray
    expected: np.ndarray

    def solve(self, terms: np.ndarray, begin: np.ndarray | None = None) -> tuple[np.ndarray, float]:
        """Gives the logarithms of the prices, and the sum of squares left over."""
        count = len(self.expected)
        guess = float(np.median(self.logs - np.log(terms @ np.exp(self.expected))))
        prices = self.expected + guess if begin is None else begin
        pull = _PRIOR_WEIGHT * (np.eye(count) - 1.0 / count)
        roots = np.sqrt(self.trust)
        for _ in range(_NUM_STEPS):
            parts = terms * np.exp(prices)
            total = parts.sum(axis=1)
            misses = roots * (np.log(total) - self.logs)
            strays = pull @ (prices - self.expected)
            slopes = np.vstack([roots[:, None] * parts / total[:, None], pull])
            step = np.linalg.lstsq(slopes, -np.concatenate([misses, strays]), rcond=None)[0]
            prices = prices + np.clip(step, -1.0, 1.0)
        misses = roots * (np.log(terms @ np.exp(prices)) - self.logs)
        strays = pull @ (prices - self.expected)
        return prices, float(misses @ misses + strays @ strays)
