"""Holds back what the quantizer prints on each call, and nothing else."""

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator

_PRESERVE_WARNING = ".*Enabling `experimental_preserve_all_tensors`.*"
_PROGRESS_BAR = "Running Calibration:"


class _WithoutProgressBar(io.TextIOBase):
    """Passes text on unless it draws or wipes the calibration's progress bar."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        wiping = "\r" in text and not text.strip()
        if not wiping and _PROGRESS_BAR not in text:
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def known_noise_held_back() -> Iterator[None]:
    """Drops the calibrator's progress bar and its warning that it keeps all tensors."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(_WithoutProgressBar(sys.stderr)):
        warnings.filterwarnings("ignore", message=_PRESERVE_WARNING, category=UserWarning)
        yield
