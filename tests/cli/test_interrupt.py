"""Ctrl-C arrives wherever the program is."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.fresh_python import ROOT
from tf_metacompress.cli.interrupt import insistent_interrupts


@pytest.fixture(autouse=True)
def _interrupts_arrive():
    """A shell starts what runs in its background with interrupts ignored, this suite too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class InterruptedWhenDropped:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_python_drops_comes_again(capsys):
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), insistent_interrupts():
        InterruptedWhenDropped()
        time.sleep(10)
    assert time.monotonic() - begin < 5
    assert capsys.readouterr().err == ""


def test_handlers_are_as_before_and_no_alarm_is_left():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM), sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), insistent_interrupts():
        signal.raise_signal(signal.SIGINT)
    after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM), sys.unraisablehook
    assert after == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_other_exceptions_in_finalizers_are_still_reported(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    class Failing:
        def __del__(self):
            raise ValueError

    with insistent_interrupts():
        Failing()
    assert [dropped.exc_type for dropped in seen] == [ValueError]


def test_a_job_in_the_background_of_a_shell_goes_on():
    script = (
        "import os, signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from tf_metacompress.cli.interrupt import insistent_interrupts\n"
        "with insistent_interrupts():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "print('went on')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, env=environment, capture_output=True).stdout == b"went on\n"
