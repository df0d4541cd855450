"""Rarity of molecules beside held-out ones: their rarest ring systems and weakest bonds, by counts in a reference.

Most odd molecules that a generator makes are sound; what gives them away is a ring that nobody makes, or two groups
that are never bonded. The tables that tell (`moldiff.chem.descriptors.rarity`) travel with a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.chem.descriptors.rarity import RarestRing, RarityTables, WeakestBond
from moldiff.chem.io.inputs import records_of
from moldiff.chem.io.records import LeftOut, read_records
from moldiff.datasets.batching import evenly_spaced
from moldiff.errors import MoldiffError, blaming
from moldiff.foreign_text import readable
from moldiff.models.folder import is_model, load_model_folder
from moldiff.models.references import References
from moldiff.path_names import written_out

if TYPE_CHECKING:
    from rdkit.Chem import Mol
    from torch import Tensor

    from moldiff.evaluation.assess import Assessment

RARE = 5
"""A ring system that fewer reference molecules have is rare (a cut-off in use among chemists)."""
WEAK = 0.05
"""A bond whose ends are associated less than this is weak: they meet 19 times less often than by chance."""
_HELD_OUT = 1000  # molecules to compare with, a millisecond or two each
READ = {
    "rarest_ring": "how many reference molecules have a molecule's rarest ring system: 0 = nobody made it there; real "
    "molecules are seldom below 5, and more such rings than among held-out ones are inventions",
    "weakest_bond": "how far the ends of a molecule's weakest bond are expected beside each other: 0 = never seen, "
    "0.5 = as often as chance has it; the named atoms are where to look",
}


@dataclass(frozen=True)
class Rarities:
    """Rarest ring system and weakest bond of M molecules.

    Attributes:
        rings: M.
        bonds: M.
    """

    rings: tuple[RarestRing, ...]
    bonds: tuple[WeakestBond, ...]

    @classmethod
    def of(cls, molecules: Sequence[Mol], tables: RarityTables) -> Rarities:
        """Describe sanitised molecules."""
        return cls(
            tuple(tables.rarest_ring(mol) for mol in molecules), tuple(tables.weakest_bond(mol) for mol in molecules)
        )

    @property
    def counts(self) -> np.ndarray:
        """(M,) reference molecules that have the rarest ring system of each."""
        return np.array([ring.count for ring in self.rings], dtype=np.int64)

    @property
    def associations(self) -> np.ndarray:
        """(M,) association of the weakest bond of each, 0 to 1."""
        return np.array([bond.association for bond in self.bonds], dtype=np.float64)

    def shares(self) -> dict[str, dict[str, float | None]]:
        """Return what describes the two distributions; None where there is no molecule."""
        counts, associations = self.counts, self.associations
        if not len(counts):
            return {
                "rarest_ring": dict.fromkeys(("unseen", "rare", "median")),
                "weakest_bond": dict.fromkeys(("unseen", "weak", "median")),
            }
        return {
            "rarest_ring": {
                "unseen": float((counts == 0).mean()),
                "rare": float((counts < RARE).mean()),
                "median": float(np.median(counts)),
            },
            "weakest_bond": {
                "unseen": float((associations == 0).mean()),
                "weak": float((associations < WEAK).mean()),
                "median": float(np.median(associations)),
            },
        }


@dataclass(frozen=True)
class RarityReport:
    """Rarity of the valid molecules of a sample, and of held-out ones.

    Attributes:
        source: where the tables come from.
        molecules: that they count.
        by_index: record -> its rarest ring system and weakest bond.
        sample: all of them.
        held_out: of molecules that the tables do not count; None = there are none to compare with.
    """

    source: str
    molecules: int
    by_index: Mapping[int, tuple[RarestRing, WeakestBond]]
    sample: Rarities
    held_out: Rarities | None

    def to_json(self) -> dict[str, Any]:
        """Return the distributions of both, and one line on how to read each."""
        found, real = self.sample.shares(), None if self.held_out is None else self.held_out.shares()
        return {
            "source": self.source,
            "molecules": self.molecules,
            "n": len(self.sample.rings),
            "reference_n": None if self.held_out is None else len(self.held_out.rings),
            **{
                name: {**found[name], "reference": None if real is None else real[name], "read": READ[name]}
                for name in READ
            },
        }


def measure_rarity(
    rows: Sequence[Assessment], tables: RarityTables, source: str, held_out: Sequence[str] = ()
) -> RarityReport:
    """Describe the valid molecules of a sample and up to 1,000 held-out ones.

    Args:
        rows: of the sample.
        tables: to hold them against.
        source: of the tables, one line.
        held_out: SMILES of molecules that the tables do not count.
    """
    valid = [(row.index, mol) for row in rows if (mol := row.mol) is not None]
    sample = Rarities.of([mol for _, mol in valid], tables)
    pairs = zip(sample.rings, sample.bonds, strict=True)
    by_index = {index: pair for (index, _), pair in zip(valid, pairs, strict=True)}
    some = evenly_spaced(held_out, _HELD_OUT)
    real = Rarities.of([record.mol for record in records_of(some) if record.mol is not None] if some else [], tables)
    return RarityReport(source, tables.molecules, by_index, sample, real if real.rings else None)


def tables_for(wanted: Path | str | None, references: Mapping[str, Tensor], source: str) -> RarityTables:
    """Return the tables that are asked for: those of another model or of a file, or a model's own.

    Args:
        wanted: see `load_tables`; None = the model's own.
        references, source: of the model, and where it is.

    Raises:
        MoldiffError: there are none.
    """
    return References(references, source).rarity if wanted is None else load_tables(wanted)


@blaming("ring_table")
def load_tables(name_or_path: Path | str) -> RarityTables:
    """Return the tables that a model carries, or those of the molecules of a file, which are counted now.

    Args:
        name_or_path: a model's name or folder, or a file of molecules (1 ms each): .smi, .csv, .sdf, ...

    Raises:
        MoldiffError: it is none of these, a model without tables, or a file of which no molecule can be read.
    """
    path = written_out(Path(name_or_path))
    if is_model(name_or_path):
        folder = load_model_folder(name_or_path)
        return References(folder.references, str(folder.path)).rarity
    if not path.is_file():
        raise MoldiffError(f"ring_table {path}: no model and no file of molecules", argument="ring_table")
    left_out = LeftOut(readable(path.name))
    molecules = _read(path, left_out)
    if (first := next(molecules, None)) is None:
        hint = f"; {left_out.told}" if left_out.told else ""
        raise MoldiffError(f"ring_table {path}: there is no molecule to count{hint}", argument="ring_table")
    tables = RarityTables.of(itertools.chain([first], molecules))
    left_out.tell()
    return tables


def _read(path: Path, left_out: LeftOut) -> Iterator[Mol]:
    """Yield the molecules of a file that can be read, and take note of the other records."""
    for record in read_records(path):
        if record.mol is None:
            left_out.add(record.index, record.reason)
        else:
            yield record.mol
