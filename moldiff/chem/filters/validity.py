"""Checks of one molecule as pure functions: molecule in, named result out. No exceptions, no repair."""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase

from moldiff.chem.convert import Conversion
from moldiff.chem.filters.checks import CheckResult
from moldiff.chem.sanitize import coordinate_refusal, sanitize_reason
from moldiff.chem.valence import unlisted_hydrogens

BOND_RANGE = (0.70, 1.15)  # length over the sum of covalent radii; 3 of 10,000 molecules of QM9 have a longer bond
LONGEST_ALONE = 1.30  # the same of a molecule of two atoms: 1.20 in H2, 1.24 in F2, as radii come from other bonds
_CARBONYLS = 2  # double bonds out of an aromatic four-ring that make it one of squaric acid
CLASH_RATIO = 0.50  # distance over the sum of van der Waals radii; hydrogen bonds of force fields come to 0.55


def _result(name: str, value: float, detail: str) -> CheckResult:
    return CheckResult(name, not detail, value, detail)


def finite_coordinates(mol: Chem.Mol) -> CheckResult:
    """Pass if there is a conformer with finite coordinates below 9999 angstrom. Value: number of conformers."""
    count = mol.GetNumConformers()
    detail = coordinate_refusal(mol.GetConformer().GetPositions()) if count else "no conformer"
    return _result("finite_coordinates", float(count), detail)


def one_fragment(mol: Chem.Mol) -> CheckResult:
    """Pass if all atoms hang together. Value: number of fragments (0 for a molecule without atoms, which fails)."""
    count = len(Chem.GetMolFrags(mol))
    return _result("one_fragment", float(count), "" if count == 1 else f"{count} fragments")


def no_radicals(mol: Chem.Mol) -> CheckResult:
    """Pass if no atom has unpaired electrons. Value: number of such electrons."""
    count = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    return _result("no_radicals", float(count), f"{count} radical electrons" if count else "")


def no_open_valences(mol: Chem.Mol) -> CheckResult:
    """Pass if no atom lacks a hydrogen. Value: number of hydrogens that are missing.

    Where some hydrogens are atoms of the molecule, all must be: what RDKit would still add is an open valence. In a
    molecule without a single hydrogen atom they are taken as left out on purpose, unless an atom says that it has none
    (NoImplicit); such an atom with bonds to spare carries radical electrons after sanitising, which are counted here
    too.
    """
    implied = unlisted_hydrogens(mol)
    missing = 0
    for atom in mol.GetAtoms():
        missing += atom.GetTotalNumHs() - min(implied[atom.GetIdx()], atom.GetTotalNumHs())
        if atom.GetNoImplicit():
            missing += atom.GetNumRadicalElectrons()
    return _result("no_open_valences", float(missing), f"{missing} hydrogens missing" if missing else "")


def sanitises_without_hydrogens(mol: Chem.Mol) -> CheckResult:
    """Pass if RDKit accepts the molecule with its hydrogens left out too, as its SMILES has it: an aromatic ring may
    have a Kekule form only as long as every hydrogen is an atom. Value: None."""
    try:
        with rdBase.BlockLogs():
            Chem.RemoveHs(mol)
    except (ValueError, RuntimeError) as error:
        return CheckResult("sanitises_without_hydrogens", False, None, sanitize_reason(error, mol))
    return CheckResult("sanitises_without_hydrogens", True)


def no_small_aromatic_rings(mol: Chem.Mol) -> CheckResult:
    """Pass if no ring of three or four atoms is aromatic, other than those of squaric acid, where carbonyls take the
    electrons: RDKit counts electrons, and calls such as c1c[nH][nH]1 aromatic, which nobody has made. Value: their
    number."""
    count = 0
    for atoms, bonds in zip(mol.GetRingInfo().AtomRings(), mol.GetRingInfo().BondRings(), strict=True):
        if len(atoms) > 4 or not all(mol.GetBondWithIdx(index).GetIsAromatic() for index in bonds):
            continue
        outside = (
            bond for index in atoms for bond in mol.GetAtomWithIdx(index).GetBonds() if bond.GetIdx() not in bonds
        )
        count += sum(bond.GetBondType() == Chem.BondType.DOUBLE for bond in outside) < _CARBONYLS
    detail = f"{count} aromatic rings of three or four atoms" if count else ""
    return _result("no_small_aromatic_rings", float(count), detail)


def bond_lengths_plausible(mol: Chem.Mol) -> CheckResult:
    """Pass if every bond is within `BOND_RANGE` of the sum of covalent radii, in a molecule of two atoms up to
    `LONGEST_ALONE`. Value: the ratio furthest beyond its end of the range, or nearest to it."""
    if mol.GetNumConformers() == 0:
        return CheckResult("bond_lengths_plausible", False, None, "no conformer")
    pos = mol.GetConformer().GetPositions()
    table = Chem.GetPeriodicTable()
    longest = LONGEST_ALONE if mol.GetNumAtoms() == 2 else BOND_RANGE[1]
    worst, furthest, detail = 1.0, 0.0, ""
    for bond in mol.GetBonds():
        first, second = bond.GetBeginAtom(), bond.GetEndAtom()
        length = float(np.linalg.norm(pos[first.GetIdx()] - pos[second.GetIdx()]))
        radii = table.GetRcovalent(first.GetAtomicNum()) + table.GetRcovalent(second.GetAtomicNum())
        if radii == 0.0:  # two dummy atoms: no expectation
            continue
        ratio = length / radii
        # 1 at either end of the range, which reaches further below 1 than above
        way = (ratio - 1.0) / ((longest if ratio > 1.0 else BOND_RANGE[0]) - 1.0)
        if not way <= furthest:
            worst, furthest = ratio, way
            if way > 1.0 or not np.isfinite(way):
                detail = f"{first.GetSymbol()}-{second.GetSymbol()} of {length:.2f} angstrom"
    return _result("bond_lengths_plausible", worst, detail)


def no_clashes(mol: Chem.Mol) -> CheckResult:
    """Pass if atoms three or more bonds apart (or in two fragments) keep their distance.

    Value: the smallest distance over the sum of van der Waals radii, which must reach `CLASH_RATIO`; None without such
    a pair.
    """
    if mol.GetNumConformers() == 0:
        return CheckResult("no_clashes", False, None, "no conformer")
    pos = mol.GetConformer().GetPositions()
    table = Chem.GetPeriodicTable()
    radii = np.array([table.GetRvdw(atom.GetAtomicNum()) for atom in mol.GetAtoms()])
    bonds_between = Chem.GetDistanceMatrix(mol)
    # a pair of dummy atoms has no radii and no expectation
    i, j = np.nonzero(np.triu((bonds_between >= 3) & (radii[:, None] + radii[None, :] > 0.0), k=1))
    if len(i) == 0:
        return CheckResult("no_clashes", True)
    ratios = np.linalg.norm(pos[i] - pos[j], axis=1) / (radii[i] + radii[j])
    worst = int(np.argmin(ratios))
    ratio = float(ratios[worst])
    first, second = mol.GetAtomWithIdx(int(i[worst])), mol.GetAtomWithIdx(int(j[worst]))
    distance = ratio * float(radii[i[worst]] + radii[j[worst]])
    detail = "" if ratio >= CLASH_RATIO else f"{first.GetSymbol()} and {second.GetSymbol()} at {distance:.2f} angstrom"
    return _result("no_clashes", ratio, detail)


CHEMISTRY = (one_fragment, no_radicals, no_open_valences, sanitises_without_hydrogens, no_small_aromatic_rings)
GEOMETRY = (finite_coordinates, bond_lengths_plausible, no_clashes)


def geometry_problem(mol: Chem.Mol) -> str:
    """Return name and detail of the first check of `GEOMETRY` that a sanitised molecule fails; "" if it passes."""
    failed = (result for result in (function(mol) for function in GEOMETRY) if not result.passed)
    return next((f"{result.name}: {result.detail}" for result in failed), "")


def is_valid_and_connected(conversion: Conversion) -> tuple[bool, str]:
    """Return whether a decoded molecule sanitises, with hydrogens and without, is one fragment, and has no radicals or
    open valences; else why not.

    The reason is the conversion's own or the name and detail of the first check that failed.
    """
    if conversion.mol is None:
        return False, conversion.reason
    for function in CHEMISTRY:
        result = function(conversion.mol)
        if not result.passed:
            return False, f"{result.name}: {result.detail}"
    return True, ""


def mark_duplicates(smiles: list[str | None]) -> list[int | None]:
    """Return for each entry the index of its first occurrence if that came earlier, else None.

    None entries (molecules without SMILES) are never duplicates.
    """
    first: dict[str, int] = {}
    marks: list[int | None] = []
    for index, text in enumerate(smiles):
        if text is None:
            marks.append(None)
            continue
        earlier = first.setdefault(text, index)
        marks.append(earlier if earlier != index else None)
    return marks
