"""The interface of all checks of a molecule: a `Check` looks at a `Subject` and returns a `CheckResult`, a `Measure`
returns a number; `examine` asks several checks, in order of cost.

A check is plain data (a frozen dataclass), so that it can be sent to a worker process; what takes long to build, such
as a catalogue of patterns, is built there when it is first needed, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from rdkit import Chem, rdBase

from moldiff.chem.coordinates import has_conformer
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, without_explicit_hydrogens
from moldiff.chem.hydrogens import with_all_hydrogens
from moldiff.chem.identity import inchikey
from moldiff.chem.isomers import placed
from moldiff.chem.sanitize import error_reason

EMBEDDING_S = 30
"""Longest time, in seconds, that coordinates are looked for."""


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check.

    Attributes:
        name: name of the check, and of its column in tables.
        passed: whether the molecule passed.
        value: the figure or the finding that decided (meaning in the check's docstring), None if there is none.
        detail: for a failure, what is wrong, in a few words; "" otherwise.
        limit: what is allowed, "<450"; "" where the name says it.
        broken: the check itself failed on this molecule, which is no verdict on it.
    """

    name: str
    passed: bool
    value: float | str | None = None
    detail: str = ""
    limit: str = ""
    broken: bool = False

    @property
    def reason(self) -> str:
        """Name and detail; "" if it passed."""
        return "" if self.passed else f"{self.name}: {self.detail}"


class Subject:
    """A sanitised molecule under examination. What several checks need of it is computed once.

    Args:
        mol: hydrogens explicit or not, with coordinates or without.
        seed: of coordinates, where there are none; they are a function of molecule and seed.
        tags: data fields of the record that it comes from.
    """

    def __init__(self, mol: Chem.Mol, seed: int = 0, tags: Mapping[str, str] = MappingProxyType({})) -> None:
        self.mol, self.seed, self.tags = mol, seed, tags
        self.pose: Chem.Mol | None = None  # in a receptor, once it was docked
        self._values: dict[str, float] = {}
        self._found: dict[str, Any] = {}

    @cached_property
    def bare(self) -> Chem.Mol | None:
        """The molecule without explicit hydrogens, as properties, alerts and patterns see it; None if RDKit fails."""
        if self.mol.GetNumHeavyAtoms() == self.mol.GetNumAtoms():
            return self.mol
        with rdBase.BlockLogs():
            return without_explicit_hydrogens(self.mol)

    def value(self, name: str) -> float:
        """Return a property of `moldiff.chem.descriptors.rdkit_descriptors.PROPERTIES`; NaN where its calculator
        fails."""
        if name not in self._values:
            self._values[name] = float("nan") if self.bare is None else PROPERTIES[name].value(self.bare)
        return self._values[name]

    @property
    def has_coordinates(self) -> bool:
        """True if the molecule came with a 3D conformer."""
        return has_conformer(self.mol)

    @cached_property
    def inchikey(self) -> str:
        """The standard InChIKey; "" where InChI refuses the molecule."""
        try:
            return inchikey(self.mol)
        except ValueError:
            return ""

    def remembered(self, key: str, work: Callable[[], Any]) -> Any:
        """Return what some work found, which is done once for each key."""
        if key not in self._found:
            self._found[key] = work()
        return self._found[key]

    @cached_property
    def placed(self) -> tuple[Chem.Mol | None, str]:
        """The molecule with every hydrogen an atom and one 3D conformer, its own or one of ETKDGv3 and MMFF94s
        (see `moldiff.chem.isomers.placed`); or None and the reason."""
        if not self.has_coordinates:
            return placed(self.mol, self.seed, EMBEDDING_S)
        with rdBase.BlockLogs():
            try:
                return with_all_hydrogens(self.mol), ""
            except Exception as error:  # noqa: BLE001 - RDKit has many
                return None, error_reason(error)


@dataclass(frozen=True)
class Measured:
    """A number of a molecule.

    Attributes:
        value: NaN = it cannot be known.
        detail: what there is to say of it: why it is not known, what it counts.
        broken: what should tell the number failed, see `CheckResult`.
    """

    value: float
    detail: str = ""
    broken: bool = False


class Measure(Protocol):
    """The source of a number of a molecule; plain data like a `Check`.

    Attributes:
        name: that users write.
        cost: about how many milliseconds a drug-like molecule takes on one core.
        whole: values are whole numbers.
    """

    @property
    def name(self) -> str: ...

    @property
    def cost(self) -> float: ...

    @property
    def whole(self) -> bool: ...

    def __call__(self, subject: Subject) -> Measured: ...


@runtime_checkable
class Prepared(Protocol):
    """A measure that is got ready without being asked: it runs a user's code, or takes long."""

    def prepare(self, subject: Subject) -> None: ...


class Check(Protocol):
    """A check that users ask for.

    Attributes:
        name: of its results, and of its column in tables.
        cost: about how many milliseconds a drug-like molecule takes on one core.
        is_text: its values are texts, else numbers.
    """

    @property
    def name(self) -> str: ...

    @property
    def cost(self) -> float: ...

    @property
    def is_text(self) -> bool: ...

    def __call__(self, subject: Subject) -> CheckResult: ...


@dataclass(frozen=True)
class Verdict:
    """The findings of checks on one molecule.

    Attributes:
        results: of the checks that were asked, in that order.
    """

    results: tuple[CheckResult, ...]

    @property
    def failure(self) -> CheckResult | None:
        """The first result that did not pass; None if all passed."""
        return next((result for result in self.results if not result.passed), None)

    def values(self) -> dict[str, float | str]:
        """Return name -> value of the checks that have one."""
        return {result.name: result.value for result in self.results if result.value is not None}


def by_cost(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Return checks with the cheapest first; those that cost the same in their order."""
    return tuple(sorted(checks, key=lambda check: check.cost))


def examine(
    subject: Subject, checks: Sequence[Check], *, every: bool = False, known: Mapping[str, CheckResult] | None = None
) -> Verdict:
    """Ask checks, in their order, up to the first that fails.

    A check that raises gives a result that is `CheckResult.broken`; no molecule makes this raise.

    Args:
        subject: that is looked at.
        checks: see `by_cost`.
        every: ask all of them; the first failure is the same.
        known: name -> result of checks that need not be asked again.
    """
    results = []
    with rdBase.BlockLogs():
        for check in checks:
            try:
                result = (known or {}).get(check.name) or check(subject)
            except Exception as error:  # noqa: BLE001 - RDKit and users' functions may raise anything
                result = CheckResult(check.name, False, None, error_reason(error), broken=True)
            results.append(result)
            if not (result.passed or every):
                break
    return Verdict(tuple(results))
