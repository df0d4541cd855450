"""A molecule survives the trip through bytes, coordinates to the last bit."""

from pathlib import Path

import numpy as np
from rdkit import Chem

from moldiff.chem.compact import from_bytes, to_bytes
from moldiff.chem.io.records import mol_to_sdf_record, read_records

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"


def test_molecules_come_back_as_they_were() -> None:
    for record in read_records(SAMPLE):
        mol = from_bytes(to_bytes(record.mol))
        assert np.array_equal(mol.GetConformer().GetPositions(), record.mol.GetConformer().GetPositions())
        assert Chem.MolToSmiles(mol) == Chem.MolToSmiles(record.mol)
        assert mol_to_sdf_record(mol, "", {}) == mol_to_sdf_record(record.mol, "", {})
        assert len(to_bytes(mol)) < 2000
