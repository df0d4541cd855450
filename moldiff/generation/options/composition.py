"""Allowed elements, formula and total charge as users write them, checked against each other and the model."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from moldiff.arrays import MOST_ATOMS
from moldiff.errors import MoldiffError, blaming
from moldiff.sampling.constraints import Composition, Constraint, ElementMask, TotalCharge
from moldiff.vocabulary import ELEMENTS, Vocabulary

logger = logging.getLogger(__name__)

_PART = re.compile(r"([A-Z][a-z]?)([1-9]\d{0,2})?", flags=re.ASCII)


@blaming("formula")
def parse_formula(text: str) -> dict[str, int]:
    """Return element -> number of atoms of a formula such as C7H10O2; MoldiffError if it is none."""
    parts = _PART.findall(text)
    if not parts or "".join(symbol + number for symbol, number in parts) != text.strip():
        raise MoldiffError(f"formula '{text}': expected element symbols and numbers, such as C7H10O2")
    counts: dict[str, int] = {}
    for symbol, number in parts:
        _check_symbol(symbol, f"formula '{text}'")
        counts[symbol] = counts.get(symbol, 0) + int(number or 1)
    if sum(counts.values()) > MOST_ATOMS:
        raise MoldiffError(f"formula '{text}': more than {MOST_ATOMS} atoms")
    return counts


def formula_text(counts: Mapping[str, int]) -> str:
    """Return the formula of a composition."""
    return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in counts.items())


def made_of(counts: Mapping[str, int], vocabulary: Vocabulary) -> dict[str, int]:
    """Return the part of a composition that a model makes: without hydrogens where these are placed afterwards."""
    return {symbol: count for symbol, count in counts.items() if vocabulary.explicit_hydrogens or symbol != "H"}


def formula_size(counts: Mapping[str, int], vocabulary: Vocabulary) -> int:
    """Return how many of a composition's atoms a model makes."""
    return sum(made_of(counts, vocabulary).values())


def element_mask(allowed: Sequence[str] | None, excluded: Sequence[str], vocabulary: Vocabulary) -> ElementMask | None:
    """Return the mask of allowed elements; None if all are.

    Args:
        allowed: the only ones; None = all of the model's.
        excluded: the forbidden ones.

    Raises:
        MoldiffError: a symbol is no element's or both allowed and forbidden, or no element is left.
    """
    known = vocabulary.elements
    if both := [symbol for symbol in allowed or () if symbol in excluded]:
        raise MoldiffError(
            f"exclude_elements: {', '.join(both)} is among the allowed elements too: name it in one of the two",
            argument="exclude_elements",
        )
    for symbol in (*(allowed or ()), *excluded):
        _check_symbol(symbol, "elements" if symbol in (allowed or ()) else "exclude_elements")
        if symbol == "H" and not vocabulary.explicit_hydrogens:
            if symbol in excluded:
                raise MoldiffError(
                    "exclude_elements: hydrogens cannot be excluded from molecules of a model of heavy atoms, since "
                    "they are placed wherever a valence is open; a formula says how many there are",
                    argument="exclude_elements",
                )
            continue
        if symbol not in known:
            logger.warning("the model does not know %s anyway: its elements are %s", symbol, " ".join(known))
    flags = tuple((allowed is None or symbol in allowed) and symbol not in excluded for symbol in known)
    if not any(flags):
        argument = "exclude_elements" if allowed is None else "elements"
        raise MoldiffError(f"no element is left of the model's {' '.join(known)}", argument=argument)
    if allowed is not None and "H" not in allowed and not vocabulary.explicit_hydrogens:
        logger.warning("elements: hydrogens come wherever a valence is open, named or not: the model has heavy atoms")
    if "H" in known and not flags[known.index("H")]:
        logger.warning("hydrogen is not among the allowed elements: few molecules can do without")
    return None if all(flags) else ElementMask(known, flags)


def constraints_of(
    mask: ElementMask | None,
    formula: Mapping[str, int] | None,
    charge: int | None,
    vocabulary: Vocabulary,
    sizes: tuple[int, int] | None,
    smallest: int,
) -> tuple[tuple[Constraint, ...], tuple[int, int] | None]:
    """Return the constraints and the sizes that are left.

    Args:
        mask: allowed elements.
        formula: the exact composition, element -> number of atoms.
        charge: total charge, elementary charges.
        vocabulary: of the model.
        sizes: allowed numbers of atoms, inclusive; None = all.
        smallest: number of atoms of a molecule that may be drawn if ``sizes`` is None.

    Raises:
        MoldiffError: the model cannot make it, or options contradict each other.
    """
    constraints: list[Constraint] = [] if mask is None else [mask]
    if formula is not None:
        _check_possible(formula, mask, charge, vocabulary)
        made, n = made_of(formula, vocabulary), formula_size(formula, vocabulary)
        if sizes is not None and not sizes[0] <= n <= sizes[1]:
            text, atoms = formula_text(formula), vocabulary.atoms
            told = f"formula {text} has {n} {atoms}, which contradicts {sizes[0]}..{sizes[1]} {atoms}"
            raise MoldiffError(told, argument="formula")
        hydrogens = None if vocabulary.explicit_hydrogens else formula.get("H")
        if hydrogens is None and not vocabulary.explicit_hydrogens:
            logger.info("formula %s names no hydrogens: there are as many as valences take", formula_text(formula))
        constraints, sizes = [Composition(vocabulary.elements, made, hydrogens)], (n, n)
    if charge is not None:
        n, sums = sizes[0] if sizes else smallest, {0}
        for _ in range(min(n, abs(charge))):
            sums |= {total + own for total in sums for own in vocabulary.charges}
        if charge not in sums:
            known = " ".join(f"{own:+d}" if own else "0" for own in vocabulary.charges)
            raise MoldiffError(
                f"charge {charge:+d} is out of reach: {n} {vocabulary.atoms} with formal charges of {known}"
                + ("" if formula is not None else "; ask for larger molecules than the smallest (n_atoms)"),
                argument="charge",
            )
        constraints.append(TotalCharge(vocabulary.charges, charge))
    return tuple(constraints), sizes


@blaming("formula")
def _check_possible(
    counts: Mapping[str, int], mask: ElementMask | None, charge: int | None, vocabulary: Vocabulary
) -> None:
    """Raise MoldiffError for a composition that the model cannot make or that is not allowed."""
    formula, made = formula_text(counts), made_of(counts, vocabulary)
    if not made:
        raise MoldiffError(f"formula {formula}: the model makes heavy atoms, and there is none")
    for symbol in made:
        if symbol not in vocabulary.elements:
            raise MoldiffError(f"formula {formula}: the model knows {' '.join(vocabulary.elements)}, not {symbol}")
        if mask is not None and not mask.allowed[mask.elements.index(symbol)]:
            raise MoldiffError(f"formula {formula} contradicts the allowed elements: it holds {symbol}")
    if len(made) == len(counts) and not vocabulary.explicit_hydrogens:
        return  # hydrogens are as many as it takes
    electrons = sum((ELEMENTS.index(symbol) + 1) * count for symbol, count in counts.items()) - (charge or 0)
    if electrons % 2:
        # what a charge of 0 or none means to chemists; the odd charges are asked for by their number
        how = "" if charge is None else f" with charge {charge:+d}"
        raise MoldiffError(
            f"formula {formula}{how} has an odd number of electrons: only radicals, which no model makes; give it one "
            "hydrogen more or less, or an odd charge",
            argument="formula",
        )
    _check_bonds(formula, counts, vocabulary)


def _check_bonds(formula: str, counts: Mapping[str, int], vocabulary: Vocabulary) -> None:
    """Raise MoldiffError if the atoms of a formula cannot hang together: n atoms in one piece take n - 1 bonds."""
    from moldiff.chem.valence import closed_shell_states

    valences = dict.fromkeys(counts, 0)
    for state in closed_shell_states(counts, vocabulary.charges):
        valences[state.symbol] = max(valences[state.symbol], state.valence)
    bonds, atoms = sum(valences[symbol] * count for symbol, count in counts.items()) // 2, sum(counts.values())
    if bonds < atoms - 1:
        raise MoldiffError(
            f"formula {formula}: no molecule in one piece, as {atoms} atoms take {atoms - 1} bonds or more and these "
            f"have {bonds} at most"
        )


def _check_symbol(symbol: str, where: str) -> None:
    if symbol not in ELEMENTS:
        raise MoldiffError(f"{where}: '{symbol}' is no element symbol", argument=where.partition(" ")[0])
