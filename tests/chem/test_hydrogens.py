"""Hydrogens around given heavy atoms: lower in energy, heavy atoms unmoved, and a reason where that is impossible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem, rdForceFieldHelpers

from moldiff.chem import hydrogens
from moldiff.chem.hydrogens import relax_hydrogens, with_all_hydrogens, without_hydrogen_atoms
from moldiff.chem.io.records import read_records

DRUGS = Path(__file__).parents[1] / "fixtures" / "drugs.sdf"


@pytest.fixture(scope="module")
def placed() -> list[Chem.Mol]:
    """Drug-like molecules whose hydrogens RDKit has placed anew."""
    drugs = [record.mol for record in read_records(DRUGS) if record.mol is not None][:12]
    return [Chem.AddHs(Chem.RemoveAllHs(drug), addCoords=True) for drug in drugs]


def energy(mol: Chem.Mol) -> float:
    copy = Chem.Mol(mol)  # which must outlive its force field
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(copy, mmffVariant="MMFF94s")
    return float(rdForceFieldHelpers.MMFFGetMoleculeForceField(copy, properties).CalcEnergy())


def positions(mol: Chem.Mol, *, heavy: bool) -> np.ndarray:
    chosen = [atom.GetIdx() for atom in mol.GetAtoms() if (atom.GetAtomicNum() > 1) == heavy]
    return np.asarray(mol.GetConformer().GetPositions()[chosen])


def test_hydrogens_come_down_and_heavy_atoms_stay(placed: list[Chem.Mol]) -> None:
    for mol in placed:
        before = positions(mol, heavy=False)
        relaxed, how = relax_hydrogens(mol)
        assert how == "mmff94s"
        assert energy(relaxed) < energy(mol) - 0.5
        assert np.array_equal(positions(relaxed, heavy=True), positions(mol, heavy=True))
        assert not np.array_equal(positions(relaxed, heavy=False), before)
        assert np.array_equal(positions(mol, heavy=False), before), "the argument stays as it is"
        assert Chem.MolToSmiles(relaxed) == Chem.MolToSmiles(mol)
        again, _ = relax_hydrogens(mol)
        assert np.array_equal(again.GetConformer().GetPositions(), relaxed.GetConformer().GetPositions())


@pytest.mark.parametrize(
    "smiles", ["CC(C)C", "COC(C)=O", "OCCNCCO", "Oc1ccccc1O", "C[C@H](N)C(=O)O", "C#CC1CC1", "[Na+].CC([O-])=O"]
)
@pytest.mark.parametrize("kept", ["none", "polar", "first"])
@pytest.mark.parametrize("sanitised", [True, False])
def test_hydrogens_that_a_record_leaves_out_are_placed_and_relaxed(smiles: str, kept: str, sanitised: bool) -> None:
    whole = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(whole, randomSeed=4)
    AllChem.MMFFOptimizeMolecule(whole, mmffVariant="MMFF94s", maxIters=5000)
    some = Chem.RWMol(whole)
    listed = [atom for atom in whole.GetAtoms() if atom.GetAtomicNum() == 1]
    polar = [atom.GetIdx() for atom in listed if atom.GetNeighbors()[0].GetAtomicNum() != 6]
    stay = {"none": [], "polar": polar, "first": polar[:1]}[kept]
    for atom in reversed(listed):
        if atom.GetIdx() not in stay:
            some.RemoveAtom(atom.GetIdx())
            for mate in some.GetAtoms():
                mate.SetNoImplicit(False)
    mol = some.GetMol()
    mol = Chem.MolFromMolBlock(Chem.MolToMolBlock(mol, kekulize=False), sanitize=sanitised, removeHs=False)
    before = mol.GetConformer().GetPositions()
    full = with_all_hydrogens(mol)
    assert full.GetNumAtoms() == whole.GetNumAtoms()
    assert np.array_equal(full.GetConformer().GetPositions()[: len(before)], before), "what is there stays"
    assert np.array_equal(mol.GetConformer().GetPositions(), before) and mol.GetNumAtoms() == len(before)
    assert Chem.MolToSmiles(Chem.RemoveHs(full), isomericSmiles=False) == Chem.CanonSmiles(smiles, useChiral=0)
    placed = range(len(before), full.GetNumAtoms())
    assert energy(full) < energy(relax_hydrogens(full, placed)[0]) + 0.05, "at a minimum"
    assert energy(full) < energy(whole) + (0.5 if kept == "polar" else 6.0), "hydroxyls may point another way"


@pytest.mark.parametrize(
    ("smiles", "how"),
    [
        ("CCB(O)O", "uff: mmff94s has no parameters"),  # boron is unknown to MMFF94
        ("C[Se]C[2H]", None),
        ("FC(F)(F)F", "mmff94s"),  # nothing to relax
    ],
)
def test_what_mmff_does_not_know_is_told(smiles: str, how: str | None) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=0)
    relaxed, found = relax_hydrogens(mol)
    assert found == how if how else found.startswith(("uff: ", "rdkit: "))
    assert np.array_equal(positions(relaxed, heavy=True), positions(mol, heavy=True))
    assert np.isfinite(relaxed.GetConformer().GetPositions()).all()


def test_where_no_field_helps_hydrogens_stay_as_placed(placed: list[Chem.Mol], monkeypatch: pytest.MonkeyPatch) -> None:
    def thrown(mol: Chem.Mol) -> None:
        raise RuntimeError("singular")

    monkeypatch.setattr(hydrogens, "_FIELDS", {"mmff94s": lambda mol: None, "uff": thrown})
    kept, how = relax_hydrogens(placed[0])
    assert how == "rdkit: mmff94s has no parameters; uff fails"
    assert np.array_equal(kept.GetConformer().GetPositions(), placed[0].GetConformer().GetPositions())


def test_a_hydrogen_that_comes_off_is_no_placement(placed: list[Chem.Mol], monkeypatch: pytest.MonkeyPatch) -> None:
    class Torn:
        def __init__(self, mol: Chem.Mol) -> None:
            self.mol = mol

        def Initialize(self) -> None: ...

        def AddFixedPoint(self, index: int) -> None: ...

        def Minimize(self, maxIts: int) -> None:
            last = self.mol.GetNumAtoms() - 1
            self.mol.GetConformer().SetAtomPosition(last, (30.0, 0.0, 0.0))

    monkeypatch.setattr(hydrogens, "_FIELDS", {"mmff94s": Torn})
    kept, how = relax_hydrogens(placed[0])
    assert how == "rdkit: mmff94s tears a hydrogen off"
    assert np.array_equal(kept.GetConformer().GetPositions(), placed[0].GetConformer().GetPositions())


def test_heavy_atoms_alone_are_the_same_molecule(placed: list[Chem.Mol]) -> None:
    for mol in placed:
        bare = without_hydrogen_atoms(mol)
        assert all(atom.GetAtomicNum() > 1 for atom in bare.GetAtoms())
        assert np.array_equal(bare.GetConformer().GetPositions(), positions(mol, heavy=True))
        read = Chem.MolFromMolBlock(Chem.MolToMolBlock(bare))
        assert Chem.MolToSmiles(read, isomericSmiles=False) == Chem.MolToSmiles(
            Chem.RemoveHs(mol), isomericSmiles=False
        )
