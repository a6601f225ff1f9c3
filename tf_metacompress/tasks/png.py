"""Reading PNG files, and making images smaller by averaging areas."""

import io
from functools import lru_cache

import numpy as np

from tf_metacompress.errors import CorruptFileError


def read_png(data: bytes, name: str, *, grayscale: bool) -> np.ndarray:
    """Decodes a PNG file.

    Args:
        data: Content of the file.
        name: Name of the file, for messages.
        grayscale: Whether to give one channel (the luma of colours) rather than three.

    Returns:
        Pixels in [0, 1], float32 of shape (H, W, 1) or (H, W, 3); transparency is dropped.

    Raises:
        CorruptFileError: If it is not a whole PNG file.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.mode.startswith("I"):
                pixels = np.asarray(image, dtype=np.float32) / 65535.0
                return np.repeat(pixels[:, :, None], 1 if grayscale else 3, axis=2)
            pixels = np.asarray(image.convert("L" if grayscale else "RGB"), dtype=np.float32)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptFileError(
            f"Each image must be a whole PNG file. Received: {name!r} ({error}). "
            "Fetch the file again, or remove it."
        ) from error
    return pixels.reshape(*pixels.shape[:2], -1) / np.float32(255.0)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image: each new pixel is the mean of the area that it covers.

    Args:
        image: Pixels of shape (H, W, C).
        size: New height and width.

    Returns:
        Pixels of shape (*size, C), float32; the mean stays.

    Example:
        >>> resize(np.arange(6.0).reshape(1, 6, 1), (1, 2)).ravel().tolist()
        [1.0, 4.0]
        >>> resize(np.arange(3.0).reshape(1, 3, 1), (1, 2)).ravel().tolist()
        [0.3333333432674408, 1.6666666269302368]
    """
    if image.shape[:2] == tuple(size):
        return image.astype(np.float32, copy=False)
    rows = _shares(image.shape[0], size[0])
    columns = _shares(image.shape[1], size[1])
    channels = [rows @ image[:, :, channel] @ columns.T for channel in range(image.shape[2])]
    return np.stack(channels, axis=2).astype(np.float32)


@lru_cache(maxsize=64)
def _shares(old: int, new: int) -> np.ndarray:
    """The share (new, old) that each old pixel has in each new one."""
    edges = np.arange(new + 1) * (old / new)
    pixels = np.arange(old)
    ends = np.minimum(edges[1:, None], pixels + 1)
    overlap = ends - np.maximum(edges[:-1, None], pixels)
    shares = np.maximum(overlap, 0.0) * (new / old)
    shares.flags.writeable = False
    return shares
