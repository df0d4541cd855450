from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from moldiff.chem.descriptors.bond_environments import bond_environments
from moldiff.chem.descriptors.rarity import RarityTables
from moldiff.chem.descriptors.ring_systems import ring_systems
from moldiff.chem.io.records import read_records
from moldiff.errors import MoldiffError

DRUGS = Path(__file__).parents[2] / "fixtures" / "drugs.sdf"


def mol(smiles: str) -> Chem.Mol:
    return Chem.MolFromSmiles(smiles)


@pytest.fixture(scope="module")
def drugs() -> list[Chem.Mol]:
    return [record.mol for record in read_records(DRUGS)]


@pytest.fixture(scope="module")
def tables(drugs: list[Chem.Mol]) -> RarityTables:
    return RarityTables.of(drugs)


@pytest.mark.parametrize(
    ("smiles", "systems"),
    [
        ("CCO", []),
        ("Cc1ccccc1", ["c1ccccc1"]),
        ("c1ccc2ccccc2c1", ["c1ccc2ccccc2c1"]),  # fused
        ("C1CCC2(CC1)CCNC2", ["C1CCC2(CC1)CCNC2"]),  # spiro
        ("C1CC2CCC1C2", ["C1CC2CCC1C2"]),  # bridged
        ("O=C1CCCCN1", ["O=C1CCCCN1"]),  # the oxygen decides what the ring is
        ("C1CCCCN1C(=O)C", ["C1CCNCC1"]),  # this one does not
        ("c1ccccc1C1CC1", ["C1CC1", "c1ccccc1"]),
    ],
)
def test_ring_systems(smiles: str, systems: list[str]) -> None:
    assert sorted(ring_systems(mol(smiles))) == sorted(Chem.CanonSmiles(s) for s in systems)


def test_a_bond_is_described_without_itself() -> None:
    (methanol,) = bond_environments(mol("CO"))
    assert methanol.ends == ("Ch3d1()", "Oh1d1()") and methanol.key == "Ch3d1() - Oh1d1()"
    by_order = {found.order: found.ends for found in bond_environments(mol("CC(=O)[O-]"))}
    assert by_order["="] == ("Ch0d3(-Ch3d1,-O-1h0d1)", "Oh0d1()")


def test_the_order_of_atoms_hydrogens_and_stereo_play_no_part(drugs: list[Chem.Mol], tables: RarityTables) -> None:
    for drug in drugs[:10]:
        shuffled = Chem.RenumberAtoms(drug, np.random.default_rng(0).permutation(drug.GetNumAtoms()).tolist())
        flat = Chem.MolFromSmiles(Chem.MolToSmiles(Chem.RemoveHs(drug), isomericSmiles=False))
        for other in (shuffled, flat):
            assert tables.rarest_ring(other) == tables.rarest_ring(drug)
            assert tables.weakest_bond(other).association == tables.weakest_bond(drug).association


def test_what_the_reference_holds_is_known_and_what_it_lacks_is_not(
    drugs: list[Chem.Mol], tables: RarityTables
) -> None:
    assert all(tables.weakest_bond(drug).association > 0 for drug in drugs)
    assert all(tables.rarest_ring(drug).count > 0 for drug in drugs)
    odd = mol("C1=CC=CC1NOCC1CC1")
    assert tables.rarest_ring(odd).count == 0
    weakest = tables.weakest_bond(odd)
    assert weakest.association == 0.0
    first, second = weakest.atoms
    bond = odd.GetBondBetweenAtoms(first, second)
    assert bond is not None and first < second
    assert weakest.name.startswith(f"{odd.GetAtomWithIdx(first).GetSymbol()}{first}")
    assert weakest.name.endswith(f"{odd.GetAtomWithIdx(second).GetSymbol()}{second}")
    assert tables.facts(odd) == {
        "rarest_ring": tables.rarest_ring(odd).smiles, "rarest_ring_count": 0,
        "weakest_bond": weakest.name, "weakest_bond_association": 0.0,
    }  # fmt: skip
    assert tables.rarest_ring(mol("CCO")) == type(tables.rarest_ring(odd))("", tables.molecules)
    assert tables.weakest_bond(mol("C")).association == 1.0


def test_atoms_are_named_by_their_places_among_all_hydrogens_included(tables: RarityTables) -> None:
    whole = Chem.AddHs(mol("C1=CC=CC1NOCC1CC1"))
    turned = Chem.RenumberAtoms(whole, list(reversed(range(whole.GetNumAtoms()))))
    weakest = tables.weakest_bond(turned)
    ends = [turned.GetAtomWithIdx(place).GetSymbol() for place in weakest.atoms]
    assert turned.GetBondBetweenAtoms(*weakest.atoms) is not None and "H" not in ends
    assert weakest.name.startswith(f"{ends[0]}{weakest.atoms[0]}")


def test_association_is_the_share_of_bonds_against_chance() -> None:
    # two ethanes and a methanol: three bonds, whose ends are five methyls and one hydroxyl
    counts = RarityTables.of([mol("CC"), mol("CC"), mol("CO")])
    together, methyl, hydroxyl = 1 / 3, 5 / 6, 1 / 6
    expected = together / (together + 2 * methyl * hydroxyl)
    assert counts.weakest_bond(mol("CO")).association == pytest.approx(expected)
    ethane = (2 / 3) / (2 / 3 + methyl * methyl)
    assert counts.weakest_bond(mol("CC")).association == pytest.approx(ethane)


def test_tables_come_back_from_arrays(tables: RarityTables, drugs: list[Chem.Mol]) -> None:
    tensors = tables.to_tensors()
    back = RarityTables.from_tensors(tensors, "there")
    assert back == tables
    assert all(array.dtype in (np.int32, np.int64) for array in tensors.values())
    del tensors["rarity.pair_counts"]
    with pytest.raises(MoldiffError, match="there carries damaged tables"):
        RarityTables.from_tensors(tensors, "there")


def test_no_molecules_are_an_error() -> None:
    with pytest.raises(MoldiffError, match="there are none"):
        RarityTables.of([])
