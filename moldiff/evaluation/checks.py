"""Checks by other packages, a molecule at a time: what they found, and which molecules they could not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from moldiff.errors import class_and_line
from moldiff.processes import Lost, Ready, pool_of
from moldiff.worker_process import idle

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 8  # molecules sent to a worker at once


@dataclass(frozen=True)
class Checked(Generic[Result]):
    """The outcome for some records of a file.

    Attributes:
        results: record index -> what was found.
        unchecked: record index -> why nothing was: the check failed, crashed its process or was not done in time.
    """

    results: dict[int, Result]
    unchecked: dict[int, str]


def draw(n: int, most: int, seed: int) -> list[int]:
    """Return at most ``most`` of the numbers 0 .. n - 1, drawn at random, in order."""
    if n <= most:
        return list(range(n))
    return sorted(np.random.default_rng(seed).choice(n, size=most, replace=False).tolist())


def check_all(
    check: Callable[[Item], Result],
    items: Sequence[tuple[int, Item]],
    *,
    timeout_s: float,
    workers: int = 1,
    isolated: bool = False,
    ready: Ready = idle,
    progress: Callable[[int], None] | None = None,
) -> Checked[Result]:
    """Check every molecule; one that costs its worker, or makes the check raise, is not checked and said to be so.

    Args:
        check: a function of a module.
        items: (record index, plain values that ``check`` takes).
        timeout_s: longest time for one molecule.
        workers, isolated, ready: see `moldiff.processes.pool_of`.
        progress: called with the number of molecules done so far.
    """
    results: dict[int, Result] = {}
    unchecked: dict[int, str] = {}
    values = (item for _, item in items)
    work = partial(_guarded, check)
    with pool_of(workers, isolated=isolated, ready=ready) as pool:
        found = pool.map_items(work, values, chunk=CHUNK, timeout_s=timeout_s)
        for (index, _), result in zip(items, found, strict=True):
            if isinstance(result, Lost):
                unchecked[index] = result.reason
            else:
                results[index] = result
            if progress is not None:
                progress(len(results) + len(unchecked))
    return Checked(results, unchecked)


def _guarded(check: Callable[[Item], Result], item: Item) -> Result | Lost:
    try:
        return check(item)
    except Exception as error:  # noqa: BLE001 - another package's code, on molecules from anywhere
        return Lost(f"error: {class_and_line(error)}")
