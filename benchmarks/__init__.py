"""Measurements of the running platform: one command each, results as JSON lines. `python -m benchmarks` lists them."""
