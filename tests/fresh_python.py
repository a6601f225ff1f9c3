"""Runs a script in a new interpreter, for what must hold right after an import."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_script(*arguments: str, cwd: Path = ROOT, timeout: float = 100) -> str:
    """Runs `python *arguments` with the checkout importable; fails with its output."""
    environment = {
        **{key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"},
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout
