"""Cost tables: what adds up, what the device changes, and what is refused."""

import dataclasses

import numpy as np
import pytest

from tests.policy.layers import batch_norm, layer, random_kernels
from tf_metacompress.errors import (
    ArgumentTypeError,
    InvalidArgumentError,
    UnsupportedModelError,
)
from tf_metacompress.policy import (
    Action,
    Budget,
    KernelInfo,
    LatencyTable,
    LayerInfo,
    action_grid,
    allocate,
    cost_table,
    device,
    layer_key,
    quantized_bytes,
)
from tf_metacompress.policy.size_model import KernelSizer

CONV = layer("conv", "Conv2D", (3, 3, 4, 16), macs=1000, num_params=592)
DEPTHWISE = layer("dw", "DepthwiseConv2D", (3, 3, 16, 1), macs=500, num_params=160)
HEAD = layer("head", shape=(256, 10), macs=2560, num_params=2570)
INFOS = (CONV, batch_norm(), DEPTHWISE, HEAD)
KERNELS = random_kernels(INFOS)
GRID = action_grid((0.0, 0.5, 0.9), (4, 8))
ALL = ("size_bytes", "flash_bytes", "macs")


def make(infos=INFOS, kernels=KERNELS, **fields):
    return cost_table(infos, kernels, **{"device": "android-arm64", "actions": GRID, **fields})


def paying(*resources):
    return dataclasses.replace(
        device("android-arm64"), name="d", sparsity_pays=dict.fromkeys(resources, True)
    )


def test_shapes_names_and_masks():
    table = make(resources=ALL)
    assert table.layers == ("conv", "dw", "head")
    assert table.cost.shape == (3, 6, 3)
    assert table.fixed.shape == (3,)
    assert table.mask.all()
    only_8 = dataclasses.replace(device("cortex-m"), weight_bits={"Conv2D": (8,), "*": (4, 8)})
    mask = make(device=only_8).mask
    assert mask.tolist() == [[False] * 3 + [True] * 3, [True] * 6, [True] * 6]
    assert np.isfinite(table.cost).all()


def planned_download(kernel, action, axes, packed_int4):
    """Bytes of the kernel as it is, and 6 % on a pruned one for what fine-tuning will do to it."""
    sizer = KernelSizer(kernel, axes, packed_int4=packed_int4)
    growth = 1.06 if action.sparsity > 0 else 1.0
    return growth * sizer.download_bytes(action) + sizer.channel_bytes(action)[0]


def test_bytes_are_those_of_the_kernels():
    table = make(resources=("size_bytes", "flash_bytes"))
    for row, info in enumerate((CONV, DEPTHWISE, HEAD)):
        for column in np.flatnonzero(table.mask[row]):
            kernel, axes = KERNELS[info.name][0], info.kernels[0].channel_axis
            dense = Action(0.0, GRID[column].weight_bits)
            packed = {"packed_int4": info.kind == "Dense"}
            download = planned_download(kernel, GRID[column], axes, **packed)
            flash = quantized_bytes(kernel, dense, axes, **packed)[1]
            np.testing.assert_allclose(table.cost[row, column], [download, flash])


def test_only_dense_layers_pack_four_bits():
    table = make(resources=("flash_bytes",))
    four, eight = table.cost[:, 0, 0], table.cost[:, 3, 0]
    np.testing.assert_allclose(eight - four, [0.0, 0.0, 1280.0])


def test_interpolated_downloads_are_close_to_compressed_ones():
    info = layer("big", shape=(256, 128))
    kernels = random_kernels([info])
    table = make((info,), kernels, actions=action_grid())
    kernel = kernels["big"][0]
    exact = [planned_download(kernel, a, (1,), packed_int4=True) for a in table.actions]
    np.testing.assert_allclose(table.cost[0, :, 0], exact, rtol=0.03)


def test_kernels_of_one_layer_add_up():
    depthwise = KernelInfo(name="depthwise_kernel", shape=(3, 3, 16, 1), channel_axis=(2, 3))
    pointwise = KernelInfo(name="pointwise_kernel", shape=(1, 1, 16, 32), channel_axis=(3,))
    both = LayerInfo(name="sep", kind="Dense", kernels=(depthwise, pointwise))
    parts = tuple(LayerInfo(name=k.name, kind="Dense", kernels=(k,)) for k in both.kernels)
    kernels = random_kernels(parts)
    joined = make((both,), {"sep": tuple(kernels[part.name][0] for part in parts)}, resources=ALL)
    apart = make(parts, kernels, resources=ALL)
    np.testing.assert_allclose(joined.cost[0], apart.cost.sum(axis=0))
    np.testing.assert_allclose(joined.fixed, apart.fixed)
    assert joined.reference == pytest.approx(dict(apart.reference))


@pytest.mark.parametrize("resource", ALL)
def test_zeros_pay_only_where_the_device_says_so(resource):
    (column,) = (table.cost[2, 3:, 0] for table in [make(resources=(resource,), device=paying())])
    assert len(set(column)) == 1
    pays = make(resources=(resource,), device=paying(resource)).cost[2, 3:, 0]
    assert pays[0] == column[0]
    assert pays[0] > pays[1] > pays[2]


def test_macs_fall_with_the_kept_share_where_zeros_pay():
    table = make(resources=("macs",), device=paying("macs"))
    np.testing.assert_allclose(table.cost[2, :3, 0], [2560.0, 1280.0, 256.0])
    assert make(resources=("macs",)).cost[2, 0, 0] == 2560.0


def test_sparse_flash_stores_kept_weights_and_a_bit_for_each_place():
    table = make(resources=("flash_bytes",), device=paying("flash_bytes"))
    dense, half = table.cost[2, 3, 0], table.cost[2, 4, 0]
    assert dense - half == pytest.approx(2560 * 0.5 - 2560 / 8)


def test_layers_that_stay_float_are_fixed_and_batch_norm_vanishes():
    unknown = LayerInfo(name="gru", kind="GRU", num_params=100, macs=70, compressible=False)
    with_it, without = (
        make(infos, resources=ALL) for infos in ((*INFOS, unknown), (CONV, DEPTHWISE, HEAD))
    )
    np.testing.assert_allclose(with_it.fixed - without.fixed, [400.0, 400.0, 70.0])
    assert with_it.reference["macs"] == 4130.0
    np.testing.assert_allclose(make(resources=ALL).fixed, without.fixed)


def test_kernels_with_equally_many_channels_share_zero_points():
    infos = [layer("a", shape=(8, 40)), layer("b", shape=(8, 40)), layer("c", shape=(8, 24))]
    fixed = [
        make(tuple(chosen), random_kernels(chosen), resources=("flash_bytes",)).fixed[0]
        for chosen in (infos[:1], infos[:2], infos)
    ]
    assert fixed[2] - fixed[1] == pytest.approx(fixed[1] - fixed[0] + 8 * 24)


def test_the_reference_is_the_float32_file():
    table = make()
    floats = 4 * (576 + 16 + 144 + 16 + 2560 + 10)
    assert table.reference["flash_bytes"] == pytest.approx(floats, rel=0.25)
    assert table.reference["flash_bytes"] > floats
    assert 0.85 < table.reference["size_bytes"] / table.reference["flash_bytes"] < 0.95


def test_a_choice_adds_up_to_what_allocate_says():
    table = make(resources=ALL)
    limits = table.limits(Budget(size_bytes=4000, flash_bytes=8000))
    assert limits.tolist() == [4000.0, 8000.0, np.inf]
    damage = np.tile([0.3, 0.5, 3.0, 0.0, 0.2, 2.0], (3, 1))
    found = allocate(damage, table.cost, limits, mask=table.mask, fixed=table.fixed)
    assert table.total(found.choice) == pytest.approx(dict(zip(ALL, found.cost, strict=True)))


def test_a_budget_for_a_missing_resource_is_refused():
    with pytest.raises(InvalidArgumentError, match="limits latency_ms"):
        make().limits(Budget(size_ratio=0.5, latency_ms=3.0))


def test_latencies_come_from_the_table():
    actions = (Action(0.0, 8), Action(0.5, 8))
    entries = {(layer_key(info), Action()): ms for info, ms in ((CONV, 2.0), (HEAD, 0.5))}
    latency = LatencyTable(entries, device="d", runtime="r", overhead_ms=0.25)
    fields = {"latency": latency, "resources": ("latency_ms",), "actions": actions}
    table = make((CONV, HEAD), KERNELS, **fields)
    assert table.cost[..., 0].tolist() == [[2.0, 2.0], [0.5, 0.5]]
    assert table.fixed.tolist() == [0.25]
    with pytest.raises(InvalidArgumentError, match="no layer 'DepthwiseConv2D"):
        make(**fields)
    with pytest.raises(InvalidArgumentError, match="no such action"):
        make((CONV, HEAD), KERNELS, **fields, device=paying("latency_ms"))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"infos": (batch_norm(),)}, UnsupportedModelError, "no layer that can be compressed"),
        ({"kernels": {}}, InvalidArgumentError, "lacks a compressible layer.*'conv'"),
        (
            {"kernels": {**KERNELS, "head": (np.ones((3, 3)),)}},
            InvalidArgumentError,
            "'head' have other",
        ),
        ({"kernels": {**KERNELS, "head": ()}}, InvalidArgumentError, "'head' have other"),
        ({"resources": ("size",)}, InvalidArgumentError, "Did you mean 'size_bytes'"),
        ({"resources": ("latency_ms",)}, ArgumentTypeError, "needs a LatencyTable"),
        ({"device": "fridge"}, InvalidArgumentError, "`device`"),
        ({"actions": ()}, InvalidArgumentError, "`actions`"),
        ({"actions": (Action(), Action())}, InvalidArgumentError, "`actions`"),
        ({"actions": (0.5,)}, ArgumentTypeError, "`actions`"),
    ],
)
def test_bad_arguments_are_refused(fields, error, message):
    with pytest.raises(error, match=message):
        make(**fields)
