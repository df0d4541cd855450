"""Conversion: real molecules survive the round trip, and no arrays whatever get past the reasons."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from moldiff.arrays import MolArrays
from moldiff.chem.convert import (
    classes_of,
    decode,
    encode,
    from_bytes,
    parts_problem,
    to_bytes,
)
from moldiff.chem.filters.validity import is_valid_and_connected
from moldiff.chem.identity import canonical_smiles, inchikey_block
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import mol_to_sdf_record, read_records
from moldiff.chem.valence import atom_stability
from moldiff.datasets.rows import wide_vocabulary
from moldiff.vocabulary import BOND_ORDERS, Vocabulary

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "data" / "sample.sdf", ROOT / "tests" / "fixtures" / "drugs.sdf")
ORGANIC = Vocabulary(("H", "C", "N", "O", "F", "S", "Cl"), (-1, 0, 1), BOND_ORDERS)


def molecules(path: Path) -> list[Chem.Mol]:
    records = list(read_records(path))
    assert all(record.reason == "" for record in records)
    return [record.mol for record in records]


def arrays(atoms: list[int], bonds: list[tuple[int, int, int]], charges: list[int] | None = None) -> MolArrays:
    """Arrays in the ORGANIC vocabulary, atoms 1.2 angstrom apart on a line with a kink."""
    pos = np.array([[1.2 * i, 0.3 * (i % 2), 0.2 * (i % 3)] for i in range(len(atoms))]).reshape(-1, 3)
    charge = np.array(charges or [0] * len(atoms), dtype=np.int64) + 1
    return MolArrays(pos, np.array(atoms, dtype=np.int64), charge, np.array(bonds, dtype=np.int64).reshape(-1, 3))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("aromatic", [True, False])
def test_round_trip_keeps_smiles_with_stereo_and_is_valid_and_stable(path: Path, aromatic: bool) -> None:
    mols = molecules(path)
    vocabulary = wide_vocabulary(aromatic=aromatic, explicit_hydrogens=True)
    for mol in mols:
        spelt = encode(mol, vocabulary)
        conversion = decode(spelt, vocabulary)
        assert is_valid_and_connected(conversion) == (True, "")
        assert canonical_smiles(conversion.mol, stereo=True) == canonical_smiles(mol, stereo=True)
        assert all(atom_stability(conversion.mol))
        assert np.allclose(conversion.mol.GetConformer().GetPositions(), mol.GetConformer().GetPositions(), atol=1e-5)
        again = encode(conversion.mol, vocabulary)
        assert np.array_equal(again.atom_type, spelt.atom_type) and np.array_equal(again.bonds, spelt.bonds)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("aromatic", [True, False])
def test_heavy_atoms_get_their_hydrogens_back(path: Path, aromatic: bool) -> None:
    mols = molecules(path)
    vocabulary = wide_vocabulary(aromatic=aromatic, explicit_hydrogens=False)
    for mol in mols:
        if mol.GetNumHeavyAtoms() == 0:
            continue
        spelt = encode(mol, vocabulary)
        assert len(spelt.atom_type) == mol.GetNumHeavyAtoms()
        conversion = decode(spelt, vocabulary)
        assert is_valid_and_connected(conversion) == (True, "")
        if aromatic:
            # which ring nitrogen carries a hydrogen is judged by angles: right up to tautomers, which InChI ignores
            assert inchikey_block(conversion.mol) == inchikey_block(mol)
        else:
            # stereo of N-H imines is lost with the hydrogen
            assert canonical_smiles(conversion.mol, stereo=False) == canonical_smiles(mol, stereo=False)
        assert conversion.mol.GetNumAtoms() == mol.GetNumAtoms()


def test_hydrogen_goes_to_the_nitrogen_that_carried_it() -> None:
    """The ring angle tells the two N-H tautomers of an unsymmetric imidazole apart."""
    for smiles in ("Cc1cnc[nH]1", "Cc1c[nH]cn1"):
        mol, _ = embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=10)
        vocabulary = wide_vocabulary(aromatic=True, explicit_hydrogens=False)
        decoded = decode(encode(mol, vocabulary), vocabulary)
        assert canonical_smiles(decoded.mol, stereo=True) == smiles


def test_hydrogens_are_placed_so_that_aromatic_bonds_stay_aromatic() -> None:
    """Benzimidazolone also has a Kekule form without any N-H, a quinoid that nobody meant."""
    mol, _ = embed(Chem.MolFromSmiles("O=c1[nH]c2ccccc2[nH]1"), seed=1, timeout_s=10)
    vocabulary = wide_vocabulary(aromatic=True, explicit_hydrogens=False)
    assert canonical_smiles(decode(encode(mol, vocabulary), vocabulary).mol, stereo=True) == "O=c1[nH]c2ccccc2[nH]1"


def test_a_mirror_image_decodes_to_the_enantiomer() -> None:
    mol, _ = embed(Chem.MolFromSmiles("C[C@H](N)C(=O)O"), seed=1, timeout_s=10)
    spelt = encode(mol, ORGANIC)
    mirror = MolArrays(spelt.pos * np.array([1, 1, -1]), spelt.atom_type, spelt.charge, spelt.bonds)
    assert canonical_smiles(decode(spelt, ORGANIC).mol, stereo=True) == "C[C@H](N)C(=O)O"
    assert canonical_smiles(decode(mirror, ORGANIC).mol, stereo=True) == "C[C@@H](N)C(=O)O"


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C[Si](C)(C)C", "element Si is outside the vocabulary"),
        ("[O-2]", "charge -2 is outside the vocabulary"),
        ("[NH3+][Zn]", "element Zn is outside the vocabulary"),
    ],
)
def test_encode_names_what_is_outside_the_vocabulary(smiles: str, reason: str) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(True)
    mol.AddConformer(conformer)
    with pytest.raises(ValueError, match=reason.replace("+", r"\+")):
        classes_of(mol, ORGANIC)


def test_encode_refuses_missing_hydrogens_missing_conformers_nan_and_dative_bonds() -> None:
    mol, _ = embed(Chem.MolFromSmiles("CO"), seed=1, timeout_s=10)
    with pytest.raises(ValueError, match="no 3D conformer"):
        encode(Chem.AddHs(Chem.MolFromSmiles("CO")), ORGANIC)
    with pytest.raises(ValueError, match="4 hydrogens without coordinates"):
        encode(Chem.RemoveHs(mol), ORGANIC)
    broken = Chem.Mol(mol)
    broken.GetConformer().SetAtomPosition(2, (0.0, float("nan"), 0.0))
    with pytest.raises(ValueError, match="non-finite"):
        encode(broken, ORGANIC)
    dative = Chem.RWMol(mol)
    dative.GetBondBetweenAtoms(0, 1).SetBondType(Chem.BondType.DATIVE)
    with pytest.raises(ValueError, match="DATIVE bond is outside"):
        encode(dative, ORGANIC)
    with pytest.raises(ValueError, match="double bond is outside"):
        ethene, _ = embed(Chem.MolFromSmiles("C=C"), seed=1, timeout_s=10)
        encode(ethene, Vocabulary(("H", "C"), (0,), ("none", "single")))


def test_encode_leaves_its_argument_alone() -> None:
    mol, _ = embed(Chem.MolFromSmiles("c1ccccc1"), seed=1, timeout_s=10)
    before = mol.ToBinary()
    encode(mol, Vocabulary(("H", "C"), (0,), ("none", "single", "double")))
    encode(mol, Vocabulary(("C",), (0,), ("none", "aromatic"), explicit_hydrogens=False))
    assert mol.ToBinary() == before


@pytest.mark.parametrize(
    ("spelt", "reason"),
    [
        (arrays([], []), "empty: no atoms"),
        (arrays([1] * 1000, []), "too large: 1000 atoms"),
        (arrays([1] * 20, [(0, i, 1) for i in range(1, 18)]), "too many bonds: 17 on one atom"),
        (arrays([2] + [0] * 4, [(0, i, 1) for i in range(1, 5)]), "valence: N with 4 bonds"),
        (arrays([2] + [0] * 5, [(0, i, 1) for i in range(1, 6)], [1, 0, 0, 0, 0, 0]), "valence: N+1 with 5 bonds"),
        (arrays([0], [], [0]), ""),
        (arrays([1, 1], [(0, 1, 4)]), "kekulize: aromatic bonds without a Kekule form"),
    ],
)
def test_reasons(spelt: MolArrays, reason: str) -> None:
    assert decode(spelt, ORGANIC).reason == reason


def test_bad_coordinates_are_refused_before_rdkit_accepts_them() -> None:
    good = arrays([0, 0], [(0, 1, 1)])
    for value, reason in (
        (np.nan, "non-finite coordinates: 1 atoms"),
        (np.inf, "non-finite coordinates: 1 atoms"),
        (1e5, "coordinates out of range: beyond 9999 angstrom"),
    ):
        pos = good.pos.copy()
        pos[1, 2] = value
        conversion = decode(MolArrays(pos, good.atom_type, good.charge, good.bonds), ORGANIC)
        assert (conversion.mol, conversion.raw, conversion.reason) == (None, None, reason)


def test_an_impossible_ion_is_refused() -> None:
    vocabulary = Vocabulary(("H",), (0, 2), BOND_ORDERS)
    one = MolArrays(np.zeros((1, 3)), np.array([0]), np.array([1]), np.zeros((0, 3), dtype=np.int64))
    assert decode(one, vocabulary).reason.startswith("charge: H+2")


@pytest.mark.parametrize(
    "bonds", [[(1, 0, 1)], [(0, 2, 1)], [(0, 1, 0)], [(0, 1, 9)], [(0, 1, 1), (0, 1, 2)], [(0, 0, 1)], [(-1, 1, 1)]]
)
def test_malformed_arrays_are_a_bug_not_a_molecule(bonds: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match=r"bond|pair"):
        decode(arrays([0, 0], bonds), ORGANIC)


def test_malformed_classes_and_shapes_are_a_bug() -> None:
    with pytest.raises(ValueError, match="class is outside"):
        decode(arrays([7], []), ORGANIC)
    with pytest.raises(ValueError, match="do not fit together"):
        decode(MolArrays(np.zeros((2, 3)), np.zeros(1, int), np.zeros(1, int), np.zeros((0, 3), int)), ORGANIC)


def test_five_bonded_nitrogen_is_not_repaired() -> None:
    """RDKit's clean-up would turn CH3-N(=O)=O into the charged form; charges are the model's to predict."""
    nitro = arrays([1, 2, 3, 3, 0, 0, 0], [(0, 1, 1), (1, 2, 2), (1, 3, 2), (0, 4, 1), (0, 5, 1), (0, 6, 1)])
    assert decode(nitro, ORGANIC).reason == "valence: N with 5 bonds"


def test_decoded_molecules_can_be_kekulised_and_carry_no_implicit_hydrogens() -> None:
    for mol in molecules(FILES[1]):
        vocabulary = wide_vocabulary(aromatic=True, explicit_hydrogens=True)
        decoded = decode(encode(mol, vocabulary), vocabulary).mol
        assert all(atom.GetNoImplicit() and atom.GetTotalNumHs() == 0 for atom in decoded.GetAtoms())
        Chem.Kekulize(decoded, clearAromaticFlags=True)
        assert not any(bond.GetIsAromatic() for bond in decoded.GetBonds())


def test_raw_is_kekulised_also_where_another_atom_fails() -> None:
    """Phenyl-NH3 without its charge: the ring is fine and must look fine in the file of failures."""
    ring = [(i, (i + 1) % 6) for i in range(6)]
    bonds = [(min(i, j), max(i, j), 4) for i, j in ring] + [(i, 5 + i, 1) for i in range(1, 6)]
    bonds += [(0, 11, 1), (11, 12, 1), (11, 13, 1), (11, 14, 1)]
    conversion = decode(arrays([1] * 6 + [0] * 5 + [2] + [0] * 3, bonds), ORGANIC)
    assert conversion.reason == "valence: N with 4 bonds"
    kinds = sorted(str(conversion.raw.GetBondBetweenAtoms(i, j).GetBondType()) for i, j in ring)
    assert kinds == ["DOUBLE"] * 3 + ["SINGLE"] * 3


def test_random_graphs_never_get_out_of_hand() -> None:
    """Seeded garbage, metals and dummies included: a reason or a molecule, and always something to write."""
    rng = np.random.default_rng(5)
    elements = ("*", "H", "C", "N", "S", "Fe", "I", "U")
    outcomes: dict[bool, int] = {True: 0, False: 0}
    for trial in range(400):
        vocabulary = Vocabulary(elements, (-1, 0, 1), BOND_ORDERS, explicit_hydrogens=bool(trial % 2))
        n = int(rng.integers(1, 60))
        pairs = np.sort(rng.integers(0, n, (int(rng.integers(0, 3 * n)) if trial % 3 else n // 2, 2)), axis=1)
        pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
        classes = rng.choice([1, 1, 1, 2, 3, 4], len(pairs))
        atom_type = rng.choice(len(elements), n, p=rng.dirichlet([0.3] * len(elements)))
        charge = rng.choice(3, n, p=[0.05, 0.9, 0.05])
        spelt = MolArrays(rng.normal(size=(n, 3)) * 3, atom_type, charge, np.column_stack([pairs, classes]))
        conversion = decode(spelt, vocabulary)
        outcomes[conversion.mol is not None] += 1
        assert (conversion.mol is None) == bool(conversion.reason)
        if writable := conversion.mol or conversion.raw:
            assert mol_to_sdf_record(writable, "x", {}).endswith("$$$$\n")
    assert min(outcomes.values()) > 20


def test_dense_metal_graphs_are_refused_before_the_ring_search() -> None:
    """RDKit's ring search was seen to crash the process on 999 iron atoms with 3976 bonds."""
    n = 900
    pairs = [(i, (i + step) % n) for i in range(n) for step in (1, 7, 31)]
    bonds = np.array([(min(i, j), max(i, j), 1) for i, j in pairs])
    spelt = MolArrays(np.random.default_rng(0).normal(size=(n, 3)), np.zeros(n, int), np.zeros(n, int), bonds)
    assert decode(spelt, Vocabulary(("Fe",), (0,), BOND_ORDERS)).reason == "too many rings: at least 1801"


SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"


def test_molecules_come_back_as_they_were() -> None:
    for record in read_records(SAMPLE):
        mol = from_bytes(to_bytes(record.mol))
        assert np.array_equal(mol.GetConformer().GetPositions(), record.mol.GetConformer().GetPositions())
        assert Chem.MolToSmiles(mol) == Chem.MolToSmiles(record.mol)
        assert mol_to_sdf_record(mol, "", {}) == mol_to_sdf_record(record.mol, "", {})
        assert len(to_bytes(mol)) < 2000


def test_atoms_that_do_not_hang_together_say_why() -> None:
    salt, methanes = Chem.MolFromSmiles("[Na+].[Cl-]"), Chem.MolFromSmiles("C.C")
    assert parts_problem(salt) == parts_problem(methanes) == "more than one fragment"
    for mol in (salt, methanes):
        mol.AddConformer(Chem.Conformer(2))
    assert parts_problem(salt) == "more than one fragment"
    assert parts_problem(methanes) == "no bonds: the record has atoms alone"
    assert parts_problem(methanes, fragments=True) == ""
