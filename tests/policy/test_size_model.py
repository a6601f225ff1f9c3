"""Kernel sizes against compressing the real bytes."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_metacompress.errors import ArgumentTypeError, InvalidArgumentError
from tf_metacompress.policy import Action, action_grid, quantized_bytes
from tf_metacompress.policy.size_model import (
    FLOAT_FLASH,
    QUANTIZED_DOWNLOAD,
    QUANTIZED_FLASH,
    KernelSizer,
)

AXES = {(3, 3, 8, 16): (3,), (64, 10): (1,), (3, 3, 24, 1): (2, 3)}


def kernel_of(shape, seed=0, heavy=False):
    generator = np.random.default_rng(seed)
    weights = generator.standard_t(4, shape) if heavy else generator.normal(size=shape)
    return weights.astype(np.float32)


def pruned_integers(kernel, axes, action):
    """Prunes, then quantises per channel, in the plainest way; float weights stay floats."""
    order = np.argsort(np.abs(kernel), axis=None, kind="stable")
    kept = kernel.copy()
    kept.ravel()[order[: round(action.sparsity * kernel.size)]] = 0.0
    others = tuple(axis for axis in range(kernel.ndim) if axis not in axes)
    step = np.abs(kept).max(axis=others, keepdims=True) / (2 ** (action.weight_bits - 1) - 1)
    return np.rint(kept / np.where(step > 0, step, 1)).astype(np.int8)


def file_bytes(integers, axes, bits, packed=False):
    ordered = np.moveaxis(integers, axes[0], 0) if len(axes) == 1 else integers
    if not packed or bits == 8:
        return (ordered * np.int8(18 if bits == 4 else 1)).tobytes()
    pairs = np.resize(ordered.ravel() & 0x0F, (ordered.size + 1) // 2 * 2).reshape(-1, 2)
    if ordered.size % 2:
        pairs[-1, 1] = 0
    return (pairs[:, 0] | (pairs[:, 1] << 4)).astype(np.uint8).tobytes()


@pytest.mark.parametrize("shape", AXES)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("sparsity", [0.0, 0.37, 0.9, 0.99])
@pytest.mark.parametrize("packed", [False, True])
def test_small_kernels_are_compressed_as_the_file_stores_them(shape, bits, sparsity, packed):
    kernel, axes, action = kernel_of(shape), AXES[shape], Action(sparsity, bits)
    stored = file_bytes(pruned_integers(kernel, axes, action), axes, bits, packed)
    sizer = KernelSizer(kernel, axes, packed_int4=packed)
    growth = 1.0 if bits == 8 else 1.04 if packed else 1.07
    assert sizer.download_bytes(action) == pytest.approx(growth * len(zlib.compress(stored, 9)))
    assert sizer.flash_bytes(action) == len(stored)


def test_an_odd_number_of_nibbles_fills_the_last_byte():
    kernel, action = kernel_of((3, 5)), Action(weight_bits=4)
    assert KernelSizer(kernel, (1,), packed_int4=True).flash_bytes(action) == 8.0
    assert KernelSizer(kernel, (1,)).flash_bytes(action) == 15.0


@pytest.mark.parametrize(("bits", "dtype"), [(16, np.float16), (32, np.float32)])
def test_floats_are_compressed_as_floats(bits, dtype):
    kernel = kernel_of((64, 10))
    stored = kernel.T.astype(dtype).tobytes()
    sizer = KernelSizer(kernel, (1,))
    assert sizer.download_bytes(Action(weight_bits=bits)) == len(zlib.compress(stored, 9))
    assert sizer.flash_bytes(Action(weight_bits=bits)) == len(stored)
    assert sizer.channel_bytes(Action(weight_bits=bits))[1] == 10 * FLOAT_FLASH.per_channel


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("sparsity", [0.0, 0.6, 0.9, 0.98])
def test_a_sample_stands_for_a_large_kernel(heavy, bits, sparsity):
    kernel, action = kernel_of((3, 3, 128, 192), heavy=heavy), Action(sparsity, bits)
    kernel = kernel * np.exp(np.random.default_rng(1).normal(0.0, 0.3, 192))
    stored = file_bytes(pruned_integers(kernel, (3,), action), (3,), bits)
    estimate = KernelSizer(kernel, (3,)).download_bytes(action)
    growth = 1.0 if bits == 8 else 1.07
    assert estimate == pytest.approx(growth * len(zlib.compress(stored, 9)), rel=0.04)


def test_a_sample_without_weights_is_no_trouble():
    kernel = np.full((512, 256), 1e-6, np.float32)
    kernel[:5, 2] = 1.0
    sizer = KernelSizer(kernel, (1,))
    assert 0 < sizer.download_bytes(Action(sparsity=0.99)) < 2_000


@settings(max_examples=25)
@given(st.integers(0, 1000), st.sampled_from(list(AXES)), st.booleans())
def test_more_zeros_and_fewer_bits_download_less(seed, shape, heavy):
    sizer = KernelSizer(kernel_of(shape, seed, heavy), AXES[shape])
    for bits in (4, 8):
        grid = action_grid((0.0, 0.3, 0.6, 0.9), (bits,))
        sizes = [sizer.quantized_bytes(action)[0] for action in grid]
        # Deflate may spend a few bytes more on fewer weights.
        assert all(b < a * 1.01 for a, b in zip(sizes, sizes[1:], strict=False))
    assert sizer.quantized_bytes(Action(0.3, 4))[0] < sizer.quantized_bytes(Action(0.3, 8))[0]


def test_empty_channels_take_less_download_and_the_same_flash():
    kernel = kernel_of((64, 10))
    kernel[:, :5] *= 1e-6
    sizer = KernelSizer(kernel, (1,))
    full, half = sizer.channel_bytes(Action()), sizer.channel_bytes(Action(sparsity=0.5))
    model = QUANTIZED_DOWNLOAD
    assert half[0] == pytest.approx(5 * model.per_channel + 5 * model.per_empty_channel)
    assert half[0] < 0.7 * full[0]
    assert half[1] == full[1] == 10 * QUANTIZED_FLASH.per_channel


def test_the_function_adds_weights_and_channels():
    kernel, action = kernel_of((64, 10)), Action(0.5, 8)
    sizer = KernelSizer(kernel, (1,))
    download, flash = quantized_bytes(kernel, action, (1,))
    assert download == sizer.download_bytes(action) + sizer.channel_bytes(action)[0]
    assert flash == 640 + 10 * QUANTIZED_FLASH.per_channel


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0])
def test_constant_kernels_are_sized(value):
    download, flash = quantized_bytes(np.full((64, 8), value), Action(0.5, 4), (1,))
    assert 0 < download < 200 + flash


@pytest.mark.parametrize(
    ("kernel", "axes"),
    [
        (np.zeros((0, 3)), (1,)),
        (np.array([[np.nan]]), (1,)),
        (np.ones((2, 2)), (2,)),
        (np.ones((2, 2)), (-1,)),
    ],
)
def test_bad_kernels_are_refused(kernel, axes):
    with pytest.raises(InvalidArgumentError):
        quantized_bytes(kernel, Action(), axes)


def test_an_action_must_be_one():
    with pytest.raises(ArgumentTypeError, match="`action`"):
        quantized_bytes(np.ones((2, 2)), 0.5, (1,))


def test_one_scale_for_a_whole_table_costs_less_than_one_a_channel():
    kernel = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
    action = Action(weight_bits=8)
    alone, each = (KernelSizer(kernel, axes).channel_bytes(action) for axes in ((), (1,)))
    assert np.multiply(alone, 8) == pytest.approx(each)
    assert KernelSizer(kernel, ()).flash_bytes(action) == kernel.size
