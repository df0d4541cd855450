"""Structured decoding: the most probable molecule that obeys chemistry, as a small integer programme.

The final prediction gives independent log-probabilities of every atom type, charge and bond. Plain decoding takes each
one's most probable class; what comes out may break valence or fall apart. Here the sum of log-probabilities is
maximised over all choices in which

- every atom is in a known state (element, formal charge, valence), and its bond orders add up to that valence;
- the formal charges add up to a given total;
- all atoms hang together;
- if asked for, every bond is one that its two elements may have at that place;
- if asked for, there are so many atoms of each element, or only some elements, and the first atoms stay as they are.

An aromatic bond takes an integer order, 1 or 2, in the programme, so that a Kekule form comes with every solution. An
atom with an aromatic bond has at least two of them, and a double bond, a lone pair or an empty orbital to give to the
ring. (Whether RDKit then calls the ring aromatic is a matter of electron counts over rings, which is not linear.)

Connectivity is enforced by cuts: a solution that falls apart is excluded by asking, for each of its fragments, for a
bond that leaves it (Dantzig, Fulkerson and Johnson 1954), and the programme is solved again, by HiGHS (Huangfu and Hall
2018) as scipy carries it. Nothing here knows coordinates.

The search is made small without losing the optimum. The cost of a choice is what it lies below the best choice of its
variable, in nats; costs add up to what the molecule loses against plain decoding. Only choices up to some cost are
tried at first. If the best molecule found costs no more than that, no dearer choice can be part of a better one;
otherwise the programme is solved once more with all choices up to that molecule's cost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from moldiff.arrays import LogProbabilities
from moldiff.generation.decoding.integer_program import AtomStates, Choices, IntegerProgram, Solution
from moldiff.pauses import stood_still
from moldiff.sampling.demands import NO_CONSTRAINTS, DecodingConstraints
from moldiff.vocabulary import Vocabulary

_OPTIMAL, _LIMIT, _INFEASIBLE = 0, 1, 2  # scipy's status codes
FIRST_COST = 4.0  # nats; choices dearer than this are tried only if a molecule needs them
_COST_FACTOR = 2.0
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Limits:
    """Limits of the search for one molecule.

    Attributes:
        floor: a bond less probable than this is never formed.
        nodes: branch-and-bound nodes over all solves. The same on every machine.
        seconds: processor time over all solves, a safety net: what meets it may be decoded on a faster machine.
    """

    floor: float = 1e-8
    nodes: int = 1_000
    seconds: float = 20.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Decoded:
    """A solution, or None and the reason: nothing obeys the rules, or a limit was met."""

    solution: Solution | None
    reason: str


def decode_structured(
    log_probabilities: LogProbabilities,
    vocabulary: Vocabulary,
    states: AtomStates,
    total_charge: int,
    limits: Limits = DEFAULT_LIMITS,
    fits: np.ndarray | None = None,
    constraints: DecodingConstraints = NO_CONSTRAINTS,
) -> Decoded:
    """Return the most probable molecule that obeys chemistry; see the module's text.

    The result is a function of the arguments (and of the version of HiGHS), unless ``limits.seconds`` is met.

    Args:
        log_probabilities: of one molecule, without padding.
        vocabulary: class labels. Without explicit hydrogens, bonds may fall short of the valence: hydrogens fill it.
        states: what an atom may be.
        total_charge: sum of the formal charges, unless the constraints name one.
        limits: how far to search.
        fits: (n, n, K, A, A) bool, symmetric under exchange of both atoms and elements: whether a pair of atoms may
            have a bond of a class if it is of two elements. None = always.
        constraints: what else the molecule must be.
    """
    if any(np.isnan(values).any() for values in vars(log_probabilities).values()):
        return Decoded(None, "the prediction is not finite")
    total_charge = total_charge if constraints.total_charge is None else constraints.total_charge
    choices = Choices.of(log_probabilities, vocabulary, states, limits.floor, fits, constraints)
    search = _Search(choices, vocabulary.explicit_hydrogens, total_charge, limits, constraints)
    budget, dearest = FIRST_COST, choices.dearest
    while True:
        found = search.best(budget)
        if search.stopped:
            return Decoded(None, search.stopped)
        if found is None and budget >= dearest:
            charge = f" with a total charge of {total_charge:+d}" if total_charge else ""
            *rules, last = (
                "valence",
                "connectivity",
                *([] if fits is None else ["bond lengths"]),
                *([] if constraints == NO_CONSTRAINTS else ["the constraints"]),
            )
            return Decoded(None, f"no molecule{charge} obeys {', '.join(rules)} and {last}")
        if found is not None and (found.lost <= budget or budget >= dearest):
            return Decoded(found, "")
        # A molecule that costs less than this one consists of choices that cost less.
        budget = _COST_FACTOR * budget if found is None else found.lost + _ROUNDING


class _Search:
    """Solves the programme with cuts, for one set of choices after another; the limits count over all of them."""

    def __init__(
        self,
        choices: Choices,
        explicit_hydrogens: bool,
        total_charge: int,
        limits: Limits,
        constraints: DecodingConstraints,
    ) -> None:
        self.choices, self.explicit, self.total_charge, self.limits = choices, explicit_hydrogens, total_charge, limits
        self.constraints = constraints
        self.deadline = time.thread_time() + limits.seconds
        self.nodes = 0
        self.fragments: list[np.ndarray] = []  # (n,) bool each: a bond must leave these atoms
        self.stopped = ""

    def best(self, budget: float) -> Solution | None:
        """Return the best connected molecule of choices up to a cost; None if there is none or a limit was met."""
        programme = IntegerProgram(self.choices, budget, self.explicit, self.total_charge, self.constraints)
        if not programme.feasible:
            return None
        while (values := self._solve(programme)) is not None:
            solution = programme.read(values, self.nodes, len(self.fragments))
            fragments = _fragments(self.choices.n, solution.bonds[:, :2])
            if len(fragments) == 1:
                return solution
            # the cut of one of two fragments is that of the other
            self.fragments += fragments[:1] if len(fragments) == 2 else fragments
        return None

    def _solve(self, programme: IntegerProgram) -> np.ndarray | None:
        """Return the integer values of the optimum, None if there is none or a limit was met."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        while True:
            nodes_left, seconds_left = self.limits.nodes - self.nodes, self.deadline - time.thread_time()
            if nodes_left <= 0 or seconds_left <= 0:
                break
            clock = time.monotonic()
            result = milp(
                programme.costs,
                integrality=np.ones(len(programme.costs)),
                bounds=Bounds(0, programme.upper),
                constraints=LinearConstraint(*programme.constraints(self.fragments)),
                # HiGHS 1.12 prints to stdout, whatever it is told, where undoing its presolve breaks a constraint
                options={
                    "presolve": False,
                    "mip_rel_gap": 0.0,
                    "node_limit": nodes_left,
                    "time_limit": seconds_left,
                },
            )
            waited, used = time.monotonic() - clock, seconds_left - (self.deadline - time.thread_time())
            if result.status == _LIMIT and waited >= seconds_left and stood_still(waited, used):
                continue  # the clock went on while the process was stopped
            self.nodes += int(result.mip_node_count or 0)
            if result.status == _OPTIMAL:
                values: np.ndarray = np.rint(result.x).astype(np.int64)
                return values
            if result.status == _INFEASIBLE:
                return None
            break
        late = self.nodes < self.limits.nodes
        self.stopped = f"time limit of {self.limits.seconds:g} s" if late else f"limit of {self.limits.nodes} nodes"
        return None


def _fragments(n: int, ends: np.ndarray) -> list[np.ndarray]:
    """Return the connected components of n atoms with bonds (m, 2) as (n,) bool masks, by their first atoms."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    count, labels = connected_components(graph, directed=False)
    return [labels == k for k in range(count)]
