"""Choice of a built-in model by the molecules that it is to work on."""

from __future__ import annotations

import logging

from moldiff.chem.io.ready import ready_records
from moldiff.chem.io.tables import Columns
from moldiff.chem.makeup import Makeup
from moldiff.config import NetworkConfig
from moldiff.generation.options.contradictions import HEAVY_ATOM_COUNT
from moldiff.models.building import described
from moldiff.models.folder import DEFAULT_MODEL, load_model_folder
from moldiff.processes import standing_pool

logger = logging.getLogger(__name__)

OTHER_MODEL = "drugs"
"""Of heavier elements and larger molecules than the default one knows."""
_LOOKED_AT = 100  # records at the beginning of the input


def fitting_model(molecules: object, columns: Columns | None = None, workers: int = 0) -> str:
    """Return the name of the built-in model that more of the first molecules fit, in elements, charges and size, and
    say so in the log. Molecules smaller than all of a model's training data only decide where two fit as many;
    in the end it is the default one.

    What can be gone through once only, such as a generator, is not looked at.

    Args:
        molecules: what users have, see `moldiff.chem.io.inputs.records_of`.
        columns: of a table of molecules.
        workers: processes that read them; 0 = this one.

    Raises:
        MoldiffError: no such file, or something else than molecules.
    """
    if hasattr(molecules, "__next__"):
        return DEFAULT_MODEL
    records = ready_records(molecules, Makeup.of, columns=columns, span=range(_LOOKED_AT), pool=standing_pool(workers))
    found = [one.item for one in records if one.item is not None]
    usual = _fitting(DEFAULT_MODEL, found)
    if usual[0] == len(found):
        return DEFAULT_MODEL
    others = _fitting(OTHER_MODEL, found)
    if others <= usual:
        return DEFAULT_MODEL
    logger.info(
        "model %s: %d of the first %d molecules are of its elements and no larger than its own, %d of those of %s",
        OTHER_MODEL, others[1], len(found), usual[1], DEFAULT_MODEL,
    )  # fmt: skip
    return OTHER_MODEL


def _fitting(model: str, molecules: list[Makeup]) -> tuple[int, int]:
    """Return how many molecules a model has seen the like of, and how many it can know, small ones among them."""
    said = described(load_model_folder(model), NetworkConfig, "conditions")
    most = max(said.statistics.size_counts)
    known = said.statistics.properties.get(HEAVY_ATOM_COUNT)
    heavy = most if known is None else int(known.maximum)
    least = min(said.statistics.size_counts) if known is None else int(known.minimum)
    able = [one for one in molecules if one.is_within(said.vocabulary.elements, said.vocabulary.charges, most, heavy)]
    return sum(one.heavy >= least for one in able), len(able)
