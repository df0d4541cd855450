"""Fragments that are kept: growing them, linking two of them, decorating a scaffold.

The known part is a hard constraint on the prediction p(x_0 | x_t), like any other: its classes are certain, its
coordinates are its own, moved to where the model believes those atoms to be. So whatever the solver, the known atoms
follow their own noised path, the replacement of Lugmayr et al. 2022 ("RePaint"), without any randomness of its own. An
atom that is no attachment point gets no bond to new ones; the bonds of one that is are conditioned on filling its open
valence exactly, or, of a model of heavy atoms, on being at least one: hydrogens fill the rest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from moldiff.chem.fragments import MolFragment, parts_of
from moldiff.diffusion.inpainting import FixedPart, PartialDiffusion, Placement, TruncatedSchedule
from moldiff.diffusion.levels import Levels
from moldiff.geometry import center
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.sampling.demands import DecodingConstraints, FixedAtoms, Rule
from moldiff.sampling.fixed_sum import FORBIDDEN, FixedSum
from moldiff.vocabulary import Vocabulary

# Chosen with the built-in model: what is left to decide there are types and places around the fragment.
START_SIGMA = 1.0  # angstrom; coordinate noise at which the walk begins
START_GRAPH = 0.3  # time of the graph at which the walk begins
_ORDERS = {"none": 0, "single": 1, "double": 2, "triple": 3}  # an aromatic bond never leaves a fragment


class FixedFragment:
    """A fragment that comes back unchanged, as the first atoms of every molecule.

    Args:
        fragment: that is kept.
        vocabulary: of the model.
    """

    def __init__(self, fragment: MolFragment, vocabulary: Vocabulary) -> None:
        self.fragment = fragment
        self.known = _known_part(fragment)
        self._home = torch.from_numpy(fragment.arrays.pos.astype(np.float32))
        orders = tuple((_ORDERS.get(name, 0),) for name in vocabulary.bonds)
        allowed = tuple(name in _ORDERS for name in vocabulary.bonds)
        lacking, least = fragment.open_valences, fragment.least_bonds
        self._closed = np.flatnonzero(lacking == 0).tolist()
        self._open = [
            (
                np.flatnonzero((lacking == total) & (least == low)).tolist(),
                FixedSum("bond_type", orders, allowed, (total,), (low,)),
            )
            for total, low in sorted({*zip(lacking[lacking > 0].tolist(), least[lacking > 0].tolist(), strict=True)})
        ]

    def condition(self, noisy: MolBatch, at: Levels, prediction: MolPrediction) -> MolPrediction:
        certain = self._certain(prediction)
        bonds = certain.bond_type.clone()
        n = len(self.known)
        for atoms, rule in self._open:
            rows, mask = bonds[:, atoms, n:], noisy.mask[:, None, n:].expand(-1, len(atoms), -1)
            marginals = rule.conditioned(rows.flatten(0, 1), mask.flatten(0, 1)).clamp(min=FORBIDDEN)
            bonds[:, atoms, n:] = marginals.to(rows.dtype).view_as(rows)
        return certain.replace(bond_type=_mirrored(bonds, n), pos=self._placed(noisy, prediction.pos))

    def decide(self, noisy: MolBatch, prediction: MolPrediction) -> MolPrediction:
        """Return a prediction whose most probable classes obey, moved into the frame of the fragment's file."""
        certain = self._certain(prediction)
        bonds = certain.bond_type.clone()
        n = len(self.known)
        for atoms, rule in self._open:
            rows, mask = bonds[:, atoms, n:], noisy.mask[:, None, n:].expand(-1, len(atoms), -1)
            chosen = rule.most_probable(rows.flatten(0, 1), mask.flatten(0, 1)).view(rows.shape[:-1])
            bonds[:, atoms, n:] = _one_class(chosen, rows)
        home = self._home.to(prediction.pos)
        shift = home.mean(0) - prediction.pos[:, :n].mean(1)
        new = (prediction.pos[:, n:] + shift[:, None]) * noisy.mask[:, n:, None]
        known = torch.where(torch.isfinite(prediction.pos[:, :n]), home, prediction.pos[:, :n])
        return certain.replace(bond_type=_mirrored(bonds, n), pos=torch.cat([known, new], dim=1))

    def demand(self, others: DecodingConstraints) -> DecodingConstraints:
        known = self.known
        classes = (known.atom_type.numpy(), known.charge.numpy(), known.bond_type.numpy())
        fragment = self.fragment
        return replace(others, kept=FixedAtoms(*classes, fragment.open_valences, fragment.least_bonds))

    @property
    def rule(self) -> Rule:
        return self.fragment.change

    def _certain(self, prediction: MolPrediction) -> MolPrediction:
        """Return the prediction with the fragment's classes, and no bond of its other atoms to new ones."""
        n, known = len(self.known), self.known.to(prediction.pos.device)
        atom_type, charge = prediction.atom_type.clone(), prediction.charge.clone()
        bonds = prediction.bond_type.clone()
        atom_type[:, :n] = _one_class(known.atom_type, atom_type[:, :n])
        charge[:, :n] = _one_class(known.charge, charge[:, :n])
        bonds[:, :n, :n] = _one_class(known.bond_type, bonds[:, :n, :n])
        outside = bonds[:, self._closed, n:]
        bonds[:, self._closed, n:] = _one_class(torch.zeros_like(outside[..., 0], dtype=torch.int64), outside)
        return prediction.replace(atom_type=atom_type, charge=charge, bond_type=_mirrored(bonds, n))

    def _placed(self, noisy: MolBatch, pos: Tensor) -> Tensor:
        """Return coordinates (B, N, 3) with the fragment in the middle of what the model takes for its atoms."""
        n, own = len(self.known), self.known.pos.to(pos)
        shift = pos[:, :n].mean(1, keepdim=True) - own.mean(0)
        return center(torch.cat([own + shift, pos[:, n:]], dim=1), noisy.mask)


def with_fragment(model: MoleculeModel, fragment: FixedFragment) -> MoleculeModel:
    """Return a model whose walks begin around a fragment."""
    return replace(
        model,
        schedule=TruncatedSchedule.of(model.schedule, START_SIGMA, START_GRAPH),
        diffusion=PartialDiffusion(model.diffusion, fragment.known, Placement(), model.sampling.fragment_redraw),
    )


def _one_class(chosen: Tensor, like: Tensor) -> Tensor:
    """Return logits of ``like``'s shape that leave one class each; what is not finite stays so."""
    others = ~torch.nn.functional.one_hot(chosen, like.shape[-1]).bool()
    return torch.where(torch.isfinite(like), torch.zeros_like(like).masked_fill(others, FORBIDDEN), like)


def _mirrored(bonds: Tensor, n: int) -> Tensor:
    """Return bond logits (B, N, N, K) in which the columns of the first n atoms follow their rows."""
    bonds[:, n:, :n] = bonds[:, :n, n:].transpose(1, 2)
    return bonds


def _known_part(fragment: MolFragment) -> FixedPart:
    """Return the fragment as tensors, with zero mean."""
    arrays, n = fragment.arrays, len(fragment)
    pos = arrays.pos.astype(np.float64) - arrays.pos.astype(np.float64).mean(0)
    bonds = np.zeros((n, n), dtype=np.int64)
    for i, j, kind in arrays.bonds.tolist():
        bonds[i, j] = bonds[j, i] = kind
    pieces = np.zeros(n, dtype=np.int64)
    for number, piece in enumerate(parts_of(fragment.mol)):
        pieces[piece] = number
    exits = np.repeat(np.arange(n), fragment.open_valences)
    ways = fragment.ways
    exit_vectors = np.array(
        [ways[atom] if atom in ways else _way_out(pos, np.flatnonzero(bonds[atom]), atom) for atom in exits.tolist()]
    )
    return FixedPart(
        torch.from_numpy(pos).float(),
        torch.from_numpy(arrays.atom_type),
        torch.from_numpy(arrays.charge),
        torch.from_numpy(bonds),
        torch.from_numpy(pos[exits]).float(),
        torch.from_numpy(exit_vectors).float(),
        torch.from_numpy(pieces[exits]),
    )


def _way_out(pos: np.ndarray, neighbours: np.ndarray, atom: int) -> np.ndarray:
    """Return the unit vector (3,) away from an atom's neighbours; where they cancel, away from the middle of all."""
    ways = pos[atom] - pos[neighbours]
    for way in ((ways / np.linalg.norm(ways, axis=1, keepdims=True)).sum(0), pos[atom]):
        length = float(np.linalg.norm(way))
        if length > 0.3:
            found: np.ndarray = way / length
            return found
    return np.array([0.0, 0.0, 1.0])
