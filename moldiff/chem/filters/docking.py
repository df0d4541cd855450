"""Docking into a rigid receptor by AutoDock Vina (Eberhardt et al. 2021): a number, and the pose behind it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rdkit import Chem

from moldiff.arguments import refusal, whole_number
from moldiff.chem.coordinates import has_conformer
from moldiff.chem.filters.checks import Measured, Subject
from moldiff.chem.io.inputs import records_of
from moldiff.chem.libraries import load
from moldiff.chem.sanitize import error_reason
from moldiff.errors import MoldiffError
from moldiff.extras import DOCK
from moldiff.foreign_text import number_in
from moldiff.path_names import written_out
from moldiff.reading import read_whole
from moldiff.temporary_folders import temporary_folder

if TYPE_CHECKING:
    from vina import Vina

AROUND = 8.0  # angstrom between the atoms of a reference ligand and the faces of its box
LONGEST_EDGE = 60.0  # angstrom; Vina's maps of a larger box take gigabytes, and its search does not cover it
EXHAUSTIVENESS = 8  # Vina's own default
_MOST = 1 << 26  # bytes of a receptor; the largest structures known have some millions of atoms, and fit no box
_ATOM_LINES = ("ATOM", "HETATM")


@dataclass(frozen=True)
class Docking:
    """The affinity of the best pose, kcal/mol, lower is better; see Trott and Olson 2010 for its function.

    A molecule's pose follows from molecule, seed and settings: the search runs on one thread.

    Attributes:
        receptor: content of a PDBQT file.
        center, size: of the box in which poses are looked for, angstrom.
        exhaustiveness: of the search, in independent runs.
    """

    receptor: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    exhaustiveness: int = EXHAUSTIVENESS
    name = "vina_kcal_mol"
    whole = False

    @property
    def cost(self) -> float:
        return 3000.0 * self.exhaustiveness

    def prepare(self, subject: Subject) -> None:
        """Compute the maps of the receptor, and load Meeko."""
        _engine(self, subject.seed)
        if subject.placed[0] is not None:
            _ligand(subject.placed[0])

    def __call__(self, subject: Subject) -> Measured:
        mol, reason = subject.placed
        if mol is None:
            return Measured(math.nan, reason)
        try:
            ligand = _ligand(mol)
        except Exception as error:  # noqa: BLE001 - Meeko has many
            return Measured(math.nan, f"no ligand for Vina: {error_reason(error)}")
        engine = _engine(self, subject.seed)
        engine.set_ligand_from_string(ligand)
        engine.dock(exhaustiveness=self.exhaustiveness, n_poses=1)
        subject.pose = _pose(engine.poses(n_poses=1), mol)
        return Measured(float(engine.energies(n_poses=1)[0][0]))

    def record(self) -> dict[str, object]:
        """Return the hash of the receptor, the box, and the exhaustiveness."""
        return {
            "dock": hashlib.sha256(self.receptor.encode()).hexdigest(),
            "dock_box": [*self.center, *self.size],
            "exhaustiveness": self.exhaustiveness,
        }


def docking_of(receptor: str | Path, box: object, exhaustiveness: int = EXHAUSTIVENESS) -> Docking:
    """Return the docking that a user's words mean.

    Args:
        receptor: PDBQT file of a rigid receptor.
        box: see `box_of`.
        exhaustiveness: of the search, from 1.

    Raises:
        MoldiffError: Vina or Meeko is not installed, the file is no receptor, or no atom of it lies in the box.
    """
    DOCK.require("dock", "dock")
    if not 1 <= whole_number(exhaustiveness, "exhaustiveness") <= 1000:
        raise refusal("exhaustiveness", "in 1 .. 1000", exhaustiveness)
    path = written_out(Path(receptor))
    try:
        text = read_whole(path, _MOST).decode("ascii").replace("\r\n", "\n").replace("\r", "\n")
    except MoldiffError as error:
        raise MoldiffError(f"dock: {error}", argument="dock") from error
    except UnicodeDecodeError:
        raise MoldiffError(f"dock: {path} is no PDBQT file", argument="dock") from None
    atoms = _atoms(text, path)
    center, size = box_of(box)
    if not (np.abs(atoms - np.array(center)) <= np.array(size) / 2).all(1).any():
        low, high = (", ".join(f"{value:.1f}" for value in edge) for edge in (atoms.min(0), atoms.max(0)))
        raise MoldiffError(
            f"dock_box: no atom of {path} lies in it; the receptor reaches from ({low}) to ({high})",
            argument="dock_box",
        )
    return Docking(text, center, size, exhaustiveness)


def box_of(box: object) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return center and size, angstrom, of a box.

    Args:
        box: six numbers, in a text with commas or one after the other: center x, y, z and size x, y, z; or the file of
            a reference ligand in its place, which the box leaves `AROUND` on all sides.

    Raises:
        MoldiffError: neither, or a box that is empty or longer than `LONGEST_EDGE`.
    """
    words = box.split(",") if isinstance(box, str) else box
    if isinstance(words, list | tuple) and len(words) == 6:
        try:
            values = [number_in(str(word)) for word in words]
        except ValueError:
            raise MoldiffError(f"dock_box: expected six numbers, not {box!r}", argument="dock_box") from None
        center, size = values[:3], values[3:]
    elif isinstance(box, str | Path) and (not isinstance(words, list) or len(words) == 1):
        center, size = _around(Path(box))
    else:
        raise MoldiffError(
            f"dock_box: expected x,y,z,size_x,size_y,size_z or the file of a reference ligand, not {box!r}",
            argument="dock_box",
        )
    if not all(0 < edge <= LONGEST_EDGE for edge in size):
        raise MoldiffError(
            f"dock_box: each edge must be above 0 and at most {LONGEST_EDGE:g} angstrom, not "
            f"{', '.join(f'{edge:g}' for edge in size)}",
            argument="dock_box",
        )
    return (center[0], center[1], center[2]), (size[0], size[1], size[2])


def _around(path: Path) -> tuple[list[float], list[float]]:
    """Return center and size of the box of the first molecule of a file."""
    record = next(iter(records_of(path, argument="dock_box")), None)
    mol = None if record is None else record.mol
    if mol is None or not has_conformer(mol):
        raise MoldiffError(f"dock_box: the first molecule of {path} has no 3D coordinates", argument="dock_box")
    pos = mol.GetConformer().GetPositions()
    low, high = pos.min(0) - AROUND, pos.max(0) + AROUND
    return ((low + high) / 2).tolist(), (high - low).tolist()


def _atoms(text: str, path: Path) -> np.ndarray:
    """Return (n, 3) coordinates of the atoms of a rigid PDBQT file; MoldiffError if it is none."""
    lines = text.splitlines()
    found = []
    for place, line in enumerate(lines, start=1):
        if line.startswith(("ROOT", "BRANCH", "TORSDOF")):
            raise MoldiffError(
                f"dock: {path} is the PDBQT file of a ligand or of flexible side chains; a rigid receptor is needed",
                argument="dock",
            )
        if not line.startswith(_ATOM_LINES):
            continue
        try:
            found.append([number_in(line[start : start + 8]) for start in (30, 38, 46)])
            number_in(line[70:76])  # the partial charge, which a PDB file lacks
        except ValueError:
            raise MoldiffError(
                f"dock: {path}, line {place} is no atom of a PDBQT file (Meeko's mk_prepare_receptor makes one of a "
                "PDB file)",
                argument="dock",
            ) from None
        if not line[77:79].strip():
            raise MoldiffError(f"dock: {path}, line {place}: the atom has no AutoDock type", argument="dock")
    if not found:
        raise MoldiffError(f"dock: {path} holds no atom", argument="dock")
    return np.array(found)


@lru_cache(maxsize=1)
def _engine(docking: Docking, seed: int) -> Vina:
    """Return Vina with the receptor and its maps, which take a second or two."""
    from vina import Vina

    engine = Vina(sf_name="vina", cpu=1, seed=seed % (2**31 - 1) + 1, verbosity=0)  # 0 would mean any
    with temporary_folder() as folder:
        path = folder / "receptor.pdbqt"
        path.write_text(docking.receptor, encoding="ascii")
        engine.set_receptor(str(path))
    engine.compute_vina_maps(center=list(docking.center), box_size=list(docking.size))
    return engine


def _ligand(mol: Chem.Mol) -> str:
    """Return the PDBQT text of a molecule with hydrogens and coordinates; ValueError if Meeko cannot write it."""
    load("meeko")
    from meeko import MoleculePreparation, PDBQTWriterLegacy

    text, is_ok, problem = PDBQTWriterLegacy.write_string(MoleculePreparation().prepare(mol)[0])
    if not is_ok:
        raise ValueError(problem)
    return str(text)


def _pose(pdbqt: str, mol: Chem.Mol) -> Chem.Mol | None:
    """Return the molecule at its pose, hydrogens placed anew; None where Meeko cannot read its own text back."""
    load("meeko")
    from meeko import PDBQTMolecule, RDKitMolCreate

    found: list[Any] = RDKitMolCreate.from_pdbqt_mol(PDBQTMolecule(pdbqt, skip_typing=True))
    if len(found) != 1 or found[0] is None:
        return None
    pose = Chem.Mol(found[0], confId=found[0].GetConformer().GetId())
    pose.SetProp("_Name", mol.GetProp("_Name") if mol.HasProp("_Name") else "")
    return pose
