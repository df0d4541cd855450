"""Hard constraints, exact: acting on the prediction p(x_0 | x_t), never on the noisy state.

A noisy molecule may pass through a forbidden element; none ends there. At every evaluation the predicted classes are
conditioned on the constraint, and the last prediction is decided: what is left of it obeys. A constraint sees the noisy
molecules, their levels and the prediction. (It needs neither the next level nor noise: what draws with them is the
solver, from the prediction returned here.) Where a molecule is decoded anew, all constraints together are what is
demanded of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from moldiff.diffusion.levels import Denoiser, Levels
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.sampling.demands import NO_DEMANDS, Demands

if TYPE_CHECKING:
    from rdkit.Chem import Mol

FORBIDDEN = -1e4  # logit of what may not be: finite, so that states are still told from broken ones; its exp is 0


class Constraint(Protocol):
    """What molecules must be."""

    def condition(self, noisy: MolBatch, at: Levels, prediction: MolPrediction) -> MolPrediction:
        """Return the prediction given that the constraint holds."""
        ...

    def decide(self, noisy: MolBatch, prediction: MolPrediction) -> MolPrediction:
        """Return a prediction whose most probable classes obey."""
        ...

    def demand(self, others: Demands) -> Demands:
        """Return what other constraints demand of a decoded molecule, and this one."""
        ...

    def violation(self, mol: Mol) -> str:
        """Return how a decoded molecule breaks the constraint; empty if it does not."""
        ...


def demands_of(constraints: Sequence[Constraint]) -> Demands:
    """Return what all of some constraints demand of a decoded molecule."""
    demands = NO_DEMANDS
    for constraint in constraints:
        demands = constraint.demand(demands)
    return demands


@dataclass(frozen=True)
class ConstrainedDenoiser:
    """A `Denoiser` under constraints."""

    denoiser: Denoiser
    constraints: tuple[Constraint, ...]

    def __call__(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        prediction = self.denoiser(batch, levels, condition, previous)
        for constraint in self.constraints:
            prediction = constraint.condition(batch, levels, prediction)
        return prediction


@dataclass(frozen=True)
class ElementMask:
    """Only some elements.

    Attributes:
        elements: the model's elements, in class order.
        allowed: a flag for each.
    """

    elements: tuple[str, ...]
    allowed: tuple[bool, ...]

    def condition(self, noisy: MolBatch, at: Levels, prediction: MolPrediction) -> MolPrediction:
        return self.decide(noisy, prediction)

    def decide(self, noisy: MolBatch, prediction: MolPrediction) -> MolPrediction:
        barred = ~torch.tensor(self.allowed, device=prediction.atom_type.device)
        # a logit that is not finite stays so: a broken state must still be seen
        broken = ~torch.isfinite(prediction.atom_type)
        return prediction.replace(atom_type=prediction.atom_type.masked_fill(barred & ~broken, FORBIDDEN))

    def demand(self, others: Demands) -> Demands:
        return replace(others, allowed=self.allowed)

    def violation(self, mol: Mol) -> str:
        permitted = {symbol for symbol, allowed in zip(self.elements, self.allowed, strict=True) if allowed}
        found = {atom.GetSymbol() for atom in mol.GetAtoms()} & set(self.elements) - permitted
        return f"holds {', '.join(sorted(found))}" if found else ""


@dataclass(frozen=True)
class FixedSum:
    """Integers that belong to the classes of a molecule's atoms add up to a fixed total.

    The prediction makes atoms independent, so conditioning on the sum is exact, by forward and backward recursion over
    the atoms with the partial sum as state; so is the most probable choice of all (Viterbi 1967).

    Attributes:
        field: "atom_type" or "charge".
        steps: (K, D) what each class adds in D sums.
        allowed: (K,) which classes may be at all.
        total: (D,) the sums.
    """

    field: str
    steps: tuple[tuple[int, ...], ...]
    allowed: tuple[bool, ...]
    total: tuple[int, ...]

    def conditioned(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return the logarithms of the marginals p(class of an atom | sums), (B, N, K) float64.

        Args:
            logits: (B, N, K).
            mask: (B, N) real atoms; padded ones keep their logits.
        """
        chances, table = self._chances(logits), self._table(mask.shape[1], logits.device)
        forward = [table.certain(len(logits), table.start)]
        for i in range(mask.shape[1]):  # real atoms come first: behind them, the sums are not used
            forward.append(torch.logsumexp(forward[i][:, table.before] + chances[:, i, None], dim=-1))
        backward, marginals = table.certain(len(logits), table.end), []
        for i in reversed(range(mask.shape[1])):
            ahead = backward[:, table.after] + chances[:, i, None]  # (B, S, K)
            marginals.append(torch.logsumexp(forward[i][:, :, None] + ahead, dim=1))
            backward = torch.where(mask[:, i, None], torch.logsumexp(ahead, dim=-1), backward)
        found = torch.log_softmax(torch.stack(marginals[::-1], dim=1), dim=-1)
        return torch.where(mask[..., None], found, logits.double())

    def most_probable(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Return the classes (B, N) of the most probable choice with these sums; 0 on the padding."""
        chances, table = self._chances(logits), self._table(mask.shape[1], logits.device)
        best, choices = table.certain(len(logits), table.start), []
        for i in range(mask.shape[1]):
            value, choice = (best[:, table.before] + chances[:, i, None]).max(dim=-1)
            best = torch.where(mask[:, i, None], value, best)
            choices.append(choice)
        state = torch.full((len(logits),), table.end, device=logits.device)
        found = torch.zeros(mask.shape, dtype=torch.int64, device=logits.device)
        for i in reversed(range(mask.shape[1])):
            chosen = choices[i].gather(1, state[:, None])[:, 0]
            found[:, i] = torch.where(mask[:, i], chosen, 0)
            state = torch.where(mask[:, i], table.before[state, chosen], state)
        return found

    def replaced(self, noisy: MolBatch, prediction: MolPrediction) -> MolPrediction:
        """Return the prediction with the conditioned marginals of the field."""
        logits = getattr(prediction, self.field)
        marginals = self.conditioned(logits, noisy.mask).clamp(min=FORBIDDEN)
        return prediction.replace(**{self.field: marginals.to(logits.dtype)})

    def settled(self, noisy: MolBatch, prediction: MolPrediction) -> MolPrediction:
        """Return the prediction with one class left for each atom."""
        logits = getattr(prediction, self.field)
        chosen = torch.nn.functional.one_hot(self.most_probable(logits, noisy.mask), logits.shape[-1]).bool()
        decided = torch.zeros_like(logits).masked_fill(~chosen, FORBIDDEN)
        return prediction.replace(**{self.field: torch.where(torch.isfinite(logits), decided, logits)})

    def _chances(self, logits: Tensor) -> Tensor:
        barred = ~torch.tensor(self.allowed, device=logits.device)
        return torch.log_softmax(logits.double(), dim=-1).masked_fill(barred, -torch.inf)

    def _table(self, n: int, device: torch.device) -> _Table:
        """Return the moves between partial sums of up to n atoms."""
        steps, total = np.array(self.steps), np.array(self.total)
        low, high = n * steps.min(0).clip(max=0), n * steps.max(0).clip(min=0)
        high = np.where(low == 0, total, high)  # sums that only grow never pass the total
        shape = high - low + 1
        states = np.indices(shape).reshape(len(shape), -1).T + low  # (S, D)
        nowhere = len(states)

        def moved(by: int) -> Tensor:
            reached = states[:, None] + by * steps - low  # (S, K, D)
            inside = ((reached >= 0) & (reached < shape)).all(-1)
            places = np.ravel_multi_index(tuple(np.moveaxis(reached.clip(0, shape - 1), -1, 0)), tuple(shape))
            stuck = np.full((1, len(steps)), nowhere)
            return torch.from_numpy(np.concatenate([np.where(inside, places, nowhere), stuck])).to(device)

        start, end = (int(np.ravel_multi_index(tuple(sums - low), tuple(shape))) for sums in (0 * total, total))
        return _Table(moved(1), moved(-1), start, end)


@dataclass(frozen=True)
class _Table:
    """Partial sums as states 0 .. S - 1; state S stands for all others.

    Attributes:
        after, before: (S + 1, K) the state that a class leads to, or comes from.
        start, end: states of no atom and of all.
    """

    after: Tensor
    before: Tensor
    start: int
    end: int

    def certain(self, rows: int, state: int) -> Tensor:
        """Return log-probabilities (rows, S + 1) of being in one state."""
        values = torch.full((rows, len(self.after)), -torch.inf, dtype=torch.float64, device=self.after.device)
        values[:, state] = 0
        return values


class Composition:
    """Exactly these elements, so many of each. The size of the molecules must be theirs.

    One element needs no sum of its own: the number of atoms gives it.

    Args:
        elements: the model's elements, in class order.
        counts: atoms of each element of the formula; all known to the model.
    """

    def __init__(self, elements: Sequence[str], counts: dict[str, int]) -> None:
        self.elements, self.counts = tuple(elements), counts
        most = max(counts, key=lambda symbol: counts[symbol])
        others = [symbol for symbol in counts if symbol != most] or [most]
        self._sum = FixedSum(
            "atom_type",
            tuple(tuple(int(element == symbol) for symbol in others) for element in elements),
            tuple(element in counts for element in elements),
            tuple(counts[symbol] for symbol in others),
        )

    def condition(self, noisy: MolBatch, at: Levels, prediction: MolPrediction) -> MolPrediction:
        return self._sum.replaced(noisy, prediction)

    def decide(self, noisy: MolBatch, prediction: MolPrediction) -> MolPrediction:
        return self._sum.settled(noisy, prediction)

    def demand(self, others: Demands) -> Demands:
        return replace(others, counts=tuple(self.counts.get(element, 0) for element in self.elements))

    def violation(self, mol: Mol) -> str:
        symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
        found = {symbol: symbols.count(symbol) for symbol in set(symbols)}
        return "" if found == self.counts else f"is {''.join(f'{s}{n}' for s, n in sorted(found.items()))}"


class TotalCharge:
    """Formal charges that add up.

    Args:
        charges: the model's formal charges, in class order.
        total: their sum.
    """

    def __init__(self, charges: Sequence[int], total: int) -> None:
        self.total = total
        self._sum = FixedSum("charge", tuple((charge,) for charge in charges), (True,) * len(charges), (total,))

    def condition(self, noisy: MolBatch, at: Levels, prediction: MolPrediction) -> MolPrediction:
        return self._sum.replaced(noisy, prediction)

    def decide(self, noisy: MolBatch, prediction: MolPrediction) -> MolPrediction:
        return self._sum.settled(noisy, prediction)

    def demand(self, others: Demands) -> Demands:
        return replace(others, total_charge=self.total)

    def violation(self, mol: Mol) -> str:
        found = sum(atom.GetFormalCharge() for atom in mol.GetAtoms())
        return "" if found == self.total else f"has a total charge of {found:+d}"
