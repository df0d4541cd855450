"""Scores of molecules for black-box guidance: a user's function under guard, and a few ready-made ones.

A score function takes a list of sanitised RDKit molecules (every hydrogen an atom, one 3D conformer) and returns a
number for each, or None for a molecule that has no score. It gets copies: it may do with them what it likes.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rdkit import Chem, DataStructs, rdBase

from moldiff.arguments import shown
from moldiff.chem.convert import from_bytes, to_bytes
from moldiff.chem.descriptors.fingerprints import fingerprint
from moldiff.chem.descriptors.rdkit_descriptors import compute
from moldiff.chem.descriptors.xtb import gfn2_properties
from moldiff.chem.filters.hazards import STANDARD_GATE
from moldiff.chem.io.capped import smiles_record
from moldiff.chem.io.records import parse
from moldiff.chem.smarts import has_match, smarts_problem, smarts_query
from moldiff.errors import MoldiffError, class_and_line, nearest_name
from moldiff.foreign_code import may_run
from moldiff.interruption import Terminated
from moldiff.path_names import written_out
from moldiff.processes import DEADLINE_S, THIS_PROCESS, Lost, Pool

ScoreFunction = Callable[[list[Chem.Mol]], Sequence[float | None]]
_FAILURES = (Exception, SystemExit)  # of a user's code: what it exits with ends its answer, not the run
CHUNK = 8  # molecules that are sent to a worker at once


class ScoreError(MoldiffError):
    """A score function failed.

    Attributes:
        molecules: what was finished before.
    """

    def __init__(self, message: str, molecules: Sequence[Chem.Mol] = ()) -> None:
        super().__init__(message)
        self.molecules = list(molecules)


@dataclass(frozen=True)
class Score:
    """A score function whose answers are checked.

    Attributes:
        name: what users call it.
        function: does the work.
        travels: it is plain chemistry of one molecule after the other, which other processes can do.
    """

    name: str
    function: ScoreFunction
    travels: bool = False

    def of(self, molecules: Sequence[Chem.Mol], pool: Pool = THIS_PROCESS) -> list[float | None]:
        """Return the score of each molecule, by a pool if the score travels: then one that crashes, hangs or takes too
        much memory has none. Errors as for a call."""
        if not self.travels:
            return self(molecules)
        found = pool.map_items(self._of_bytes, map(to_bytes, molecules), chunk=CHUNK, timeout_s=DEADLINE_S)
        return [None if isinstance(score, Lost) else score for score in found]

    def _of_bytes(self, stored: bytes) -> float | None:
        return self([from_bytes(stored)])[0]

    def __call__(self, molecules: Sequence[Chem.Mol]) -> list[float | None]:
        """Return the score of each molecule, finite or None.

        Raises:
            ScoreError: the function raised, returned a wrong number of values, or a value that is no finite number.
        """
        if not molecules:
            return []
        try:
            values = self.function([Chem.Mol(mol) for mol in molecules])
            found = _listed(values)
        except Terminated:
            raise
        except _FAILURES as error:
            raise ScoreError(f"the score {self.name} raised {class_and_line(error, 200)}") from error
        if found is None:
            kind = type(values).__name__
            raise ScoreError(f"the score {self.name} returned {kind}, not a list with a number for each molecule")
        if len(found) != len(molecules):
            raise ScoreError(f"the score {self.name} returned {len(found)} values for {len(molecules)} molecules")
        return [self._checked(value, mol) for value, mol in zip(found, molecules, strict=True)]

    def _checked(self, value: Any, mol: Chem.Mol) -> float | None:
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number + 0.0  # minus a distance of 0 is 0
        raise ScoreError(
            f"the score {self.name} returned {shown(value):.40} for {_smiles(mol)}; expected a finite number, or None "
            "for a molecule without a score"
        )


@dataclass(frozen=True)
class PropertyScore:
    """The score that is an RDKit property, or minus its distance from what is wanted.

    Attributes:
        name: one of `moldiff.chem.descriptors.rdkit_descriptors.PROPERTIES`.
        wanted: value -> distance.
    """

    name: str
    wanted: Callable[[float], float] | None = None

    def __call__(self, molecules: list[Chem.Mol]) -> list[float | None]:
        return [_towards(compute(mol, [self.name])[self.name], self.wanted) for mol in molecules]


@dataclass(frozen=True)
class Gfn2Score:
    """The score that is a GFN2-xTB property, or minus its distance from what is wanted; None where the calculation
    fails.

    Attributes:
        name: one of `moldiff.chem.descriptors.xtb.GFN2_PROPERTIES`.
        wanted: value -> distance.
    """

    name: str
    wanted: Callable[[float], float] | None = None

    def __call__(self, molecules: list[Chem.Mol]) -> list[float | None]:
        return [_towards(gfn2_properties(mol).get(self.name), self.wanted) for mol in molecules]


@dataclass(frozen=True)
class SmartsScore:
    """The score 1 for a molecule with a match of a SMARTS pattern (see `moldiff.chem.smarts`) and 0 without; None where
    the hydrogens cannot be left out. MoldiffError if it is no pattern.

    Attributes:
        pattern: SMARTS.
    """

    pattern: str

    def __post_init__(self) -> None:
        if problem := smarts_problem(self.pattern):
            raise MoldiffError(f"score: {problem}", argument="score")

    def __call__(self, molecules: list[Chem.Mol]) -> list[float | None]:
        found = [has_match(mol, smarts_query(self.pattern)) for mol in molecules]
        return [None if match is None else float(match) for match in found]


@dataclass(frozen=True)
class SimilarityScore:
    """The Tanimoto similarity (ECFP4, 0 to 1) to a reference molecule. MoldiffError if its text is no SMILES, or that
    of a molecule that `moldiff.chem.filters.hazards` withholds.

    Attributes:
        smiles: of the reference.
    """

    smiles: str

    def __post_init__(self) -> None:
        record = parse(smiles_record(0, self.smiles, "", {}))  # has limits, which a text of a stranger needs
        if record.mol is None or not record.mol.GetNumAtoms():
            raise MoldiffError(f"score similarity:{shown(self.smiles)}: no SMILES of a molecule: {record.reason}")
        if STANDARD_GATE(record.mol):
            raise MoldiffError(
                "score similarity: nothing is drawn towards a molecule that would be withheld", argument="score"
            )

    def __call__(self, molecules: list[Chem.Mol]) -> list[float | None]:
        with rdBase.BlockLogs():
            prints = [fingerprint(mol) for mol in molecules]
        return list(DataStructs.BulkTanimotoSimilarity(_reference_print(self.smiles), prints))


@cache
def _reference_print(smiles: str) -> Any:
    """Return the fingerprint of a reference."""
    with rdBase.BlockLogs():
        return fingerprint(Chem.MolFromSmiles(smiles))


def imported_score(text: str) -> ScoreFunction:
    """Return the function of ``package.module:function`` or ``folder/file.py:function``; modules are also looked for
    in the working folder.

    Raises:
        MoldiffError: no such module or function, the module fails, or its code may not run here.
    """
    place, _, name = text.rpartition(":")
    if not place or not name:
        raise MoldiffError(f"score {text}: expected module:function or file.py:function")
    written_out(Path(place))
    if not may_run(text):
        raise MoldiffError(f"score {text}: code is not run here")
    try:
        module = _module(place)
    except Terminated:
        raise
    except _FAILURES as error:  # importing runs the user's code
        raise MoldiffError(f"score {text}: {place} cannot be imported: {class_and_line(error, 200)}") from error
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if callable(value)]
        raise MoldiffError(f"score {text}: {place} has no '{name}'{nearest_name(name, known)}")
    function: ScoreFunction = getattr(module, name)
    if not callable(function):
        raise MoldiffError(f"score {text}: '{name}' is no function")
    return function


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.insert(0, os.getcwd())
        return importlib.import_module(place)
    path = Path(place)
    if not path.is_file():
        raise FileNotFoundError("no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    known = sys.modules.setdefault(path.stem, module)  # what dataclasses and pickling in a user's file ask for
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if known is module:  # half of a module, which the program would be handed as a whole one
            del sys.modules[path.stem]
        raise
    return module


def _listed(values: Any) -> list[Any] | None:
    """Return the values of a user's function, whose code may only run as they are asked for; None if it returned no
    several ones."""
    try:
        one_by_one = iter(values)
    except TypeError:
        return None
    return list(one_by_one)


def _towards(value: float | None, wanted: Callable[[float], float] | None) -> float | None:
    """Return the score of a value: none where the value is unknown (None, NaN)."""
    if value is None or math.isnan(value):
        return None
    return value if wanted is None else -wanted(value)


def _smiles(mol: Chem.Mol) -> str:
    with rdBase.BlockLogs():
        return Chem.MolToSmiles(Chem.RemoveHs(mol))
