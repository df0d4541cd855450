"""A training run within somebody's session: what PyTorch has been set to there neither changes it, nor is changed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_NOTES = logging.getLogger("pytorch_lightning.utilities.rank_zero")
"""Lightning's notes at every start (hardware it looked for, advertisements) are no news of the run."""
_ORDER = "CUDA_DEVICE_ORDER"  # which Lightning sets where nobody has


@contextmanager
def own_settings(threads: int) -> Iterator[None]:
    """Give a run float32, so many CPU threads and a Lightning that tells nothing but warnings; afterwards all is as the
    session had it, its random numbers, its current card and whether it takes gradients too.

    Args:
        threads: for PyTorch's operations; 0 = as many as the session has.
    """
    state, before, number_type = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    gradients, level = torch.is_grad_enabled(), _NOTES.level
    card = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    order = os.environ.get(_ORDER)
    torch.set_default_dtype(torch.float32)
    _NOTES.setLevel(logging.WARNING)
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        _NOTES.setLevel(level)
        if torch.cuda.is_initialized():
            torch.cuda.set_device(card)
        if order is None:
            os.environ.pop(_ORDER, None)
        torch.set_grad_enabled(gradients)  # Lightning takes them, and leaves it so
        torch.set_default_dtype(number_type)
        torch.set_num_threads(before)
        torch.set_rng_state(state)


def seed_weights(seed: int) -> None:
    """Let fresh weights follow from a seed. They are drawn on the CPU; the generators of cards are left alone."""
    torch.default_generator.manual_seed(seed)
