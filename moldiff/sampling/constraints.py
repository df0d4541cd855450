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
from typing import Protocol

import torch
from torch import Tensor

from moldiff.diffusion.levels import Denoiser, Levels
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.sampling.demands import NO_CONSTRAINTS, Charge, DecodingConstraints, Formula, Rule, Without
from moldiff.sampling.fixed_sum import FORBIDDEN, FixedSum


class Constraint(Protocol):
    """A demand on molecules."""

    def condition(self, noisy: MolBatch, at: Levels, prediction: MolPrediction) -> MolPrediction:
        """Return the prediction given that the constraint holds."""
        ...

    def decide(self, noisy: MolBatch, prediction: MolPrediction) -> MolPrediction:
        """Return a prediction whose most probable classes obey."""
        ...

    def demand(self, others: DecodingConstraints) -> DecodingConstraints:
        """Return what other constraints demand of a decoded molecule, and this one."""
        ...

    @property
    def rule(self) -> Rule:
        """Rule that a decoded molecule must obey."""
        ...


def decoding_constraints(constraints: Sequence[Constraint]) -> DecodingConstraints:
    """Return what all of some constraints demand of a decoded molecule."""
    found = NO_CONSTRAINTS
    for constraint in constraints:
        found = constraint.demand(found)
    return found


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

    @property
    def names(self) -> tuple[str, ...]:
        """The allowed elements."""
        return tuple(name for name, allowed in zip(self.elements, self.allowed, strict=True) if allowed)

    def condition(self, noisy: MolBatch, at: Levels, prediction: MolPrediction) -> MolPrediction:
        return self.decide(noisy, prediction)

    def decide(self, noisy: MolBatch, prediction: MolPrediction) -> MolPrediction:
        barred = ~torch.tensor(self.allowed, device=prediction.atom_type.device)
        # a logit that is not finite stays so: a broken state must still be seen
        broken = ~torch.isfinite(prediction.atom_type)
        return prediction.replace(atom_type=prediction.atom_type.masked_fill(barred & ~broken, FORBIDDEN))

    def demand(self, others: DecodingConstraints) -> DecodingConstraints:
        return replace(others, allowed=self.allowed)

    @property
    def rule(self) -> Rule:
        return Without(frozenset(self.elements) - frozenset(self.names))


class Composition:
    """Exactly these elements, so many of each. The size of the molecules must be theirs.

    One element needs no sum of its own: the number of atoms gives it. Hydrogens of a model of heavy atoms are no
    variables of the walk; only the decoded molecule tells how many there are.

    Args:
        elements: the model's elements, in class order.
        counts: atoms of each element of the formula; all known to the model.
        hydrogens: of a model of heavy atoms, how many there must be; None = as many as there are.
    """

    def __init__(self, elements: Sequence[str], counts: dict[str, int], hydrogens: int | None = None) -> None:
        self.elements, self.counts, self.hydrogens = tuple(elements), counts, hydrogens
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

    def demand(self, others: DecodingConstraints) -> DecodingConstraints:
        counts = tuple(self.counts.get(element, 0) for element in self.elements)
        return replace(others, counts=counts, hydrogens=self.hydrogens)

    @property
    def rule(self) -> Rule:
        derived = "H" not in self.elements and self.hydrogens is None
        counted = {} if "H" in self.elements or not self.hydrogens else {"H": self.hydrogens}
        return Formula({**self.counts, **counted}, derived)


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

    def demand(self, others: DecodingConstraints) -> DecodingConstraints:
        return replace(others, total_charge=self.total)

    @property
    def rule(self) -> Rule:
        return Charge(self.total)
