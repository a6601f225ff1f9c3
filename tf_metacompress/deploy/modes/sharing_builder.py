"""Writes a flatbuffer in which tables with equal vectors refer to one copy.

TFLite demands a zero point for every scale, eight bytes each, and those of weights and biases are
all zero: in a small int8 file they take a fifth. The format lets tables share a vector.
"""

import flatbuffers
import numpy as np

_LONGEST_APART = 16
"""Bytes up to which vectors stay apart: gzip stores short copies in less than where they are."""


class SharingBuilder(flatbuffers.Builder):
    """A builder that writes equal number vectors once.

    Constants, which are vectors of bytes, and vectors of at most 16 bytes, such as shapes of four
    extents, are written each time. A copy has the type of the first, so its alignment is right.

    Args:
        initial_size: Bytes to start with.

    Example:
        >>> builder = SharingBuilder(1024)
        >>> zeros = np.zeros(64, np.int64)
        >>> builder.CreateNumpyVector(zeros) == builder.CreateNumpyVector(zeros.copy())
        True
    """

    __slots__ = ("_written",)

    def __init__(self, initial_size: int) -> None:
        super().__init__(initial_size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        """Writes a vector, or finds where the same one was written.

        Args:
            x: The vector.

        Returns:
            Its offset.
        """
        if x.dtype == np.uint8 or x.nbytes <= _LONGEST_APART:
            return super().CreateNumpyVector(x)
        key = x.dtype.str, x.tobytes()
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]
