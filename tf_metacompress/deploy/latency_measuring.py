"""`measure_latencies`: what each layer costs on a device, by differences of small models."""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from tf_metacompress.anatomy import describe, select_compressible
from tf_metacompress.anatomy.channels import channel_groups, has_graph
from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.comparison import ratio_interval
from tf_metacompress.deploy.devices import Device, Runs, get_device
from tf_metacompress.deploy.latency import BenchmarkResult
from tf_metacompress.deploy.latency_cache import LatencyCache
from tf_metacompress.deploy.latency_probe import (
    COPIES,
    FLOAT,
    check_probes,
    form_of,
    probe_files,
)
from tf_metacompress.deploy.latency_turns import block_medians
from tf_metacompress.deploy.latency_whole import with_whole_model
from tf_metacompress.errors import check_fraction, check_int, invalid, wrong_type
from tf_metacompress.policy import Action, LatencyTable, LayerInfo, layer_key, narrowed
from tf_metacompress.policy.latency import Entry
from tf_metacompress.progress import progress

MEASURED_ACTIONS: tuple[Action, ...] = tuple(Action(weight_bits=bits) for bits in (8, 4, 32))
"""What is measured unless something else is asked for."""

MEASURED_WIDTHS: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25)
"""Shares of the channels at which the layers of a model are measured."""

_CHANNEL_STEP = 8
_SMALLEST_MS = 1e-6
_MOST_TRIES, _UNSURE = 3, 0.2


def measure_latencies(
    model_or_layer_infos: keras.Model | Sequence[LayerInfo],
    *,
    device: str | Device = "host",
    actions: Sequence[Action] = MEASURED_ACTIONS,
    widths: Sequence[float] = MEASURED_WIDTHS,
    num_threads: int = 1,
    cache: PathLike | None = None,
    quiet: bool = False,
) -> LatencyTable:
    """Measures what each layer of a model costs on a device.

    A layer is timed as the difference of two small files in which it stands once and four times,
    run in turns, so that the call and the conversion of inputs cancel. Weights are random: they do
    not change the time. Each shape is measured once and kept in a file as soon as it is known, so
    that a run that was ended goes on where it stopped.

    Args:
        model_or_layer_infos: A built Keras 3 model, or descriptions of layers.
        device: Name of a device as for `benchmark`, or a device.
        actions: Actions without zeros.
        widths: Shares of a model's channels, in (0, 1]; channels are rounded up to multiples of 8.
            Not used for layer descriptions.
        num_threads: Threads the runtime may use.
        cache: Folder of the files; None for the cache folder of the user.
        quiet: Whether to show no progress bar.

    Returns:
        Latency and half its 95 % interval for each shape and action. Of a model `overhead_ms` is
        what its whole file takes beyond its layers, under the first action, and `border_ms` what
        a change between float32 and integers costs, if both are among the actions.

    Raises:
        UnsupportedModelError: If a layer cannot be timed alone or there is nothing to measure.
        InvalidArgumentError: If an action has zeros or a width is out of range.
        DeviceError: If a phone or board, or the tool that reaches it, cannot be used.
    """
    actions = _checked(actions, widths, num_threads)
    found = get_device(device)
    is_model = isinstance(model_or_layer_infos, keras.Model)
    infos = select_compressible(
        describe(model_or_layer_infos) if is_model else tuple(model_or_layer_infos)
    )
    shapes = _shapes(model_or_layer_infos, infos, widths) if is_model else infos
    check_probes(shapes)
    probes = {layer_key(info): info for info in shapes}
    first = _first_result(found, infos[0], num_threads)
    kept = LatencyCache(cache, first)
    missing = {
        key: lacking
        for key, info in probes.items()
        if (lacking := [a for a in actions if (key, a) not in kept.table])
    }
    for key, lacking in progress(
        missing.items(), total=len(missing), description="latencies", quiet=quiet
    ):
        kept.add(*_measured(found, probes[key], lacking, num_threads))
    entries = {(key, action): kept.table[key, action] for key in probes for action in actions}
    table = dataclasses.replace(
        kept.table, entries=entries, errors={key: kept.table.errors[key] for key in entries}
    )
    if not is_model:
        return table
    return with_whole_model(table, model_or_layer_infos, found, actions)


def _checked(
    actions: Sequence[Action], widths: Sequence[float], num_threads: int
) -> tuple[Action, ...]:
    for action in actions:
        if not isinstance(action, Action):
            raise wrong_type("Each of `actions` must be an Action.", action=action)
        if action.sparsity:
            raise invalid(
                "Actions are measured without zeros, which no kernel here skips.",
                "Leave `sparsity` out; for fewer channels give `widths`.",
                action=action,
            )
    if not actions or not widths:
        raise invalid("`actions` and `widths` must not be empty.", actions=actions, widths=widths)
    for width in widths:
        if check_fraction("widths", width, upper_inclusive=True) == 0.0:
            raise invalid("`widths` must lie in (0, 1].", widths=tuple(widths))
    check_int("num_threads", num_threads, minimum=1)
    return tuple(dict.fromkeys(actions))


def _shapes(
    model: keras.Model, infos: Sequence[LayerInfo], widths: Sequence[float]
) -> tuple[LayerInfo, ...]:
    """The layers of a model as they are, and with some share of all channels."""
    groups = channel_groups(model) if has_graph(model) else ()
    shapes = list(infos)
    for width in widths if groups else ():
        kept = [
            min(-int(-width * group.size // _CHANNEL_STEP) * _CHANNEL_STEP, group.size)
            if group.removable
            else group.size
            for group in groups
        ]
        removed = [range(k, group.size) for k, group in zip(kept, groups, strict=True)]
        shapes += narrowed(infos, groups, removed)
    return tuple(shapes)


def _first_result(device: Device, info: LayerInfo, num_threads: int) -> BenchmarkResult:
    """Reaches the device once, for its description."""
    file = probe_files(info, [FLOAT])[FLOAT][0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe.tflite")
        path.write_bytes(file)
        return device.benchmark(path, Runs(num_threads=num_threads, num_runs=1, num_warmup=0))


def _measured(
    device: Device, info: LayerInfo, actions: Sequence[Action], num_threads: int
) -> tuple[Mapping[Entry, float], Mapping[Entry, float]]:
    """Latency of a layer under each action, and half its interval."""
    forms = {action: form_of(info, action) for action in actions}
    files = probe_files(info, tuple(dict.fromkeys(forms.values())))
    told = {form: _difference(device, pair, num_threads) for form, pair in files.items()}
    key = layer_key(info)
    return tuple(
        {(key, action): told[form][part] for action, form in forms.items()} for part in (0, 1)
    )


def _difference(device: Device, files: Sequence[bytes], num_threads: int) -> tuple[float, float]:
    """Latency of one layer and half its 95 % interval, measured again while it is unsure."""
    tries = []
    for _ in range(_MOST_TRIES):
        one, several = block_medians(device, files, num_threads)
        each = (several - one) / (COPIES[1] - COPIES[0])
        low, high = ratio_interval(each)
        tries.append(((high - low) / 2.0, float(np.median(each))))
        if 0.0 < tries[-1][0] < _UNSURE * tries[-1][1]:
            break
    error_ms, latency_ms = min(tries)
    # What is lost in the noise is at most as long as the noise.
    return (latency_ms if latency_ms > 0.0 else max(error_ms, _SMALLEST_MS)), error_ms
