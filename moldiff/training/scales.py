"""Scales of a new model: those of its data, unless the training file states them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from moldiff.datasets.statistics import DatasetStatistics
from moldiff.sections import Section

S = TypeVar("S", bound=Section)

# Scales over what is measured, so that QM9 (18.1 atoms, 1.43 angstrom) has those that its models were tuned with.
_REFERENCE_PER_SPREAD = 0.91
_UNIT_PER_ATOM = 1.1


def scales_of(statistics: DatasetStatistics) -> dict[str, float]:
    """Return the scales that suit data: key of a section -> value, rounded."""
    counts = statistics.size_counts
    molecules = sum(counts.values())
    atoms = sum(n * count for n, count in counts.items()) / molecules
    wide = [(counts.get(n, 0), std) for n, std in statistics.position_std.items()]
    spread = math.sqrt(sum(count * std**2 for count, std in wide) / max(1, sum(count for count, _ in wide)))
    return {
        "typical_atoms": max(1, round(atoms)),
        "size_unit": max(1, round(_UNIT_PER_ATOM * atoms)),
        "sigma_reference": max(0.1, round(_REFERENCE_PER_SPREAD * spread, 2)),
    }


def with_scales(section: S, statistics: DatasetStatistics, before: Mapping[str, Any] | None) -> S:
    """Return a section of a training file with every scale stated: as in the file, else as the data has it.

    Args:
        section: of the network or of the curve.
        statistics: of the training data.
        before: the same section of the run that goes on; it trained with what stands there, and before there were such
            keys with their defaults. None = a new run.
    """
    names = [name for name in scales_of(statistics) if name in type(section).model_fields]
    if before is None:
        known = scales_of(statistics)
    else:
        known = {name: before.get(name, type(section).model_fields[name].default) for name in names}
    return section.model_copy(update={name: known[name] for name in names if name not in section.model_fields_set})
