"""Measurements of `scripts.device_check`."""
