"""Identity of draws: what they follow from, and the short key of it in their ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moldiff.run_record import digest

OF_RECORDS = ("shard", "name_column")
"""Options that no molecule depends on, but which records there are results of, and under what names."""

# of options: said by a hash, or without effect on a molecule
_WITHOUT_EFFECT = frozenset(
    {"model", "property_model", "device", "batch_size", "keep_invalid", "report", "confidence", "trajectory"}
).union(OF_RECORDS)
_OF_THE_SET = frozenset(
    {"n", "first", "until", "max_draws", "where", "rules", "alerts", "smarts", "rms", "heavy_only", "hazards"}
)
_LONGEST_NAME = 24


def without_effects(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a draw may depend on."""
    return {name: value for name, value in options.items() if name not in _WITHOUT_EFFECT}


def key_of(model: str, facts: Mapping[str, Any], own: frozenset[str]) -> str:
    """Return the name of a model and 8 hexadecimal digits: the same for two draws of one seed and number only if they
    are the same molecule. Which draws are asked for, and which of them pass, is no part of it.

    Args:
        model: its name.
        facts: all that the draws follow from.
        own: options that tell which draws are asked for elsewhere, and that a single draw depends on here.
    """
    kept = {name: value for name, value in facts.items() if name not in _OF_THE_SET - own}
    kept.pop("seed", None)
    name = re.sub(r"[^A-Za-z0-9_.]", "_", model)[:_LONGEST_NAME]
    return f"{name}-{digest(kept)[:8]}"
