"""Reads what `run_litert.py` answered from a device, and says what to do when it failed."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tf_metacompress.deploy.devices.remote_shell import Answer, failure, last_lines
from tf_metacompress.deploy.machine import Machine
from tf_metacompress.errors import CorruptFileError, DeviceError

_MARK = "tf_metacompress_result:"
_NO_RUNTIME, _REFUSED, _NO_COMMAND, _SIGILL = 3, 4, 127, 132
_SIGNALS = {134: "SIGABRT", 137: "SIGKILL, perhaps for want of memory", 139: "SIGSEGV"}
_MACHINE = {field.name for field in fields(Machine)}
_MOST = 1e15


def read_litert_answer(answer: Answer, device: str, python: str) -> dict[str, Any]:
    """Reads the answer of the program.

    Args:
        answer: How it ended and what it printed.
        device: What to call the device.
        python: The Python that ran it.

    Returns:
        What it measured, checked.

    Raises:
        CorruptFileError: If the runtime there refuses the file.
        DeviceError: If the program failed, or its answer makes no sense.
    """
    told = _read_line(answer.text)
    if answer.code == 0 and _is_result(told):
        return told
    if answer.code == 0:
        raise DeviceError(f"The answer of {device} makes no sense: {last_lines(answer.text)}")
    if answer.code == _REFUSED:
        raise CorruptFileError(f"The runtime on {device} refuses the file: {told.get('error')}.")
    if answer.code == _NO_RUNTIME:
        raise DeviceError(
            f"{python} on {device} has no LiteRT runtime ({told.get('error')}). Install it there: "
            f"{python} -m pip install ai-edge-litert (where pip refuses, make a virtual "
            "environment and name its Python with `python` or --python).",
            reason="missing",
        )
    if answer.code == _NO_COMMAND:
        raise DeviceError(
            f"There is no {python} on {device}. Name one with `python` or --python.",
            reason="missing",
        )
    if answer.code == _SIGILL:
        raise DeviceError(
            f"The processor of {device} lacks an instruction that the runtime uses (SIGILL). "
            "ARMv8.0 cores (Raspberry Pi 3 and 4) end so when libLiteRtWebGpuAccelerator.so is "
            "loaded, as litert-benchmark does; the Interpreter of ai-edge-litert 2.3, which is "
            "used here, works on them: install that version there."
        )
    how = _SIGNALS.get(answer.code, f"exit code {answer.code}")
    raise failure(f"The run on {device} ended with {how}", answer.text)


def _read_line(text: str) -> dict[str, Any]:
    """Finds the line of JSON among all that was printed; empty when there is none."""
    lines = [line for line in text.splitlines() if line.startswith(_MARK)]
    try:
        told = json.loads(lines[-1].removeprefix(_MARK)) if lines else {}
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _is_result(told: Mapping[str, Any]) -> bool:
    """Whether an answer holds all that a result needs, as finite numbers."""
    machine, operators = told.get("machine"), told.get("operators")
    times = [[told.get("init_ms")], told.get("warmup_ms"), told.get("runs_ms")]
    return (
        isinstance(machine, dict)
        and machine.keys() == _MACHINE
        and all(isinstance(value, str | int) for value in machine.values())
        and isinstance(operators, list | None)
        and all(_is_operator(operator) for operator in operators or ())
        and all(isinstance(part, list) and all(map(_is_number, part)) for part in times)
        and bool(told["runs_ms"])
        and all(_is_number(told.get(key)) for key in ("peak_rss_bytes", "base_rss_bytes"))
        and isinstance(told.get("sha256"), str)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < _MOST


def _is_operator(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("op_name"), str):
        return False
    lists = [value.get(key) for key in ("inputs", "outputs")]
    return all(isinstance(part, list) and all(isinstance(t, int) for t in part) for part in lists)
