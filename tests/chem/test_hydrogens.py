"""Hydrogens around given heavy atoms: lower in energy, heavy atoms unmoved, and a reason where that is impossible."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem, rdForceFieldHelpers, rdMolTransforms

from moldiff.chem import hydrogens
from moldiff.chem.force_field import ForceField, mmff94s
from moldiff.chem.hydrogens import relax_hydrogens, with_all_hydrogens, without_hydrogen_atoms
from moldiff.chem.io.records import read_records

DRUGS = Path(__file__).parents[1] / "fixtures" / "drugs.sdf"
MINIMA = Path(__file__).parents[2] / "data" / "drugs_gfn2" / "0003.parquet"


@pytest.fixture
def at_the_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave hydrogens where the force field is lowest."""
    monkeypatch.setattr(hydrogens, "_shorten", lambda *_: None)


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


def bonds_to_hydrogen(mol: Chem.Mol) -> dict[tuple[str, str, int], list[float]]:
    """Return (element, hybridisation, hydrogens) of uncharged atoms -> lengths of their bonds to hydrogen."""
    pos, found = mol.GetConformer().GetPositions(), defaultdict[tuple[str, str, int], list[float]](list)
    for atom in mol.GetAtoms():
        of = [other.GetIdx() for other in atom.GetNeighbors() if other.GetAtomicNum() == 1]
        if atom.GetAtomicNum() > 1 and not atom.GetFormalCharge():
            lengths = np.linalg.norm(pos[of] - pos[atom.GetIdx()], axis=1).tolist()
            found[atom.GetSymbol(), str(atom.GetHybridization()), len(of)] += lengths
    return found


def test_bonds_to_hydrogen_are_as_long_as_those_of_gfn2(monkeypatch: pytest.MonkeyPatch) -> None:
    minima = [record.mol for record in itertools.islice(read_records(MINIMA), 150) if record.mol is not None]
    longer = defaultdict[tuple[str, str, int], list[float]](list)
    for mol in minima:
        before, after = bonds_to_hydrogen(mol), bonds_to_hydrogen(relax_hydrogens(mol)[0])
        for kind, lengths in after.items():
            longer[kind] += (np.array(lengths) - np.array(before[kind])).tolist()
    common = {kind: np.median(values) for kind, values in longer.items() if len(values) > 25}
    assert len(common) >= 5
    assert max(map(abs, common.values())) < 0.0015

    mol = minima[0]
    short = relax_hydrogens(mol)[0]
    monkeypatch.setattr(hydrogens, "_shorten", lambda *_: None)
    at_minimum = relax_hydrogens(mol)[0]
    assert bonds_to_hydrogen(at_minimum)["C", "SP2", 1][0] - bonds_to_hydrogen(short)["C", "SP2", 1][0] == (
        pytest.approx(0.008, abs=1e-9)
    )
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 1:
            arms = [one.GetConformer().GetPositions() for one in (short, at_minimum)]
            arms = [pos[atom.GetIdx()] - pos[atom.GetNeighbors()[0].GetIdx()] for pos in arms]
            assert np.linalg.norm(np.cross(*arms)) < 1e-9


@pytest.mark.parametrize(
    ("smiles", "moved"),
    [("C[NH2+]C", 6), ("S", 0), ("C#C", 0), ("CCB(O)O", 0)],  # the last by UFF
)
def test_what_no_lengths_are_known_of_stays_at_the_minimum(
    smiles: str, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=0)
    found = relax_hydrogens(mol)[0].GetConformer().GetPositions()
    monkeypatch.setattr(hydrogens, "_shorten", lambda *_: None)
    at_minimum = relax_hydrogens(mol)[0].GetConformer().GetPositions()
    assert (found != at_minimum).any(1).sum() == moved


@pytest.mark.usefixtures("at_the_minimum")
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
    assert energy(full) < energy(whole) + 0.1, "hydroxyls and amines point where they are best"


def lowest(mol: Chem.Mol, centre: int) -> float:
    """Return the lowest energy over directions of an atom's hydrogens, each relaxed: found without our code."""
    neighbours = [other.GetIdx() for other in mol.GetAtomWithIdx(centre).GetNeighbors()]
    moving = [index for index in neighbours if mol.GetAtomWithIdx(index).GetAtomicNum() == 1]
    others = [index for index in neighbours if index not in moving]
    around = [other.GetIdx() for other in mol.GetAtomWithIdx(others[0]).GetNeighbors() if other.GetIdx() != centre]
    energies = []
    for degrees in range(0, 360, 10):
        turned = Chem.Mol(mol)
        conformer = turned.GetConformer()
        if len(others) == 1:
            start = rdMolTransforms.GetDihedralDeg(mol.GetConformer(), around[0], others[0], centre, moving[0])
            rdMolTransforms.SetDihedralDeg(conformer, around[0], others[0], centre, moving[0], start + degrees)
        else:  # the other side of a pyramid: through its base, by the midpoint of the neighbours' arms
            pos = conformer.GetPositions()
            normal = np.cross(pos[others[0]] - pos[centre], pos[others[1]] - pos[centre])
            side = 1.0 if degrees < 180 else -1.0
            away = pos[centre] - pos[others].mean(0)
            new = pos[centre] + 0.6 * away / np.linalg.norm(away) + side * 0.8 * normal / np.linalg.norm(normal)
            conformer.SetAtomPosition(moving[0], new.tolist())
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(turned, mmffVariant="MMFF94s")
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(turned, properties)
        field.Initialize()
        for index in set(range(turned.GetNumAtoms())).difference(moving):
            field.AddFixedPoint(index)
        field.Minimize(maxIts=500)
        energies.append(field.CalcEnergy())
    return float(min(energies))


@pytest.mark.usefixtures("at_the_minimum")
@pytest.mark.parametrize(
    ("smiles", "pattern"),
    [
        ("Oc1ccccc1O", "[OH]"),
        ("O=C(O)c1ccccc1O", "[OH]"),
        ("OCC(=O)c1ccccc1", "[OH]"),
        ("SCC(=O)NC", "[SH]"),
        ("NCC(=O)OC", "[NH2]"),
        ("CNS(=O)(=O)c1ccccc1", "[NH]"),
        ("O=C(OC)[C@@H]1CCCN1", "[NH]"),
        ("N=C(C)C(=O)OC", "[NH]"),
        ("CC(=O)N[C@@H](CO)C(=O)O", "[OH]"),
        ("OC[C@H](O)[C@H](O)CO", "[OH]"),  # too many for all combinations
    ],
)
def test_hydrogens_point_where_they_are_best(smiles: str, pattern: str) -> None:
    """Of every direction that other atoms leave open, whichever RDKit places first."""
    whole = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMultipleConfs(whole, 6, randomSeed=4)
    AllChem.MMFFOptimizeMoleculeConfs(whole, mmffVariant="MMFF94s", maxIters=5000)
    for conformer in whole.GetConformers():
        mol = Chem.Mol(whole, confId=conformer.GetId())
        bare = Chem.RemoveAllHs(mol)
        full = with_all_hydrogens(bare)
        for (centre,) in full.GetSubstructMatches(Chem.MolFromSmarts(pattern)):
            assert energy(full) < lowest(full, centre) + 0.02
        assert energy(full) < energy(mol) + 0.1
        again = with_all_hydrogens(bare)
        assert np.array_equal(full.GetConformer().GetPositions(), again.GetConformer().GetPositions())


@pytest.mark.parametrize(
    ("smiles", "mirrored"),
    [
        ("C/C=N/[H]", False),
        ("C/C(C(=O)OC)=N/[H]", False),
        ("C1[C@@H](C)N1", False),
        ("CC[P@H]C", False),
        ("CC1CCCCN1", True),
    ],
)
def test_stereo_is_no_direction_to_choose(smiles: str, mirrored: bool) -> None:
    """A written double bond and an atom in a ring of three keep their side; a piperidine's hydrogen may change it."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    centre = next(atom for atom in mol.GetAtoms() if atom.GetAtomicNum() in (7, 15))
    (moving,) = [other.GetIdx() for other in centre.GetNeighbors() if other.GetAtomicNum() == 1]
    found = hydrogens._open_directions(mol, {moving})
    assert [one.hydrogens for one in found] == ([(moving,)] if mirrored else [])
    relaxed, _ = relax_hydrogens(mol, [moving])
    Chem.AssignStereochemistryFrom3D(relaxed)
    Chem.AssignStereochemistryFrom3D(mol)
    assert Chem.MolToSmiles(relaxed) == Chem.MolToSmiles(mol)


@pytest.mark.parametrize("seed", range(8))
def test_of_directions_that_symmetry_makes_equal_the_first_is_taken(seed: int) -> None:
    """Methanol has three best directions; which of them has the lowest energy is rounding, other in every pose."""
    bare = Chem.RemoveAllHs(Chem.MolFromSmiles("CO"))
    bond = np.random.default_rng(seed).normal(size=3)
    bare.AddConformer(Chem.Conformer(2))
    bare.GetConformer().SetPositions(np.stack([0 * bond, 1.42 * bond / np.linalg.norm(bond)]))
    mol = Chem.AddHs(bare, addCoords=True)
    every = set(range(2, mol.GetNumAtoms()))
    directions = list(hydrogens._directions(hydrogens._open_directions(mol, every), mol.GetConformer().GetPositions()))
    found = mmff94s(mol)
    assert found is not None
    energies = [found.field.CalcEnergy(one.ravel().tolist()) for one in directions]
    first = next(place for place, one in enumerate(energies) if one < min(energies) + 0.01)
    hydrogens._turn(found, sorted(every))
    assert np.allclose(found.positions(), directions[first], atol=1e-6)


def test_a_molecule_with_many_hydroxyls_takes_as_long_as_its_minimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of 120 alcohols: energies are counted, not seconds."""
    mol = Chem.AddHs(Chem.MolFromSmiles("C(O)" * 120))
    flat = Chem.Conformer(mol.GetNumAtoms())
    flat.SetPositions(np.random.default_rng(0).normal(size=(mol.GetNumAtoms(), 3)) * 8)
    mol.AddConformer(flat)
    counted = []

    class Counting:
        def CalcEnergy(self, pos: list[float]) -> float:
            counted.append(len(pos))
            return -float(len(counted))  # always lower: no end without a limit

    moving = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() == 1]
    hydrogens._turn(ForceField(mol, Counting()), moving)
    assert 120 * 12 <= len(counted) < 500 + 121 * 12, "each direction once, then no more"


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

        def AddFixedPoint(self, index: int) -> None: ...

        def CalcEnergy(self, pos: list[float]) -> float:
            return 0.0

        def Minimize(self, maxIts: int) -> None:
            last = self.mol.GetNumAtoms() - 1
            self.mol.GetConformer().SetAtomPosition(last, (30.0, 0.0, 0.0))

    monkeypatch.setattr(hydrogens, "_FIELDS", {"mmff94s": lambda mol: ForceField(copy := Chem.Mol(mol), Torn(copy))})
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
