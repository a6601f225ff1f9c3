"""Parts of the latency benchmarks."""
