"""A slot tells at which item of its batch a worker is, whoever had it before."""

import errno
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from moldiff import batch_slots
from moldiff.batch_slots import NOWHERE, Slots


def free(slots: Slots) -> int:
    """The number of slots that no batch has; they are taken."""
    return len(list(iter(lambda: slots.take(2), None)))


def test_a_slot_tells_the_place_and_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_slots, "_SLOTS", 3)
    slots = Slots()
    for place in (0, 7, (1 << 20) - 1):
        slot = slots.take(20)
        assert slot is not None
        slot.write(slots.numbers, place)
        assert slots.give_back(slot) == place
    one = slots.take(1)
    assert one is not None, "of a batch of one it is told how long it takes"
    assert slots.give_back(one) is None
    assert slots.take((1 << 20) + 1) is None
    assert slots.give_back(None) is None
    assert free(slots) == 3


def test_before_the_first_item_and_after_the_last_nothing_is_known() -> None:
    slots = Slots()
    first = slots.take(2)
    assert first is not None
    assert slots.give_back(first) is None
    second = slots.take(2)
    assert second is not None
    second.write(slots.numbers, 1)
    second.write(slots.numbers, NOWHERE)
    assert slots.give_back(second) is None


def test_who_was_given_up_and_still_writes_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_slots, "_SLOTS", 1)
    slots = Slots()
    old = slots.take(9)
    assert old is not None
    slots.give_back(old)
    new = slots.take(9)
    assert new is not None and new.index == old.index
    new.write(slots.numbers, 3)
    old.write(slots.numbers, 5)
    assert slots.give_back(new) is None


class Disk(NamedTuple):
    f_bavail: int
    f_frsize: int = 4096


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room is not reserved here")
def test_a_full_disk_gives_no_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is shared begins as a sparse file, and the first write into one without room ends the process."""
    asked = []

    def full(descriptor: int, start: int, size: int) -> None:
        asked.append((os.path.dirname(os.readlink(f"/proc/self/fd/{descriptor}")), start, size))
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("memory", "disk"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(batch_slots, "_MEMORY", str(tmp_path / "memory"))
    monkeypatch.setattr(batch_slots, "get_temp_dir", lambda: str(tmp_path / "disk"))
    monkeypatch.setattr(os, "posix_fallocate", full)
    for blocks, name in ((2, "memory"), (1, "disk")):
        monkeypatch.setattr(os, "statvfs", lambda _, blocks=blocks: Disk(blocks))
        slots = Slots()
        assert slots.take(2) is None and slots.give_back(None) is None
        assert asked.pop() == (str(tmp_path / name), 0, 8192)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: full(0, 0, 0))  # no folder for it at all
    assert Slots().take(2) is None
