"""Sixty molecules whose verdicts were derived by hand from their Lewis structures; every judgement must agree.

Notation of `golden_molecules.json`: atoms "N+ O- H", bonds "0-1" single, "0=1" double, "0#1" triple, "0:1" aromatic.
"radicals" is null where the molecule does not sanitise; "unstable" lists the atoms with a valence that is not allowed.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from moldiff.arrays import MolArrays
from moldiff.chem.convert import Conversion, decode
from moldiff.chem.filters.validity import is_valid_and_connected, no_radicals, one_fragment
from moldiff.chem.io.records import judge, mol_to_sdf_record, read_block
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.valence import atom_stability
from moldiff.vocabulary import BOND_ORDERS, Vocabulary

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "golden_molecules.json").read_text())
SIGNS = {"-": "single", "=": "double", "#": "triple", ":": "aromatic"}


def arrays_of(golden: dict) -> tuple[MolArrays, Vocabulary]:
    atoms = golden["atoms"].split()
    symbols = [atom.rstrip("+-") for atom in atoms]
    charges = [{"+": 1, "-": -1}.get(atom[-1], 0) for atom in atoms]
    vocabulary = Vocabulary(tuple(sorted(set(symbols))), (-1, 0, 1), BOND_ORDERS)
    rows = []
    for bond in golden["bonds"].split():
        i, sign, j = re.fullmatch(r"(\d+)([-=#:])(\d+)", bond).groups()
        rows.append((int(i), int(j), BOND_ORDERS.index(SIGNS[sign])))
    arrays = MolArrays(
        np.array(golden["pos"]),
        np.array([vocabulary.elements.index(symbol) for symbol in symbols]),
        np.array(charges) + 1,
        np.array(rows, dtype=np.int64).reshape(-1, 3),
    )
    return arrays, vocabulary


def converted(golden: dict) -> Conversion:
    return decode(*arrays_of(golden))


def test_there_are_sixty_with_both_verdicts() -> None:
    assert len(GOLDEN) == 60
    assert sum(golden["valid"] for golden in GOLDEN) == 39


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["name"])
def test_validity_radicals_and_fragments(golden: dict) -> None:
    conversion = converted(golden)
    valid, reason = is_valid_and_connected(conversion)
    assert (valid, reason.split(":")[0]) == (golden["valid"], golden["reason"])
    assert conversion.raw is not None
    assert one_fragment(conversion.raw).value == golden["fragments"]
    assert (conversion.mol is None) == (golden["radicals"] is None)
    if conversion.mol is not None:
        assert no_radicals(conversion.mol).value == golden["radicals"]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["name"])
def test_stability_of_the_decoded_molecule_and_of_the_raw_one(golden: dict) -> None:
    conversion = converted(golden)
    for mol in (conversion.mol, conversion.raw):
        if mol is not None:
            assert [index for index, stable in enumerate(atom_stability(mol)) if not stable] == golden["unstable"]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["name"])
def test_a_file_keeps_the_verdict(golden: dict) -> None:
    """Written, failed or not, read again and judged, a molecule has the verdict that it had in memory."""
    before = converted(golden)
    text = mol_to_sdf_record(before.mol or before.raw, golden["name"], {})
    block = text.split("M  END")[0] + "M  END\n"
    mol, reason = read_block(TextRecord(0, "sdf", golden["name"], block))
    assert mol is not None, reason
    after = judge(mol, explicit_hydrogens=True)
    assert is_valid_and_connected(after) == is_valid_and_connected(before)
    assert [index for index, stable in enumerate(atom_stability(after.raw)) if not stable] == golden["unstable"]


@pytest.mark.parametrize("golden", [golden for golden in GOLDEN if golden["valid"]], ids=lambda golden: golden["name"])
def test_stability_agrees_with_rdkit(golden: dict) -> None:
    """RDKit's own valence model (no radical, no hydrogen to add) accepts what the table accepts."""
    mol = converted(golden).mol
    assert mol is not None
    assert not Chem.DetectChemistryProblems(mol)
    assert all(atom.GetNumRadicalElectrons() == 0 and atom.GetTotalNumHs() == 0 for atom in mol.GetAtoms())
