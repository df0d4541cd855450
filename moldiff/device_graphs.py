"""CUDA graphs: a sequence of kernels that is captured once, and then launched all at once.

A small network is a thousand short kernels, and a card waits for the processor that launches them one by one. What a
graph reads and writes lies in buffers that stay where they are.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import torch

Result = TypeVar("Result")

_WARM_UPS = 2  # PyTorch's libraries set themselves up, and its compiler compiles, outside of a capture
_captures = threading.Lock()  # of which a process can have one at a time


def has_graphs(device: torch.device) -> bool:
    """Tell whether there are graphs on a device."""
    return device.type == "cuda"


def captured(
    work: Callable[[], Result],
    device: torch.device,
    beside: torch.cuda.CUDAGraph | None = None,
    undo: Callable[[], None] = lambda: None,
) -> tuple[torch.cuda.CUDAGraph, Result]:
    """Return a graph of some work, and what the work returned: tensors that every replay fills anew.

    Args:
        work: nothing in it may wait for the device, or copy from the memory of the processor.
        device: a CUDA device.
        beside: another graph, which never runs at the same time: both share their memory.
        undo: called after the runs before the capture, which itself runs nothing.

    Raises:
        RuntimeError: what went wrong first. The thread is on the stream that it was on all the same.
    """
    outside = sys.exception()
    try:
        with _captures:
            return _captured(work, device, beside, undo)
    except Exception as error:
        first = error
        while isinstance(before := first.__context__, Exception) and before is not outside:
            first = before
        if first is error:
            raise
        raise first from None  # the end of a capture that went wrong goes wrong too, and tells nothing


def _captured(
    work: Callable[[], Result],
    device: torch.device,
    beside: torch.cuda.CUDAGraph | None,
    undo: Callable[[], None],
) -> tuple[torch.cuda.CUDAGraph, Result]:
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            work()
    torch.cuda.current_stream(device).wait_stream(stream)
    undo()
    graph, pool = torch.cuda.CUDAGraph(), None if beside is None else beside.pool()
    index = torch.cuda.current_device() if device.index is None else device.index
    # Only calls of this thread can spoil the capture. If that goes wrong, PyTorch does not leave the stream; we do.
    with (
        torch.cuda.device(index),
        torch.cuda.stream(torch.cuda.current_stream(index)),
        torch.cuda.graph(graph, pool, stream=_capture_stream(index), capture_error_mode="thread_local"),
    ):
        result = work()
    return graph, result


@cache
def _capture_stream(index: int) -> torch.cuda.Stream:
    """Return the stream of all captures on a card: PyTorch's own belongs to whichever card was current at the first
    capture, and graphs that share their memory have to share their stream."""
    return torch.cuda.Stream(index)
