"""Comparison of a molecule with molecules that a user brings along: Tanimoto similarity, overlay in space, novelty."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import rdShapeAlign

from moldiff.chem.coordinates import has_conformer
from moldiff.chem.descriptors.fingerprints import fingerprint
from moldiff.chem.filters.checks import EMBEDDING_S, CheckResult, Measure, Measured, Subject
from moldiff.chem.identity import canonical_smiles, inchikey, text_key
from moldiff.chem.io.inputs import Molecules, records_of
from moldiff.chem.io.records import LeftOut, mol_to_sdf_record
from moldiff.chem.isomers import placed
from moldiff.chem.sanitize import short_message
from moldiff.errors import MoldiffError
from moldiff.foreign_text import readable

OVERLAY_BALANCE = 0.5  # of shape and colour in the overlay that is looked for


@dataclass(frozen=True)
class Similarity:
    """The Tanimoto similarity (ECFP4, 0 to 1) to the most similar of some references.

    Attributes:
        references: SMILES.
    """

    references: tuple[str, ...]
    name = "similarity"
    whole = False

    @property
    def cost(self) -> float:
        return 0.1 + 0.0002 * len(self.references)

    def __call__(self, subject: Subject) -> Measured:
        if subject.bare is None:
            return Measured(float("nan"), "RDKit cannot leave out the hydrogens")
        values = DataStructs.BulkTanimotoSimilarity(fingerprint(subject.bare), _fingerprints(self.references))
        best = int(np.argmax(values))
        return Measured(float(values[best]), f"to {self.references[best]}")

    def record(self) -> dict[str, object]:
        """Return the references."""
        return {"similar_to": list(self.references)}


@cache
def _fingerprints(references: tuple[str, ...]) -> list[Any]:
    with rdBase.BlockLogs():
        return [fingerprint(Chem.MolFromSmiles(text)) for text in references]


@dataclass(frozen=True)
class Overlay:
    """The shape or colour Tanimoto (0 to 1) of the best overlay on one of some references, by RDKit's `rdShapeAlign`.

    Attributes:
        name: "shape" (volumes) or "colour" (donors, acceptors, charges, rings, hydrophobes).
        references: mol blocks with coordinates.
    """

    name: str
    references: tuple[str, ...]
    whole = False

    @property
    def cost(self) -> float:
        return 3.0 * len(self.references)

    def __call__(self, subject: Subject) -> Measured:
        mol, reason = subject.placed
        if mol is None:
            return Measured(float("nan"), reason)
        shape, colour = subject.remembered("overlay", lambda: _overlay(mol, self.references))
        return Measured(shape if self.name == "shape" else colour)

    def record(self) -> dict[str, object]:
        """Return the hashes of the references."""
        return {"shape_of": [hashlib.sha256(block.encode()).hexdigest() for block in self.references]}


def _overlay(mol: Chem.Mol, references: tuple[str, ...]) -> tuple[float, float]:
    """Return shape and colour Tanimoto for the reference with the highest sum."""
    with rdBase.BlockLogs():
        found = [
            rdShapeAlign.AlignMol(reference, Chem.Mol(mol), opt_param=OVERLAY_BALANCE)
            for reference in _placed_references(references)
        ]
    return max(found, key=sum)


@cache
def _placed_references(references: tuple[str, ...]) -> list[Chem.Mol]:
    return [Chem.MolFromMolBlock(block, removeHs=False) for block in references]


@dataclass(frozen=True)
class KnownCheck:
    """Passes what is not among known molecules, by InChIKey. Value: None.

    Attributes:
        keys: 64-bit keys of the known molecules, sorted, as bytes.
        source: where they came from.
    """

    keys: bytes
    source: str
    name = "known"
    cost = 0.26
    is_text = True

    def __call__(self, subject: Subject) -> CheckResult:
        keys, own = np.frombuffer(self.keys, dtype="<u8"), np.uint64(text_key(subject.inchikey))
        place = int(np.searchsorted(keys, own))
        known = bool(subject.inchikey) and place < len(keys) and bool(keys[place] == own)
        return CheckResult(self.name, not known, None, f"in {self.source}" if known else "")

    def record(self) -> dict[str, object]:
        """Return where the known molecules came from, how many they are, and a hash."""
        digest = hashlib.sha256(self.keys).hexdigest()
        return {"known": {"source": self.source, "molecules": len(self.keys) // 8, "sha256": digest}}


def similarity_to(references: Molecules) -> Similarity:
    """Return the similarity to molecules of a file, or given ones; MoldiffError if one of them cannot be read."""
    return Similarity(tuple(canonical_smiles(mol, stereo=True) for mol in _molecules(references, "similar_to")))


def overlays_on(references: Molecules, seed: int = 0) -> tuple[Measure, Measure]:
    """Return shape and colour of the overlay on molecules; those without coordinates are given some.

    Raises:
        MoldiffError: one of them cannot be read, or be given coordinates.
    """
    blocks = []
    for mol in _molecules(references, "shape_of"):
        found, reason = (mol, "") if has_conformer(mol) else placed(mol, seed, EMBEDDING_S)
        if found is None:
            raise MoldiffError(f"shape_of: a reference has no coordinates ({reason})", argument="shape_of")
        blocks.append(mol_to_sdf_record(found, "", {}).split("M  END")[0] + "M  END\n")
    return Overlay("shape", tuple(blocks)), Overlay("colour", tuple(blocks))


def known_check(molecules: Molecules) -> KnownCheck:
    """Return the check that leaves out what is known. Records that cannot be read leave out nothing, which is said.

    Raises:
        MoldiffError: the file cannot be read, or none of its molecules.
    """
    found = set[int]()
    source = readable(Path(molecules).name) if isinstance(molecules, str | Path) else "the known molecules"
    left_out = LeftOut(source, "leave out nothing")
    for record in records_of(molecules, argument="known"):
        try:
            if record.mol is None:
                raise ValueError(record.reason)
            found.add(text_key(inchikey(record.mol)))
        except ValueError as error:
            left_out.add(record.index, short_message(error))
    if not found:
        raise MoldiffError("known: there is no molecule with an InChIKey", argument="known")
    left_out.tell()
    return KnownCheck(np.array(sorted(found), dtype="<u8").tobytes(), source)


def _molecules(references: Molecules, argument: str) -> list[Chem.Mol]:
    found = []
    for record in records_of(references, argument=argument):
        if record.mol is None:
            raise MoldiffError(f"{argument}: record {record.index} cannot be read ({record.reason})", argument=argument)
        found.append(record.mol)
    return found
