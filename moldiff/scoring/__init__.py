"""Wishes as numbers: targets, named scores, property networks."""
