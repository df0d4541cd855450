"""Integers of a molecule's atoms with a fixed total, or one within bounds, such as charges or counts of elements, by
dynamic programming."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from moldiff.molecules import MolBatch, MolPrediction

FORBIDDEN = -1e4  # logit of what may not be: finite, so that states are still told from broken ones; its exp is 0


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
        least: (D,) the sums may also be lower, down to these; None = they may not.
    """

    field: str
    steps: tuple[tuple[int, ...], ...]
    allowed: tuple[bool, ...]
    total: tuple[int, ...]
    least: tuple[int, ...] | None = None

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
        state = table.end[best[:, table.end].argmax(dim=-1)]
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

        least = total if self.least is None else np.array(self.least)
        start = int(np.ravel_multi_index(tuple(0 * total - low), tuple(shape)))
        end = np.flatnonzero(((states >= least) & (states <= total)).all(-1))
        return _Table(moved(1), moved(-1), start, torch.from_numpy(end).to(device))


@dataclass(frozen=True)
class _Table:
    """Partial sums as states 0 .. S - 1; state S stands for all others.

    Attributes:
        after, before: (S + 1, K) the state that a class leads to, or comes from.
        start: state of no atom.
        end: (E,) states that all atoms may come to.
    """

    after: Tensor
    before: Tensor
    start: int
    end: Tensor

    def certain(self, rows: int, state: int | Tensor) -> Tensor:
        """Return logarithms (rows, S + 1) of 1 for a state, or several, and of 0 for the others."""
        values = torch.full((rows, len(self.after)), -torch.inf, dtype=torch.float64, device=self.after.device)
        values[:, state] = 0
        return values
