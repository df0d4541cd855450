"""Wishes held against each other: what no molecule can be is refused before any is drawn.

Every bound here holds for all molecules of an exact wish (formula, elements, charge, number of atoms), so nothing that
is possible is refused.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.graph import molar_mass
from moldiff.chem.valence import closed_shell_states
from moldiff.conditions import Condition, holds_number, holds_whole_number, range_text
from moldiff.errors import MoldiffError
from moldiff.generation.options.composition import formula_text
from moldiff.scoring.targets import Target
from moldiff.vocabulary import Vocabulary

HEAVY_ATOM_COUNT = "heavy_atom_count"
_ROUNDING = 1e-3  # relative
_POLAR = frozenset({"N", "O", "S"})  # what RDKit counts as donors and acceptors


@dataclass(frozen=True)
class Wish:
    """A range that a named number shall lie in.

    Attributes:
        text: as the user has it, "target logp=2".
        argument: that it came by.
        name: of the number.
        low, high: ends; infinite = open.
        strict: the ends are excluded.
    """

    text: str
    argument: str
    name: str
    low: float
    high: float
    strict: bool = False

    def meets(self, low: float, high: float, strict: bool = False) -> bool:
        """Return whether some value lies in both ranges; ends that are not excluded meet if only digits part them."""
        least, most = max(self.low, low), min(self.high, high)
        if not (strict or self.strict) and math.isfinite(least):
            return least <= most + _ROUNDING * max(abs(least), 1.0)
        return holds_number([(self.low, self.high, self.strict), (low, high, strict)])


@dataclass(frozen=True)
class Fact:
    """A range that a named number lies in, whatever molecule comes out.

    Attributes:
        why: what makes it so, "formula C6H6".
        low, high: inclusive ends.
    """

    why: str
    low: float
    high: float


def wishes_of(targets: Iterable[Target], conditions: Iterable[Condition]) -> list[Wish]:
    """Return what targets and filters ask for."""
    return [
        *(Wish(f"target {t.name}{t.text}", "targets", t.name, t.low, t.high, t.strict) for t in targets),
        *(Wish(f"where {c}", "where", c.name, c.low, c.high, c.strict) for c in conditions),
    ]


def check_wishes(
    wishes: Sequence[Wish],
    vocabulary: Vocabulary,
    *,
    elements: Collection[str],
    formula: Mapping[str, int] | None,
    charge: int | None,
    sizes: tuple[int, int] | None,
) -> None:
    """Raise MoldiffError if no molecule can meet two wishes together.

    Args:
        wishes: about named numbers.
        vocabulary: of the model.
        elements: that may occur, hydrogen included.
        formula: exact composition.
        charge: exact total charge.
        sizes: allowed numbers of atoms, as the model counts them.
    """
    for place, wish in enumerate(wishes):
        for other in wishes[:place]:
            if wish.name == other.name and not wish.meets(other.low, other.high, other.strict):
                raise MoldiffError(f"{wish.text} and {other.text} contradict each other", argument=wish.argument)
    for name in sorted({wish.name for wish in wishes if wish.name in PROPERTIES and PROPERTIES[wish.name].whole}):
        own = [wish for wish in wishes if wish.name == name]
        if not holds_whole_number((wish.low, wish.high, wish.strict) for wish in own):
            asked = " and ".join(wish.text for wish in own)
            raise MoldiffError(f"{asked}: no molecule can have it, {name} is a whole number", argument=own[0].argument)
    _check_size(vocabulary, elements, formula, sizes)
    for name, fact in _facts(wishes, vocabulary, elements, formula, charge, sizes):
        for wish in wishes:
            if wish.name == name and wish.text != fact.why and not wish.meets(fact.low, fact.high):
                raise MoldiffError(
                    f"{wish.text} and {fact.why} contradict each other: {name} is {range_text(fact.low, fact.high)}",
                    argument=wish.argument,
                )


def _check_size(
    vocabulary: Vocabulary, elements: Collection[str], formula: Mapping[str, int] | None, sizes: tuple[int, int] | None
) -> None:
    """Raise MoldiffError if atoms of a single bond each would have to be a molecule of more than two."""
    asked = f"elements {','.join(elements)}" if formula is None else f"formula {formula_text(formula)}"
    most = 1 + _valence(elements if formula is None else formula, vocabulary)
    if sizes is not None and most <= 2 and sizes[0] > most:
        raise MoldiffError(
            f"{asked} and {_size_text(sizes, vocabulary)} contradict each other: these elements have {most - 1} bond "
            f"at most, so that a molecule has at most {most} of their atoms",
            argument=asked.partition(" ")[0],
        )


def _size_text(sizes: tuple[int, int], vocabulary: Vocabulary) -> str:
    low, high = sizes
    return f"{low}..{high} {vocabulary.atoms}" if low < high else f"{low} {vocabulary.atoms}"


def _facts(
    wishes: Sequence[Wish],
    vocabulary: Vocabulary,
    elements: Collection[str],
    formula: Mapping[str, int] | None,
    charge: int | None,
    sizes: tuple[int, int] | None,
) -> Iterable[tuple[str, Fact]]:
    """Yield what is certain of named numbers."""
    always = "what it measures"
    yield from ((name, Fact(always, one.low, one.high)) for name, one in PROPERTIES.items())
    yield "fragments", Fact(always, 1.0, 1.0)
    if charge is not None:
        yield "formal_charge", Fact(f"charge {charge:+d}", charge, charge)
    heavy = [symbol for symbol in elements if symbol != "H"]
    if formula is not None:
        yield from _of_formula(formula, vocabulary)
    elif not _POLAR & set(heavy):
        why = f"elements {','.join(elements)}"
        yield from ((name, Fact(why, 0.0, 0.0)) for name in ("hbd", "hba", "tpsa", "no_count", "nhoh_count"))
    if sizes is not None and formula is None:
        least = sizes[0]
        if vocabulary.explicit_hydrogens:  # n atoms of which h are heavy: at most (v - 2) h + 2 others
            more = _valence(heavy, vocabulary) - 1
            least = math.ceil((sizes[0] - 2) / more) if more > 0 else 1
        fact = Fact(_size_text(sizes, vocabulary), max(least, 1), sizes[1])
        yield HEAVY_ATOM_COUNT, fact
        yield from _of_count(fact, heavy, vocabulary)
    for wish in wishes:
        if wish.name == HEAVY_ATOM_COUNT:
            yield from _of_count(Fact(wish.text, max(wish.low, 1.0), wish.high), heavy, vocabulary)


def _of_formula(formula: Mapping[str, int], vocabulary: Vocabulary) -> Iterable[tuple[str, Fact]]:
    why = f"formula {formula_text(formula)}"
    heavy = {symbol: count for symbol, count in formula.items() if symbol != "H"}
    count, polar = float(sum(heavy.values())), float(sum(heavy.get(symbol, 0) for symbol in _POLAR))
    yield HEAVY_ATOM_COUNT, Fact(why, count, count)
    yield "heteroatoms", Fact(why, count - heavy.get("C", 0), count - heavy.get("C", 0))
    nitrogen_oxygen = float(heavy.get("N", 0) + heavy.get("O", 0))
    yield "no_count", Fact(why, nitrogen_oxygen, nitrogen_oxygen)
    yield "hba", Fact(why, 0.0, polar)
    if not nitrogen_oxygen:
        yield "tpsa", Fact(why, 0.0, 0.0)
    whole = vocabulary.explicit_hydrogens or "H" in formula
    mass = molar_mass(formula if whole else heavy)
    yield "mw", Fact(why, mass, mass if whole else mass + (count * _valence(heavy, vocabulary) * molar_mass({"H": 1})))
    hydrogens = float(formula.get("H", 0)) if whole else math.inf
    yield "hbd", Fact(why, 0.0, min(polar, hydrogens))
    yield "nhoh_count", Fact(why, 0.0, hydrogens)
    bonds = sum(_valence([symbol], vocabulary) * n for symbol, n in (formula if whole else heavy).items()) // 2
    spare = bonds - sum((formula if whole else heavy).values()) + 1  # bonds beyond those of a tree
    rings = float(2 ** min(max(spare, 0), 60) - 1)  # all cycles of a graph: RDKit counts every one of equal length
    yield from ((name, Fact(why, 0.0, rings if count > 2 else 0.0)) for name in ("rings", "aromatic_rings"))
    yield from _of_count(Fact(why, count, count), list(heavy), vocabulary, mass=False)


def _of_count(
    fact: Fact, heavy: Sequence[str], vocabulary: Vocabulary, mass: bool = True
) -> Iterable[tuple[str, Fact]]:
    """Yield what follows from the number of heavy atoms of some elements."""
    if mass and heavy:
        masses = [molar_mass({symbol: 1}) for symbol in heavy]
        with_hydrogens = max(masses) + _valence(heavy, vocabulary) * molar_mass({"H": 1})
        yield "mw", Fact(fact.why, fact.low * min(masses), fact.high * with_hydrogens)
    for name in ("hbd", "hba", "heteroatoms", "no_count", "stereocentres"):
        yield name, Fact(fact.why, 0.0, fact.high)
    yield "largest_ring", Fact(fact.why, 0.0, fact.high if fact.high > 2 else 0.0)
    yield "rotatable_bonds", Fact(fact.why, 0.0, max(0.0, fact.high * (_valence(heavy, vocabulary) / 2)))
    if fact.high <= 2:
        yield from ((name, Fact(fact.why, 0.0, 0.0)) for name in ("rings", "aromatic_rings"))


def _valence(elements: Iterable[str], vocabulary: Vocabulary) -> int:
    """Return the highest valence among some elements."""
    return max((state.valence for state in closed_shell_states(elements, vocabulary.charges)), default=4)
