"""The integer programme behind structured decoding: its choices, columns and rows. Arrays in, arrays out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moldiff.arrays import LogProbabilities
from moldiff.sampling.demands import DecodingConstraints
from moldiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_LOWEST = -100.0  # nats; where a log-probability is cut off, so that a masked class has a finite cost
_TIE = 1e-5  # nats; between Kekule forms, which weigh the same, the model's own single and double bonds decide
_ORDERS = {"single": (1,), "double": (2,), "triple": (3,), "aromatic": (1, 2)}
_MOST_HYDROGENS = 8  # implicit ones of an atom


@dataclass(frozen=True)
class AtomStates:
    """The S states that an atom may take.

    Attributes:
        element, charge: (S,) int class indices.
        formal: (S,) int formal charges.
        valence: (S,) int sums of bond orders, hydrogens counted.
        ring: (S,) bool: may sit in an aromatic ring without a double bond, by a lone pair or an empty orbital.
    """

    element: np.ndarray
    charge: np.ndarray
    formal: np.ndarray
    valence: np.ndarray
    ring: np.ndarray

    def take(self, chosen: np.ndarray) -> AtomStates:
        """Return the states selected by an index or mask."""
        return AtomStates(*(getattr(self, name)[chosen] for name in ("element", "charge", "formal", "valence", "ring")))


@dataclass(frozen=True)
class Solution:
    """The most probable molecule of n atoms and m bonds.

    Attributes:
        atom_type, charge: (n,) int64 class indices.
        bonds: (m, 3) int64 rows (i, j, class), i < j, in the vocabulary's own classes.
        orders: (m,) int64 integer orders; those of aromatic bonds are a Kekule form.
        lost: nats below the unconstrained maximum of the log-probabilities (>= 0).
        nodes: branch-and-bound nodes spent.
        cuts: connectivity cuts that were needed.
    """

    atom_type: np.ndarray
    charge: np.ndarray
    bonds: np.ndarray
    orders: np.ndarray
    lost: float
    nodes: int
    cuts: int


@dataclass(frozen=True)
class Choices:
    """Everything that may be chosen: O atom states, P unordered pairs of the n atoms, Q bonds of some integer order.

    The cost of a choice is what it lies below the best class of its variable, in nats (>= 0).

    Attributes:
        n: number of atoms.
        states: the atom states that ``state`` points to.
        atom, state, atom_cost: (O,) the atom, its state, the cost.
        pairs: (P, 2) atom indices i < j.
        bound: (P,) bool, whether a pair must have a bond.
        unbound_cost: (P,) cost of no bond.
        pair, kind, order, bond_cost: (Q,) row of ``pairs``, bond class, integer order, cost. An aromatic bond is there
            twice, as single and as double.
        aromatic: (Q,) bool.
        fits: (Q, A, A) bool, the elements that the two atoms of a bond may have, or None: any.
        tie: (Q,) float, tiny costs that choose among Kekule forms.
    """

    n: int
    states: AtomStates
    atom: np.ndarray
    state: np.ndarray
    atom_cost: np.ndarray
    pairs: np.ndarray
    bound: np.ndarray
    unbound_cost: np.ndarray
    pair: np.ndarray
    kind: np.ndarray
    order: np.ndarray
    bond_cost: np.ndarray
    aromatic: np.ndarray
    tie: np.ndarray
    fits: np.ndarray | None

    @classmethod
    def of(
        cls,
        values: LogProbabilities,
        vocabulary: Vocabulary,
        states: AtomStates,
        floor: float,
        fits: np.ndarray | None,
        constraints: DecodingConstraints,
    ) -> Choices:
        """List all choices; bonds only where their probability reaches ``floor``, or where they are to be kept.

        Args:
            fits: (n, n, K, A, A) bool: whether a pair of atoms may have a bond of a class if it is of two elements.
            constraints: leave out what they rule out of a single atom or pair.
        """
        n = len(values.atom_type)
        if n > 1 and vocabulary.explicit_hydrogens:
            states = states.take(states.valence > 0)  # an atom without bonds hangs on nothing
        atom_cost = _costs(values.atom_type)[:, states.element] + _costs(values.charge)[:, states.charge]  # (n, S)
        possible = _possible_states(n, states, constraints)
        atom, state = np.nonzero(possible)
        i, j = np.triu_indices(n, k=1)
        bond = _costs(values.bond_type[i, j])  # (P, K)
        likely = values.bond_type[i, j] >= math.log(floor)
        bound = np.zeros(len(i), dtype=bool)
        if (kept := constraints.kept) is not None:
            k = len(kept.atom_type)
            within, leaving = j < k, (i < k) & (j >= k)
            own = kept.bond_type[i[within], j[within]]
            likely[within] = own[:, None] == np.arange(len(vocabulary.bonds))
            bound[within] = own > 0
            likely[leaving] &= np.array([name != "aromatic" for name in vocabulary.bonds])
        if fits is not None:
            likely &= fits[i, j].any(axis=(2, 3))
        names = [(kind, order) for kind, name in enumerate(vocabulary.bonds) for order in _ORDERS.get(name, ())]
        rows = [np.flatnonzero(likely[:, kind]) for kind, _ in names]
        counts = [len(row) for row in rows]
        pair = np.concatenate([np.zeros(0, np.int64), *rows])
        kind, order = np.repeat(np.array(names, np.int64).reshape(-1, 2), counts, axis=0).T
        aromatic = np.array([name == "aromatic" for name in vocabulary.bonds])[kind]
        return cls(
            n=n,
            states=states,
            atom=atom,
            state=state,
            atom_cost=atom_cost[possible],
            pairs=np.stack([i, j], axis=1),
            bound=bound,
            unbound_cost=bond[:, 0],
            pair=pair,
            kind=kind,
            order=order,
            bond_cost=bond[pair, kind],
            aromatic=aromatic,
            tie=np.where(aromatic, _tie(bond[pair], vocabulary, order), 0.0),
            fits=None if fits is None else fits[i[pair], j[pair], kind],
        )

    @property
    def dearest(self) -> float:
        """The highest cost of any choice."""
        return float(max(costs.max(initial=0.0) for costs in (self.atom_cost, self.unbound_cost, self.bond_cost)))


def _possible_states(n: int, states: AtomStates, constraints: DecodingConstraints) -> np.ndarray:
    """Return (n, S) bool: which states the constraints leave to each atom."""
    possible = np.ones((n, len(states.element)), dtype=bool)
    if constraints.allowed is not None:
        possible &= np.array(constraints.allowed)[states.element]
    if constraints.counts is not None:
        possible &= np.array(constraints.counts)[states.element] > 0
    if (kept := constraints.kept) is not None:
        own = (states.element == kept.atom_type[:, None]) & (states.charge == kept.charge[:, None])
        possible[: len(kept.atom_type)] &= own
    return possible


def _costs(log_probabilities: np.ndarray) -> np.ndarray:
    """Return how far each class lies below the best one of its variable, in nats, float64."""
    values = np.maximum(log_probabilities.astype(np.float64), _LOWEST)
    return values.max(axis=-1, keepdims=True) - values


def _tie(bond: np.ndarray, vocabulary: Vocabulary, order: np.ndarray) -> np.ndarray:
    """Return (Q,) up to `_TIE` nats: less for the order that the (Q, K) costs of single and double bonds favour."""
    if not {"single", "double"} <= set(vocabulary.bonds):
        return np.zeros(len(order))
    single, double = (bond[:, vocabulary.bonds.index(name)] for name in ("single", "double"))
    return _TIE / (1 + np.exp(np.clip(np.where(order == 1, double - single, single - double), -50, 50)))


class IntegerProgram:
    """Variables and rows for the choices up to a cost: o atom states, q bonds, implicit hydrogens; all integer.

    Args:
        choices: everything that may be chosen.
        budget: nats; dearer choices are left out, and a pair for which no bond is dearer must have one.
        explicit_hydrogens: False = each atom may take hydrogens that are no atoms.
        total_charge: sum of the formal charges.
        constraints: the rows of what they ask of several atoms together.

    Attributes:
        costs, upper: (V,) objective and upper bounds of the variables; lower bounds are 0.
        feasible: False if an atom has no state left; then there are no rows.
    """

    def __init__(
        self,
        choices: Choices,
        budget: float,
        explicit_hydrogens: bool,
        total_charge: int,
        constraints: DecodingConstraints,
    ) -> None:
        c = self.choices = choices
        self._o = np.flatnonzero(c.atom_cost <= budget)
        self._q = np.flatnonzero(c.bond_cost <= budget)
        self._state = c.states.take(c.state[self._o])
        self._atom, self._pair, self._order = c.atom[self._o], c.pair[self._q], c.order[self._q]
        self._aromatic = c.aromatic[self._q]
        self._ends = c.pairs[self._pair]  # (q, 2) atoms
        hydrogens = 0 if explicit_hydrogens else c.n
        bond_costs = c.bond_cost[self._q] - c.unbound_cost[self._pair] + c.tie[self._q]
        self.costs = np.concatenate([c.atom_cost[self._o], bond_costs, np.zeros(hydrogens)])
        self.upper = np.ones(len(self.costs))
        self.upper[len(self.costs) - hydrogens :] = _MOST_HYDROGENS
        self._hydrogens = np.arange(len(self.costs) - hydrogens, len(self.costs))  # variables, one an atom or none
        self._rows: list[tuple[np.ndarray, np.ndarray, float, float]] = []  # variables, weights, low, high
        self.feasible = len(np.unique(self._atom)) == c.n
        if self.feasible:
            self._add_atom_rows(total_charge)
            self._add_pair_rows(np.flatnonzero((c.unbound_cost > budget) | c.bound))
            self._add_aromatic_rows()
            if c.fits is not None:
                self._add_element_rows(c.fits[self._q])
            if constraints.counts is not None:
                self._add_count_rows(constraints.counts)
            if constraints.hydrogens is not None and hydrogens:
                self._add(self._hydrogens, np.ones(hydrogens), constraints.hydrogens, constraints.hydrogens)
            if constraints.kept is not None:
                self._add_open_valence_rows(constraints.kept.open_valences, constraints.kept.least)

    def _bonds(self, chosen: np.ndarray) -> np.ndarray:
        """Return the variables of the bonds that a (q,) mask selects."""
        return len(self._o) + np.flatnonzero(chosen)

    def _add(self, variables: np.ndarray, weights: np.ndarray, low: float, high: float) -> None:
        self._rows.append((variables, weights.astype(np.float64), low, high))

    def _add_at_most(self, left: np.ndarray, right: np.ndarray) -> None:
        """Add the row sum(left) <= sum(right); variables on both sides cancel."""
        left, right = np.setdiff1d(left, right), np.setdiff1d(right, left)
        weights = np.concatenate([np.ones(len(left)), -np.ones(len(right))])
        self._add(np.concatenate([left, right]), weights, -np.inf, 0.0)

    def _add_atom_rows(self, total_charge: int) -> None:
        """One state an atom; bond orders and implicit hydrogens add up to its valence; charges to the total."""
        self._add(np.arange(len(self._o)), self._state.formal, total_charge, total_charge)
        for i in range(self.choices.n):
            own, at = np.flatnonzero(self._atom == i), (self._ends == i).any(axis=1)
            self._add(own, np.ones(len(own)), 1.0, 1.0)
            hydrogens = self._hydrogens[i : i + 1]
            weights = np.concatenate([-self._state.valence[own], self._order[at], np.ones(len(hydrogens))])
            self._add(np.concatenate([own, self._bonds(at), hydrogens]), weights, 0.0, 0.0)

    def _add_pair_rows(self, required: np.ndarray) -> None:
        """At most one bond a pair; exactly one for the required pairs."""
        for p in np.union1d(self._pair, required).tolist():
            variables = self._bonds(self._pair == p)
            self._add(variables, np.ones(len(variables)), float(p in required), 1.0)

    def _add_aromatic_rows(self) -> None:
        """An aromatic bond asks each of its atoms for another one, and for something to give to the ring."""
        for p in np.unique(self._pair[self._aromatic]).tolist():
            this = self._aromatic & (self._pair == p)
            for i in self.choices.pairs[p].tolist():
                at = (self._ends == i).any(axis=1)
                self._add_at_most(self._bonds(this), self._bonds(at & self._aromatic & (self._pair != p)))
                gives = np.flatnonzero((self._atom == i) & self._state.ring)
                self._add_at_most(self._bonds(this), np.concatenate([gives, self._bonds(at & (self._order == 2))]))

    def _add_element_rows(self, fits: np.ndarray) -> None:
        """A bond and an element of its first atom ask its second atom for an element that fits both."""
        variables = [np.flatnonzero(self._atom == i) for i in range(self.choices.n)]
        for q, (i, j) in enumerate(self._ends.tolist()):
            first, second = (self._state.element[variables[k]] for k in (i, j))
            for element in np.unique(first).tolist():
                fitting = fits[q, element][second]
                if not fitting.all():
                    left, right = variables[i][first == element], variables[j][fitting]
                    weights = np.concatenate([[1.0], np.ones(len(left)), -np.ones(len(right))])
                    self._add(np.concatenate([[len(self._o) + q], left, right]), weights, -np.inf, 1.0)

    def _add_count_rows(self, counts: tuple[int, ...]) -> None:
        """So many atoms of each element."""
        for element, count in enumerate(counts):
            variables = np.flatnonzero(self._state.element == element)
            self._add(variables, np.ones(len(variables)), count, count)

    def _add_open_valence_rows(self, open_valences: np.ndarray, least: np.ndarray | None) -> None:
        """The bonds that leave a kept atom fill its open valence, or are so many at least."""
        lowest = open_valences if least is None else least
        for atom, (low, lacking) in enumerate(zip(lowest.tolist(), open_valences.tolist(), strict=True)):
            leaving = (self._ends[:, 0] == atom) & (self._ends[:, 1] >= len(open_valences))
            self._add(self._bonds(leaving), self._order[leaving], low, lacking)

    def constraints(self, fragments: list[np.ndarray]) -> tuple[csr_array, np.ndarray, np.ndarray]:
        """Return the sparse (R, V) matrix and lower and upper bounds (R,), with a cut for each fragment.

        Args:
            fragments: (n,) bool masks of atoms that a bond must leave.
        """
        from scipy.sparse import csr_array

        cuts = [self._bonds(atoms[self._ends[:, 0]] != atoms[self._ends[:, 1]]) for atoms in fragments]
        rows = self._rows + [(variables, np.ones(len(variables)), 1.0, np.inf) for variables in cuts]
        variables, weights = (np.concatenate([row[k] for row in rows]) for k in (0, 1))
        starts = np.cumsum([0, *(len(row[0]) for row in rows)])
        matrix = csr_array((weights, variables, starts), shape=(len(rows), len(self.costs)))
        return matrix, np.array([row[2] for row in rows]), np.array([row[3] for row in rows])

    def read(self, values: np.ndarray, nodes: int, cuts: int) -> Solution:
        """Return the molecule that (V,) integer values of the variables spell."""
        c, bonds = self.choices, slice(len(self._o), len(self._o) + len(self._q))
        o, q = self._o[values[: len(self._o)] > 0], self._q[values[bonds] > 0]
        o, q = o[np.argsort(c.atom[o])], q[np.argsort(c.pair[q])]
        bonded = c.pair[q]
        lost = c.atom_cost[o].sum() + c.bond_cost[q].sum() + np.delete(c.unbound_cost, bonded).sum()
        return Solution(
            atom_type=c.states.element[c.state[o]],
            charge=c.states.charge[c.state[o]],
            bonds=np.concatenate([c.pairs[bonded], c.kind[q, None]], axis=1),
            orders=c.order[q],
            lost=float(lost),
            nodes=nodes,
            cuts=cuts,
        )
