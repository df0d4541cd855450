"""Results of draws: `assess` says what a draw came to."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import tee
from typing import TYPE_CHECKING, Any

from moldiff.arrays import RawSample
from moldiff.chem.convert import from_bytes, to_bytes
from moldiff.chem.descriptors.measured import measured_numbers
from moldiff.chem.descriptors.rdkit_descriptors import REPORTED, compute
from moldiff.chem.filters.checks import Check, Subject, examine
from moldiff.chem.filters.hazards import STANDARD_GATE, Gate
from moldiff.chem.filters.validity import geometry_problem
from moldiff.chem.hydrogens import without_hydrogen_atoms
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.outputs import cell
from moldiff.chem.io.sdf_writer import headless_block, sdf_record
from moldiff.chem.io.tags import apart
from moldiff.chem.sanitize import error_reason
from moldiff.conditions import number_text
from moldiff.generation.decoding.confidence import BOND_TAG, TYPE_TAG, Confidence, confidence
from moldiff.generation.decoding.decoders import Decoder
from moldiff.generation.decoding.hydrogens import HYDROGENS
from moldiff.processes import DEADLINE_S, THIS_PROCESS, Lost, Pool
from moldiff.status import Status

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

COLUMNS = (
    "moldiff_id", "draw", "status", "reason", "decoding", "changed", "renoised", "smiles", "duplicate_of", "n_atoms",
    *REPORTED, "evaluations",
)  # fmt: skip
SCORE_COLUMN = "score"
INTEGERS = frozenset(
    {
        "record", "draw", "rarest_ring_count", "changed", "moves", "renoised", "n_atoms", "redraws", "evaluations",
        "energy_rank",
    }
)  # fmt: skip
TEXTS = frozenset(
    {
        "moldiff_id", "file", "name", "status", "reason", "decoding", "smiles", "duplicate_of", "same_as",
        "rarest_ring", "weakest_bond", "same_molecule", "mirrored", HYDROGENS,
    }
)  # fmt: skip
"""Columns of whole numbers and of texts; the others are numbers."""

SEED_TAG, MODEL_TAG = "moldiff_seed", "moldiff_model"
RESERVED = frozenset({*COLUMNS, SCORE_COLUMN, SEED_TAG, MODEL_TAG, TYPE_TAG, BOND_TAG}) - frozenset(REPORTED)
"""Columns and data fields that any run may have of its own."""

CHUNK, MOST_AT_ONCE = 8, 32  # draws that are sent to a worker at once
_MESSAGES = 256  # enough for all workers; each costs their parent most of a millisecond


@dataclass(frozen=True)
class MoleculeResult:
    """Result of one draw.

    Attributes:
        number: the draw's number.
        status: see `Status`.
        reason: a code word, a colon and detail; empty if valid.
        mol: the molecule; of an invalid one the unsanitised molecule, None if there is nothing to show.
        smiles: canonical SMILES with stereo where the chemistry is sound, else empty.
        properties: RDKit properties where the chemistry is sound; NaN where a calculator failed.
        duplicate_of: ``moldiff_id`` of the first draw with the same SMILES, None if this is it.
        decoding: which decoding made the molecule, "argmax", "structured" or "fitted"; empty for a failed draw.
        changed: of structured decoding, how many atom types, charges and bonds differ from argmax.
        renoised: how often the draw was noised and walked down again; of a valid one, the last attempt made it.
        evaluations: of the network, for all of that.
        confidence: how sure the model was of each atom, where the draw carries its log-probabilities.
        targets: of each property with a target, what was wanted, what was measured and the error, by column.
        score: of a molecule drawn by score; None if it has none, or no score was asked for.
        facts: further columns.
        title: of its record in an SDF; "" = its ``id``.
        tags: of the record that it answers.
        group: of the first of a group that was drawn by score, what there is to tell of the group.
        id: its ``moldiff_id``, given when it is counted.
        measured: what `assess` measured for targets, by name; None = it did not.
        data: the molecule as bytes, see `to_bytes`; b"" = `assess` did not make them, or there are none.
        block: of an SDF record, see `headless_block`, likewise. `assess` is one of several at work, a writer is alone.
    """

    number: int
    status: Status
    reason: str = ""
    mol: Mol | None = None
    smiles: str = ""
    properties: Mapping[str, float] = field(default_factory=dict)
    duplicate_of: str | None = None
    decoding: str = ""
    changed: int = 0
    renoised: int = 0
    evaluations: int = 0
    confidence: Confidence | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    title: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    group: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    measured: Mapping[str, float] | None = None
    data: bytes = field(default=b"", repr=False)
    block: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        structure = self.mol or self.smiles or self.properties or self.confidence or self.data or self.block
        if self.status == Status.WITHHELD and structure:
            raise ValueError("a molecule that is withheld has no structure")

    def __reduce__(self) -> tuple[Callable[..., MoleculeResult], tuple[dict[str, Any]]]:
        """Say how the result travels between processes: RDKit's own way loses digits of coordinates."""
        values = {own.name: getattr(self, own.name) for own in fields(self)}
        return _arrived, ({**values, "mol": self.packed()},)

    def packed(self) -> bytes | None:
        """Return the molecule as bytes."""
        return None if self.mol is None else self.data or to_bytes(self.mol)

    def row(self, columns: Sequence[str] | None = None) -> dict[str, object]:
        """Return the CSV row, "" where there is no value.

        Args:
            columns: in their order; None = `COLUMNS`, the score, ``targets`` and ``facts``.
        """
        return {name: cell(value) for name, value in self.values(columns).items()}

    def values(self, columns: Sequence[str] | None = None) -> dict[str, object]:
        """Return the row as values: numbers as numbers, None where there is none.

        Args:
            columns: as for `row`.
        """
        row: dict[str, object] = dict.fromkeys(COLUMNS)
        row |= {**self.properties, **self.targets}
        if self.score is not None:
            row[SCORE_COLUMN] = self.score
        row |= {
            "moldiff_id": self.id,
            "draw": self.number,
            "status": str(self.status),
            "reason": self.reason,
            "decoding": self.decoding,
            "changed": self.changed if self.decoding else None,
            "renoised": self.renoised,
            "evaluations": self.evaluations,
            "smiles": self.smiles,
            "duplicate_of": self.duplicate_of,
            "n_atoms": None if self.mol is None else self.mol.GetNumAtoms(),
        }
        row |= self.facts
        row = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        return row if columns is None else {name: row.get(name) for name in columns}

    def without_hydrogens(self) -> MoleculeResult:
        """Return the result with the heavy atoms of its molecule alone; what is known of it is of the whole."""
        facts = {name: value for name, value in self.facts.items() if name != HYDROGENS}
        mol = None if self.mol is None else without_hydrogen_atoms(self.mol)
        return replace(self, mol=mol, facts=facts, data=b"", block="")

    def tagged_mol(self, columns: Sequence[str]) -> Mol:
        """Return the molecule, which there must be, with the columns that have a value as properties: numbers as
        numbers, rounded as in the CSV."""
        assert self.mol is not None
        for name, column in apart(self.tags, columns).items():
            self.mol.SetProp(column, self.tags[name])
        for name, value in self.values(columns).items():
            if isinstance(value, int):
                self.mol.SetIntProp(name, value)
            elif isinstance(value, float):
                self.mol.SetDoubleProp(name, rounded(value))
            elif value is not None:
                self.mol.SetProp(name, str(value))
        if self.confidence is not None:
            for name, values in self.confidence.tags(self.mol.GetNumAtoms()).items():
                self.mol.SetProp(name, values)
        return self.mol

    def sdf_record(self, row: Mapping[str, object], seed: int, model: str, *, confidence: bool = False) -> str | None:
        """Return the SDF record with the values of a CSV row as tags, on demand also how sure the model was of each
        atom; None if there is no molecule that a file can hold."""
        if self.mol is None:
            return None
        tags = {"moldiff_id": self.id, SEED_TAG: str(seed), MODEL_TAG: model}
        tags |= {name: str(value) for name, value in row.items() if name not in tags and value != ""}
        if confidence and self.confidence is not None:
            tags |= self.confidence.tags(self.mol.GetNumAtoms())
        tags |= {column: self.tags[name] for name, column in apart(self.tags, {*tags, *row}).items()}
        try:
            return sdf_record(self.block or headless_block(self.mol), self.title or self.id, tags)
        except (ValueError, RuntimeError):
            return None


def _arrived(values: dict[str, Any]) -> MoleculeResult:
    return MoleculeResult(**{**values, "mol": None if values["mol"] is None else from_bytes(values["mol"])})


def rounded(value: float) -> float:
    """Return a number as the CSV has it."""
    return float(number_text(value))


def assess(
    draw: RawSample,
    decoder: Decoder,
    gate: Gate = STANDARD_GATE,
    properties: Sequence[str] = REPORTED,
    checks: Sequence[Check] = (),
    wanted: Sequence[str] = (),
) -> MoleculeResult:
    """Say what became of a draw, before duplicates are marked: decoded, checked, described.

    Every molecule that leaves the package comes from here. What breaks on one molecule makes that one failed.

    Args:
        draw: with its arrays.
        decoder: makes the molecule.
        gate: has the last word; what it refuses is withheld and has no structure.
        properties: to describe it by.
        checks: of the user; a valid molecule that fails one is filtered.
        wanted: names of numbers that targets ask for; a valid molecule is measured.
    """

    def work() -> MoleculeResult:
        result = _gated(_checked(_assessed(draw, decoder, properties), checks), gate)
        return _ready_to_write(with_measurements(result, wanted) if result.status == Status.VALID else result)

    return guarded(draw.number, work)


def _ready_to_write(result: MoleculeResult) -> MoleculeResult:
    """Return a result with the block of its molecule, if that can be written."""
    if result.mol is None:
        return result
    data = to_bytes(result.mol)
    try:
        # of the molecule as it will be where it is written, or written once more after a break
        return replace(result, data=data, block=headless_block(from_bytes(data)))
    except (ValueError, RuntimeError):
        return result


def with_measurements(result: MoleculeResult, wanted: Sequence[str]) -> MoleculeResult:
    """Return a result with the numbers of its molecule that targets ask for, if its chemistry is sound."""
    if not wanted or result.mol is None or not result.properties:
        return result
    return replace(result, measured=measured_numbers(result.mol, result.properties, wanted))


def assess_all(
    draws: Iterable[RawSample],
    decoder: Decoder,
    gate: Gate = STANDARD_GATE,
    checks: Sequence[Check] = (),
    pool: Pool = THIS_PROCESS,
    wanted: Sequence[str] = (),
    chunk: int = CHUNK,
) -> Iterator[MoleculeResult]:
    """`assess` draws in order, so many sent to a worker at once; one that costs its worker process is failed."""
    work = partial(assess, decoder=decoder, gate=gate, checks=checks, wanted=wanted)
    sent, known = tee(draws)
    for draw, found in zip(known, pool.map_items(work, sent, chunk=chunk, timeout_s=DEADLINE_S), strict=True):
        yield failed(draw.number, found) if isinstance(found, Lost) else found


def chunk_of(draws: int) -> int:
    """Return how many of so many draws are sent to a worker at once: few, so that all workers have some, or more where
    there are enough for everybody."""
    return min(max(draws // _MESSAGES, CHUNK), MOST_AT_ONCE)


def failed(number: int, lost: Lost) -> MoleculeResult:
    """Return the result of a draw that cost its worker process."""
    return MoleculeResult(number, Status.FAILED, lost.reason)


def guarded(number: int, work: Callable[[], MoleculeResult]) -> MoleculeResult:
    """Return what some work makes of a draw; where it raises an exception, that the draw failed."""
    try:
        return work()
    except Exception as error:  # chemistry of odd molecules fails in ways that no list of types covers
        logger.debug("draw %d", number, exc_info=True)
        return MoleculeResult(number, Status.FAILED, error_reason(error))


def _assessed(draw: RawSample, decoder: Decoder, properties: Sequence[str]) -> MoleculeResult:
    if draw.arrays is None:
        return MoleculeResult(draw.number, Status.FAILED, f"not finite: at step {draw.failed_at}")
    decoded = decoder.decode(draw)
    mol, problem = decoded.conversion.mol, decoded.problem
    result = MoleculeResult(
        draw.number,
        Status.INVALID,
        problem,
        decoded.conversion.mol or decoded.conversion.raw,
        decoding=decoded.decoding,
        changed=decoded.changed,
        facts=decoded.facts,
    )
    if decoded.arrays is not None and draw.log_probabilities is not None:
        result = replace(result, confidence=confidence(decoded.arrays, draw.log_probabilities))
    if problem or mol is None:
        return result
    problem = decoded.geometry or geometry_problem(mol)
    return replace(
        result,
        status=Status.INVALID if problem else Status.VALID,
        reason=problem,
        smiles=canonical_smiles(mol, stereo=True),
        properties=compute(mol, properties),
    )


def _checked(result: MoleculeResult, checks: Sequence[Check]) -> MoleculeResult:
    """Return the result as filtered, or as failed if the check itself failed, where a check does not let it pass."""
    if not checks or result.status != Status.VALID or result.mol is None:
        return result
    failure = examine(Subject(result.mol), checks).failure
    if failure is None:
        return result
    return replace(result, status=Status.FAILED if failure.broken else Status.FILTERED, reason=failure.reason)


def _gated(result: MoleculeResult, gate: Gate) -> MoleculeResult:
    """Return the result without anything of its structure if the gate refuses it."""
    if result.mol is None or not (reason := gate(result.mol)):
        return result
    return MoleculeResult(result.number, Status.WITHHELD, reason)
