"""The small products of a layer, over the components of vectors and over neighbours, in two forms.

Shapes as in `moldiff.nn.layers`, with A angular channels. A product of matrices that are three wide is a kernel of its
own, and what goes in and comes out passes through memory. Written as products and sums term by term, a compiler merges
it with what stands around.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class PairProducts(Protocol):
    """The two products of vectors and directions."""

    def angles(self, near: Tensor, far: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, N, N, A) twice: the vectors of each atom of a pair along the direction between them.

        Args:
            near, far: (B, N, M, A) vectors of the receiving and of the sending atom.
            directions: (B, N, N, M).
        """
        ...

    def gathered(self, to_direction: Tensor, to_vectors: Tensor, directions: Tensor, vectors: Tensor) -> Tensor:
        """Return (B, N, M, V): sums over neighbours of directions and of their vectors.

        Args:
            to_direction, to_vectors: (B, N, N, V) weights.
            directions: (B, N, N, M).
            vectors: (B, N, M, V) of the neighbours.
        """
        ...


class MatrixProducts:
    """As products of matrices: best where every operation is run by itself."""

    def angles(self, near: Tensor, far: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, N, N, A) twice, see `PairProducts.angles`."""
        there = (directions.transpose(1, 2).contiguous() @ far).transpose(1, 2)
        # on a card, tensors are joined by a far quicker kernel where all of them are in the order of memory
        return directions @ near, there.contiguous() if there.is_cuda else there

    def gathered(self, to_direction: Tensor, to_vectors: Tensor, directions: Tensor, vectors: Tensor) -> Tensor:
        """Return (B, N, M, V), see `PairProducts.gathered`."""
        dtype = to_direction.dtype
        toward = directions.to(dtype).transpose(-1, -2).contiguous() @ to_direction
        return toward + torch.einsum("bijv,bjmv->bimv", to_vectors, vectors.to(dtype))


class SummedProducts:
    """Term by term, sums in the precision of the directions: for a compiler. Uncompiled, slow and large."""

    def angles(self, near: Tensor, far: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, N, N, A) twice, see `PairProducts.angles`."""
        along = directions[..., None]
        here, there = (near[:, :, None] * along).sum(-2), (far[:, None] * along).sum(-2)
        return here.to(near.dtype), there.to(near.dtype)

    def gathered(self, to_direction: Tensor, to_vectors: Tensor, directions: Tensor, vectors: Tensor) -> Tensor:
        """Return (B, N, M, V), see `PairProducts.gathered`."""
        toward = (to_direction[..., None, :].to(directions.dtype) * directions[..., None]).sum(2)
        return toward + (to_vectors[..., None, :].to(vectors.dtype) * vectors[:, None]).sum(2)
