"""Ligands of the Protein Data Bank as they lie in crystals, from the Chemical Component Dictionary that biotite brings.

The dictionary (wwPDB, CC0) is a file inside the package `biotite`, which only this benchmark needs: `pip install
biotite`. Its "model" coordinates of a component are those of one structure that has it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import QED

from moldiff.chem.identity import canonical_smiles, text_key
from moldiff.vocabulary import Vocabulary

LEAST_QED = 0.5
MOST_ROTATABLE = 10
_ORDERS = {"SING": Chem.BondType.SINGLE, "DOUB": Chem.BondType.DOUBLE, "TRIP": Chem.BondType.TRIPLE}
_LONGEST = 2.4  # angstrom, of a bond: beyond, the coordinates are those of something else


def crystal_ligands(
    count: int, seed: int, vocabulary: Vocabulary, sizes: Collection[int], trained: Collection[int]
) -> list[Chem.Mol]:
    """Return ligands at random, every heavy atom at its place in a crystal, hydrogens placed by RDKit.

    One fragment, of the elements and sizes that a model knows, QED of 0.5 or more, at most ten rotatable bonds,
    different graphs, none that the model was trained on. Stereo is that of the coordinates.

    Args:
        count: how many.
        seed: of the order in which they are taken.
        vocabulary, sizes: of the model; sizes count heavy atoms.
        trained: keys (`moldiff.chem.identity.text_key`) of the graphs in its training set.
    """
    found: list[Chem.Mol] = []
    seen = set(trained)
    with rdBase.BlockLogs():
        for mol in _components(seed, set(vocabulary.elements) | {"H"}):
            if mol.GetNumAtoms() not in sizes or Chem.rdMolDescriptors.CalcNumRotatableBonds(mol) > MOST_ROTATABLE:
                continue
            key = text_key(canonical_smiles(mol, stereo=False))
            if key in seen or QED.qed(mol) < LEAST_QED:
                continue
            seen.add(key)
            found.append(Chem.AddHs(mol, addCoords=True))
            if len(found) == count:
                break
    return found


def _components(seed: int, elements: Collection[str]) -> Iterator[Chem.Mol]:
    """Yield the components that are one sanitised fragment with all heavy atoms placed, in random order."""
    from biotite.structure.info.ccd import get_ccd

    block = get_ccd()
    atoms, bonds = block["chem_comp_atom"], block["chem_comp_bond"]
    places = _places(atoms["comp_id"].as_array())
    bonded = _places(bonds["comp_id"].as_array())
    columns = {name: atoms[name].as_array() for name in ("atom_id", "type_symbol")}
    charge = atoms["charge"].as_array(int, masked_value=0)
    pos = np.stack([atoms[f"model_Cartn_{axis}"].as_array(float, masked_value=np.nan) for axis in "xyz"], axis=1)
    ends = [bonds[f"atom_id_{end}"].as_array() for end in (1, 2)]
    orders = bonds["value_order"].as_array()
    names = np.random.default_rng(seed).permutation(sorted(places))
    for name in names.tolist():
        rows, edges = places[name], bonded.get(name, slice(0, 0))
        symbols = [symbol.capitalize() for symbol in columns["type_symbol"][rows].tolist()]
        if not set(symbols) <= set(elements):
            continue
        mol = _molecule(
            dict(zip(columns["atom_id"][rows].tolist(), range(len(symbols)), strict=True)), symbols,
            charge[rows].tolist(), pos[rows], list(zip(*(end[edges].tolist() for end in (*ends, orders)), strict=True)),
        )  # fmt: skip
        if mol is not None:
            yield mol


def _places(names: np.ndarray) -> dict[str, slice]:
    """Return name -> the rows that have it; they stand together."""
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    stops = np.r_[starts[1:], len(names)]
    return {str(names[a]): slice(int(a), int(b)) for a, b in zip(starts, stops, strict=True)}


def _molecule(
    index: dict[str, int],
    symbols: list[str],
    charges: list[int],
    pos: np.ndarray,
    bonds: list[tuple[str, str, str]],
) -> Chem.Mol | None:
    """Return the heavy atoms of a component with their coordinates, or None where they are no molecule."""
    mol = Chem.RWMol()
    for symbol, charge in zip(symbols, charges, strict=True):
        atom = Chem.Atom(symbol)
        atom.SetFormalCharge(charge)
        mol.AddAtom(atom)
    for first, second, order in bonds:
        if order not in _ORDERS:
            return None
        mol.AddBond(index[first], index[second], _ORDERS[order])
    conformer = Chem.Conformer(len(symbols))
    conformer.SetPositions(np.ascontiguousarray(pos))
    mol.AddConformer(conformer)
    try:
        Chem.SanitizeMol(mol)  # before the hydrogens go: without them, valences that are full would look open
        heavy = Chem.RemoveHs(mol)
        points = heavy.GetConformer().GetPositions()
        if not np.isfinite(points).all() or len(Chem.GetMolFrags(heavy)) != 1 or not _plausible(heavy, points):
            return None
        # a crystal tells the stereo, and so do its hydrogens, which are often missing: only heavy atoms count
        Chem.AssignStereochemistryFrom3D(heavy)
    except (ValueError, RuntimeError):
        return None
    return heavy


def _plausible(mol: Chem.Mol, points: np.ndarray) -> bool:
    """Return whether bonds are no longer than bonds are, and there is more than one atom."""
    lengths = [
        float(np.linalg.norm(points[bond.GetBeginAtomIdx()] - points[bond.GetEndAtomIdx()])) for bond in mol.GetBonds()
    ]
    return bool(lengths) and max(lengths) < _LONGEST
