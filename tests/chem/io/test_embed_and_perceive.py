"""3D from SMILES and bonds from 3D."""

import time
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom

from moldiff.chem.coordinates import coordinates_problem
from moldiff.chem.filters.validity import CHEMISTRY, GEOMETRY
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io import embed as module
from moldiff.chem.io.embed import embed
from moldiff.chem.io.perceive import parse_xyz, perceive
from moldiff.chem.io.records import read_records

SAMPLE = Path(__file__).parents[3] / "data" / "sample.sdf"


@pytest.mark.parametrize(
    "smiles", ["CC(=O)Nc1ccc(O)cc1", "C[C@H](N)C(=O)O", "F/C=C/F", "C[N+](C)(C)C", "[H][H]", "OB(O)c1ccccc1"]
)
def test_embedding_keeps_the_molecule_and_gives_a_plausible_geometry(smiles: str) -> None:
    mol, reason = embed(Chem.MolFromSmiles(smiles), seed=7, timeout_s=20)
    assert reason == ""
    assert canonical_smiles(mol, stereo=True) == canonical_smiles(Chem.MolFromSmiles(smiles), stereo=True)
    assert all(function(mol).passed for function in (*CHEMISTRY, *GEOMETRY))
    assert all(atom.GetTotalNumHs() == 0 for atom in mol.GetAtoms())


SALTS = (
    "[Na+].[Cl-]",
    "CCO.CC",
    "CC(=O)[O-].[Na+]",
    "Cl.CCN",
    "C.C",
    "O.O.O.O.O.O.O",
    "[Ca+2].[Cl-].[Cl-].c1ccc2ccccc2c1",
    "C1CCCCCCCCCCC1.[He]",
    "[H][H].[H][H]",
    "[O-]S(=O)(=O)[O-].[Na+].[K+]",
    "C[C@H](N)C(=O)O.C[C@@H](N)C(=O)O",
)


@pytest.mark.parametrize("smiles", SALTS)
def test_the_parts_of_a_salt_stand_side_by_side(smiles: str) -> None:
    mol, reason = embed(Chem.MolFromSmiles(smiles), seed=3, timeout_s=20)
    assert reason == ""
    assert canonical_smiles(mol, stereo=True) == canonical_smiles(Chem.MolFromSmiles(smiles), stereo=True)
    assert coordinates_problem(mol) == ""
    assert all(function(mol).passed for function in GEOMETRY)
    positions = mol.GetConformer().GetPositions()
    parts = [positions[list(part)] for part in Chem.GetMolFrags(mol)]
    for place, part in enumerate(parts):
        gaps = [
            np.linalg.norm(part[:, None] - other[None], axis=-1).min() for other in parts[:place] + parts[place + 1 :]
        ]
        assert 2.0 < min(gaps) < 4.5, "apart, and beside each other"
    again = embed(Chem.MolFromSmiles(smiles), seed=3, timeout_s=20)[0]
    assert np.array_equal(again.GetConformer().GetPositions(), positions)


@pytest.mark.parametrize("smiles", ["CCCCO", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "C[C@H](N)c1ccc2ccccc2c1"])
def test_a_part_of_a_salt_is_embedded_as_if_it_were_alone(smiles: str) -> None:
    alone = embed(Chem.MolFromSmiles(smiles), seed=5, timeout_s=20)[0].GetConformer().GetPositions()
    salt = embed(Chem.MolFromSmiles(f"[Cl-].{smiles}.[Na+]"), seed=5, timeout_s=20)[0]
    part = next(part for part in Chem.GetMolFrags(salt) if len(part) > 1)
    moved = salt.GetConformer().GetPositions()[list(part)]
    assert moved - moved.mean(axis=0) == pytest.approx(alone - alone.mean(axis=0), abs=1e-6)


def test_the_coordinates_that_a_salt_had_are_ignored() -> None:
    drawn = Chem.MolFromSmiles("CCO.[Na+].[Cl-]")
    rdDepictor.Compute2DCoords(drawn)
    found = embed(drawn, seed=3, timeout_s=20)[0]
    fresh = embed(Chem.MolFromSmiles("CCO.[Na+].[Cl-]"), seed=3, timeout_s=20)[0]
    assert found.GetNumConformers() == 1
    assert np.array_equal(found.GetConformer().GetPositions(), fresh.GetConformer().GetPositions())


def test_a_part_that_cannot_be_embedded_gives_the_reason() -> None:
    assert embed(Chem.MolFromSmiles("CCO.C1#CC1"), seed=1, timeout_s=2) == (
        None,
        "embedding: no conformer found (limit 2 s)",
    )
    assert embed(Chem.MolFromSmiles("O[Pt].O"), seed=1, timeout_s=2) == (
        None,
        "embedding: no force field has parameters for this molecule",
    )


def test_a_placeholder_is_told_as_one() -> None:
    found, reason = embed(Chem.MolFromSmiles("C*C"), seed=1, timeout_s=2)
    assert (found, reason.startswith("R group or *: it stands for other atoms")) == (None, True)


def test_the_limit_is_one_for_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(module.time, "thread_time", lambda: float(next(clock)))
    assert embed(Chem.MolFromSmiles("O.O.O.O.O.O"), seed=1, timeout_s=5)[1] == (
        "embedding: no conformer found (limit 5 s)"
    )


def test_the_seed_decides() -> None:
    flexible = Chem.MolFromSmiles("CCCCCCCO")
    first, same, other = (embed(flexible, seed=seed, timeout_s=20)[0] for seed in (1, 1, 2))
    positions = [mol.GetConformer().GetPositions() for mol in (first, same, other)]
    assert np.array_equal(positions[0], positions[1]) and not np.allclose(positions[0], positions[2], atol=0.1)
    assert flexible.GetNumConformers() == 0 and flexible.GetNumAtoms() == 8


def test_any_seed_gives_a_conformer_of_its_own_each_time() -> None:
    flexible, seeds = Chem.MolFromSmiles("CCCCO"), (3_000_000_000, (1 << 64) - 1)
    found = [
        [embed(flexible, seed=seed, timeout_s=20)[0].GetConformer().GetPositions() for seed in seeds] for _ in "12"
    ]
    assert np.array_equal(found[0], found[1]) and not np.allclose(found[0][0], found[0][1], atol=0.1)


def test_embedding_failures_have_reasons() -> None:
    assert embed(Chem.Mol(), seed=1, timeout_s=5) == (None, "embedding: no atoms")
    assert embed(Chem.MolFromSmiles("C" * 400), seed=1, timeout_s=5) == (None, "embedding: too large, 1202 atoms")
    cyclopropyne = Chem.MolFromSmiles("C1#CC1")
    assert embed(cyclopropyne, seed=1, timeout_s=2) == (None, "embedding: no conformer found (limit 2 s)")
    platinum = embed(Chem.MolFromSmiles("O[Pt]"), seed=1, timeout_s=2)
    assert platinum == (None, "embedding: no force field has parameters for this molecule")


def test_embedding_stops_at_its_time_limit() -> None:
    chain = Chem.MolFromSmiles("C" * 130)  # takes a quarter of a minute
    started = time.thread_time()
    mol, reason = embed(chain, seed=1, timeout_s=1)
    assert mol is None and reason == "embedding: no conformer found (limit 1 s)"
    assert time.thread_time() - started < 4


@pytest.mark.parametrize(
    ("limit", "worked", "limits"),
    [(1, 0.995, [1]), (4, 3.7, [4]), (4, 3.3, [4, 1]), (20, 0.2, [20, 20]), (20, 19.6, [20]), (20, 19.4, [20, 1])],
)
def test_what_is_left_of_a_second_is_no_time_for_another_attempt(
    limit: int, worked: float, limits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine RDKit's clock, that of the wall, is ahead of the work."""
    clock, given = StoppedClock(), list[int]()

    def fails(mol: Chem.Mol, parameters: rdDistGeom.EmbedParameters) -> int:
        given.append(parameters.timeout)
        clock.worked += worked
        clock.jumped += min(1.9 * worked, limit)
        return -1

    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module.rdDistGeom, "EmbedMolecule", fails)
    assert embed(Chem.MolFromSmiles("CCO"), 7, limit) == (None, f"embedding: no conformer found (limit {limit} s)")
    assert given == limits


def test_perception_finds_what_the_file_says() -> None:
    records = list(read_records(SAMPLE))
    for record in records:
        symbols = tuple(atom.GetSymbol() for atom in record.mol.GetAtoms())
        mol, reason = perceive(symbols, record.mol.GetConformer().GetPositions())
        assert reason == ""
        assert canonical_smiles(mol, stereo=True) == record.tags["smiles"]


def test_strained_cage_has_no_bond_across() -> None:
    """Atoms 1.9 angstrom apart but not bonded; RDKit's default tolerance joins them."""
    mol, _ = embed(Chem.MolFromSmiles("C1C2CC1O2"), seed=1, timeout_s=10)
    symbols = tuple(atom.GetSymbol() for atom in mol.GetAtoms())
    found, _ = perceive(symbols, mol.GetConformer().GetPositions())
    assert canonical_smiles(found, stereo=False) == "C1C2CC1O2"


def test_perception_uses_the_template_where_orders_do_not_fit() -> None:
    mol, _ = embed(Chem.MolFromSmiles("CC(=O)OC"), seed=1, timeout_s=10)
    symbols, pos = tuple(a.GetSymbol() for a in mol.GetAtoms()), mol.GetConformer().GetPositions()
    assert perceive(symbols, pos, charge=5)[0] is None
    found, _ = perceive(symbols, pos, template="CC(=O)OC", charge=5)
    assert canonical_smiles(found, stereo=True) == "COC(C)=O"
    assert perceive(symbols, pos, template="c1", charge=5)[1].startswith("perception: no bond orders fit")


def test_perception_refuses_fragments_nan_and_too_many_atoms() -> None:
    far = np.array([[0, 0, 0], [0, 0, 0.7], [9, 0, 0], [9, 0, 0.7]], dtype=float)
    assert perceive(("H",) * 4, far) == (None, "perception: more than one fragment")
    assert perceive(("H",) * 4, far * np.nan)[1].startswith("non-finite")
    assert perceive(("H",) * 1000, np.zeros((1000, 3)))[1] == "too large: 1000 atoms"
    assert perceive(("Qq", "H"), far[:2])[1].startswith("perception")


def test_xyz_text() -> None:
    geometry = parse_xyz("2\ncomment\nH 0 0 0\nH 0 0 7.4*^-1\n")
    assert geometry.symbols == ("H", "H") and geometry.pos[1, 2] == 0.74 and geometry.smiles == ""
    for text in ("", "2\n\nH 0 0 0\n", "x\n\n", "1\n\nH 0 0\n", "1\n\nH a b c\n", "1\n\nH 1_0 0 0\n", "0\n\n"):
        assert parse_xyz(text) == "xyz: not an atom count followed by that many atoms"


class StoppedClock:
    """A clock of the wall that jumps, and processor time of work that is not done."""

    def __init__(self) -> None:
        self.jumped = self.worked = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.jumped

    def thread_time(self) -> float:
        return time.thread_time() + self.worked


def test_an_embedding_during_which_the_process_was_stopped_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, starts = StoppedClock(), list[bool]()
    place = rdDistGeom.EmbedMolecule

    def stopped(mol: Chem.Mol, parameters: rdDistGeom.EmbedParameters) -> int:
        starts.append(parameters.useRandomCoords)
        if len(starts) == 1:  # RDKit sees that its time is over, and gives up
            clock.jumped = 100.0
            return -1
        return int(place(mol, parameters))

    mol, expected = Chem.MolFromSmiles("CCO"), embed(Chem.MolFromSmiles("CCO"), 7, 30)[0]
    assert expected is not None
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module.rdDistGeom, "EmbedMolecule", stopped)
    found, reason = embed(mol, 7, 30)
    assert (starts, reason) == ([False, False], "")
    assert found is not None and Chem.MolToMolBlock(found) == Chem.MolToMolBlock(expected)
