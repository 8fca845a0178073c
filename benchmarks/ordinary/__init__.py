"""Ordinary markets with an independent truth: see ``python -m benchmarks.ordinary --help``."""
