"""Bounds of the negative log-likelihood of given molecules, next to those of held-out ones."""
