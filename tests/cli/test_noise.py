"""What native code prints to stderr is filtered, all else passes, whatever happens."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap

import pytest

from tests.fresh_python import ROOT

NOISE = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795324387.092145    4519 port.cc:153] oneDNN custom operations are on.",
    "E0000 00:00:1795324391.002165    4519 cuda_platform.cc:52] failed call to cuInit: INTERNAL",
    "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
]
WORDS = [
    "W0000 00:00:1795324387.092145    4519 other.cc:1] take care",
    "E0000 00:00:1795324391.002165    4519 cuda_platform.cc:52] another error",
    "INFO: something of the user's",
    "F0000 00:00:1.1 1 cpu_feature_guard.cc:1] The TensorFlow library was compiled to use AVX",
]


def stderr_of(body, **options):
    script = f"""
import os, signal, sys
from tf_metacompress.cli.noise import known_noise_held_back

def native(lines):
    os.write(2, "".join(line + "\\n" for line in lines).encode())

{textwrap.dedent(body)}
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, **options
    )


def test_known_lines_go_and_all_others_stay_in_order():
    done = stderr_of(f"""
    native(["before"])
    with known_noise_held_back():
        native({NOISE + WORDS!r})
        native(["half"])
    native({NOISE[:1]!r})
    """)
    assert done.stderr.splitlines() == ["before", *WORDS, "half", NOISE[0]]


def test_python_writes_past_the_filter():
    done = stderr_of(f"""
    with known_noise_held_back():
        print({NOISE[0]!r}, file=sys.stderr)
        raise ValueError("seen")
    """)
    assert done.stderr.splitlines()[0] == NOISE[0]
    assert done.stderr.splitlines()[-1] == "ValueError: seen"


@pytest.mark.parametrize("end", ["os.abort()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_last_words_survive_a_crash(end):
    done = stderr_of(f"""
    with known_noise_held_back():
        native({NOISE + WORDS!r})
        {end}
    """)
    assert done.returncode in (-signal.SIGABRT, -signal.SIGKILL)
    assert done.stderr.splitlines() == WORDS


def test_the_level_of_tensorflow_is_set_but_a_given_one_is_kept():
    body = """
    os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
    with known_noise_held_back():
        print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    with known_noise_held_back():
        print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
    """
    assert stderr_of(body).stdout.split() == ["2", "0"]


def test_progress_bars_still_see_a_terminal():
    script = (
        "import sys\n"
        "from tf_metacompress.cli.noise import known_noise_held_back\n"
        "from tf_metacompress.progress import progress\n"
        "with known_noise_held_back():\n"
        "    list(progress(range(3), description='work'))\n"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", script])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    shown = b""
    # Linux ends what a closed terminal gives with an error.
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0
    assert b"work: 100%" in shown and b"3/3" in shown
