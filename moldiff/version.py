"""The version of the package: pyproject.toml reads it from here, and every run records it."""

VERSION = "0.2.0"
