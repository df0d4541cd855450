from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.ordered_smiles import from_ordered_smiles, to_ordered_smiles
from moldiff.chem.io.records import embed, parse, read_records
from moldiff.chem.io.text_records import TextRecord

FIXTURES = Path(__file__).parents[2] / "fixtures"


def distances(mol: Chem.Mol) -> np.ndarray:
    return Chem.Get3DDistanceMatrix(mol)


@pytest.mark.parametrize(
    "smiles",
    ["C", "[H][H]", "O=C=O", "C[C@H](O)[C@@H](N)C=O", "C/C=C/C(=O)[O-]", "[2H]C([2H])([2H])O", "CC(C)=N", "c1cc[nH]c1"],
)
def test_a_molecule_comes_back_with_its_atoms_and_distances(smiles: str) -> None:
    mol, _ = embed(Chem.MolFromSmiles(smiles), 1, 20)
    assert mol is not None
    text, coordinates = to_ordered_smiles(mol)
    back = from_ordered_smiles(text, coordinates)
    assert sorted(atom.GetAtomicNum() for atom in back.GetAtoms()) == sorted(a.GetAtomicNum() for a in mol.GetAtoms())
    np.testing.assert_allclose(np.sort(distances(back), axis=None), np.sort(distances(mol), axis=None), atol=0.003)
    record = parse(TextRecord(0, "placed", "x", " ".join((text, *map(str, coordinates)))))
    assert record.reason == ""
    Chem.AssignStereochemistryFrom3D(mol)
    assert canonical_smiles(record.mol, stereo=True) == canonical_smiles(mol, stereo=True)


def test_real_molecules_come_back_atom_by_atom() -> None:
    for record in read_records(FIXTURES / "drugs.sdf"):
        assert record.mol is not None
        text, coordinates = to_ordered_smiles(record.mol)
        back = from_ordered_smiles(text, coordinates)
        found = back.GetSubstructMatches(Chem.RemoveHs(record.mol), maxMatches=1)
        assert found, record.name

        # every bond has the length that it had, by the elements at its ends
        def lengths(mol: Chem.Mol) -> list[tuple[str, float]]:
            d = distances(mol)
            return sorted(
                ("".join(sorted((b.GetBeginAtom().GetSymbol(), b.GetEndAtom().GetSymbol()))),
                 round(float(d[b.GetBeginAtomIdx(), b.GetEndAtomIdx()]), 2))
                for b in mol.GetBonds()
            )  # fmt: skip

        for (kind, first), (other, second) in zip(lengths(record.mol), lengths(back), strict=True):
            assert kind == other and abs(first - second) <= 0.011


def test_numbers_that_do_not_fit_are_a_reason() -> None:
    assert parse(TextRecord(0, "placed", "x", "CO 1 2 3")).reason == "coordinates: 3 numbers for 6 atoms"
    assert parse(TextRecord(0, "placed", "x", "C(( 1 2 3")).reason == "smiles: RDKit cannot read it"
