"""Properties: values of known drugs, the same with and without explicit hydrogens, never NaN."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import QED

from moldiff.chem.descriptors import rdkit_descriptors
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, REPORTED, Property, compute
from moldiff.chem.io.records import read_records

DRUGS = Path(__file__).parents[2] / "fixtures" / "drugs.sdf"

# tpsa, mw, hbd as in PubChem (hba 3 by RDKit's definition); logp of Crippen, qed of Bickerton et al.
ASPIRIN = {"logp": 1.31, "tpsa": 63.6, "qed": 0.55, "mw": 180.16, "hbd": 1, "hba": 3, "rings": 1, "fsp3": 1 / 9,
           "heavy_atom_count": 13, "sa": 1.58}  # fmt: skip


def test_names_are_those_that_users_type() -> None:
    names = "logp tpsa qed mw hbd hba rotatable_bonds rings fsp3 sa heavy_atom_count"
    assert tuple(names.split()) == REPORTED
    assert tuple(PROPERTIES)[: len(REPORTED)] == REPORTED
    assert all(name == entry.name and entry.unit and entry.cost > 0 for name, entry in PROPERTIES.items())


def test_aspirin() -> None:
    values = compute(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O"), ASPIRIN)
    assert values == pytest.approx(ASPIRIN, abs=0.006)


def test_counts_that_are_computed_on_demand() -> None:
    mol = Chem.MolFromSmiles("C[C@H](N)C(F)C(=O)[O-].[Na+].c1ccc2ccccc2c1")
    counts = {"no_count": 3, "nhoh_count": 2, "aromatic_rings": 2, "largest_ring": 6, "heteroatoms": 5,
              "formal_charge": 0, "fragments": 3, "stereocentres": 2, "open_stereocentres": 1}  # fmt: skip
    assert compute(mol, counts) == counts
    assert all(PROPERTIES[name].whole for name in counts)


def test_whole_numbers_are_said_to_be_whole() -> None:
    for record in read_records(DRUGS):
        values = compute(record.mol, PROPERTIES)
        assert all(values[name].is_integer() for name, entry in PROPERTIES.items() if entry.whole)


def test_rotatable_bonds_do_not_count_methyl_groups_with_hydrogens() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCCC"))
    assert compute(mol, ["rotatable_bonds"]) == {"rotatable_bonds": 1.0}


def test_explicit_hydrogens_change_nothing() -> None:
    for record in read_records(DRUGS):
        with_hydrogens = compute(record.mol, PROPERTIES)
        without = compute(Chem.RemoveHs(record.mol), PROPERTIES)
        assert with_hydrogens == pytest.approx(without, abs=1e-9)
        graph = [name for name in PROPERTIES if name != "open_stereocentres"]  # the SMILES leaves some open
        assert compute(record.mol, graph) == pytest.approx(
            compute(Chem.MolFromSmiles(record.tags["smiles"]), graph), abs=1e-9
        )
        assert all(math.isfinite(value) for value in with_hydrogens.values())


def test_qed_is_that_of_rdkit() -> None:
    odd = ["CS(=O)(=O)O", "O=C1C=CC(=O)C=C1", "c1ccc2c(c1)[nH]cc2CC1CCCC1", "[Na+].[Cl-]", "C", "N#CCC(=O)OCC1CO1"]
    molecules = [Chem.MolFromSmiles(smiles) for smiles in odd]
    for path in (DRUGS, DRUGS.parents[2] / "data" / "sample.sdf"):
        molecules += [record.mol for record in read_records(path)]
    assert len(molecules) > 200
    for mol in molecules:
        assert compute(mol, ["qed"])["qed"] == QED.qed(Chem.Mol(mol)), Chem.MolToSmiles(mol)


def test_order_and_choice_follow_the_request() -> None:
    assert list(compute(Chem.MolFromSmiles("CCO"), ["rings", "logp"])) == ["rings", "logp"]
    with pytest.raises(KeyError):
        compute(Chem.MolFromSmiles("CCO"), ["logP"])


def raises(error: type[BaseException]) -> Callable[[object], float]:
    def function(mol: object) -> float:
        raise error("on purpose")

    return function


@pytest.mark.parametrize(
    "function",
    [
        *map(raises, (ValueError, RuntimeError, TypeError, OverflowError, MemoryError)),
        lambda mol: math.inf,
        lambda mol: None,
    ],
)
def test_what_one_calculator_does_costs_its_value_alone(
    monkeypatch: pytest.MonkeyPatch, function: Callable[[object], float]
) -> None:
    bad = {"bad": Property("bad", "1", function, 0.1)}
    monkeypatch.setattr(rdkit_descriptors, "PROPERTIES", {**PROPERTIES, **bad})
    mol = Chem.MolFromSmiles("CCO")
    values = compute(mol, ["mw", "bad", "rings"])
    assert math.isnan(values["bad"])
    assert {name: values[name] for name in ("mw", "rings")} == compute(mol, ["mw", "rings"])


def test_no_molecule_makes_it_raise() -> None:
    """No atoms, no heavy atoms, dummies, elements of which tables know nothing, and no sanitising at all."""
    read = [Chem.MolFromSmiles(text) for text in ("", "[H][H]", "[Na+].[Cl-]", "*", "[#118]", "[U]")]
    raw = [Chem.MolFromSmiles(text, sanitize=False) for text in ("C(C)(C)(C)(C)C", "c1cccc1", "CC~C")]
    for mol in (*read, *raw, None):
        values = compute(mol, PROPERTIES)
        assert list(values) == list(PROPERTIES)
        assert not any(map(math.isinf, values.values()))
