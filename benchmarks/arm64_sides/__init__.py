"""The parts of the benchmark on emulated arm64."""
