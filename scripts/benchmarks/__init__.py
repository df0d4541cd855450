"""Measurements: ``python -m scripts.benchmarks.model --help``; their tables are in results/."""
