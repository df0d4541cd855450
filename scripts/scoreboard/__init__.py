"""Scoreboard of reliability: ``python -m scripts.scoreboard --help``."""
