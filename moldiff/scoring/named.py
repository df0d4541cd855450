"""From a score's name to the scores of molecules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.descriptors.score_functions import (
    Gfn2Score,
    PropertyScore,
    Score,
    ScoreFunction,
    SimilarityScore,
    SmartsScore,
    imported_score,
)
from moldiff.chem.descriptors.xtb import GFN2_PROPERTIES
from moldiff.choices import is_code
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.errors import MoldiffError, nearest_name
from moldiff.extras import XTB
from moldiff.scoring.rarity import BY_TABLES
from moldiff.scoring.targets import Target, parse_target

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def named_score(text: str) -> Score:
    """Return the score that a user names.

    ``qed`` (an RDKit or GFN2-xTB property), ``logp=2.5``, ``logp=2..3``, ``tpsa<60`` (minus the distance from that),
    ``smarts:PATTERN`` (1 with a match, else 0), ``similarity:SMILES`` (Tanimoto, ECFP4), ``module:function`` or
    ``file.py:function``; ``network:FOLDER:name=2.5`` (minus the distance of what a property network predicts, in
    standard deviations); ``known_rings`` and ``weakest_bond`` (`moldiff.scoring.rarity`) stand for scores by the tables
    of a run, which are not known yet; ``targets``, the nearness to the run's own targets, is `OF_TARGETS`.

    Raises:
        MoldiffError: it is none of these, or cannot be loaded.
    """
    if text == OF_TARGETS.name:
        return OF_TARGETS
    if text in BY_TABLES:
        return BY_TABLES[text]
    if is_code(text):
        return Score(text, imported_score(text))
    kind, colon, rest = text.partition(":")
    if colon and kind == "network":
        from moldiff.scoring.network import predicted_score  # the only score that needs torch

        return Score(text, predicted_score(rest))
    if colon:
        return Score(text, SmartsScore(rest) if kind == "smarts" else SimilarityScore(rest), travels=True)
    return Score(text, _property_score(text), travels=True)


def _property_score(text: str) -> ScoreFunction:
    if set(text) & set("=<>"):
        target = parse_target(text)
        return _measured_score(target.name, target.distance)
    return _measured_score(text, None)


def _measured_score(name: str, wanted: Callable[[float], float] | None) -> ScoreFunction:
    """Return the score of a property, or minus its distance from what is wanted."""
    if name in PROPERTIES:
        return PropertyScore(name, wanted)
    known = (*PROPERTIES, *GFN2_PROPERTIES, *BY_TABLES)
    if name not in known:
        raise MoldiffError(
            f"unknown score '{name}'{nearest_name(name, known)}; known are {', '.join(known)}, targets, "
            "smarts:PATTERN, similarity:SMILES, network:FOLDER:name=2.5, module:function and file.py:function"
        )
    XTB.require(f"score {name}")
    return Gfn2Score(name, wanted)


def targets_score(
    targets: Sequence[Target],
    statistics: Mapping[str, PropertyStatistics],
    calculators: Mapping[str, Callable[[Mol], float]] | None = None,
) -> Score:
    """Return minus the sum of the distances from all targets, in standard deviations of the training data, as a score.

    Args:
        targets: of the run.
        statistics: of their properties.
        calculators: of properties by the tables of a run, by name.

    Raises:
        MoldiffError: there is no target, or one that cannot be measured.
    """
    if not targets:
        raise MoldiffError("the score 'targets' needs targets, for example logp=2.5")
    parts: list[ScoreFunction] = []
    for target in targets:
        distance = partial(_distance, target, statistics[target.name].std)
        if calculators and target.name in calculators:
            parts.append(partial(_minus_distances, calculators[target.name], distance))
        else:
            parts.append(_measured_score(target.name, distance))
    by_tables = any(target.name in (calculators or {}) for target in targets)  # these are large: they stay here
    return Score(OF_TARGETS.name, _Sum(tuple(parts)), travels=not by_tables)


@dataclass(frozen=True)
class _Sum:
    """Sum of scores, where there is each of them."""

    parts: tuple[ScoreFunction, ...]

    def __call__(self, molecules: list[Mol]) -> list[float | None]:
        rows = zip(*(part(molecules) for part in self.parts), strict=True)
        return [None if None in row else sum(value for value in row if value is not None) for row in rows]


def _distance(target: Target, std: float, value: float) -> float:
    return target.distance(value) / std


def _minus_distances(
    calculator: Callable[[Mol], float], distance: Callable[[float], float], molecules: list[Mol]
) -> list[float | None]:
    return [-distance(calculator(mol)) for mol in molecules]


def _no_targets(molecules: list[Mol]) -> list[float | None]:
    raise MoldiffError("the score 'targets' is only known together with targets")


OF_TARGETS = Score("targets", _no_targets)
"""Stands for the nearness to the targets of a run, until these are known; see `targets_score`."""
