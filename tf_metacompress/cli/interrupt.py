"""Ctrl-C that is not lost."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

_AGAIN_S = 0.5


@contextlib.contextmanager
def insistent_interrupts() -> Iterator[None]:
    """Raises KeyboardInterrupt on Ctrl-C, again and again until it has left the block.

    Python drops an exception that is raised inside a finalizer or the callback of a weak reference,
    of which TensorFlow runs many, and the run would go on as if nothing had happened.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell
        yield
        return
    report = sys.unraisablehook

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        raise KeyboardInterrupt

    def report_others(dropped: Any) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            report(dropped)

    signals = (signal.SIGINT, signal.SIGALRM)
    handlers = [signal.signal(number, interrupt) for number in signals]
    sys.unraisablehook = report_others
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        sys.unraisablehook = report
        for number, handler in zip(signals, handlers, strict=True):
            signal.signal(number, handler)
