"""The gate of everything that has coordinates: what no molecule in angstrom can look like is told by its kind."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdMolTransforms

from moldiff.chem import coordinates
from moldiff.chem.coordinates import FLAT, NO_CONFORMER, coordinates_problem, expected_lengths
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import read_records

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"
DRUGS = Path(__file__).parents[1] / "fixtures" / "drugs.sdf"
PLANAR = ["c1ccccc1", "C=CC=C", "O", "OC=O", "c1ncncn1", "O=C=O", "C#CC#C", "NC(=O)c1ccco1", "FB(F)F"]


def in_3d(smiles: str) -> Chem.Mol:
    mol, reason = embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=20)
    assert mol is not None, reason
    return mol


def scaled(mol: Chem.Mol, factor: float) -> Chem.Mol:
    copy = Chem.Mol(mol)
    copy.GetConformer().SetPositions(mol.GetConformer().GetPositions() * factor)
    return copy


def flattened(mol: Chem.Mol) -> Chem.Mol:
    """A planar molecule in the plane z = 0 exactly, as quantum chemistry writes it."""
    pos = mol.GetConformer().GetPositions()
    pos -= pos.mean(0)
    axes = np.linalg.svd(pos)[2]
    pos = pos @ axes.T
    assert abs(pos[:, 2]).max() < 0.02
    pos[:, 2] = 0.0
    copy = Chem.Mol(mol)
    copy.GetConformer().SetPositions(pos)
    return copy


def drawn(smiles: str, hydrogens: bool, marked_3d: bool) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    mol = Chem.AddHs(mol) if hydrogens else mol
    rdDepictor.Compute2DCoords(mol)
    mol.GetConformer().Set3D(marked_3d)
    return mol


def test_real_molecules_pass() -> None:
    for path in (SAMPLE, DRUGS):
        for record in read_records(path):
            assert coordinates_problem(record.mol) == ""
            assert coordinates_problem(Chem.RemoveHs(record.mol)) == ""


@pytest.mark.parametrize("smiles", PLANAR)
@pytest.mark.parametrize("marked_3d", [True, False])
def test_planar_molecules_pass_whatever_the_header_says(smiles: str, marked_3d: bool) -> None:
    mol = flattened(in_3d(smiles))
    mol.GetConformer().Set3D(marked_3d)
    assert coordinates_problem(mol) == ""
    heavy = Chem.RemoveHs(mol)
    assert coordinates_problem(heavy) == ""


@pytest.mark.parametrize("smiles", ["CC(C)Cc1ccccc1", "c1ccccc1", "CCCC", "C=CC=C", "C1CCCCC1", "OC(=O)C=C", "CN"])
@pytest.mark.parametrize("hydrogens", [True, False])
@pytest.mark.parametrize("marked_3d", [True, False])
def test_drawings_are_none_whatever_the_header_says(smiles: str, hydrogens: bool, marked_3d: bool) -> None:
    mol = drawn(smiles, hydrogens, marked_3d)
    # two points lie on a line, whatever drew them
    assert coordinates_problem(mol) == (FLAT if mol.GetNumAtoms() > 2 else "")


@pytest.mark.parametrize(
    ("factor", "unit"),
    [(1.8897, "bohr"), (0.1, "nanometres"), (100.0, "picometres"), (0.529, "angstrom taken for bohr")],
)
@pytest.mark.parametrize("smiles", ["CC(C)Cc1ccccc1", "CS(=O)(=O)N", "c1ccccc1", "C#N"])
def test_other_units_are_named(factor: float, unit: str, smiles: str) -> None:
    assert coordinates_problem(scaled(in_3d(smiles), factor)).startswith(f"unit: looks like {unit} (bonds are")


def test_another_factor_has_no_name() -> None:
    assert coordinates_problem(scaled(in_3d("CCO"), 3.0)).startswith("unit: bonds are 3.1 times as long as in angstrom")


def test_atoms_on_one_point_and_on_top_of_each_other() -> None:
    assert coordinates_problem(scaled(in_3d("CCO"), 0.0)) == "coincident atoms: all lie on one point"
    chain = in_3d("CCCCCCCC")
    pos = chain.GetConformer().GetPositions()
    pos[0] = pos[6] + 0.1
    pos[8:11] = pos[0] + np.eye(3)  # its hydrogens go with it
    chain.GetConformer().SetPositions(pos)
    assert coordinates_problem(chain).startswith("bond length: C-C of")
    apart = Chem.CombineMols(in_3d("C"), in_3d("C"))
    assert coordinates_problem(apart) == "coincident atoms: 5 pairs lie on top of each other"


def test_one_impossible_bond() -> None:
    mol = in_3d("CCO")
    pos = mol.GetConformer().GetPositions()
    pos[-1] += 4.0
    mol.GetConformer().SetPositions(pos)
    assert coordinates_problem(mol).startswith("bond length: ")


@pytest.mark.parametrize(("short", "long"), [(1.0, 1.65), (0.52, 1.9), (0.55, 1.62), (0.45, 1.59), (0.45, 1.7)])
def test_an_impossible_bond_beside_one_that_is_almost_so(short: float, long: float) -> None:
    mol = in_3d("CCCCCC")
    radii = 2 * Chem.GetPeriodicTable().GetRcovalent(6)
    for ends, factor in (((0, 1), short), ((4, 5), long)):
        rdMolTransforms.SetBondLength(mol.GetConformer(), *ends, factor * radii)
    expected = long if long > 1.6 and short > 0.45 else short
    assert coordinates_problem(mol).startswith(f"bond length: C-C of {expected * radii:.2f} angstrom")


def test_no_and_not_finite_coordinates() -> None:
    assert coordinates_problem(Chem.MolFromSmiles("CCO")) == NO_CONFORMER
    assert coordinates_problem(scaled(in_3d("CCO"), float("nan"))).startswith("non-finite")
    helium = Chem.MolFromSmiles("[He]")
    helium.AddConformer(Chem.Conformer(1))
    assert coordinates_problem(helium) == ""


def test_every_bond_has_the_length_of_its_radii_and_order() -> None:
    mol = Chem.RWMol(Chem.MolFromSmiles("C#CC=Cc1ccccc1.[Na]"))
    mol.AddBond(0, mol.GetNumAtoms() - 1, Chem.BondType.ZERO)
    factors = {"SINGLE": 1.0, "DOUBLE": 0.87, "TRIPLE": 0.79, "AROMATIC": 0.92, "ZERO": 1.0}
    radius = Chem.GetPeriodicTable().GetRcovalent
    expected = {
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()): factors[str(bond.GetBondType())]
        * (radius(bond.GetBeginAtom().GetAtomicNum()) + radius(bond.GetEndAtom().GetAtomicNum()))
        for bond in mol.GetBonds()
    }
    ends, lengths = expected_lengths(mol)
    found = dict(zip(map(tuple, ends.tolist()), lengths.tolist(), strict=True))
    assert found == pytest.approx({tuple(sorted(pair)): length for pair, length in expected.items()})


def test_the_median_is_that_of_numpy() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert [coordinates._median(values[:n]) for n in range(1, 31)] == [np.median(values[:n]) for n in range(1, 31)]
