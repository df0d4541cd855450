"""A slot tells at which item of its batch a worker is, whoever had it before."""

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
    assert slots.take(1) is None, "of a batch of one, the item to blame is known"
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
