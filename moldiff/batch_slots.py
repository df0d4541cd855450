"""Slots: numbers in memory that worker processes share with their parent, of which item of a batch they are at."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import deque
from collections.abc import MutableSequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.util import get_temp_dir

NOWHERE = -1
_SLOTS = 1024  # batches at once of which that is known
_PLACE_BITS = 20  # of a number; the others are the batch
_MEMORY = "/dev/shm"  # noqa: S108 - only looked at; where Linux has files that are memory


@dataclass(frozen=True)
class Slot:
    """A slot that a batch has.

    Attributes:
        index: of its number.
        batch: number of the batch. It stands beside the place: who was given up and still writes says so by it.
    """

    index: int
    batch: int

    def write(self, numbers: MutableSequence[int], place: int) -> None:
        """Write down at which item of the batch its worker is; `NOWHERE` = at none."""
        numbers[self.index] = NOWHERE if place == NOWHERE else self.batch << _PLACE_BITS | place


class Slots:
    """All slots of some workers.

    Attributes:
        numbers: their memory.
    """

    def __init__(self) -> None:
        try:
            _refuse_full_disk(8 * _SLOTS)
            self.numbers: MutableSequence[int] = get_context("spawn").RawArray("q", _SLOTS)
        except OSError:  # no room for memory that is shared: then items are tried one by one
            self.numbers = []
        self._free = deque(range(len(self.numbers)))
        self._batches = itertools.count()

    def take(self, items: int) -> Slot | None:
        """Return a slot for a batch of so many items; None if it is too long for one, or none is left."""
        if items > 1 << _PLACE_BITS:
            return None
        try:
            slot = Slot(self._free.popleft(), next(self._batches))
        except IndexError:
            return None
        slot.write(self.numbers, NOWHERE)
        return slot

    def place(self, slot: Slot | None) -> int | None:
        """Return at which item of its batch a worker is; None if that is not known, or it is at none."""
        if slot is None:
            return None
        batch, place = divmod(self.numbers[slot.index], 1 << _PLACE_BITS)
        return place if batch == slot.batch else None

    def give_back(self, slot: Slot | None) -> int | None:
        """Take back the slot of a batch that nobody waits for any more; return at which item its worker was."""
        place = self.place(slot)
        if slot is not None:
            self._free.append(slot.index)
        return place


def _refuse_full_disk(size: int) -> None:
    """Raise OSError unless so many bytes can be shared: their file begins as a sparse one, and the first write into one
    for which a disk has no room ends the process (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        with tempfile.TemporaryFile(dir=_folder_of(size)) as file:
            os.posix_fallocate(file.fileno(), 0, size)


def _folder_of(size: int) -> str:
    """Return the folder that `multiprocessing` chooses for a file of shared memory."""
    with suppress(OSError):
        disk = os.statvfs(_MEMORY)
        if disk.f_bavail * disk.f_frsize >= size:
            return _MEMORY
    return get_temp_dir()
