"""Requests become molecules and files: generate, vary, conformers; every molecule of it on record."""
