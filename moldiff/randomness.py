"""Noise as a pure function of (seed, id, counter, stream, element): the same on every batch size, order and device.

Counter-based generator Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), written in
int64 tensor arithmetic so that one call serves a whole batch and gives the same bits on every device. The key is the
run's seed, the generator's own counter is (element, counter, id, stream): nothing is stored, nothing has to be
advanced, a restart needs no state.

| word    | bits | what it says                                                                              |
|---------|------|-------------------------------------------------------------------------------------------|
| seed    | 64   | the run; training draws its own molecules with its seed + 2^40 (`on_policy_seed`)         |
| stream  | 8    | what the number is for (`Stream`)                                                         |
| id      | 56   | the molecule: the number of a draw; `move_key`: draw 40, move 16 bits;                    |
|         |      | `record_key`: attempt 6, draw 20, record 30 bits;                                         |
|         |      | `row_keys`: data row 40, turn in the batch 16 bits; `graph_key`: a hash                   |
| counter | 32   | when: `walk_counter`: step 20, part of a step 6, walk 6 bits; `training_counter`: step 31,|
|         |      | earlier 1 bit; `bound_counter`: evaluation of the bound                                   |
| element | 32   | which of the numbers of one call: atom, pair of atoms, property                           |

The builders refuse what does not fit into its bits. `USES` lists who draws what with one seed; no two uses of one seed
meet, which a test checks.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from moldiff.errors import MoldiffError

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_MANTISSA = 23

Counter = TypeVar("Counter", int, Tensor)
"""A counter: a number, or a 0-dim int64 tensor, which gives the same bits and which a captured step reads anew."""


class Stream(enum.IntEnum):
    """Purpose of a random number; different streams never share a counter."""

    POS = 0
    ATOM_TYPE = 1
    CHARGE = 2
    BOND_TYPE = 3
    TIME = 4
    CONDITION = 5
    SELF_CONDITIONING = 6
    SIZE = 7
    RESAMPLING = 8


class Walk(enum.IntEnum):
    """Walks that begin with one id: each has noise of its own. 1 to 32 are attempts at re-noising a draw.

    What a user hands on, with the same seed, has come out of one of them: were its noise that of the next one, the
    molecule would be drawn back to where it came from.
    """

    DRAW = 0
    MOVE = 33
    VARIATION = 34
    CONFORMER = 35


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

    def uniform(self, ids: Tensor, counter: int | Tensor, stream: Stream, n: int) -> Tensor:
        """Return (B, n) float32 in the open interval (0, 1), one number for each molecule id (B,) and element."""
        return _to_unit(self._words(ids, counter, stream, torch.arange(n, device=ids.device))[0])

    def uniform_pairs(self, ids: Tensor, counter: int | Tensor, stream: Stream, n: int) -> Tensor:
        """Return (B, n, n) float32 in (0, 1), symmetric: one number for each unordered pair; the diagonal is 0.5.

        A pair's number depends on its two atoms alone, not on the padded width n.
        """
        elements = torch.arange(n * (n - 1) // 2, device=ids.device)
        return _square(_to_unit(self._words(ids, counter, stream, elements)[0]), n)

    def normal(self, ids: Tensor, counter: int | Tensor, stream: Stream, n: int) -> Tensor:
        """Return (B, n, 3) float32 standard normal numbers (Box-Muller)."""
        words = self._words(ids, counter, stream, torch.arange(n, device=ids.device))
        return _normal(*map(_to_unit, words))

    def fields(self, ids: Tensor, counter: int | Tensor, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the noise of coordinates, atom types, charges and bonds of molecules of up to n atoms in one pass:
        the bits of `normal`, `uniform`, `uniform` and `uniform_pairs` of the streams 0 to 3."""
        places = torch.arange(3 * n + n * (n - 1) // 2, device=ids.device)
        streams = (places // n).clamp(max=int(Stream.BOND_TYPE))
        first, *others = self._words(ids, counter, streams, places - n * streams)
        unit = _to_unit(first)
        return (
            _normal(unit[:, :n], *(_to_unit(word[:, :n]) for word in others)),
            unit[:, n : 2 * n],
            unit[:, 2 * n : 3 * n],
            _square(unit[:, 3 * n :], n),
        )

    def _words(
        self, ids: Tensor, counter: int | Tensor, stream: Stream | Tensor, elements: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return four (B, E) words, all elements of one stream or each of its own, (E,). Ids on another device than the
        CPU, and counters that are tensors, are taken on trust: looking at them waits."""
        if ids.device.type == "cpu" and len(ids):
            for end in torch.aminmax(ids):
                _checked("id", int(end), ID_BITS)
        ids = ids[:, None]
        if not isinstance(counter, Tensor):
            counter = torch.full_like(ids, _checked("counter", counter, COUNTER_BITS))
        words = (
            elements[None, :].expand(ids.shape[0], -1),
            counter,
            ids & _LOW,
            ((ids >> 32) << 8) | stream,
        )
        return philox(words, (self.seed & _LOW, self.seed >> 32))


def _to_unit(word: Tensor) -> Tensor:
    """Map 32 random bits to float32 in the open interval (0, 1), exactly representable."""
    return ((word >> (32 - _MANTISSA)).double() + 0.5).mul_(2.0**-_MANTISSA).float()


def _normal(u0: Tensor, u1: Tensor, u2: Tensor, u3: Tensor) -> Tensor:
    """Return (B, n, 3) normal numbers from four uniform ones (B, n) each."""
    radius0, radius1 = torch.sqrt(-2 * torch.log(u0)), torch.sqrt(-2 * torch.log(u2))
    angle0, angle1 = 2 * math.pi * u1, 2 * math.pi * u3
    return torch.stack([radius0 * torch.cos(angle0), radius0 * torch.sin(angle0), radius1 * torch.cos(angle1)], dim=-1)


def _square(values: Tensor, n: int) -> Tensor:
    """Return (B, n, n) from the numbers of n (n - 1) / 2 pairs, that of i < j at j (j - 1) / 2 + i; the diagonal is
    0.5."""
    atoms = torch.arange(n, device=values.device)
    low, high = torch.minimum(atoms[:, None], atoms), torch.maximum(atoms[:, None], atoms)
    place = torch.where(low == high, values.shape[1], high * (high - 1) // 2 + low)
    both = torch.cat([values, values.new_full((len(values), 1), 0.5)], dim=1)
    return both.index_select(1, place.flatten()).view(-1, n, n)


ID_BITS, COUNTER_BITS = 56, 32
STEP_BITS, PART_BITS, WALK_BITS = 20, 6, 6
ATTEMPT_BITS, DRAW_BITS, RECORD_BITS = 6, 20, 30
MOVED_DRAW_BITS, MOVE_BITS = 40, 16
ROW_BITS, TURN_BITS = 40, 16
TRAINING_STEP_BITS = 31
SEED_BITS, ON_POLICY_BIT = 64, 40


def walk_counter(step: int | Tensor, part: int = 0, walk: int | Tensor = 0) -> int | Tensor:
    """Return the counter of a sampler's noise, of which a tensor makes a tensor.

    Args:
        step: of the walk; 0 = the prior.
        part: of the step: 0 = the step itself, 1 = churn, 2 .. 61 = the moves of a corrector, 62 = back to the noisier
            level (`moldiff.sampling.solvers`).
        walk: see `Walk`.
    """
    if isinstance(step, Tensor) or isinstance(walk, Tensor):
        return step | part << STEP_BITS | walk << STEP_BITS + PART_BITS
    return _packed(("step of a walk", step, STEP_BITS), ("part of a step", part, PART_BITS), ("walk", walk, WALK_BITS))


def training_counter(step: Counter, *, earlier: bool = False) -> Counter:
    """Return the counter of a training step, of which a tensor makes a tensor; ``earlier``: of what a sampler met a
    step before."""
    if not isinstance(step, Tensor):
        _checked("training step", step, TRAINING_STEP_BITS)
    return step | (int(earlier) << TRAINING_STEP_BITS)


def bound_counter(repeat: int, evaluations: int, number: int) -> int:
    """Return the counter of evaluation ``number``, below ``evaluations``, of a repeat of the bound."""
    if not 0 <= number < evaluations:
        raise MoldiffError(f"random numbers: evaluation {number} is not in 0 .. {evaluations - 1}")
    return _checked("evaluation of a bound", repeat * evaluations + number, COUNTER_BITS)


def record_key(record: int, draw: int, attempt: int = 0) -> int:
    """Return the id of one attempt at a draw for a record of a file, all counted from 0."""
    return _packed(("attempt", attempt, ATTEMPT_BITS), ("draw", draw, DRAW_BITS), ("record", record, RECORD_BITS))


def move_key(draw: int, move: int) -> int:
    """Return the id of a draw's move in its Markov chain, both counted from 0."""
    return _packed(("draw", draw, MOVED_DRAW_BITS), ("move", move, MOVE_BITS))


def row_keys(rows: Tensor, turns: Tensor) -> Tensor:
    """Return (B,) ids of data rows (B,) in a batch: a molecule that stands in it several times gets other noise in each
    of its turns (B,). What is not on the CPU is taken on trust."""
    if turns.device.type == "cpu":
        _checked("turn in a batch", int(turns.max()), TURN_BITS)
    if rows.device.type == "cpu":
        _checked("data row", int(rows.max()), ROW_BITS)
    return rows + (turns.to(rows.device) << ROW_BITS)


def graph_key(digest: int) -> int:
    """Return the id of a molecule that is known by a hash alone."""
    return digest & ((1 << ID_BITS) - 1)


def on_policy_seed(seed: int) -> int:
    """Return the seed of draws to train on: not those that a user makes, and measures, with the training's seed."""
    return _checked("seed", seed + (1 << ON_POLICY_BIT), SEED_BITS)


def _checked(name: str, value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise MoldiffError(f"random numbers: {name} {value} is not in 0 .. {(1 << bits) - 1}")
    return value


def _packed(*parts: tuple[str, int, int]) -> int:
    """Return one word of (name, value, bits), from the lowest bits up."""
    word, shift = 0, 0
    for name, value, bits in parts:
        word |= _checked(name, value, bits) << shift
        shift += bits
    return word


@dataclass(frozen=True)
class Use:
    """A use of random numbers: the keys that it may take.

    Attributes:
        run: kind of run; runs of different kinds have seeds that have nothing to do with each other.
        what: is drawn.
        streams, ids, counters, elements: of its numbers.
    """

    run: str
    what: str
    streams: tuple[Stream, ...]
    counters: range
    ids: range = range(1 << ID_BITS)
    elements: range = range(1 << 32)


_FIELDS = (Stream.POS, Stream.ATOM_TYPE, Stream.CHARGE, Stream.BOND_TYPE)
_STEPS = range(1 << TRAINING_STEP_BITS)


def _walks(first: int, last: int) -> range:
    """Return the counters of some walks."""
    return range(first << STEP_BITS + PART_BITS, last + 1 << STEP_BITS + PART_BITS)


USES = (
    Use("sampling", "size, and the training molecule that gives size and condition", (Stream.SIZE,), range(1)),
    Use("sampling", "which properties of a training molecule are asked for", (Stream.CONDITION,), range(1)),
    Use("sampling", "which states of a walk are kept", (Stream.TIME,), range(1)),
    Use("sampling", "noise of a draw", _FIELDS, _walks(Walk.DRAW, Walk.DRAW)),
    Use("sampling", "noise of attempts at re-noising", _FIELDS, _walks(Walk.DRAW + 1, Walk.MOVE - 1)),
    Use("sampling", "noise of a move, its key the id", _FIELDS, _walks(Walk.MOVE, Walk.MOVE)),
    Use("sampling", "noise of a variation, its record's key the id", _FIELDS, _walks(Walk.VARIATION, Walk.VARIATION)),
    Use("sampling", "noise of a conformer, likewise", _FIELDS, _walks(Walk.CONFORMER, Walk.CONFORMER)),
    Use("sampling", "particles of a group, its number the id", (Stream.RESAMPLING,), range(1 << STEP_BITS)),
    Use(
        "sampling",
        "whether a move of a draw is accepted, the move's key the id",
        (Stream.RESAMPLING,),
        range(1 << (STEP_BITS + PART_BITS), 1 << COUNTER_BITS),
    ),
    Use("training", "noise of a batch", _FIELDS, _STEPS),
    Use("training", "noise of the step before", _FIELDS, range(1 << TRAINING_STEP_BITS, 1 << COUNTER_BITS)),
    Use("training", "times", (Stream.TIME,), _STEPS),
    Use("training", "dropped properties", (Stream.CONDITION,), _STEPS),
    Use("training", "self-conditioning, a coin", (Stream.SELF_CONDITIONING,), _STEPS, range(1), range(1)),
    Use("training", "self-conditioning, the gap", (Stream.SELF_CONDITIONING,), _STEPS, elements=range(1, 2)),
    Use("training", "own draws, a coin", (Stream.SELF_CONDITIONING,), _STEPS, range(1), range(2, 3)),
    Use("validation", "noise", _FIELDS, range(1)),
    Use("bound", "noise", _FIELDS, range(1 << COUNTER_BITS)),
    Use("bound", "steps", (Stream.TIME,), range(1 << COUNTER_BITS)),
)
