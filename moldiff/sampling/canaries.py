"""Canaries of the built-in models: a few draws that each once made, by which an installation is told to work.

They lie in `canaries.json` beside the models, by the SHA-256 of the model folder, and so in no folder that is hashed.
Draws in float32 follow from model, seed and number, but for rounding, which differs between processors and releases of
PyTorch: coordinates are compared within `TOLERANCE`, atoms, charges and bonds must be the same. On a processor that
rounds otherwise, a draw that hung in the balance may fall the other way and be another molecule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moldiff.arrays import RawSample
from moldiff.devices import whatever_the_default
from moldiff.models.folder import ModelFolder, pretrained_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.reading import read_json
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS

DRAWS, EVALUATIONS, SEED = 4, 8, 2026
TOLERANCE = 0.02  # angstrom, of any coordinate; the same on the same processor, 1e-4 between thread counts
FILE = "canaries.json"
_UNIT = 0.001  # angstrom of a whole number in the file


@dataclass(frozen=True)
class CanaryResult:
    """Distance of draws of today from those of the file.

    Attributes:
        draws: number of draws that were made.
        differ: numbers of those that are other molecules or too far away.
        largest: largest distance in any coordinate of the molecules that are the same, angstrom.
    """

    draws: int
    differ: tuple[int, ...]
    largest: float

    @property
    def passed(self) -> bool:
        """All are as they were."""
        return not self.differ


def known_canaries() -> dict[str, list[dict[str, Any]]]:
    """Return the draws of each model by the SHA-256 of its folder; MoldiffError if their file is damaged."""
    found: dict[str, list[dict[str, Any]]] = read_json(pretrained_folder() / FILE)["draws"]
    return found


@whatever_the_default
def canaries_of(folder: ModelFolder) -> list[dict[str, Any]]:
    """Draw a model's canaries on the CPU; plain JSON types.

    Raises:
        MoldiffError: the folder is not that of a model that generates molecules.
    """
    model = MoleculeModel.from_folder(folder)
    method = model.sampling
    sampler = MoleculeSampler(model, SOLVERS[method.sampler], EVALUATIONS, SEED, grid=GRIDS[method.grid])
    return [_described(draw, model) for draw in sampler.draw(0, DRAWS)]


def _described(draw: RawSample, model: MoleculeModel) -> dict[str, Any]:
    if draw.arrays is None:
        return {"failed_at": draw.failed_at}
    vocabulary, arrays = model.vocabulary, draw.arrays
    return {
        "elements": [vocabulary.elements[k] for k in arrays.atom_type.tolist()],
        "charges": [vocabulary.charges[k] for k in arrays.charge.tolist()],
        "bonds": [[i, j, vocabulary.bonds[k]] for i, j, k in arrays.bonds.tolist()],
        "pos_mA": np.rint(np.asarray(arrays.pos, dtype=np.float64) / _UNIT).astype(int).tolist(),
    }


def check_canaries(folder: ModelFolder, known: Mapping[str, list[dict[str, Any]]]) -> CanaryResult | None:
    """Draw a model's canaries and compare them with those of before; None if none are known of it.

    Args:
        folder: the model folder, checked.
        known: see `known_canaries`.
    """
    if folder.sha256 not in known:
        return None
    pairs = list(zip(canaries_of(folder), known[folder.sha256], strict=True))
    distances = [_distance(new, old) for new, old in pairs]
    differ = tuple(number for number, distance in enumerate(distances) if not distance <= TOLERANCE)
    same = [distance for distance in distances if np.isfinite(distance)]
    return CanaryResult(len(pairs), differ, max(same, default=0.0))


def _distance(new: Mapping[str, Any], old: Mapping[str, Any]) -> float:
    """Return the largest difference of two draws in any coordinate, angstrom; infinity if they are other molecules."""
    if new.keys() != old.keys() or any(new[key] != old[key] for key in new if key != "pos_mA"):
        return np.inf
    if "pos_mA" not in new:
        return 0.0
    return float(np.abs(np.array(new["pos_mA"]) - np.array(old["pos_mA"])).max()) * _UNIT


def canary_file(folders: list[ModelFolder]) -> tuple[Path, dict[str, Any]]:
    """Return where the canaries of the built-in models lie, and those of some models anew, plain JSON types."""
    settings = {"draws": DRAWS, "evaluations": EVALUATIONS, "seed": SEED, "precision": "float32"}
    return pretrained_folder() / FILE, {
        "settings": settings,
        "models": {folder.sha256: folder.name for folder in folders},
        "draws": {folder.sha256: canaries_of(folder) for folder in folders},
    }
