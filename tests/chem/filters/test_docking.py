"""Docking by Vina: a known guest is found in its host, poses come out, words are checked before the work."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cucurbituril import GUEST, host, pdbqt, symmetric_copies
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

import moldiff
from moldiff.chem.filters.checks import Subject
from moldiff.chem.filters.docking import AROUND, Docking, box_of, docking_of
from moldiff.errors import MoldiffError

for needed in ("vina", "meeko", "gemmi"):
    pytest.importorskip(needed)

FIXTURES = Path(__file__).parents[2] / "fixtures"
BOX = "0,0,0,16,16,16"


@pytest.fixture(scope="module")
def docking() -> Docking:
    return docking_of(FIXTURES / "cb7.pdbqt", BOX, exhaustiveness=2)


def bound_guest() -> Chem.Mol:
    """Return the guest where MMFF94 holds it in the host: put in its middle, the nitrogen towards a portal."""
    guest, cage = Chem.AddHs(Chem.MolFromSmiles(GUEST)), host()
    assert rdDistGeom.EmbedMolecule(guest, randomSeed=1) == 0
    pos = guest.GetConformer().GetPositions()
    axis = pos[0] - pos[2:11].mean(0)
    z = axis / np.linalg.norm(axis)
    x = np.cross(z, [0.3, 0.5, 0.8])
    x /= np.linalg.norm(x)
    guest.GetConformer().SetPositions((pos - pos[1:11].mean(0)) @ np.stack([x, np.cross(z, x), z]).T)
    both = Chem.CombineMols(cage, guest)
    Chem.SanitizeMol(both)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
        both, rdForceFieldHelpers.MMFFGetMoleculeProperties(both), ignoreInterfragInteractions=False
    )
    for atom in range(cage.GetNumAtoms()):
        field.AddFixedPoint(atom)
    assert field.Minimize(maxIts=5000) == 0
    guest.GetConformer().SetPositions(both.GetConformer().GetPositions()[cage.GetNumAtoms() :])
    return guest


def heavy(mol: Chem.Mol) -> Chem.Mol:
    return Chem.RemoveHs(mol)


def test_the_fixture_is_the_host() -> None:
    assert (FIXTURES / "cb7.pdbqt").read_text().splitlines()[:5] == pdbqt(host()).splitlines()[:5]


def test_a_guest_is_redocked_within_two_angstrom(docking: Docking) -> None:
    reference, subject = heavy(bound_guest()), Subject(Chem.MolFromSmiles(GUEST))  # from coordinates of its own
    found = docking(subject)
    assert found.value < -4
    assert subject.pose is not None
    pose = heavy(subject.pose)
    copies = symmetric_copies(pose.GetConformer().GetPositions())
    known = reference.GetConformer().GetPositions()
    orders = [np.array(order) for order in pose.GetSubstructMatches(reference, uniquify=False)]
    best = min(float(np.sqrt(((copy[order] - known) ** 2).sum(1).mean())) for copy in copies for order in orders)
    assert best < 2.0


def test_a_pose_is_the_molecule_and_follows_from_the_seed_alone(docking: Docking) -> None:
    subjects = [Subject(Chem.MolFromSmiles(smiles)) for smiles in (GUEST, "C[C@H](O)c1ccccc1", GUEST)]
    values = [docking(subject).value for subject in subjects]
    assert values[0] == values[2] != values[1]
    poses = [subject.pose for subject in subjects]
    assert all(pose is not None for pose in poses)
    first, other, again = (pose for pose in poses if pose is not None)
    assert np.array_equal(first.GetConformer().GetPositions(), again.GetConformer().GetPositions())
    assert Chem.MolToSmiles(heavy(other)) == Chem.CanonSmiles("C[C@H](O)c1ccccc1")
    assert other.GetNumAtoms() == Chem.AddHs(other).GetNumAtoms() == 19
    assert np.linalg.norm(first.GetConformer().GetPositions().mean(0)) < 2.0  # inside


def test_what_cannot_be_docked_has_no_number(docking: Docking) -> None:
    subject = Subject(Chem.MolFromSmiles("CCO.CCN"))
    found = docking(subject)
    assert np.isnan(found.value)
    assert found.detail
    assert subject.pose is None


def test_poses_come_out_of_filter_and_screen(run: Callable[..., Any], tmp_path: Path) -> None:
    guests = tmp_path / "guests.smi"
    guests.write_text(f"C[C@H](O)c1ccccc1 phenylethanol\n{GUEST} adamantylammonium\nC[NH3+] methylammonium\n")
    files = (guests, "--dock", FIXTURES / "cb7.pdbqt", "--dock-box", BOX, "--exhaustiveness", "1")
    asked = ("--where", "vina_kcal_mol<-3.5", "--workers", "1")
    told = run("filter", *files, *asked, "--rank", "vina_kcal_mol:low", "-o", tmp_path / "docked.sdf")
    assert told.status == 0
    first, second = Chem.SDMolSupplier(str(tmp_path / "docked.sdf"), removeHs=False)
    assert float(first.GetProp("vina_kcal_mol")) < float(second.GetProp("vina_kcal_mol")) < -3.5
    subject = Subject(Chem.MolFromSmiles(GUEST))
    assert docking_of(FIXTURES / "cb7.pdbqt", BOX, 1)(subject).value < -4
    assert float(first.GetProp("vina_kcal_mol")) < -4
    assert subject.pose is not None
    posed = subject.pose.GetConformer().GetPositions()
    assert np.abs(first.GetConformer().GetPositions() - posed).max() < 1e-3
    ranked = ("--rank", "vina_kcal_mol:min:-8..-3", "--top", "1")
    assert run("screen", "run", *files, *asked, *ranked, "-o", tmp_path / "run").status == 0
    with gzip.open(tmp_path / "run" / "top.sdf.gz") as handle:
        (best,) = Chem.ForwardSDMolSupplier(handle, removeHs=False)
    assert best.GetProp("_Name") == first.GetProp("_Name") == "adamantylammonium"
    assert np.array_equal(best.GetConformer().GetPositions(), first.GetConformer().GetPositions())


def test_in_python_the_molecules_are_at_their_poses() -> None:
    result = moldiff.filter(GUEST, dock=FIXTURES / "cb7.pdbqt", dock_box=(0, 0, 0, 16, 16, 16), exhaustiveness=1)
    (mol,) = result
    assert result.table["vina_kcal_mol"][0] < -4
    assert mol.GetConformer().Is3D()  # the SMILES had none
    assert np.linalg.norm(mol.GetConformer().GetPositions().mean(0)) < 2.0


def test_a_box_lies_around_a_ligand(tmp_path: Path) -> None:
    guest = bound_guest()
    path = tmp_path / "ligand.mol"
    path = tmp_path / "ligand.sdf"
    path.write_text(Chem.MolToMolBlock(guest) + "$$$$\n")
    center, size = box_of(path)
    pos = guest.GetConformer().GetPositions()
    assert center == pytest.approx((pos.max(0) + pos.min(0)) / 2, abs=1e-3)
    assert size == pytest.approx(np.ptp(pos, axis=0) + 2 * AROUND, abs=1e-3)
    assert box_of(str(path)) == (center, size)
    assert box_of([1, 2, 3, 10, 11, 12]) == box_of("1, 2,3,10,11,12") == ((1, 2, 3), (10, 11, 12))


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("1,2,3", "expected x,y,z"),
        ("1,2,3,4,5,six", "expected six numbers"),
        ("0,0,0,10,0,10", "must be above 0"),
        ("0,0,0,10,nan,10", "dock_box"),
        ("0,0,0,10,1_0,10", "expected six numbers"),
        ([0, 0, 0, 10, None, 10], "expected six numbers"),
        ("0,0,0,10,100,10", "at most 60"),
        ("50,50,50,10,10,10", r"no atom of .*cb7.pdbqt lies in it; the receptor reaches from \(-"),
        ("nowhere.sdf", "nowhere.sdf"),
    ],
)
def test_boxes_that_are_none(box: object, message: str) -> None:
    with pytest.raises(MoldiffError, match=message):
        docking_of(FIXTURES / "cb7.pdbqt", box)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no atom"),
        ("ATOM      1  N   MET A   1      38.198  19.582  28.998  1.00 57.26           N\n", "line 1 is no atom"),
        ("ROOT\n", "is the PDBQT file of a ligand"),
        ("REMARK\nATOM      1 C    CB7 A   1       x.xxx  -0.757  -0.008  1.00  0.00     0.000 C \n", "line 2"),
        ("ATOM      1 C    CB7 A   1       5.767  -0.757  -0.008  1.00  0.00     0.000   \n", "no AutoDock type"),
    ],
)
def test_receptors_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "receptor.pdbqt"
    path.write_text(text)
    with pytest.raises(MoldiffError, match=message):
        docking_of(path, BOX)


def test_words_that_do_not_go_together(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, receptor = ("filter", FIXTURES / "guests.smi", "-o", tmp_path / "d.sdf"), FIXTURES / "cb7.pdbqt"
    run(*files, "--dock", receptor).assert_refused("--dock needs a box")
    run(*files, "--dock-box", BOX).assert_refused("--dock-box needs a receptor")
    run(*files, "--exhaustiveness", "4").assert_refused("--exhaustiveness needs a receptor")
    run(*files, "--dock", tmp_path / "no.pdbqt", "--dock-box", BOX).assert_refused(
        "no.pdbqt cannot be read: No such file"
    )
    run(*files, "--where", "vina_kcal_mol<-4").assert_refused("'vina_kcal_mol' needs the argument dock")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    run(*files, "--dock", receptor, "--dock-box", BOX).assert_refused("needs vina and meeko and gemmi: pip install")
    assert not list(tmp_path.iterdir())
