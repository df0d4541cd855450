"""Wishes that exclude each other are refused; what some molecule meets is not."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

import moldiff
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, compute
from moldiff.chem.io.records import read_records
from moldiff.conditions import Condition, parse_condition
from moldiff.errors import MoldiffError
from moldiff.generation.options.composition import parse_formula
from moldiff.generation.options.contradictions import check_wishes, wishes_of
from moldiff.scoring.targets import read_targets
from moldiff.vocabulary import BOND_ORDERS, Vocabulary

SAMPLE = Path(__file__).parents[3] / "data" / "sample.sdf"
DRUGS = Path(__file__).parents[2] / "fixtures" / "drugs.sdf"
ELEMENTS = ("H", "C", "N", "O", "F", "P", "S", "Cl", "Br")
WHOLE = Vocabulary(ELEMENTS, (-1, 0, 1), BOND_ORDERS, True)
HEAVY = Vocabulary(ELEMENTS[1:], (-1, 0, 1), BOND_ORDERS, False)


def check(targets: tuple[str, ...] = (), where: tuple[str, ...] = (), **exact: Any) -> None:
    vocabulary = exact.pop("vocabulary", WHOLE)
    given = {"elements": vocabulary.elements, "formula": None, "charge": None, "sizes": None, **exact}
    if isinstance(given["formula"], str):
        given["formula"] = parse_formula(given["formula"])
    check_wishes(wishes_of(read_targets(targets), [parse_condition(text) for text in where]), vocabulary, **given)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"where": ("mw<100", "mw>200")}, "where mw>200 and where mw<100 contradict each other"),
        ({"where": ("hbd<2", "hbd>=2")}, "where hbd>=2 and where hbd<2"),
        ({"targets": ("logp=2",), "where": ("logp<1",)}, "where logp<1 and target logp=2"),
        ({"where": ("qed>1.1",)}, "where qed>1.1 and what it measures contradict each other: qed is 0 to 1"),
        ({"where": ("rings<0",)}, "where rings<0"),
        ({"targets": ("mw=300",), "formula": "C6H6"}, "target mw=300 and formula C6H6 .* mw is 78.1"),
        ({"where": ("heavy_atom_count>6",), "formula": "C6H6"}, "heavy_atom_count is 6"),
        ({"where": ("rings>=2",), "formula": "C6H12"}, "where rings>=2 and formula C6H12 .* rings is 0 to 1"),
        ({"targets": ("rings=1",), "formula": "C6H14"}, "rings is 0"),
        ({"where": ("hbd>=1",), "formula": "C4H10"}, "hbd is 0"),
        ({"where": ("hba>2",), "formula": "C7H10O2"}, "hba is 0 to 2"),
        ({"where": ("tpsa>10",), "elements": ("H", "C", "F")}, "where tpsa>10 and elements H,C,F"),
        ({"targets": ("tpsa=40..60",), "formula": "C8H10"}, "tpsa is 0"),
        ({"where": ("formal_charge=0",), "charge": 1}, r"where formal_charge=0 and charge \+1"),
        ({"targets": ("heavy_atom_count=9",), "sizes": (3, 8)}, "heavy_atom_count is 1 to 8|heavy_atom_count is .* 8"),
        ({"targets": ("heavy_atom_count<4",), "sizes": (9, 12), "vocabulary": HEAVY}, "heavy_atom_count is 9 to 12"),
        ({"where": ("mw>1000",), "sizes": (5, 9), "elements": ("H", "C", "N", "O")}, "where mw>1000 and 5..9 atoms"),
        ({"targets": ("mw<100",), "where": ("heavy_atom_count>=20",)}, "target mw<100 and where heavy_atom_count>=20"),
        ({"where": ("rings>=1", "heavy_atom_count<=2")}, "where rings>=1 and where heavy_atom_count<=2"),
        ({"where": ("fragments=2",)}, "fragments is 1"),
        ({"where": ("fragments<1",)}, "fragments is 1"),
        ({"targets": ("rings=2",), "where": ("rings<2",)}, "where rings<2 and target rings=2"),
        ({"targets": ("mw=5",), "where": ("mw<5",)}, "where mw<5 and target mw=5"),
        ({"where": ("tpsa>0",), "elements": ("H", "C")}, "where tpsa>0 and elements H,C .* tpsa is 0"),
        ({"targets": ("tpsa>0",), "elements": ("H", "C")}, "target tpsa>0 and elements H,C .* tpsa is 0"),
        ({"targets": ("rings>1",), "where": ("rings<2",)}, "where rings<2 and target rings>1"),
        ({"targets": ("aromatic_rings>0",), "where": ("aromatic_rings<1",)}, "aromatic_rings<1 and target arom"),
        ({"targets": ("rings>1",), "formula": "C6H12"}, "target rings>1 and formula C6H12 .* rings is 0 to 1"),
        ({"targets": ("fsp3<0",)}, "target fsp3<0 and what it measures"),
        ({"where": ("heavy_atom_count<6",), "formula": "C6H6"}, "heavy_atom_count is 6"),
        ({"where": ("formal_charge>1",), "charge": 1}, r"where formal_charge>1 and charge \+1"),
    ],
)  # fmt: skip
def test_what_no_molecule_can_be_is_refused(wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(MoldiffError, match=message) as caught:
        check(**wishes)
    assert caught.value.argument in ("where", "targets")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "where", "message"),
    [
        (("rings=1.5",), (), "target rings=1.5: no molecule can have it, rings is a whole number"),
        (("heavy_atom_count=7.2..7.9",), (), "heavy_atom_count is a whole number"),
        (("stereocentres>1.2",), ("stereocentres<1.9",), "where stereocentres<1.9 and target stereocentres>1.2"),
        ((), ("hbd=0.5..0.6",), "where hbd=0.5..0.6: no molecule can have it"),
    ],
)
def test_counts_are_whole_numbers(targets: tuple[str, ...], where: tuple[str, ...], message: str) -> None:
    with pytest.raises(MoldiffError, match=message):
        check(targets, where)
    check(("rings=1.5..2.5", "logp=1.5"), ("hbd<0.5",))


@pytest.mark.parametrize("vocabulary", [WHOLE, HEAVY])
@pytest.mark.parametrize("elements", [("H", "F"), ("H", "F", "Br"), ("H",)])
def test_atoms_of_one_bond_are_two_at_most(vocabulary: Vocabulary, elements: tuple[str, ...]) -> None:
    neutral = Vocabulary(vocabulary.elements, (0,), vocabulary.bonds, vocabulary.explicit_hydrogens)
    for sizes in ((3, 3), (5, 6)):
        with pytest.raises(MoldiffError, match=r"elements H.* a molecule has at most 2 of their atoms") as caught:
            check(vocabulary=neutral, elements=elements, sizes=sizes)
        assert caught.value.argument == "elements"
    for sizes in ((1, 1), (2, 2), (1, 6)):
        check(vocabulary=neutral, elements=elements, sizes=sizes)
    check(vocabulary=neutral, elements=(*elements, "O"), sizes=(3, 3))


def test_a_formula_of_such_atoms_is_refused_likewise() -> None:
    with pytest.raises(MoldiffError, match=r"formula H2F2 and 4 atoms .* at most 2") as caught:
        check(formula="H2F2", sizes=(4, 4), vocabulary=Vocabulary(ELEMENTS, (0,), BOND_ORDERS, True))
    assert caught.value.argument == "formula"
    check(formula="HF", sizes=(2, 2))


def test_the_function_refuses_what_has_one_bond(model: Path) -> None:
    with pytest.raises(MoldiffError, match=r"elements H and 5..6 atoms .* at most 2"):
        moldiff.generate(1, model=model, elements="H", n_atoms=(5, 6))


def test_wishes_that_agree_pass() -> None:
    check(("logp=2",), ("logp<=2", "mw<500", "hbd<=5"), charge=0, sizes=(5, 30))
    check(("heavy_atom_count=6",), ("mw=78..79", "rings>=1"), formula="C6H6")
    check((), ("rings=1",), formula="C6H12")
    check((), ("hbd=2",), elements=("H", "C", "S"))
    check((), ("strain<10", "similarity>0.5"))


@pytest.mark.parametrize(
    "wishes",
    [
        {"where": ("mw<200",), "formula": "C7H10O2"},
        {"where": ("fragments<2",)},
        {"where": ("fragments>0.5",)},
        {"targets": ("logp=2",), "where": ("logp>0",)},
        {"targets": ("rings>1",), "where": ("rings<3",)},
        {"targets": ("aromatic_rings>0",), "where": ("aromatic_rings=1",)},
        {"targets": ("mw>78",), "formula": "C6H6"},
        {"where": ("rings=2", "rings>1")},
        {"where": ("formal_charge<1",), "charge": 0},
        {"where": ("formal_charge<0",), "charge": -1},
        {"where": ("tpsa<1",), "elements": ("H", "C")},
        {"where": ("heavy_atom_count>5", "no_count<1"), "formula": "C6H6"},
    ],
    ids=str,
)
def test_a_bound_agrees_with_a_value_inside_of_it(wishes: dict[str, Any]) -> None:
    check(**wishes)


@pytest.mark.parametrize("path", [SAMPLE, DRUGS], ids=lambda path: path.stem)
def test_what_a_molecule_is_is_never_refused(path: Path) -> None:
    """Each molecule's own numbers are asked for, together with its formula, its elements or its size."""
    looked_at = 0
    for record in read_records(path):
        mol = record.mol
        if mol is None or any(atom.GetSymbol() not in ELEMENTS for atom in mol.GetAtoms()):
            continue
        looked_at += 1
        counts = Counter(atom.GetSymbol() for atom in Chem.AddHs(mol).GetAtoms())
        heavy = mol.GetNumHeavyAtoms()
        values = compute(mol, PROPERTIES)
        wishes = wishes_of((), [Condition(name, value, value) for name, value in values.items() if value == value])
        charge = Chem.GetFormalCharge(mol)
        exact: dict[str, Any] = {"elements": ELEMENTS, "formula": None, "charge": None, "sizes": None}
        for vocabulary, formula, size in (
            (WHOLE, dict(counts), sum(counts.values())),
            (HEAVY, {name: n for name, n in counts.items() if name != "H"}, heavy),
        ):
            for wish in (
                {"formula": formula, "charge": charge},
                {"elements": tuple(counts)},
                {"sizes": (size, size)},
                {"sizes": (max(1, size - 3), size + 2), "elements": tuple(counts)},
            ):
                check_wishes(wishes, vocabulary, **{**exact, **wish})
    assert looked_at > 10


def test_a_generation_is_refused_before_any_work(model: Path) -> None:
    with pytest.raises(MoldiffError, match=re.escape("where rings>=3 and formula C4H10 contradict each other")):
        moldiff.generate(1, model=model, formula="C4H10", where="rings>=3")
    with pytest.raises(MoldiffError, match="where mw>200 and where mw<100 contradict each other"):
        moldiff.generate(1, model=model, where=["mw<100", "mw>200"])
    with pytest.raises(MoldiffError, match="where tpsa>10 and elements H,C contradict each other"):
        moldiff.generate(1, model=model, elements="H,C", where="tpsa>10")
