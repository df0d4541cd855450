"""Filters: which molecules pass, and the reason why one does not."""
