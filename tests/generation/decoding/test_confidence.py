"""Confidences of atoms: the right probabilities, and lists that RDKit hands to the atoms."""

import math
from pathlib import Path

import numpy as np
import pytest
from generating import generate_files
from rdkit import Chem

from moldiff.arrays import LogProbabilities, MolArrays
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import mol_to_sdf_record, read_records, write_sdf
from moldiff.generation.decoding.confidence import BOND_TAG, TYPE_TAG, Confidence, confidence
from moldiff.generation.generate import generate


def test_each_atom_gets_its_type_and_the_mean_of_its_bonds() -> None:
    types = np.array([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    bonds = np.full((4, 4, 3), 0.1)
    bonds[0, 1] = bonds[1, 0] = [0.1, 0.6, 0.3]
    bonds[1, 2] = bonds[2, 1] = [0.5, 0.1, 0.4]
    arrays = MolArrays(
        np.zeros((4, 3)), np.array([0, 1, 1, 0]), np.zeros(4, np.int64), np.array([[0, 1, 1], [1, 2, 2]])
    )
    found = confidence(arrays, LogProbabilities(np.log(types), np.zeros((4, 1)), np.log(bonds)))
    assert found.types == pytest.approx([0.7, 0.8, 0.4, 0.9])
    assert found.bonds[:3] == pytest.approx([0.6, 0.5, 0.4])
    assert math.isnan(found.bonds[3])


def test_atoms_without_a_value_are_marked() -> None:
    tags = Confidence(np.array([0.5, 1.0]), np.array([0.25, math.nan])).tags(3)
    assert tags == {TYPE_TAG: "0.500 1.000 n/a", BOND_TAG: "0.250 n/a n/a"}


def test_generated_files_carry_them_on_demand_alone(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    generate_files(out, n=8, model=str(model), evaluations=3, keep_invalid=True)
    assert "confidence" not in out.read_text()
    generate_files(out, n=8, model=str(model), evaluations=3, keep_invalid=True, overwrite=True, confidence=True)
    assert max(map(len, out.read_text().splitlines())) <= 200
    molecules = [mol for mol in Chem.SDMolSupplier(str(out), removeHs=False, sanitize=False) if mol is not None]
    assert molecules
    for mol in molecules:
        values = mol.GetProp(TYPE_TAG).split()
        assert len(values) == mol.GetNumAtoms() and all(0 < float(value) <= 1 for value in values)


def test_readers_have_nothing_to_warn_of(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """RDKit's defaults leave hydrogens out."""
    out = tmp_path / "m.sdf"
    generate_files(out, n=4, model=str(model), evaluations=3, confidence=True)
    mol = embed(Chem.MolFromSmiles("C[C@H](O)c1ccccc1"), seed=1, timeout_s=10)[0]
    record = mol_to_sdf_record(mol, "x", Confidence(np.ones(18), np.ones(18)).tags(mol.GetNumAtoms()))
    with open(out, "a") as handle:
        handle.write(record)
    capfd.readouterr()
    assert sum(mol is not None for mol in Chem.SDMolSupplier(str(out))) >= 1
    assert capfd.readouterr().err == ""


def test_long_lists_are_wrapped(tmp_path: Path) -> None:
    sample = Path(__file__).parents[3] / "data" / "sample.sdf"
    mol = max((record.mol for record in read_records(sample) if record.mol), key=lambda mol: mol.GetNumAtoms())
    values = " ".join(f"{0.001 * k:.9f}" for k in range(mol.GetNumAtoms()))
    write_sdf(tmp_path / "one.sdf", [mol_to_sdf_record(mol, "one", {TYPE_TAG: values, "note": "a " * 150})])
    assert len(values) > 200
    back = next(iter(Chem.SDMolSupplier(str(tmp_path / "one.sdf"), removeHs=False)))
    read = [float(value) for value in back.GetProp(TYPE_TAG).split()]
    assert read == pytest.approx([0.001 * k for k in range(mol.GetNumAtoms())])
    assert back.GetProp("note") == " ".join(["a"] * 150)  # everything else stays on one line


def test_molecules_in_memory_carry_them_too(model: Path) -> None:
    for mol in generate(4, model=model, evaluations=3, keep_invalid=True):
        assert len(mol.GetProp(TYPE_TAG).split()) == len(mol.GetProp(BOND_TAG).split()) == mol.GetNumAtoms()
