"""Scores of how usual a molecule's rarest ring system and weakest bond are among reference molecules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from moldiff.chem.descriptors.rarity import RarityTables
from moldiff.chem.descriptors.score_functions import Score
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.errors import MoldiffError
from moldiff.scoring.targets import Target

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_USUAL = 5  # molecules with a ring system that make it half known: a cut-off in use among chemists


def known_rings(mol: Mol, tables: RarityTables) -> float:
    """c / (c + 5), c the reference molecules that have the rarest ring system: 0 never seen, near 1 for common rings
    and for a molecule without any."""
    count = tables.rarest_ring(mol).count
    return count / (count + _USUAL)


def weakest_bond(mol: Mol, tables: RarityTables) -> float:
    """Association of the weakest bond, from 0 (its ends never met) over 0.5 (as often as chance has it) to 1."""
    return tables.weakest_bond(mol).association


def rarity_score(name: str, tables: RarityTables) -> Score:
    """Return a score of `BY_TABLES` by the tables of a run's model."""
    score = rarity_calculators(tables)[name]
    return Score(name, lambda molecules: [score(mol) for mol in molecules])


def rarity_calculators(tables: RarityTables) -> dict[str, Callable[[Mol], float]]:
    """Return the calculators of `BY_TABLES` by the tables of a run's model, by name."""
    return {
        "known_rings": partial(known_rings, tables=tables),
        "weakest_bond": partial(weakest_bond, tables=tables),
    }


def _no_tables(molecules: list[Mol]) -> list[float | None]:
    raise MoldiffError("scores of rarity are only known together with the tables of a model or a file")


BY_TABLES = {name: Score(name, _no_tables) for name in ("known_rings", "weakest_bond")}
"""Stand for the scores of rarity, until the tables of a run are known; see `rarity_score`."""

RARITY_STATISTICS = {
    "known_rings": PropertyStatistics("1", 0.92, 0.19, 0.0, 1.0, 0.0, 1.0, 1500),
    "weakest_bond": PropertyStatistics("1", 0.38, 0.20, 0.0, 1.0, 0.0, 0.78, 1500),
}
"""Of 1,500 held-out drug-like molecules by the tables of the others: what makes them comparable with other targets."""

FAMILIAR = (Target("known_rings", low=0.5), Target("weakest_bond", low=0.05))
"""Rarest ring system in at least `_USUAL` training molecules; ends of no bond meet 19 times less often than by chance.
Nine in a hundred held-out drug-like molecules do not meet both."""
