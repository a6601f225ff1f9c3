"""Holds back what the quantizer prints on each call, and nothing else."""

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator

_PRESERVE_WARNING = ".*Enabling `experimental_preserve_all_tensors`.*"
_PROGRESS_BARS = (
    "Running Calibration:",
    "Generating Quantization Parameters:",
    "Applying Transformations to tensors:",
)


class _WithoutProgressBar(io.TextIOBase):
    """Passes text on unless it draws or wipes one of the quantizer's progress bars."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream
        self._in_bar = False

    def write(self, text: str) -> int:
        blank = not text.strip()
        self._in_bar = any(bar in text for bar in _PROGRESS_BARS) or (self._in_bar and blank)
        if not self._in_bar:
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def known_noise_held_back() -> Iterator[None]:
    """Drops the quantizer's progress bars and its warning that it keeps all tensors."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(_WithoutProgressBar(sys.stderr)):
        warnings.filterwarnings("ignore", message=_PRESERVE_WARNING, category=UserWarning)
        yield
