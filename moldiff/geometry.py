"""Rigid motions of padded point sets: centring, random rotations, alignment."""

from __future__ import annotations

import torch
from torch import Tensor


def center(pos: Tensor, mask: Tensor) -> Tensor:
    """Move each molecule's centroid to the origin and zero the padding.

    Args:
        pos: (B, N, 3).
        mask: (B, N) bool, True = a real atom.
    """
    weight = mask[..., None].to(pos.dtype)
    mean = (pos * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    return (pos - mean) * weight


def rotations_from_normals(normals: Tensor) -> Tensor:
    """Return (B, 3, 3) rotations, uniform on SO(3) if ``normals`` (B, 4) are standard normal (Shoemake 1992)."""
    w, x, y, z = (normals / normals.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def kabsch(mobile: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the proper rotations R (B, 3, 3) and shifts t (B, 3) that minimise sum |R x + t - y|^2 over real atoms.

    Args:
        mobile, target: (B, N, 3), angstrom.
        mask: (B, N) bool.

    Source: Kabsch 1976; the determinant's sign keeps reflections out.
    """
    weight = mask[..., None].to(mobile.dtype)
    count = weight.sum(1).clamp(min=1)
    mean_mobile, mean_target = (mobile * weight).sum(1) / count, (target * weight).sum(1) / count
    a, b = (mobile - mean_mobile[:, None]) * weight, (target - mean_target[:, None]) * weight
    u, _, vh = torch.linalg.svd(a.transpose(1, 2) @ b)
    sign = torch.sign(torch.linalg.det(vh.transpose(1, 2) @ u.transpose(1, 2)))
    flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
    rotation = vh.transpose(1, 2) @ (flip[:, :, None] * u.transpose(1, 2))
    return rotation, mean_target - (rotation @ mean_mobile[:, :, None])[..., 0]
