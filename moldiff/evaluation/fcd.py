"""Frechet ChemNet distance (Preuer et al. 2018, J. Chem. Inf. Model. 58:1736) of the valid molecules to a reference.

SMILES pass through ChemNet, a network trained on bioassays of drug-like molecules; the distance is the one between two
Gaussians with the means and covariances of its 512 activations. It has no unit and falls with the number of molecules,
so the distance of as many reference molecules to the other ones stands beside it as the floor. Needs the extra
``eval``: the package fcd, which holds the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from moldiff.devices import whatever_the_default
from moldiff.extras import EVAL

BATCH = 128


@dataclass(frozen=True)
class ChemNetDistance:
    """The distance of a sample to a reference.

    Attributes:
        value: the squared Frechet distance, as the literature reports it; None with fewer than 2 molecules on a side.
        floor: that of n reference molecules to the rest; None if they are fewer than 2 n.
        n, reference: molecules of the sample and of the reference.
    """

    value: float | None
    floor: float | None
    n: int
    reference: int

    def to_json(self) -> dict[str, float | int | str | None]:
        """Return the attributes and the version of fcd."""
        return {**vars(self), "version": version("fcd")}


def chemnet_distance(smiles: Sequence[str], reference: Sequence[str], *, seed: int = 0) -> ChemNetDistance:
    """Measure canonical SMILES without stereo against those of a reference, about 10 ms for each on one core.

    Args:
        smiles: of the n valid molecules, repeated ones included.
        reference: of the held-out molecules.
        seed: which reference molecules give the floor.

    Raises:
        MoldiffError: fcd is not installed.
    """
    EVAL.require("fcd", "fcd")
    n = len(smiles)
    if min(n, len(reference)) < 2:
        return ChemNetDistance(None, None, n, len(reference))
    known = activations(reference)
    floor = None
    if 2 * n <= len(reference):
        order = np.random.default_rng(seed).permutation(len(reference))
        floor = frechet(known[order[:n]], known[order[n:]])
    return ChemNetDistance(frechet(activations(smiles), known), floor, n, len(reference))


@whatever_the_default
def activations(smiles: Sequence[str]) -> np.ndarray:
    """Return (len(smiles), 512) float64 activations of ChemNet's last hidden layer."""
    import torch
    from fcd import load_ref_model
    from fcd.utils import SmilesDataset

    distinct, places = np.unique(np.asarray(smiles), return_inverse=True)
    one_hot = SmilesDataset(distinct.tolist())
    with torch.random.fork_rng(devices=[]):  # the network is built of random weights before it gets its own
        network = load_ref_model()
    number_type, parts = next(network.parameters()).dtype, []
    with torch.inference_mode():
        for first in range(0, len(distinct), BATCH):
            batch = np.stack([one_hot[k] for k in range(first, min(first + BATCH, len(distinct)))])
            parts.append(network(torch.from_numpy(batch).transpose(1, 2).to(number_type)).numpy())
    return np.concatenate(parts).astype(np.float64)[places]


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the Gaussians through (n, F) and (m, F) points, n, m > 1.

    With C = R^T R, the root's trace is the sum of the singular values of R1 R2^T: exact also where a covariance is
    singular (fewer points than features), where the matrix root of C1 C2 turns complex.
    """
    shift = first.mean(0) - second.mean(0)
    left, right = _factor(first), _factor(second)
    overlap = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    return float(shift @ shift + np.sum(left**2) + np.sum(right**2) - 2 * overlap)


def _factor(points: np.ndarray) -> np.ndarray:
    """Return R, (min(n, F), F), with R^T R the covariance of (n, F) points."""
    return np.linalg.qr((points - points.mean(0)) / np.sqrt(len(points) - 1)).R
