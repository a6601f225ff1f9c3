"""Decoding and resizing images."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tf_metacompress.errors import CorruptFileError
from tf_metacompress.tasks.png import read_png, resize

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def png(pixels, mode=None):
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(stream, "PNG")
    return stream.getvalue()


def test_pixels_are_fractions():
    read = read_png(png(PIXELS[:, :, 0]), "a", grayscale=True)
    assert (read.shape, read.dtype) == ((5, 7, 1), np.float32)
    np.testing.assert_allclose(read[:, :, 0], PIXELS[:, :, 0] / 255.0, atol=1e-7)
    read = read_png(png(PIXELS), "a", grayscale=False)
    np.testing.assert_allclose(read, PIXELS / 255.0, atol=1e-7)


def test_colours_become_their_luma():
    read = read_png(png(PIXELS), "a", grayscale=True)
    luma = PIXELS @ [0.299, 0.587, 0.114] / 255.0
    np.testing.assert_allclose(read[:, :, 0], luma, atol=1.01 / 255.0)


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "LA"])
def test_other_kinds_of_images_are_read(mode):
    black_and_white = np.where(PIXELS[:, :, :1] > 127, 255, 0).astype(np.uint8).repeat(3, axis=2)
    for grayscale in (True, False):
        read = read_png(png(black_and_white, mode), "a", grayscale=grayscale)
        channels = 1 if grayscale else 3
        np.testing.assert_array_equal(read, black_and_white[:, :, :channels] / 255.0)


def test_sixteen_bits_are_not_cut_off():
    deep = np.array([[0, 257, 32768, 65535]], np.uint16)
    for grayscale in (True, False):
        read = read_png(png(deep), "a", grayscale=grayscale)
        assert read.shape == (1, 4, 1 if grayscale else 3)
        np.testing.assert_allclose(read[0, :, -1], deep[0] / 65535.0, atol=1e-7)


WHOLE = png(PIXELS)


@pytest.mark.parametrize(
    "data", [b"", b"no image", WHOLE[:20], WHOLE[:-30], WHOLE[:60] + b"\0\0" + WHOLE[62:]]
)
def test_what_is_no_whole_png_is_refused_by_name(data):
    with pytest.raises(CorruptFileError, match="whole PNG file.*'cats/tom.png'"):
        read_png(data, "cats/tom.png", grayscale=True)


def test_other_formats_are_refused():
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "JPEG")
    with pytest.raises(CorruptFileError, match="whole PNG file"):
        read_png(stream.getvalue(), "a", grayscale=True)


@given(
    old=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    new=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_each_pixel_is_the_mean_of_the_area_it_covers(old, new, seed):
    image = np.random.default_rng(seed).random((*old, 2))
    # Repeating each pixel `new` times makes areas of whole pixels, `old` by `old` each.
    repeated = image.repeat(new[0], axis=0).repeat(new[1], axis=1)
    expected = repeated.reshape(new[0], old[0], new[1], old[1], 2).mean(axis=(1, 3))
    made = resize(image, new)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_at_an_integer_factor_it_is_pillows_reduce():
    image = PIXELS.repeat(4, axis=0).repeat(4, axis=1)[:18, :24]
    expected = np.asarray(Image.fromarray(image).reduce(6), np.float64) / 255.0
    np.testing.assert_allclose(resize(image / 255.0, (3, 4)), expected, atol=0.51 / 255.0)
