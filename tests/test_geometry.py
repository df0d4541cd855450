"""Rigid motions of padded point sets."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.transform import Rotation
from torch import Tensor

from moldiff.geometry import center, kabsch, rotations_from_normals
from moldiff.randomness import NoiseSource, Stream

MASK = torch.arange(5) < torch.tensor([5, 3, 1])[:, None]


def points(seed: int = 0) -> Tensor:
    """Return (3, 5, 3) points, with garbage in the padding."""
    return torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 4


def turns(count: int) -> Tensor:
    return rotations_from_normals(
        torch.randn(count, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    )


def test_centring_takes_the_mean_over_real_atoms() -> None:
    pos = points()
    found = center(pos, MASK)
    for row, n in enumerate([5, 3, 1]):
        assert torch.allclose(found[row, :n], pos[row, :n] - pos[row, :n].mean(0))
    assert not found[~MASK].any()
    assert torch.allclose(center(found, MASK), found)


def test_a_row_without_atoms_stays_finite() -> None:
    assert not center(torch.zeros(1, 4, 3), torch.zeros(1, 4, dtype=torch.bool)).any()


def test_rotations_are_proper_and_orthogonal() -> None:
    turn = turns(100)
    assert torch.allclose(turn @ turn.transpose(1, 2), torch.eye(3, dtype=torch.float64).expand(100, 3, 3))
    assert torch.allclose(torch.linalg.det(turn), torch.ones(100, dtype=torch.float64))


def test_rotations_are_uniform() -> None:
    normals = NoiseSource(0).normal(torch.arange(4), 0, Stream.POS, 5000)
    turn = rotations_from_normals(normals.permute(1, 2, 0).flatten(0, 1).double())
    for entry in turn.flatten(1).T:  # each entry is the height of a point on the sphere: uniform (Archimedes)
        assert stats.kstest(entry.numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
    angle = torch.arccos(((turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))
    assert stats.kstest(angle.numpy(), lambda a: (a - np.sin(a)) / np.pi).pvalue > 1e-3


def test_alignment_finds_the_motion_again() -> None:
    mobile, turn, shift = points(), turns(3), points(1)[:, 0]
    target = mobile @ turn.transpose(1, 2) + shift[:, None] + (~MASK)[..., None] * 100.0
    rotation, translation = kabsch(mobile, target, MASK)
    moved = mobile @ rotation.transpose(1, 2) + translation[:, None]
    assert torch.allclose(moved[MASK], target[MASK])
    assert torch.allclose(rotation[0], turn[0])


def test_alignment_is_the_best_proper_one() -> None:
    mobile, target = points(), points(2)
    target[0] = -mobile[0]  # a mirror image: only a reflection would fit
    rotation, translation = kabsch(mobile, target, MASK)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(3, dtype=torch.float64))
    for row, n in enumerate([5, 3]):
        a, b = (value[row, :n] - value[row, :n].mean(0) for value in (mobile, target))
        _, best = Rotation.align_vectors(b.numpy(), a.numpy())
        moved = mobile[row, :n] @ rotation[row].T + translation[row]
        assert float((moved - target[row, :n]).norm()) == pytest.approx(best, rel=1e-6)
