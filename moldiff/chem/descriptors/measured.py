"""Numbers of a molecule that targets ask for, by the calculators that there are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, compute
from moldiff.chem.descriptors.xtb import GFN2_PROPERTIES, gfn2_properties
from moldiff.extras import XTB

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)


def measured_numbers(mol: Mol, known: Mapping[str, float], names: Collection[str]) -> dict[str, float]:
    """Return what is known of a sanitised molecule, other RDKit properties that are named, and those of GFN2-xTB if one
    is named and tblite is there.

    Args:
        mol: with a conformer.
        known: numbers that need not be computed again.
        names: of properties.
    """
    unknown = [name for name in names if name in PROPERTIES and name not in known]
    values = dict(known) | (compute(mol, unknown) if unknown else {})
    if not set(names) & set(GFN2_PROPERTIES) or not XTB.is_installed():
        return values
    try:
        return values | gfn2_properties(mol)
    except Exception:  # foreign code: no calculator ends a run
        logger.debug("GFN2-xTB of a molecule", exc_info=True)
        return values
