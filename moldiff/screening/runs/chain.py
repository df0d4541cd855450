"""The chain of checks of a run under a key, and what an earlier chain has found that need not be found again.

A check is plain data and its result a function of the molecule alone, so a result holds wherever the same check is
asked again. Only what was asked up to a molecule's first failure is known of it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from moldiff.chem.filters.checks import CheckResult, Verdict
from moldiff.chem.filters.measures import FunctionMeasure
from moldiff.chem.filters.preparation import InchikeyCheck
from moldiff.reading import sha256_of
from moldiff.screening.filter_run import FilterOptions
from moldiff.screening.rows import Row
from moldiff.screening.worker import DRAW, READ, STANDARDISE, WORKER, judged
from moldiff.status import Status
from moldiff.version import VERSION


@dataclass(frozen=True)
class Link:
    """A check as a chain remembers it.

    Attributes:
        name: of the check.
        is_text: its values are texts.
        told: hash of all that it is.
    """

    name: str
    is_text: bool
    told: str


@dataclass(frozen=True)
class Chain:
    """Checks in their order, and what else their results depend on.

    Attributes:
        links: of the checks.
        every: all of them were asked of every molecule.
        base: versions of moldiff and RDKit, seed, the form of molecules, the gate of hazards.
    """

    links: tuple[Link, ...]
    every: bool
    base: str

    @classmethod
    def of(cls, options: FilterOptions) -> Chain:
        """Return the chain of the checks of some options."""
        links = tuple(Link(check.name, check.is_text, _digest(_told(check))) for check in options.checks())
        form = "standard forms" if options.standardise else "molecules as they are"
        gate = options.hazards.digest
        base = f"moldiff {VERSION}, rdkit {version('rdkit')}, {form}, seed {options.seed}, hazards {gate}"
        return cls(links, options.all_checks, base)

    @cached_property
    def key(self) -> str:
        """Sixteen letters that no other chain has."""
        return _digest(self.record())[:16]

    def record(self) -> dict[str, Any]:
        """Return the chain as plain JSON."""
        links = [[link.name, link.is_text, link.told] for link in self.links]
        return {"links": links, "every": self.every, "base": self.base}

    @classmethod
    def from_record(cls, value: Mapping[str, Any]) -> Chain:
        """Return the chain of a record; KeyError, TypeError or ValueError if it is none."""
        links = tuple(Link(str(name), bool(is_text), str(told)) for name, is_text, told in value["links"])
        return cls(links, bool(value["every"]), str(value["base"]))

    def other_base(self, others: Iterable[Chain]) -> str:
        """Return what sets this chain apart from the first other one of the same checks: "moldiff 0.1.0 (was moldiff
        0.0.9)"; "" where there is none."""
        akin = next((one.base for one in others if one.links == self.links and one.base != self.base), self.base)
        pairs = zip(self.base.split(", "), akin.split(", "), strict=False)
        return ", ".join(f"{own} (was {theirs})" for own, theirs in pairs if own != theirs)

    def shared(self, other: Chain) -> frozenset[str]:
        """Return the names of the checks that are in both chains, and once in each."""
        if self.base != other.base:
            return frozenset()
        once = [
            {name for name, count in Counter(link.name for link in chain.links).items() if count == 1}
            for chain in (self, other)
        ]
        return frozenset(link.name for link in set(self.links) & set(other.links) if link.name in once[0] & once[1])


@dataclass(frozen=True)
class Earlier:
    """The findings of an earlier chain.

    Attributes:
        chain: the earlier one.
        wanted: the one that is asked now.
        retry: what failed is tried again.
    """

    chain: Chain
    wanted: Chain
    retry: bool = False

    @cached_property
    def _names(self) -> frozenset[str]:
        return self.chain.shared(self.wanted)

    def known(self, row: Row) -> dict[str, CheckResult]:
        """Return name -> result of the checks that were asked of a record, up to its first failure."""
        found: dict[str, CheckResult] = {}
        if row.status == Status.WITHHELD or row.stage in (DRAW, READ, STANDARDISE, WORKER):
            return found
        for link in self.chain.links:
            value: float | str | None = row.values.get(link.name)
            if link.name == InchikeyCheck.name:
                value = row.inchikey or None
            failed = row.stage == link.name
            broken = failed and row.status == Status.FAILED
            if link.name in self._names and not (broken and self.retry):
                detail = row.reason.removeprefix(f"{link.name}: ") if failed else ""
                limit = row.limit if failed else ""
                found[link.name] = CheckResult(link.name, not failed, value, detail, limit, broken)
            if failed:
                break
        return found

    def settled(self, row: Row) -> Row | None:
        """Return the row that the chain that is asked now would give, if it can be told from the earlier one alone."""
        if row.status == Status.WITHHELD:
            return row if self.chain.base == self.wanted.base else None
        if row.stage in (DRAW, READ, STANDARDISE) and self.chain.base == self.wanted.base:
            return None if row.status == Status.FAILED and self.retry else row
        if row.stage in (DRAW, READ, STANDARDISE, WORKER):
            return row if self.chain == self.wanted and not self.retry else None
        known, results = self.known(row), []
        for link in self.wanted.links:
            if link.name not in known:
                return None
            results.append(known[link.name])
            if not (results[-1].passed or self.wanted.every):
                break
        return judged(replace(row, value=None, limit="", values={}), Verdict(tuple(results)))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()


def _told(value: object) -> Any:
    """Return plain JSON that says all of a check: its class and fields, and those of what it holds."""
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, FunctionMeasure):
        return [value.name, _source(value.name)]
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if is_dataclass(value) and not isinstance(value, type):
        own = {one.name: _told(getattr(value, one.name)) for one in fields(value)}
        return [f"{type(value).__module__}.{type(value).__qualname__}", own]
    if isinstance(value, Mapping):
        return [[_told(key), _told(item)] for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_told(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_told(item)) for item in value)
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}"
    if isinstance(value, Path):
        return str(value)
    return value if value is None or isinstance(value, bool | int | str) else repr(value)


def _source(name: str) -> str:
    """Return the hash of the file of a user's function; "" for one of an installed package."""
    file = Path(name.rpartition(":")[0])
    return sha256_of(file) if file.suffix == ".py" else ""
