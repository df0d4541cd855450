"""Rarity of a molecule's parts among reference molecules: its rarest ring system and its weakest bond."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from rdkit import Chem, rdBase

from moldiff.chem.descriptors.bond_environments import BondEnvironment, bond_environments
from moldiff.chem.descriptors.ring_systems import ring_systems
from moldiff.chem.identity import text_key
from moldiff.errors import MoldiffError

PARTS = ("ring", "pair", "environment")
MOLECULES = "rarity.molecules"
COLUMNS = ("rarest_ring", "rarest_ring_count", "weakest_bond", "weakest_bond_association")
_PLACE = "_moldiff_place"


@dataclass(frozen=True)
class RarestRing:
    """The ring system of a molecule that is least frequent in the reference.

    Attributes:
        smiles: of the system; empty for a molecule without rings.
        count: reference molecules that have it (all of them for a molecule without rings).
    """

    smiles: str
    count: int


@dataclass(frozen=True)
class WeakestBond:
    """The bond of a molecule whose ends are least expected beside each other.

    Attributes:
        association: p(ab) / (p(ab) + p(a) p(b)), from 0 (never seen) over 0.5 (as often as chance has it) to 1; a
            monotone form of the pointwise mutual information, ln p(ab) / (p(a) p(b)). 1 for a molecule without bonds
            between heavy atoms.
        atoms: indices of its ends in the molecule, from 0; (-1, -1) if there is no bond.
        name: its ends and order, such as "N3-O7"; "" if there is none.
    """

    association: float
    atoms: tuple[int, int]
    name: str


@dataclass(frozen=True)
class RarityTables:
    """Counts in reference molecules, by 64-bit keys of the parts' texts: nobody can read the molecules from them.

    Attributes:
        molecules: that were counted.
        bonds: between heavy atoms, that were counted.
        rings: molecules that have a ring system.
        pairs: bonds with these ends and order.
        environments: ends of bonds with these surroundings.
    """

    molecules: int
    bonds: int
    rings: Mapping[int, int]
    pairs: Mapping[int, int]
    environments: Mapping[int, int]

    @classmethod
    def of(cls, molecules: Iterable[Chem.Mol]) -> RarityTables:
        """Count the parts of sanitised molecules; MoldiffError if there is none."""
        rings, pairs, environments = counts = Counter[str](), Counter[str](), Counter[str]()
        count = 0
        for mol in molecules:
            count += 1
            for total, one in zip(counts, _parts_of(mol), strict=True):
                total.update(one)
        if not count:
            raise MoldiffError("tables of ring systems and bonds need molecules; there are none")
        return cls(count, pairs.total(), _keyed(rings), _keyed(pairs), _keyed(environments))

    def without(self, mol: Chem.Mol) -> RarityTables:
        """Return the tables as if a molecule that was counted had not been: how usual it is among the others."""
        rings, pairs, environments = map(_keyed, _parts_of(mol))
        return RarityTables(
            self.molecules - 1,
            self.bonds - sum(pairs.values()),
            _less(self.rings, rings),
            _less(self.pairs, pairs),
            _less(self.environments, environments),
        )

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Return the tables as arrays for a model folder: sorted keys (uint64 bits as int64) and counts (int32)."""
        tensors = {MOLECULES: np.array([self.molecules], dtype=np.int64)}
        for name, table in zip(PARTS, (self.rings, self.pairs, self.environments), strict=True):
            keys = np.array(sorted(table), dtype=np.uint64)
            tensors[f"rarity.{name}_keys"] = keys.view(np.int64)
            tensors[f"rarity.{name}_counts"] = np.array([table[int(key)] for key in keys], dtype=np.int32)
        return tensors

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], source: str) -> RarityTables:
        """Read what `to_tensors` gave; MoldiffError names ``source`` if it is incomplete."""
        try:
            tables = [
                dict(
                    zip(
                        np.asarray(tensors[f"rarity.{name}_keys"]).view(np.uint64).tolist(),
                        np.asarray(tensors[f"rarity.{name}_counts"]).tolist(),
                        strict=True,
                    )
                )
                for name in PARTS
            ]
            rings, pairs, environments = tables
            if min(min(table.values(), default=1) for table in tables) < 1:
                raise ValueError("a count below 1")
            return cls(int(np.asarray(tensors[MOLECULES])[0]), sum(pairs.values()), rings, pairs, environments)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise MoldiffError(
                f"{source} carries damaged tables of ring systems and bonds; pack the model again, or name others "
                "(ring_table)",
                argument="ring_table",
            ) from error

    def rarest_ring(self, mol: Chem.Mol) -> RarestRing:
        """Return the rarest ring system of a sanitised molecule."""
        counted = [(self.rings.get(text_key(smiles), 0), smiles) for smiles in ring_systems(_flat(mol))]
        count, smiles = min(counted, default=(self.molecules, ""))
        return RarestRing(smiles, count)

    def weakest_bond(self, mol: Chem.Mol) -> WeakestBond:
        """Return the weakest bond of a sanitised molecule."""
        numbered = Chem.Mol(mol)
        for atom in numbered.GetAtoms():
            atom.SetIntProp(_PLACE, atom.GetIdx())
        flat = _flat(numbered)
        bonds = bond_environments(flat)
        if not bonds:
            return WeakestBond(1.0, (-1, -1), "")
        weakest = min(bonds, key=self._association)
        bond = flat.GetBondWithIdx(weakest.bond)
        first, second = sorted(
            (atom.GetIntProp(_PLACE), atom.GetSymbol()) for atom in (bond.GetBeginAtom(), bond.GetEndAtom())
        )
        name = weakest.order.join(f"{symbol}{place}" for place, symbol in (first, second))
        return WeakestBond(self._association(weakest), (first[0], second[0]), name)

    def facts(self, mol: Chem.Mol) -> dict[str, object]:
        """Return the rarest ring system and the weakest bond of a sanitised molecule as columns of a table."""
        ring, bond = self.rarest_ring(mol), self.weakest_bond(mol)
        return dict(zip(COLUMNS, (ring.smiles, ring.count, bond.name, bond.association), strict=True))

    def _association(self, found: BondEnvironment) -> float:
        """Return p(ab) / (p(ab) + p(a) p(b)), probabilities over bonds; an unordered pair of two kinds comes both ways
        round."""
        together = self.pairs.get(text_key(found.key), 0)
        if not together:
            return 0.0
        first, second = (self.environments.get(text_key(end), 0) / (2 * self.bonds) for end in found.ends)
        chance = first * second * (1 if found.ends[0] == found.ends[1] else 2)
        return (together / self.bonds) / (together / self.bonds + chance)


def _parts_of(mol: Chem.Mol) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Return what one molecule adds to the tables: ring systems (each once), pairs and environments."""
    flat = _flat(mol)
    bonds = bond_environments(flat)
    return (
        Counter(set(ring_systems(flat))),
        Counter(found.key for found in bonds),
        Counter(end for found in bonds for end in found.ends),
    )


def _keyed(counts: Mapping[str, int]) -> dict[int, int]:
    return {text_key(name): count for name, count in counts.items()}


def _less(table: Mapping[int, int], one: Mapping[int, int]) -> Mapping[int, int]:
    """Return a view of a table with lower counts of a few keys."""
    fewer = {key: table.get(key, 0) - count for key, count in one.items()}
    return ChainMap(fewer, table)  # type: ignore[arg-type]  # it reads alone


def _flat(mol: Chem.Mol) -> Chem.Mol:
    """Return the molecule without hydrogens and stereo, aromaticity as RDKit sees it."""
    with rdBase.BlockLogs():
        flat = Chem.RemoveHs(mol, updateExplicitCount=True, sanitize=False)
    Chem.RemoveStereochemistry(flat)
    Chem.SanitizeMol(flat)
    return flat
