"""Every record of a file, judged: one `Assessment` per record, also for those that are no molecule."""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from moldiff.arguments import choice, count
from moldiff.chem.convert import from_bytes, to_bytes
from moldiff.chem.coordinates import coordinates_problem
from moldiff.chem.filters.hazards import STANDARD_GATE, WITHHELD
from moldiff.chem.filters.validity import geometry_problem, is_valid_and_connected
from moldiff.chem.graph import symbol
from moldiff.chem.hydrogen_state import Hydrogens, hydrogens_of, partial_problem
from moldiff.chem.hydrogens import with_all_hydrogens
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.inputs import Molecules, files_of, records_of, texts_of
from moldiff.chem.io.records import judge, read_block, without_implied_hydrogens
from moldiff.chem.io.text_records import SDF_SUFFIXES, TextRecord
from moldiff.chem.sanitize import error_reason
from moldiff.chem.valence import atom_stability
from moldiff.choices import FileHydrogens
from moldiff.errors import MoldiffError, blaming_for
from moldiff.evaluation.edm_stability import stable_atoms
from moldiff.evaluation.measurements import Measured
from moldiff.processes import DEADLINE_S, Lost, Pool, pool_of
from moldiff.reading import sha256_of
from moldiff.run_record import read_generation
from moldiff.status import Status

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

CHUNK = 16  # records that are sent to a worker at once

HydrogenChoice = Literal["auto", "explicit", "implicit"]
_OPEN = ("", "no_radicals", "no_open_valences")  # what missing hydrogens look like
MISSING = "missing: not in the file"
"""Reason of a molecule that was requested but has no record."""


@dataclass(frozen=True)
class Assessment:
    """The verdict on one record.

    Attributes:
        index: position in the file, from 0.
        name: title of the record.
        valid: sanitises, is one fragment, has no radical and no open valence, and coordinates that can be those of a
            molecule (see `moldiff.chem.coordinates`).
        reason: why it is not valid (code word, colon, detail); "" if it is.
        status: as `moldiff generate` has it: valid (that, and a plausible geometry), invalid, withheld, or failed where
            there is no molecule to look at.
        problem: why it is not valid by that; `reason`, or else what is wrong with the geometry.
        sanitises: RDKit accepts it, whatever its fragments and radicals.
        n_atoms: atoms of the record, 0 if it could not be parsed.
        stable_atoms: atoms whose integer bond orders sum to an allowed valence of their element and charge.
        distance_stable_atoms: atoms that are stable under EDM's distance table.
        smiles, smiles_stereo: canonical SMILES without and with stereo of a valid molecule, "" otherwise.
        stored: the sanitised molecule as bytes if valid, else None; see `mol`.
        hydrogens: how the record has its hydrogens; None where there is no molecule to look at.
        measured: of a valid molecule, where `assess_file` judged it.
    """

    index: int
    name: str
    valid: bool
    reason: str
    status: Status
    problem: str
    sanitises: bool
    n_atoms: int
    stable_atoms: int
    distance_stable_atoms: int
    smiles: str
    smiles_stereo: str
    stored: bytes | None
    hydrogens: Hydrogens | None = None
    measured: Measured | None = field(default=None, compare=False)

    @property
    def mol(self) -> Mol | None:
        """A new copy of the sanitised molecule if it is valid, else None."""
        return None if self.stored is None else from_bytes(self.stored)

    @property
    def stable(self) -> bool:
        """All atoms are stable by their bonds."""
        return 0 < self.n_atoms == self.stable_atoms

    @property
    def distance_stable(self) -> bool:
        """All atoms are stable under EDM's distance table."""
        return 0 < self.n_atoms == self.distance_stable_atoms


def unreadable(index: int, name: str, reason: str) -> Assessment:
    """Return the assessment of a record without a molecule."""
    return Assessment(index, name, False, reason, Status.FAILED, reason, False, 0, 0, 0, "", "", None)


def withheld(index: int) -> Assessment:
    """Return the assessment of a record that `moldiff.chem.filters.hazards` withholds: its place, and nothing else."""
    return replace(unreadable(index, "", WITHHELD), status=Status.WITHHELD)


def _sdf_texts(files: Sequence[Path], found: Counter[Path]) -> Iterator[TextRecord]:
    """Yield the text records of some SDFs, counted through, and count those of each.

    Raises:
        MoldiffError: a file is missing, empty, damaged or no SDF.
    """
    for path in files:
        if not path.name.lower().endswith(SDF_SUFFIXES):
            raise MoldiffError(f"{path} is not an SDF; evaluation needs 3D molecules with bonds (.sdf or .sdf.gz)")
    for path, text in texts_of(files):
        found[path] += 1
        yield text


def assess(mol: Mol, index: int, name: str, *, hydrogens: HydrogenChoice) -> Assessment:
    """Judge one unsanitised molecule; see `Assessment`."""
    told = hydrogens_of(mol)
    explicit = hydrogens == "explicit" or (hydrogens == "auto" and told != Hydrogens.IMPLICIT)
    conversion = judge(mol, explicit_hydrogens=explicit)
    valid, reason = is_valid_and_connected(conversion)
    if hydrogens == "auto" and told == Hydrogens.PARTIAL and reason.partition(":")[0] in _OPEN:
        valid, reason = False, f"hydrogens: {partial_problem(mol)}"
    elif valid and (reason := coordinates_problem(mol)):
        valid = False
    bare = without_implied_hydrogens(mol) if explicit else mol
    final = conversion.mol if conversion.mol is not None else bare
    problem = geometry_problem(final) if valid else reason
    symbols = [symbol(atom.GetAtomicNum()) for atom in final.GetAtoms()]
    positions = final.GetConformer().GetPositions() if final.GetNumConformers() else np.full((len(symbols), 3), np.nan)
    return Assessment(
        index=index,
        name=name,
        valid=valid,
        reason=reason,
        status=Status.INVALID if problem else Status.VALID,
        problem=problem,
        sanitises=conversion.mol is not None,
        n_atoms=len(symbols),
        stable_atoms=sum(atom_stability(final)),
        distance_stable_atoms=int(stable_atoms(symbols, positions).sum()),
        smiles=canonical_smiles(final, stereo=False) if valid else "",
        smiles_stereo=canonical_smiles(final, stereo=True) if valid else "",
        stored=to_bytes(final) if valid else None,
        hydrogens=told,
    )


def _of_molecules(molecules: Molecules, hydrogens: HydrogenChoice, add_hydrogens: bool) -> Iterator[Assessment]:
    """Yield the assessments of given molecules: taken as they are, and looked at in this process."""
    for record in records_of(molecules):
        yield _guarded(record.seen, record.index, record.name, record.reason, hydrogens, add_hydrogens)


def _of_files(
    files: Sequence[Path], found: Counter[Path], pool: Pool, hydrogens: HydrogenChoice, add_hydrogens: bool
) -> Iterator[Assessment]:
    """Yield the assessment of every record of some files, and count the records of each."""
    sent, known = itertools.tee(blaming_for(_sdf_texts(files, found), "molecules"))
    work = partial(_assessed, hydrogens=hydrogens, add_hydrogens=add_hydrogens)
    for text, row in zip(known, pool.map_items(work, sent, chunk=CHUNK, timeout_s=DEADLINE_S), strict=True):
        yield unreadable(text.index, text.name, row.reason) if isinstance(row, Lost) else row


def _assessed(text: TextRecord, hydrogens: HydrogenChoice, add_hydrogens: bool) -> Assessment:
    """Read and assess a record. Runs in a worker."""
    mol, reason = read_block(text)
    return _guarded(mol, text.index, text.name, reason, hydrogens, add_hydrogens)


def _guarded(
    mol: Mol | None, index: int, name: str, reason: str, hydrogens: HydrogenChoice, add_hydrogens: bool
) -> Assessment:
    """Assess and measure a molecule, if there is one; what breaks on it costs this one alone."""
    if mol is None:
        return unreadable(index, name, reason)
    try:
        if STANDARD_GATE(mol):
            return withheld(index)
        completed = with_all_hydrogens(mol) if add_hydrogens else mol
        found = assess(completed, index, name, hydrogens=hydrogens)
        return found if (sound := found.mol) is None else replace(found, measured=Measured.of(sound))
    except Exception as error:
        logger.debug("record %d", index, exc_info=True)
        return unreadable(index, name, error_reason(error))


def assess_file(
    molecules: Molecules,
    *,
    hydrogens: HydrogenChoice = "auto",
    add_hydrogens: bool = False,
    requested: int | None = None,
    workers: int = 1,
    isolated: bool = False,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Assessment], str]:
    """Judge every record of an SDF, or given molecules.

    Args:
        molecules: .sdf or .sdf.gz, or molecules that can be iterated twice.
        hydrogens: whether every hydrogen is an atom; "auto" looks at each record.
        add_hydrogens: place those that are missing first.
        requested: how many molecules were asked for; those without a record count as failed with reason `MISSING`. None
            = as many as there are records; if a file has none, as many as were drawn for all files.
        workers, isolated: processes; see `moldiff.processes.pool_of`.
        progress: called with the number of records done so far.

    Returns:
        One assessment per requested molecule, in file order, and how the records have their hydrogens: one word, or
        how many have which.

    Raises:
        MoldiffError: the file is no SDF, empty without ``requested``, or holds more records than were requested.
    """
    choice(hydrogens, FileHydrogens, "hydrogens")
    if requested is not None:
        count(requested, "requested")
    files, found = files_of(molecules), Counter[Path]()
    rows = []
    with pool_of(workers, isolated=isolated) as pool:
        if files is None:
            assessments = _of_molecules(molecules, hydrogens, add_hydrogens)
        else:
            # What a generation writes when every molecule failed; without a number it is an empty file by mistake.
            read = [path for path in files if not (_is_blank(path) and (requested or _drawn(path)))]
            assessments = _of_files(read, found, pool, hydrogens, add_hydrogens)
        for row in assessments:
            rows.append(row)
            if progress is not None:
                progress(len(rows))
    if requested is None and files is not None:
        requested = _asked_for(files, found)
    if requested is not None and len(rows) > requested:
        where = "the list" if files is None else ", ".join(map(str, files))
        raise MoldiffError(
            f"{where} holds {len(rows)} records, more than the {requested} that were requested", argument="requested"
        )
    rows += [unreadable(index, "", MISSING) for index in range(len(rows), requested or 0)]
    return rows, _convention(rows) if hydrogens == "auto" else hydrogens


def _is_blank(path: Path) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) == 0  # a name that is too long does not surprise them


def _asked_for(files: Sequence[Path], found: Counter[Path]) -> int | None:
    """Return how many molecules some files stand for one of which, packed or not, has no record; None if all have some.

    Then all draws count, also those that left no record in the other files: shares of records and of draws do not mix.
    Of a file without a run record only its records are known, which is said.

    Args:
        files: all of them.
        found: records of each.
    """
    empty = [path for path in files if not found[path]]
    if not empty:
        return None
    total = 0
    for path in files:
        if (drawn := _drawn(path)) is None:
            logger.warning(
                "%s: no run record of it tells how many molecules were drawn; its %d records count", path, found[path]
            )
        total += max(found[path], drawn or 0)
    if len(empty) < len(files):
        logger.warning("%s holds no molecules: all %d draws count, not the records alone", empty[0], total)
    return count(total, "requested", least=0)


def _drawn(path: Path) -> int | None:
    """Return how many molecules a run drew that wrote a file, None if its record does not lie beside it."""
    made = read_generation(path, sha256_of(path))
    return None if made is None else made.drawn


def _convention(rows: list[Assessment]) -> str:
    """Return how records have their hydrogens; warn if some have only a part of them."""
    counts = Counter(row.hydrogens for row in rows if row.hydrogens is not None)
    if partial := counts[Hydrogens.PARTIAL]:
        logger.warning("%d records have only some of their hydrogens; add_hydrogens places the others", partial)
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{counts[kind]} {kind}" for kind in Hydrogens if counts[kind]) or "explicit"
