"""Reach of targets: what of the training data lies there, and which properties can be wanted beside a model's own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, Property
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.evaluation.distributions import Distribution
from moldiff.models.references import HISTOGRAMS, ConditionRows, References
from moldiff.scoring.targets import Target, scaled_distances
from moldiff.shares import percent

logger = logging.getLogger(__name__)

_SPREADS = {"molar_refractivity": 5.0}  # about that of a CH2 group; properties with reference figures need none
RARE = 0.01  # share of the training data below which a warning is due


def measured_statistics(references: Mapping[str, Tensor], source: str) -> dict[str, PropertyStatistics]:
    """Return the properties that moldiff measures, with their statistics over held-out molecules where a model's
    reference distributions know them; the others' have ``known`` 0, and a usual spread.

    Args:
        references: tensors of the model folder.
        source: the folder, for error messages.
    """
    found = {name: _unseen(property) for name, property in PROPERTIES.items()}
    if HISTOGRAMS not in references:
        return found
    for name, entry in References(references, source).histograms["properties"].items():
        if name in PROPERTIES:
            values = Distribution.from_json(entry)
            low, high = np.quantile(values.cells, [0.01, 0.99])
            found[name] = PropertyStatistics(
                PROPERTIES[name].unit, values.mean, values.std or 1.0, float(values.cells[0]), float(values.cells[-1]),
                float(low), float(high), values.count,
            )  # fmt: skip
    return found


def _unseen(property: Property) -> PropertyStatistics:
    """Return the statistics of a property whose spread nobody has taken down."""
    spread = 1.0 if property.whole else _SPREADS.get(property.name, 1.0)
    return PropertyStatistics(property.unit, 0.0, spread, 0.0, 0.0, 0.0, 0.0, 0)


def tell_reach(
    targets: Sequence[Target],
    names: Sequence[str],
    known: Mapping[str, PropertyStatistics],
    rows: ConditionRows | None,
) -> None:
    """Log a warning where next to nothing of the training data is as wanted, with the nearest that there is.

    Args:
        targets: of the run.
        names: properties that the model knows.
        known: statistics of all properties.
        rows: the model's table of training molecules; None = it has none.
    """
    for target in targets:
        row = known[target.name]
        if row.known and target.name not in names and (target.high < row.q01 or target.low > row.q99):
            logger.warning(
                "target %s%s lies outside the 1 to 99 %% range of known molecules, %.4g to %.4g: expect to miss it",
                target.name, target.text, row.q01, row.q99,
            )  # fmt: skip
    asked = [target for target in targets if target.name in names]
    if not asked or rows is None:
        return
    table = rows.table[:, [1 + rows.names.index(target.name) for target in asked]]
    table = table[np.isfinite(table).all(1)]
    if not len(table):
        return
    stds = np.array([known[target.name].std for target in asked])
    met = [target.is_met(column, std) for target, column, std in zip(asked, table.T, stds.tolist(), strict=True)]
    share = float(np.array(met).all(0).mean())
    if share >= RARE:
        return
    wanted = " and ".join(target.name + target.text for target in asked)
    nearest = table[scaled_distances(asked, table, stds).sum(0).argmin()]
    told = ", ".join(f"{target.name} {value:.4g}" for target, value in zip(asked, nearest, strict=True))
    logger.warning(
        "%s of the training molecules %s near %s (the nearest has %s): expect to miss it",
        "none" if share == 0 else percent(share, 2), "lies" if share == 0 else "lie", wanted, told,
    )  # fmt: skip
