"""The best molecules of a run, by one named number."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.filters.checks import Measure
from moldiff.chem.filters.measures import measure_named
from moldiff.errors import MoldiffError, blaming
from moldiff.scoring.targets import parse_target
from moldiff.screening.rows import Row

_ENDS: dict[str, Callable[[float], float]] = {"high": lambda value: value, "low": lambda value: -value}


class Ranking(Protocol):
    """An order of molecules.

    Attributes:
        texts: of the user.
        measures: numbers that it needs.
    """

    @property
    def texts(self) -> tuple[str, ...]: ...

    @property
    def measures(self) -> tuple[Measure, ...]: ...

    def of(self, row: Row) -> float:
        """Return what a row is worth; the highest comes first."""
        ...


@dataclass(frozen=True)
class Rank:
    """The order of molecules by one named number.

    Attributes:
        text: of the user.
        measure: knows the number.
        worth: of a value; the highest comes first.
    """

    text: str
    measure: Measure
    worth: Callable[[float], float]

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.text,)

    @property
    def measures(self) -> tuple[Measure, ...]:
        return (self.measure,)

    def of(self, row: Row) -> float:
        """Return what a row is worth; what has no number comes last."""
        value = row.values.get(self.measure.name)
        return self.worth(value) if isinstance(value, float) else float("-inf")


@blaming("rank")
def parse_rank(text: str, others: Iterable[Measure] = ()) -> Rank:
    """Read ``qed`` (the highest first), ``sa:low`` (the lowest first) or ``logp=2.5``, ``mw=300..400`` (the nearest
    first).

    Args:
        text: of a user.
        others: measures that the user brought along.

    Raises:
        MoldiffError: it is none of these, or no such number is known.
    """
    if set(text) & set("=<>"):
        target = parse_target(text)
        return Rank(text, measure_named(target.name, others, argument="rank"), lambda value: -target.distance(value))
    name, _, end = text.rpartition(":")
    if end not in _ENDS or not name:
        name, end = text, "high"
        if (first := text.partition(":")[0].strip()) in PROPERTIES and first != name:
            raise MoldiffError(
                f"rank '{text}': expected {first}:high, {first}:low, {first}=VALUE, or a wish such as "
                f"{first}:max:LOW..HIGH",
                argument="rank",
            )
    return Rank(text, measure_named(name, others, argument="rank"), _ENDS[end])


class Best:
    """Keeps the best rows, or all if no number is given; equal ones in the order of their records.

    Args:
        rank: None = the order of the records.
        n: how many; None = all.
    """

    def __init__(self, rank: Ranking | None, n: int | None) -> None:
        self._rank, self._n = rank, n
        self._heap: list[tuple[float, int, Row]] = []  # the worst on top

    def add(self, row: Row) -> None:
        entry = (0.0 if self._rank is None else self._rank.of(row), -row.number, row)
        if self._n is None or len(self._heap) < self._n:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows, the best first."""
        yield from (row for _, _, row in sorted(self._heap, key=lambda entry: entry[:2], reverse=True))

    def __len__(self) -> int:
        return len(self._heap)
