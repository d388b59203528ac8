"""Shared by the benchmarks: a platform to measure, a receiver that is not the bottleneck, loaders and results."""
