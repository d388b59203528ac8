"""Runs the platform as real processes, for tests and benchmarks. It is not part of the image."""
