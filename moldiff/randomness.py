"""Noise as a pure function of (seed, molecule id, draw, stream, element): the same on every batch size, order and
device.

Counter-based generator Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), written in
int64 tensor arithmetic so that one call serves a whole batch and gives the same bits on every device. The key is the
run's seed, the counter is (element, draw, id, stream): nothing is stored, nothing has to be advanced, a restart needs
no state.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MANTISSA = 23


class Stream(enum.IntEnum):
    """What a random number is for; different streams never share a counter."""

    POS = 0
    ATOM_TYPE = 1
    CHARGE = 2
    BOND_TYPE = 3
    TIME = 4
    CONDITION = 5
    SELF_CONDITIONING = 6
    SIZE = 7
    RESAMPLING = 8


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return four words of 32 random bits for each counter.

    Args:
        counter: four int64 tensors of one shape (or broadcastable), each entry in [0, 2^32).
        key: two integers in [0, 2^32).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # int64 products wrap modulo 2^64; the shift is arithmetic, so the mask restores the unsigned high word
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((product1 >> 32) & _LOW) ^ c1 ^ k0,
            product1 & _LOW,
            ((product0 >> 32) & _LOW) ^ c3 ^ k1,
            product0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return c0, c1, c2, c3


@dataclass(frozen=True)
class NoiseSource:
    """Random numbers for molecules, keyed by one run seed.

    Attributes:
        seed: any integer in [0, 2^64).
    """

    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed must be in [0, 2^64), not {self.seed}")

    def uniform(self, ids: Tensor, draw: int, stream: Stream, n: int) -> Tensor:
        """Return (B, n) float32 in the open interval (0, 1), one number for each molecule id (B,) and element."""
        return _to_unit(self._words(ids, draw, stream, torch.arange(n, device=ids.device))[0])

    def uniform_pairs(self, ids: Tensor, draw: int, stream: Stream, n: int) -> Tensor:
        """Return (B, n, n) float32 in (0, 1), symmetric: one number for each unordered pair; the diagonal is 0.5.

        A pair's number depends on its two atoms alone, not on the padded width n.
        """
        row, column = torch.triu_indices(n, n, offset=1, device=ids.device)
        values = _to_unit(self._words(ids, draw, stream, column * (column - 1) // 2 + row)[0])
        result = torch.full((len(ids), n, n), 0.5, device=ids.device)
        result[:, row, column] = values
        result[:, column, row] = values
        return result

    def normal(self, ids: Tensor, draw: int, stream: Stream, n: int) -> Tensor:
        """Return (B, n, 3) float32 standard normal numbers (Box-Muller)."""
        words = self._words(ids, draw, stream, torch.arange(n, device=ids.device))
        u0, u1, u2, u3 = (_to_unit(word) for word in words)
        radius0, radius1 = torch.sqrt(-2 * torch.log(u0)), torch.sqrt(-2 * torch.log(u2))
        angle0, angle1 = 2 * math.pi * u1, 2 * math.pi * u3
        return torch.stack(
            [radius0 * torch.cos(angle0), radius0 * torch.sin(angle0), radius1 * torch.cos(angle1)], dim=-1
        )

    def _words(self, ids: Tensor, draw: int, stream: Stream, elements: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return four (B, E) words; ids up to 2^56 (the high part shares a counter word with the stream's 8 bits)."""
        ids = ids[:, None]
        counter = (
            elements[None, :].expand(ids.shape[0], -1),
            torch.full_like(ids, draw),
            ids & _LOW,
            (((ids >> 32) << 8) | int(stream)) & _LOW,
        )
        return philox(counter, (self.seed & _LOW, self.seed >> 32))


def _to_unit(word: Tensor) -> Tensor:
    """Map 32 random bits to float32 in the open interval (0, 1), exactly representable."""
    return ((word >> (32 - _MANTISSA)).double() + 0.5).mul_(2.0**-_MANTISSA).float()
