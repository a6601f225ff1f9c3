"""`benchmark`: the latency of a .tflite file on a device."""

from tf_metacompress.atomic import PathLike
from tf_metacompress.deploy.devices import Device, Runs, get_device
from tf_metacompress.deploy.latency import BenchmarkResult


def benchmark(
    path: PathLike,
    *,
    device: str | Device = "host",
    num_threads: int = 1,
    num_runs: int = 50,
    num_warmup: int = 5,
) -> BenchmarkResult:
    """Times a .tflite file.

    A figure of one machine says little of another; two files are best told apart by `compare`.

    Args:
        path: The file; any .tflite file will do.
        device: "host", "host-without-xnnpack", "android", "android:SERIAL",
            "ssh:[USER@]HOST[:PORT]", the name of a device registered before, or an object with a
            `benchmark` method, such as `AndroidDevice`.
        num_threads: Threads the runtime may use.
        num_runs: Measured runs.
        num_warmup: Runs before measuring begins; they are kept apart.

    Returns:
        Percentiles, raw values and what they were measured on.

    Raises:
        CorruptFileError: If the file is damaged; this process survives it.
        InvalidArgumentError: If there is no such file or device, or a count is out of range.
        DeviceError: If a phone or board, or the tool that reaches it, cannot be used.
    """
    runs = Runs(num_threads=num_threads, num_runs=num_runs, num_warmup=num_warmup)
    return get_device(device).benchmark(path, runs)
