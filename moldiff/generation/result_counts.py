"""Counts of results: every number comes once, duplicates are marked."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import replace

from moldiff.chem.identity import text_key
from moldiff.errors import MoldiffError
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.status import Status


class FirstNumbers:
    """A dictionary from 64-bit keys to the numbers that they came with first, in 24 to 48 bytes for each: a table with
    open addressing, which doubles when two thirds of it are taken. Of a million hashes, two are the same by chance with
    a probability of 3e-8."""

    def __init__(self) -> None:
        self._count = 0
        self._reserve(1 << 10)

    def __len__(self) -> int:
        return self._count

    def setdefault(self, key: int, number: int, /) -> int:
        """Return the number that a key came with first."""
        key = key or 1  # 0 = a place is free
        place = self._place(key)
        if self._keys[place] == key:
            return self._numbers[place]
        self._keys[place], self._numbers[place] = key, number
        self._count += 1
        if 3 * self._count > 2 * len(self._keys):
            keys, numbers = self._keys, self._numbers
            self._reserve(2 * len(keys))
            for old, first in zip(keys, numbers, strict=True):
                if old:
                    place = self._place(old)
                    self._keys[place], self._numbers[place] = old, first
        return number

    def _reserve(self, size: int) -> None:
        self._keys, self._numbers = array("Q", bytes(8 * size)), array("q", bytes(8 * size))

    def _place(self, key: int) -> int:
        """Return where a key stands or is to stand. Keys are hashes, so their last bits are as good as any."""
        last = len(self._keys) - 1
        place = key & last
        while self._keys[place] not in (0, key):
            place = (place + 1) & last
        return place


class ResultCounts:
    """Marks duplicates in draw order and counts every status and reason; every number comes once.

    Args:
        first: number of the first draw.
        id_of: from a draw's number to its ``moldiff_id``.

    Attributes:
        by_status: status -> draws.
        decodings: which decoding made the molecule -> status -> draws.
        reasons: code of each reason -> draws.
        property_failures: property -> molecules that its calculator failed on.
        renoised: draws that were noised and walked down again, attempts at that, draws that were valid in the end.
        evaluations: of the network.
        unique: different SMILES among the valid.
        first_reason: of the first draw that is not valid.
        to_show: number of the first valid molecule, else of the first that there is anything to show of; None = none.
    """

    def __init__(self, first: int = 0, id_of: Callable[[int], str] = str) -> None:
        self.by_status = dict.fromkeys(map(str, Status), 0)
        self.decodings: dict[str, dict[str, int]] = {}
        self.reasons: dict[str, int] = {}
        self.property_failures: dict[str, int] = {}
        self.renoised = {"draws": 0, "attempts": 0, "valid": 0}
        self.evaluations = self.unique = 0
        self.first_reason = ""
        self.to_show: int | None = None
        self._next, self._first, self._id_of = first, FirstNumbers(), id_of

    @property
    def drawn(self) -> int:
        """All draws so far."""
        return sum(self.by_status.values())

    @property
    def valid(self) -> int:
        """Valid molecules so far."""
        return self.by_status[Status.VALID]

    def take(self, result: MoleculeResult, *, gaps: bool = False) -> MoleculeResult:
        """Count one result, give it its id, and mark it if it is a duplicate.

        Args:
            result: not counted yet.
            gaps: numbers may be missing, as draws are made in the order of their sizes and were interrupted.

        Raises:
            MoldiffError: a number is missing, or came before.
        """
        if result.number < self._next or (result.number > self._next and not gaps):
            raise MoldiffError(f"draw {self._next} was lost on the way: draw {result.number} came in its place")
        self._next = result.number + 1
        result = replace(result, id=self._id_of(result.number))
        valid = result.status == Status.VALID
        self.evaluations += result.evaluations
        if result.renoised:
            self.renoised["draws"] += 1
            self.renoised["attempts"] += result.renoised
            self.renoised["valid"] += valid
        self.by_status[result.status] += 1
        if result.decoding:
            made = self.decodings.setdefault(result.decoding, {})
            made[str(result.status)] = made.get(result.status, 0) + 1
        if result.reason:
            self.first_reason = self.first_reason or result.reason
            _add(self.reasons, result.reason.partition(":")[0])
        for name in (name for name, value in result.properties.items() if math.isnan(value)):
            _add(self.property_failures, name)
        if (valid and self.valid == 1) or (result.mol is not None and self.to_show is None):
            self.to_show = result.number
        first = self._first.setdefault(text_key(result.smiles), result.number) if valid else result.number
        self.unique += valid and first == result.number
        return result if first == result.number else replace(result, duplicate_of=self._id_of(first))


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
